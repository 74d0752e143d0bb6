"""The worlds that `rampway simulate` plays a release in, and what came of many plays."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import Field

from rampway.gates.facts import Fact
from rampway.gates.planning import tolerated_rate
from rampway.release.simulation import Ended, Played, Rates, World

TOLERATED_ODDS = 1.1
ERROR_HARMS = (0.10, 0.05, 0.02)  # candidate error rates worth knowing about
SLOWER_BY_HALF = {0.5: 0.80, 0.1: 0.21, 0.05: 0.127, 0.01: 0.031}
"""How often a candidate that is half as slow again exceeds the baseline's quantiles.

By the log-normal latencies of the design (5 % over p95 become 12.7 %); keyed by the baseline's rate.
"""
QUALITY_LOSS_SD = 0.2
PASSES = Rates(baseline=0.8, candidate=0.8)
DETECTION_QUANTILES = (0.5, 0.95)


class Quantiles(Fact):
    """Median and 95 % quantile; None where nothing was counted."""

    median: float | None = None
    p95: float | None = None


class Simulated(Fact):
    """What became of `runs` plays in one world; rates with their standard errors, times in seconds."""

    world: World
    runs: int = Field(ge=1)
    promoted: int
    ended: dict[str, int]
    stages: dict[str, int]  # where those that did not pass ended
    gates: dict[str, int]  # what breached
    duration: Quantiles  # of the promoted
    detection: Quantiles  # from the first share to the pin, of those with a breach after it
    exposed: Quantiles  # candidate units until then

    @property
    def promoted_rate(self) -> float:
        """The part that passed every stage."""
        return self.promoted / self.runs

    @property
    def standard_error(self) -> float:
        """Of `promoted_rate`, by the binomial law."""
        return math.sqrt(self.promoted_rate * (1 - self.promoted_rate) / self.runs)


def scenarios(
    baseline: Mapping[str, float], units_per_second: float, *, quality: bool
) -> tuple[World, ...]:
    """A harmless world, one at the edge of what is tolerated, and each harm of the table.

    `baseline` has the baseline's rate of each stream of bad units.
    """
    same = {stream: Rates(baseline=rate, candidate=rate) for stream, rate in baseline.items()}

    def world(name: str, changed: Mapping[str, float], passes: Rates = PASSES) -> World:
        bad = {
            stream: rates.model_copy(update={"candidate": changed.get(stream, rates.candidate)})
            for stream, rates in same.items()
        }
        return World(name=name, units_per_second=units_per_second, bad=bad, pass_rate=passes)

    edge = {stream: tolerated_rate(rate, TOLERATED_ODDS) for stream, rate in baseline.items()}
    errors = baseline.get("error", 0.0)
    worlds = [
        world("harmless", {}),
        world(f"odds {TOLERATED_ODDS} on every rate", edge),
        world("outage: every request fails", {"error": 1.0}),
        *(
            world(f"errors {errors:.1%} to {rate:.0%}", {"error": rate})
            for rate in ERROR_HARMS
            if rate > errors
        ),
    ]
    slower = {
        stream: _slower(rate) for stream, rate in baseline.items() if stream.startswith("latency")
    }
    if slower:
        worlds.append(world("half as slow again", slower))
    if "refusal" in baseline:
        refusals = {"refusal": min(1.0, 2 * baseline["refusal"])}
        worlds.append(world("twice the refusals", refusals))
    if quality:
        spread = math.sqrt(PASSES.baseline * (1 - PASSES.baseline))
        fewer = PASSES.baseline - QUALITY_LOSS_SD * spread
        lower = PASSES.model_copy(update={"candidate": fewer})
        worlds.append(world(f"quality -{QUALITY_LOSS_SD} sd", {}, lower))
    return tuple(worlds)


def sum_up(world: World, played: Sequence[Played]) -> Simulated:
    """Count what became of the plays of one world."""
    passed = [p for p in played if p.ended in {Ended.PROMOTED, Ended.REPORTED}]
    stopped = [p for p in played if p.ended not in {Ended.PROMOTED, Ended.REPORTED}]
    found = [p for p in stopped if p.ended is Ended.BREACH and p.exposed_seconds is not None]
    return Simulated(
        world=world,
        runs=len(played),
        promoted=len(passed),
        ended=dict(Counter(p.ended.value for p in played)),
        stages=dict(Counter(p.stage for p in stopped)),
        gates=dict(Counter(p.gate for p in stopped if p.gate and p.ended is Ended.BREACH)),
        duration=_quantiles([p.seconds for p in passed]),
        detection=_quantiles([p.exposed_seconds for p in found if p.exposed_seconds is not None]),
        exposed=_quantiles([float(p.exposed_units) for p in found]),
    )


def _slower(rate: float) -> float:
    """The rate over a quantile after latencies grew by half; by log-odds between the known ones."""
    known = sorted(SLOWER_BY_HALF)
    nearest = min(known, key=lambda at: abs(at - rate))
    odds = SLOWER_BY_HALF[nearest] / (1 - SLOWER_BY_HALF[nearest]) * (1 - nearest) / nearest
    return tolerated_rate(rate, odds) if 0 < rate < 1 else rate


def _quantiles(values: Sequence[float]) -> Quantiles:
    """Nearest-rank quantiles."""
    if not values:
        return Quantiles()
    ordered = sorted(values)
    median, p95 = (ordered[math.ceil(q * len(ordered)) - 1] for q in DETECTION_QUANTILES)
    return Quantiles(median=median, p95=p95)
