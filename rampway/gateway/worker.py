"""One of a supervisor's workers, which serves requests: `workerprocess SLOT CHANNEL PORT`.

It decides nothing: it routes by the split table, counts into its own part of each segment's file, hands
its lines to the supervisor, and says twenty milliseconds apart that it lives. Without its supervisor it
serves on: leases run out by themselves, and when they have it ends, unless a new supervisor retires it first.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import structlog

from rampway.gateway.census import CENSUS_SECONDS, Dropped, Spent, Traces, Tree, taken
from rampway.gateway.clockwork import SystemClock, beside, keep_doing
from rampway.gateway.courier import Channel, WorkerFiles
from rampway.gateway.fieldbytes import keep_bytes_of_fields
from rampway.gateway.following import FollowingRouter
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.metrics import Meters
from rampway.gateway.obeying import Obeying
from rampway.gateway.orders import Order
from rampway.gateway.runs import Run
from rampway.gateway.serving import Serving
from rampway.gateway.settings import BadSettings
from rampway.gateway.sharedcounts import SegmentFiles
from rampway.gateway.slots import Slot, SlotFile, Stage
from rampway.gateway.starting import fast_loop, log_to
from rampway.gateway.state import boot_id
from rampway.gateway.table import TableReader
from rampway.gateway.terms import Clock
from rampway.gateway.workercounts import WorkerCounts

TICK_SECONDS: Final = 0.02
ORPHAN_SECONDS: Final = (
    60.0  # a worker without a supervisor serves on for, when its leases have passed
)
_LOOK_FOR_RUN_SECONDS: Final = 1.0
_TABLE_SECONDS_MAX: Final = 5.0  # a worker that starts waits for a table that it can read
_log = structlog.get_logger("rampway.gateway")


class Worker:
    """The parts of a worker that look at the time."""

    def __init__(
        self, order: Order, slot: Slot, router: FollowingRouter, stop: asyncio.Event
    ) -> None:
        self._order = order
        self._run = Run(order.run)
        self._slot = slot
        self._router = router
        self._stop = stop
        router.acknowledge = self._beat
        self._orphaned_at: float | None = None
        self._looked_at = 0.0

    async def tick(self) -> None:
        """What every request does, for those that have none; and a sign of life."""
        now = time.monotonic()
        self._router.follow()
        self._beat()
        if self._router.is_retired or (self._is_orphaned(now) and self._may_end(now)):
            self._stop.set()

    def _beat(self) -> None:
        router = self._router
        self._slot.beat(time.monotonic(), applied=router.applied, blind=router.is_blind)

    def _is_orphaned(self, now: float) -> bool:
        if self._orphaned_at is None and os.getppid() != self._order.supervisor:
            _log.warning("worker.orphaned", next="start the gateway again")
            self._orphaned_at = now
        return self._orphaned_at is not None

    def _may_end(self, now: float) -> bool:
        """Have the leases passed a while ago, or is the directory gone that a new supervisor would look into?"""
        alone_since = max(self._orphaned_at or now, self._router.leases_end())
        if now >= alone_since + ORPHAN_SECONDS:
            return True
        if now < self._looked_at + _LOOK_FOR_RUN_SECONDS:
            return False
        self._looked_at = now
        return not self._run.is_there


def main() -> None:
    """Serve until SIGTERM, or until nobody needs it; exit 2 where it cannot."""
    log_to(sys.stderr)
    # They come to all processes at once; the supervisor says when.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    number, to_supervisor, bound = (int(told) for told in sys.argv[1:])
    channel = Channel(socket.socket(fileno=to_supervisor))
    try:
        order = Order.decode(channel.receive_order())
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            runner.run(work(order, number, channel, socket.socket(fileno=bound)))
    except (BadSettings, OSError) as wrong:
        sys.stderr.write(f"rampway gateway, worker {number}: {wrong}\n")
        sys.exit(2)


async def work(order: Order, number: int, channel: Channel, port: socket.socket) -> None:
    """Serve as the worker in slot `number`. Raises BadSettings or OSError."""
    keep_bytes_of_fields()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as parts:
        parts.callback(channel.close)
        writer = LossyWriter()
        parts.callback(writer.close)
        settings = order.settings
        files = WorkerFiles(
            settings.state_dir, settings.capture, writer, channel=channel, slot=number
        )
        meters, clock = Meters(), SystemClock()
        router = _router(order, number, files=files, meters=meters, clock=clock)
        await _read_table(router)
        serving = await Serving.open(parts, settings, router=router, meters=meters, clock=clock)
        slot = SlotFile(Run(order.run).slots)[number]
        slot.begin(os.getpid(), time.monotonic())
        slot.acknowledge(order.number)
        obeying = Obeying(
            channel,
            slot=slot,
            applying=serving.applying,
            files=files,
            writer=writer,
            forget=router.forget,
        )
        beside(parts, obeying.obey())
        worker = Worker(order, slot, router, stop)
        _keep_time(parts, worker, router, serving, files)
        writer.start()
        # A new gateway binds the port when it reads that nobody listens there any more.
        await serving.listen(parts, bound=port, stopped=partial(slot.tell, Stage.DRAINING))
        await worker.tick()
        slot.tell(Stage.SERVING)
        gc.collect()
        gc.freeze()
        await stop.wait()


def _router(
    order: Order, number: int, *, files: WorkerFiles, meters: Meters, clock: Clock
) -> FollowingRouter:
    settings, run = order.settings, Run(order.run)
    segments = SegmentFiles(
        run.segments,
        workers=settings.processes,
        units_remembered=settings.limits.units_remembered,
    )
    return FollowingRouter(
        TableReader(run.table),
        boot_id=boot_id(),
        clock=clock,
        counts=WorkerCounts(segments, number, clock=clock),
        meters=meters,
        files=files,
        settings=settings,
    )


def _keep_time(
    parts: AsyncExitStack,
    worker: Worker,
    router: FollowingRouter,
    serving: Serving,
    files: WorkerFiles,
) -> None:
    """Give signs of life, tell what the meters show, now and at the end, and mark slices."""

    async def tell() -> None:
        files.tell(_census(router, files, serving))

    async def mark() -> None:
        router.mark_due()

    parts.push_async_callback(tell)
    beside(parts, _each(TICK_SECONDS, worker.tick))
    beside(parts, _each(CENSUS_SECONDS, tell))
    beside(parts, keep_doing(mark, next_due=router.next_mark, clock=SystemClock()))


async def _read_table(router: FollowingRouter) -> None:
    """Nobody is served before the table was read. Raises OSError where it cannot be."""
    until = time.monotonic() + _TABLE_SECONDS_MAX
    router.follow()
    while not router.applied:
        if time.monotonic() > until:
            raise OSError("The split table cannot be read.")
        await asyncio.sleep(TICK_SECONDS)
        router.follow()


async def _each(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    """Act so many seconds apart, for ever."""
    while True:
        await act()
        await asyncio.sleep(seconds)


def _census(router: FollowingRouter, files: WorkerFiles, serving: Serving) -> Tree:
    proxy, spans = serving.proxy, serving.spans
    return taken(
        serving.meters,
        copied=router.copied_total,
        drawn=router.drawn_total,
        files=[
            Dropped(file.path, file.dropped_full_total, file.dropped_disk_total)
            for file in files.all()
        ],
        breakers={
            (target, epoch): copier.breaker.is_open()
            for target, (epoch, copier) in proxy.copiers.items()
        },
        budgets={
            target: Spent(budget.tokens_total, budget.spend_total)
            for target, budget in proxy.budgets.items()
        },
        spans=Traces(
            spans.delivered_total, spans.dropped_full_total, spans.dropped_undelivered_total
        )
        if spans
        else Traces(),
    )
