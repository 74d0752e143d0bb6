"""Pairs what both arms answered to one copied request, and marks each slice whose pairs are settled.

Every sampled request leaves one line in the spool, complete or with the reason why it is not; after
all lines of a slice comes its mark. Slices come in order; one that ran in an earlier process, or was
cut by the next write, gets no mark.
"""

from collections.abc import Callable
from typing import Final

from rampway.gateway.counting import SegmentCounter
from rampway.gateway.lossy import LossyFile
from rampway.gateway.spool import Half, MarkRecord, PairRecord, SpoolRecord

GRACE_SECONDS: Final = 1.0  # beyond the copy's own time-out
QUEUE_FULL: Final = "queue_full"
BREAKER: Final = "breaker"
BUDGET: Final = "budget"  # the target's copies, tokens or money of this minute are used up
LOAD: Final = "load"  # the callers' own requests need this process for themselves
TIMEOUT: Final = "timeout"
CLIENT: Final = "client"  # the caller left, or was never answered in full
BASELINE_LATE: Final = "baseline_late"
BASELINE_FAILED: Final = "baseline_failed"
CANDIDATE_FAILED: Final = "candidate_failed"
OTHER_ARTIFACT: Final = "other_artifact"  # an upstream says that neither arm's artifact answered
TOO_LARGE: Final = "too_large"
TOO_MANY: Final = "too_many"
STOPPED: Final = "stopped"  # copying was switched off while it waited
SPOOL: Final = "spool"  # the spool took no line


class Pair:
    """One sampled request, until both halves are in, or one never will be."""

    __slots__ = (
        "baseline",
        "candidate",
        "held_bytes",
        "missing",
        "note",
        "request",
        "settled",
        "tally",
        "trace",
        "unit",
    )

    def __init__(
        self,
        tally: "SliceTally",
        unit: str,
        trace: str,
        note: Callable[[PairRecord], None] | None = None,
    ) -> None:
        self.tally = tally
        self.note = note  # told of the pair when it is settled
        self.unit = unit
        self.trace = trace
        self.request: bytes | None = None
        self.baseline: Half | None = None
        self.candidate: Half | None = None
        self.missing: str | None = None
        self.settled = False
        self.held_bytes = 0


class TargetTally:
    """What was sampled of one target since the process started."""

    def __init__(self) -> None:
        self.sampled = 0
        self.missing: dict[str, int] = {}


class SliceTally:
    """What was sampled in one slice."""

    __slots__ = ("copied", "index", "missing", "pairs")

    def __init__(self, index: int) -> None:
        self.index = index
        self.copied = 0
        self.missing: dict[str, int] = {}
        self.pairs: set[Pair] = set()


class Pairing:
    """The pairs of one shadowing segment. Times are monotonic seconds, given by the caller."""

    def __init__(
        self,
        *,
        target: str,
        release: str,
        counter: SegmentCounter,
        began_at: float,
        timeout_seconds: float,
        pairs_max: int,
        bytes_max: int,
        spool: LossyFile[SpoolRecord],
        total: TargetTally,
    ) -> None:
        self.target = target
        self.release = release
        self.counter = counter
        self._total = total
        self._began_at = began_at
        self._deadline_seconds = timeout_seconds + GRACE_SECONDS
        self._pairs_max = pairs_max
        self._bytes_max = bytes_max
        self._spool = spool
        self._tallies: dict[int, SliceTally] = {}
        self._next_mark = counter.first_index
        self._open_pairs = 0
        self._held_bytes = 0

    def open(
        self,
        unit: str,
        trace: str,
        now: float,
        note: Callable[[PairRecord], None] | None = None,
    ) -> Pair:
        """A sampled request; its line is written when it is settled."""
        index = self.counter.index_at(now)
        tally = self._tallies.get(index)
        if tally is None:
            tally = self._tallies[index] = SliceTally(index)
        pair = Pair(tally, unit, trace, note)
        tally.copied += 1
        self.counter.note_copied(index)
        self._total.sampled += 1
        tally.pairs.add(pair)
        self._open_pairs += 1
        if self._open_pairs > self._pairs_max:
            self.miss(pair, TOO_MANY)
        return pair

    def take_request(self, pair: Pair, body: bytes) -> None:
        if self._hold(pair, len(body)):
            pair.request = body

    def take_baseline(self, pair: Pair, half: Half) -> None:
        if self._hold(pair, len(half.body or b"")):
            pair.baseline = half
            self._settle_if_complete(pair)

    def take_candidate(self, pair: Pair, half: Half) -> None:
        if self._hold(pair, len(half.body or b"")):
            pair.candidate = half
            self._settle_if_complete(pair)

    def miss(self, pair: Pair, reason: str) -> None:
        """There will be nothing to compare; the first reason stands."""
        if not pair.settled:
            pair.missing = reason
            self._settle(pair)

    def mark_due(self, now: float) -> None:
        """Mark, in order, each slice that is over and settled; settle by force what is overdue."""
        while not self.is_marked and now >= self._end_of(self._next_mark):
            tally = self._tallies.get(self._next_mark)
            if tally is not None and tally.pairs:
                if now < self._end_of(self._next_mark) + self._deadline_seconds:
                    return
                for pair in list(tally.pairs):
                    self.miss(pair, TIMEOUT if pair.candidate is None else BASELINE_LATE)
            self._mark(tally if tally is not None else SliceTally(self._next_mark))
            self._tallies.pop(self._next_mark, None)
            self._next_mark += 1

    def next_mark(self) -> float:
        """When the next slice is over."""
        return self._end_of(self._next_mark)

    @property
    def is_marked(self) -> bool:
        """Does the segment end, and have all its whole slices their marks?"""
        slices = self.counter.slices
        return slices is not None and self._next_mark >= slices

    def _end_of(self, index: int) -> float:
        return self.counter.began + (index + 1) * self.counter.timing.slice_seconds

    def _hold(self, pair: Pair, size_bytes: int) -> bool:
        """Account for bytes kept in memory; without room for them the pair is given up."""
        if pair.settled:
            return False
        if self._held_bytes + size_bytes > self._bytes_max:
            self.miss(pair, TOO_MANY)
            return False
        self._held_bytes += size_bytes
        pair.held_bytes += size_bytes
        return True

    def _settle_if_complete(self, pair: Pair) -> None:
        if pair.baseline is not None and pair.candidate is not None:
            self._settle(pair)

    def _settle(self, pair: Pair) -> None:
        pair.settled = True
        pair.tally.pairs.discard(pair)
        self._open_pairs -= 1
        self._held_bytes -= pair.held_bytes
        record = PairRecord(
            target=self.target,
            release=self.release,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=pair.tally.index,
            unit=pair.unit,
            trace=pair.trace,
            request=pair.request,
            baseline=pair.baseline,
            candidate=pair.candidate,
            missing=pair.missing,
        )
        if pair.note is not None:
            pair.note(record)
            pair.note = None  # it holds the request, which holds the pair
        if not self._spool.put(record, pair.held_bytes + 256) and pair.missing is None:
            pair.missing = SPOOL
        if pair.missing is not None:
            for told in (pair.tally.missing, self._total.missing):
                told[pair.missing] = told.get(pair.missing, 0) + 1

    def _mark(self, tally: SliceTally) -> None:
        width = self.counter.timing.slice_seconds
        record = MarkRecord(
            target=self.target,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=tally.index,
            slice_seconds=width,
            ended_at=self._began_at + (tally.index + 1) * width,
            copied=tally.copied,
            missing=dict(tally.missing),
        )
        self._spool.put(record, 256)
