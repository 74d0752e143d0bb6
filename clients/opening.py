"""Opens the parts that a command needs, and tells in one sentence which of them does not answer."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from clients.exits import Exit, Failure
from clients.settings import adopt_stack, home

if TYPE_CHECKING:
    import httpx
    from temporalio.client import Client

    from clients.client import Releases
    from rampway.adapters.figures_judge import JudgeFigures
    from rampway.ports import EvidenceSource, Registry, Traffic
    from workers.settings import Settings

HTTP_SECONDS = 2.0
MEMORY = frozenset({None, "", ":memory:"})

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class DataPlane:
    """The gateway, and the counts of gateway and judge."""

    traffic: "Traffic"
    evidence: "EvidenceSource"
    figures: "JudgeFigures | None" = None  # what a screen shows of a shadow


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a command's work; what the outside world refuses becomes a sentence and exit code 1."""
    from rampway.ports import AlreadyRecorded, NotFound, Tampered, Unreachable
    from rampway.release.splits import Refused

    try:
        return asyncio.run(work)
    except (AlreadyRecorded, NotFound, Refused, Unreachable) as failed:
        raise Failure(str(failed)) from failed
    except Tampered as changed:
        raise Failure(f"TAMPERED: {changed} Next: rampway verify --all") from changed


def settings() -> "Settings":
    """The settings of the local stack, or of the environment. Raises Failure (usage)."""
    from workers.settings import SettingsError

    try:
        return adopt_stack()
    except SettingsError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong


@asynccontextmanager
async def open_registry(*, create: bool = False) -> AsyncGenerator["Registry"]:
    """The record. Raises Failure when there is none yet, unless it may be made, or none that opens."""
    from rampway.adapters.registry_sql import NewerSchema, SqlRegistry
    from rampway.ports import Unreachable

    url = settings().registry_url
    file = registry_file(url)
    if file is not None and not file.exists():
        if not create:
            raise Failure(
                f"Nothing is recorded here: {file} does not exist. "
                "Next: rampway demo, or name the place with --home or RAMPWAY_REGISTRY_URL"
            )
        file.parent.mkdir(parents=True, exist_ok=True)
    try:
        registry = await asyncio.to_thread(SqlRegistry.open, url)
    except (NewerSchema, Unreachable) as closed:
        raise Failure(str(closed)) from closed
    try:
        yield registry
    finally:
        await registry.close()


def registry_exists() -> bool:
    """Whether there is a record to read: a file, or a database server that the settings name."""
    file = registry_file(settings().registry_url)
    return file is None or file.exists()


def registry_file(url: str) -> Path | None:
    """The file of a SQLite registry; None for a database server or memory."""
    from sqlalchemy import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in MEMORY:
        return None
    return Path(str(parsed.database))


@asynccontextmanager
async def open_gateway() -> AsyncGenerator["httpx.AsyncClient"]:
    """The gateway's admin API. Raises Failure (usage) where its certificates cannot be used."""
    from workers.gateway_http import gateway_http
    from workers.settings import SettingsError

    try:
        http = gateway_http(settings(), timeout=HTTP_SECONDS)
    except SettingsError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    async with http:
        yield http


@asynccontextmanager
async def open_data_plane() -> AsyncGenerator[DataPlane]:
    """Gateway and judge; nothing is asked of them yet."""
    import httpx

    from rampway.adapters.figures_judge import JudgeFigures
    from rampway.adapters.traffic_gateway import GatewayTraffic
    from workers.evidence import open_evidence

    found = settings()
    async with (
        open_gateway() as gateway,
        httpx.AsyncClient(base_url=found.judge_url, timeout=HTTP_SECONDS) as judge,
        open_evidence(found, gateway, judge) as evidence,
    ):
        yield DataPlane(GatewayTraffic(gateway), evidence, JudgeFigures(judge))


async def connect_temporal() -> "Client":
    """Temporal's client. Raises Failure, which also says what open splits do meanwhile."""
    from workers.connection import TemporalUnreachable, connect

    settings()  # a local stack's address, where the environment names none
    try:
        return await connect()
    except TemporalUnreachable as silent:
        raise Failure(str(silent)) from silent
    except RuntimeError as wrong:
        raise Failure(
            f"Temporal's configuration cannot be used: {wrong}. Next: mend it, or set TEMPORAL_ADDRESS"
        ) from wrong


async def open_releases() -> "Releases":
    """The releases of the namespace. Raises Failure when Temporal does not answer."""
    from clients.client import Releases

    return Releases(await connect_temporal(), settings().task_queue)


def reports_directory() -> Path:
    """Where reports of this machine are written."""
    return home() / "reports"
