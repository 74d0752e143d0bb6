"""Weighs the safety canary: does the candidate fail probes that the baseline answers well?"""

import math
from typing import NamedTuple

from pydantic import JsonValue

from rampway.gates.bounds import clopper_pearson_upper
from rampway.gates.engine import HarmWatch, binomial
from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted, duration, percent, words_for_boundary
from rampway.gates.plans import ProbeGate, StepPlan
from rampway.gates.slices import SliceReader, Slices, counts_of
from rampway.gates.stages import at_hold_end
from rampway.gates.verdicts import Count, GateVerdict, Verdict, significant

BOUND_LEVEL = 0.05  # the printed bound is the one-sided 95 % one
_ROW_FIELDS = 6
_RULE_OF_THREE = 3.0


class ProbeRow(NamedTuple):
    """The paired probes of one slice by who passed; `hard_failed` failed the candidate twice in a row."""

    slice_index: int
    both_pass: int
    only_candidate_fails: int
    only_baseline_fails: int
    both_fail: int
    hard_failed: int


class ProbeTally:
    """The safety canary of a step, look after look.

    A hard probe that the candidate failed twice is a BREACH whatever the budget. Of the other pairs,
    those on which the arms differ are fair coin flips if the candidate is not worse: the exact sign
    test (McNemar 1947), spent look by look by the engine. Both latch, and the counts are those of
    that look. PASS is the end of the hold without a BREACH and with a probe: probes are too few to
    prove a margin, so the verdict says which failure rate they exclude.

    The counts are failed probes of each arm; `breach_at` moves up with those that both arms fail.
    """

    def __init__(self, plan: StepPlan, gate: ProbeGate) -> None:
        self._plan = plan
        self._gate = gate
        self._reader = SliceReader(plan, gate.stream, _probe_row)
        self._slices: Slices[ProbeRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)
        self._start()

    @property
    def slices(self) -> Slices[ProbeRow]:
        """What the last look read."""
        return self._slices

    def take(self, evidence: Evidence) -> None:
        """Count what is new in the evidence; count all anew when it changed its past."""
        reading = self._reader.read(evidence)
        if reading.anew:
            self._start()
        self._slices = reading.slices
        for row in reading.new:
            if self._crossed_at_seconds is None:
                self._look(row)

    def answer(self, stage_seconds: float) -> tuple[GateVerdict, float | None]:
        """The verdict at this look, and the seconds it still waits (None: unknown)."""
        verdict, why, wait = self._answer(stage_seconds)
        gate, crossed, both = self._gate, self._crossed_at_seconds, self._both_fail
        at = self._harm.breach_at
        return GateVerdict(
            gate=gate.name,
            verdict=verdict,
            role=gate.role,
            candidate=self._candidate,
            baseline=self._baseline,
            breach_at=None if at is None else at + both,
            expected=significant(self._expected + both),
            alpha=significant(gate.alpha),
            spent=significant(self._harm.spent),
            crossed_at_seconds=None if crossed is None else significant(crossed),
            why=why,
        ), wait

    def _start(self) -> None:
        gate = self._gate
        self._harm = HarmWatch(
            alpha=gate.alpha,
            late=gate.late,
            spending=gate.spending,
            hold_seconds=self._plan.hold_seconds,
        )
        self._pairs = self._only_candidate = self._only_baseline = self._both_fail = 0
        self._hard_failed = 0
        self._expected = 0.0
        self._crossed_at_seconds: float | None = None

    def _look(self, row: ProbeRow) -> None:
        self._pairs += sum(row[1:5])
        self._only_candidate += row.only_candidate_fails
        self._only_baseline += row.only_baseline_fails
        self._both_fail += row.both_fail
        self._hard_failed += row.hard_failed
        end_seconds = self._slices.end_seconds(row)
        law = binomial(row.only_candidate_fails + row.only_baseline_fails, 0.5)
        self._expected += law.mean
        breach = self._harm.look(end_seconds, law, row.only_candidate_fails)
        if breach or row.hard_failed:
            self._crossed_at_seconds = end_seconds

    @property
    def _candidate(self) -> Count:
        return Count(bad=self._only_candidate + self._both_fail, units=self._pairs)

    @property
    def _baseline(self) -> Count:
        return Count(bad=self._only_baseline + self._both_fail, units=self._pairs)

    def _answer(self, stage_seconds: float) -> tuple[Verdict, str, float | None]:
        if self._crossed_at_seconds is not None:
            return Verdict.BREACH, self._words_for_breach(), None
        missing = self._missing(stage_seconds)
        if missing is not None:
            return Verdict.NO_DATA, missing, None
        if not at_hold_end(self._plan, stage_seconds):
            left_seconds = self._plan.hold_seconds - stage_seconds
            why = f"{self._bound()}; {duration(left_seconds)} of the hold to go"
            return Verdict.INCONCLUSIVE, why, left_seconds
        return Verdict.PASS, f"{self._bound()}, no BREACH", None

    def _missing(self, stage_seconds: float) -> str | None:
        if self._slices.missed_look is not None:
            return self._slices.missed_look
        if not self._pairs:
            return "no probe has come back from both arms yet"
        if at_hold_end(self._plan, stage_seconds):
            return self._slices.gap(self._plan.coverage)
        return None

    def _words_for_breach(self) -> str:
        if self._hard_failed:
            hard = counted(self._hard_failed, "hard probe")
            return f"the candidate failed {hard} twice in a row; one is a BREACH"
        return (
            f"the candidate failed {self._only_candidate:,} of {counted(self._pairs, 'probe')} that "
            f"the baseline answered well{words_for_boundary(self._harm)}; the baseline failed "
            f"{self._only_baseline:,} that the candidate answered well"
        )

    def _bound(self) -> str:
        """`0 of 16 probes, under 19 % (exactly 17.1 %)`: the rule of three, and the exact 95 % bound.

        The rule of three is Hanley and Lippman-Hand 1983, the exact one Clopper and Pearson 1934.
        """
        failed = self._candidate.bad
        exact = clopper_pearson_upper(failed, self._pairs, BOUND_LEVEL)
        seen = f"{failed:,} of {counted(self._pairs, 'probe')}"
        if failed:
            return f"{seen}, under {percent(exact)} with 95 % confidence"
        rule = _percent_up(min(1.0, _RULE_OF_THREE / self._pairs))
        return f"{seen}, under {rule} (exactly {percent(exact)}) with 95 % confidence"


def _percent_up(rate: float) -> str:
    """A bound in two digits, rounded up so that it stays one: `19 %`, `0.73 %`."""
    shown = rate * 100
    digits = 1 - math.floor(math.log10(shown))
    return f"{math.ceil(shown * 10**digits - 1e-9) / 10**digits:.{max(0, digits)}f} %"


def _probe_row(fields: list[JsonValue]) -> ProbeRow | None:
    counts = counts_of(fields, _ROW_FIELDS)
    return None if counts is None else ProbeRow(*counts)
