"""A gateway of several processes: one that decides and counts, and workers that serve, on one port.

The supervisor is the only writer of splits, state and journals, keeps the leases' time and seals slices;
it passes on no request. docs/gateway-processes.md tells what happens when any of them dies.
"""

import asyncio
import gc
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import orjson

from rampway.gateway.admin import Admin
from rampway.gateway.assembly import (
    ADDRESS_FILE,
    SystemClock,
    end_task,
    forget_unit,
    keep_clean,
    listen_admin,
    only_one,
    reload_on_signal,
    state_directory,
    warn,
)
from rampway.gateway.authority import Authority
from rampway.gateway.census import Censuses
from rampway.gateway.clockwork import keep_doing
from rampway.gateway.crew import Crew
from rampway.gateway.durable import replace_file
from rampway.gateway.feedback import Feedback
from rampway.gateway.fleet import PROPAGATION_SECONDS_MAX, Fleet
from rampway.gateway.gathering import Gathering
from rampway.gateway.hands import Hands
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.orders import Order
from rampway.gateway.overview import Overview
from rampway.gateway.ports import DataPort
from rampway.gateway.reloading import Reload
from rampway.gateway.runs import Run, accepts, other_runs, retire_runs
from rampway.gateway.settings import Settings
from rampway.gateway.sharedcounts import SegmentFiles, SummedCounts
from rampway.gateway.slots import SlotFile
from rampway.gateway.state import StateFile, boot_id
from rampway.gateway.table import TableWriter
from rampway.gateway.truth import Truth

_LOOK_SECONDS: Final = 0.02


@asynccontextmanager
async def supervised(
    settings: Settings, *, read_again: Callable[[], Settings] | None = None
) -> AsyncGenerator[dict[str, str | int]]:
    """A gateway of `settings.processes` workers, as `assembly.gateway` is one of a single process.

    Raises BadSettings where its directory or a port is not to be had.
    """
    clock, boot = SystemClock(), boot_id()
    async with AsyncExitStack() as parts:
        directory = state_directory(settings.state_dir)
        parts.callback(os.close, only_one(directory))
        run = Run.begin(directory)
        parts.callback(run.remove)
        port = DataPort(
            settings.data_host,
            settings.data_port,
            shared_by_now=any(accepts(other) for other in other_runs(directory, run)),
        )
        parts.callback(port.close)
        table = TableWriter(run.table, boot_id=boot)
        slots = SlotFile(run.slots, create=True)
        segments = SegmentFiles(
            run.segments,
            workers=settings.processes,
            units_remembered=settings.limits.units_remembered,
        )
        counts = SummedCounts(directory, segments, clock=clock)
        parts.callback(counts.close)
        writer = LossyWriter()
        parts.callback(writer.close)
        gathering, censuses = Gathering(settings, writer), Censuses()
        hands = Hands(slots, Order.first(settings, run, data_port=port.number), clock=clock)
        crew = Crew(
            settings.processes,
            hands=hands,
            port=port,
            slots=slots,
            gathering=gathering,
            censuses=censuses,
            clock=clock,
        )
        fleet = Fleet(
            table, slots, crew, segments=segments, counts=counts, gathering=gathering, clock=clock
        )
        authority = Authority(
            state=StateFile(settings.state_dir, boot_id=boot),
            truth=Truth(settings.state_dir),
            clock=clock,
            upstreams=frozenset(settings.upstreams),
            boot_id=boot,
            changed=fleet.change,
            instances=fleet,
        )
        parts.callback(authority.close)
        authority.load()
        fleet.publish()
        writer.start()
        _keep_time(parts, authority=authority, counts=counts, gathering=gathering, fleet=fleet)
        parts.push_async_callback(end_task, asyncio.create_task(keep_clean(settings, clock)))
        parts.push_async_callback(crew.stop, 0.0)  # where anything below fails
        await crew.start()
        # From here on nobody but our own workers routes by what is written.
        await retire_runs(directory, run)
        feedback = Feedback(
            directory,
            settings.feedback,
            counts=counts,
            split_of=authority.split,
            handouts=None,  # the workers have them
            clock=clock,
        )
        parts.callback(feedback.close)
        overview = Overview(
            authority=authority,
            counts=counts,
            feedback=feedback,
            clock=clock,
            crew=crew,
            censuses=censuses,
            spools=gathering.spools,
        )

        async def written(target: str, unit: bytes | None) -> None:
            await hands.flush(target, unit)
            await asyncio.to_thread(writer.flush)

        reload = Reload(settings, read=read_again, authority=authority, apply=hands.serve_by)
        if read_again is not None:
            reload_on_signal(parts, reload)
        admin = Admin(
            authority=authority,
            counts=counts,
            feedback=feedback,
            reload=reload,
            metrics=overview.page,
            not_ready=overview.not_ready,
            forget=partial(forget_unit, directory, written),
            token=settings.admin_token,
            propagation_seconds=PROPAGATION_SECONDS_MAX,
        )
        address: dict[str, str | int] = {
            "admin_host": settings.admin_host,
            "admin_port": await listen_admin(parts, settings, admin),
            "data_host": settings.data_host,
            "data_port": port.number,
            "pid": os.getpid(),
        }
        replace_file(directory / ADDRESS_FILE, orjson.dumps(address))
        warn(authority)
        gc.collect()
        gc.freeze()
        parts.push_async_callback(crew.stop, settings.timeouts.drain)
        yield address


def _keep_time(
    parts: AsyncExitStack,
    *,
    authority: Authority,
    counts: SummedCounts,
    gathering: Gathering,
    fleet: Fleet,
) -> None:
    """As one process keeps it, but that marks and lives of workers are looked at instead of requests."""
    clock = SystemClock()

    async def expire() -> None:
        authority.lapse_due()
        await authority.record()

    async def look() -> None:
        gathering.mark_due(clock.monotonic())
        fleet.look()

    def next_look() -> float:
        return clock.monotonic() + _LOOK_SECONDS

    for work in (
        keep_doing(expire, next_due=authority.next_expiry, clock=clock),
        keep_doing(counts.seal_due, next_due=counts.next_seal, clock=clock),
        keep_doing(look, next_due=next_look, clock=clock),
    ):
        parts.push_async_callback(end_task, asyncio.create_task(work))
