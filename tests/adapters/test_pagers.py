"""Pagers that need no network: what is delivered once stays delivered, and no page is lost."""

import asyncio
import fcntl
import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rampway
from rampway.adapters.pager_console import MAX_KEYS, ConsolePager
from rampway.adapters.pager_file import FilePager
from rampway.ports import Unreachable
from rampway.release.records import Page, Severity


def page(key: str = "rampway/demo/grammar-tutor-41/canary-5/error", **changes: object) -> Page:
    fields = {
        "key": key,
        "severity": Severity.ERROR,
        "summary": "grammar-tutor-41 was rolled back at 5 %; traffic is safe, “no action”.",
        "release": "grammar-tutor-41",
        "target": "grammar-tutor",
        "details": {"candidate": [29, 1138]},
    }
    return Page.model_validate(fields | changes)


async def test_a_page_on_the_console_is_one_line() -> None:
    stream = io.StringIO()

    delivery = await ConsolePager(stream).page(page())

    assert stream.getvalue() == (
        "PAGE error grammar-tutor-41: grammar-tutor-41 was rolled back at 5 %; traffic is safe,"
        " “no action”. [rampway/demo/grammar-tutor-41/canary-5/error]\n"
    )
    assert delivery == "console:rampway/demo/grammar-tutor-41/canary-5/error"


async def test_the_console_shows_a_page_once_however_often_it_is_sent() -> None:
    stream = io.StringIO()
    pager = ConsolePager(stream)

    deliveries = await asyncio.gather(*(pager.page(page()) for _ in range(5)))
    await pager.page(page("another"))

    assert len(set(deliveries)) == 1
    assert len(stream.getvalue().splitlines()) == 2


async def test_what_an_artifact_said_cannot_steer_the_terminal() -> None:
    stream = io.StringIO()

    await ConsolePager(stream).page(page(summary="\x1b[2Jfine\r\nPAGE critical: \u202eforged"))

    assert stream.getvalue().count("\n") == 1
    assert all(c.isprintable() for c in stream.getvalue().rstrip("\n"))


async def test_a_console_that_is_gone_says_so_and_the_page_is_sent_again() -> None:
    stream = io.StringIO()
    pager = ConsolePager(stream)
    stream.close()

    for _ in range(2):
        with pytest.raises(Unreachable, match="Next: page to a file"):
            await pager.page(page())


async def test_the_console_remembers_a_bounded_number_of_keys() -> None:
    pager = ConsolePager(io.StringIO())

    for number in range(MAX_KEYS + 3):
        pager._remember(str(number))

    assert len(pager._delivered) == MAX_KEYS
    assert str(MAX_KEYS + 2) in pager._delivered


async def test_a_page_in_the_file_is_one_json_line_that_only_its_owner_reads(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state" / "pages.jsonl"

    delivery = await FilePager(path).page(page())

    assert [Page.model_validate_json(line) for line in path.read_bytes().splitlines()] == [page()]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert delivery == "file:rampway/demo/grammar-tutor-41/canary-5/error"


async def test_the_file_has_one_line_per_key_however_often_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    pagers = [FilePager(path) for _ in range(4)]

    deliveries = await asyncio.gather(
        *(pager.page(page(summary=f"attempt {n}")) for n, pager in enumerate(pagers * 3))
    )
    await pagers[0].page(page("another"))

    assert len(set(deliveries)) == 1
    assert _keys(path) == [page().key, "another"]


async def test_processes_at_once_write_each_key_once(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    children = [_pages(path, count=40) for _ in range(3)]

    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors

    assert sorted(_keys(path), key=int) == [str(n) for n in range(40)]


async def test_a_process_killed_while_it_pages_loses_no_acknowledged_page(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    acknowledged: set[str] = set()

    for patience in (1, 9, 30):
        child = _pages(path, count=100_000)
        assert child.stdout is not None
        acknowledged |= {child.stdout.readline().strip() for _ in range(patience)}
        child.send_signal(signal.SIGKILL)
        acknowledged |= set(child.communicate()[0].split())
    await FilePager(path).page(page("after"))

    keys = _keys(path)
    assert acknowledged <= set(keys)
    assert len(keys) == len(set(keys))
    assert keys[-1] == "after"


@given(kept=st.integers(min_value=1, max_value=10_000))
def test_a_torn_last_line_is_mended_and_its_page_comes_again(
    tmp_path_factory: pytest.TempPathFactory, kept: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "pages.jsonl"
    pager = FilePager(path)
    pager._deliver(page("first"))
    whole = path.read_bytes()
    pager._deliver(page("second"))
    torn = path.read_bytes()[: len(whole) + kept % (path.stat().st_size - len(whole))]
    path.write_bytes(torn)

    pager._deliver(page("second"))
    pager._deliver(page("first"))

    assert path.read_bytes().startswith(whole)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["key"] for line in lines if "key" in line] == ["first", "second"]
    fragments = [line["torn"] for line in lines if "torn" in line]
    assert "".join(fragments) in {torn[len(whole) :].decode(errors="replace"), ""}
    assert len(lines) == 2 + len(fragments)


async def test_a_whole_last_line_without_its_end_counts_as_delivered(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(page().model_dump_json().encode())

    await FilePager(path).page(page())

    assert _keys(path) == [page().key]
    assert path.read_bytes().endswith(b"}\n")


async def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    await FilePager(path).page(page("first"))
    before = path.read_bytes()
    code = (
        "import resource,sys;from pathlib import Path;sys.path.insert(0,sys.argv[2]);"
        "import asyncio,signal;signal.signal(signal.SIGXFSZ,signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE,({len(before) + 9},)*2);"
        "from rampway.adapters.pager_file import FilePager;from rampway.release.records import Page;"
        "asyncio.run(FilePager(Path(sys.argv[1])).page(Page.model_validate_json(sys.argv[3])))"
    )
    root = str(Path(rampway.__file__).parents[1])

    failed = subprocess.run(
        [sys.executable, "-c", code, str(path), root, page("second").model_dump_json()],
        capture_output=True,
        check=False,
        text=True,
    )

    assert "Unreachable: No page can be written to" in failed.stderr
    assert path.read_bytes() == before


async def test_a_file_that_another_process_holds_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    holder = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)

    with pytest.raises(Unreachable, match="Another process holds"):
        await FilePager(path, lock_seconds=0.05).page(page())
    os.close(holder)

    await FilePager(path, lock_seconds=0.05).page(page())
    assert _keys(path) == [page().key]


async def test_a_link_does_not_carry_pages_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Unreachable, match="No page can be written"):
        await FilePager(tmp_path / "pages.jsonl").page(page())

    assert not (tmp_path / "elsewhere").exists()


def _keys(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [line["key"] for line in lines if "key" in line]


def _pages(path: Path, *, count: int) -> subprocess.Popen[str]:
    code = (
        "import asyncio,sys;from pathlib import Path;"
        "from rampway.adapters.pager_file import FilePager;from rampway.release.records import Page\n"
        "async def main():\n"
        " pager = FilePager(Path(sys.argv[1]))\n"
        " for n in range(int(sys.argv[2])):\n"
        "  await pager.page(Page(key=str(n),severity='error',summary='x'*900,release='r',target='t'))\n"
        "  print(n, flush=True)\n"
        "asyncio.run(main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(rampway.__file__).parents[1],
    )
