"""The journal of sealed slices of one target: appended, waited for on the disk, and only then served.

One line per fact, each beginning with its epoch and segment: a segment began, a slice was sealed in a
stream, a segment was closed. Answers are read from the file, so memory holds only where to look. Every
method that touches the file blocks; the caller runs it in one thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypedDict

import orjson

from rampway.gateway.counting import FastRow, FullRow
from rampway.gateway.durable import DurableLines

JOURNAL_BYTES_MAX: Final = (
    128 * 1024 * 1024
)  # then the file is renamed, and the one before it deleted
SCANNED_BYTES_MAX: Final = 64 * 1024 * 1024  # how far back `baseline` looks
_BLOCK_BYTES: Final = 1024 * 1024


class SegmentFacts(TypedDict):
    """What a segment is, told once when it begins.

    `baseline_arm` is the arm that the target's baseline artifact served in: after a promotion that
    is the candidate's.
    """

    slice_seconds: float
    fast_seconds: float
    timeout_seconds: float
    began_at: float
    share_bp: int
    baseline: str
    baseline_arm: str
    candidate: str | None


class Began(TypedDict):
    """The line that tells what a segment is."""

    epoch: int
    segment: int
    kind: Literal["began"]
    facts: SegmentFacts


class FastLine(FastRow):
    """The line of a slice sealed in the fast stream."""

    epoch: int
    segment: int
    kind: Literal["fast"]


class FullLine(FullRow):
    """The line of a slice sealed in the full stream."""

    epoch: int
    segment: int
    kind: Literal["full"]


class Closed(TypedDict):
    """The line behind the last row of a segment that is over: it had this many whole slices."""

    epoch: int
    segment: int
    kind: Literal["closed"]
    slices: int


Line = Began | FastLine | FullLine | Closed


class Rows(NamedTuple):
    """A segment's sealed rows by stream, in order."""

    fast: list[FastRow]
    full: list[FullRow]


@dataclass
class Kept:
    """A segment that the journal knows, and where its lines are: file generation -> [begin, end)."""

    facts: SegmentFacts
    spans: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    fast_sealed: int = 0
    full_sealed: int = 0
    last_index: int = -1


Key = tuple[int, int]  # epoch, segment


class SliceJournal:
    """Sealed slices of one target, by (epoch, segment)."""

    def __init__(self, path: Path, *, bytes_max: int = JOURNAL_BYTES_MAX) -> None:
        self._path = path
        self._before = path.with_name(f"{path.name}.1")
        self._bytes_max = bytes_max
        self._generation = 1
        self.segments: dict[Key, Kept] = {}
        self.unreadable_lines = 0
        self._newest: Key | None = None  # the one that rows are still coming for
        self._lines = DurableLines(path)
        if self._before.exists():
            self._index(self._before, 0)
        self._index(path, 1)

    def append(self, lines: list[Line]) -> None:
        """Make lines last, then known. Raises OSError, and then none of them is there."""
        if self._lines.size_bytes >= self._bytes_max:
            self._rotate()
        encoded = [orjson.dumps(line) + b"\n" for line in lines]
        begin = self._lines.size_bytes
        self._lines.append(b"".join(encoded))
        for line, raw in zip(lines, encoded, strict=True):
            self._note(line, self._generation, begin, begin + len(raw))
            begin += len(raw)

    def rows(self, key: Key) -> Rows:
        found = Rows([], [])
        for generation, (begin, end) in sorted(self.segments[key].spans.items()):
            for raw in self._read(generation, begin, end):
                line = _line_of(key, raw)
                if line is not None and line["kind"] == "fast":
                    found.fast.append(_fast(line))
                elif line is not None and line["kind"] == "full":
                    found.full.append(_full(line))
        return found

    def lines_backwards(self, key: Key) -> Iterator[Line]:
        """All lines of a segment, the newest first."""
        for generation, (begin, end) in sorted(self.segments[key].spans.items(), reverse=True):
            for raw in self._read_backwards(generation, begin, end):
                line = _line_of(key, raw)
                if line is not None:
                    yield line

    def close(self) -> None:
        self._lines.close()

    def _index(self, path: Path, generation: int) -> None:
        offset = 0
        with path.open("rb") as lines:
            for raw in lines:
                try:
                    self._note(orjson.loads(raw), generation, offset, offset + len(raw))
                except orjson.JSONDecodeError:  # its slice is then lost, like one never written
                    self.unreadable_lines += 1
                offset += len(raw)

    def _note(self, line: Line, generation: int, begin: int, end: int) -> None:
        key = (line["epoch"], line["segment"])
        if line["kind"] == "began":
            self._newest = key
            self.segments.setdefault(key, Kept(line["facts"]))
        kept = self.segments.get(key)
        if kept is None:  # it began in a file that is deleted
            return
        first, _ = kept.spans.get(generation, (begin, end))
        kept.spans[generation] = (first, end)
        if line["kind"] == "fast":
            kept.fast_sealed = max(kept.fast_sealed, line["i"] + 1)
            kept.last_index = max(kept.last_index, line["i"])
        elif line["kind"] == "full":
            kept.full_sealed = max(kept.full_sealed, line["i"] + 1)
        elif line["kind"] == "closed":  # written with the last rows, so all are sealed or lost
            kept.fast_sealed = kept.full_sealed = line["slices"]

    def _rotate(self) -> None:
        full = self._lines
        self._path.replace(self._before)
        self._lines = DurableLines(self._path)  # which syncs the directory
        full.close()
        self._generation += 1
        for key, kept in list(self.segments.items()):
            kept.spans.pop(self._generation - 2, None)
            if not kept.spans and key != self._newest:
                del self.segments[key]
        if self._newest is not None:  # the file that told of it may be deleted before it ends
            epoch, segment = self._newest
            facts = self.segments[self._newest].facts
            self.append([{"epoch": epoch, "segment": segment, "kind": "began", "facts": facts}])

    def _file(self, generation: int) -> Path:
        return self._path if generation == self._generation else self._before

    def _read(self, generation: int, begin: int, end: int) -> Iterator[bytes]:
        with self._file(generation).open("rb") as lines:
            lines.seek(begin)
            while begin < end:
                raw = lines.readline()
                begin += len(raw)
                yield raw

    def _read_backwards(self, generation: int, begin: int, end: int) -> Iterator[bytes]:
        with self._file(generation).open("rb") as file:
            rest = b""
            while end > begin:
                start = max(begin, end - _BLOCK_BYTES)
                file.seek(start)
                first, *lines = (file.read(end - start) + rest).split(b"\n")
                yield from (line for line in reversed(lines) if line)
                rest, end = first, start
            if rest:
                yield rest


def _line_of(key: Key, raw: bytes) -> Line | None:
    """The line, if it is of this segment: its beginning tells, so that others are not parsed."""
    if not raw.startswith(b'{"epoch":%d,"segment":%d,' % key):
        return None
    line: Line = orjson.loads(raw)
    return line


def _fast(line: FastLine) -> FastRow:
    return {"i": line["i"], "baseline": line["baseline"], "candidate": line["candidate"]}


def _full(line: FullLine) -> FullRow:
    return {"i": line["i"], "baseline": line["baseline"], "candidate": line["candidate"]}
