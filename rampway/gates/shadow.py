"""Weighs a shadow: on copies of the same requests, is the candidate's mean judge score lower?"""

import math
from collections import Counter
from dataclasses import dataclass

from rampway.gates.bounds import clopper_pearson_upper, normal_quantile
from rampway.gates.engine import HarmWatch, loss_sum
from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted, duration, whole_percent, words_for_boundary
from rampway.gates.plans import ShadowPlan
from rampway.gates.slices import JudgeRow, Slices, judge_reader
from rampway.gates.stages import add_up, at_hold_end
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict, Verdict, significant

STREAM = "judge"
JUDGE_MEAN = "judge mean"
LOST_COPIES = "lost copies"
NORMAL_LEAST_CHANGED = 10  # with fewer changed pairs the limit of the mean is not normal


class ShadowWeigher:
    """The joint table of judge scores, slice by slice.

    BREACH: a slice's loss sum, given how many pairs differ by how much, is at most a sum of fair
    coin flips; the same look-by-look budget as for rates is spent on it, and it latches. PASS: the
    hold or the pairs are reached, and the lower limit of the mean difference is above the margin.
    The candidate's count is the loss sum, the baseline's the gain sum, both of all pairs.

    A second gate asks that the plan's coverage of copies came back judged: pairs that a candidate
    loses by failing would otherwise be the ones that are not counted against it.
    """

    def __init__(self, plan: ShadowPlan) -> None:
        self._plan = plan
        self._reader = judge_reader(plan, STREAM, levels=plan.levels)
        self._tally = _Tally(plan)

    def look(self, evidence: Evidence) -> StageVerdict:
        """The verdict on this evidence: the same as from a first look at all of it."""
        plan = self._plan
        slices, new, anew = self._reader.read(evidence)
        if anew:
            self._tally = _Tally(plan)
        for row in new:
            self._tally.add(row, slices.end_seconds(row))
        tally = self._tally
        mean = _judge_mean(plan, slices, tally)
        return add_up(
            plan,
            (mean, _lost_copies(plan, slices, tally.all)),
            [slices],
            exposed=tally.all.pairs,
            waits_seconds=[_wait_seconds(plan, slices, tally.all), 0.0],
        )


def weigh_shadow(plan: ShadowPlan, evidence: Evidence) -> StageVerdict:
    """Weigh a shadow in one look."""
    return ShadowWeigher(plan).look(evidence)


@dataclass(slots=True)
class _Table:
    """The joint table of old and new scores in its sums; scores and differences are in levels."""

    levels: int
    pairs: int = 0
    lost: int = 0
    losses: int = 0
    gains: int = 0
    losing_pairs: int = 0
    changed_pairs: int = 0
    sum_squared_difference: int = 0
    sum_old: int = 0
    sum_squared_old: int = 0

    def add(self, row: JudgeRow) -> None:
        self.lost += row.lost
        for old, new, pairs in row.cells:
            self.pairs += pairs
            self.losses += max(0, old - new) * pairs
            self.gains += max(0, new - old) * pairs
            self.losing_pairs += pairs if new < old else 0
            self.changed_pairs += pairs if new != old else 0
            self.sum_squared_difference += (new - old) ** 2 * pairs
            self.sum_old += old * pairs
            self.sum_squared_old += old**2 * pairs

    @property
    def mean_sd(self) -> float:
        """The mean difference, candidate less baseline, in sd of the baseline's score."""
        return self._mean / self._sd_old

    def lower_limit_sd(self, beta: float) -> float:
        """Lower one-sided limit of the mean difference at level `beta`, in sd of the baseline's score.

        Normal from ten changed pairs on. With fewer, gains are not counted and the losing pairs, at
        their Clopper-Pearson bound (3 / n when no pair changed), lose the whole scale.
        """
        if self.changed_pairs >= NORMAL_LEAST_CHANGED:
            spread = self.sum_squared_difference - self.pairs * self._mean**2
            error = math.sqrt(max(0.0, spread) / (self.pairs - 1) / self.pairs)
            return (self._mean - normal_quantile(1 - beta) * error) / self._sd_old
        losing = 3 / self.pairs
        if self.changed_pairs:
            losing = clopper_pearson_upper(self.losing_pairs, self.pairs, beta)
        return -(self.levels - 1) * min(1.0, losing) / self._sd_old

    @property
    def _mean(self) -> float:
        return (self.gains - self.losses) / self.pairs

    @property
    def _sd_old(self) -> float:
        """The standard deviation of the baseline's score.

        When the baseline gave every pair the same score there is none to measure. Then it is what
        the rule of three still allows, sqrt(u (1 - u)) of the whole scale with u = 3 / pairs: small,
        so that any loss weighs much, and only many pairs without one can pass.
        """
        spread = self.sum_squared_old * self.pairs - self.sum_old**2
        if spread > 0:
            return math.sqrt(spread) / self.pairs
        unseen = min(0.5, 3 / self.pairs)
        return (self.levels - 1) * math.sqrt(unseen * (1 - unseen))


class _Tally:
    """The watch so far; `seen` is the table that it looked at last, `all` every pair."""

    def __init__(self, plan: ShadowPlan) -> None:
        self.harm = HarmWatch(
            alpha=plan.alpha,
            late=plan.late,
            spending=plan.spending,
            hold_seconds=plan.hold_seconds,
        )
        self.seen = _Table(plan.levels)
        self.all = _Table(plan.levels)
        self.expected = 0.0

    def add(self, row: JudgeRow, end_seconds: float) -> None:
        self.all.add(row)
        if self.harm.crossed_at_seconds is not None:
            return
        losses_before = self.seen.losses
        self.seen.add(row)
        law = loss_sum(_pairs_by_difference(row))
        self.expected += law.mean
        self.harm.look(end_seconds, law, self.seen.losses - losses_before)


def _pairs_by_difference(row: JudgeRow) -> dict[int, int]:
    differences: Counter[int] = Counter()
    for old, new, pairs in row.cells:
        if old != new and pairs:
            differences[abs(new - old)] += pairs
    return differences


def _judge_mean(plan: ShadowPlan, slices: Slices[JudgeRow], tally: _Tally) -> GateVerdict:
    verdict, why = _answer(plan, slices, tally)
    crossed = tally.harm.crossed_at_seconds
    return GateVerdict(
        gate=JUDGE_MEAN,
        verdict=verdict,
        candidate=Count(bad=tally.seen.losses, units=tally.seen.pairs),
        baseline=Count(bad=tally.seen.gains, units=tally.seen.pairs),
        breach_at=tally.harm.breach_at,
        expected=significant(tally.expected),
        alpha=significant(plan.alpha),
        spent=significant(tally.harm.spent),
        crossed_at_seconds=None if crossed is None else significant(crossed),
        units_needed=_pairs_needed(plan, tally.all) if verdict is Verdict.INCONCLUSIVE else None,
        why=why,
    )


def _answer(plan: ShadowPlan, slices: Slices[JudgeRow], tally: _Tally) -> tuple[Verdict, str]:
    if tally.harm.crossed_at_seconds is not None:
        levels = counted(tally.seen.losses, "level")
        return Verdict.BREACH, (
            f"{_mean_on_pairs(tally.seen)}: {levels} lost{words_for_boundary(tally.harm)}; "
            f"{tally.expected:.1f} expected if harmless"
        )
    missing = _missing(plan, slices, tally.all)
    if missing is not None:
        return Verdict.NO_DATA, missing
    limit_sd = tally.all.lower_limit_sd(plan.beta)
    seen = f"{_mean_on_pairs(tally.all)}, at least {limit_sd:+.3f}"
    rule = f"PASS above {-plan.margin_sd:+.3f} sd"
    if not _due(plan, slices, tally.all):
        due = f"at {duration(plan.hold_seconds)} or {counted(plan.pairs, 'pair')}"
        return Verdict.INCONCLUSIVE, f"{seen}; {rule} {due}"
    if limit_sd > -plan.margin_sd:
        return Verdict.PASS, f"{seen}; {rule}"
    return Verdict.INCONCLUSIVE, f"{seen}; {rule}; {_words_for_need(plan, slices, tally.all)}"


def _missing(plan: ShadowPlan, slices: Slices[JudgeRow], table: _Table) -> str | None:
    if slices.missed_look is not None:
        return slices.missed_look
    if not table.pairs:
        return "no pair was judged yet"
    return slices.gap(plan.coverage) if _due(plan, slices, table) else None


def _words_for_need(plan: ShadowPlan, slices: Slices[JudgeRow], table: _Table) -> str:
    needed, seconds = _pairs_needed(plan, table), _wait_seconds(plan, slices, table)
    if needed is None or seconds is None:
        return "more pairs will hardly pass it"
    return f"{counted(needed, 'more pair')}, about {duration(seconds)}"


def _due(plan: ShadowPlan, slices: Slices[JudgeRow], table: _Table) -> bool:
    return table.pairs >= plan.pairs or at_hold_end(plan, slices.seconds)


def _pairs_needed(plan: ShadowPlan, table: _Table) -> int | None:
    """Pairs missing until the limit clears the margin if nothing changes; None when it never will."""
    if not table.pairs:
        return None
    limit_sd = table.lower_limit_sd(plan.beta)
    if limit_sd > -plan.margin_sd:
        return 0
    if table.changed_pairs >= NORMAL_LEAST_CHANGED:
        room_sd = table.mean_sd + plan.margin_sd
        if room_sd <= 0:
            return None
        growth = ((table.mean_sd - limit_sd) / room_sd) ** 2
    else:
        growth = -limit_sd / plan.margin_sd
    return max(1, math.ceil(table.pairs * (growth - 1)))


def _wait_seconds(plan: ShadowPlan, slices: Slices[JudgeRow], table: _Table) -> float | None:
    """Time until the hold or the pairs are reached and the limit clears the margin."""
    needed = _pairs_needed(plan, table)
    if needed is None:
        return None
    seconds_per_pair = slices.counted_seconds / table.pairs
    due_seconds = min(
        plan.hold_seconds - slices.seconds, (plan.pairs - table.pairs) * seconds_per_pair
    )
    return max(0.0, due_seconds, needed * seconds_per_pair)


def _mean_on_pairs(table: _Table) -> str:
    return f"{table.mean_sd:+.3f} sd on {counted(table.pairs, 'pair')}"


def _lost_copies(plan: ShadowPlan, slices: Slices[JudgeRow], table: _Table) -> GateVerdict:
    copies = table.pairs + table.lost
    if slices.missed_look is not None or not copies:
        verdict, why = Verdict.NO_DATA, slices.missed_look or "no request was copied yet"
    else:
        kept_enough = table.pairs >= plan.coverage * copies - 1e-9
        verdict = Verdict.PASS if kept_enough else Verdict.INCONCLUSIVE
        why = (
            f"{table.lost:,} of {counted(copies, 'copy', 'copies')} came back without a pair of "
            f"scores; PASS up to {whole_percent(1 - plan.coverage)}"
        )
    return GateVerdict(
        gate=LOST_COPIES, verdict=verdict, candidate=Count(bad=table.lost, units=copies), why=why
    )
