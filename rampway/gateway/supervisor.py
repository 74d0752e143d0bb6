"""A gateway of several processes: one that decides and counts, and workers that serve, on one port.

The supervisor is the only writer of splits, state and journals, keeps the leases' time and seals slices;
it passes on no request. docs/gateway-processes.md tells what happens when any of them dies.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from rampway.gateway.census import Censuses
from rampway.gateway.clockwork import SystemClock
from rampway.gateway.crew import Crew
from rampway.gateway.deciding import Deciding
from rampway.gateway.fleet import PROPAGATION_SECONDS_MAX, Fleet
from rampway.gateway.gathering import Gathering
from rampway.gateway.hands import Hands
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.orders import Order
from rampway.gateway.overview import Overview
from rampway.gateway.ports import DataPort
from rampway.gateway.runs import Run, accepts, other_runs, retire_runs
from rampway.gateway.settings import Settings
from rampway.gateway.sharedcounts import SegmentFiles, SummedCounts
from rampway.gateway.slots import SlotFile
from rampway.gateway.state import boot_id
from rampway.gateway.storage import hold_directory, keep_clean
from rampway.gateway.table import TableWriter
from rampway.gateway.telling import Address, Telling
from rampway.gateway.terms import Clock

_LOOK_SECONDS: Final = 0.02


@asynccontextmanager
async def supervised(
    settings: Settings, *, read_again: Callable[[], Settings] | None = None
) -> AsyncGenerator[Address]:
    """A gateway of `settings.processes` workers, as `assembly.gateway` is one of a single process.

    Raises BadSettings where its directory or a port is not to be had.
    """
    clock = SystemClock()
    async with AsyncExitStack() as parts:
        directory = hold_directory(parts, settings.state_dir)
        run = Run.begin(directory)
        parts.callback(run.remove)
        port = _data_port(parts, settings, run)
        supervisor = Supervisor(parts, settings, run, port, clock)
        supervisor.keep_time(parts)
        keep_clean(parts, settings, clock)
        await supervisor.start_workers(parts)
        # From here on nobody but our own workers routes by what is written.
        await retire_runs(directory, run)
        telling = supervisor.telling(read_again)
        admin_port = await telling.listen(parts)
        address = telling.announce(admin_port=admin_port, data_port=port.number)
        parts.push_async_callback(supervisor.crew.stop, settings.timeouts.drain)
        yield address


class Supervisor:
    """Decides, and has it done by a crew. Closed with the stack that it is made in."""

    def __init__(
        self, parts: AsyncExitStack, settings: Settings, run: Run, port: DataPort, clock: Clock
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._writer = LossyWriter()
        parts.callback(self._writer.close)
        self._gathering = Gathering(settings, self._writer)
        self._censuses = Censuses()
        slots = SlotFile(run.slots, create=True)
        self._hands = Hands(slots, Order.first(settings, run, data_port=port.number), clock=clock)
        self.crew = Crew(
            settings.processes,
            hands=self._hands,
            port=port,
            slots=slots,
            gathering=self._gathering,
            censuses=self._censuses,
            clock=clock,
        )
        self._fleet, self._deciding = self._decided(parts, run, slots)
        self._writer.start()

    def keep_time(self, parts: AsyncExitStack) -> None:
        """Marks and lives of workers are looked at, where one process looks at its requests."""

        async def look() -> None:
            self._gathering.mark_due(self._clock.monotonic())
            self._fleet.look()

        self._deciding.keep_time(parts, look, lambda: self._clock.monotonic() + _LOOK_SECONDS)

    async def start_workers(self, parts: AsyncExitStack) -> None:
        """Returns when all serve by what was loaded; they end with the stack. Raises BadSettings."""
        parts.push_async_callback(self.crew.stop, 0.0)  # where anything after this fails
        await self.crew.start()

    def telling(self, read_again: Callable[[], Settings] | None) -> Telling:
        return Telling(
            self._settings,
            self._deciding,
            health=self._overview(),
            read_again=read_again,
            apply=self._hands.serve_by,
            written=self._written,
            propagation_seconds=PROPAGATION_SECONDS_MAX,
        )

    def _decided(self, parts: AsyncExitStack, run: Run, slots: SlotFile) -> tuple[Fleet, Deciding]:
        """All that was loaded, written to the table: leases that have passed are down."""
        settings, clock = self._settings, self._clock
        segments = SegmentFiles(
            run.segments,
            workers=settings.processes,
            units_remembered=settings.limits.units_remembered,
        )
        counts = SummedCounts(settings.state_dir, segments, clock=clock)
        fleet = Fleet(
            TableWriter(run.table, boot_id=boot_id()),
            slots,
            self.crew,
            segments=segments,
            counts=counts,
            gathering=self._gathering,
            clock=clock,
        )
        deciding = Deciding.open(
            parts,
            settings,
            counts=counts,
            changed=fleet.change,
            instances=fleet,
            handouts=None,  # the workers have them
            clock=clock,
        )
        deciding.authority.load()
        fleet.publish()
        return fleet, deciding

    def _overview(self) -> Overview:
        return Overview(
            self._deciding,
            crew=self.crew,
            censuses=self._censuses,
            spools=self._gathering.spools,
        )

    async def _written(self, target: str, unit: bytes | None) -> None:
        await self._hands.flush(target, unit)
        await asyncio.to_thread(self._writer.flush)


def _data_port(parts: AsyncExitStack, settings: Settings, run: Run) -> DataPort:
    """The port, which workers of a supervisor that is dead may share for a moment. Raises BadSettings."""
    others = other_runs(settings.state_dir, run)
    shared = any(accepts(other) for other in others)
    port = DataPort(settings.data_host, settings.data_port, shared_by_now=shared)
    parts.callback(port.close)
    return port
