"""What happens by time alone: leases run out, slices are sealed, shadow slices are marked."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import structlog

from rampway.gateway.terms import Clock, Instant, NotStored

PERIOD_SECONDS: Final = 0.25  # how late a thing is noticed that became due since the last look
_SHORTEST_SECONDS: Final = 0.002
_log = structlog.get_logger("rampway.gateway")


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time())


def beside(parts: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Do this beside everything else, until the stack ends."""
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        with suppress(asyncio.CancelledError, NotStored):
            await task

    parts.push_async_callback(end)


async def keep_doing(
    act: Callable[[], Awaitable[None]], *, next_due: Callable[[], float | None], clock: Clock
) -> None:
    """Act when something is due, for ever; what fails is logged and tried again each period.

    A slice that is never sealed becomes NO_DATA for who decides, and a lease is looked at by every
    request anyway: neither is a reason to stop serving.
    """
    while True:
        try:
            await act()
        except NotStored as failed:
            _log.warning("state.waits_for_disk", why=str(failed))
            await asyncio.sleep(PERIOD_SECONDS)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("clockwork.failed")
            await asyncio.sleep(PERIOD_SECONDS)
        due = next_due()
        left = PERIOD_SECONDS if due is None else due - clock.monotonic()
        await asyncio.sleep(min(max(left, _SHORTEST_SECONDS), PERIOD_SECONDS))
