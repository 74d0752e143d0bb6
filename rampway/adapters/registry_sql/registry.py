"""The registry over one SQL database: what is appended is never changed."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import sqlalchemy as sa
from pydantic import JsonValue

from rampway.adapters.registry_sql import rows
from rampway.adapters.registry_sql.database import open_database, transact, transact_writing
from rampway.release.events import Event
from rampway.release.records import Header, Record, Standing, Target
from rampway.release.splits import Served

BUSY_SECONDS = 5.0

Answer = TypeVar("Answer")


class SqlRegistry:
    """`ports.Registry` over one SQL database; threads do the waiting, so the event loop never does.

    Besides what the port names, `append` raises `release.events.ChainBroken` for a gap, a broken chain
    or a move that no rule allows, and reads raise `ports.Tampered` for a row that is not what was
    written. A chain that merely does not add up is returned as it is: `reports.verification` says
    where and why.
    """

    def __init__(self, engine: sa.Engine, *, connections: int) -> None:
        self._reading = engine
        self._writing = engine.execution_options(writes=True)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="registry")

    @classmethod
    def open(cls, url: str, *, busy_seconds: float = BUSY_SECONDS) -> Self:
        """Open, and bring to this Rampway's schema, the database at a SQLAlchemy URL. Blocks.

        A path in a URL is quoted (`%` as `%25`). A write waits up to `busy_seconds` for another
        process's. Raises NewerSchema, and Unreachable when the database cannot be opened, read or
        migrated.
        """
        engine, connections = open_database(url, busy_seconds=busy_seconds)
        return cls(engine, connections=connections)

    async def close(self) -> None:
        """Let go of the database; what was appended is on disk already."""
        await asyncio.to_thread(self._threads.shutdown)
        self._reading.dispose()

    async def add_artifact(self, digest: str, content: dict[str, JsonValue]) -> None:
        await self._write(lambda c: rows.add_artifact(c, digest, content))

    async def artifact(self, digest: str) -> dict[str, JsonValue]:
        return await self._read(lambda c: rows.artifact(c, digest))

    async def put(self, kind: str, body: bytes) -> str:
        """Store a blob and return its digest. Raises ValueError above rows.MAX_BLOB_BYTES."""
        digest, packed = rows.pack(kind, body)
        await self._write(lambda c: rows.put(c, digest, kind, packed))
        return digest

    async def get(self, digest: str) -> bytes:
        return await self._read(lambda c: rows.get(c, digest))

    async def set_target(self, target: Target, baseline: Served) -> None:
        """Register a target with its first baseline, or record a changed configuration.

        Never moves the baseline of a known target, only a release does: `baseline` must then be the
        current one or the one first registered (a repeated `target add`), else AlreadyRecorded.
        """
        await self._write(lambda c: rows.set_target(c, target, baseline))

    async def target(self, name: str) -> Standing:
        return await self._read(lambda c: rows.standing(c, name))

    async def targets(self) -> Sequence[Standing]:
        return await self._read(rows.standings)

    async def point(self, target: str, baseline: Served, *, release: str) -> None:
        """Record that `release` made `baseline` the target's; a repeat, however late, moves nothing."""
        await self._write(lambda c: rows.point(c, target, baseline, release))

    async def open_release(self, header: Header) -> None:
        await self._write(lambda c: rows.open_release(c, header))

    async def append(self, events: Sequence[Event]) -> None:
        """Append events, all or none. Those already stored, bit for bit, are passed over."""
        await self._write(lambda c: rows.append(c, events))

    async def release(self, name_or_id: str) -> Record:
        """Find by id, by name, or by the beginning of an id (rows.MIN_PREFIX characters or more).

        Raises NotFound, naming the candidates when there are several.
        """
        return await self._read(lambda c: rows.release(c, name_or_id))

    async def releases(self, target: str | None = None) -> Sequence[Record]:
        """All releases, or a target's, newest first."""
        return await self._read(lambda c: rows.releases(c, target))

    async def keep_first_eval(self, key: str, verdict: bytes) -> bytes:
        """Keep a verdict unless one is kept under this key already; return the one that stands."""
        return await self._write(lambda c: rows.keep_first_eval(c, key, verdict))

    async def _read(self, act: Callable[[sa.Connection], Answer]) -> Answer:
        return await self._in_thread(lambda: transact(self._reading, act))

    async def _write(self, act: Callable[[sa.Connection], Answer]) -> Answer:
        return await self._in_thread(lambda: transact_writing(self._writing, act))

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
