"""The loss between two columns of scores on the same cases, with its interval and probability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from rampway.gates.bounds import mcnemar_p, tango_interval
from rampway.gates.engine import FloatArray
from rampway.gates.proportions import Hits, two_proportion_z, two_sided
from rampway.gates.sign_flips import Chances, IntArray, sign_flip_chances

INTERVAL_LEVEL = 0.05  # 95 %, both sides together
# Scores are counted in these steps, so that sums do not depend on the order of the cases and ties
# are ties: halves to sixteenths and six decimals are whole numbers of them.
SCORE_STEPS = 720_720_000_000
_NORMAL_LEAST_CHANGED = 10  # with fewer changed units the limit of a mean is not normal
_RULE_OF_THREE = 3.0
_NO_SPREAD = 1e-12
_CASES_MAX = 10**9

Scores = Sequence[float] | FloatArray
Codes = Sequence[int] | npt.NDArray[np.int64]


class PairedTest(StrEnum):
    """What the probabilities of a paired comparison come from."""

    MCNEMAR = "exact McNemar"
    SIGN_FLIPS = "exact sign flips"
    T = "t-test"


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """The mean difference, candidate less baseline, and how sure it is.

    `units` are the independent ones: clusters, else cases. `p_loss` is the probability of a loss at
    least this large if there were none, `p_gain` of a gain. `error` is the standard error of the
    difference. `reach` and `reach_rare` are how far the interval goes to either side by the spread
    and by the rule of three (0: not asked). `undecidable` says why nothing can be told.
    """

    test: PairedTest
    cases: int
    units: int
    old_mean: float
    new_mean: float
    difference: float
    error: float
    low: float
    high: float
    p_loss: float
    p_gain: float
    improved: int
    regressed: int
    reach: float = 0.0
    reach_rare: float = 0.0
    undecidable: str | None = None

    @property
    def changed(self) -> int:
        """Cases whose scores differ."""
        return self.improved + self.regressed

    @property
    def sigmas(self) -> float:
        """The loss in standard errors: positive when the candidate is worse."""
        return -self.difference / self.error if self.error else 0.0


def paired_loss(old: Scores, new: Scores, clusters: Codes | None) -> PairedLoss:
    """Compare two non-empty columns of scores from 0 to 1, in the same order of cases.

    Right or wrong without clusters: exact McNemar, Tango's score interval. The exact test and not its
    mid-p form, which is nearer to its level on average but sometimes above it (Fagerland, Lydersen &
    Laake 2013): a gate promises to block a harmless candidate at most so often.

    Otherwise each unit (cluster, else case) is as likely to have lost as to have gained what it did:
    exact sign flips where they can be counted, else a t-test. The interval is that of the t-test with
    the variance between units (Liang & Zeger 1986; a case is its own cluster when there are none,
    which is the paired t-test), on one degree of freedom less than units. Under ten changed units it
    reaches as far as the rule of three at least: one tiny change must not prove more than none.
    """
    before, after = _in_steps(old), _in_steps(new)
    differences = after - before
    units = _Units.of(differences, clusters)
    if clusters is None and _right_or_wrong(before) and _right_or_wrong(after):
        answer = _by_case(differences)
    else:
        answer = _by_unit(units, "case" if clusters is None else "cluster of cases")
    return PairedLoss(
        test=answer.test,
        cases=units.cases,
        units=units.sums.size,
        old_mean=int(before.sum()) / SCORE_STEPS / units.cases,
        new_mean=int(after.sum()) / SCORE_STEPS / units.cases,
        difference=units.mean,
        error=units.error or units.error_if_flipped,
        low=max(-1.0, answer.low),
        high=min(1.0, answer.high),
        p_loss=answer.p_loss,
        p_gain=answer.p_gain,
        improved=int(np.count_nonzero(differences > 0)),
        regressed=int(np.count_nonzero(differences < 0)),
        reach=answer.reach,
        reach_rare=answer.reach_rare,
        undecidable=answer.undecidable,
    )


def cases_to_clear(loss: PairedLoss, margin: float) -> int | None:
    """Cases missing for the lower end to clear the margin at these rates of change.

    None when more cases never will, since the loss itself is beyond the margin.
    """
    room = loss.difference + margin
    if room <= 0:
        return None
    if loss.test is PairedTest.MCNEMAR:
        return _cases_for_tango(
            loss.improved / loss.cases, loss.regressed / loss.cases, loss, margin
        )
    growth = max((loss.reach / room) ** 2, loss.reach_rare / room)
    return max(0, math.floor(loss.cases * (growth - 1)) + 1)  # at the margin is not above it


def unpaired_p(old: Scores, new: Scores) -> float:
    """Two-sided p of the plain z-test that takes the arms for two samples of other cases.

    Right or wrong: pooled two-proportion z. Graded: z of two means. Not for deciding: what both arms
    find hard or easy is in its variance, so it misses losses that pairs show.
    """
    before, after = _in_steps(old), _in_steps(new)
    cases = before.size
    if _right_or_wrong(before) and _right_or_wrong(after):
        first, second = (Hits(int(np.count_nonzero(arm)), cases) for arm in (before, after))
        return two_proportion_z(first, second).p
    difference = int((after - before).sum()) / SCORE_STEPS / cases
    error = math.sqrt((_variance(before) + _variance(after)) / cases)
    if not error:
        return 0.0 if difference else 1.0
    return two_sided(difference / error)


@dataclass(frozen=True, slots=True)
class _Units:
    """What changed per independent unit: the sum of its differences in steps, and its cases."""

    sums: IntArray
    sizes: IntArray
    cases: int

    @classmethod
    def of(cls, differences: IntArray, clusters: Codes | None) -> "_Units":
        cases = int(differences.size)
        if clusters is None:
            return cls(differences, np.ones(cases, dtype=np.int64), cases)
        named, codes = np.unique(np.asarray(clusters, dtype=np.int64), return_inverse=True)
        sums = np.zeros(named.size, dtype=np.int64)
        np.add.at(sums, codes, differences)
        return cls(sums, np.bincount(codes, minlength=named.size), cases)

    @property
    def changed(self) -> int:
        return int(np.count_nonzero(self.sums))

    @property
    def mean(self) -> float:
        """The mean difference over cases."""
        return int(self.sums.sum()) / SCORE_STEPS / self.cases

    @property
    def error(self) -> float:
        """The cluster-robust standard error of the mean; 0 where the units do not vary."""
        count = self.sums.size
        if count == 1:
            return 0.0
        residues = self.sums / SCORE_STEPS - self.sizes * self.mean
        # fsum, here and below: the same to the last bit in any order of cases and on any machine.
        spread = math.fsum((residues * residues).tolist())
        error = math.sqrt(count / (count - 1) * spread) / self.cases
        return error if error >= _NO_SPREAD else 0.0

    @property
    def error_if_flipped(self) -> float:
        """The same if losses and gains were equally likely; of n units that lost alike, mean / sqrt(n)."""
        changes = self.sums / SCORE_STEPS
        return math.sqrt(math.fsum((changes * changes).tolist())) / self.cases


@dataclass(frozen=True, slots=True)
class _Answer:
    test: PairedTest
    p_loss: float
    p_gain: float
    low: float = -1.0
    high: float = 1.0
    reach: float = 0.0
    reach_rare: float = 0.0
    undecidable: str | None = None


def _by_case(differences: IntArray) -> _Answer:
    improved, regressed = (
        int(np.count_nonzero(differences > 0)),
        int(np.count_nonzero(differences < 0)),
    )
    low, high = tango_interval(improved, regressed, differences.size, INTERVAL_LEVEL)
    return _Answer(
        PairedTest.MCNEMAR,
        low=low,
        high=high,
        p_loss=mcnemar_p(regressed, improved),
        p_gain=mcnemar_p(improved, regressed),
    )


def _by_unit(units: _Units, what: str) -> _Answer:
    count = units.sums.size
    mean, error = units.mean, units.error
    chances = sign_flip_chances(units.sums)
    test = PairedTest.SIGN_FLIPS if chances else PairedTest.T
    chances = chances or _by_t(count, mean, error)
    if count == 1:
        alone = f"one {what} alone cannot show how much they vary"
        return _Answer(test, p_loss=chances.loss, p_gain=chances.gain, undecidable=alone)
    reach = _t_quantile(count - 1, 1 - INTERVAL_LEVEL / 2) * error
    reach_rare = 0.0
    if not error or units.changed < _NORMAL_LEAST_CHANGED:
        reach_rare = min(1.0, _RULE_OF_THREE / count)
    return _Answer(
        test,
        low=mean - max(reach, reach_rare),
        high=mean + max(reach, reach_rare),
        p_loss=chances.loss,
        p_gain=chances.gain,
        reach=reach,
        reach_rare=reach_rare,
    )


def _by_t(count: int, mean: float, error: float) -> Chances:
    # scipy loads here because only offline gates of graded or clustered cases need it.
    from scipy.special import stdtr  # noqa: PLC0415

    t = mean / error if error else math.copysign(math.inf, mean)
    return Chances(float(stdtr(count - 1, t)), float(stdtr(count - 1, -t)))


def _t_quantile(freedom: int, p: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - as above

    return float(stdtrit(freedom, p))


def _cases_for_tango(
    improved: float, regressed: float, loss: PairedLoss, margin: float
) -> int | None:
    def clears(count: int) -> bool:
        low, _ = tango_interval(improved * count, regressed * count, count, INTERVAL_LEVEL)
        return low > -margin

    if clears(loss.cases):
        return 0
    short, enough = loss.cases, 2 * loss.cases
    while not clears(enough):
        if enough > _CASES_MAX:
            return None
        short, enough = enough, 2 * enough
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if clears(middle) else (middle, enough)
    return enough - loss.cases


def _in_steps(scores: Scores) -> IntArray:
    steps: IntArray = np.rint(np.asarray(scores, dtype=np.float64) * SCORE_STEPS).astype(np.int64)
    return steps


def _right_or_wrong(steps: IntArray) -> bool:
    return bool(np.all((steps == 0) | (steps == SCORE_STEPS)))


def _variance(steps: IntArray) -> float:
    if steps.size == 1:
        return 0.0
    residues = (steps - int(steps.sum()) / steps.size) / SCORE_STEPS
    return math.fsum((residues * residues).tolist()) / (steps.size - 1)
