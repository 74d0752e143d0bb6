"""What a release costs beyond serving its traffic: copies in shadow, and judging answers."""

from rampway.gates.facts import Fact
from rampway.gates.verdicts import significant
from rampway.release.scalars import DAY
from rampway.release.sections import Costs

ANSWERS_PER_PAIR = 2  # the judge scores the baseline's answer and the candidate's


class CostForecast(Fact):
    """Calls and their price; a price that release.yaml does not name is None.

    In all: `shadow_calls` are the candidate's answers to copies, `judge_calls` the judge's, those of
    live answers included. `judge_calls_live` are the latter alone.
    """

    shadow_calls: float
    judge_calls: float
    judge_calls_live: float = 0.0
    shadow_cost: float | None
    judge_cost: float | None
    total: float | None
    currency: str | None


def costs_of(prices: Costs, *, pairs: float, judged_live: float = 0.0) -> CostForecast:
    """The cost of so many pairs in shadow, and of so many live answers judged."""
    judged = significant(ANSWERS_PER_PAIR * pairs + judged_live)
    request, judge = prices.request, prices.judge
    shadow_cost = significant(pairs * request.amount) if request else None
    judge_cost = significant(judged * judge.amount) if judge else None
    known = [cost for cost in (shadow_cost, judge_cost) if cost is not None]
    priced = request or judge
    return CostForecast(
        shadow_calls=significant(pairs),
        judge_calls=judged,
        judge_calls_live=significant(judged_live),
        shadow_cost=shadow_cost,
        judge_cost=judge_cost,
        total=significant(sum(known)) if known else None,
        currency=priced.currency if priced else None,
    )


def costs_per_day(prices: Costs, *, requests_per_second: float, rate_bp: int) -> CostForecast:
    """A day of shadow at this traffic: every pair of answers is judged."""
    return costs_of(prices, pairs=requests_per_second * DAY * rate_bp / 10_000)
