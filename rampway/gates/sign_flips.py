"""How likely a loss is if each unit were as likely to gain what it lost: counted, not approximated.

With units that all changed by the same amount this is McNemar's exact test. Fisher 1935, The Design
of Experiments, section 21. More harm to any unit never raises this probability, which no test that
estimates a variance can say of itself: there one collapse can hide many small losses.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rampway.gates.engine import loss_sum

IntArray = npt.NDArray[np.int64]

ENUMERATED_MAX = 24  # 2^12 sums for each half
_WORK_MAX = 2_000_000  # steps of all changes times the largest one: about 10 ms
_DIGITS = 12  # of a probability; beyond them a convolution by FFT is noise


class Chances(NamedTuple):
    """Of a loss at least as large as the one seen, and of a gain; both count what was seen."""

    loss: float
    gain: float


def sign_flip_chances(changes: IntArray) -> Chances | None:
    """Probabilities of the sum of the changes, or beyond, when each has a random sign.

    `changes` are the units' gains in whole steps; without any both are 1. None when they are too many
    and too uneven to count their sums.
    """
    changed = changes[changes != 0]
    if not changed.size:
        return Chances(1.0, 1.0)
    changed = changed // np.gcd.reduce(changed)
    sizes = np.abs(changed)
    if int(sizes.max()) * int(sizes.sum()) <= _WORK_MAX:
        return _by_law(changed, sizes)
    return _by_halves(changed) if changed.size <= ENUMERATED_MAX else None


def _by_law(changed: IntArray, sizes: IntArray) -> Chances:
    """The sum of losses is a sum of `size` times Binomial(units of that size, 1/2)."""
    law = loss_sum(dict(Counter(sizes.tolist())))
    seen = -int(np.minimum(changed, 0).sum()) - law.offset
    loss, gain = law.p[max(0, seen) :].sum(), law.p[: max(0, seen + 1)].sum()
    return Chances(*(min(1.0, round(float(chance), _DIGITS)) for chance in (loss, gain)))


def _by_halves(changed: IntArray) -> Chances:
    """Flip each subset: the sum is as low or lower where the subset's own sum is not negative.

    Subsets of both halves are summed apart, and matched by sorting (Horowitz & Sahni 1974).
    """
    middle = changed.size // 2
    left, right = _subset_sums(changed[:middle]), np.sort(_subset_sums(changed[middle:]))
    subsets = left.size * right.size
    not_negative = subsets - int(np.searchsorted(right, -left, side="left").sum())
    not_positive = int(np.searchsorted(right, -left, side="right").sum())
    return Chances(not_negative / subsets, not_positive / subsets)


def _subset_sums(changes: IntArray) -> IntArray:
    sums = np.zeros(1, dtype=np.int64)
    for change in changes:
        sums = np.concatenate((sums, sums + change))
    return sums
