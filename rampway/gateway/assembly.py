"""A gateway of one process, put together from its parts; and taken apart in the reverse order."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from rampway.gateway.admin import PROPAGATION_SECONDS
from rampway.gateway.clockwork import SystemClock
from rampway.gateway.counts import Counts
from rampway.gateway.deciding import Deciding
from rampway.gateway.fieldbytes import keep_bytes_of_fields
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.metrics import Meters
from rampway.gateway.monitoring import Monitoring
from rampway.gateway.routing import Router
from rampway.gateway.runs import retire_runs
from rampway.gateway.serving import Serving
from rampway.gateway.settings import Settings
from rampway.gateway.storage import hold_directory, keep_clean
from rampway.gateway.telling import Address, Telling
from rampway.gateway.terms import Clock
from rampway.gateway.trafficlog import TrafficFiles


@asynccontextmanager
async def gateway(
    settings: Settings, *, read_again: Callable[[], Settings] | None = None
) -> AsyncGenerator[Address]:
    """A gateway that serves while the context lasts; gives what it wrote to `gateway.json`.

    `read_again` reads the settings as they are by then, on SIGHUP and when the admin API asks.
    Raises BadSettings where its directory or a port is not to be had.
    """
    keep_bytes_of_fields()
    clock = SystemClock()
    async with AsyncExitStack() as parts:
        await retire_runs(hold_directory(parts, settings.state_dir))
        only = await OnlyProcess.open(parts, settings, clock)
        only.keep_time(parts)
        keep_clean(parts, settings, clock)
        telling = only.telling(read_again)
        admin_port = await telling.listen(parts)
        data_port = await only.serving.listen(parts)
        yield telling.announce(admin_port=admin_port, data_port=data_port)


class OnlyProcess:
    """Decides and serves."""

    def __init__(
        self,
        settings: Settings,
        *,
        files: TrafficFiles,
        router: Router,
        serving: Serving,
        deciding: Deciding,
    ) -> None:
        self._settings = settings
        self._files = files
        self._router = router
        self.serving = serving
        self._deciding = deciding

    @classmethod
    async def open(cls, parts: AsyncExitStack, settings: Settings, clock: Clock) -> "OnlyProcess":
        """Closed with the stack. Leases that have passed are down before anybody can connect."""
        directory, meters = settings.state_dir, Meters()
        writer = LossyWriter()
        parts.callback(writer.close)
        files = TrafficFiles(directory, settings.capture, writer)
        counts = Counts(directory, clock=clock, units_remembered=settings.limits.units_remembered)
        router = Router(clock=clock, counts=counts, meters=meters, files=files, settings=settings)
        serving = await Serving.open(parts, settings, router=router, meters=meters, clock=clock)
        deciding = Deciding.open(
            parts,
            settings,
            counts=counts,
            changed=router.change,
            instances=None,
            handouts=serving.handouts,
            clock=clock,
        )
        router.lapse = deciding.authority.lapse
        deciding.authority.load()
        writer.start()
        return cls(settings, files=files, router=router, serving=serving, deciding=deciding)

    def keep_time(self, parts: AsyncExitStack) -> None:
        async def mark() -> None:
            self._router.mark_due()

        self._deciding.keep_time(parts, mark, self._router.next_mark)

    def telling(self, read_again: Callable[[], Settings] | None) -> Telling:
        return Telling(
            self._settings,
            self._deciding,
            health=self._monitoring(),
            read_again=read_again,
            apply=self._apply,
            written=self._written,
            propagation_seconds=PROPAGATION_SECONDS,
        )

    def _monitoring(self) -> Monitoring:
        serving = self.serving
        return Monitoring(
            self._deciding,
            router=self._router,
            files=self._files,
            meters=lambda: serving.meters,
            proxy=serving.proxy,
            spans=serving.spans,
        )

    async def _apply(self, settings: Settings) -> None:
        self.serving.applying.take(settings)

    async def _written(self, target: str, unit: bytes | None) -> None:
        if unit is not None:
            self._router.forget(target, unit)
        await asyncio.to_thread(self._files.flush)
