"""Weighs online quality: on answers that users saw, is the candidate's mean judge score lower?"""

import math
from collections import Counter
from typing import NamedTuple

from pydantic import JsonValue

from rampway.gates.draws import sum_of_draws
from rampway.gates.engine import HarmWatch
from rampway.gates.evidence import Evidence
from rampway.gates.means import MarginProof, MeanDifference
from rampway.gates.phrases import (
    counted,
    duration,
    percent,
    whole_percent,
    words_for_boundary,
    words_for_breach,
)
from rampway.gates.planning import pairs_to_prove
from rampway.gates.plans import Must, QualityGate, Role, StepPlan
from rampway.gates.proportions import Hits, fisher_exact_p
from rampway.gates.slices import SliceReader, Slices, count_of, counts_of
from rampway.gates.stages import at_hold_end
from rampway.gates.verdicts import Count, GateVerdict, Verdict, significant

JUDGED_MAX = 10**6  # judged answers in one slice
JUDGES_ALIKE_P = 0.001  # a difference of the unjudged parts less likely than this is one
_ROW_FIELDS = 4
_CELL_FIELDS = 3


class QualityRow(NamedTuple):
    """The judged answers of one slice: `(score, candidate units, baseline units)`, and the others."""

    slice_index: int
    cells: tuple[tuple[int, int, int], ...]
    unjudged_candidate: int
    unjudged_baseline: int


class QualityTally:
    """The quality gate of a step, look after look.

    BREACH: given all scores of a slice and how many answers of each arm were judged, the candidate's
    lost levels are those of draws without replacement (see `sum_of_draws`), whatever the scores, their
    drift and the split; the engine spends the budget on the upper tail. It latches, and the counts
    are those of that look. PASS: the hold is over, and in a step that must prove, the lower limit of
    the stratified mean difference is above the margin. A judge that fails too often, or for one arm
    more than for the other, says nothing either way: INCONCLUSIVE.

    Counts are lost levels of judged answers; an answer at the top of the scale lost none.
    """

    def __init__(self, plan: StepPlan, gate: QualityGate) -> None:
        self._plan = plan
        self._gate = gate
        self._reader = SliceReader(plan, gate.stream, self._row)
        self._slices: Slices[QualityRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)
        self._start()

    @property
    def slices(self) -> Slices[QualityRow]:
        """What the last look read."""
        return self._slices

    def take(self, evidence: Evidence) -> None:
        """Count what is new in the evidence; count all anew when it changed its past."""
        reading = self._reader.read(evidence)
        if reading.anew:
            self._start()
        self._slices = reading.slices
        for row in reading.new:
            self._unjudged_candidate += row.unjudged_candidate
            self._unjudged_baseline += row.unjudged_baseline
            if self._harm.crossed_at_seconds is None:
                self._look(row)

    def answer(self, stage_seconds: float) -> tuple[GateVerdict, float | None]:
        """The verdict at this look, and the seconds it still waits (None: unknown)."""
        answer = self._answer(stage_seconds)
        gate, crossed = self._gate, self._harm.crossed_at_seconds
        return GateVerdict(
            gate=gate.name,
            verdict=answer.verdict,
            role=gate.role,
            candidate=self._candidate,
            baseline=self._baseline,
            breach_at=self._harm.breach_at,
            expected=significant(self._expected),
            alpha=significant(gate.alpha),
            spent=significant(self._harm.spent),
            crossed_at_seconds=None if crossed is None else significant(crossed),
            units_needed=answer.units_needed,
            why=answer.why,
        ), answer.seconds_to_go

    def _start(self) -> None:
        plan, gate = self._plan, self._gate
        self._harm = HarmWatch(
            alpha=gate.alpha,
            late=gate.late,
            spending=gate.spending,
            hold_seconds=plan.hold_seconds,
        )
        self._proof = MarginProof(beta=gate.beta, hold_seconds=plan.hold_seconds)
        self._mean = MeanDifference(gate.levels)
        self._candidate_lost = self._baseline_lost = 0
        self._expected = 0.0
        self._unjudged_candidate = self._unjudged_baseline = 0

    def _row(self, fields: list[JsonValue]) -> QualityRow | None:
        return _quality_row(fields, self._gate.levels)

    def _look(self, row: QualityRow) -> None:
        top = self._gate.levels - 1
        pooled: Counter[int] = Counter()
        candidate_units = candidate_lost = 0
        for score, by_candidate, by_baseline in row.cells:
            pooled[top - score] += by_candidate + by_baseline
            candidate_units += by_candidate
            candidate_lost += (top - score) * by_candidate
            self._baseline_lost += (top - score) * by_baseline
        self._candidate_lost += candidate_lost
        self._mean.add(row.cells)
        law = sum_of_draws(pooled, candidate_units)
        self._expected += law.mean
        end_seconds = self._slices.end_seconds(row)
        if not self._harm.look(end_seconds, law, candidate_lost) and self._margin_sd is not None:
            self._look_for_proof(end_seconds, self._margin_sd)

    def _look_for_proof(self, end_seconds: float, margin_sd: float) -> None:
        error = self._mean.standard_error()
        if self._mean.is_normal and 0 < error < math.inf:
            z = (self._mean.levels + margin_sd * self._mean.baseline_sd) / error
            self._proof.look(end_seconds, z, 1 / error**2)

    @property
    def _margin_sd(self) -> float | None:
        """The margin that a PASS has to exclude; None when no proof is asked."""
        asked = self._plan.must is Must.PROVE and self._gate.role is not Role.WATCH
        return self._gate.margin_sd if asked else None

    @property
    def _candidate(self) -> Count:
        return Count(bad=self._candidate_lost, units=self._mean.units[0])

    @property
    def _baseline(self) -> Count:
        return Count(bad=self._baseline_lost, units=self._mean.units[1])

    def _answer(self, stage_seconds: float) -> "_Answer":
        if self._harm.crossed_at_seconds is not None:
            why = words_for_breach(self._seen(), self._harm, self._expected)
            return _Answer(Verdict.BREACH, why)
        if self._slices.missed_look is not None:
            return _Answer(Verdict.NO_DATA, self._slices.missed_look)
        judge = self._judge_fails()
        if judge is not None:
            return _Answer(Verdict.INCONCLUSIVE, judge)
        if not at_hold_end(self._plan, stage_seconds):
            return self._during_hold(self._plan.hold_seconds - stage_seconds)
        return self._at_hold_end()

    def _at_hold_end(self) -> "_Answer":
        missing = self._slices.gap(self._plan.coverage) or self._empty_arm()
        if missing is not None:
            return _Answer(Verdict.NO_DATA, missing)
        if self._margin_sd is None:
            why = f"{self._seen()}, no BREACH{words_for_boundary(self._harm)}"
            return _Answer(Verdict.PASS, why)
        return self._proof_answer(self._margin_sd)

    def _seen(self) -> str:
        """`757 candidate answers lost 85 levels, 0.11 each (baseline 0.12)`."""
        candidate, baseline = self._candidate, self._baseline
        return (
            f"{counted(candidate.units, 'candidate answer')} lost {counted(candidate.bad, 'level')}, "
            f"{candidate.rate:.2f} each (baseline {baseline.rate:.2f})"
        )

    def _judge_fails(self) -> str | None:
        candidate = Hits(self._unjudged_candidate, self._unjudged_candidate + self._candidate.units)
        baseline = Hits(self._unjudged_baseline, self._unjudged_baseline + self._baseline.units)
        most = self._gate.judge_error_max
        for arm, part in (("candidate", candidate), ("baseline", baseline)):
            if part.rate > most:
                return (
                    f"the judge gave no score to {part.hits:,} of "
                    f"{counted(part.units, f'{arm} answer')} ({percent(part.rate)}, limit "
                    f"{whole_percent(most)}): repair the judge, the hold waits"
                )
        if candidate.units and baseline.units:
            p = fisher_exact_p(candidate, baseline)
            if p < JUDGES_ALIKE_P:
                return (
                    f"the judge gave no score to {percent(candidate.rate)} of the candidate's answers "
                    f"and {percent(baseline.rate)} of the baseline's (p < {JUDGES_ALIKE_P:g}): what it "
                    "did score is no fair sample of both"
                )
        return None

    def _empty_arm(self) -> str | None:
        if not self._candidate.units:
            return "no answer of the candidate was judged"
        if not self._baseline.units:
            return "no control: no answer of the baseline was judged"
        return None

    def _during_hold(self, hold_left_seconds: float) -> "_Answer":
        needed = self._units_short_of_plan()
        seconds = None if needed is None else self._seconds_for(needed)
        why = (
            f"{self._seen()}{words_for_boundary(self._harm)}; "
            f"{duration(hold_left_seconds)} of the hold to go"
        )
        wait = None if seconds is None else max(hold_left_seconds, seconds)
        return _Answer(Verdict.INCONCLUSIVE, why, needed, wait)

    def _proof_answer(self, margin_sd: float) -> "_Answer":
        limit_sd, passed = self._limit_sd(margin_sd)
        rule = f"PASS above {-margin_sd:+.3f} sd"
        if math.isfinite(limit_sd):
            what = f"{self._seen()}: {self._mean_sd:+.3f} sd, at least {limit_sd:+.3f}; {rule}"
        else:
            what = f"{self._seen()}; {rule}, and these are too few to tell"
        if passed:
            return _Answer(Verdict.PASS, f"{what}{words_for_boundary(self._harm)}")
        needed = self._units_short_of_limit(margin_sd, limit_sd)
        if needed is None:
            why = f"{what}; too close to the margin to say how many more answers decide"
            return _Answer(Verdict.INCONCLUSIVE, why)
        seconds = self._seconds_for(needed)
        why = f"{what}; {counted(needed, 'more judged candidate answer')}"
        if seconds is not None:
            why += f", about {duration(seconds)}"
        return _Answer(Verdict.INCONCLUSIVE, why, needed, seconds)

    @property
    def _mean_sd(self) -> float:
        return self._mean.levels / self._mean.baseline_sd

    def _limit_sd(self, margin_sd: float) -> tuple[float, bool]:
        """The lower limit of the mean difference in sd of the baseline's score; whether it passes."""
        if not self._mean.is_normal:
            limit_sd = self._mean.limit_without_spread_sd(self._gate.beta)
            return limit_sd, limit_sd > -margin_sd
        if self._proof.critical_z is None:
            return -math.inf, False
        reach_sd = self._mean.standard_error() / self._mean.baseline_sd
        return self._mean_sd - self._proof.critical_z * reach_sd, self._proof.passed

    def _units_short_of_plan(self) -> int | None:
        """Judged candidate answers missing for a harmless candidate's PASS; None while unknown."""
        if self._margin_sd is None:
            return 0
        candidate, baseline = self._mean.units
        if not candidate or not baseline:
            return None
        total = pairs_to_prove(self._margin_sd, math.sqrt(1 + candidate / baseline))
        return max(0, math.ceil(total) - candidate)

    def _units_short_of_limit(self, margin_sd: float, limit_sd: float) -> int | None:
        """Those missing until the limit clears the margin if nothing changes; None when it never will."""
        candidate = self._candidate.units
        if not math.isfinite(limit_sd):
            return max(1, self._units_short_of_plan() or 0)
        if not self._mean.is_normal:
            # Without any spread the limit falls with the root of the units, as their sd is guessed.
            growth = (-limit_sd / margin_sd) ** (2 if self._mean.baseline_is_flat else 1)
            return max(1, math.ceil(candidate * (growth - 1)))
        room_sd = self._mean_sd + margin_sd
        if room_sd <= 0:
            return None
        return max(1, math.ceil(candidate * (((self._mean_sd - limit_sd) / room_sd) ** 2 - 1)))

    def _seconds_for(self, units: int) -> float | None:
        """The time that so many more judged candidate answers take; None without any so far."""
        if not units:
            return 0.0
        seen = self._candidate.units
        return units / seen * self._slices.counted_seconds if seen else None


class _Answer(NamedTuple):
    """What the gate says, and what it still waits for."""

    verdict: Verdict
    why: str
    units_needed: int | None = None
    seconds_to_go: float | None = None


def _quality_row(fields: list[JsonValue], levels: int) -> QualityRow | None:
    if len(fields) != _ROW_FIELDS:
        return None
    index, table = count_of(fields[0]), fields[1]
    unjudged_candidate, unjudged_baseline = count_of(fields[2]), count_of(fields[3])
    if index is None or not isinstance(table, list):
        return None
    if unjudged_candidate is None or unjudged_baseline is None:
        return None
    cells: list[tuple[int, int, int]] = []
    for cell in table:
        counts = counts_of(cell, _CELL_FIELDS)
        if counts is None or counts[0] >= levels:
            return None
        cells.append((counts[0], counts[1], counts[2]))
    if sum(candidate + baseline for _, candidate, baseline in cells) > JUDGED_MAX:
        return None
    return QualityRow(index, tuple(cells), unjudged_candidate, unjudged_baseline)
