"""The pools of connections to each upstream: one for requests, one for copies, never shared.

The pool for requests has two faces: with `noted`, the caller is told when a request was written.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from rampway.gateway.copypool import CopyConnector
from rampway.gateway.headers import REQUEST_ID
from rampway.gateway.settings import Settings, UpstreamSettings
from rampway.gateway.tariffs import Tariff
from rampway.gateway.terms import Serve

# Added by aiohttp where the caller sent none; a proxy adds nothing.
_ADDED_BY_AIOHTTP: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_HEADER_BYTES_MAX: Final = 32 * 1024


class Departure:
    """Calls `gone` once, when the whole of a request was handed to its connection."""

    def __init__(self, body_bytes: int, gone: Callable[[], None]) -> None:
        self._left_bytes = body_bytes
        self._gone: Callable[[], None] | None = gone

    def headers_sent(self) -> None:
        if self._left_bytes <= 0:
            self._tell()

    def chunk_sent(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes <= 0:
            self._tell()

    def _tell(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()


class Upstream:
    """One configured upstream and its pools."""

    def __init__(self, settings: UpstreamSettings, of: Settings) -> None:
        keep_alive = of.timeouts.upstream_keep_alive
        connector = _connector(of.limits.upstream_connections, keep_alive)
        traces = aiohttp.TraceConfig()
        traces.on_request_headers_sent.append(_headers_sent)
        traces.on_request_chunk_sent.append(_chunk_sent)
        self.plain = _session(connector)
        self.noted = _session(connector, traces)
        self.copies = _session(
            CopyConnector(limit=of.shadow.connections, keepalive_timeout=keep_alive)
        )
        self.tariff = Tariff(settings.models)
        self.artifact_header = settings.artifact_header
        self._base = settings.url
        self._headers = settings.headers

    def url(self, rest: str) -> URL:
        """The address of a raw path and query. Encoded as it came: yarl would tidy `%7E` and `/a/..`."""
        return URL(f"{self._base}{rest}", encoded=True)

    def dress(self, headers: CIMultiDict[str], serve: Serve, request_id: str) -> CIMultiDict[str]:
        """A request's fields with those of the artifact, then the upstream's own, set."""
        dressed = headers.copy()
        dressed[REQUEST_ID] = request_id
        dressed.update(serve.headers)
        dressed.update(self._headers)
        return dressed

    async def close(self) -> None:
        await self.noted.close()
        await self.plain.close()
        await self.copies.close()


class Upstreams:
    """All upstreams by name; open them on the running event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Upstream] = {}

    async def __aenter__(self) -> Self:
        for name, one in self._settings.upstreams.items():
            self._open[name] = Upstream(one, self._settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._open.values():
            await one.close()

    @property
    def by_name(self) -> Mapping[str, Upstream]:
        return self._open


def _connector(limit: int, keep_alive_seconds: float) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keep_alive_seconds)


def _session(
    connector: aiohttp.TCPConnector, traces: aiohttp.TraceConfig | None = None
) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=traces is None,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_ADDED_BY_AIOHTTP,
        max_line_size=_HEADER_BYTES_MAX,
        max_field_size=_HEADER_BYTES_MAX,
        trace_configs=[traces] if traces else None,
    )


async def _headers_sent(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    departure: Departure = context.trace_request_ctx
    departure.headers_sent()


async def _chunk_sent(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestChunkSentParams,
) -> None:
    departure: Departure = context.trace_request_ctx
    departure.chunk_sent(len(params.chunk))
