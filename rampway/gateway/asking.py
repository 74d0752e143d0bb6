"""Asks an upstream: a request is written at once, and its answer is there when its header has come.

On aiohttp's pool, connections and parser, without its session: of what that does for every request
(cookies, redirects, credentials, proxies, a task to write the body) a gateway needs nothing, and it was
a quarter of a request's processor time.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from rampway.gateway.fieldbytes import head_of
from rampway.gateway.upstreamconnections import NotHttp, UpstreamConnection, connector

HEADER_BYTES_MAX: Final = 32 * 1024
_IN_ONE_WRITE_BYTES: Final = 64 * 1024  # a larger body is not copied to stand behind its head
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110 9.2.2
_WITHOUT_LENGTH: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # where there is no body


class Answer:
    """An upstream's answer from its header on; `close` it in any case.

    Read to its end it gives its connection back; closed before, it ends the connection.
    """

    __slots__ = ("_connection", "content", "headers", "reason", "status")

    def __init__(
        self,
        connection: Connection,
        message: RawResponseMessage,
        content: StreamReader,
    ) -> None:
        self._connection: Connection | None = connection
        self.status: int = message.code
        self.reason: str = message.reason
        self.headers: CIMultiDictProxy[str] = message.headers
        self.content = content
        content.on_eof(self._ended)

    @property
    def connection(self) -> UpstreamConnection | None:
        """Where the rest comes from; None once all of it has come."""
        protocol = self._connection and self._connection.protocol
        return protocol if isinstance(protocol, UpstreamConnection) else None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ended(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        transport = connection.transport
        if transport is None or transport.get_write_buffer_size():
            connection.close()  # answered before it had read the request, whose rest is nobody's now
        else:
            connection.release()


class Asking:
    """A pool of connections to one upstream at `base`, whose path is a prefix."""

    def __init__(self, base: URL, *, connections: int, keep_alive_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = connector(connections, keep_alive_seconds)
        self._host = base.host_port_subcomponent or ""
        self._prefix = base.raw_path.rstrip("/")
        # It names the upstream to the pool, and how to connect to it; it is never sent.
        self._addressee = aiohttp.ClientRequest("GET", base)

    @property
    def is_closed(self) -> bool:
        return self._connector.closed

    async def close(self) -> None:
        await self._connector.close()

    async def ask(
        self,
        method: str,
        rest: str,
        fields: CIMultiDict[str],
        body: bytes,
        *,
        seconds: float,
        connect_seconds: float,
        gone: Callable[[], None] | None = None,
    ) -> Answer:
        """Ask for the raw path and query `rest`; `fields` are this request's own, and are added to.

        `gone` is called when the request was handed to its connection. One that is harmless to repeat
        is sent once more where its connection ended without an answer: it may have been given up
        while it was idle. Raises aiohttp.ClientError; TimeoutError where no answer has begun after
        `seconds`, and as ConnectionTimeoutError where no connection was had in its own time.
        """
        until = self._loop.time() + seconds
        connecting = _connecting(min(connect_seconds, seconds))
        if body:
            fields["Content-Length"] = str(len(body))
        elif method not in _WITHOUT_LENGTH:
            fields["Content-Length"] = "0"
        if "Host" not in fields:  # nearly always; it comes first (RFC 9110 7.2)
            fields, rest_of_them = CIMultiDict({"Host": self._host}), fields
            fields.extend(rest_of_them)
        head = head_of(f"{method} {self._prefix}{rest} HTTP/1.1", fields)
        connection = await self._connected(connecting)
        try:
            return await _exchange(connection, method, head, body, until, gone)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if method not in _REPEATABLE:
                raise
        connection = await self._connected(connecting)
        return await _exchange(connection, method, head, body, until, None)

    async def _connected(self, connecting: aiohttp.ClientTimeout) -> Connection:
        try:
            return await self._connector.connect(self._addressee, traces=[], timeout=connecting)
        except TimeoutError as slow:
            raise aiohttp.ConnectionTimeoutError("No connection in time.") from slow


@lru_cache
def _connecting(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds)


async def _exchange(
    connection: Connection,
    method: str,
    head: bytes,
    body: bytes,
    until: float,
    gone: Callable[[], None] | None,
) -> Answer:
    """Send a request, and wait for its answer's header. Whatever ends it ends the connection, too."""
    try:
        protocol = _prepared(connection, method)
        _write(protocol, head, body)
        if gone is not None:
            gone()
        message, content = await protocol.answer(until)
        return Answer(connection, message, content)
    except HttpProcessingError as broken:
        connection.close()
        raise NotHttp("What came is no answer of HTTP.") from broken
    except BaseException:
        connection.close()
        raise


def _prepared(connection: Connection, method: str) -> UpstreamConnection:
    protocol = connection.protocol
    if not isinstance(protocol, UpstreamConnection):  # none where it was lost already
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(
        skip_payload=method == "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )
    return protocol


def _write(protocol: UpstreamConnection, head: bytes, body: bytes) -> None:
    """All of it without waiting: an upstream may answer before it has read a large body.

    The body is held for the request in any case, so that nothing is held more.
    """
    transport = protocol.transport
    if transport is None:  # lost in the moment it was made
        raise aiohttp.ServerDisconnectedError
    if len(body) <= _IN_ONE_WRITE_BYTES:
        transport.write(head + body)
    else:
        transport.write(head)
        transport.write(body)
