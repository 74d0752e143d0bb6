"""Two waits that asyncio does not have: one to the very end, and one with a durable limit."""

import asyncio
import contextlib
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

T = TypeVar("T")
SECONDS_PER_MINUTE = 60


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end, however often the workflow is cancelled meanwhile.

    `asyncio.shield` alone would return at the first cancel and leave the work behind.
    """
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await workflow.wait([task])
    return task.result()


async def within(task: "asyncio.Future[Any]", limit: timedelta, *, summary: str) -> bool:
    """Wait for a task, at most for a limit; whether it is done. The task goes on either way."""
    timer = asyncio.create_task(workflow.sleep(limit, summary=summary))
    try:
        await workflow.wait([task, timer], return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return task.done()


def words(length: timedelta) -> str:
    """A length of time as a person says it: 30 min, 45 s."""
    seconds = length.total_seconds()
    whole_minutes = seconds >= SECONDS_PER_MINUTE and seconds % SECONDS_PER_MINUTE == 0
    return f"{seconds / SECONDS_PER_MINUTE:g} min" if whole_minutes else f"{seconds:g} s"
