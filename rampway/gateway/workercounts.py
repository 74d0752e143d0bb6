"""Counting in a worker: plain additions to its own part of the segment's file, one writer and no lock."""

from functools import cache
from typing import Final

import structlog

from rampway.gateway.counting import Cell, Outcome, SegmentCounter, latency_bucket
from rampway.gateway.segmentfile import (
    ABORTED,
    ALL_KINDS,
    COPIED,
    DRAWN,
    ERROR,
    KINDS_BEGIN,
    LATE,
    LATENCY_BEGIN,
    REFUSAL,
    TAG,
    UNITS,
    SegmentFile,
    UnitTable,
)
from rampway.gateway.sharedcounts import SegmentFiles
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, Clock, Timing

_KIND_AT: Final = {kind: KINDS_BEGIN + n for n, kind in enumerate(ALL_KINDS)}
_OTHER_KIND_AT: Final = LATENCY_BEGIN - 1
_log = structlog.get_logger("rampway.gateway")


class SharedArm:
    """One arm's counts in one slice, in a file. What comes after the slice was written over is dropped."""

    __slots__ = ("_at", "_buckets", "_tag", "_tag_at", "_words")

    def __init__(self, file: SegmentFile, cell: int, arm: Arm) -> None:
        self._words = file.words
        self._tag_at = cell + TAG
        self._tag = file.words[self._tag_at]
        self._at = file.shape.arm(cell, arm)
        self._buckets = file.shape.buckets

    def begin(self) -> None:
        self._words[self._at + UNITS] += 1

    def finish(self, took_seconds: float, outcome: Outcome, timing: Timing) -> None:
        """Count a unit that ended `took_seconds` after its start, as `ArmCell` does.

        The latency comes last: a unit without one is unfinished, should the process die in between.
        """
        words, at = self._words, self._at
        if words[self._tag_at] != self._tag:
            return
        over = took_seconds > timing.timeout_seconds
        kind = "timeout" if over else outcome.kind
        if kind is not None:
            words[at + _KIND_AT.get(kind, _OTHER_KIND_AT)] += 1
            in_time = timing.one_stream or took_seconds <= timing.fast_seconds
            words[at + (ERROR if in_time else LATE)] += 1
        elif outcome.aborted:
            words[at + ABORTED] += 1
        elif outcome.refused:
            words[at + REFUSAL] += 1
        bucket = self._buckets
        if not over and (kind is None or outcome.answered):
            bucket = min(latency_bucket(took_seconds * 1_000), bucket - 1)
        words[at + LATENCY_BEGIN + bucket] += 1


class SharedSlice:
    """One slice in a worker's part: taken up where a worker before it left it, or begun."""

    __slots__ = ("_cell", "_drawn_before", "_words", "arms", "index")

    def __init__(self, file: SegmentFile, slot: int, index: int) -> None:
        self.index = index
        self._words = words = file.words
        self._cell = cell = file.shape.cell(slot, index)
        if words[cell + TAG] != index + 1:  # an earlier slice, or none
            words[cell + TAG] = 0  # nobody reads it while it is wiped
            words[cell + 1 : cell + file.shape.cell_words] = _zeros(file.shape.cell_words - 1)
            words[cell + TAG] = index + 1
        self._drawn_before = {arm: words[cell + at] for arm, at in DRAWN.items()}
        self.arms = {arm: SharedArm(file, cell, arm) for arm in Arm}

    def note_copied(self) -> None:
        if self._words[self._cell + TAG] == self.index + 1:
            self._words[self._cell + COPIED] += 1

    def note_drawn(self, arm: Arm, drawn: int) -> None:
        if self._words[self._cell + TAG] == self.index + 1:
            self._words[self._cell + DRAWN[arm]] = self._drawn_before[arm] + drawn


class SharedCounter(SegmentCounter):
    """One worker's view of a segment."""

    def __init__(self, split: TargetSplit, file: SegmentFile, slot: int, now: float) -> None:
        super().__init__(
            epoch=split.epoch,
            number=split.segment.number,
            began=file.began,
            timing=split.segment.timing,
        )
        self._file = file
        self._slot = slot
        table = UnitTable(file, slot)
        self._add = table.add
        self.hash_unit = table.hash_unit  # type: ignore[method-assign] # a call less for each request
        self._slice_seconds = split.segment.timing.slice_seconds
        self._first_counted = file.first_index
        self._first_index = max(file.first_index, self.index_at(now))
        self._slices: dict[int, SharedSlice] = {}

    def start(self, arm: Arm, unit: int, now: float) -> Cell | None:
        """Count a unit in; None where it came before, to any worker, or its slice is lost."""
        if not self._add(unit):
            return None
        index = int((now - self.began) / self._slice_seconds)
        if index < self._first_counted or self.slices is not None:
            return None
        one = self._slices.get(index) or self._at(index)
        if one is None:
            return None
        cell = one.arms[arm]
        cell.begin()
        return cell

    def note_copied(self, index: int) -> None:
        one = self._at(index)
        if one is not None:
            one.note_copied()

    def note_drawn(self, index: int, arm: Arm, drawn: int) -> None:
        one = self._slices.get(index)  # what is drawn was counted, so it is known
        if one is not None:
            one.note_drawn(arm, drawn)

    def _at(self, index: int) -> SharedSlice | None:
        """A slice's counts; None where the ring has gone on to a later slice."""
        known = self._slices.get(index)
        if known is not None:
            return known
        shape = self._file.shape
        if self._file.words[shape.cell(self._slot, index) + TAG] > index + 1:
            return None
        self._slices = {i: one for i, one in self._slices.items() if i > index - shape.cells}
        fresh = self._slices[index] = SharedSlice(self._file, self._slot, index)
        return fresh


class UncountedSegment(SegmentCounter):
    """A segment without a file: it is over, or lapsed, or the disk was full. Nothing is counted."""

    def start(self, arm: Arm, unit: int, now: float) -> Cell | None:  # noqa: ARG002 - as its parent's
        return None


class WorkerCounts:
    """Which segment of each target a worker counts now; sealing is the supervisor's."""

    def __init__(self, files: SegmentFiles, slot: int, *, clock: Clock) -> None:
        self._files = files
        self._slot = slot
        self._clock = clock
        self._live: dict[str, SegmentCounter] = {}

    def segment_for(self, split: TargetSplit) -> SegmentCounter:
        """The counter of the segment in force; a new segment closes the one before, in its own moment."""
        live, segment = self._live.get(split.target), split.segment
        same = live is not None and (live.epoch, live.number) == (split.epoch, segment.number)
        if live is not None and same and not isinstance(live, UncountedSegment):
            return live
        if live is not None and not same:
            live.close(segment.began)
        fresh = self._live[split.target] = self._counter(split)
        return fresh

    def _counter(self, split: TargetSplit) -> SegmentCounter:
        try:
            file = self._files.open(split)
        except FileNotFoundError:  # it is sealed already, or the supervisor does not know of it yet
            return _uncounted(split)
        except OSError as failed:
            _log.warning("segment.not_counted", target=split.target, why=str(failed))
            return _uncounted(split)
        return SharedCounter(split, file, self._slot, self._clock.monotonic())


def _uncounted(split: TargetSplit) -> UncountedSegment:
    return UncountedSegment(
        epoch=split.epoch,
        number=split.segment.number,
        began=split.segment.began,
        timing=split.segment.timing,
    )


@cache
def _zeros(words: int) -> memoryview:
    return memoryview(bytes(words * 4)).cast("I")
