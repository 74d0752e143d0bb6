"""Do both arms get the units that the split promises, and lose as many of them?"""

import math
from collections import deque

from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted, duration, whole_percent
from rampway.gates.plans import AbPlan, SampleRatioGate, StepPlan
from rampway.gates.slices import RateRow, SliceReader, Slices, rate_reader
from rampway.gates.stages import at_hold_end
from rampway.gates.verdicts import Count, GateVerdict, Verdict, significant

_ALL_BP = 10_000
_E_SHOWN_MAX = 1_000_000  # a larger e-value says no more to a person, and may have no float


class RatioTally:
    """Compares what came with what the split promised, slice after slice; a mismatch latches.

    Two kinds of comparisons share `alpha` evenly: the units of the gate's own stream, and for every
    other rate stream of the plan those units that it lost, where both streams have the slice. Under
    a split that does what it promises, and arms that lose alike, both fall to the candidate with the
    probability of its share. Each comparison is a test martingale (see `EValue`): looking at every
    slice costs nothing. The answer is never a BREACH: a wrong count says nothing about the candidate.

    Counts are those of the look that latched; `expected` is the candidate's units as promised.
    """

    def __init__(self, plan: StepPlan | AbPlan, gate: SampleRatioGate) -> None:
        self._plan = plan
        self._gate = gate
        self._reader = rate_reader(plan, gate.stream)
        others = dict.fromkeys(each.stream for each in plan.gates if each.stream != gate.stream)
        self._share = plan.share_bp / _ALL_BP
        # Each of n tests at alpha / n: Bonferroni.
        self._limit = (1 + len(others)) / gate.alpha
        self._kept = [_Kept(rate_reader(plan, stream), stream) for stream in others]
        self._slices: Slices[RateRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)
        self._start()

    @property
    def slices(self) -> Slices[RateRow]:
        """What the last look read of the gate's own stream."""
        return self._slices

    def take(self, evidence: Evidence) -> None:
        """Count what is new in the evidence; count all anew when it changed its past."""
        reading = self._reader.read(evidence)
        if reading.anew:
            self._start()
        self._slices = reading.slices
        for row in reading.new:
            self._by_slice[row.slice_index] = row
            self._units.add(row.candidate_units, row.baseline_units, self._end_seconds(row))
        for kept in self._kept:
            self._take_kept(kept, evidence, anew=reading.anew)

    def answer(self, stage_seconds: float) -> tuple[GateVerdict, float | None]:
        """INCONCLUSIVE for good after a mismatch; else PASS at the end of the hold."""
        verdict, why = self._verdict(stage_seconds)
        crossed = self._mismatch()
        seconds = crossed.crossed_at_seconds if crossed else None
        answer = GateVerdict(
            gate=self._gate.name,
            verdict=verdict,
            role=self._gate.role,
            candidate=Count(units=self._units.candidate),
            baseline=Count(units=self._units.baseline),
            expected=significant(self._share * self._units.total),
            alpha=significant(self._gate.alpha),
            crossed_at_seconds=None if seconds is None else significant(seconds),
            why=why,
        )
        waits = crossed is None and verdict is Verdict.INCONCLUSIVE
        return answer, self._plan.hold_seconds - stage_seconds if waits else None

    def _start(self) -> None:
        self._by_slice: dict[int, RateRow] = {}
        self._units = self._e_value()
        for kept in self._kept:
            kept.start(self._e_value())

    def _e_value(self) -> "EValue":
        return EValue(share=self._share, concentration=self._gate.concentration, limit=self._limit)

    def _take_kept(self, kept: "_Kept", evidence: Evidence, *, anew: bool) -> None:
        reading = kept.reader.read(evidence)
        if reading.anew and not anew:
            kept.start(self._e_value())
        # When the units are counted anew, so is what was lost of them.
        kept.waiting.extend(reading.slices.rows if anew else reading.new)
        last = self._slices.rows[-1].slice_index if self._slices.rows else -1
        while kept.waiting and kept.waiting[0].slice_index <= last:
            row = kept.waiting.popleft()
            units = self._by_slice.get(row.slice_index)
            if units is None:
                continue
            kept.lost.add(
                max(0, units.candidate_units - row.candidate_units),
                max(0, units.baseline_units - row.baseline_units),
                self._end_seconds(row),
            )

    def _end_seconds(self, row: RateRow) -> float:
        return (row.slice_index + 1) * self._plan.slice_seconds

    def _mismatch(self) -> "EValue | None":
        """The comparison that found one first."""
        found = [e for e in (self._units, *(kept.lost for kept in self._kept)) if e.mismatch]
        return min(found, key=lambda e: e.crossed_at_seconds or 0.0, default=None)

    def _verdict(self, stage_seconds: float) -> tuple[Verdict, str]:
        mismatch = self._mismatch()
        if mismatch is not None:
            return Verdict.INCONCLUSIVE, self._words_for_mismatch(mismatch)
        missing = self._slices.missed_look
        if missing is None and not self._units.total:
            missing = "no unit was counted yet"
        if missing is None and at_hold_end(self._plan, stage_seconds):
            missing = self._slices.gap(self._plan.coverage)
        if missing is not None:
            return Verdict.NO_DATA, missing
        if not at_hold_end(self._plan, stage_seconds):
            left = duration(self._plan.hold_seconds - stage_seconds)
            return Verdict.INCONCLUSIVE, f"{self._words_for_units()}; {left} of the hold to go"
        return Verdict.PASS, self._words_for_units()

    def _words_for_mismatch(self, mismatch: "EValue") -> str:
        odds = f"e-value {mismatch.words}, a mismatch from {self._limit:,.0f} on"
        if mismatch is self._units:
            return f"{self._words_for_units()}; {odds}; these counts decide nothing"
        kept = next(kept for kept in self._kept if kept.lost is mismatch)
        lost = kept.lost
        return (
            f"{kept.stream} lost {lost.candidate:,} of the candidate's units and "
            f"{lost.baseline:,} of the baseline's: {_percent(lost.candidate, lost.total)} of what was "
            f"lost, {whole_percent(self._share)} promised; {odds}; these counts decide nothing"
        )

    def _words_for_units(self) -> str:
        units = self._units
        came = _percent(units.candidate, units.total)
        return (
            f"{came} of {counted(units.total, 'unit')} came to the candidate, "
            f"{whole_percent(self._share)} promised"
        )


class EValue:
    """How much better any other split explains the units than the one promised.

    The Bayes factor of a Dirichlet-multinomial, its prior `concentration` units strong around
    `share`, against the multinomial with `share`: under the promised split a martingale that begins
    at 1, so that by Ville's inequality it ever reaches 1 / alpha with probability alpha at most
    (Lindon & Malek 2022, Anytime-valid inference for multinomial count data). Once it has reached
    `limit` nothing more is counted.
    """

    def __init__(self, *, share: float, concentration: float, limit: float) -> None:
        self.candidate = 0
        self.baseline = 0
        self.crossed_at_seconds: float | None = None
        self._share = share
        self._concentration = concentration
        self._limit = limit

    @property
    def total(self) -> int:
        """Units of both arms."""
        return self.candidate + self.baseline

    @property
    def mismatch(self) -> bool:
        """The limit was reached."""
        return self.crossed_at_seconds is not None

    @property
    def log(self) -> float:
        """The natural logarithm; infinite when an arm that is promised nothing has a unit."""
        log_e = math.lgamma(self._concentration) - math.lgamma(self._concentration + self.total)
        for share, units in ((self._share, self.candidate), (1 - self._share, self.baseline)):
            if share > 0:
                prior = self._concentration * share
                log_e += math.lgamma(prior + units) - math.lgamma(prior) - units * math.log(share)
            elif units:
                return math.inf
        return log_e

    @property
    def words(self) -> str:
        """The e-value for a person: `1,250`, or `over 1,000,000`."""
        if self.log > math.log(_E_SHOWN_MAX):
            return f"over {_E_SHOWN_MAX:,}"
        return f"{math.exp(self.log):,.0f}"

    def add(self, candidate: int, baseline: int, end_seconds: float) -> None:
        """Count a slice that ended at `end_seconds`, unless a mismatch was found before."""
        if self.mismatch:
            return
        self.candidate += candidate
        self.baseline += baseline
        if self.log >= math.log(self._limit):
            self.crossed_at_seconds = end_seconds


class _Kept:
    """What another stream kept of the units, and lost."""

    def __init__(self, reader: SliceReader[RateRow], stream: str) -> None:
        self.reader = reader
        self.stream = stream

    def start(self, lost: EValue) -> None:
        self.lost = lost
        self.waiting: deque[RateRow] = deque()  # until the units of that slice are known


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "0 %"
