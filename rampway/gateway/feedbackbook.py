"""The marks that users gave one target's answers, on the disk before they count, and how far they are sealed.

One line per mark, one each time a segment is sealed further, and one when a mark found no room: what was
not sealed by then is not whole, and never told. The file holds one epoch; the first line of another
renames it to `.1`. Every method blocks: one thread owns a book.
"""

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from rampway.gateway.durable import DurableLines
from rampway.gateway.receipts import Place
from rampway.gateway.terms import Arm, Fact


class Mark(StrEnum):
    """What a user says of an answer."""

    WRONG = "wrong"
    OK = "ok"


class Taken(StrEnum):
    """What became of a mark."""

    COUNTED = "counted"
    AGAIN = "again"  # the unit was marked before in this segment: its first mark stands
    LATE = "late"  # its slice is sealed
    TOO_MANY = "too_many"  # marks of this epoch


class MarkLine(Fact):
    """A line: one unit's mark. The unit is its pseudonym, keyed with the release's salt."""

    epoch: int
    segment: int
    i: int = Field(ge=0)
    arm: Arm
    unit: str
    mark: Mark


class SealLine(Fact):
    """A line: every slice below `sealed` has all the marks it will ever have."""

    epoch: int
    segment: int
    sealed: int = Field(ge=0)


class FullLine(Fact):
    """A line: a mark found no room, so what is not sealed by now lacks some."""

    epoch: int
    full: Literal[True] = True


@dataclass(slots=True)
class Marks:
    """How many units of one arm were marked in a slice."""

    wrong: int = 0
    ok: int = 0


@dataclass(slots=True)
class _Segment:
    units: set[str] = field(default_factory=set[str])
    slices: dict[int, dict[Arm, Marks]] = field(default_factory=dict[int, dict[Arm, Marks]])
    sealed: int = 0
    whole_to: int = sys.maxsize


_Line: TypeAlias = MarkLine | SealLine | FullLine
_LINE: Final[TypeAdapter[_Line]] = TypeAdapter(_Line)


class FeedbackBook:
    """The marks of one target's newest epoch that has any."""

    def __init__(self, path: Path, *, marks_max: int) -> None:
        self._path = path
        self._marks_max = marks_max
        self._marks = 0
        self._is_full = False
        self._segments: dict[int, _Segment] = {}
        self.epoch = -1
        self.unreadable_lines = 0
        self._lines = DurableLines(path)
        self._read()

    def mark(self, place: Place, arm: Arm, unit: str, mark: Mark) -> Taken:
        """Count a mark of a slice whose time is not over. Raises OSError, and then it is not counted."""
        segment = self._of(place.epoch, place.segment)
        if segment is not None:
            if place.i < segment.sealed:
                return Taken.LATE
            if unit in segment.units:
                return Taken.AGAIN
        if self._marks >= self._marks_max and place.epoch <= self.epoch:
            if not self._is_full:
                self._append(FullLine(epoch=self.epoch))
            return Taken.TOO_MANY
        line = MarkLine(
            epoch=place.epoch, segment=place.segment, i=place.i, arm=arm, unit=unit, mark=mark
        )
        self._append(line)
        return Taken.COUNTED

    def seal(self, epoch: int, segment: int, sealed: int) -> int:
        """Seal a segment so far, or leave it as far as it was; how far it is now. Raises OSError."""
        known = self._of(epoch, segment)
        before = 0 if known is None else known.sealed
        if sealed > before:
            self._append(SealLine(epoch=epoch, segment=segment, sealed=sealed))
        return max(sealed, before)

    def marks(self, epoch: int, segment: int, i: int, arm: Arm) -> Marks:
        """What one arm's units of a slice were marked; nothing where nobody said a word."""
        known = self._of(epoch, segment)
        by_arm = known.slices.get(i, {}) if known is not None else {}
        return by_arm.get(arm, Marks())

    def is_whole(self, epoch: int, segment: int, i: int) -> bool:
        """Was there room for every mark of a slice?"""
        known = self._of(epoch, segment)
        if known is None:
            return epoch != self.epoch or not self._is_full
        return i < known.whole_to

    def close(self) -> None:
        self._lines.close()

    def _of(self, epoch: int, segment: int) -> _Segment | None:
        return self._segments.get(segment) if epoch == self.epoch else None

    def _append(self, line: _Line) -> None:
        if line.epoch != self.epoch:
            self._begin(line.epoch)
        self._lines.append(line.model_dump_json().encode() + b"\n")
        self._note(line)

    def _begin(self, epoch: int) -> None:
        if self._lines.size_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            full, self._lines = self._lines, DurableLines(self._path)
            full.close()
        self._forget_all(epoch)

    def _forget_all(self, epoch: int) -> None:
        self._segments, self._marks, self._is_full, self.epoch = {}, 0, False, epoch

    def _note(self, line: _Line) -> None:
        if isinstance(line, FullLine):
            self._is_full = True
            for known in self._segments.values():
                known.whole_to = min(known.whole_to, known.sealed)
            return
        whole_to = 0 if self._is_full else sys.maxsize
        segment = self._segments.setdefault(line.segment, _Segment(whole_to=whole_to))
        if isinstance(line, SealLine):
            segment.sealed = max(segment.sealed, line.sealed)
            return
        self._marks += 1
        segment.units.add(line.unit)
        marks = segment.slices.setdefault(line.i, {}).setdefault(line.arm, Marks())
        if line.mark is Mark.WRONG:
            marks.wrong += 1
        else:
            marks.ok += 1

    def _read(self) -> None:
        with self._path.open("rb") as lines:
            for raw in lines:
                try:
                    line = _LINE.validate_json(raw)
                except ValidationError:  # a mark that the disk has altered is lost, and told
                    self.unreadable_lines += 1
                    continue
                if line.epoch != self.epoch:
                    self._forget_all(line.epoch)
                self._note(line)
