"""Weighs any watched stage, and freezes what a stage compares with before its first look."""

import math
from typing import TypeVar

from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import RateGate, SettleGate, SettlePlan, ShadowPlan, StagePlan, StepPlan
from rampway.gates.rates import weigh_step
from rampway.gates.settling import weigh_settling
from rampway.gates.shadow import weigh_shadow
from rampway.gates.verdicts import StageVerdict, significant

GateT = TypeVar("GateT", RateGate, SettleGate)

TIMEOUT_BUCKET = 100_000  # slower than this bucket nothing is


def weigh(plan: StagePlan, evidence: Evidence) -> StageVerdict:
    """The verdict of a stage: a pure function of its plan and its counts."""
    match plan:
        case StepPlan():
            return weigh_step(plan, evidence)
        case ShadowPlan():
            return weigh_shadow(plan, evidence)
        case SettlePlan():
            return weigh_settling(plan, evidence)


def freeze(plan: StagePlan, baseline: BaselineCounts, *, units_min: int) -> StagePlan:
    """The plan with each gate's baseline rate and latency threshold measured and fixed.

    A latency threshold is the smallest bucket that at least `quantile` of the baseline's latencies
    do not exceed, and the rate is what exceeds it. What was measured on fewer than `units_min`
    units, or cannot be right, stays None: such a gate is NO_DATA and never passes. What is frozen
    already stays: freezing again within a step would let the candidate move its own threshold.
    """
    match plan:
        case StepPlan():
            steps = tuple(_frozen(gate, baseline, units_min) for gate in plan.gates)
            return plan.model_copy(update={"gates": steps})
        case SettlePlan():
            watches = tuple(_frozen(gate, baseline, units_min) for gate in plan.gates)
            return plan.model_copy(update={"gates": watches})
        case ShadowPlan():
            return plan


def _frozen(gate: GateT, baseline: BaselineCounts, units_min: int) -> GateT:
    if gate.baseline_rate is not None or baseline.units < max(1, units_min):
        return gate
    if gate.quantile is not None:
        return _frozen_latency(gate, gate.quantile, baseline.latency, units_min)
    bad = baseline.bad.get(gate.stream)
    if bad is None or not 0 <= bad <= baseline.units:
        return gate
    return gate.model_copy(update={"baseline_rate": significant(bad / baseline.units)})


def _frozen_latency(gate: GateT, quantile: float, latency: dict[int, int], units_min: int) -> GateT:
    units = sum(latency.values())
    if units < max(1, units_min) or min(latency.values()) < 0:
        return gate
    enough = math.ceil(quantile * units - 1e-9 * units)
    within = bucket = 0
    for bucket in sorted(latency):
        within += latency[bucket]
        if within >= enough:
            break
    if bucket >= TIMEOUT_BUCKET:
        return gate  # nothing can be slower than a time-out: such a gate would never find harm
    return gate.model_copy(
        update={
            "threshold_bucket": bucket,
            "baseline_rate": significant((units - within) / units),
        }
    )
