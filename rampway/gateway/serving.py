"""The parts of a process that serves requests: the only one, or a worker."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from aiohttp import web

from rampway.gateway.applying import Applying
from rampway.gateway.clockwork import beside
from rampway.gateway.handouts import Handouts
from rampway.gateway.listener import DataServer
from rampway.gateway.listening import BACKLOG, bind, stop_listening
from rampway.gateway.metrics import Meters
from rampway.gateway.proxy import Proxy
from rampway.gateway.routing import Router
from rampway.gateway.settings import BadSettings, Settings
from rampway.gateway.spans import SpanQueue
from rampway.gateway.terms import Clock
from rampway.gateway.tracing import Tracing
from rampway.gateway.upstreams import Upstreams


@dataclass(frozen=True)
class Serving:
    """What passes requests on by what `router` says."""

    settings: Settings
    meters: Meters
    proxy: Proxy
    spans: SpanQueue | None
    handouts: Handouts
    applying: Applying

    @classmethod
    async def open(
        cls,
        parts: AsyncExitStack,
        settings: Settings,
        *,
        router: Router,
        meters: Meters,
        clock: Clock,
    ) -> "Serving":
        """Closed with the stack. Raises BadSettings where the libraries for spans are not installed."""
        upstreams = await parts.enter_async_context(Upstreams(settings))
        spans = _open_spans(parts, settings)
        handouts = Handouts(settings.feedback)
        proxy = Proxy(
            settings,
            router=router,
            upstreams=upstreams.by_name,
            meters=meters,
            clock=clock,
            handouts=handouts,
            tracing=Tracing(spans.put, part=settings.telemetry.sample) if spans else None,
        )
        parts.push_async_callback(proxy.close)
        beside(parts, proxy.load.keep_time())
        applying = Applying(settings, upstreams=upstreams, proxy=proxy)
        return cls(settings, meters, proxy, spans, handouts, applying)

    async def listen(
        self,
        parts: AsyncExitStack,
        *,
        bound: socket.socket | None = None,
        stopped: Callable[[], None] | None = None,
    ) -> int:
        """Take requests until the stack ends, on a socket that is bound already, if one is given.

        `stopped` is called when it takes no more, before those that it has taken are answered.
        """
        settings = self.settings
        server = DataServer(
            self.proxy.handle,
            headers_seconds=settings.timeouts.client_headers,
            keep_alive_seconds=settings.timeouts.client_keep_alive,
            count=self.meters.reject,
        )
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        parts.push_async_callback(runner.cleanup)
        site: web.TCPSite | web.SockSite
        if bound is None:
            site = web.TCPSite(runner, settings.data_host, settings.data_port, backlog=BACKLOG)
            port = await bind(site)
        else:
            site, port = web.SockSite(runner, bound, backlog=BACKLOG), settings.data_port
            await site.start()
        parts.push_async_callback(self._drained, server)
        if stopped is not None:
            parts.callback(stopped)
        parts.push_async_callback(stop_listening, site, server, bound)
        return port

    async def _drained(self, server: DataServer) -> None:
        """Kept connections are served once more, new ones their first request, until nothing is in flight."""
        self.proxy.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.timeouts.drain):
                await server.begun()
                await self.proxy.drained()


def _open_spans(parts: AsyncExitStack, settings: Settings) -> SpanQueue | None:
    """The queue of spans, if they are on."""
    if settings.telemetry.spans == "off":
        return None
    try:
        from rampway.gateway.otlp import OtlpDelivery  # noqa: PLC0415 - comes with an extra
    except ImportError as missing:
        raise BadSettings(
            f'telemetry.spans = "otlp" needs {missing.name}: install rampway[telemetry].'
        ) from missing
    spans = SpanQueue(OtlpDelivery(settings.telemetry))
    spans.start()
    parts.callback(spans.close)
    return spans
