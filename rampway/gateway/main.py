"""Starts a gateway, and stops it on SIGTERM when what was begun is finished."""

import asyncio
import signal
import sys
from collections.abc import Callable

import structlog

from rampway.gateway.assembly import gateway
from rampway.gateway.settings import BadSettings, Settings, from_environment
from rampway.gateway.starting import fast_loop, log_to
from rampway.gateway.supervisor import supervised

_log = structlog.get_logger("rampway.gateway")


def main() -> None:
    """Run a gateway by the environment's settings; exit 2 where they cannot be used."""
    log_to(sys.stderr)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can be heard: a reload ends no gateway
    try:
        settings = from_environment()
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(serve(settings, read_again=from_environment))
    except (BadSettings, OSError) as wrong:  # an OSError names the file that is not to be had
        sys.stderr.write(f"rampway gateway: {wrong}\n")
        sys.exit(2)


async def serve(settings: Settings, *, read_again: Callable[[], Settings] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, reading the settings again on SIGHUP.

    Raises BadSettings where another gateway has the state_dir.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    begin = supervised if settings.processes > 1 else gateway
    async with begin(settings, read_again=read_again) as address:
        _log.info("gateway.listening", **address)
        await stop.wait()
        _log.info("gateway.draining")
