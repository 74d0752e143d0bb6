"""The limit of a shadow's mean by numpy and scipy, what is short of it, and how long that takes."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from evidence_builders import evidence_of, shadow_plan
from scipy import stats

from rampway.gates.shadow import JUDGE_MEAN, LOST_COPIES, weigh_shadow
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict

if TYPE_CHECKING:
    from pydantic import JsonValue

Cells = list[list[int]]
MIXED: Cells = [[4, 4, 50], [4, 3, 6], [3, 4, 7], [2, 2, 20], [0, 3, 2], [3, 1, 1], [1, 1, 14]]


def weigh(
    *slices: Cells, lost: int = 0, sealed: int | None = None, **changes: float
) -> StageVerdict:
    """One slice a minute, its cells `[old, new, pairs]`; five levels unless told."""
    rows: list[JsonValue] = [[n, [list(c) for c in cells], lost] for n, cells in enumerate(slices)]
    plan = shadow_plan(levels=5).model_copy(update=changes)
    return weigh_shadow(plan, evidence_of(rows, stream="judge", sealed=sealed))


def gate(verdict: StageVerdict, name: str = JUDGE_MEAN) -> GateVerdict:
    return next(each for each in verdict.gates if each.gate == name)


def scores(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    table = np.asarray(cells)
    return np.repeat(table[:, 0], table[:, 2]), np.repeat(table[:, 1], table[:, 2])


def words(cells: Cells, limit_sd: float, sd: float) -> str:
    old, new = scores(cells)
    return f"{(new - old).mean() / sd:+.3f} sd on {old.size} pairs, at least {limit_sd:+.3f}; "


def test_with_ten_changed_pairs_the_limit_is_the_normal_one() -> None:
    old, new = scores(MIXED)
    error = stats.sem(new - old)
    limit = ((new - old).mean() - stats.norm.isf(0.05) * error) / old.std()

    verdict = weigh(MIXED)

    assert gate(verdict).why.startswith(words(MIXED, limit, old.std()))


def test_the_counts_are_levels_lost_and_gained_on_all_pairs() -> None:
    found = gate(weigh(MIXED, MIXED))

    assert (found.candidate.bad, found.candidate.units) == (2 * (6 + 2), 200)
    assert (found.baseline.bad, found.baseline.units) == (2 * (7 + 6), 200)
    assert found.expected == (6 + 2 + 7 + 6)


@pytest.mark.parametrize("losing", [0, 1, 5, 9])
def test_with_fewer_the_losing_pairs_lose_the_whole_scale(losing: int) -> None:
    cells = [[4, 4, 60], [2, 2, 31], [2, 1, losing], [2, 3, 9 - losing]]
    old, _ = scores(cells)
    bound = stats.beta.ppf(0.95, losing + 1, 100 - losing)

    verdict = weigh(cells)

    assert gate(verdict).why.startswith(words(cells, -4 * bound / old.std(), old.std()))


def test_when_no_pair_changed_three_may_still_have() -> None:
    cells = [[4, 4, 60], [2, 2, 40]]
    old, _ = scores(cells)

    assert gate(weigh(cells)).why.startswith(words(cells, -4 * 0.03 / old.std(), old.std()))


@pytest.mark.parametrize(
    ("pairs", "unseen"), [(2, 0.5), (4, 0.5), (6, 0.5), (7, 3 / 7), (100, 0.03)]
)
def test_a_flat_baseline_has_the_sd_that_the_rule_of_three_allows(
    pairs: int, unseen: float
) -> None:
    cells = [[3, 3, pairs]]
    sd = 4 * math.sqrt(unseen * (1 - unseen))

    verdict = weigh(cells)

    assert gate(verdict).why.startswith(words(cells, -4 * min(1.0, 3 / pairs) / sd, sd))


def test_a_limit_at_the_margin_is_no_pass() -> None:
    # Four pairs of a flat baseline: three may lose the whole scale, which is 2 sd: just 1.5.
    at_margin = weigh([[3, 3, 4]], pairs=4, margin_sd=1.5)
    inside = weigh([[3, 3, 4]], pairs=4, margin_sd=1.501)

    assert at_margin.verdict is Verdict.INCONCLUSIVE
    assert gate(at_margin).units_needed == 1
    assert inside.verdict is Verdict.PASS
    assert gate(inside).units_needed is None


def test_a_mean_at_the_margin_says_that_more_pairs_will_hardly_pass_it() -> None:
    half: Cells = [[1, 1, 16], [0, 0, 32], [1, 0, 16]]  # -0.25 levels, and half a level is one sd

    at_margin = weigh(half, levels=2, pairs=64, margin_sd=0.5, alpha=1e-9)
    beyond = weigh(half, levels=2, pairs=64, margin_sd=0.499, alpha=1e-9)

    for verdict in (at_margin, beyond):
        assert verdict.verdict is Verdict.INCONCLUSIVE
        assert gate(verdict).units_needed is None
        assert verdict.seconds_to_go is None
        assert verdict.why.endswith("; more pairs will hardly pass it")


def test_what_is_missing_shrinks_a_normal_error_with_its_root() -> None:
    old, new = scores(MIXED)
    mean = (new - old).mean() / old.std()
    reach = stats.norm.isf(0.05) * stats.sem(new - old) / old.std()
    needed = math.ceil(100 * ((reach / (mean + 0.03)) ** 2 - 1))

    verdict = weigh(MIXED, pairs=100, margin_sd=0.03)

    assert reach > mean + 0.03
    assert gate(verdict).units_needed == needed
    assert verdict.seconds_to_go == pytest.approx(needed * 0.6)
    assert gate(verdict).why.endswith(f"; {needed} more pairs, about {math.ceil(needed * 0.6)} s")


def test_what_is_missing_without_changes_shrinks_the_bound_with_the_pairs() -> None:
    cells = [[4, 4, 60], [2, 2, 40]]
    old, _ = scores(cells)
    needed = math.ceil(100 * (4 * 0.03 / old.std() / 0.05 - 1))

    verdict = weigh(cells, pairs=100, margin_sd=0.05)

    assert gate(verdict).units_needed == needed


def test_a_limit_that_is_clear_of_the_margin_waits_for_the_hold_or_the_pairs() -> None:
    clear = [[a, b, 10 * n] for a, b, n in MIXED]  # 1,000 pairs a minute

    by_hold = weigh(clear, pairs=10**6, margin_sd=0.5)
    by_pairs = weigh(clear, pairs=1_500, margin_sd=0.5)
    over = weigh(clear, pairs=1_000, margin_sd=0.5)

    assert (gate(by_hold).units_needed, by_hold.seconds_to_go) == (0, 3540)
    assert (gate(by_pairs).units_needed, by_pairs.seconds_to_go) == (0, 30)
    assert over.verdict is Verdict.PASS


def test_pairs_are_waited_for_at_the_rate_of_slices_that_were_counted() -> None:
    rows: list[JsonValue] = [[n, [[4, 4, 500], [3, 4, 20], [2, 2, 480]], 0] for n in (0, 2)]
    plan = shadow_plan(pairs=3_000, coverage=0.5).model_copy(update={"margin_sd": 0.5})

    verdict = weigh_shadow(
        plan.model_copy(update={"levels": 5}), evidence_of(rows, stream="judge", sealed=3)
    )

    assert verdict.seconds_to_go == 60


def test_a_hold_that_is_over_waits_only_for_the_pairs_that_are_missing() -> None:
    verdict = weigh(MIXED, MIXED, hold_seconds=60, pairs=10**6, margin_sd=0.01)

    needed = gate(verdict).units_needed
    assert needed is not None
    assert verdict.seconds_to_go == pytest.approx(needed * 0.6)


def test_coverage_of_slices_is_asked_only_when_a_verdict_is_due() -> None:
    rows: list[JsonValue] = [[n, [list(c) for c in MIXED], 0] for n in (0, 9)]
    evidence = evidence_of(rows, stream="judge", sealed=10)
    during = weigh_shadow(shadow_plan(levels=5), evidence)
    due = weigh_shadow(shadow_plan(levels=5, hold_seconds=600), evidence)

    assert gate(during).verdict is Verdict.INCONCLUSIVE
    assert gate(due).verdict is Verdict.NO_DATA
    assert gate(due).why == "2 of 10 slices of judge could be counted, PASS needs 90 %"


def test_a_shadow_that_has_no_pair_says_why() -> None:
    assert gate(weigh([])).why == "no pair was judged yet"
    assert gate(weigh([]), LOST_COPIES).why == "no request was copied yet"
    assert weigh([]).seconds_to_go is None
    lost = "the last slice of judge was lost or cannot be counted"
    assert gate(weigh(MIXED, sealed=2)).why == lost
    assert gate(weigh(MIXED, sealed=2), LOST_COPIES).why == lost
    assert gate(weigh(MIXED, sealed=2), LOST_COPIES).verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("pairs", "lost", "verdict"),
    [(90, 10, Verdict.PASS), (89, 11, Verdict.INCONCLUSIVE), (0, 5, Verdict.INCONCLUSIVE)],
)
def test_copies_may_be_lost_up_to_what_coverage_leaves(
    pairs: int, lost: int, verdict: Verdict
) -> None:
    found = gate(weigh([[4, 4, pairs]] if pairs else [], lost=lost), LOST_COPIES)

    assert found.verdict is verdict
    assert (found.candidate.bad, found.candidate.units) == (lost, pairs + lost)


def test_a_part_of_a_copy_is_no_copy_less() -> None:
    # 0.55 of 100 copies are 55 and a bit in floats.
    at_least = weigh([[4, 4, 55]], lost=45, coverage=0.55)
    short = weigh([[4, 4, 54]], lost=46, coverage=0.55)

    assert gate(at_least, LOST_COPIES).verdict is Verdict.PASS
    assert gate(short, LOST_COPIES).verdict is Verdict.INCONCLUSIVE


def test_a_breach_tells_the_levels_lost_and_those_expected() -> None:
    verdict = weigh([[4, 0, 20], [4, 4, 80]])

    found = gate(verdict)
    assert verdict.verdict is Verdict.BREACH
    assert found.crossed_at_seconds == 60
    assert ": 80 levels lost, BREACH at " in found.why
    assert found.why.endswith("; 40.0 expected if harmless")
    assert found.units_needed is None


def test_the_tenth_changed_pair_makes_the_limit_the_normal_one() -> None:
    ten: Cells = [[4, 4, 60], [2, 2, 30], [2, 1, 4], [2, 3, 6]]
    old, new = scores(ten)
    reach = stats.norm.isf(0.05) * stats.sem(new - old) / old.std()
    mean = (new - old).mean() / old.std()

    verdict = weigh(ten, pairs=100, margin_sd=0.01)

    assert gate(verdict).why.startswith(words(ten, mean - reach, old.std()))
    assert gate(verdict).units_needed == math.ceil(100 * ((reach / (mean + 0.01)) ** 2 - 1))


def test_pairs_that_all_change_alike_leave_no_doubt_of_their_mean() -> None:
    verdict = weigh([[2, 3, 5], [1, 2, 5]])

    assert gate(verdict).why.startswith("+2.000 sd on 10 pairs, at least +2.000; ")


def test_two_scores_of_the_baseline_are_enough_for_an_sd() -> None:
    verdict = weigh([[0, 0, 1], [1, 1, 1]])

    assert gate(verdict).why.startswith("+0.000 sd on 2 pairs, at least -8.000; ")


def test_a_wait_of_a_part_of_a_second_is_told() -> None:
    clear = [[a, b, 10 * n] for a, b, n in MIXED]  # 1,000 pairs a minute

    assert weigh(clear, pairs=1_001, margin_sd=0.5).seconds_to_go == pytest.approx(0.06)


def test_copies_that_were_lost_are_not_waited_for() -> None:
    verdict = weigh([[a, b, 10 * n] for a, b, n in MIXED], lost=500, pairs=1_000, margin_sd=0.5)

    assert gate(verdict).verdict is Verdict.PASS
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.seconds_to_go == 0
