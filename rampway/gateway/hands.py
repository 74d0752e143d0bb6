"""The supervisor's ends of the channels to its workers: what it tells them, and who has done it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from rampway.gateway.courier import FLUSH, MESSAGE_BYTES_MAX, ORDER, told
from rampway.gateway.orders import Flush, Order
from rampway.gateway.settings import Settings
from rampway.gateway.slots import SlotFile
from rampway.gateway.terms import Clock, NotStored

if TYPE_CHECKING:
    from asyncio.subprocess import Process

OBEY_SECONDS_MAX: Final = (
    2.0  # no split is raised meanwhile: a worker that lives takes milliseconds
)
FLUSH_SECONDS_MAX: Final = 15.0  # longer than a worker may be silent before it is killed
_KILL_SECONDS_MAX: Final = 1.0  # until a worker that was killed is no more
_LOOK_SECONDS: Final = 0.005
_log = structlog.get_logger("rampway.gateway")


@dataclass(slots=True, eq=False)
class Hand:
    """A worker that was given its first order. `flushed` is the last flush that it has answered."""

    number: int
    process: "Process"
    writer: asyncio.StreamWriter
    flushed: int = 0
    is_outdated: bool = False  # it was killed because it did not follow an order

    def tell(self, line: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(line)

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it has just ended by itself
            self.process.kill()


class Hands:
    """All workers that can be told something. Each begins with the newest order."""

    def __init__(self, slots: SlotFile, order: Order, *, clock: Clock) -> None:
        self._slots = slots
        self._order = order
        self._clock = clock
        self._hands: dict[int, Hand] = {}
        self._flushes = 0

    async def join(
        self, number: int, process: "Process", channel: socket.socket
    ) -> asyncio.StreamReader:
        """Give a worker its first order; answers what is heard of it. Raises OSError."""
        reader, writer = await asyncio.open_unix_connection(sock=channel, limit=MESSAGE_BYTES_MAX)
        hand = Hand(number, process, writer)
        hand.tell(told(ORDER, self._order.encode()))
        self._hands[number] = hand
        return reader

    def leave(self, number: int) -> bool:
        """A worker has ended; answers whether it was killed because it did not follow an order."""
        hand = self._hands.pop(number, None)
        if hand is None:
            return False
        hand.writer.close()
        return hand.is_outdated

    def flushed(self, number: int, flush: int) -> None:
        self._hands[number].flushed = flush

    async def serve_by(self, settings: Settings) -> None:
        """Returns when every worker serves by these settings; who does not obey is killed.

        A worker that is started from now on knows nothing else.
        """
        order = self._order = self._order.next(settings)
        line = told(ORDER, order.encode())
        behind = list(self._hands.values())
        for hand in behind:
            hand.tell(line)
        behind = await self._left(
            behind, lambda hand: self._slots[hand.number].order < order.number, OBEY_SECONDS_MAX
        )
        for hand in behind:
            _log.error("worker.disobeyed", worker=hand.number, next="it is replaced")
            hand.is_outdated = True
            hand.kill()
        await self._left(behind, lambda _: True, _KILL_SECONDS_MAX)

    async def flush(self, target: str, unit: bytes | None) -> None:
        """Returns when all that workers held has come or is on the disk; of `unit` they let it go.

        Raises NotStored.
        """
        flush = self._flushes = self._flushes + 1
        line = told(FLUSH, Flush(number=flush, target=target, unit=unit).encode())
        asked = list(self._hands.values())
        for hand in asked:
            hand.tell(line)
        left = await self._left(asked, lambda hand: hand.flushed < flush, FLUSH_SECONDS_MAX)
        if left:
            names = ", ".join(f"worker-{hand.number}" for hand in left)
            raise NotStored(f"{names} did not write its lines in time: send it again.")

    async def _left(
        self, hands: list[Hand], waits: Callable[[Hand], bool], seconds: float
    ) -> list[Hand]:
        """Those that are here and still `waits`, when there are none or the time has passed.

        One that has died is here until all that it had sent was taken.
        """
        until = self._clock.monotonic() + seconds
        while left := [h for h in hands if self._hands.get(h.number) is h and waits(h)]:
            if self._clock.monotonic() > until:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return left
