"""Weighs one share of a canary: is the candidate's rate of bad units worse than the baseline's?"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from rampway.gates.bounds import clopper_pearson_upper, most_bad_below, units_for_bound
from rampway.gates.engine import HarmWatch, ProofWatch, noncentral_hypergeometric
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
from rampway.gates.plans import Arm, Must, RateGate, SettleGate, StepPlan
from rampway.gates.slices import RateRow, Slices, rate_slices, units_of
from rampway.gates.stages import add_up, at_hold_end, least_seconds
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict, Verdict, significant

RATIO_LEAST_BAD = 10  # with fewer bad units in both arms a ratio of rates says nothing


def weigh_step(plan: StepPlan, evidence: Evidence) -> StageVerdict:
    """Weigh every rate gate of a step over its stream's sealed slices.

    A BREACH latches at the first look that crosses; the gate's counts are those of that look. A PASS
    is read at the last look: the hold is over for the least sealed stream, each gate has the
    exposure and coverage the plan asks for, and in a step that must prove, each gate with a margin
    is non-inferior. An estimate in `units_needed` is in units of the plan's `units_arm` while
    exposure is missing, of the candidate otherwise.
    """
    tallies = tuple(
        _tally(plan, gate, rate_slices(plan, evidence, gate.stream)) for gate in plan.gates
    )
    streams = [tally.slices for tally in tallies]
    seconds = least_seconds(streams)
    answers = [_answer(plan, tally, seconds) for tally in tallies]
    return add_up(
        plan,
        tuple(map(_gate_verdict, tallies, answers)),
        streams,
        exposed=min((units_of(stream.rows, plan.units_arm) for stream in streams), default=0),
        waits_seconds=[answer.seconds_to_go for answer in answers],
    )


@dataclass(frozen=True, slots=True)
class _Tally:
    """One gate after its last look."""

    gate: RateGate
    slices: Slices[RateRow]
    harm: HarmWatch
    proof: ProofWatch | None
    candidate: Count
    baseline: Count
    expected: float

    @property
    def bad(self) -> int:
        return self.candidate.bad + self.baseline.bad


class _Answer(NamedTuple):
    """What a gate says, and what it still waits for."""

    verdict: Verdict
    why: str
    pass_at: int | None = None
    units_needed: int | None = None
    seconds_to_go: float | None = None


def _tally(plan: StepPlan, gate: RateGate, slices: Slices[RateRow]) -> _Tally:
    harm = HarmWatch(
        alpha=gate.alpha,
        late=gate.late,
        spending=gate.spending,
        hold_seconds=plan.hold_seconds,
    )
    margin = odds_to_rule_out(gate) if _must_prove(plan, gate) else None
    proof = ProofWatch(beta=gate.beta, hold_seconds=plan.hold_seconds) if margin else None
    candidate_units = candidate_bad = baseline_units = baseline_bad = 0
    expected = 0.0
    # Without a threshold nobody can have counted what is slower than it.
    for row in slices.rows if threshold_missing(gate) is None else ():
        candidate_units += row.candidate_units
        candidate_bad += row.candidate_bad
        baseline_units += row.baseline_units
        baseline_bad += row.baseline_bad
        table = (row.candidate_units, row.baseline_units, row.candidate_bad + row.baseline_bad)
        law = noncentral_hypergeometric(*table, gate.tolerance)
        expected += law.mean
        if harm.look(slices.end_seconds(row), law, row.candidate_bad):
            break
        if proof and margin:
            proof.look(
                slices.end_seconds(row),
                noncentral_hypergeometric(*table, margin),
                mute=candidate_bad + baseline_bad < RATIO_LEAST_BAD,
            )
    return _Tally(
        gate=gate,
        slices=slices,
        harm=harm,
        proof=proof,
        candidate=Count(bad=candidate_bad, units=candidate_units),
        baseline=Count(bad=baseline_bad, units=baseline_units),
        expected=expected,
    )


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


def _answer(plan: StepPlan, tally: _Tally, stage_seconds: float) -> _Answer:
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
        return _short_of(tally, f"{seen}, no BREACH", short, plan.units_arm, pass_at=None)
    return _proof_answer(plan, tally, seen)


def _proof_answer(plan: StepPlan, tally: _Tally, seen: str) -> _Answer:
    if not _must_prove(plan, tally.gate):
        return _Answer(Verdict.PASS, f"{seen}, no BREACH{words_for_boundary(tally.harm)}")
    if _by_ratio(tally):
        return _by_ratio_answer(tally, seen)
    return _by_bound_answer(tally, seen)


def _during_hold(plan: StepPlan, tally: _Tally, seen: str, hold_left_seconds: float) -> _Answer:
    short = _exposure_short(plan, tally)
    arm = plan.units_arm if short else Arm.CANDIDATE
    needed = _units_short_of_proof(tally) if _must_prove(plan, tally.gate) else 0
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


def _by_ratio(tally: _Tally) -> bool:
    return tally.proof is not None and tally.bad >= RATIO_LEAST_BAD


def _by_ratio_answer(tally: _Tally, seen: str) -> _Answer:
    pass_at = _short_of_breach(tally, tally.proof.pass_at if tally.proof else None)
    if pass_at is not None and tally.candidate.bad <= pass_at:
        return _Answer(
            Verdict.PASS, f"{seen}, PASS up to {pass_at:,}{words_for_boundary(tally.harm)}", pass_at
        )
    reach = "no count is a PASS yet" if pass_at is None else f"PASS up to {pass_at:,}"
    needed = _units_short_of_proof(tally) or None
    return _short_of(tally, f"{seen}, {reach}", needed, Arm.CANDIDATE, pass_at=pass_at)


def _short_of_breach(tally: _Tally, pass_at: int | None) -> int | None:
    # A wide margin would pass counts that the watch already calls a BREACH.
    breach_at = tally.harm.breach_at
    return pass_at if pass_at is None or breach_at is None else min(pass_at, breach_at - 1)


def _by_bound_answer(tally: _Tally, seen: str) -> _Answer:
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
    tally: _Tally, what: str, needed: int | None, arm: Arm, *, pass_at: int | None
) -> _Answer:
    if needed is None:
        why = f"{what}; too close to the margin to say how many more units decide"
        return _Answer(Verdict.INCONCLUSIVE, why, pass_at)
    seconds = _seconds_for(tally, needed, arm)
    why = f"{what}; {counted(needed, f'more {arm.value} unit')}"
    if seconds is not None:
        why += f", about {duration(seconds)}"
    return _Answer(Verdict.INCONCLUSIVE, why, pass_at, needed, seconds)


def _units_short_of_proof(tally: _Tally) -> int | None:
    """Candidate units missing at the observed rates; None when they cannot tell."""
    gate, candidate, baseline = tally.gate, tally.candidate, tally.baseline
    if not candidate.units or not baseline.units:
        return None
    if gate.margin_abs is not None and not _by_ratio(tally):
        if candidate.rate >= gate.margin_abs:
            return None
        total = units_for_bound(candidate.bad, gate.margin_abs, gate.beta)
        ratio_by_then = tally.bad * total >= RATIO_LEAST_BAD * candidate.units
        if tally.proof is None or not ratio_by_then:
            return max(0, total - candidate.units)
    odds = odds_to_rule_out(gate)
    rate = baseline.rate or gate.baseline_rate or 0.0
    if odds is None or not 0 < rate < 1:
        return None
    total = math.ceil(units_to_prove(rate, odds, baseline.units / candidate.units))
    return max(0, total - candidate.units)


def _exposure_short(plan: StepPlan, tally: _Tally) -> int:
    return max(0, plan.units - units_of(tally.slices.rows, plan.units_arm))


def _seconds_for(tally: _Tally, units: int, arm: Arm) -> float | None:
    """The time that so many more units take at the observed traffic; None without traffic."""
    if not units:
        return 0.0
    seen = units_of(tally.slices.rows, arm)
    return units / seen * tally.slices.counted_seconds if seen else None


def _must_prove(plan: StepPlan, gate: RateGate) -> bool:
    return plan.must is Must.PROVE and _has_margin(gate)


def _has_margin(gate: RateGate) -> bool:
    return gate.margin_odds is not None or gate.margin_abs is not None


def _unmeasured(plan: StepPlan, gate: RateGate) -> str | None:
    missing = threshold_missing(gate)
    if missing is not None:
        return missing
    if plan.must is Must.PROVE and not any(_has_margin(each) for each in plan.gates):
        return "the step must prove, but none of its gates declares a margin"
    if _must_prove(plan, gate) and gate.margin_abs is not None and gate.baseline_rate is None:
        return rate_missing(gate.name)
    return None


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


def _empty_arm(tally: _Tally) -> str | None:
    if not tally.candidate.units:
        return "the candidate served no unit"
    if not tally.baseline.units:
        return "no control: the baseline served no unit"
    return None


def _odds(rate: float) -> float:
    return rate / (1 - rate)


def _gate_verdict(tally: _Tally, answer: _Answer) -> GateVerdict:
    crossed = tally.harm.crossed_at_seconds
    return GateVerdict(
        gate=tally.gate.name,
        verdict=answer.verdict,
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
