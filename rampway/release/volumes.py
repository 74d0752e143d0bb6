"""One release at a thousand, ten thousand and a hundred thousand requests a day: cost and duration."""

from collections.abc import Mapping

from rampway.gates.facts import Fact
from rampway.release.costs import CostForecast
from rampway.release.forecast import forecast
from rampway.release.pace import Decidable
from rampway.release.plan import ReleasePlan
from rampway.release.proposals import Regime, propose, regime_of
from rampway.release.records import Target
from rampway.release.scalars import DAY
from rampway.release.spec import Spec

REQUESTS_PER_DAY = (1_000, 10_000, 100_000)


class Volume(Fact):
    """A target with so many requests a day.

    `cost_per_day` is that of shadow at the plan's rate, its answers judged. `expected_seconds` is a
    whole release's: of the plan itself where `as_planned`, else of the plan that fits the traffic;
    None where a person has to decide.
    """

    requests_per_day: int
    cost_per_day: CostForecast
    regime: Regime
    as_planned: bool
    expected_seconds: float | None


def volumes(
    plan: ReleasePlan,
    spec: Spec,
    target: Target,
    *,
    baseline: Mapping[str, float],
    judge_sd: float | None = None,
) -> tuple[Volume, ...]:
    """What the same release costs and takes where there is less traffic, or more."""
    return tuple(
        _volume(plan, spec, target, requests, baseline, judge_sd) for requests in REQUESTS_PER_DAY
    )


def _volume(
    plan: ReleasePlan,
    spec: Spec,
    target: Target,
    requests_per_day: int,
    baseline: Mapping[str, float],
    judge_sd: float | None,
) -> Volume:
    units_per_second = requests_per_day / DAY
    told = forecast(
        plan, requests_per_second=units_per_second, baseline=baseline, judge_sd=judge_sd
    )
    decides = told.decidable is not Decidable.NEVER
    expected_seconds = told.expected_seconds if decides else None
    if not decides:
        fitting = propose(
            spec,
            target,
            units_per_second=units_per_second,
            baseline=baseline,
            judge_sd=judge_sd,
        )
        if fitting is not None and fitting.regime is not Regime.ASSISTED:
            expected_seconds = fitting.forecast.expected_seconds
    return Volume(
        requests_per_day=requests_per_day,
        cost_per_day=told.cost_per_day,
        regime=regime_of(units_per_second),
        as_planned=decides,
        expected_seconds=expected_seconds,
    )
