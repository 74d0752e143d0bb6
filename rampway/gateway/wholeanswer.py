"""An answer that has come in one piece goes to the caller in one piece: its head and body in one write.

It takes the place of aiohttp's response, most of whose work is for what a proxy never does: cookies,
compression, bodies of many kinds.
"""

from http import HTTPStatus

import aiohttp
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from multidict import CIMultiDict

from rampway.gateway.fieldbytes import head_of


class WholeAnswer:
    """What aiohttp's server wants of a response; `headers` are this answer's own, and are added to."""

    __slots__ = ("_body", "_headers", "_reason", "_request", "_status", "keep_alive")

    def __init__(self, status: int, reason: str, headers: CIMultiDict[str], body: bytes) -> None:
        self._status = status
        self._reason = reason
        self._headers = headers
        self._body = body
        self._request: web.BaseRequest | None = None
        self.keep_alive: bool | None = None  # None: as the caller wants it

    def force_close(self) -> None:
        """Close the caller's connection behind it."""
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write all of it. Raises ConnectionError where the caller has left."""
        self._request = request
        if self.keep_alive is None:
            self.keep_alive = request.keep_alive
        version = request.version
        self._frame(request.method)
        if self.keep_alive:
            if version == aiohttp.HttpVersion10:
                self._headers["Connection"] = "keep-alive"
        elif version == aiohttp.HttpVersion11:
            self._headers["Connection"] = "close"
        line = f"HTTP/{version.major}.{version.minor} {self._status} {self._reason}"
        head = head_of(line, self._headers)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The caller has left.")
        # As much as one read brings at most, so that a copy costs less than a second write.
        transport.write(head + self._body)

    async def write_eof(self) -> None:
        """Wait where the caller takes it slowly."""
        if self._request is not None:
            await self._request.writer.drain()

    def _frame(self, method: str) -> None:
        """Say how long it is (RFC 9110 8.6), of what type where the upstream did not, and when it came."""
        headers, status = self._headers, self._status
        if status == HTTPStatus.NO_CONTENT:
            headers.popall("Content-Length", None)
        elif status != HTTPStatus.NOT_MODIFIED and method != "HEAD":
            headers["Content-Length"] = str(len(self._body))
            if self._body:
                headers.setdefault("Content-Type", "application/octet-stream")
        if "Date" not in headers:  # RFC 9110 6.6.1: who passes it on adds it
            headers["Date"] = rfc822_formatted_time()


Response = web.StreamResponse | WholeAnswer
