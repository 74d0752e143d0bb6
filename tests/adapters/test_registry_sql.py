"""The SQL registry: the contract, and what happens when its disk, its file or its processes fail."""

# ruff: noqa: S608 - the statements are an intruder's, and their table names ours

import asyncio
import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from registry_contract import (
    BASELINE,
    CANDIDATE,
    TUTOR,
    RegistryContract,
    climb,
    header,
)

import rampway
from rampway.adapters.registry_sql import NewerSchema, SqlRegistry
from rampway.ports import NotFound, Tampered, Unreachable
from rampway.release.events import Event, check_chain

RELEASE = "a" * 64


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    return tmp_path / "registry %41.db"  # a percent sign must not upset anybody


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., SqlRegistry]]:
    """Opens registries and closes them at the end."""
    registries: list[SqlRegistry] = []

    def opens(path: Path | str, **options: float) -> SqlRegistry:
        url = path if isinstance(path, str) else _url(path)
        registries.append(SqlRegistry.open(url, **options))
        return registries[-1]

    yield opens
    for registry in registries:
        await registry.close()


class TestOnFile(RegistryContract):
    @pytest.fixture
    async def registry(self, opened: Callable[..., SqlRegistry], path: Path) -> SqlRegistry:
        return opened(path)


class TestInMemory(RegistryContract):
    @pytest.fixture
    async def registry(self, opened: Callable[..., SqlRegistry]) -> SqlRegistry:
        return opened("sqlite://")


async def test_the_record_is_there_when_it_is_opened_again(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    first = opened(path)
    await first.open_release(header())
    await first.append(climb())
    await first.close()

    again = opened(path)

    assert list((await again.release(RELEASE)).events) == climb()


async def test_an_acknowledged_event_is_on_disk_even_after_a_power_cut(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path)

    def pragmas(connection: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    full = 2
    assert await registry._read(pragmas) == ["wal", full, 1]


async def test_writers_at_once_append_each_event_once(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    left, right = opened(path), opened(path)
    await left.open_release(header())

    for event in climb():
        await asyncio.gather(*(r.append([event]) for r in (left, right) * 4))

    assert list((await left.release(RELEASE)).events) == climb()
    for registry in (left, right):
        assert check_chain((await registry.release(RELEASE)).events) == climb()[-1].hash


async def test_first_evals_at_once_agree_on_one(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registries = [opened(path) for _ in range(3)]

    kept = await asyncio.gather(
        *(r.keep_first_eval("key", f"verdict {i}".encode()) for i, r in enumerate(registries * 3))
    )

    assert len(set(kept)) == 1


@pytest.mark.parametrize("table", ["artifacts", "blobs", "evals", "events", "releases"])
async def test_the_database_itself_refuses_to_change_or_delete_a_row(
    opened: Callable[..., SqlRegistry], path: Path, table: str
) -> None:
    registry = opened(path)
    await _fill(registry)

    with _connected(path) as intruder:
        column = intruder.execute(f"SELECT * FROM {table}").description[-1][0]
        attempts = (
            f"UPDATE {table} SET {column} = {column}",
            f"DELETE FROM {table}",
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
            f"INSERT OR IGNORE INTO {table} SELECT * FROM {table}",
        )
        for attempt in attempts:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                intruder.execute(attempt)


@pytest.mark.parametrize("table", ["targets", "target_configs", "target_pointers"])
async def test_a_targets_history_is_kept_too(
    opened: Callable[..., SqlRegistry], path: Path, table: str
) -> None:
    registry = opened(path)
    await _fill(registry)

    with _connected(path) as intruder:
        for attempt in (f"DELETE FROM {table}", f"REPLACE INTO {table} SELECT * FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                intruder.execute(attempt)


async def test_every_table_is_guarded(opened: Callable[..., SqlRegistry], path: Path) -> None:
    opened(path)

    with _connected(path) as reader:
        rows = reader.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()

    tables = {name for kind, name, _ in rows if kind == "table"}
    guarded = [table for kind, _, table in rows if kind == "trigger"]
    assert {t: guarded.count(t) for t in tables - {"alembic_version", "sqlite_sequence"}} == dict.fromkeys(
        ("artifacts", "blobs", "evals", "events", "releases", "target_configs", "target_pointers", "targets"), 3
    )  # fmt: skip


async def test_a_newer_schema_is_refused_and_left_alone(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    await opened(path).close()
    with _connected(path) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '0999'")
        newer.commit()

    with pytest.raises(NewerSchema, match=r"schema 0999.*up to 0001.*Next: upgrade rampway"):
        opened(path)


async def test_a_file_that_is_no_registry_is_named_so(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    path.write_bytes(b"this is a diary, not a database " * 100)

    with pytest.raises(Unreachable, match="another kind of file"):
        opened(path)


async def test_a_folder_that_does_not_exist_is_named_so(
    opened: Callable[..., SqlRegistry], tmp_path: Path
) -> None:
    with pytest.raises(Unreachable, match=r"cannot be opened\. .*Next: check that its folder"):
        opened(tmp_path / "nowhere" / "registry.db")


async def test_a_read_only_registry_is_read_but_not_written(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    await _fill(opened(path))
    read_only = opened(f"sqlite:///file:{quote(quote(str(path)))}?mode=ro&uri=true")

    with pytest.raises(
        Unreachable, match=r"Registry is read-only\. Nothing climbs; rollbacks work"
    ):
        await read_only.put("evidence", b"more")

    assert list((await read_only.release(RELEASE)).events) == climb()


async def test_a_full_disk_stops_writes_in_plain_words_and_nothing_is_lost(
    opened: Callable[..., SqlRegistry], small_disk: Path
) -> None:
    registry = opened(small_disk / "registry.db")
    await _fill(registry)
    stored: list[str] = []

    async def fill_the_disk() -> None:
        while True:
            stored.append(await registry.put("evidence", _noise(len(stored))))

    with pytest.raises(Unreachable) as refused:
        await fill_the_disk()

    assert str(refused.value) == (
        "Registry is read-only (disk full). Nothing climbs; rollbacks work. Next: free space"
    )
    assert [await registry.get(digest) for digest in stored] == [
        _noise(number) for number in range(len(stored))
    ]
    assert list((await registry.release(RELEASE)).events) == climb()


async def test_writing_goes_on_when_the_disk_has_space_again(
    opened: Callable[..., SqlRegistry], small_disk: Path
) -> None:
    registry = opened(small_disk / "registry.db")
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(bytes(2**20))
    with pytest.raises(Unreachable, match="disk full"):
        await registry.put("evidence", _noise(0))

    ballast.unlink()

    assert await registry.get(await registry.put("evidence", _noise(0))) == _noise(0)


async def test_a_write_waits_for_a_lock_only_so_long_and_reads_do_not_wait(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path, busy_seconds=0.2)
    await _fill(registry)
    holder = _child(
        "import sqlite3,sys;c=sqlite3.connect(sys.argv[1],isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE');print('held',flush=True);sys.stdin.read()",
        str(path),
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(
        Unreachable, match=r"Registry is locked by another process\. Nothing climbs"
    ):
        await registry.put("evidence", b"more")
    while_locked = await registry.release(RELEASE)
    holder.communicate()
    digest = await registry.put("evidence", b"more")

    assert list(while_locked.events) == climb()
    assert await registry.get(digest) == b"more"


async def test_processes_that_open_a_fresh_registry_at_once_make_one_schema(path: Path) -> None:
    code = (
        "import sys;from rampway.adapters.registry_sql import SqlRegistry;sys.stdin.readline();"
        "SqlRegistry.open(sys.argv[1]);print('opened')"
    )
    children = [_child(code, _url(path)) for _ in range(3)]

    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()

    assert [child.communicate() for child in children] == [("opened\n", "")] * 3


APPENDER = """
import asyncio, sys
from datetime import UTC, datetime
from rampway.adapters.registry_sql import SqlRegistry
from rampway.release.events import EventKind, Ledger
from rampway.release.phases import Phase, Trigger

async def main():
    registry = SqlRegistry.open(sys.argv[1])
    ledger = Ledger("a" * 64)
    ledger.events = list((await registry.release("a" * 64)).events)
    while True:
        first = not ledger.events
        batch = [
            ledger.write(
                EventKind.STARTED if first and number == 0 else EventKind.PAGED,
                at=datetime(2026, 11, 20, tzinfo=UTC),
                phase=Phase.OFFLINE_GATE,
                trigger=Trigger.STARTED if first and number == 0 else None,
                share_bp=0,
                actor="workflow",
                reason="x" * 2000,
            )
            for number in range(3)
        ]
        await registry.append(batch)
        print(batch[-1].sequence, flush=True)

asyncio.run(main())
"""


async def test_a_process_killed_while_it_appends_leaves_a_whole_chain(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path)
    await registry.open_release(header())
    acknowledged = 0

    for acknowledgements in (1, 7, 20):
        child = _child(APPENDER, _url(path))
        assert child.stdout is not None
        for _ in range(acknowledgements):
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate()
        acknowledged = int(rest.split()[-1]) if rest.split() else acknowledged

        events = (await registry.release(RELEASE)).events
        check_chain(events)
        assert len(events) >= acknowledged
        assert len(events) % 3 == 0  # a batch is appended whole or not at all


async def test_a_changed_blob_is_never_handed_out_as_the_real_one(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path)
    digest = await registry.put("evidence", b'{"errors":3}')
    with _unguarded(path) as intruder:
        intruder.execute("UPDATE blobs SET body = ?", (_packed(b'{"errors":1}'),))

    with pytest.raises(Tampered, match=r"evidence sha256:.* was changed") as found:
        await registry.get(digest)

    assert found.value.body == b'{"errors":1}'


@pytest.mark.parametrize("damage", [b"", b"not zlib", b"x\x9c\x03\x00"])
async def test_a_damaged_blob_is_never_handed_out(
    opened: Callable[..., SqlRegistry], path: Path, damage: bytes
) -> None:
    registry = opened(path)
    digest = await registry.put("evidence", b'{"errors":3}')
    with _unguarded(path) as intruder:
        intruder.execute("UPDATE blobs SET body = ?", (damage,))

    with pytest.raises(Tampered):
        await registry.get(digest)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("header", '{"owner":"intruder"}'),
        ("header", "nonsense"),
        ("header_digest", "sha256:0"),
        ("name", "grammar-tutor-000000"),
        ("target", "code-review"),
    ],
)
async def test_a_changed_header_is_found_when_it_is_read(
    opened: Callable[..., SqlRegistry], path: Path, column: str, value: str
) -> None:
    registry = opened(path)
    await _fill(registry)
    with _unguarded(path) as intruder:
        intruder.execute(f"UPDATE releases SET {column} = ?", (value,))

    with pytest.raises(Tampered):
        await registry.release(RELEASE)


async def test_a_changed_artifact_is_found_when_it_is_read(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path)
    await _fill(registry)
    with _unguarded(path) as intruder:
        intruder.execute("""UPDATE artifacts SET content = '{"model":"v6"}'""")

    with pytest.raises(Tampered, match="artifact sha256:1 was changed"):
        await registry.artifact("sha256:1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"actor"', '["actor"'),
        ('"share_bp":100', '"share_bp":"100"'),
        ('"share_bp":100', '"share_bp": 100'),
        ('"actor":', '"hash":"sha256:0","actor":'),
        ('"phase":"CANARY"', '"phase":"HAVEN"'),
        ('"actor":', '"approved":true,"actor":'),
    ],
)
async def test_an_event_no_writer_could_have_written_is_found_when_it_is_read(
    opened: Callable[..., SqlRegistry], path: Path, old: str, new: str
) -> None:
    registry = opened(path)
    await _fill(registry)
    with _unguarded(path) as intruder:
        change = "UPDATE events SET body = replace(body, ?, ?) WHERE sequence = 4"
        assert intruder.execute(change, (old, new)).rowcount == 1

    with pytest.raises(Tampered, match="Event 4 of release") as found:
        await registry.release(RELEASE)

    assert found.value.sequence == 4


async def test_a_blob_too_large_to_record_is_refused(opened: Callable[..., SqlRegistry]) -> None:
    registry = opened("sqlite://")

    with pytest.raises(ValueError, match="too large to record"):
        await registry.put("transcript", bytes(64 * 2**20 + 1))


async def test_an_event_from_before_a_field_was_added_still_reads(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    registry = opened(path)
    await _fill(registry)
    with _unguarded(path) as older:
        older.execute("""UPDATE events SET body = replace(body, ',"step":null', '')""")

    assert list((await registry.release(RELEASE)).events) == climb()


async def test_a_release_that_is_not_there_is_no_outage(
    opened: Callable[..., SqlRegistry], path: Path
) -> None:
    with pytest.raises(NotFound, match=r"Next: rampway status"):
        await opened(path).release("grammar-tutor-41")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB; needs the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    umount = shutil.which("umount")
    asked = [str(mount), "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if (
        not mount
        or not umount
        or subprocess.run(asked, check=False, capture_output=True).returncode
    ):
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run([umount, "--lazy", str(disk)], check=True)


async def _fill(registry: SqlRegistry) -> list[Event]:
    await registry.add_artifact("sha256:1", {"model": "v5"})
    await registry.put("evidence", b"{}")
    await registry.set_target(TUTOR, BASELINE)
    await registry.open_release(header())
    await registry.append(climb())
    await registry.point("grammar-tutor", CANDIDATE, release=RELEASE)
    await registry.keep_first_eval("key", b"PASS")
    return climb()


def _noise(number: int) -> bytes:
    """Eight kilobytes that do not compress."""
    return b"".join(hashlib.sha256(f"{number} {i}".encode()).digest() for i in range(256))


def _packed(body: bytes) -> bytes:
    return zlib.compress(body)


def _url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"


def _child(code: str, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(rampway.__file__).parents[1],
    )


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _unguarded(path: Path) -> Iterator[sqlite3.Connection]:
    """What somebody with the file in hand can do: drop the guards first."""
    with _connected(path) as intruder:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in intruder.execute(query).fetchall():
            intruder.execute(f"DROP TRIGGER {name}")
        yield intruder
        intruder.commit()
