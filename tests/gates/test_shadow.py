"""What a shadow may answer from the joint table of judge scores."""

import math

import pytest
from evidence_builders import evidence_of, shadow_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from scipy import stats

from rampway.gates.shadow import JUDGE_MEAN, weigh_shadow
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict

EVEN = [[1, 1, 78], [0, 0, 16], [0, 1, 3], [1, 0, 3]]  # 100 pairs a minute, as many lost as gained


def judged(slices: int, cells: list[list[int]], *, lost: int = 0) -> list[JsonValue]:
    return [[n, [list(cell) for cell in cells], lost] for n in range(slices)]


def judge_mean(verdict: StageVerdict) -> GateVerdict:
    return next(gate for gate in verdict.gates if gate.gate == JUDGE_MEAN)


def weigh(rows: list[JsonValue], **changes: float) -> StageVerdict:
    sealed = int(changes.pop("sealed", len(rows)))
    plan = shadow_plan().model_copy(update=changes)
    return weigh_shadow(plan, evidence_of(rows, stream="judge", sealed=sealed))


def test_a_shadow_without_slices_or_without_pairs_is_no_data() -> None:
    assert weigh([]).verdict is Verdict.NO_DATA
    assert weigh(judged(60, [])).verdict is Verdict.NO_DATA


def test_an_even_candidate_passes_at_the_end_of_the_hold() -> None:
    looks = [weigh(judged(n, EVEN)) for n in (1, 38, 59, 60)]

    assert [look.verdict for look in looks] == [*[Verdict.INCONCLUSIVE] * 3, Verdict.PASS]
    assert looks[1].seconds_to_go == 22 * 60


def test_enough_pairs_pass_before_the_hold_ends() -> None:
    cells = [[a, b, 4 * n] for a, b, n in EVEN]

    early = weigh(judged(24, cells))
    enough = weigh(judged(25, cells))

    assert early.verdict is Verdict.INCONCLUSIVE
    assert early.exposed == 9_600
    assert enough.verdict is Verdict.PASS
    assert enough.exposed == 10_000


def test_the_judge_mean_reads_in_standard_deviations() -> None:
    verdict = weigh(judged(57, [[1, 1, 78], [0, 0, 16], [0, 1, 3], [1, 0, 2]]))

    gate = judge_mean(verdict)
    assert gate.why == (
        "+0.026 sd on 5,643 pairs, at least +0.013; PASS above -0.030 sd at 1 h or 10,000 pairs"
    )
    assert (gate.candidate.bad, gate.baseline.bad) == (114, 171)


def test_a_lower_mean_is_a_breach_that_latches() -> None:
    worse = judged(20, [[1, 1, 70], [0, 0, 16], [0, 1, 3], [1, 0, 11]])
    better: list[JsonValue] = [[20 + n, [[0, 1, 100]], 0] for n in range(60)]

    before, after = weigh(worse), weigh(worse + better)

    assert before.verdict is after.verdict is Verdict.BREACH
    assert judge_mean(before) == judge_mean(after)
    assert " levels lost, BREACH at " in judge_mean(before).why
    assert after.exposed == 8_000


def test_the_first_boundary_is_the_exact_sign_test() -> None:
    verdict = weigh([[0, [[1, 0, 9], [0, 1, 1], [1, 1, 90]], 0]], hold_seconds=60)

    gate = judge_mean(verdict)
    budget = 0.01 * 0.75 * 0.8
    tails = [float(stats.binom.sf(x - 1, 10, 0.5)) for x in range(12)]
    assert gate.breach_at == next(x for x, tail in enumerate(tails) if tail <= budget)
    assert gate.spent <= 0.01


def test_graded_scores_weigh_by_how_far_they_fall() -> None:
    far = weigh([[0, [[4, 0, 8], [4, 4, 92]], 0]], levels=5)
    near = weigh([[0, [[4, 3, 8], [4, 4, 92]], 0]], levels=5)

    assert judge_mean(far).candidate.bad == 32
    assert judge_mean(near).candidate.bad == 8
    assert judge_mean(far).expected == 16


def test_when_no_pair_differs_the_rule_of_three_decides() -> None:
    same = [[1, 1, 80], [0, 0, 20]]  # sd 0.4: 3 / n must stay under 0.012

    at_250 = weigh([[0, [[1, 1, 200], [0, 0, 50]], 0]], pairs=250)
    at_300 = weigh(judged(3, same), pairs=250)

    assert at_250.verdict is Verdict.INCONCLUSIVE
    assert judge_mean(at_250).units_needed == 1
    assert at_300.verdict is Verdict.PASS


def test_a_baseline_that_always_scores_the_same_needs_many_pairs() -> None:
    few = weigh([[0, [[1, 1, 3_000]], 0]], pairs=250)
    many = weigh([[0, [[1, 1, 4_000]], 0]], pairs=250)

    assert few.verdict is Verdict.INCONCLUSIVE
    assert many.verdict is Verdict.PASS


def test_a_few_gains_do_not_prove_a_candidate() -> None:
    verdict = weigh([[0, [[0, 1, 3], [1, 1, 7]], 0]], hold_seconds=60)

    assert verdict.verdict is Verdict.INCONCLUSIVE


def test_lost_copies_hold_a_shadow_up() -> None:
    cells = [[a, b, 4 * n] for a, b, n in EVEN]

    kept = weigh(judged(60, cells, lost=40))
    lost = weigh(judged(60, cells, lost=50))

    assert kept.verdict is Verdict.PASS
    assert lost.verdict is Verdict.INCONCLUSIVE
    assert lost.why == (
        "lost copies: 3,000 of 27,000 copies came back without a pair of scores; PASS up to 10 %"
    )


def test_a_shadow_passes_only_with_coverage() -> None:
    rows = judged(60, [[a, b, 9 * n] for a, b, n in EVEN])

    verdict = weigh(rows[:40] + rows[50:], sealed=60)

    assert verdict.verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    "bad_row",
    [
        [59, EVEN],
        [59, EVEN, -1],
        [59, EVEN, "0"],
        [59, [[1, 1]], 0],
        [59, [[2, 1, 5]], 0],
        [59, [[1, -1, 5]], 0],
        [59, [[1, 1, math.nan]], 0],
        [59, [[1, 1, 10**7]], 0],
        [59, [[1, True, 5]], 0],
        [59, "table", 0],
        [58, EVEN, 0],
        None,
    ],
    ids=str,
)
def test_a_bad_row_of_scores_leaves_its_look_without_data(bad_row: JsonValue) -> None:
    rows = judged(59, [[a, b, 9 * n] for a, b, n in EVEN])

    assert weigh([*rows, bad_row], sealed=60).verdict is Verdict.NO_DATA
    assert weigh([bad_row] * 60).verdict is Verdict.NO_DATA


CELLS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 30)).map(list), max_size=5
)


@settings(deadline=None, max_examples=100)
@given(first=st.lists(CELLS, min_size=1, max_size=6), extra=st.lists(CELLS, max_size=6))
def test_extending_a_shadow_never_takes_a_breach_back(
    first: list[list[list[int]]], extra: list[list[list[int]]]
) -> None:
    rows: list[JsonValue] = [[n, cells, 0] for n, cells in enumerate([*first, *extra])]

    before = weigh(rows[: len(first)], levels=5, hold_seconds=240)
    after = weigh(rows, levels=5, hold_seconds=240)

    assert type(after).model_validate_json(after.model_dump_json()) == after
    if before.verdict is Verdict.BREACH:
        assert after.verdict is Verdict.BREACH
        assert judge_mean(after) == judge_mean(before)
