"""Starts the judge and ends it cleanly: settings, graders, counts, then looking and listening."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import orjson
import structlog
from aiohttp import web

from rampway.judge.gold import GoldUnusable, UnknownGrader, load_grader
from rampway.judge.judging import Docket, Judge
from rampway.judge.serving import Serving
from rampway.judge.settings import Settings, SettingsUnusable, settings_from_environment
from rampway.judge.store import Store, StoreBusy

ANNOUNCEMENT = "judge.json"
DRAIN_SECONDS_MAX = 2.0
EXIT_OK, EXIT_ERROR, EXIT_USAGE = 0, 1, 2


def main() -> int:
    """Run the judge that RAMPWAY_JUDGE_CONFIG describes until SIGTERM; return the exit code."""
    _log_to_stderr()
    try:
        settings = settings_from_environment()
        dockets = read_dockets(settings)
        asyncio.run(serve(settings, dockets, wall_seconds=time.time))
    except (SettingsUnusable, UnknownGrader, GoldUnusable) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except (StoreBusy, sqlite3.DatabaseError, OSError) as error:
        sys.stderr.write(f"The judge cannot run: {error}\n")
        return EXIT_ERROR
    return EXIT_OK


def read_dockets(settings: Settings) -> list[Docket]:
    """Load every target's grader. Raises UnknownGrader or GoldUnusable."""
    return [
        Docket(
            target=name,
            grader=load_grader(target.grader, target.gold, key_fields=target.key_fields),
            judge_seconds=target.judge_seconds,
        )
        for name, target in settings.targets.items()
    ]


async def serve(
    settings: Settings, dockets: list[Docket], *, wall_seconds: Callable[[], float]
) -> None:
    """Judge and answer until SIGTERM or SIGINT. Raises StoreBusy, or OSError for a taken port.

    What looking at the spools cannot survive ends the judge too: a judge that only answers would
    pass for one that works.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.closing(Store(settings.state_dir / "counts.sqlite3")) as store:
        judges = {d.target: Judge(d, settings.spool_dir, store, wall_seconds) for d in dockets}
        with contextlib.closing(Serving(judges, store)) as serving:
            async with _listening(settings, serving.app()):
                await _look_until_stopped(serving)


async def _look_until_stopped(serving: Serving) -> None:
    looking = asyncio.create_task(serving.look_for_ever())
    stopped = asyncio.create_task(_stop_signal())
    try:
        done, _ = await asyncio.wait({looking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        looking.cancel()
        stopped.cancel()
        await asyncio.wait({looking, stopped})


@contextlib.asynccontextmanager
async def _listening(settings: Settings, app: web.Application) -> AsyncGenerator[None]:
    """Listen, and say where in the state directory for as long as that is true."""
    announcement = settings.state_dir / ANNOUNCEMENT
    announcement.unlink(missing_ok=True)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_SECONDS_MAX)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        port: int = runner.addresses[0][1]
        _announce(announcement, host=settings.host, port=port)
        structlog.get_logger().info("judge.listening", host=settings.host, port=port)
        yield
    finally:
        announcement.unlink(missing_ok=True)
        await runner.cleanup()


def _announce(path: Path, *, host: str, port: int) -> None:
    facts = {"url": f"http://{host}:{port}", "host": host, "port": port, "pid": os.getpid()}
    written = path.with_suffix(".part")
    written.write_bytes(orjson.dumps(facts))
    written.replace(path)


async def _stop_signal() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
