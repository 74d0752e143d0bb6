"""The pools of connections to each upstream: one for requests, one for copies, never shared."""

import asyncio
from collections.abc import Mapping
from typing import Self

from multidict import CIMultiDict
from yarl import URL

from rampway.gateway.asking import Asking
from rampway.gateway.headers import REQUEST_ID
from rampway.gateway.settings import Settings, UpstreamSettings
from rampway.gateway.tariffs import Tariff
from rampway.gateway.terms import Serve


class Upstream:
    """One configured upstream and its pools."""

    def __init__(self, settings: UpstreamSettings, of: Settings) -> None:
        keep_alive = of.timeouts.upstream_keep_alive
        base = URL(settings.url, encoded=True)
        self.asking = Asking(
            base, connections=of.limits.upstream_connections, keep_alive_seconds=keep_alive
        )
        self.copying = Asking(
            base, connections=of.shadow.connections, keep_alive_seconds=keep_alive
        )
        self.tariff = Tariff(settings.models)
        self.artifact_header = settings.artifact_header
        self._in_use = 0
        self._closing: asyncio.Task[None] | None = None
        self.is_retired = False
        self._headers = settings.headers

    @property
    def is_closed(self) -> bool:
        return self.asking.is_closed

    def dress(self, headers: CIMultiDict[str], serve: Serve, request_id: str) -> CIMultiDict[str]:
        """A request's fields with those of the artifact, then the upstream's own, set."""
        dressed = headers.copy()
        dressed[REQUEST_ID] = request_id
        dressed.update(serve.headers)
        dressed.update(self._headers)
        return dressed

    def taken(self) -> None:
        """A request or a copy begins to use it; it says `given_back` once."""
        self._in_use += 1

    def given_back(self) -> None:
        self._in_use -= 1
        if self.is_retired:
            self._close_if_unused()

    def retire(self) -> None:
        """Take nothing new; close when what is in flight is over."""
        self.is_retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._in_use == 0 and self._closing is None:
            self._closing = asyncio.create_task(self.close())

    async def close(self) -> None:
        await self.asking.close()
        await self.copying.close()


class Upstreams:
    """All upstreams by name; open them on the running event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Upstream] = {}
        self._retired: list[Upstream] = []

    async def __aenter__(self) -> Self:
        for name, one in self._settings.upstreams.items():
            self._open[name] = Upstream(one, self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in [*self._open.values(), *self._retired]:
            await one.close()

    def change(self, settings: Settings, *, opened: list[str], closed: list[str]) -> None:
        """Open these anew and close those; what is in flight ends on the pool that it began on."""
        for name in (*opened, *closed):
            before = self._open.pop(name, None)
            if before is not None:
                before.retire()
                self._retired = [one for one in self._retired if not one.is_closed]
                self._retired.append(before)
        for name in opened:
            self._open[name] = Upstream(settings.upstreams[name], settings)

    @property
    def by_name(self) -> Mapping[str, Upstream]:
        return self._open
