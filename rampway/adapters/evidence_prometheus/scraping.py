"""Which gateways a Prometheus scrapes, and how often: what has to be right before it is trusted."""

from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from rampway.adapters.evidence_prometheus.samples import CLOCK, read_clocks, read_series
from rampway.adapters.evidence_prometheus.segments import (
    LOOK_AHEAD_SECONDS,
    Limits,
    check_fresh,
)
from rampway.adapters.evidence_prometheus.session import Prometheus

INTERVALS = 20  # how many of them the time between two scrapes is told from


class Scraped(NamedTuple):
    """A gateway that Prometheus scrapes every `interval_seconds`; None after a single scrape."""

    gateway: str
    interval_seconds: float | None


def scraped_gateways(
    prometheus: Prometheus, limits: Limits, now: Callable[[], float]
) -> list[Scraped]:
    """Every gateway that is scraped now. Raises Unreachable where that is none, or clocks differ."""
    at = now()
    seconds = LOOK_AHEAD_SECONDS + max(limits.recent_seconds, INTERVALS * limits.scrape_seconds)
    answer = prometheus.samples(CLOCK, at=at + LOOK_AHEAD_SECONDS, seconds=seconds)
    clocks = read_clocks(read_series(answer))
    check_fresh({gateway: told[-1] for gateway, told in clocks.items()}, at, limits, "any gateway")
    return [
        Scraped(gateway, _interval([scrape.at for scrape in clocks[gateway]]))
        for gateway in sorted(clocks)
    ]


def _interval(times: list[float]) -> float | None:
    gaps = [after - before for before, after in pairwise(times)]
    return median(gaps[-INTERVALS:]) if gaps else None
