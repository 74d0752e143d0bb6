"""The connections that copies go over: what comes back on them is not trusted to end.

Informational answers (RFC 9110 15.2) are read past without a pause, so a candidate that sends nothing
else would have the event loop to itself, and with it every caller.
"""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from rampway.gateway.asking import INFORMATIONAL_MAX, is_informational

_PIECE_BYTES: Final = 8 * 1024  # of what comes before an answer's header is complete


class CopyConnector(aiohttp.TCPConnector):
    """A pool whose connections give up on a candidate that will not come to its answer."""

    def __init__(self, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - aiohttp leaves a tuple bare
            limit=limit, keepalive_timeout=keepalive_timeout
        )
        sceptical: type[ResponseHandler] = _Sceptical
        self._factory = partial(sceptical, loop=self._loop)


class _Sceptical(ResponseHandler):
    """Reads an answer; after INFORMATIONAL_MAX informational ones it closes instead."""

    _informational = 0
    _answered = False

    def set_response_params(self, **params: Any) -> None:  # noqa: ANN401 - passed on as they came
        """The next exchange begins on this connection."""
        self._informational, self._answered = 0, False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        while data and not self._answered and self.is_connected():
            super().data_received(data[:_PIECE_BYTES])
            data = data[_PIECE_BYTES:]
        if data and self._answered:
            super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        if not is_informational(data[0].code):
            self._answered = True
            super().feed_data(data, size)
            return
        self._informational += 1
        if self._informational > INFORMATIONAL_MAX and self.transport is not None:
            self.transport.close()
            self.set_exception(aiohttp.ClientConnectionError("too many informational answers"))
