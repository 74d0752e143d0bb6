"""Cuts a `text/event-stream` into its events while it passes (WHATWG HTML 9.2.5 and 9.2.6).

Nothing is held back and at most one event is held here: one above the bound is counted and skipped.
Where the stream is cut into chunks makes no difference to what is found.
"""

from typing import Final, NamedTuple

_BLANK: Final = b"\n\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name (empty where none is told) and its data lines, joined by line feeds."""

    name: bytes
    data: bytes


class EventStream:
    """Cuts one stream. `unread` counts events of more than `event_bytes_max` bytes."""

    __slots__ = ("_at_start", "_event_bytes_max", "_held", "_is_after_cr", "_is_skipping", "unread")

    def __init__(self, event_bytes_max: int) -> None:
        self.unread = 0
        self._event_bytes_max = event_bytes_max
        self._held = bytearray()
        self._is_after_cr = False
        self._is_skipping = False
        self._at_start = True

    def is_cut_at(self, chunk: bytes) -> bool:
        """Is this chunk made of whole events, none above the bound? Then it may be left out."""
        return (
            chunk.endswith(_BLANK)
            and not chunk.endswith(b"\n\n\n")  # the last of these would begin the next event
            and len(chunk) <= self._event_bytes_max
            and not (self._held or self._at_start or self._is_skipping or self._is_after_cr)
            and b"\r" not in chunk
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that end in this chunk, as blocks of lines for `event_of`."""
        if self._is_after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        if self._is_skipping:
            chunk = self._past_skipped(chunk)
        held = self._held
        if held:
            searched = len(held) - 1
            held += chunk
            if held.find(_BLANK, max(0, searched)) < 0:
                self._bound()
                return []
            chunk = bytes(held)
            held.clear()
        blocks = chunk.split(_BLANK)
        rest = blocks.pop()
        if blocks:
            blocks = self._readable(blocks)
        if rest:
            held += rest
            self._bound()
        return blocks

    def rest(self) -> list[bytes]:
        """What came after the last blank line, once the stream has ended.

        The standard drops it; servers forget the last line end, and what they told was told.
        """
        block = bytes(self._held)
        self._held.clear()
        return self._readable([block]) if block and not self._is_skipping else []

    def _readable(self, blocks: list[bytes]) -> list[bytes]:
        if self._at_start:
            self._at_start = False
            blocks[0] = blocks[0].removeprefix(_BYTE_ORDER_MARK)
        readable = [block for block in blocks if len(block) <= self._event_bytes_max]
        self.unread += len(blocks) - len(readable)
        return readable

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        if self._is_after_cr and chunk[:1] == b"\n":  # the second half of a CRLF
            chunk = chunk[1:]
        self._is_after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _bound(self) -> None:
        """Give the held event up where it is too large, whatever may follow."""
        # One byte more: it may be the first of the two line ends behind an event of just that size.
        if len(self._held) > self._event_bytes_max + 1:
            self.unread += 1
            self._at_start = False
            self._is_skipping = True
            self._keep_last_line_end()

    def _past_skipped(self, chunk: bytes) -> bytes:
        """What follows the event that is skipped; empty while it goes on."""
        self._held += chunk
        end = self._held.find(_BLANK)
        if end < 0:
            self._keep_last_line_end()
            return b""
        chunk = bytes(self._held[end + len(_BLANK) :])
        self._held.clear()
        self._is_skipping = False
        return chunk

    def _keep_last_line_end(self) -> None:
        ends_line = self._held.endswith(b"\n")
        self._held.clear()
        if ends_line:
            self._held += b"\n"


def event_of(block: bytes) -> Event:
    """The event in a block of lines; comments, ids and retry times are left out."""
    if block.startswith(b"data:") and b"\n" not in block:  # nearly all of them
        return Event(b"", _value(block, len(b"data:")))
    name, data = b"", list[bytes]()
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(_value(line, len(b"data:")))
        elif line.startswith(b"event:"):
            name = _value(line, len(b"event:"))
        elif line == b"data":
            data.append(b"")
    return Event(name, b"\n".join(data))


def _value(line: bytes, begins: int) -> bytes:
    """A field's value; one space behind the colon is not part of it."""
    return line[begins + 1 :] if line[begins : begins + 1] == b" " else line[begins:]
