"""Counts of several processes: the supervisor sums up what each worker counted, when it seals a slice.

Rows and rules of sealing are those of one process. A slice that a worker has already written over, for
nobody sealed it in time, is lost for both arms and all workers: it gets no row.
"""

from pathlib import Path
from typing import Final

import structlog

from rampway.gateway.counting import (
    TIMEOUT_BUCKET,
    ArmCell,
    Sealed,
    SegmentCounter,
    SliceCell,
)
from rampway.gateway.counts import Counts
from rampway.gateway.segmentfile import (
    ABORTED,
    ALL_KINDS,
    COPIED,
    DRAWN,
    ERROR,
    FILE_BYTES_MAX,
    KINDS_BEGIN,
    LATE,
    LATENCY_BEGIN,
    REFUSAL,
    RING_CELLS_MAX,
    TAG,
    UNITS,
    SegmentFile,
    SegmentShape,
    shape_for,
)
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, BadInput, Clock, Timing

# A worker may be held up between the moment it measures how long a request took and the one it counts it.
SEAL_GRACE_SECONDS: Final = 0.05
_log = structlog.get_logger("rampway.gateway")


class SegmentFiles:
    """Where the files of segments are, and what shape they have in this gateway."""

    def __init__(self, directory: Path, *, workers: int, units_remembered: int) -> None:
        self._directory = directory
        self._workers = workers
        self._units_remembered = units_remembered

    def check(self, timing: Timing) -> None:
        """Raises BadInput where segments with this timing would need too much memory."""
        shape = self.shape(timing)
        if shape.cells > RING_CELLS_MAX or shape.size_bytes > FILE_BYTES_MAX:
            raise BadInput(
                f"timeout_seconds {timing.timeout_seconds:g} with slice_seconds"
                f" {timing.slice_seconds:g}: {self._workers} processes would hold {shape.cells} slices"
                f" in {shape.size_bytes >> 20} MiB until they are sealed, and {RING_CELLS_MAX} slices"
                f" in {FILE_BYTES_MAX >> 20} MiB are the limit. Choose longer slices or a shorter"
                " time-out."
            )

    def shape(self, timing: Timing) -> SegmentShape:
        return shape_for(timing, workers=self._workers, units_remembered=self._units_remembered)

    def path(self, split: TargetSplit) -> Path:
        return self._directory / f"{split.target},{split.epoch},{split.segment.number}"

    def create(self, split: TargetSplit) -> SegmentFile:
        """Raises OSError or BadInput."""
        self.check(split.segment.timing)
        return SegmentFile.create(self.path(split), self.shape(split.segment.timing))

    def open(self, split: TargetSplit) -> SegmentFile:
        """Raises OSError."""
        return SegmentFile.open(self.path(split), self.shape(split.segment.timing))


class Sampled:
    """What all workers sampled of one slice."""

    __slots__ = ("baseline", "candidate", "copied")

    def __init__(self) -> None:
        self.copied = 0
        self.candidate = 0
        self.baseline = 0


class SummedCounter(SegmentCounter):
    """Sums one segment up. Without a file, which a full disk may refuse, all of its slices are lost."""

    def __init__(self, split: TargetSplit, file: SegmentFile | None) -> None:
        super().__init__(
            epoch=split.epoch,
            number=split.segment.number,
            began=split.segment.began,
            timing=split.segment.timing,
        )
        self._file = file

    def announce(self) -> None:
        """Let workers count: from now on it is told when slice 0 began."""
        if self._file is not None:
            self._file.announce(began=self.began, first_index=self.first_index)

    def next_seal(self) -> float:
        return super().next_seal() + SEAL_GRACE_SECONDS

    def seal(self, now: float) -> Sealed | None:
        sealed = super().seal(now)
        if self._file is not None:
            workers = range(self._file.shape.workers)
            self.units_forgotten = sum(self._file.forgotten(slot) for slot in workers)
            if self.is_sealed:
                self._file.remove()
        return sealed

    def sampled(self, index: int, *, baseline_per_candidate: int) -> Sampled | None:
        """What was sampled in a slice that is over; None where it is lost.

        A worker that died had not cut its baseline sample to its candidates yet.
        """
        cells = self._cells_of(index)
        if cells is None or self._file is None:
            return None
        total = Sampled()
        for at in cells:
            total.copied += self._file.words[at + COPIED]
            candidates = self._file.words[at + DRAWN[Arm.CANDIDATE]]
            total.candidate += candidates
            total.baseline += min(
                self._file.words[at + DRAWN[Arm.BASELINE]], candidates * baseline_per_candidate
            )
        return total

    def _due(self, now: float, delay_seconds: float) -> int:
        return super()._due(now - SEAL_GRACE_SECONDS, delay_seconds)

    def _whole(self, index: int) -> SliceCell | None:
        cells = self._cells_of(index)
        if cells is None or self._file is None:
            return None
        whole, shape = SliceCell(), self._file.shape
        for at in cells:
            _add(whole.baseline, self._file, shape.arm(at, Arm.BASELINE))
            _add(whole.candidate, self._file, shape.arm(at, Arm.CANDIDATE))
        # A worker may have begun to write over it meanwhile.
        return whole if self._cells_of(index) == cells else None

    def _cells_of(self, index: int) -> list[int] | None:
        """Where workers counted the slice; None where it is lost, or one has written over it."""
        if self._file is None or index < self.first_index:
            return None
        found: list[int] = []
        for slot in range(self._file.shape.workers):
            at = self._file.shape.cell(slot, index)
            tag = self._file.words[at + TAG]
            if tag > index + 1:
                return None
            if tag == index + 1:
                found.append(at)
        return found


class SummedCounts(Counts):
    """The counts of all targets, of which each segment has a file that workers count into."""

    def __init__(self, directory: Path, files: SegmentFiles, *, clock: Clock) -> None:
        super().__init__(directory, clock=clock, units_remembered=0)
        self._files = files

    def segment_for(self, split: TargetSplit) -> SegmentCounter:
        counter = super().segment_for(split)
        if isinstance(counter, SummedCounter):
            counter.announce()
        return counter

    def new_counter(self, split: TargetSplit) -> SegmentCounter:
        try:
            return SummedCounter(split, self._files.create(split))
        except (OSError, BadInput) as failed:
            # Without counts no gate passes; without the write a pin would not be in force.
            _log.exception("segment.not_counted", target=split.target, why=str(failed))
            return SummedCounter(split, None)


def _add(cell: ArmCell, file: SegmentFile, at: int) -> None:
    """Add what one worker counted for an arm; each unit that ended has one latency."""
    words, latencies = file.words, file.words[at + LATENCY_BEGIN : at + file.shape.arm_words]
    cell.units += words[at + UNITS]
    cell.error += words[at + ERROR]
    cell.late += words[at + LATE]
    cell.refusal += words[at + REFUSAL]
    cell.aborted += words[at + ABORTED]
    for kind, count in zip(ALL_KINDS, words[at + KINDS_BEGIN : at + LATENCY_BEGIN], strict=True):
        if count:
            cell.kinds[kind] = cell.kinds.get(kind, 0) + count
    in_time = file.shape.buckets
    for place, count in enumerate(latencies.tolist()):
        if count:
            cell.finished += count
            bucket = place if place < in_time else TIMEOUT_BUCKET
            cell.latency[bucket] = cell.latency.get(bucket, 0) + count
