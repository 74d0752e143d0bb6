"""Weighs any watched stage, and freezes what a stage compares with before its first look."""

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar

from rampway.gates.ab import AbWeigher
from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import (
    AbPlan,
    RateGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.settling import SettleWeigher
from rampway.gates.shadow import ShadowWeigher
from rampway.gates.steps import StepWeigher
from rampway.gates.verdicts import StageVerdict, significant

GateT = TypeVar("GateT", RateGate, SettleGate)

TIMEOUT_BUCKET = 100_000  # slower than this bucket nothing is


class Weigher:
    """Weighs one stage look after look, counting each slice once.

    However often it has looked before, a look gives the verdict that a first look at the same
    evidence would give: where rows are no longer what they were, it counts all of them anew.
    """

    def __init__(self, plan: StagePlan) -> None:
        self._stage = _weigher_of(plan)

    def look(self, evidence: Evidence) -> StageVerdict:
        """The verdict on this evidence."""
        return self._stage.look(evidence)


def weigh(plan: StagePlan, evidence: Evidence) -> StageVerdict:
    """The verdict of a stage: a pure function of its plan and its counts."""
    return Weigher(plan).look(evidence)


def look_at(plan: StagePlan, evidence: Evidence, n: int) -> StageVerdict:
    """The verdict as it was when n slices were sealed. Raises ValueError for a negative n."""
    return weigh(plan, evidence_at(evidence, n))


def path_of(plan: StagePlan, evidence: Evidence, looks: Iterable[int]) -> list[StageVerdict]:
    """The verdicts as they were at these looks, in their order; rising ones cost one count in all."""
    weigher = Weigher(plan)
    return [weigher.look(evidence_at(evidence, n)) for n in looks]


def evidence_at(evidence: Evidence, n: int) -> Evidence:
    """Evidence as it was when n slices were sealed: later rows do not count by its own rules.

    Raises ValueError for a negative n.
    """
    if n < 0:
        raise ValueError(f"Looks count sealed slices: 0 or more, not {n}.")
    sealed = {stream: min(n, count) for stream, count in evidence.sealed.items()}
    return evidence.model_copy(update={"sealed": sealed})


class _StageWeigher(Protocol):
    def look(self, evidence: Evidence) -> StageVerdict: ...


def _weigher_of(plan: StagePlan) -> _StageWeigher:
    match plan:
        case StepPlan():
            return StepWeigher(plan)
        case ShadowPlan():
            return ShadowWeigher(plan)
        case AbPlan():
            return AbWeigher(plan)
        case SettlePlan():
            return SettleWeigher(plan)


def freeze(plan: StagePlan, baseline: BaselineCounts, *, units_min: int) -> StagePlan:
    """The plan with each gate's baseline rate and latency threshold measured and fixed.

    A latency threshold is the smallest bucket that at least `quantile` of the baseline's latencies
    do not exceed, and the rate is what exceeds it. What was measured on fewer than `units_min`
    units, or cannot be right, stays None: such a gate is NO_DATA and never passes. What is frozen
    already stays: freezing again within a step would let the candidate move its own threshold.
    """
    match plan:
        case StepPlan() | AbPlan():
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
