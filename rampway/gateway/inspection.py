"""Looks into answers: bytes in, a finding out. Whole JSON bodies at once, streams while they pass."""

import sys
from typing import TYPE_CHECKING, Final

import orjson

from rampway.gateway.dialects import Dialect
from rampway.gateway.findings import STREAM_ERROR, Finding
from rampway.gateway.sse import EventStream, event_of

if TYPE_CHECKING:
    from pydantic import JsonValue

_ERROR_EVENT: Final = b"error"
# JSON of many small parts costs more than its bytes: half a millisecond for each thousand of them.
_CONTAINERS_MAX: Final = 8_192
_CONTAINER_BYTES: Final = 32  # of larger bodies there may be one for as many bytes


def read_body(dialect: Dialect, body: bytes) -> Finding:
    """What a whole, plain answer tells; nothing where it is no JSON object.

    One of more objects or lists than an answer would have is not looked into: unpacking them takes the
    time of everybody else's requests.
    """
    finding = Finding()
    containers_max = max(_CONTAINERS_MAX, len(body) // _CONTAINER_BYTES)
    if len(body) > containers_max and max(body.count(b"{"), body.count(b"[")) > containers_max:
        finding.unread = True
    else:
        _read(dialect, body, finding)
    return finding


class StreamReading:
    """Reads one stream as it passes. Holds at most one event, none above `event_bytes_max` bytes.

    After `events_max` events the rest is left unread.
    """

    __slots__ = ("_dialect", "_events", "_events_left", "finding")

    def __init__(
        self, dialect: Dialect, event_bytes_max: int, events_max: int = sys.maxsize
    ) -> None:
        self.finding = Finding()
        self._dialect = dialect
        self._events = EventStream(event_bytes_max)
        self._events_left = events_max

    def feed(self, chunk: bytes) -> None:
        # Nearly all chunks are events of a word or two that tell nothing else.
        known = self.finding.model is not None
        if known and self._dialect.is_idle(chunk) and self._events.is_cut_at(chunk):
            return
        if self._events_left >= 0:
            self._look_into(self._events.feed(chunk))

    def end(self) -> str | None:
        """The last byte has come: the kind of error, if the stream told one or lacks its end."""
        self._look_into(self._events.rest())
        finding = self.finding
        finding.unread = self._events.unread > 0 or self._events_left < 0
        # Without what is too large to look into, nobody can say that the end was missing.
        ended = finding.ended or finding.unread or not self._dialect.ends
        return STREAM_ERROR if finding.failed or not ended else None

    def _look_into(self, blocks: list[bytes]) -> None:
        self._events_left -= len(blocks)
        if self._events_left < 0:
            return
        for block in blocks:
            self._look(*event_of(block))

    def _look(self, name: bytes, data: bytes) -> None:
        finding, dialect = self.finding, self._dialect
        if data in dialect.ends or (name and name in dialect.ends):
            finding.ended = True
        _read(dialect, data, finding)
        if name == _ERROR_EVENT and not finding.refused:
            finding.failed = True


def _read(dialect: Dialect, data: bytes, finding: Finding) -> None:
    try:
        told: JsonValue = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if isinstance(told, dict):
        dialect.read(told, finding)
