"""What a plan can decide at a target's traffic, how long it takes, and what it costs, before it starts."""

import math
from collections.abc import Mapping
from typing import Literal

from rampway.gates.facts import Fact
from rampway.gates.planning import (
    POWER,
    chance_of_proof,
    difference_found,
    mean_found,
    pairs_to_prove,
)
from rampway.gates.plans import AbPlan, Arm, Must, QualityGate, RateGate, Role, ShadowPlan, StepPlan
from rampway.gates.verdicts import significant
from rampway.release.costs import CostForecast, costs_of, costs_per_day
from rampway.release.gate_forecasts import (
    GateForecast,
    QualityForecast,
    forecast_gate,
    forecast_quality,
    proves,
)
from rampway.release.pace import Decidable, Need, Pace
from rampway.release.plan import ReleasePlan


class StageForecast(Fact):
    """What one stage sees.

    `units` are expected in the arm that limits the stage (pairs in shadow, the control at 100 %),
    and `exposed` are requests that the candidate serves (answers in shadow), both by the end of the
    hold. `units_needed` and `seconds_needed` are what a verdict takes (None: never). `finds_mean` is
    the loss of the judge's mean found by a shadow, in standard deviations, where the paired
    differences spread by as much as one score or by the `judge_sd` that was given. An A/B's
    `finds_difference` is the smallest difference of error rates that its comparison at the end
    finds, and its `finds_mean` the same of a score of which one standard deviation is 1.
    `pass_chance_late` is the chance that a harmless candidate has what the stage asks for by the
    deadline.
    """

    stage: str
    kind: Literal["shadow", "step", "ab"]
    share_bp: int
    must: Must
    hold_seconds: float
    deadline_seconds: float
    units: float
    units_arm: Arm
    exposed: float
    units_needed: float | None
    seconds_needed: float | None
    decidable: Decidable
    why: str
    expected_seconds: float
    worst_seconds: float
    pass_chance: float | None = None
    pass_chance_late: float = 1.0
    finds_mean: float | None = None
    finds_difference: float | None = None
    gates: tuple[GateForecast, ...] = ()
    quality: QualityForecast | None = None


class Forecast(Fact):
    """What a plan can decide, worst stage first in `decidable`; times leave out queue and settling.

    `harmless_passes` is a lower bound of the chance that a release as good as its baseline passes
    every stage by itself, `false_rollback` an upper bound of the chance that one is rolled back by
    mistake (the part of the error budget that the gates may spend).
    """

    plan: str
    requests_per_second: float
    stages: tuple[StageForecast, ...]
    decidable: Decidable
    why: str
    expected_seconds: float
    worst_seconds: float
    harmless_passes: float
    false_rollback: float
    cost: CostForecast
    cost_per_day: CostForecast


def forecast(
    plan: ReleasePlan,
    *,
    requests_per_second: float,
    baseline: Mapping[str, float],
    judge_sd: float | None = None,
) -> Forecast:
    """Weigh a plan against the target's traffic.

    `requests_per_second` counts units (new sessions or users where those are the units). `baseline`
    has the baseline's rate of bad units per stream; a latency stream may be left out, since its
    threshold is the baseline's own quantile. `judge_sd` is the standard deviation of paired score
    differences over that of one score, if it is known; then the shadow has to reach its margin
    too, not only its time or pairs. Raises ValueError for a missing or impossible rate.
    """
    rps = requests_per_second
    if not (math.isfinite(rps) and rps >= 0):
        raise ValueError(f"{rps} requests per second is not a rate of traffic")
    stages: list[StageForecast] = []
    if plan.shadow is not None:
        stages.append(_shadow(plan, plan.shadow, rps, judge_sd))
    stages += [_step(plan, step, rps, baseline) for step in plan.climb]
    if plan.ab is not None:
        stages.append(_ab(plan, plan.ab, rps, baseline))
    if plan.full is not None:
        stages.append(_step(plan, plan.full, rps, baseline))
    order = list(Decidable)
    weakest = max(stages, key=lambda stage: order.index(stage.decidable))
    spent = _may_spend(plan)
    missed = sum(1 - stage.pass_chance_late for stage in stages)
    rate_bp = plan.shadow.rate_bp if plan.shadow else 0
    return Forecast(
        plan=plan.digest,
        requests_per_second=rps,
        stages=tuple(stages),
        decidable=weakest.decidable,
        why=weakest.why,
        expected_seconds=significant(sum(stage.expected_seconds for stage in stages)),
        worst_seconds=significant(sum(stage.worst_seconds for stage in stages)),
        harmless_passes=significant(max(0.0, 1 - spent - missed)),
        false_rollback=significant(spent),
        cost=_cost(plan, stages),
        cost_per_day=costs_per_day(plan.costs, requests_per_second=rps, rate_bp=rate_bp),
    )


def _may_spend(plan: ReleasePlan) -> float:
    """The false-breach budget of every gate that may roll back; the shadow's is on top of the rest."""
    watched: list[StepPlan | AbPlan] = [*plan.steps, *([plan.ab] if plan.ab else [])]
    rates = [gate for stage in watched for gate in stage.gates]
    judged = [step.quality for step in plan.steps if step.quality is not None]
    asked: list[RateGate | QualityGate] = [*rates, *judged]
    spent = sum(gate.alpha for gate in asked if gate.role is not Role.INFORM)
    return spent + (plan.shadow.alpha if plan.shadow else 0.0)


def _shadow(
    plan: ReleasePlan, shadow: ShadowPlan, rps: float, judge_sd: float | None
) -> StageForecast:
    if judge_sd is not None and not (math.isfinite(judge_sd) and judge_sd > 0):
        raise ValueError(f"{judge_sd} is not a standard deviation")
    per_second = rps * shadow.rate_bp / 10_000
    by_hold = per_second * shadow.hold_seconds
    enough = min(by_hold, float(shadow.pairs))  # either the time or the pairs
    needed, chance, late = enough, None, 1.0
    if judge_sd is not None and enough > 0:
        to_prove = pairs_to_prove(shadow.margin_sd, judge_sd)
        needed, chance = max(enough, to_prove), chance_of_proof(enough, to_prove)
        late = chance_of_proof(per_second * shadow.deadline_seconds, to_prove)
    pace = Pace(shadow, [Need(needed if enough > 0 else None, "pairs", per_second)])
    return StageForecast(
        stage=shadow.name,
        kind="shadow",
        share_bp=shadow.rate_bp,
        must=Must.PROVE,
        hold_seconds=shadow.hold_seconds,
        deadline_seconds=shadow.deadline_seconds,
        units=significant(by_hold),
        units_arm=Arm.CANDIDATE,
        exposed=significant(by_hold),
        units_needed=needed if enough > 0 else None,
        seconds_needed=pace.seconds,
        decidable=pace.decidable,
        why=pace.why,
        expected_seconds=significant(pace.expected_seconds + plan.lag_seconds(shadow)),
        worst_seconds=shadow.deadline_seconds + plan.lag_seconds(shadow),
        pass_chance=chance,
        pass_chance_late=late if enough > 0 else 0.0,
        finds_mean=mean_found(enough, shadow.alpha, POWER, judge_sd or 1.0) if enough > 0 else None,
    )


def _step(
    plan: ReleasePlan, step: StepPlan, rps: float, baseline: Mapping[str, float]
) -> StageForecast:
    share = step.share_bp / 10_000
    gates = tuple(forecast_gate(step, gate, rps * share, baseline) for gate in step.gates)
    quality = None
    if step.quality is not None:
        quality = forecast_quality(step, step.quality, plan.judged_units, rps)
    limiting = 1 - share if step.units_arm is Arm.BASELINE else share
    needed = _units_needed(step, gates)
    noun = "control units" if step.units_arm is Arm.BASELINE else "units"
    needs = [Need(needed, noun, rps * limiting)]
    if quality is not None and step.quality is not None and _decides(step, step.quality):
        a_second = quality.judged / step.hold_seconds
        needs.append(Need(quality.units_to_pass, "judged answers", a_second))
    pace = Pace(step, needs)
    lag_seconds = plan.lag_seconds(step)
    asked = [gate for gate in (*gates, quality) if gate is not None and gate.role is Role.GUARD]
    by_hold = [gate.pass_chance for gate in asked if gate.pass_chance is not None]
    late = [gate.pass_chance_late for gate in asked if gate.pass_chance_late is not None]
    return StageForecast(
        stage=step.name,
        kind="step",
        share_bp=step.share_bp,
        must=step.must,
        hold_seconds=step.hold_seconds,
        deadline_seconds=step.deadline_seconds,
        units=significant(rps * limiting * step.hold_seconds),
        units_arm=step.units_arm,
        exposed=significant(rps * share * step.hold_seconds),
        units_needed=needed,
        seconds_needed=pace.seconds,
        decidable=pace.decidable,
        why=pace.why,
        expected_seconds=significant(pace.expected_seconds + lag_seconds),
        worst_seconds=step.deadline_seconds + lag_seconds,
        pass_chance=math.prod(by_hold) if by_hold else None,
        pass_chance_late=_late_chance(pace.decidable, late),
        gates=gates,
        quality=quality,
    )


def _late_chance(decidable: Decidable, chances: list[float]) -> float:
    """A screen has its answer with its exposure; gates that must all PASS each miss by themselves."""
    if not chances:
        return 0.0 if decidable is Decidable.NEVER else 1.0
    return significant(max(0.0, 1 - sum(1 - chance for chance in chances)))


def _ab(plan: ReleasePlan, ab: AbPlan, rps: float, baseline: Mapping[str, float]) -> StageForecast:
    share = ab.share_bp / 10_000
    rarer = min(share, 1 - share)
    ratio = (1 - rarer) / rarer
    per_arm = rps * rarer * ab.hold_seconds
    gates = tuple(forecast_gate(ab, gate, rps * share, baseline) for gate in ab.gates)
    pace = Pace(ab, [Need(float(ab.units), "units in each arm", rps * rarer)])
    errors = next(gate.baseline_rate for gate in gates if gate.stream == "error")
    compares = per_arm >= 1
    return StageForecast(
        stage=ab.name,
        kind="ab",
        share_bp=ab.share_bp,
        must=Must.SCREEN,
        hold_seconds=ab.hold_seconds,
        deadline_seconds=ab.deadline_seconds,
        units=significant(per_arm),
        units_arm=Arm.CANDIDATE if share <= 1 - share else Arm.BASELINE,
        exposed=significant(rps * share * ab.hold_seconds),
        units_needed=float(ab.units),
        seconds_needed=pace.seconds,
        decidable=pace.decidable,
        why=pace.why,
        expected_seconds=significant(pace.expected_seconds + plan.lag_seconds(ab)),
        worst_seconds=ab.deadline_seconds + plan.lag_seconds(ab),
        pass_chance_late=_late_chance(pace.decidable, []),
        finds_difference=difference_found(errors, per_arm, ratio, POWER) if compares else None,
        # A rate of one half has a standard deviation of one half: a difference in sd is twice as large.
        finds_mean=2 * difference_found(0.5, per_arm, ratio, POWER) if compares else None,
        gates=gates,
    )


def _units_needed(step: StepPlan, gates: tuple[GateForecast, ...]) -> float | None:
    """The exposure the plan asks for and, in a proof, what the slowest gate needs for its PASS."""
    needed = [float(step.units)]
    for asked, gate in zip(step.gates, gates, strict=True):
        if proves(step, asked) and asked.role is Role.GUARD:
            if gate.units_to_pass is None:
                return None
            needed.append(gate.units_to_pass)
    return max(needed)


def _decides(step: StepPlan, gate: QualityGate) -> bool:
    return step.must is Must.PROVE and gate.margin_sd is not None and gate.role is Role.GUARD


def _cost(plan: ReleasePlan, stages: list[StageForecast]) -> CostForecast:
    pairs = judged = 0.0
    for stage in stages:
        if stage.kind == "shadow" and stage.seconds_needed is not None:
            per_second = stage.units / stage.hold_seconds
            pairs = per_second * min(stage.seconds_needed, stage.deadline_seconds)
        if stage.quality is not None:
            judged += stage.quality.judged_in_all
    return costs_of(plan.costs, pairs=pairs, judged_live=judged)
