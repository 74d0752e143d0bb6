"""Compiles a spec for its target into the plan a release runs by: every number decided before a look."""

from collections.abc import Iterator

from pydantic import Field

from rampway.gates.facts import Fact
from rampway.gates.planning import units_to_prove
from rampway.gates.plans import (
    Arm,
    Must,
    OfflinePlan,
    Probability,
    RateGate,
    SafetyPlan,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    StepPlan,
)
from rampway.gates.verdicts import significant
from rampway.release.minimums import BelowMinimums, check_minimums
from rampway.release.records import Target, TargetKind
from rampway.release.scalars import DAY, basis_points
from rampway.release.sections import Costs, LatencyGate, Margin, Quantile, Unit
from rampway.release.spec import Spec, StepTerms

BRAKE_LIMIT_SECONDS = float(DAY)  # longer, and a history no longer fits one run
BLIND_LIMIT_SLICES = 12  # two minutes of ten-second slices
SCREEN_UNITS = 300
PLANNED_BASELINE_RATE = 0.01  # for the units of a proof, when nothing was measured yet
UNITS_ROUNDED_TO = 100
SETTLE_ALPHA = 0.0025  # of the release, outside its error budget
SETTLE_DEADLINE_TIMES = 3
QUANTILE_WEIGHTS = {Quantile.P95: 3.0}  # of the latency budget; every other quantile has 1
NAME_LENGTH = 6


class ReleasePlan(Fact):
    """Everything a release will do and ask, in order; stored by its digest and never changed.

    `rate_lag_seconds` is how long after a hold's end all its rate streams are sealed,
    `judge_lag_seconds` the same for scores; `baseline_units` are the requests that a frozen latency
    threshold needs. Times are seconds.
    """

    target: str
    target_kind: TargetKind
    unit: Unit
    error_budget: Probability
    offline: OfflinePlan
    shadow: ShadowPlan | None
    steps: tuple[StepPlan, ...] = Field(min_length=1)
    settle: SettlePlan | None
    lease_seconds: float = Field(gt=0)
    look_seconds: float = Field(gt=0)
    brake_limit_seconds: float = Field(gt=0)
    queue_limit_seconds: float = Field(gt=0)
    rate_lag_seconds: float = Field(gt=0)
    judge_lag_seconds: float = Field(gt=0)
    baseline_units: int = Field(gt=0)
    costs: Costs = Costs()

    @property
    def name(self) -> str:
        """The first digits of the digest, which people call a plan by."""
        return self.digest.removeprefix("sha256:")[:NAME_LENGTH]


def compile_plan(spec: Spec, target: Target) -> ReleasePlan:
    """Fill in every number. Raises BelowMinimums for a spec that the target does not accept."""
    shortfalls = check_minimums(spec, target)
    if shortfalls:
        raise BelowMinimums(shortfalls)
    slice_seconds = target.slice_seconds
    return ReleasePlan(
        target=target.name,
        target_kind=target.kind,
        unit=spec.unit,
        error_budget=spec.error_budget,
        offline=_offline(spec),
        shadow=_shadow(spec, target),
        steps=tuple(_step(spec, terms, target) for terms in spec.steps),
        settle=_settle(spec, target),
        lease_seconds=spec.lease,
        look_seconds=spec.canary.look_every,
        brake_limit_seconds=BRAKE_LIMIT_SECONDS,
        queue_limit_seconds=spec.canary.queue,
        # A hold's timer starts somewhere inside a slice, so the slice that completes it ends up to
        # one slice after the timer and is sealed the stream's fixed delay after that.
        rate_lag_seconds=target.seal_seconds + slice_seconds,
        judge_lag_seconds=target.judge_seconds + slice_seconds,
        baseline_units=target.minimums.baseline_units,
        costs=spec.costs,
    )


def _offline(spec: Spec) -> OfflinePlan:
    offline = spec.offline
    return OfflinePlan(
        p=offline.headline.p,
        margin=offline.headline.margin,
        clustered=offline.cluster is not None,
        coverage=offline.coverage,
        safety=SafetyPlan(generations=offline.safety.generations) if offline.safety else None,
    )


def _shadow(spec: Spec, target: Target) -> ShadowPlan | None:
    shadow = spec.shadow
    if shadow is None:
        return None
    return ShadowPlan(
        name="shadow",
        hold_seconds=shadow.until_any.time,
        deadline_seconds=shadow.deadline.of(shadow.until_any.time),
        slice_seconds=target.slice_seconds,
        coverage=spec.canary.coverage,
        blind_limit_seconds=BLIND_LIMIT_SLICES * target.slice_seconds,
        rate_bp=basis_points(shadow.rate),
        pairs=shadow.until_any.pairs,
        levels=target.judge_levels,
        alpha=shadow.judge_mean.p,
        margin_sd=shadow.judge_mean.margin,
    )


def _step(spec: Spec, terms: StepTerms, target: Target) -> StepPlan:
    return StepPlan(
        name=terms.name,
        hold_seconds=terms.hold_seconds,
        deadline_seconds=terms.deadline_seconds,
        slice_seconds=target.slice_seconds,
        coverage=spec.canary.coverage,
        blind_limit_seconds=BLIND_LIMIT_SLICES * target.slice_seconds,
        share_bp=terms.share_bp,
        must=terms.must,
        units=_units(terms, target),
        # At 99 % the baseline is the rare arm: its units limit what can be seen.
        units_arm=Arm.BASELINE if terms.full else Arm.CANDIDATE,
        gates=tuple(_rate_gates(spec, terms, target)),
    )


def _units(terms: StepTerms, target: Target) -> int:
    """The exposure that a verdict needs: what the spec says or, for a proof, what it takes at 1 %."""
    if terms.units is not None:
        return terms.units
    least = max(SCREEN_UNITS, target.minimums.screen_units)
    if terms.must is Must.SCREEN:
        return least
    ratio = (10_000 - terms.share_bp) / terms.share_bp
    needed = units_to_prove(PLANNED_BASELINE_RATE, terms.margins["error"].odds, ratio)
    return max(least, round(needed / UNITS_ROUNDED_TO) * UNITS_ROUNDED_TO)


def _rate_gates(spec: Spec, terms: StepTerms, target: Target) -> Iterator[RateGate]:
    gates = spec.gates
    budget = spec.error_budget * terms.budget
    streams = _error_streams(target)
    for name, stream in streams.items():
        alpha = budget * gates.error.budget / len(streams)
        margin = terms.margins.get("error")
        yield _rate_gate(name, stream, alpha, gates.error.tolerance, margin)
    if gates.latency is not None:
        yield from _latency_gates(gates.latency, budget, terms)
    if gates.refusal is not None:
        alpha = budget * gates.refusal.budget
        margin = terms.margins.get("refusal")
        yield _rate_gate("refusal", "refusal", alpha, gates.refusal.tolerance, margin)


def _error_streams(target: Target) -> dict[str, str]:
    """Gates by stream: failures known early, and what the time-out alone can tell, if that is later."""
    if target.timeout_seconds > target.fast_seconds:
        return {"error": "error", "error late": "late"}
    return {"error": "error"}


def _latency_gates(gate: LatencyGate, budget: float, terms: StepTerms) -> Iterator[RateGate]:
    weights = {quantile: QUANTILE_WEIGHTS.get(quantile, 1.0) for quantile in gate.at}
    proven = Quantile.P95 if Quantile.P95 in weights else max(weights)
    for quantile, weight in weights.items():
        alpha = budget * gate.budget * weight / sum(weights.values())
        # Only one quantile has to be proven harmless; the others are watched for harm.
        margin = terms.margins.get("latency") if quantile is proven else None
        name, stream = f"latency {quantile}", f"latency_{quantile}"
        asked = _rate_gate(name, stream, alpha, gate.tolerance, margin)
        yield asked.model_copy(update={"quantile": quantile.fraction})


def _rate_gate(
    name: str, stream: str, alpha: float, tolerance: float, margin: Margin | None
) -> RateGate:
    return RateGate(
        name=name,
        stream=stream,
        alpha=significant(alpha),
        tolerance=tolerance,
        margin_odds=margin.odds if margin else None,
        margin_abs=margin.abs if margin else None,
    )


def _settle(spec: Spec, target: Target) -> SettlePlan | None:
    watch = spec.after_promotion.watch
    if watch == 0:
        return None
    streams = _error_streams(target)
    alpha = significant(SETTLE_ALPHA / len(streams))
    return SettlePlan(
        name="settling",
        hold_seconds=watch,
        deadline_seconds=max(SETTLE_DEADLINE_TIMES * watch, spec.canary.deadline.of(watch)),
        slice_seconds=target.slice_seconds,
        coverage=spec.canary.coverage,
        blind_limit_seconds=BLIND_LIMIT_SLICES * target.slice_seconds,
        gates=tuple(
            SettleGate(name=name, stream=stream, alpha=alpha) for name, stream in streams.items()
        ),
    )
