"""What a worker does when its supervisor speaks: it takes new settings up, or hands over all its lines."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from rampway.gateway.applying import Applying
from rampway.gateway.courier import FLUSH, ORDER, Channel, WorkerFiles
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.orders import Flush, Order
from rampway.gateway.slots import Slot

_FLUSHES_MAX: Final = 64  # at once
_log = structlog.get_logger("rampway.gateway")


class Obeying:
    """Listens to the supervisor while the worker serves.

    An order that cannot be read is not acknowledged: the supervisor then replaces this process.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        slot: Slot,
        applying: Applying,
        files: WorkerFiles,
        writer: LossyWriter,
        forget: Callable[[str, bytes], None],
    ) -> None:
        self._channel = channel
        self._slot = slot
        self._applying = applying
        self._files = files
        self._writer = writer
        self._forget = forget
        self._flushing: set[asyncio.Task[None]] = set()

    async def obey(self) -> None:
        """To the end of the supervisor, which is not ours."""
        reader = await self._channel.listen()
        while (line := await reader.readline()).endswith(b"\n"):
            head, _, told = line.removesuffix(b"\n").partition(b"\t")
            if head == ORDER:
                self._take(told)
            elif head == FLUSH and len(self._flushing) < _FLUSHES_MAX:
                # Beside what comes next: a disk that is slow must not hold up an order.
                task = asyncio.create_task(self._flush(Flush.model_validate_json(told)))
                self._flushing.add(task)
                task.add_done_callback(self._flushing.discard)

    def _take(self, told: bytes) -> None:
        try:
            order = Order.decode(told)
        except ValueError as wrong:
            _log.error("order.unreadable", why=str(wrong))
            return
        self._applying.take(order.settings)
        self._slot.acknowledge(order.number)

    async def _flush(self, flush: Flush) -> None:
        if flush.unit is not None:
            self._forget(flush.target, flush.unit)
        await asyncio.to_thread(self._writer.flush)
        self._files.tell_flushed(flush.number)
