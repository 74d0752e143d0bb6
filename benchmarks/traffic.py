"""Simulated holds as count tables, and what the engine says to each of them."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rampway.gates.engine import HarmWatch, noncentral_hypergeometric
from rampway.gates.plans import Spending

Tables = npt.NDArray[np.int64]  # holds x slices x (n_c, x_c, n_b, x_b)
Floats = npt.NDArray[np.float64]

REQUESTS_PER_SECOND = 50.0
HOLD_MINUTES = 30


@dataclass(frozen=True)
class Traffic:
    """A hold's traffic: rates of bad units may change from slice to slice."""

    candidate_bad: float | Floats = 0.01
    baseline_bad: float | Floats = 0.01
    share: float = 0.01
    slice_seconds: float = 60
    requests_per_second: float = REQUESTS_PER_SECOND
    hold_minutes: float = HOLD_MINUTES

    @property
    def slices(self) -> int:
        return round(self.hold_minutes * 60 / self.slice_seconds)

    def tables(self, dice: np.random.Generator, holds: int) -> Tables:
        """Independent holds."""
        requests = self.requests_per_second * self.slice_seconds
        n_c = dice.poisson(requests * self.share, (holds, self.slices))
        n_b = dice.poisson(requests * (1 - self.share), (holds, self.slices))
        x_c = dice.binomial(n_c, self.candidate_bad)
        return np.stack([n_c, x_c, n_b, dice.binomial(n_b, self.baseline_bad)], axis=-1)


@dataclass(frozen=True)
class Watch:
    """How the engine spends; the defaults are those that the bars are stated for."""

    alpha: float
    spending: Spending = Spending.POWER
    late: float = 0.0
    tolerance: float = 1.0


def first_breaches(traffic: Traffic, watch: Watch, tables: Tables) -> list[float]:
    """The slice of each hold's BREACH, counted from 1; infinite where there is none."""
    return [first_breach(traffic, watch, hold) for hold in tables]


def first_breach(traffic: Traffic, watch: Watch, hold: Tables) -> float:
    """As `first_breaches`, for one hold."""
    seconds = traffic.slice_seconds
    harm = HarmWatch(
        alpha=watch.alpha,
        late=watch.late,
        spending=watch.spending,
        hold_seconds=traffic.slices * seconds,
    )
    for number, (n_c, x_c, n_b, x_b) in enumerate(hold.tolist(), start=1):
        law = noncentral_hypergeometric(n_c, n_b, x_c + x_b, watch.tolerance)
        if harm.look(number * seconds, law, x_c):
            return number
    return math.inf


def simulated(traffic: Traffic, watch: Watch, dice: np.random.Generator, holds: int) -> list[float]:
    """The first breaches of fresh holds: a task for a crew."""
    return first_breaches(traffic, watch, traffic.tables(dice, holds))
