"""Weighs one rate while both arms serve: is the candidate's part of bad units worse than the baseline's?"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rampway.gates.bounds import clopper_pearson_upper, most_bad_below, units_for_bound
from rampway.gates.engine import HarmWatch, Law, ProofWatch, noncentral_hypergeometric
from rampway.gates.evidence import Evidence
from rampway.gates.phrases import (
    counted,
    duration,
    percent,
    whole_percent,
    words_for_boundary,
    words_for_breach,
    words_for_seen,
)
from rampway.gates.planning import units_to_prove
from rampway.gates.plans import AbPlan, Arm, Must, RateGate, Role, SettleGate, StepPlan
from rampway.gates.slices import RateRow, Slices, rate_reader
from rampway.gates.stages import at_hold_end
from rampway.gates.verdicts import Count, GateVerdict, Verdict, significant

RATIO_LEAST_BAD = 10  # with fewer bad units in both arms a ratio of rates says nothing


class RateTally:
    """One rate gate of a step or an A/B, look after look.

    A BREACH latches at the first look that crosses; the gate's counts are those of that look. A PASS
    is read at the last look: the hold is over, the gate has the exposure and coverage the plan asks
    for, and in a step that must prove, a gate with a margin is non-inferior. In an A/B the looks are
    at whole strata of slices, and nothing is proven.
    """

    def __init__(self, plan: StepPlan | AbPlan, gate: RateGate) -> None:
        self.plan = plan
        self.gate = gate
        self.margin = odds_to_rule_out(gate) if must_prove(plan, gate) else None
        self._reader = rate_reader(plan, gate.stream)
        self._slices_per_look = plan.slices_per_look if isinstance(plan, AbPlan) else 1
        self._slices: Slices[RateRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)
        self._stratum: int = 0
        self._start()

    @property
    def slices(self) -> Slices[RateRow]:
        """What the last look read."""
        return self._slices

    @property
    def candidate(self) -> Count:
        """What the looks have counted of the candidate."""
        return Count(bad=self._candidate_bad, units=self._candidate_units)

    @property
    def baseline(self) -> Count:
        """What the looks have counted of the baseline."""
        return Count(bad=self._baseline_bad, units=self._baseline_units)

    @property
    def bad(self) -> int:
        """Bad units of both arms."""
        return self._candidate_bad + self._baseline_bad

    @property
    def exposed_arm(self) -> Arm:
        """The arm whose units are the exposure: the plan's, in an A/B the smaller one."""
        if isinstance(self.plan, StepPlan):
            return self.plan.units_arm
        return min(Arm, key=self.units_seen.__getitem__)

    @property
    def exposed(self) -> int:
        """The units of that arm in every usable slice, also after a BREACH."""
        return self.units_seen[self.exposed_arm]

    def take(self, evidence: Evidence) -> None:
        """Count what is new in the evidence; count all anew when it changed its past."""
        reading = self._reader.read(evidence)
        rows = reading.new
        if reading.anew or self._come_late(rows):
            self._start()
            rows = reading.slices.rows
        self._slices = reading.slices
        for row in rows:
            self.units_seen[Arm.CANDIDATE] += row.candidate_units
            self.units_seen[Arm.BASELINE] += row.baseline_units
            if row.slice_index // self._slices_per_look != self._stratum:
                self._look()
                self._stratum = row.slice_index // self._slices_per_look
            self._waiting.append(row)
        self._weighed_to = reading.slices.sealed // self._slices_per_look
        if self._stratum < self._weighed_to:
            self._look()

    def answer(self, stage_seconds: float) -> tuple[GateVerdict, float | None]:
        """The verdict at this look, and the seconds it still waits (None: unknown)."""
        answer = _answer(self.plan, self, stage_seconds)
        return _gate_verdict(self, answer), answer.seconds_to_go

    def _start(self) -> None:
        plan, gate = self.plan, self.gate
        self.harm = HarmWatch(
            alpha=gate.alpha,
            late=gate.late,
            spending=gate.spending,
            hold_seconds=plan.hold_seconds,
        )
        self.proof = (
            ProofWatch(beta=gate.beta, hold_seconds=plan.hold_seconds) if self.margin else None
        )
        self.expected = 0.0
        self.units_seen = dict.fromkeys(Arm, 0)
        self._candidate_units = self._candidate_bad = 0
        self._baseline_units = self._baseline_bad = 0
        self._stratum = 0
        self._weighed_to = 0  # strata that are complete
        self._waiting: list[RateRow] = []  # of a stratum that is not complete

    def _come_late(self, rows: Sequence[RateRow]) -> bool:
        """The first new row belongs to a stratum of several slices that was weighed without it."""
        if self._slices_per_look == 1 or not rows:
            return False
        return rows[0].slice_index // self._slices_per_look < self._weighed_to

    def _look(self) -> None:
        """Weigh the stratum that is complete now."""
        rows, self._waiting = self._waiting, []
        # Without a threshold nobody can have counted what is slower than it.
        over = self.harm.crossed_at_seconds is not None or threshold_missing(self.gate) is not None
        if not rows or over:
            return
        table = Table.of(rows)
        self._candidate_units += table.candidate_units
        self._candidate_bad += table.candidate_bad
        self._baseline_units += table.baseline_units
        self._baseline_bad += table.baseline_bad
        end_seconds = (self._stratum + 1) * self._slices_per_look * self.plan.slice_seconds
        law = table.law(self.gate.tolerance)
        self.expected += law.mean
        if self.harm.look(end_seconds, law, table.candidate_bad):
            return
        if self.proof and self.margin:
            mute = self.bad < RATIO_LEAST_BAD
            self.proof.look(end_seconds, table.law(self.margin), mute=mute)


def metric_tallies(plan: StepPlan | AbPlan) -> list[RateTally]:
    """The gates on the user's own counters: only harm is looked for, whatever the step must show."""
    asks_nothing = {"units": 0, "must": Must.SCREEN} if isinstance(plan, StepPlan) else {"units": 0}
    screen = plan.model_copy(update=asks_nothing)
    return [RateTally(screen, gate) for gate in plan.metrics]


class Table(NamedTuple):
    """What both arms did in one stratum: one slice, or several added up."""

    candidate_units: int
    candidate_bad: int
    baseline_units: int
    baseline_bad: int

    @classmethod
    def of(cls, rows: Sequence[RateRow]) -> "Table":
        """The sums over a stratum's rows."""
        if len(rows) == 1:
            return cls(*rows[0][1:])
        return cls(*(sum(column) for column in tuple(zip(*rows, strict=True))[1:]))

    def law(self, odds: float) -> Law:
        """The law of the candidate's bad units, given the totals, at an odds ratio."""
        bad = self.candidate_bad + self.baseline_bad
        return noncentral_hypergeometric(self.candidate_units, self.baseline_units, bad, odds)


class _Answer(NamedTuple):
    """What a gate says, and what it still waits for."""

    verdict: Verdict
    why: str
    pass_at: int | None = None
    units_needed: int | None = None
    seconds_to_go: float | None = None


def odds_to_rule_out(gate: RateGate) -> float | None:
    """The odds ratio that a PASS has to exclude; None when no ratio can be asked.

    The larger of the margin in odds and the odds of the frozen baseline rate plus `margin_abs`. A
    baseline without a bad unit has no odds to multiply: then the absolute margin alone decides. One
    so bad that the absolute margin leads to 100 % would excuse everything: then the odds decide.
    """
    rate = gate.baseline_rate
    if gate.margin_abs is None:
        return gate.margin_odds
    if not rate:
        return None
    if rate + gate.margin_abs >= 1:
        return gate.margin_odds
    return max(gate.margin_odds or 0.0, _odds(rate + gate.margin_abs) / _odds(rate))


def _answer(plan: StepPlan | AbPlan, tally: RateTally, stage_seconds: float) -> _Answer:
    seen = words_for_seen(tally.gate, tally.candidate)
    if tally.harm.crossed_at_seconds is not None:
        return _Answer(Verdict.BREACH, words_for_breach(seen, tally.harm, tally.expected))
    missing = _unmeasured(plan, tally.gate) or tally.slices.missed_look
    if missing is None and at_hold_end(plan, stage_seconds):
        missing = tally.slices.gap(plan.coverage) or _empty_arm(tally)
    if missing is not None:
        return _Answer(Verdict.NO_DATA, missing)
    if not at_hold_end(plan, stage_seconds):
        return _during_hold(plan, tally, seen, plan.hold_seconds - stage_seconds)
    short = _exposure_short(plan, tally)
    if short:
        return _short_of(tally, f"{seen}, no BREACH", short, tally.exposed_arm, pass_at=None)
    return _proof_answer(plan, tally, seen)


def _proof_answer(plan: StepPlan | AbPlan, tally: RateTally, seen: str) -> _Answer:
    if not must_prove(plan, tally.gate):
        return _Answer(Verdict.PASS, f"{seen}, no BREACH{words_for_boundary(tally.harm)}")
    if _by_ratio(tally):
        return _by_ratio_answer(tally, seen)
    return _by_bound_answer(tally, seen)


def _during_hold(
    plan: StepPlan | AbPlan, tally: RateTally, seen: str, hold_left_seconds: float
) -> _Answer:
    short = _exposure_short(plan, tally)
    arm = tally.exposed_arm if short else Arm.CANDIDATE
    needed = _units_short_of_proof(tally) if must_prove(plan, tally.gate) else 0
    if arm is Arm.BASELINE:
        needed = short
    elif needed is not None:
        needed = max(short, needed)
    seconds = None if needed is None else _seconds_for(tally, needed, arm)
    return _Answer(
        Verdict.INCONCLUSIVE,
        f"{seen}{words_for_boundary(tally.harm)}; {duration(hold_left_seconds)} of the hold to go",
        units_needed=needed,
        seconds_to_go=None if seconds is None else max(hold_left_seconds, seconds),
    )


def _by_ratio(tally: RateTally) -> bool:
    return tally.proof is not None and tally.bad >= RATIO_LEAST_BAD


def _by_ratio_answer(tally: RateTally, seen: str) -> _Answer:
    pass_at = _short_of_breach(tally, tally.proof.pass_at if tally.proof else None)
    if pass_at is not None and tally.candidate.bad <= pass_at:
        return _Answer(
            Verdict.PASS, f"{seen}, PASS up to {pass_at:,}{words_for_boundary(tally.harm)}", pass_at
        )
    reach = "no count is a PASS yet" if pass_at is None else f"PASS up to {pass_at:,}"
    needed = _units_short_of_proof(tally) or None
    return _short_of(tally, f"{seen}, {reach}", needed, Arm.CANDIDATE, pass_at=pass_at)


def _short_of_breach(tally: RateTally, pass_at: int | None) -> int | None:
    # A wide margin would pass counts that the watch already calls a BREACH.
    breach_at = tally.harm.breach_at
    return pass_at if pass_at is None or breach_at is None else min(pass_at, breach_at - 1)


def _by_bound_answer(tally: RateTally, seen: str) -> _Answer:
    gate, candidate = tally.gate, tally.candidate
    if gate.margin_abs is None:
        few = f"{seen}; a ratio needs {RATIO_LEAST_BAD} bad units in both arms, not {tally.bad}"
        needed = _units_short_of_proof(tally) or None
        return _short_of(tally, few, needed, Arm.CANDIDATE, pass_at=None)
    most = most_bad_below(candidate.units, gate.margin_abs, gate.beta)
    pass_at = _short_of_breach(tally, most if most >= 0 else None)
    bound = clopper_pearson_upper(candidate.bad, candidate.units, gate.beta)
    what = (
        f"{seen}: under {percent(bound)} with {whole_percent(1 - gate.beta)} confidence, "
        f"PASS under {percent(gate.margin_abs)}"
    )
    if candidate.bad <= most:
        return _Answer(Verdict.PASS, what, pass_at)
    needed = _units_short_of_proof(tally) or None
    return _short_of(tally, what, needed, Arm.CANDIDATE, pass_at=pass_at)


def _short_of(
    tally: RateTally, what: str, needed: int | None, arm: Arm, *, pass_at: int | None
) -> _Answer:
    if needed is None:
        why = f"{what}; too close to the margin to say how many more units decide"
        return _Answer(Verdict.INCONCLUSIVE, why, pass_at)
    seconds = _seconds_for(tally, needed, arm)
    why = f"{what}; {counted(needed, f'more {arm.value} unit')}"
    if seconds is not None:
        why += f", about {duration(seconds)}"
    return _Answer(Verdict.INCONCLUSIVE, why, pass_at, needed, seconds)


def _units_short_of_proof(tally: RateTally) -> int | None:
    """Candidate units missing at the observed rates; None when they cannot tell."""
    gate, candidate, baseline = tally.gate, tally.candidate, tally.baseline
    if not candidate.units or not baseline.units:
        return None
    if gate.margin_abs is not None and not _by_ratio(tally):
        if candidate.rate >= gate.margin_abs:
            return None
        total = _units_for_bound(candidate.bad, gate.margin_abs, gate.beta)
        ratio_by_then = tally.bad * total >= RATIO_LEAST_BAD * candidate.units
        if tally.proof is None or not ratio_by_then:
            return max(0, total - candidate.units)
    odds = odds_to_rule_out(gate)
    rate = baseline.rate or gate.baseline_rate or 0.0
    if odds is None or not 0 < rate < 1:
        return None
    total = math.ceil(units_to_prove(rate, odds, baseline.units / candidate.units))
    return max(0, total - candidate.units)


# Searched for by halving, and asked at every look of a hold: most looks bring no new bad unit.
_units_for_bound = lru_cache(maxsize=1024)(units_for_bound)


def _exposure_short(plan: StepPlan | AbPlan, tally: RateTally) -> int:
    return max(0, plan.units - tally.exposed)


def _seconds_for(tally: RateTally, units: int, arm: Arm) -> float | None:
    """The time that so many more units take at the observed traffic; None without traffic."""
    if not units:
        return 0.0
    seen = tally.units_seen[arm]
    return units / seen * tally.slices.counted_seconds if seen else None


def must_prove(plan: StepPlan | AbPlan, gate: RateGate) -> bool:
    """The gate's PASS has to be a proof: a gate that only watches, or has no margin, proves nothing."""
    step_proves = isinstance(plan, StepPlan) and plan.must is Must.PROVE
    return step_proves and gate.role is not Role.WATCH and _has_margin(gate)


def _has_margin(gate: RateGate) -> bool:
    return gate.margin_odds is not None or gate.margin_abs is not None


def _unmeasured(plan: StepPlan | AbPlan, gate: RateGate) -> str | None:
    missing = threshold_missing(gate)
    if missing is not None:
        return missing
    if isinstance(plan, StepPlan) and plan.must is Must.PROVE and not _proves(plan):
        return "the step must prove, but none of its gates declares a margin"
    if must_prove(plan, gate) and gate.margin_abs is not None and gate.baseline_rate is None:
        return rate_missing(gate.name)
    return None


def _proves(plan: StepPlan) -> bool:
    quality = plan.quality
    if quality is not None and quality.role is Role.GUARD and quality.margin_sd is not None:
        return True
    return any(gate.role is Role.GUARD and _has_margin(gate) for gate in plan.gates)


def threshold_missing(gate: RateGate | SettleGate) -> str | None:
    """Why a latency gate cannot be weighed; None when it can."""
    if gate.quantile is None or gate.threshold_bucket is not None:
        return None
    return (
        f"{gate.name} has no threshold: the baseline's p{gate.quantile * 100:g} "
        "was not measured before the step"
    )


def rate_missing(name: str) -> str:
    """Why a gate that compares with the past cannot be weighed."""
    return f"{name} has no baseline rate: too few baseline units were measured before the step"


def _empty_arm(tally: RateTally) -> str | None:
    if not tally.candidate.units:
        return "the candidate served no unit"
    if not tally.baseline.units:
        return "no control: the baseline served no unit"
    return None


def _odds(rate: float) -> float:
    return rate / (1 - rate)


def _gate_verdict(tally: RateTally, answer: _Answer) -> GateVerdict:
    crossed = tally.harm.crossed_at_seconds
    return GateVerdict(
        gate=tally.gate.name,
        verdict=answer.verdict,
        role=tally.gate.role,
        candidate=tally.candidate,
        baseline=tally.baseline,
        breach_at=tally.harm.breach_at,
        pass_at=answer.pass_at,
        expected=significant(tally.expected),
        alpha=significant(tally.gate.alpha),
        spent=significant(tally.harm.spent),
        crossed_at_seconds=None if crossed is None else significant(crossed),
        units_needed=answer.units_needed,
        why=answer.why,
    )
