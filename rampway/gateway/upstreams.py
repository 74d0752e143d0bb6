"""The pools of connections to each upstream: one for requests, one for copies, never shared.

The pool for requests has two faces: with `noted`, the caller is told when a request was written.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, Final, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
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
_PATHS_REMEMBERED: Final = 1_024  # an address holds what is worked out of it
_PATH_LENGTH_MAX: Final = 512
_UNTOLD: Final = Exception("no cause was told")


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
        base = URL(settings.url, encoded=True)
        self._scheme, self._authority, self._prefix = (
            base.scheme,
            base.raw_authority,
            base.raw_path.rstrip("/"),
        )
        self._in_use = 0
        self._closing: asyncio.Task[None] | None = None
        self.is_retired = False
        self._remembered = lru_cache(_PATHS_REMEMBERED)(self._address)
        self._headers = settings.headers

    @property
    def is_closed(self) -> bool:
        return self.plain.closed

    def url(self, rest: str) -> URL:
        """The address of a raw path and query, as it came: yarl would tidy `%7E`, `/a/..` and `?`."""
        return self._remembered(rest) if len(rest) <= _PATH_LENGTH_MAX else self._address(rest)

    def _address(self, rest: str) -> URL:
        # The query goes with the path, so that yarl does not take the two apart.
        return URL.build(
            scheme=self._scheme,
            authority=self._authority,
            path=f"{self._prefix}{rest}",
            encoded=True,
        )

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
        await self.noted.close()
        await self.plain.close()
        await self.copies.close()


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


class _Connector(aiohttp.TCPConnector):
    """A pool whose connections know whether they are at work."""

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, UpstreamConnection):
            protocol.is_idle = True
        super()._release(key, protocol, should_close=should_close)


def _connector(limit: int, keep_alive_seconds: float) -> aiohttp.TCPConnector:
    connector = _Connector(limit=limit, keepalive_timeout=keep_alive_seconds)
    connector._factory = partial(_connection, loop=asyncio.get_running_loop())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to name it
    return connector


def _connection(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return UpstreamConnection(loop)


class UpstreamConnection(ResponseHandler):
    """A connection to an upstream: it breaks its answer off where it fails, and gives none unasked."""

    is_idle = False
    heard: Callable[[], None] | None = None  # told behind all that comes, and behind its end
    _heard_at = 0.0  # by the loop's clock; only while a timer for silence runs

    def set_response_params(self, **asked: Any) -> None:  # noqa: ANN401 - passed on as they are
        self.is_idle = False
        super().set_response_params(**asked)

    def data_received(self, data: bytes) -> None:
        # What comes while nothing is asked would be taken for the answer to the next request, which
        # may be another caller's.
        if self.is_idle and data:  # aiohttp itself calls this without data, to go on reading
            self.close()
            return
        super().data_received(data)
        if data and self.heard is not None:
            self.heard()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        # aiohttp says this after each chunk; where nothing was paused there is nothing to go on with.
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)
            if self.heard is not None:  # it may have parsed more, and nobody told
                self._loop.call_soon(self._tell)

    def _reschedule_timeout(self) -> None:
        # One timer for many chunks, which looks when it is due how long it was silent.
        self._heard_at = self._loop.time()
        if self._read_timeout_handle is None or not self._read_timeout:
            super()._reschedule_timeout()

    def _on_read_timeout(self) -> None:
        left_seconds = self._heard_at + (self._read_timeout or 0.0) - self._loop.time()
        if left_seconds > 0:
            self._read_timeout_handle = self._loop.call_later(left_seconds, self._on_read_timeout)
            return
        super()._on_read_timeout()

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _UNTOLD) -> None:
        # aiohttp tells it to whoever waits for a header; whoever reads a body behind it, whose next
        # chunk is no chunk, would wait for ever.
        super().set_exception(exc, exc_cause)
        self._break_off(exc)

    def connection_lost(self, exc: BaseException | None) -> None:
        # Without a length only the connection's end ends an answer, and aiohttp takes a reset for one.
        if exc is not None:
            self._break_off(exc)
        super().connection_lost(exc)
        self._tell()

    def _tell(self) -> None:
        if self.heard is not None:
            self.heard()

    def _break_off(self, exc: BaseException) -> None:
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            self._tell()  # of what came before, for a reader of what has failed gets nothing more
            payload.set_exception(aiohttp.ClientPayloadError("The answer broke off."), exc)
            self._tell()


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
