"""A unit's lines are erased where they stand, nobody loses his place, and no line grows too old."""

import asyncio
import json
import os
import random
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.main import rampway
from rampway.gateway.assignment import Split
from rampway.gateway.forgetting import (
    Forgotten,
    Retention,
    Subject,
    _overwrite,
    forget,
    keys_of,
    subject,
)
from rampway.gateway.lossy import LossyFile
from rampway.gateway.spool import FIRST_LINE_BYTES, first_line
from support.gateway_process import DataPlane, accepted, data_plane, eventually, true

SALT = bytes(range(32)).hex()
DAY = 86_400.0
KEEP = "[capture]\nanswers = true\n"
UNITS = '[units]\nheaders = ["x-user-id"]\n' + KEEP


def pseudonym(unit: str, release: str = "r1") -> str:
    split = Split(salt=bytes.fromhex(SALT), release=release, share_bp=0, shadow_bp=0)
    return split.pseudonym(unit.encode())


def who(unit: str) -> Subject:
    return subject(unit.encode(), {("r1", SALT), ("r2", SALT)})


def write(path: Path, *lines: dict[str, Any]) -> None:
    path.write_bytes(
        b"".join(json.dumps(line).encode().replace(b": ", b":") + b"\n" for line in lines)
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def traffic(unit: str, ts: float = 1.0, **more: object) -> dict[str, Any]:
    return {"ts": ts, "unit": pseudonym(unit), "request_id": "q", "trace_id": "t", **more}


def test_lines_of_a_unit_are_erased_in_every_file_of_the_target_and_in_no_other(
    tmp_path: Path,
) -> None:
    mine, others = traffic("u1", note="personal"), traffic("u2")
    for name in ("tutor", "tutor@3", "other", "tutor-b"):
        write(tmp_path / f"traffic-{name}.jsonl", mine, others)
    write(tmp_path / "traffic-tutor.jsonl.1", others, mine, mine)
    write(tmp_path / "answers-tutor.jsonl", {"kind": "live", **mine}, {"kind": "live", **others})
    sizes = {path: path.stat().st_size for path in tmp_path.iterdir()}

    counted = forget(tmp_path, "tutor", who("u1"), dry_run=True)
    told = forget(tmp_path, "tutor", who("u1"))

    assert counted == told == Forgotten(lines=5, files=4)
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == sizes
    assert lines(tmp_path / "traffic-tutor.jsonl") == [{"kind": "forgotten", "ts": 1.0}, others]
    assert lines(tmp_path / "traffic-other.jsonl") == [mine, others]
    assert lines(tmp_path / "traffic-tutor-b.jsonl") == [mine, others]
    assert forget(tmp_path, "tutor", who("u1")) == Forgotten(0, 0)


def test_a_request_that_was_its_own_unit_is_found_by_its_id(tmp_path: Path) -> None:
    before_any_claim = {"ts": 1.0, "unit": None, "request_id": "u1", "trace_id": "u1"}
    write(tmp_path / "traffic-tutor.jsonl", before_any_claim)

    assert forget(tmp_path, "tutor", who("u1")).lines == 1


def test_a_line_that_only_speaks_of_the_unit_is_somebody_elses(tmp_path: Path) -> None:
    said = traffic("u2", request={"about": "u1", "name": pseudonym("u1")})
    write(tmp_path / "answers-tutor.jsonl", said)

    assert forget(tmp_path, "tutor", who("u1")) == Forgotten(0, 0)
    assert lines(tmp_path / "answers-tutor.jsonl") == [said]


def test_in_the_spool_what_was_there_is_told_as_missing(tmp_path: Path) -> None:
    facts = {"target": "tutor", "release": "r1", "epoch": 2, "segment": 5, "i": 7}
    personal = {"unit": pseudonym("u1"), "trace": "t", "request": "personal", "missing": None}
    failed = {**facts, "arm": "candidate", "failed": "error"}
    write(
        tmp_path / "spool-tutor.jsonl",
        {"kind": "pair", **facts, **personal},
        {"kind": "answer", **failed, **personal},
    )

    forget(tmp_path, "tutor", who("u1"))

    assert lines(tmp_path / "spool-tutor.jsonl") == [
        {"kind": "pair", **facts, "missing": "forgotten"},
        {"kind": "answer", **failed, "missing": None},
    ]


def test_an_erasure_that_a_crash_broke_off_is_finished_when_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "answers-tutor.jsonl"
    mine = traffic("u1", request="personal " * 5_000)
    write(path, traffic("u0"), mine, traffic("u2"))
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    size = len(whole.splitlines()[1])
    for left_bytes in (4_096, 8_192, 40_960):
        torn = whole[: begin + left_bytes] + b" " * (size - left_bytes) + whole[begin + size :]
        path.write_bytes(torn)

        assert forget(tmp_path, "tutor", who("u1")).lines == 1
        assert b"personal" not in path.read_bytes()
        assert lines(path)[::2] == [traffic("u0"), traffic("u2")]


def test_a_line_is_overwritten_from_its_end_so_that_its_name_goes_last(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    order: list[int] = []
    written = os.pwrite

    with pytest.MonkeyPatch.context() as patch, path.open("r+b") as file:
        patch.setattr(os, "pwrite", lambda fd, data, at: order.append(at) or written(fd, data, at))
        _overwrite(file.fileno(), 0, b"y" * 10_000)

    assert order == [8_192, 4_096, 0]
    assert path.read_bytes() == b"y" * 10_000


@settings(deadline=None)  # megabytes are written, on a disk that others use too
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_line_of_the_unit_is_found_wherever_blocks_are_cut(seed: int, n: int) -> None:
    dice = random.Random(seed)
    written = [
        traffic("u1" if dice.random() < 0.3 else "u2", pad="x" * dice.choice((1, 90_000)))
        for _ in range(n)
    ]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "traffic-tutor.jsonl"
        write(path, *written)

        told = forget(Path(directory), "tutor", who("u1"))

        left = lines(path)
    mine = [line["unit"] == pseudonym("u1") for line in written]
    assert told.lines == sum(mine)
    assert [line.get("kind") == "forgotten" for line in left] == mine


def test_a_file_is_renamed_at_half_its_lines_time_and_deleted_at_the_other_half(
    tmp_path: Path,
) -> None:
    now = 1_700_000_000.0
    path = tmp_path / "traffic-tutor.jsonl"
    write(path, traffic("u1", ts=now), traffic("u1", ts=now + 14 * DAY))
    os.utime(path, (now + 14 * DAY, now + 14 * DAY))
    keep = Retention(tmp_path, 30 * DAY, lambda: now)
    seen: dict[float, list[str]] = {}

    for day in (14.9, 15.1, 28.9, 29.1):
        now = 1_700_000_000.0 + day * DAY
        keep.sweep()
        seen[day] = sorted(file.name for file in tmp_path.iterdir())

    assert seen == {
        14.9: ["traffic-tutor.jsonl"],
        15.1: ["traffic-tutor.jsonl.1"],
        28.9: ["traffic-tutor.jsonl.1"],
        29.1: [],
    }


def test_a_forgotten_first_line_makes_no_file_younger(tmp_path: Path) -> None:
    path = tmp_path / "traffic-tutor.jsonl"
    write(path, traffic("u1", ts=1_000.0), traffic("u2", ts=time.time()))

    forget(tmp_path, "tutor", who("u1"))
    Retention(tmp_path, DAY, time.time).sweep()

    assert [file.name for file in tmp_path.iterdir()] == ["traffic-tutor.jsonl.1"]


def test_what_is_no_line_file_is_never_swept(tmp_path: Path) -> None:
    for name in ("splits.jsonl", "journal-tutor.jsonl", "journal-tutor.jsonl.1", "state.json"):
        (tmp_path / name).write_text('{"ts":1.0}\n')
        os.utime(tmp_path / name, (1.0, 1.0))

    Retention(tmp_path, DAY, time.time).sweep()

    assert len(list(tmp_path.iterdir())) == 4


def test_a_file_renamed_by_somebody_else_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "spool-tutor.jsonl"
    file = LossyFile[str](
        path,
        encode=str.encode,
        lines_max=9,
        pending_bytes_max=900,
        file_bytes_max=9_000,
        first_line=lambda: first_line("tutor", 1.0),
    )
    file.put("one", 1)
    file.write()

    path.rename(tmp_path / "spool-tutor.jsonl.1")
    file.put("two", 1)
    file.write()

    first, second = path.read_bytes().splitlines()
    assert (len(first), second) == (FIRST_LINE_BYTES, b"two")
    assert (tmp_path / "spool-tutor.jsonl.1").read_bytes().endswith(b"\none\n")
    assert first != (tmp_path / "spool-tutor.jsonl.1").read_bytes().splitlines()[0]


async def _ask(plane: DataPlane, user: str) -> None:
    fields = {"x-user-id": user}
    async with plane.http.post(plane.url(), json={"by": user}, headers=fields) as answer:
        assert answer.status == 200


async def _written(plane: DataPlane, name: str, n: int) -> list[dict[str, Any]]:
    await eventually(lambda: true(len(plane.gateway.lines(name)) >= n))
    return plane.gateway.lines(name)


async def test_a_unit_is_forgotten_over_releases_and_restarts_and_the_others_stay() -> None:
    async with data_plane(settings=UNITS) as plane:
        await plane.admin.register()
        for release in ("r1", "r2"):
            token = await plane.admin.claim(release)
            await plane.admin.shadow(token, 1, 10_000)
            await _ask(plane, "alice")
            await plane.admin.share(token, 2, 5_000)
            for user in ("alice", "bob"):
                await _ask(plane, user)
            await plane.admin.write("end", token, 3, ending="rolled_back")
        await _written(plane, "traffic-tutor.jsonl", 8)
        await _written(plane, "answers-tutor.jsonl", 6)
        plane.gateway.kill()
        plane.gateway.start()

        counted = accepted(
            await plane.admin.call("POST", "forget", {"unit": "alice", "dry_run": True})
        )
        told = accepted(await plane.admin.call("POST", "forget", {"unit": "alice"}))
        again = accepted(await plane.admin.call("POST", "forget", {"unit": "alice"}))

        assert counted == told
        assert told["lines"] >= 2 * (3 + 2 + 1)  # traffic with its copies, answers, spool
        assert again["lines"] == 0
        files = b"".join(
            path.read_bytes() for path in plane.gateway.state_dir.iterdir() if path.is_file()
        )
        assert b"alice" not in files
        assert b'{"by":"bob"}' in files
        kinds = [line["kind"] for line in plane.gateway.lines("answers-tutor.jsonl")]
        assert kinds.count("forgotten") == 4
        assert kinds.count("live") == 2
        keys = keys_of(plane.gateway.state_dir, "tutor")
        assert {release for release, _ in keys} == {"r1", "r2"}
        refused = await plane.admin.call("POST", "/v1/targets/nobody/forget", {"unit": "x"})
        assert refused[0] == 404


async def test_the_command_tells_how_many_lines_and_never_the_unit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with data_plane(settings=f"{UNITS}[judged]\nper_second = 0\n") as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        await _ask(plane, "alice@example.com")
        await _written(plane, "answers-tutor.jsonl", 1)
        monkeypatch.setenv("RAMPWAY_GATEWAY_URL", plane.gateway.admin_url)
        monkeypatch.setenv("RAMPWAY_HOME", str(tmp_path))
        monkeypatch.setenv("RAMPWAY_REGISTRY_URL", f"sqlite:///{tmp_path}/registry.db")

        result = await _in_thread("gateway", "forget", plane.target, "--unit", "-")

        assert result.stdout == "2 lines in 2 files of tutor erased.\n"
        assert "alice" not in plane.gateway.log()


async def _in_thread(*args: str) -> Any:  # noqa: ANN401 - click has no public name for it
    def invoke() -> object:
        return CliRunner().invoke(
            rampway, args, input="alice@example.com\n", catch_exceptions=False
        )

    return await asyncio.to_thread(invoke)


async def test_lines_older_than_their_time_are_gone_while_the_gateway_runs() -> None:
    settings = "[capture]\nkeep_days = 0.00002\n"  # 1.7 s
    async with data_plane(settings=settings) as plane:
        await plane.admin.register()
        await plane.ask("old")
        await _written(plane, "traffic-tutor.jsonl", 1)

        def written() -> bytes:
            return b"".join(path.read_bytes() for path in plane.gateway.state_dir.glob("traffic-*"))

        await eventually(lambda: true(b"old" not in written()))
        await plane.ask("young")
        await eventually(lambda: true(b"young" in written()))


async def test_every_file_is_its_owners_only() -> None:
    async with data_plane(settings=KEEP) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        await plane.ask("u1")
        await eventually(lambda: true(plane.gateway.lines("spool-tutor.jsonl")))
        await plane.admin.call("POST", "forget", {"unit": "u1"})

        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in plane.gateway.state_dir.iterdir()
            if path.is_file()
        }

        assert {"traffic-tutor.jsonl", "spool-tutor.jsonl", "salts-tutor.jsonl"} <= set(modes)
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(plane.gateway.state_dir.stat().st_mode) == 0o700
