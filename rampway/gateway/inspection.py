"""Looks into answers: bytes in, a finding out. Whole JSON bodies at once, streams while they pass."""

import re
import sys
from typing import Final

from rampway.gateway.dialects import Dialect
from rampway.gateway.findings import STREAM_ERROR, Finding
from rampway.gateway.jsonbodies import is_overfull, object_in
from rampway.gateway.refusals import is_refusal
from rampway.gateway.sse import EventStream, event_of

_ERROR_EVENT: Final = b"error"
# What may stand between the quotes of a JSON string (RFC 8259 7), in one line of an event.
_TEXT: Final = re.compile(rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+')
_IN_A_STRING: Final = _TEXT.fullmatch
_STRING: Final = _TEXT.match
_LIKES_MAX: Final = 8  # events of a stream whose events differ in more than their text


def read_body(dialect: Dialect, body: bytes) -> Finding:
    """What a whole, plain answer tells; nothing where it is no JSON object.

    One of more objects or lists than an answer would have is not looked into.
    """
    if is_overfull(body):
        return Finding(unread=True)
    finding = Finding()
    told = object_in(body)
    if told is not None:
        dialect.read(told, finding)
        if not finding.refused and is_refusal(told):
            finding.refused = True
    return finding


class StreamReading:
    """Reads one stream as it passes. Holds at most two events, none above `event_bytes_max` bytes.

    After `events_max` events the rest is left unread.
    """

    __slots__ = (
        "_after",
        "_before",
        "_dialect",
        "_event_bytes_max",
        "_events",
        "_events_left",
        "_likes_left",
        "finding",
    )

    def __init__(
        self, dialect: Dialect, event_bytes_max: int, events_max: int = sys.maxsize
    ) -> None:
        self.finding = Finding()
        self._dialect = dialect
        self._event_bytes_max = event_bytes_max
        self._events = EventStream(event_bytes_max)
        self._events_left = events_max
        # What stands before and after the text of the event that was left out last, where the next
        # chunk begins a new event; empty where it may not, or nothing was left out yet.
        self._before = b""
        self._after = b""
        self._likes_left = _LIKES_MAX if dialect.text else 0

    def feed(self, chunk: bytes) -> None:
        # Nearly all chunks are one event each that differs from the last in a word of text.
        if self._before and self._is_like_last(chunk):
            return
        known = self.finding.model is not None
        if known and self._dialect.is_idle(chunk) and self._events.is_cut_at(chunk):
            if self._likes_left:
                self._remember(chunk)
            return
        self._before = b""
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

    def _is_like_last(self, chunk: bytes) -> bool:
        """Is it the last event with another piece of text, which nothing in it ends or continues?"""
        before, after = self._before, self._after
        return (
            chunk.startswith(before)
            and chunk.endswith(after)
            and len(chunk) <= self._event_bytes_max
            and _IN_A_STRING(chunk, len(before), len(chunk) - len(after)) is not None
        )

    def _remember(self, chunk: bytes) -> None:
        """Events that tell nothing, for the next to be compared with."""
        self._likes_left -= 1
        text = self._dialect.text
        begin = chunk.find(text) + len(text)
        told = _STRING(chunk, begin)
        if told is not None and begin >= len(text) and chunk[told.end() :].startswith(b'"'):
            self._before, self._after = chunk[:begin], chunk[told.end() :]

    def _look_into(self, blocks: list[bytes]) -> None:
        self._events_left -= len(blocks)
        if self._events_left < 0:
            return
        for block in blocks:
            if block:
                self._look(*event_of(block))

    def _look(self, name: bytes, data: bytes) -> None:
        finding, dialect = self.finding, self._dialect
        if data in dialect.ends or (name and name in dialect.ends):
            finding.ended = True
        told = object_in(data)
        if told is not None:
            dialect.read(told, finding)
        if name == _ERROR_EVENT and not finding.refused:
            finding.failed = True
