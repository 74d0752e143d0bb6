"""Looks into answers: bytes in, a finding out. Whole JSON bodies at once, streams while they pass."""

from typing import TYPE_CHECKING, Final

import orjson

from rampway.gateway.dialects import Dialect
from rampway.gateway.findings import STREAM_ERROR, Finding
from rampway.gateway.sse import EventStream, event_of

if TYPE_CHECKING:
    from pydantic import JsonValue

_ERROR_EVENT: Final = b"error"


def read_body(dialect: Dialect, body: bytes) -> Finding:
    """What a whole, plain answer tells; nothing where it is no JSON object."""
    finding = Finding()
    _read(dialect, body, finding)
    return finding


class StreamReading:
    """Reads one stream as it passes. Holds at most one event, none above `event_bytes_max` bytes."""

    __slots__ = ("_dialect", "_events", "finding")

    def __init__(self, dialect: Dialect, event_bytes_max: int) -> None:
        self.finding = Finding()
        self._dialect = dialect
        self._events = EventStream(event_bytes_max)

    def feed(self, chunk: bytes) -> None:
        # Nearly all chunks are events of a word or two that tell nothing else.
        known = self.finding.model is not None
        if known and self._dialect.is_idle(chunk) and self._events.is_cut_at(chunk):
            return
        for block in self._events.feed(chunk):
            self._look(*event_of(block))

    def end(self) -> str | None:
        """The last byte has come: the kind of error, if the stream told one or lacks its end."""
        for block in self._events.rest():
            self._look(*event_of(block))
        finding = self.finding
        finding.unread = self._events.unread > 0
        # Without what is too large to look into, nobody can say that the end was missing.
        ended = finding.ended or finding.unread or not self._dialect.ends
        return STREAM_ERROR if finding.failed or not ended else None

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
