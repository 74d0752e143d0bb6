"""Starts a gateway, and stops it on SIGTERM when what was begun is finished."""

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import TextIO

import structlog

from rampway.gateway.assembly import gateway
from rampway.gateway.requestlog import about_request
from rampway.gateway.settings import BadSettings, Settings, from_environment

_log = structlog.get_logger("rampway.gateway")


def main() -> None:
    """Run a gateway by the environment's settings; exit 2 where they cannot be used."""
    _log_to(sys.stderr)
    try:
        settings = from_environment()
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(serve(settings))
    except (BadSettings, OSError) as wrong:  # an OSError names the file that is not to be had
        sys.stderr.write(f"rampway gateway: {wrong}\n")
        sys.exit(2)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises BadSettings where another gateway has the state_dir."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with gateway(settings) as address:
        _log.info("gateway.listening", **address)
        await stop.wait()
        _log.info("gateway.draining")


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where it is installed: the budget of a request is reckoned with it."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def _log_to(stream: TextIO) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            about_request,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
