"""The exact test behind every gate: laws of a count given its slice, and budgets spent on them look by look.

A slice's law is conditional on its own totals, so slices are independent and the base rate, its
drift and the split drop out. The law of the sum so far, without the paths that were already
stopped, is all the state there is (Lan & DeMets 1983; for exact counts Kulldorff et al. 2011).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rampway.gates.plans import Spending

FloatArray = npt.NDArray[np.float64]

WINDOWS_PER_HOLD = 3  # late harm is looked for in thirds of the hold
_TIE = 1 + 1e-9  # an exact tie between tail and budget falls the same way on every machine
_CUT = 1e-14  # probability that is dropped at the ends of a running law
_CUT_SLICE = 1e-18  # the same for the law of one slice, before it is normalised
_FFT_PRODUCTS = 4_000_000  # above this many products a direct convolution is the slower one
_BLOCK_LAWS = 3  # a block of a long convolution has room for so many of the short one
_REACH_SD = 9
_REACH_LEAST = 25


class Law(NamedTuple):
    """Probabilities of the counts `offset`, `offset + 1`, ..."""

    offset: int
    p: FloatArray

    @property
    def mean(self) -> float:
        """The expected count."""
        return self.offset + float(np.arange(self.p.size) @ self.p)


class HarmWatch:
    """Spends a false-breach budget on upper tails: one test of everything, one of each late window.

    Feed it one usable slice after the other; it must not be fed after a BREACH. Times are seconds
    since the stage began, `hold_seconds` is T. Of `alpha`, the part `late` is kept for windows of
    T/3, so that harm that starts late is not diluted by the good time before it.
    """

    def __init__(
        self, *, alpha: float, late: float, spending: Spending, hold_seconds: float
    ) -> None:
        self.seen = 0
        self.seen_in_window = 0
        self.breach_at: int | None = None
        self.crossed_at_seconds: float | None = None
        self.crossed_late = False  # by the current window alone, which is not the first
        self._alpha = alpha
        self._late = late
        self._spending = spending
        self._hold_seconds = hold_seconds
        self._whole = Spender()
        self._window = Spender()
        self._window_index = 0
        self._spent_in_past_windows = 0.0
        self._end_seconds = 0.0

    @property
    def spent(self) -> float:
        """The false-breach probability that the looks so far have used."""
        return self._whole.spent + self._window.spent + self._spent_in_past_windows

    @property
    def window_starts_seconds(self) -> float:
        """When the current late window began."""
        return self._window_index * self._hold_seconds / WINDOWS_PER_HOLD

    def look(self, end_seconds: float, law: Law, seen: int) -> bool:
        """Count a usable slice that ended at `end_seconds`; True when it is a BREACH."""
        self.seen += seen
        budget = (1 - self._late) * self._alpha * self._share(end_seconds)
        whole = self._whole.upper(law, budget)
        boundaries = [whole]
        if self._late > 0:
            boundaries.append(self._look_at_window(end_seconds, law, seen))
        self._end_seconds = end_seconds
        self.breach_at = min((b.at for b in boundaries if b.reachable), default=None)
        # Every boundary counts here: beyond the reach of a law is beyond 9 sd of a harmless slice.
        if self.seen >= min(b.at for b in boundaries):
            self.breach_at = min(b.at for b in boundaries)
            self.crossed_at_seconds = end_seconds
            self.crossed_late = self.seen < whole.at and self._window_index > 0
        return self.crossed_at_seconds is not None

    def _look_at_window(self, end_seconds: float, law: Law, seen: int) -> "Boundary":
        third = self._hold_seconds / WINDOWS_PER_HOLD
        # The slice starts where the last usable one ended: lost slices belong to the one after.
        index = math.floor(self._end_seconds / third + 1e-9)
        if index != self._window_index:
            self._spent_in_past_windows += self._window.spent
            self._window = Spender()
            self._window_index = index
            self.seen_in_window = 0
        self.seen_in_window += seen
        gain = self._share((index + 1) * third) - self._share(index * third)
        elapsed = min(1.0, (end_seconds - index * third) / third)
        at, reachable = self._window.upper(law, self._late * self._alpha * gain * elapsed)
        return Boundary(self.seen - self.seen_in_window + at, reachable)

    def _share(self, seconds: float) -> float:
        return spent_share(self._spending, seconds / self._hold_seconds)


class ProofWatch:
    """Spends a false-PASS budget on lower tails under the margin, from the end of the hold on."""

    def __init__(self, *, beta: float, hold_seconds: float) -> None:
        self.pass_at: int | None = None
        self._beta = beta
        self._hold_seconds = hold_seconds
        self._spender = Spender()

    def look(self, end_seconds: float, law: Law, *, mute: bool) -> None:
        """Count a usable slice; `mute` keeps the budget while too few bad units were seen."""
        self.pass_at = None
        past_hold = end_seconds / self._hold_seconds - 1
        if mute or end_seconds < self._hold_seconds * (1 - 1e-9):
            self._spender.wait(law)
            return
        boundary = self._spender.lower(law, self._beta * (0.8 + 0.2 * (1 - math.exp2(-past_hold))))
        self.pass_at = boundary if boundary >= 0 else None


class Boundary(NamedTuple):
    """A count that decides; one that no outcome can reach yet is kept for completeness."""

    at: int
    reachable: bool


class Spender:
    """The law of the sum so far on the paths not yet stopped, and what stopping has spent."""

    __slots__ = ("_f", "_offset", "spent")

    def __init__(self) -> None:
        self.spent = 0.0
        self._offset = 0
        self._f: FloatArray = np.ones(1)

    def upper(self, law: Law, budget: float) -> Boundary:
        """Add a slice and spend up to `budget` in all on its upper tail.

        A sum at or above the boundary is a BREACH. `budget` is the cumulated one of this look.
        """
        g = self._add(law)
        tails = g[::-1].cumsum()
        stopped = int(tails.searchsorted(self._left(budget), side="right"))
        if stopped:
            self.spent += float(tails[stopped - 1])
        at = self._offset + g.size - stopped
        self._keep(g[: g.size - stopped])
        return Boundary(at, stopped > 0)

    def lower(self, law: Law, budget: float) -> int:
        """Add a slice and spend up to `budget` in all on its lower tail.

        A sum at or below the boundary is a PASS; -1 and less cannot be reached.
        """
        g = self._add(law)
        heads = g.cumsum()
        stopped = int(heads.searchsorted(self._left(budget), side="right"))
        if stopped:
            self.spent += float(heads[stopped - 1])
        self._offset += stopped
        at = self._offset - 1
        self._keep(g[stopped:])
        return at

    def wait(self, law: Law) -> None:
        """Add a slice without looking at the sum."""
        self._keep(self._add(law))

    def _left(self, budget: float) -> float:
        return max(0.0, budget - self.spent) * _TIE

    def _add(self, law: Law) -> FloatArray:
        self._offset += law.offset
        return _convolve(self._f, law.p)

    def _keep(self, f: FloatArray) -> None:
        first, last = _ends(f, _CUT)
        self._offset += first
        self._f = f[first:last]


def spent_share(spending: Spending, holds: float) -> float:
    """The part of a budget that may be spent after `holds` holds: t/T."""
    if spending is Spending.POWER:
        return min(1.0, holds)
    # exp2 underflows to 0 for long extensions, which is what is meant.
    return 0.8 * min(1.0, holds) + 0.2 * (1 - math.exp2(-max(0.0, holds - 1)))


def noncentral_hypergeometric(
    candidate_units: int, baseline_units: int, bad: int, odds: float
) -> Law:
    """Law of the candidate's bad units in a slice, given both arms' units and all bad units.

    Fisher's noncentral hypergeometric at odds ratio `odds`, built from its mode outward by
    p(x+1)/p(x) = odds (n_c - x)(D - x) / ((x + 1)(n_b - D + x + 1)): differences of log-gammas lose
    eight digits at 10**7 units.
    """
    low, high = max(0, bad - baseline_units), min(bad, candidate_units)
    if low == high:
        return Law(low, np.ones(1))
    good_less = baseline_units - bad
    # The mode is the first count after the smaller root of p(x+1) = p(x), a quadratic in x.
    a = odds - 1
    b = odds * (candidate_units + bad) + good_less + 2
    c = odds * candidate_units * bad - (good_less + 1)
    root = 2 * c / (b + math.sqrt(max(0.0, b * b - 4 * a * c)))
    mode = min(high, max(low, math.floor(root) + 1))
    cells = (mode, candidate_units - mode, bad - mode, good_less + mode)
    sd = math.sqrt(1 / sum(1 / (cell + 1) for cell in cells))

    def log_ratio(x: FloatArray) -> FloatArray:
        up = (candidate_units - x) * (bad - x)
        down = (x + 1) * (good_less + 1 + x)
        return np.log(odds * up / down)

    return _from_mode(low, high, mode, sd, log_ratio)


def binomial(units: int, rate: float) -> Law:
    """Law of the bad units among `units` at a fixed `rate`."""
    if units == 0 or rate <= 0:
        return Law(0, np.ones(1))
    if rate >= 1:
        return Law(units, np.ones(1))
    mode = min(units, math.floor((units + 1) * rate))
    odds = rate / (1 - rate)

    def log_ratio(x: FloatArray) -> FloatArray:
        return np.log(odds * (units - x) / (x + 1))

    return _from_mode(0, units, mode, math.sqrt(units * rate * (1 - rate)), log_ratio)


def loss_sum(pairs_by_difference: dict[int, int]) -> Law:
    """Law of the sum of losses when each pair is as likely a loss as a gain.

    The law of the sum of a * Binomial(m_a, 1/2) over the differences a >= 1, of which
    `pairs_by_difference` counts the pairs m_a: the sign test's law on a lattice of scores.
    """
    total = Law(0, np.ones(1))
    for difference, pairs in sorted(pairs_by_difference.items()):
        losses = binomial(pairs, 0.5)
        spread = np.zeros((losses.p.size - 1) * difference + 1)
        spread[::difference] = losses.p
        offset = total.offset + losses.offset * difference
        p = _convolve(total.p, spread)
        first, last = _ends(p, _CUT_SLICE)
        total = Law(offset + first, p[first:last] / p[first:last].sum())
    return total


def _from_mode(
    low: int, high: int, mode: int, sd: float, log_ratio: Callable[[FloatArray], FloatArray]
) -> Law:
    reach = int(_REACH_SD * sd) + _REACH_LEAST
    left, right = max(low, mode - reach), min(high, mode + reach)
    steps = log_ratio(np.arange(left, right, dtype=np.float64))
    below = mode - left
    logs = np.zeros(right - left + 1)
    steps[below:].cumsum(out=logs[below + 1 :])
    logs[:below] = -steps[:below][::-1].cumsum()[::-1]
    p = np.exp(logs)
    return Law(left, p / p.sum())


def _convolve(f: FloatArray, p: FloatArray) -> FloatArray:
    if p.size == 1:
        scaled: FloatArray = f * p[0]
        return scaled
    if f.size * p.size <= _FFT_PRODUCTS:
        direct: FloatArray = np.convolve(f, p)
        return direct
    return _convolve_in_blocks(f, p) if f.size >= p.size else _convolve_in_blocks(p, f)


def _convolve_in_blocks(long: FloatArray, short: FloatArray) -> FloatArray:
    """Convolve by Fourier in blocks of the longer one (overlap-add, Stockham 1966).

    Half the time of one transform of everything: a slice's law is short beside that of the sum.
    """
    points = 1 << (_BLOCK_LAWS * short.size - 1).bit_length()
    step = points - short.size + 1
    blocks = -(-long.size // step)
    padded = np.zeros(blocks * step)
    padded[: long.size] = long
    spectra = np.fft.rfft(padded.reshape(blocks, step), points) * np.fft.rfft(short, points)
    overlapping = np.fft.irfft(spectra, points)
    g = np.zeros(blocks * step + short.size - 1)
    for block, part in enumerate(overlapping):
        g[block * step : block * step + points] += part
    g = g[: long.size + short.size - 1]
    g[g < 0] = 0.0  # rounding leaves tiny negative probabilities
    return g


def _ends(f: FloatArray, cut: float) -> tuple[int, int]:
    if f.size and f[0] >= cut and f[-1] >= cut:
        return 0, f.size
    kept = np.flatnonzero(f >= cut)
    return (int(kept[0]), int(kept[-1]) + 1) if kept.size else (0, f.size)
