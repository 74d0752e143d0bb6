"""What a plan can decide at a target's traffic, how long it takes, and what it costs, before it starts."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from rampway.gates.facts import Fact
from rampway.gates.planning import (
    EXACT_UNITS,
    POWER,
    SPENT_BY_HOLD,
    chance_of_proof,
    chance_to_pass,
    mean_found,
    pairs_to_prove,
    rate_found,
    rate_found_by_counts,
    tolerated_rate,
    units_to_pass,
)
from rampway.gates.plans import Arm, Must, RateGate, ShadowPlan, StepPlan
from rampway.gates.verdicts import significant
from rampway.release.plan import ReleasePlan
from rampway.release.scalars import DAY, HOUR, MINUTE

ANSWERS_PER_PAIR = 2  # the judge scores the baseline's answer and the candidate's


class Decidable(StrEnum):
    """When a stage's evidence suffices for its verdict; later members are worse."""

    BY_HOLD = "by the end of the hold"
    BY_DEADLINE = "by the deadline"
    NEVER = "not at all"


class GateForecast(Fact):
    """What one gate sees in one step.

    `finds_rate` is the smallest candidate rate found by the end of the hold with power .80 (None:
    not even one that always fails), against `baseline_rate` and the gate's tolerance.
    `units_to_pass` are the candidate units after which a harmless candidate has its PASS with 98 %
    chance (None: a screen, or never); `pass_chance` is that chance at the end of the hold.
    """

    gate: str
    stream: str
    alpha: float
    baseline_rate: float
    finds_rate: float | None
    units_to_pass: float | None = None
    pass_chance: float | None = None


class StageForecast(Fact):
    """What one stage sees.

    `units` are expected in the arm that limits the stage (pairs in shadow, the control at 100 %),
    and `exposed` are requests that the candidate serves (answers in shadow), both by the end of the
    hold. `units_needed` and `seconds_needed` are what a verdict takes (None: never). `finds_mean` is
    the loss of the judge's mean found by a shadow, in standard deviations, where the paired
    differences spread by as much as one score or by the `judge_sd` that was given.
    """

    stage: str
    kind: Literal["shadow", "step"]
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
    finds_mean: float | None = None
    gates: tuple[GateForecast, ...] = ()


class CostForecast(Fact):
    """What the release costs beyond serving its traffic: copies in shadow, and their judging."""

    shadow_calls: float
    judge_calls: float
    shadow_cost: float | None
    judge_cost: float | None
    total: float | None
    currency: str | None


class Forecast(Fact):
    """What a plan can decide, worst stage first in `decidable`; times leave out queue and settling."""

    plan: str
    requests_per_second: float
    stages: tuple[StageForecast, ...]
    decidable: Decidable
    why: str
    expected_seconds: float
    worst_seconds: float
    cost: CostForecast


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
    if not (math.isfinite(requests_per_second) and requests_per_second >= 0):
        raise ValueError(f"{requests_per_second} requests per second is not a rate of traffic")
    stages: list[StageForecast] = []
    if plan.shadow is not None:
        stages.append(_shadow(plan, plan.shadow, requests_per_second, judge_sd))
    stages += [_step(plan, step, requests_per_second, baseline) for step in plan.steps]
    order = list(Decidable)
    weakest = max(stages, key=lambda stage: order.index(stage.decidable))
    return Forecast(
        plan=plan.digest,
        requests_per_second=requests_per_second,
        stages=tuple(stages),
        decidable=weakest.decidable,
        why=weakest.why,
        expected_seconds=significant(sum(stage.expected_seconds for stage in stages)),
        worst_seconds=significant(sum(stage.worst_seconds for stage in stages)),
        cost=_cost(plan, stages),
    )


def _shadow(
    plan: ReleasePlan, shadow: ShadowPlan, rps: float, judge_sd: float | None
) -> StageForecast:
    if judge_sd is not None and not (math.isfinite(judge_sd) and judge_sd > 0):
        raise ValueError(f"{judge_sd} is not a standard deviation")
    per_second = rps * shadow.rate_bp / 10_000
    by_hold = per_second * shadow.hold_seconds
    enough = min(by_hold, float(shadow.pairs))  # either the time or the pairs
    needed, chance = enough, None
    if judge_sd is not None:
        to_prove = pairs_to_prove(shadow.margin_sd, judge_sd)
        needed, chance = max(enough, to_prove), chance_of_proof(enough, to_prove)
    seen = enough > 0
    return _Pace(shadow, per_second, needed if seen else None, plan.judge_lag_seconds).stage(
        kind="shadow",
        share_bp=shadow.rate_bp,
        must=Must.PROVE,
        units_arm=Arm.CANDIDATE,
        exposed=by_hold,
        pass_chance=chance,
        finds_mean=mean_found(enough, shadow.alpha, POWER, judge_sd or 1.0) if seen else None,
    )


def _step(
    plan: ReleasePlan, step: StepPlan, rps: float, baseline: Mapping[str, float]
) -> StageForecast:
    share = step.share_bp / 10_000
    gates = tuple(_gate(step, gate, rps * share, baseline) for gate in step.gates)
    limiting = 1 - share if step.units_arm is Arm.BASELINE else share
    chances = [gate.pass_chance for gate in gates if gate.pass_chance is not None]
    needed = _units_needed(step, gates)
    return _Pace(step, rps * limiting, needed, plan.rate_lag_seconds).stage(
        kind="step",
        share_bp=step.share_bp,
        must=step.must,
        units_arm=step.units_arm,
        exposed=rps * share * step.hold_seconds,
        pass_chance=math.prod(chances) if chances else None,
        gates=gates,
    )


def _units_needed(step: StepPlan, gates: tuple[GateForecast, ...]) -> float | None:
    """The exposure the plan asks for and, in a proof, what the slowest gate needs for its PASS."""
    needed = [float(step.units)]
    for asked, gate in zip(step.gates, gates, strict=True):
        if _proves(step, asked):
            if gate.units_to_pass is None:
                return None
            needed.append(gate.units_to_pass)
    return max(needed)


def _proves(step: StepPlan, gate: RateGate) -> bool:
    return step.must is Must.PROVE and gate.margin_odds is not None


def _gate(
    step: StepPlan, gate: RateGate, per_second: float, baseline: Mapping[str, float]
) -> GateForecast:
    rate = _baseline_rate(gate, baseline)
    ratio = (10_000 - step.share_bp) / step.share_bp
    units = per_second * step.hold_seconds
    told = GateForecast(
        gate=gate.name,
        stream=gate.stream,
        alpha=gate.alpha,
        baseline_rate=rate,
        finds_rate=_finds_rate(gate, rate, units, ratio),
    )
    if not _proves(step, gate) or gate.margin_odds is None:
        return told
    margin = (gate.margin_odds, gate.margin_abs)
    return told.model_copy(
        update={
            "units_to_pass": units_to_pass(rate, *margin, ratio),
            "pass_chance": chance_to_pass(units, rate, *margin, ratio),
        }
    )


def _baseline_rate(gate: RateGate, baseline: Mapping[str, float]) -> float:
    rate = baseline.get(gate.stream)
    if rate is None and gate.quantile is not None:
        rate = 1 - gate.quantile
    if rate is None:
        raise ValueError(f"the gate {gate.name} needs the baseline's rate of {gate.stream}")
    if not 0 <= rate <= 1:
        raise ValueError(f"{rate} is not a rate of {gate.stream}")
    return significant(rate)


def _finds_rate(gate: RateGate, rate: float, units: float, ratio: float) -> float | None:
    """The cautious one of two answers: the formula, and exact tails where counts are small."""
    found = rate_found(tolerated_rate(rate, gate.tolerance), units, gate.alpha, POWER, ratio)
    if found is None or min(units, units * ratio) > EXACT_UNITS:
        return found
    spendable = gate.alpha * (1 - gate.late) * SPENT_BY_HOLD[gate.spending]
    exact = rate_found_by_counts(
        rate, int(units), int(units * ratio), spendable, POWER, gate.tolerance
    )
    return None if exact is None else max(found, exact)


class _Pace:
    """How fast a stage gathers units, and so when it can be decided."""

    def __init__(
        self,
        plan: ShadowPlan | StepPlan,
        units_per_second: float,
        needed: float | None,
        lag_seconds: float,
    ) -> None:
        self.plan = plan
        self.units_per_second = units_per_second
        self.needed = needed
        self.lag_seconds = lag_seconds
        self.seconds: float | None = None
        if needed is not None and units_per_second > 0:
            self.seconds = significant(needed / units_per_second)

    def stage(
        self,
        *,
        kind: Literal["shadow", "step"],
        share_bp: int,
        must: Must,
        units_arm: Arm,
        exposed: float,
        pass_chance: float | None,
        finds_mean: float | None = None,
        gates: tuple[GateForecast, ...] = (),
    ) -> StageForecast:
        plan = self.plan
        return StageForecast(
            stage=plan.name,
            kind=kind,
            share_bp=share_bp,
            must=must,
            hold_seconds=plan.hold_seconds,
            deadline_seconds=plan.deadline_seconds,
            units=significant(self.units_per_second * plan.hold_seconds),
            units_arm=units_arm,
            exposed=significant(exposed),
            units_needed=self.needed,
            seconds_needed=self.seconds,
            decidable=self.decidable,
            why=self._why(),
            expected_seconds=significant(self._expected() + self.lag_seconds),
            worst_seconds=plan.deadline_seconds + self.lag_seconds,
            pass_chance=pass_chance,
            finds_mean=finds_mean,
            gates=gates,
        )

    @property
    def decidable(self) -> Decidable:
        if self.seconds is None or self.seconds > self.plan.deadline_seconds:
            return Decidable.NEVER
        if self.seconds > self.plan.hold_seconds:
            return Decidable.BY_DEADLINE
        return Decidable.BY_HOLD

    def _expected(self) -> float:
        """A step is held to its end, a shadow may end at its pairs; without a verdict, the deadline."""
        if self.seconds is None or self.decidable is Decidable.NEVER:
            return self.plan.deadline_seconds
        if isinstance(self.plan, ShadowPlan):
            return self.seconds
        return max(self.plan.hold_seconds, self.seconds)

    def _why(self) -> str:
        plan = self.plan
        if self.units_per_second <= 0:
            return f"{plan.name} sees no traffic"
        if self.needed is None or self.seconds is None:
            return f"{plan.name} has a gate that no number of units can prove"
        takes = f"{plan.name} needs {_counted(self.needed)} {self._noun()}, {_about(self.seconds)}"
        if self.decidable is Decidable.NEVER:
            return f"{takes}; the deadline is {_about(plan.deadline_seconds)}"
        hold = _about(plan.hold_seconds)
        if self.decidable is Decidable.BY_DEADLINE:
            return f"{takes}; its hold of {hold} will be extended"
        return f"{takes}; its hold is {hold}"

    def _noun(self) -> str:
        if isinstance(self.plan, ShadowPlan):
            return "pairs"
        return "control units" if self.plan.units_arm is Arm.BASELINE else "units"


def _counted(units: float) -> str:
    return f"{round(units):,}"


def _about(seconds: float) -> str:
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def _cost(plan: ReleasePlan, stages: list[StageForecast]) -> CostForecast:
    pairs = 0.0
    for stage in stages:
        if stage.kind == "shadow" and stage.seconds_needed is not None:
            per_second = stage.units / stage.hold_seconds
            pairs = significant(per_second * min(stage.seconds_needed, stage.deadline_seconds))
    request, judge = plan.costs.request, plan.costs.judge
    shadow_cost = significant(pairs * request.amount) if request else None
    judge_cost = significant(ANSWERS_PER_PAIR * pairs * judge.amount) if judge else None
    known = [cost for cost in (shadow_cost, judge_cost) if cost is not None]
    priced = request or judge
    return CostForecast(
        shadow_calls=pairs,
        judge_calls=ANSWERS_PER_PAIR * pairs,
        shadow_cost=shadow_cost,
        judge_cost=judge_cost,
        total=significant(sum(known)) if known else None,
        currency=priced.currency if priced else None,
    )
