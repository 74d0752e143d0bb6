"""The worker program: it carries releases until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

import structlog
from temporalio.worker import Worker

from workers.connection import connect
from workers.settings import Settings, read_settings
from workers.telemetry import metrics_runtime
from workers.wiring import build_workers, open_ports

log = structlog.get_logger()


async def run_worker(settings: Settings) -> None:
    """Carry releases until SIGTERM or SIGINT; activities get the grace to end."""
    client = await connect(runtime=metrics_runtime(settings.metrics_address))
    async with open_ports(settings) as ports:
        workers = build_workers(client, ports, settings)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("worker.started", task_queue=settings.task_queue, temporal=client.identity)
        async with asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker.run())
            group.create_task(_shut_down(stop, workers))
        log.info("worker.stopped")


async def _shut_down(stop: asyncio.Event, workers: tuple[Worker, ...]) -> None:
    await stop.wait()
    await asyncio.gather(*(worker.shutdown() for worker in workers))


def run_and_leave(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run a program that used a Temporal client, flush, and leave at once.

    The client's Rust threads may take the interpreter's lock while Python shuts down and abort or
    hang a program that had succeeded (temporalio/sdk-python issue 300), hence `os._exit`.
    """
    code = asyncio.run(work) or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> NoReturn:
    """The `rampway worker` program."""
    run_and_leave(run_worker(read_settings()))


if __name__ == "__main__":
    main()
