"""What is known of a target's traffic before a release: its rate, and what the baseline does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rampway.gates.evidence import Evidence
from rampway.gates.plans import AbPlan, Must, RateGate, StepPlan
from rampway.ports import Unreachable
from rampway.release.plan import ReleasePlan
from rampway.release.splits import Refused
from rampway.reports.words import integer, percent

if TYPE_CHECKING:
    from rampway.ports import EvidenceSource, Traffic

ASSUMED_RATES = {"error": 0.01, "late": 0.0, "refusal": 0.01, "false_positive": 0.01}
ASSUMED = "baseline assumed at 1 % errors and no time-outs, not read"
SLICES_MIN = 6
SLICES_MAX = 60  # ten minutes of ten-second slices: the rate of now, not of last night


@dataclass(frozen=True)
class Load:
    """What is known of a target's traffic: requests per second, and the baseline's bad units."""

    requests_per_second: float | None
    rates: Mapping[str, float]
    words: str


async def measure_load(plan: ReleasePlan, traffic: "Traffic", evidence: "EvidenceSource") -> Load:
    """Read the load and the baseline's rates from the gateway's counts, as far as it has them."""
    try:
        observed = await traffic.observe(plan.target)
        counts = await evidence.baseline(target=plan.target, last_units=plan.baseline_units)
        slices = await evidence.stage(
            target=plan.target,
            epoch=observed.epoch,
            segment=observed.segment,
            plan=_counted_like(plan),
        )
    except (Refused, Unreachable) as silent:
        return Load(None, ASSUMED_RATES, f"{ASSUMED}: {silent}")
    if counts.units == 0:
        return Load(None, ASSUMED_RATES, f"{ASSUMED}: it has served nothing yet")
    rates = {**ASSUMED_RATES, **{name: bad / counts.units for name, bad in counts.bad.items()}}
    told = ", ".join(f"{name} {percent(rates[name])}" for name in sorted(counts.bad))
    return Load(
        _per_second(slices),
        rates,
        f"baseline live, {integer(counts.units)} units: {told}",
    )


def _counted_like(plan: ReleasePlan) -> StepPlan | AbPlan:
    """A watch whose slices count every request: the plan's own, or one made for a lone shadow."""
    if plan.steps:
        return plan.steps[0]
    if plan.ab is not None:
        return plan.ab
    first = plan.watched[0]
    return StepPlan(
        name="load",
        hold_seconds=first.hold_seconds,
        deadline_seconds=first.deadline_seconds,
        slice_seconds=first.slice_seconds,
        share_bp=0,
        must=Must.SCREEN,
        units=0,
        gates=(RateGate(name="error", stream="error", alpha=plan.error_budget),),
    )


def _per_second(slices: Evidence) -> float | None:
    """Requests per second over the newest sealed slices; None from too few, or from silence.

    A row is `[i, candidate units, bad, baseline units, bad]`.
    """
    sealed = slices.sealed.get("error", 0)
    first = max(0, sealed - SLICES_MAX)
    if sealed - first < SLICES_MIN:
        return None
    units = 0
    for row in slices.rows.get("error", []):
        match row:
            case [int(i), int(candidate), _, int(baseline), _] if i >= first:
                units += candidate + baseline
            case _:
                continue  # an older slice, or one that was not counted
    return units / ((sealed - first) * slices.slice_seconds) or None
