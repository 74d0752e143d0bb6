"""The data listener's connections: a header must come in time, and what is no HTTP gets an answer of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import http_exceptions, web

from rampway.gateway.answers import SERVER, Rejected, own_answer
from rampway.gateway.wholeanswer import Response

_HEADER_BYTES_MAX: Final = 16 * 1024  # of the request line, and of each field
_FIELDS_MAX: Final = 128
# How long the rest of a body is read and thrown away, so that its sender can read why it was refused.
_LINGER_SECONDS: Final = 1.0
_BEGIN_SECONDS_MAX: Final = 1.0  # for the first request of a new connection, while we drain
_LOOK_SECONDS: Final = 0.01
_TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nServer: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    % SERVER.encode()
)


_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class DataServer(web.Server):
    """Accepts connections for one handler. `count` is told the code of each answer made here."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[Response]],
        *,
        headers_seconds: float,
        keep_alive_seconds: float,
        count: Callable[[str], None],
    ) -> None:
        super().__init__(cast("_Handler", handler), handler_cancellation=True)
        self._headers_seconds = headers_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._count = count
        self._unused: set[_Connection] = set()

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(
            self,
            loop=self._loop,
            headers_seconds=self._headers_seconds,
            keep_alive_seconds=self._keep_alive_seconds,
            count=self._count,
            used=self._unused.discard,
        )
        self._unused.add(connection)
        return connection

    async def begun(self) -> None:
        """Returns when each connection has had a request, or was given its time for one."""
        until = self._loop.time() + _BEGIN_SECONDS_MAX
        while self._unused and self._loop.time() < until:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(_LOOK_SECONDS)


class _Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = ("_count", "_headers_seconds", "_too_slow", "_used")

    def __init__(
        self,
        server: DataServer,
        *,
        loop: asyncio.AbstractEventLoop,
        headers_seconds: float,
        keep_alive_seconds: float,
        count: Callable[[str], None],
        used: Callable[["_Connection"], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # so is it meant: no access log
            # Unpacked, a body would not match the Content-Encoding that is passed on with it.
            auto_decompress=False,
            keepalive_timeout=keep_alive_seconds,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            max_headers=_FIELDS_MAX,
            lingering_time=_LINGER_SECONDS,
        )
        self._headers_seconds = headers_seconds
        self._count = count
        self._too_slow: asyncio.TimerHandle | None = None
        self._used: Callable[[_Connection], None] | None = used

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        current = self._current_request
        if self._messages:
            self._note_used()
            if current is not None:
                _break_unfinished(current)
            if self._too_slow is not None:
                self._too_slow.cancel()
                self._too_slow = None
        elif (
            data  # aiohttp itself calls this without any, to go on reading
            and self._too_slow is None
            and (current is None or current.content.is_eof())
        ):
            # Bytes came that are no body, and no header is complete. aiohttp would wait for the rest
            # of it as long as for a request.
            self._too_slow = self._loop.call_later(self._headers_seconds, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None
        self._note_used()
        super().connection_lost(exc)

    def _note_used(self) -> None:
        if self._used is not None:
            self._used(self)
            self._used = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp's own, but it tells the caller nothing of what was parsed, and logs nothing.

        aiohttp logs each malformed request with its trace: anybody could fill the log.
        """
        del message
        if request.writer.output_size > 0:
            raise ConnectionError(
                "An answer has begun already: the connection has to end."
            ) from exc
        no = _rejection(status, exc)
        self._count(no.code)
        answer = own_answer(no)
        answer.force_close()
        return answer

    def _give_up(self) -> None:
        self._too_slow = None
        if self._waiter is None or self._waiter.done():  # an earlier request is not answered yet
            self._too_slow = self._loop.call_later(self._headers_seconds, self._give_up)
            return
        self._count("header_timeout")
        if self.transport is not None:
            self.transport.write(_TOO_SLOW)
        self.force_close()


def _break_unfinished(request: web.BaseRequest) -> None:
    """What is queued behind an unfinished body can only be the news that its framing is broken.

    aiohttp would let the body's reader wait for the rest.
    """
    content = request.content
    if not content.is_eof() and content.exception() is None:
        content.set_exception(web.RequestPayloadError("The body is broken."))


def _rejection(status: int, exc: BaseException | None) -> Rejected:
    if isinstance(exc, http_exceptions.LineTooLong) or "Too many headers" in str(exc):
        return Rejected(
            431,
            "header_too_large",
            f"The request line and each field may have {_HEADER_BYTES_MAX} bytes;"
            f" {_FIELDS_MAX} fields are taken.",
        )
    if status < 500:  # noqa: PLR2004 - the class of errors that are the caller's
        return Rejected(400, "bad_request", "The request is not framed as HTTP says.")
    return Rejected(500, "internal", "The gateway failed; it is in its log.")
