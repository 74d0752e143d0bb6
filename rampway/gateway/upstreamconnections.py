"""A pool's connections to an upstream, on aiohttp's pool and parser; nothing that comes is trusted to end.

Informational answers (RFC 9110 15.2) are read past without a pause, so an upstream that sends nothing
else would have the event loop to itself, and with it every caller.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

INFORMATIONAL_MAX: Final = 8  # before an answer
_INFORMATIONAL: Final = range(100, 200)
_SWITCHING: Final = 101  # ends the exchange, as an answer does
_PIECE_BYTES: Final = 8 * 1024  # of what comes before an answer's header is complete
_UNTOLD: Final = Exception("no cause was told")


class NotHttp(aiohttp.ClientError):
    """What came is no answer of HTTP."""


class _Connector(aiohttp.TCPConnector):
    """A pool whose connections know whether they are at work."""

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        if isinstance(protocol, UpstreamConnection):
            protocol.is_idle = True
        super()._release(key, protocol, should_close=should_close)


def connector(limit: int, keep_alive_seconds: float) -> aiohttp.TCPConnector:
    made = _Connector(limit=limit, keepalive_timeout=keep_alive_seconds)
    made._factory = partial(_connection, loop=asyncio.get_running_loop())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way to name it
    return made


def _connection(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return UpstreamConnection(loop)


class UpstreamConnection(ResponseHandler):
    """A connection to an upstream: it breaks its answer off where it fails, and gives none unasked."""

    is_idle = False
    _is_answered = False  # the header has come
    _informational = 0  # have come before it
    heard: Callable[[], None] | None = None  # told behind all that comes, and behind its end
    _heard_at = 0.0  # by the loop's clock; only while a timer for silence runs
    _answer_until: float | None = None  # by the loop's clock, while an answer is waited for
    _looks_at = 0.0  # when `_look` is due, while a timer for it runs
    _look_timer: asyncio.TimerHandle | None = None

    def set_response_params(self, **asked: Any) -> None:  # noqa: ANN401 - passed on as they are
        self.is_idle, self._is_answered, self._informational = False, False, 0
        super().set_response_params(**asked)

    def data_received(self, data: bytes) -> None:
        # What comes while nothing is asked would be taken for the answer to the next request, which
        # may be another caller's.
        if self.is_idle and data:  # aiohttp itself calls this without data, to go on reading
            self.close()
            return
        while data and not self._is_answered:
            if not self.is_connected():
                return
            piece, data = data[:_PIECE_BYTES], data[_PIECE_BYTES:]
            super().data_received(piece)
            if not data:
                return
        super().data_received(data)
        if data and self.heard is not None:
            self.heard()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A header has come."""
        if self.exception() is not None:
            return
        code = data[0].code
        if code not in _INFORMATIONAL or code == _SWITCHING:
            self._is_answered = True
            super().feed_data(data, size)
            return
        self._informational += 1
        if self._informational > INFORMATIONAL_MAX:
            self.set_exception(NotHttp("Too many informational answers came before the answer."))
            self.close()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's
        # aiohttp says this after each chunk; where nothing was paused there is nothing to go on with.
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)
            if self.heard is not None:  # it may have parsed more, and nobody told
                self._loop.call_soon(self._tell)

    async def answer(self, until: float) -> tuple[RawResponseMessage, StreamReader]:
        """The next header that comes. Raises TimeoutError where none has by then, by the loop's clock."""
        self._answer_until = until
        if self._look_timer is None or until < self._looks_at:
            self._look_later(until)
        told = await self.read()
        self._answer_until = None
        return told

    def _look_later(self, at: float) -> None:
        # As for silence, one timer for many answers: most have come long before it is due.
        if self._look_timer is not None:
            self._look_timer.cancel()
        self._looks_at = at
        self._look_timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._look_timer = None
        until = self._answer_until
        if until is None:
            return
        if until > self._loop.time():
            self._look_later(until)
        else:
            self.set_exception(TimeoutError("No answer came in time."))

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
        if self._look_timer is not None:
            self._look_timer.cancel()

    def _tell(self) -> None:
        if self.heard is not None:
            self.heard()

    def _break_off(self, exc: BaseException) -> None:
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            self._tell()  # of what came before, for a reader of what has failed gets nothing more
            payload.set_exception(aiohttp.ClientPayloadError("The answer broke off."), exc)
            self._tell()
