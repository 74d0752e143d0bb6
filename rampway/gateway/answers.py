"""What becomes of an answer: its kind of failure, what is kept of it, and the gateway's own answers."""

from typing import Final

import aiohttp
import orjson
from aiohttp import web

from rampway.gateway.asking import Answer
from rampway.gateway.counting import KINDS, OTHER_KIND
from rampway.gateway.upstreamconnections import NotHttp

SERVER: Final = "rampway"  # where an upstream names none; aiohttp would tell its version
_NO_CONTENT: Final = 204
_CLOSING: Final = frozenset({400, 408, 413, 501})  # the rest of a body may still be on its way
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500


class Rejected(Exception):
    """The gateway answers the request itself. `why` never tells which arm or upstream it was."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.code = code
        self.why = why


class Kept:
    """The beginning of an answer, kept beside the stream while it is small enough to be looked into."""

    __slots__ = ("_chunks", "_limit_bytes", "size_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: list[bytes] = []
        self.size_bytes = 0

    def add(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes <= self._limit_bytes:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def whole(self, limit_bytes: int) -> bytes | None:
        """All of it; None where it is larger than was kept, or than asked for."""
        if self.size_bytes > min(limit_bytes, self._limit_bytes):
            return None
        return b"".join(self._chunks)


def kind_of_status(status: int) -> str | None:
    """The kind of error of an answer: 5xx and 429 are errors, other 4xx are the caller's."""
    if status < _SERVER_ERRORS and status != _TOO_MANY_REQUESTS:
        return None
    kind = f"status_{status}"
    return kind if kind in KINDS else OTHER_KIND


def failure(failed: Exception) -> tuple[str, Rejected]:
    """The kind of error of a request that got no answer, and what its caller is told."""
    if isinstance(failed, aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError):
        return "connect", Rejected(502, "upstream_unreachable", "The upstream took no connection.")
    if isinstance(failed, TimeoutError):
        return "timeout", Rejected(504, "upstream_timeout", "The upstream did not answer in time.")
    if isinstance(failed, NotHttp):
        return OTHER_KIND, Rejected(502, "upstream_invalid", "The upstream did not speak HTTP.")
    return "reset", Rejected(
        502,
        "upstream_reset",
        "The upstream closed the connection without an answer. The request may have had effects;"
        " it was not sent again.",
    )


def own_answer(no: Rejected) -> web.Response:
    """The JSON answer of the gateway itself."""
    if no.status == _NO_CONTENT:
        return web.Response(status=no.status, headers={"Server": SERVER})
    response = web.Response(
        status=no.status,
        body=orjson.dumps({"error": no.code, "why": no.why}),
        content_type="application/json",
        headers={"Server": SERVER},
    )
    if no.status in _CLOSING:
        response.force_close()
    return response


def is_json(answer: Answer) -> bool:
    return "json" in answer.headers.get("Content-Type", "")


def is_stream(answer: Answer) -> bool:
    return answer.headers.get("Content-Type", "").startswith("text/event-stream")


def is_packed(answer: Answer) -> bool:
    """Then it passes as it is, and is not looked into."""
    return "Content-Encoding" in answer.headers
