"""The difference of two mean scores, slice by slice, and the proof that it is within a margin."""

import math
from collections.abc import Sequence

import numpy as np

from rampway.gates.bounds import clopper_pearson_upper
from rampway.gates.engine import Law, Spender, spent_share
from rampway.gates.plans import Spending

NORMAL_LEAST_UNITS = 30  # judged units of each arm under which a mean is not normal
NORMAL_LEAST_OTHER = 10  # the same for units off the commonest score, both arms together
_STEPS_AT_HOLD = 200  # lattice steps in one standard deviation of the sum at the hold's end
_STEPS_LEAST = 2.0  # a gain of information smaller than this waits for more
_REACH_SD = 9


class MeanDifference:
    """Candidate's mean score less the baseline's, stratified by slice, in levels.

    Slices are weighted by n_c n_b / (n_c + n_b), so that a change of the traffic, which moves both
    arms, drops out (Cochran 1954). The standard error is the larger of the pooled one and the one with
    a variance of each arm: the first is too small where the candidate's scores spread more, the
    second where by luck they do not spread yet. Variances are over all slices, as a slice may have a
    single candidate unit; drift between slices only makes them larger.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._candidate = _ArmScores(levels)
        self._baseline = _ArmScores(levels)
        self._by_score = [0] * levels
        self._weight = 0.0
        self._weighted_difference = 0.0
        self._weight_per_candidate = 0.0  # sum of w^2 / n_c
        self._weight_per_baseline = 0.0

    @property
    def units(self) -> tuple[int, int]:
        """Judged units of the candidate and of the baseline."""
        return self._candidate.units, self._baseline.units

    @property
    def levels(self) -> float:
        """The difference; 0 while no slice has both arms."""
        return self._weighted_difference / self._weight if self._weight else 0.0

    @property
    def is_normal(self) -> bool:
        """Enough units, and enough that are not alike, for a normal limit."""
        other = sum(self._by_score) - max(self._by_score)
        return min(self.units) >= NORMAL_LEAST_UNITS and other >= NORMAL_LEAST_OTHER

    @property
    def baseline_is_flat(self) -> bool:
        """The baseline gave the same score to all: its standard deviation is a guess."""
        return self._baseline.spread <= 0

    @property
    def baseline_sd(self) -> float:
        """The standard deviation of the baseline's score, in levels.

        Where all scores are the same it is what the rule of three still allows, sqrt(u (1 - u)) of
        the whole scale with u = 3 / units: any loss then weighs much, and only many units pass.
        """
        if not self.baseline_is_flat or not self._baseline.units:
            return math.sqrt(self._baseline.spread)
        unseen = min(0.5, 3 / self._baseline.units)
        return (self._levels - 1) * math.sqrt(unseen * (1 - unseen))

    def add(self, cells: Sequence[tuple[int, int, int]]) -> None:
        """Count a slice: `(score, candidate units, baseline units)`."""
        candidate_units = baseline_units = candidate_sum = baseline_sum = 0
        for score, by_candidate, by_baseline in cells:
            self._candidate.add(score, by_candidate)
            self._baseline.add(score, by_baseline)
            self._by_score[score] += by_candidate + by_baseline
            candidate_units += by_candidate
            baseline_units += by_baseline
            candidate_sum += score * by_candidate
            baseline_sum += score * by_baseline
        if not candidate_units or not baseline_units:
            return
        weight = candidate_units * baseline_units / (candidate_units + baseline_units)
        self._weight += weight
        self._weighted_difference += weight * (
            candidate_sum / candidate_units - baseline_sum / baseline_units
        )
        self._weight_per_candidate += weight**2 / candidate_units
        self._weight_per_baseline += weight**2 / baseline_units

    def standard_error(self) -> float:
        """Of the difference, in levels; infinite while it cannot be told."""
        candidate, baseline = self._candidate, self._baseline
        if not self._weight or min(self.units) <= 1:
            return math.inf
        freedom = candidate.units + baseline.units - 2
        squares = candidate.variance * (candidate.units - 1)
        squares += baseline.variance * (baseline.units - 1)
        by_arm = candidate.variance * self._weight_per_candidate
        by_arm += baseline.variance * self._weight_per_baseline
        return math.sqrt(max(squares / freedom * self._weight, by_arm)) / self._weight

    def limit_without_spread_sd(self, level: float) -> float:
        """Lower limit where nearly all scores are alike, in sd of the baseline's score.

        No gain is counted: candidate units under the commonest score, at their one-sided
        Clopper-Pearson bound, lose the whole scale, and baseline units above it gained it.
        """
        candidate, baseline = self._candidate, self._baseline
        if not candidate.units or not baseline.units:
            return -math.inf
        common = self._by_score.index(max(self._by_score))
        lost = clopper_pearson_upper(candidate.units_below(common), candidate.units, level)
        gained = baseline.units_above(common) / baseline.units
        return -(self._levels - 1) * min(1.0, lost + gained) / self.baseline_sd


class MarginProof:
    """Spends a false-PASS budget from the hold's end on, look by look, on a normal statistic.

    The statistic is z = (difference + margin) / standard error: at looks with information I = 1 / se^2
    it moves like a Brownian motion, z sqrt(I) (Lan & DeMets 1983; Jennison & Turnbull 2000, chapter
    11). Its increments are put on a lattice, so that the engine's `Spender` is the whole recursion.
    """

    def __init__(self, *, beta: float, hold_seconds: float) -> None:
        self.critical_z: float | None = None  # at the last look; None while none can pass
        self.passed = False  # at the last look
        self._beta = beta
        self._hold_seconds = hold_seconds
        self._spender = Spender()
        self._step = 0.0  # of the lattice, in units of z sqrt(I)
        self._information = 0.0

    def look(self, end_seconds: float, z: float, information: float) -> None:
        """Look at a usable slice that ended at `end_seconds`; before the hold's end nothing is spent."""
        self.passed, self.critical_z = False, None
        if end_seconds < self._hold_seconds * (1 - 1e-9):
            return
        if not self._step:
            self._step = math.sqrt(information) / _STEPS_AT_HOLD
        holds = end_seconds / self._hold_seconds
        budget = self._beta * spent_share(Spending.OPEN, holds)
        boundary = self._spender.lower(self._gain(information), budget)
        # Bad is up in the engine, and a sum between two steps is rounded to the worse one.
        seen = math.ceil(-z * math.sqrt(self._information) / self._step)
        self.passed = seen <= boundary
        self.critical_z = -boundary * self._step / math.sqrt(self._information)

    def _gain(self, information: float) -> Law:
        steps = math.sqrt(max(0.0, information - self._information)) / self._step
        if steps < _STEPS_LEAST:
            return Law(0, np.ones(1))
        self._information = information
        reach = math.ceil(_REACH_SD * steps)
        places = np.arange(-reach, reach + 1, dtype=np.float64)
        p = np.exp(-((places / steps) ** 2) / 2)
        return Law(-reach, p / p.sum())


class _ArmScores:
    """The judged units of one arm; whole numbers, so that their order is no matter."""

    def __init__(self, levels: int) -> None:
        self.units = 0
        self._by_score = [0] * levels
        self._sum = 0
        self._squares = 0

    @property
    def spread(self) -> float:
        """The variance of these units."""
        if not self.units:
            return 0.0
        return (self._squares * self.units - self._sum**2) / self.units**2

    @property
    def variance(self) -> float:
        """The variance of what they are a sample of; two units at least."""
        return self.spread * self.units / (self.units - 1)

    def add(self, score: int, units: int) -> None:
        self.units += units
        self._sum += score * units
        self._squares += score**2 * units
        self._by_score[score] += units

    def units_below(self, score: int) -> int:
        return sum(self._by_score[:score])

    def units_above(self, score: int) -> int:
        return sum(self._by_score[score + 1 :])
