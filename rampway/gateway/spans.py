"""The queue of ended spans: bounded, delivered by a thread of its own, what is dropped is counted."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from rampway.gateway.tracing import SpanRecord

QUEUED_MAX: Final = 4_096
BATCH_MAX: Final = 512
EVERY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 3.0  # a collector that is dead does not hold up a stop for longer
_log = structlog.get_logger("rampway.gateway")


class Delivery(Protocol):
    """Brings spans to a collector, in the thread that calls it."""

    def send(self, batch: Sequence[SpanRecord]) -> bool:
        """Did the collector take them? Bounded in time."""
        ...

    def stop(self) -> None:
        """Give up what is being tried, from another thread."""
        ...


class SpanQueue:
    """`put` is for the event loop and never waits; the newest is dropped where the queue is full."""

    def __init__(self, delivery: Delivery, *, queued_max: int = QUEUED_MAX) -> None:
        self._delivery = delivery
        self._queued_max = queued_max
        self._queue: deque[SpanRecord] = deque()
        self._awake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rampway-spans", daemon=True)
        self._is_delivering = True
        # Each of these has one writing thread, so that none needs a lock.
        self.dropped_full_total = 0
        self.dropped_undelivered_total = 0
        self.delivered_total = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, record: SpanRecord) -> None:
        waiting = len(self._queue)
        if waiting >= self._queued_max:
            self.dropped_full_total += 1
            return
        self._queue.append(record)
        if waiting + 1 == BATCH_MAX:
            self._awake.set()

    def close(self) -> None:
        """Deliver what is queued, if that can be done soon, and stop."""
        self._stopped.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
        self._delivery.stop()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._awake.wait(EVERY_SECONDS)
            self._awake.clear()
            self._deliver_queued()
        self._deliver_queued()

    def _deliver_queued(self) -> None:
        while batch := self._taken():
            if self._sent(batch):
                self.delivered_total += len(batch)
            else:
                self.dropped_undelivered_total += len(batch)

    def _taken(self) -> list[SpanRecord]:
        # Popped one by one: going through a deque that the event loop appends to raises.
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]

    def _sent(self, batch: Sequence[SpanRecord]) -> bool:
        try:
            taken, why = self._delivery.send(batch), "the collector did not take them"
        except Exception as failed:  # noqa: BLE001 - whatever a library raises, the thread lives on
            taken, why = False, f"{type(failed).__name__}: {failed}"
        if taken is not self._is_delivering:  # told once, when it changes
            self._is_delivering = taken
            if taken:
                _log.info("spans.delivered_again")
            else:
                _log.warning("spans.undelivered", spans=len(batch), why=why)
        return taken
