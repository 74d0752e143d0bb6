"""Integer counts per time slice and arm of one segment, sealed at fixed times and never changed after.

A request counts in the slice and for the arm it started in. What it counts as depends only on its own
duration and outcome, so that a seal that is executed a little late counts the same.
"""

import math
from typing import TYPE_CHECKING, Final, Protocol, TypedDict

from rampway.gateway.terms import Arm, Timing

if TYPE_CHECKING:
    from rampway.gateway.findings import Finding

TIMEOUT_BUCKET: Final = 100_000  # of what never gave a full answer, or not in time
SEALED_AT_ONCE_MAX: Final = 512  # slices per call, so that a long sleep is worked off in pieces
UNITS_REMEMBERED: Final = 131_072
KINDS: Final = (
    "connect",
    "timeout",
    "reset",
    "mid_stream",
    "status_429",
    "status_500",
    "status_502",
    "status_503",
    "answer_error",
    "stream_error",
    "wrong_artifact",
)
OTHER_KIND: Final = "other"
_BUCKET_WIDTH: Final = math.log(1.02)
_EARLY: Final = 1e-9  # of a slice: absorbs the rounding of (k * w + d - d) / w


class FastArm(TypedDict):
    """One arm's units of a slice, and those that failed within `fast_seconds` of their start."""

    units: int
    error: int


class FullArm(TypedDict):
    """One arm's units of a slice as of the time-out; latency by bucket (a decimal string)."""

    units: int
    late: int
    refusal: int
    aborted: int
    kinds: dict[str, int]
    latency: dict[str, int]


class FastRow(TypedDict):
    """Slice `i` of the fast stream."""

    i: int
    baseline: FastArm
    candidate: FastArm


class FullRow(TypedDict):
    """Slice `i` of the full stream."""

    i: int
    baseline: FullArm
    candidate: FullArm


def latency_bucket(milliseconds: float) -> int:
    """Bucket k holds latencies in [1.02**k, 1.02**(k+1)) ms; below 1 ms all are in bucket 0."""
    return int(math.log(milliseconds) / _BUCKET_WIDTH) if milliseconds > 1 else 0


class Outcome:
    """How a request ended. `kind` is its error's kind, None if none; `answered` is a full answer.

    `finding` is what the answer told, where it was looked into; None elsewhere.
    """

    __slots__ = ("aborted", "answered", "finding", "kind", "refused", "size_bytes", "status")

    def __init__(
        self,
        *,
        kind: str | None = None,
        answered: bool = False,
        refused: bool = False,
        aborted: bool = False,
        status: int | None = None,
        size_bytes: int = 0,
    ) -> None:
        self.kind = kind
        self.answered = answered
        self.refused = refused
        self.aborted = aborted
        self.status = status
        self.size_bytes = size_bytes
        self.finding: Finding | None = None


class Cell(Protocol):
    """Where a started unit is counted when it ends; `finish` must be called at most once for it."""

    def finish(self, took_seconds: float, outcome: Outcome, timing: Timing) -> None: ...


class ArmCell:
    """One arm's counts in one slice. `finish` must be called at most once per started unit."""

    __slots__ = ("aborted", "error", "finished", "kinds", "late", "latency", "refusal", "units")

    def __init__(self) -> None:
        self.units = 0
        self.finished = 0
        self.error = 0
        self.late = 0
        self.refusal = 0
        self.aborted = 0
        self.kinds: dict[str, int] = {}
        self.latency: dict[int, int] = {}

    def finish(self, took_seconds: float, outcome: Outcome, timing: Timing) -> None:
        """Count a unit that ended `took_seconds` after its start."""
        over = took_seconds > timing.timeout_seconds
        kind = "timeout" if over else outcome.kind
        self.finished += 1
        if kind is not None:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            if timing.one_stream or took_seconds <= timing.fast_seconds:
                self.error += 1
            else:
                self.late += 1
        elif outcome.aborted:
            self.aborted += 1
        elif outcome.refused:
            self.refusal += 1
        no_answer = over or (kind is not None and not outcome.answered)
        bucket = TIMEOUT_BUCKET if no_answer else latency_bucket(took_seconds * 1_000)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1

    def fast(self, timing: Timing) -> FastArm:
        unfinished = self.units - self.finished if timing.one_stream else 0
        return {"units": self.units, "error": self.error + unfinished}

    def full(self, timing: Timing) -> FullArm:
        """Counts as of the time-out: what is unfinished then timed out."""
        unfinished = self.units - self.finished
        kinds, latency = dict(self.kinds), dict(self.latency)
        if unfinished:
            kinds["timeout"] = kinds.get("timeout", 0) + unfinished
            latency[TIMEOUT_BUCKET] = latency.get(TIMEOUT_BUCKET, 0) + unfinished
        return {
            "units": self.units,
            "late": 0 if timing.one_stream else self.late + unfinished,
            "refusal": self.refusal,
            "aborted": self.aborted,
            "kinds": kinds,
            "latency": {str(bucket): latency[bucket] for bucket in sorted(latency)},
        }


class SliceCell:
    """Both arms' counts in one slice."""

    __slots__ = ("baseline", "candidate")

    def __init__(self) -> None:
        self.baseline = ArmCell()
        self.candidate = ArmCell()

    def fast_row(self, index: int, timing: Timing) -> FastRow:
        return {
            "i": index,
            "baseline": self.baseline.fast(timing),
            "candidate": self.candidate.fast(timing),
        }

    def full_row(self, index: int, timing: Timing) -> FullRow:
        return {
            "i": index,
            "baseline": self.baseline.full(timing),
            "candidate": self.candidate.full(timing),
        }


class Sealed:
    """The rows that one call sealed, by stream."""

    __slots__ = ("fast", "full")

    def __init__(self) -> None:
        self.fast: list[FastRow] = []
        self.full: list[FullRow] = []


class SegmentCounter:
    """Counts one segment. Times are monotonic seconds, given by the caller.

    A unit that comes again is not counted again; the oldest are forgotten beyond `units_max`, and
    counted in `units_forgotten`.
    """

    def __init__(
        self,
        *,
        epoch: int,
        number: int,
        began: float,
        timing: Timing,
        units_max: int = UNITS_REMEMBERED,
    ) -> None:
        self.epoch = epoch
        self.number = number
        self.began = began
        self.timing = timing
        self.units_forgotten = 0
        self.slices: int | None = None  # how many whole slices it had; known when it is closed
        self._first_index = 0
        self._cells: dict[int, SliceCell] = {}
        self._fast_sealed = 0
        self._full_sealed = 0
        self._units_max = max(2, units_max)
        self._young: set[int] = set()
        self._old: set[int] = set()

    def index_at(self, now: float) -> int:
        return int((now - self.began) / self.timing.slice_seconds)

    def hash_unit(self, unit: bytes) -> int:
        """What `start` knows a unit by."""
        return hash(unit)

    def note_copied(self, index: int) -> None:
        """A request of this slice was sampled for the shadow; who counts across processes keeps it."""

    def note_drawn(self, index: int, arm: Arm, drawn: int) -> None:
        """So many requests of this slice and arm are drawn for the judge by now; same."""

    def start(self, arm: Arm, unit: int, now: float) -> Cell | None:
        """Count a unit (by its hash) in; None where it came before, or its slice is lost."""
        if unit in self._young or unit in self._old:
            return None
        self._remember(unit)
        index = self.index_at(now)
        if index < self._first_index or self.slices is not None:
            return None
        cell = self._cells.get(index)
        if cell is None:
            cell = self._cells[index] = SliceCell()
        arm_cell = cell.candidate if arm is Arm.CANDIDATE else cell.baseline
        arm_cell.units += 1
        return arm_cell

    def resume(self, now: float) -> None:
        """Go on in a new process: slices that ran, even in part, in the earlier one are lost."""
        self._first_index = self.index_at(now) + 1
        self._fast_sealed = max(0, self._due(now, self.timing.fast_delay_seconds))
        self._full_sealed = max(0, self._due(now, self.timing.timeout_seconds))

    def close(self, now: float) -> int:
        """End the segment: the slice that is cut here is dropped. Answers how many whole ones it had."""
        if self.slices is None:
            self.slices = self.index_at(now)
            self._young, self._old = set(), set()
        return self.slices

    @property
    def first_index(self) -> int:
        """The first slice that this process counted from its beginning."""
        return self._first_index

    @property
    def sealed_to(self) -> tuple[int, int]:
        """How many slices are sealed in the fast and in the full stream."""
        return self._fast_sealed, self._full_sealed

    @property
    def is_sealed(self) -> bool:
        return self.slices is not None and self._full_sealed >= self.slices

    def next_seal(self) -> float:
        """When the next slice is due in either stream."""
        width = self.timing.slice_seconds
        fast = self.began + (self._fast_sealed + 1) * width + self.timing.fast_delay_seconds
        full = self.began + (self._full_sealed + 1) * width + self.timing.timeout_seconds
        if self.slices is not None and self._fast_sealed >= self.slices:
            return full
        return min(fast, full)

    def seal(self, now: float) -> Sealed | None:
        """Seal what is due, in order, each slice once per stream; None where nothing is due."""
        before = self.sealed_to
        sealed = Sealed()
        due = self._due(now, self.timing.fast_delay_seconds)
        due = min(due, self._fast_sealed + SEALED_AT_ONCE_MAX)
        for i in range(self._fast_sealed, due):
            cell = self._whole(i)
            if cell is not None:
                sealed.fast.append(cell.fast_row(i, self.timing))
        self._fast_sealed = max(due, self._fast_sealed)
        due = self._due(now, self.timing.timeout_seconds)
        due = min(due, self._full_sealed + SEALED_AT_ONCE_MAX, self._fast_sealed)
        for i in range(self._full_sealed, due):
            cell = self._whole(i)
            if cell is not None:
                sealed.full.append(cell.full_row(i, self.timing))
            self._cells.pop(i, None)
        self._full_sealed = max(due, self._full_sealed)
        return sealed if self.sealed_to != before else None

    def _due(self, now: float, delay_seconds: float) -> int:
        over = now - self.began - delay_seconds
        due = math.floor(over / self.timing.slice_seconds + _EARLY)
        return due if self.slices is None else min(due, self.slices)

    def _whole(self, index: int) -> SliceCell | None:
        """The counts of a slice, all zero where nobody came; None for one that is lost."""
        if index < self._first_index:
            return None
        return self._cells.get(index) or SliceCell()

    def _remember(self, unit: int) -> None:
        if len(self._young) >= self._units_max // 2:
            self.units_forgotten += len(self._old)
            self._old, self._young = self._young, set()
        self._young.add(unit)
