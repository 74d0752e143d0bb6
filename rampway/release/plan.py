"""Compiles a spec for its target into the plan a release runs by: every number decided before a look."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from rampway.gates.facts import Fact
from rampway.gates.planning import units_to_prove
from rampway.gates.plans import (
    AbPlan,
    Arm,
    CountPair,
    MetricGate,
    Must,
    OfflinePlan,
    Probability,
    QualityGate,
    RateGate,
    SafetyPlan,
    SampleRatioGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    SlicesPlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import significant
from rampway.release.asks import Gate, LatencyGate, Margin, Quantile, Switch
from rampway.release.climb import JUDGED_UNITS, Stage
from rampway.release.minimums import BelowMinimums, check_minimums
from rampway.release.records import Target, TargetKind
from rampway.release.scalars import DAY, basis_points
from rampway.release.sections import CaseSlices, Costs, Offline, OnPass, Unit
from rampway.release.spec import Spec, StepTerms

BRAKE_LIMIT_SECONDS = float(DAY)  # longer, and a history no longer fits one run
BLIND_LIMIT_SLICES = 12  # two minutes of ten-second slices
SCREEN_UNITS = 300
PLANNED_BASELINE_RATE = 0.01  # for the units of a proof, when nothing was measured yet
UNITS_ROUNDED_TO = 100
LOOK_AT_AB_SECONDS = 60  # two days of ten-second looks would be seventeen thousand
SLICES_PER_LOOK_MOST = 60
SETTLE_ALPHA = 0.0025  # of the release, outside its error budget
SETTLE_DEADLINE_TIMES = 3
QUANTILE_WEIGHTS = {Quantile.P95: 3.0}  # of the latency budget; every other quantile has 1
NAME_LENGTH = 6


class ReleasePlan(Fact):
    """Everything a release will do and ask, in order; stored by its digest and never changed.

    `rate_lag_seconds` is how long after a hold's end all its rate streams are sealed,
    `judge_lag_seconds` the same for scores; `baseline_units` are the requests that a frozen latency
    threshold needs, `judged_units` the candidate's answers to judge in each step's hold, at an even
    pace that an extended hold keeps (0: none). Times are seconds.
    """

    target: str
    target_kind: TargetKind
    unit: Unit
    error_budget: Probability
    offline: OfflinePlan
    shadow: ShadowPlan | None
    steps: tuple[StepPlan, ...] = ()  # empty in a release that only reports
    ab: AbPlan | None = None  # after the steps below 100 %, before the last
    on_pass: OnPass = OnPass.PROMOTE
    settle: SettlePlan | None
    lease_seconds: float = Field(gt=0)
    look_seconds: float = Field(gt=0)
    brake_limit_seconds: float = Field(gt=0)
    queue_limit_seconds: float = Field(gt=0)
    rate_lag_seconds: float = Field(gt=0)
    judge_lag_seconds: float = Field(gt=0)
    baseline_units: int = Field(gt=0)
    judged_units: int = Field(default=0, ge=0)
    costs: Costs = Costs()

    def lag_seconds(self, stage: StagePlan) -> float:
        """How long after its begin, or its hold's end, the stage's slowest stream seals a slice."""
        if isinstance(stage, ShadowPlan):
            return self.judge_lag_seconds
        if isinstance(stage, StepPlan) and stage.quality is not None:
            return max(self.rate_lag_seconds, self.judge_lag_seconds)
        return self.rate_lag_seconds

    @property
    def climb(self) -> tuple[StepPlan, ...]:
        """The canary's steps below 100 %."""
        return self.steps[:-1]

    @property
    def full(self) -> StepPlan | None:
        """The step at 100 %, the control held back; None in a release that only reports."""
        return self.steps[-1] if self.steps else None

    @property
    def exposes(self) -> bool:
        """Somebody's answer may come from the candidate; a shadow alone returns nothing to anyone."""
        return bool(self.steps) or self.ab is not None

    @property
    def watched(self) -> tuple[StagePlan, ...]:
        """The stages with candidate traffic in the order they run, the watch after promotion last."""
        in_order = (self.shadow, *self.climb, self.ab, self.full, self.full and self.settle)
        return tuple(stage for stage in in_order if stage is not None)

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
        offline=offline_plan(spec.offline),
        shadow=_shadow(spec, target),
        steps=tuple(_step(spec, terms, target) for terms in spec.steps),
        ab=_ab(spec, target),
        on_pass=spec.on_pass,
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
        judged_units=_judged_units(spec),
        costs=spec.costs,
    )


def offline_plan(offline: Offline) -> OfflinePlan:
    """The offline gate that a section `offline` asks for."""
    return OfflinePlan(
        p=offline.headline.p,
        margin=offline.headline.margin,
        clustered=offline.cluster is not None,
        coverage=offline.coverage,
        slices=_slices(offline.slices),
        safety=SafetyPlan(generations=offline.safety.generations) if offline.safety else None,
    )


def _slices(slices: CaseSlices | None) -> SlicesPlan | None:
    if slices is None:
        return None
    return SlicesPlan(by=slices.by, p=slices.p, sigma=slices.sigma, mode=slices.mode)


def _judged_units(spec: Spec) -> int:
    if spec.gates.quality is None:
        return 0
    return spec.canary.judged_units or JUDGED_UNITS


def _shadow(spec: Spec, target: Target) -> ShadowPlan | None:
    shadow = spec.shadow
    if shadow is None or Stage.SHADOW not in spec.planned:
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
        gates=tuple(_rate_gates(spec, terms.budget, terms.margins, target)),
        metrics=_metrics(spec, terms.budget),
        quality=_quality(spec, terms, target),
        sample_ratio=_sample_ratio(spec),
    )


def _ab(spec: Spec, target: Target) -> AbPlan | None:
    if Stage.AB not in spec.planned:
        return None
    ab = spec.ab
    per_look = round(LOOK_AT_AB_SECONDS / target.slice_seconds)
    demo = target.kind is TargetKind.DEMO
    return AbPlan(
        name="ab",
        hold_seconds=ab.time,
        deadline_seconds=ab.deadline.of(ab.time),
        slice_seconds=target.slice_seconds,
        coverage=spec.canary.coverage,
        blind_limit_seconds=BLIND_LIMIT_SLICES * target.slice_seconds,
        share_bp=basis_points(spec.ab_share),
        units=ab.units or max(SCREEN_UNITS, target.minimums.screen_units),
        slices_per_look=1 if demo else min(max(per_look, 1), SLICES_PER_LOOK_MOST),
        gates=tuple(_rate_gates(spec, spec.ab_budget, {}, target)),
        metrics=_metrics(spec, spec.ab_budget),
        sample_ratio=_sample_ratio(spec),
    )


def _units(terms: StepTerms, target: Target) -> int:
    """The exposure that a verdict needs: what the spec says or, for a proof, what it takes at 1 %."""
    if terms.units is not None:
        return terms.units
    least = max(SCREEN_UNITS, target.minimums.screen_units)
    # The error gate sets the exposure; where it only watches, the slowest of those that must PASS.
    odds = (
        [terms.margins["error"].odds]
        if "error" in terms.margins
        else [margin.odds for margin in terms.margins.values()]
    )
    if terms.must is Must.SCREEN or not odds:
        return least
    ratio = (10_000 - terms.share_bp) / terms.share_bp
    needed = units_to_prove(PLANNED_BASELINE_RATE, min(odds), ratio)
    return max(least, round(needed / UNITS_ROUNDED_TO) * UNITS_ROUNDED_TO)


def _rate_gates(
    spec: Spec, part: float, margins: Mapping[str, Margin], target: Target
) -> Iterator[RateGate]:
    """Every gate on a rate, for a watch that has this part of the release's error budget."""
    gates = spec.gates
    budget = spec.error_budget * part
    streams = _error_streams(target)
    for name, stream in streams.items():
        alpha = budget * gates.error.budget / len(streams)
        yield _rate_gate(name, stream, alpha, gates.error, margins.get("error"))
    if gates.latency is not None:
        yield from _latency_gates(gates.latency, budget, margins.get("latency"))
    for name in ("refusal", "false_positive"):
        gate = gates.asked().get(name)
        if gate is not None:
            yield _rate_gate(name, name, budget * gate.budget, gate, margins.get(name))


def _error_streams(target: Target) -> dict[str, str]:
    """Gates by stream: failures known early, and what the time-out alone can tell, if that is later."""
    if target.timeout_seconds > target.fast_seconds:
        return {"error": "error", "error late": "late"}
    return {"error": "error"}


def _latency_gates(gate: LatencyGate, budget: float, margin: Margin | None) -> Iterator[RateGate]:
    weights = {quantile: QUANTILE_WEIGHTS.get(quantile, 1.0) for quantile in gate.at}
    proven = Quantile.P95 if Quantile.P95 in weights else max(weights)
    for quantile, weight in weights.items():
        alpha = budget * gate.budget * weight / sum(weights.values())
        # Only one quantile has to be proven harmless; the others are watched for harm.
        proves = margin if quantile is proven else None
        asked = _rate_gate(f"latency {quantile}", f"latency_{quantile}", alpha, gate, proves)
        yield asked.model_copy(update={"quantile": quantile.fraction})


def _rate_gate(name: str, stream: str, alpha: float, gate: Gate, margin: Margin | None) -> RateGate:
    return RateGate(
        name=name,
        stream=stream,
        role=gate.role,
        alpha=significant(alpha),
        tolerance=gate.tolerance,
        margin_odds=margin.odds if margin else None,
        margin_abs=margin.abs if margin else None,
    )


def _metrics(spec: Spec, part: float) -> tuple[MetricGate, ...]:
    """The gates on the user's own counters, for a watch with this part of the error budget."""
    return tuple(
        MetricGate(
            name=name,
            stream=f"metric {name}",
            role=metric.role,
            alpha=significant(spec.error_budget * part * metric.budget),
            tolerance=metric.tolerance,
            pair=CountPair(bad=metric.bad, total=metric.total, arm_label=metric.arm_label),
        )
        for name, metric in spec.gates.metrics.items()
    )


def _quality(spec: Spec, terms: StepTerms, target: Target) -> QualityGate | None:
    gate = spec.gates.quality
    if gate is None:
        return None
    return QualityGate(
        role=gate.role,
        levels=target.judge_levels,
        alpha=significant(spec.error_budget * terms.budget * gate.budget),
        margin_sd=terms.margin_sd,
    )


def _sample_ratio(spec: Spec) -> SampleRatioGate | None:
    return SampleRatioGate() if spec.gates.sample_ratio is Switch.ON else None


def _settle(spec: Spec, target: Target) -> SettlePlan | None:
    watch = spec.after_promotion.watch
    if watch == 0 or spec.on_pass is OnPass.REPORT:
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
