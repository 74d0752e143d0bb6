"""What the quality gate of a step may answer from the judge scores of both arms."""

import math

import numpy as np
import pytest
from evidence_builders import evidence_of, step_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.gates.means import MarginProof
from rampway.gates.plans import Must, QualityGate, Role, Spending, StepPlan
from rampway.gates.quality import QualityTally
from rampway.gates.verdicts import GateVerdict, Verdict

# A minute: 30 candidate and 270 baseline answers on a scale of five, both with 85 % at the top.
EVEN = [[4, 25, 229], [3, 3, 23], [0, 2, 18]]
WORSE = [[4, 18, 229], [3, 6, 23], [0, 6, 18]]
SCORES = np.asarray([0.04, 0.03, 0.03, 0.05, 0.85])  # of 0 to 4


def gate(
    *,
    levels: int = 5,
    alpha: float = 0.05,
    late: float = 0.25,
    spending: Spending = Spending.OPEN,
    margin_sd: float | None = 0.1,
    role: Role = Role.GUARD,
) -> QualityGate:
    return QualityGate(
        levels=levels, alpha=alpha, late=late, spending=spending, margin_sd=margin_sd, role=role
    )


def plan_of(quality: QualityGate, must: Must = Must.PROVE) -> StepPlan:
    return step_plan(must=must).model_copy(update={"quality": quality})


def judged(
    slices: int, cells: list[list[int]], *, unjudged: tuple[int, int] = (0, 0)
) -> list[JsonValue]:
    return [[n, [list(cell) for cell in cells], *unjudged] for n in range(slices)]


def weigh(
    rows: list[JsonValue],
    quality: QualityGate | None = None,
    *,
    must: Must = Must.PROVE,
    sealed: int | None = None,
) -> GateVerdict:
    quality = quality or gate()
    tally = QualityTally(plan_of(quality, must), quality)
    tally.take(evidence_of(rows, stream="quality", sealed=sealed))
    verdict, _ = tally.answer(tally.slices.seconds)
    return verdict


def scored(
    dice: np.random.Generator, slices: int, candidate: np.ndarray, units: tuple[float, float]
) -> list[JsonValue]:
    rows: list[JsonValue] = []
    for index in range(slices):
        new = dice.multinomial(dice.poisson(units[0]), candidate).tolist()
        old = dice.multinomial(dice.poisson(units[1]), SCORES).tolist()
        cells = [[score, a, b] for score, (a, b) in enumerate(zip(new, old, strict=True))]
        rows.append([index, cells, 0, 0])
    return rows


def lower_by(sds: float) -> np.ndarray:
    """The usual scores with some answers lost altogether: the mean falls by so many sd."""
    scale = np.arange(SCORES.size)
    mean = SCORES @ scale
    part = sds * math.sqrt(SCORES @ (scale - mean) ** 2) / mean
    return (1 - part) * SCORES + part * (scale == 0)


def test_without_a_slice_or_a_judged_answer_there_is_no_data() -> None:
    assert weigh([]).verdict is Verdict.NO_DATA
    assert weigh(judged(30, [])).verdict is Verdict.NO_DATA
    assert weigh(judged(30, [[4, 30, 0]]), must=Must.SCREEN).verdict is Verdict.NO_DATA
    assert weigh(judged(30, [[4, 0, 270]]), must=Must.SCREEN).verdict is Verdict.NO_DATA


def test_an_even_candidate_waits_out_the_hold() -> None:
    looks = [weigh(judged(n, EVEN), gate(margin_sd=0.3)) for n in (1, 29, 30)]

    assert [look.verdict for look in looks] == [*[Verdict.INCONCLUSIVE] * 2, Verdict.PASS]


def test_a_screen_passes_on_one_judged_answer_of_each_arm() -> None:
    assert weigh(judged(30, EVEN), must=Must.SCREEN).verdict is Verdict.PASS
    one = [[0, [[4, 1, 1]], 0, 0], *[[n, [], 0, 0] for n in range(1, 30)]]
    assert weigh(one, must=Must.SCREEN).verdict is Verdict.PASS
    assert weigh(one).verdict is Verdict.INCONCLUSIVE


def test_a_gate_that_only_watches_is_asked_for_no_proof() -> None:
    assert weigh(judged(30, EVEN), gate(role=Role.WATCH)).verdict is Verdict.PASS
    assert weigh(judged(30, EVEN), gate(role=Role.WATCH)).role is Role.WATCH
    assert weigh(judged(30, WORSE), gate(role=Role.INFORM)).verdict is Verdict.BREACH


def test_a_lower_mean_is_a_breach_that_latches_with_its_counts() -> None:
    breached = weigh(judged(30, WORSE))
    later = weigh([*judged(29, WORSE), [29, [[4, 30, 100], [0, 0, 170]], 0, 0]])

    assert breached.verdict is Verdict.BREACH
    assert breached.crossed_at_seconds is not None
    assert breached.breach_at is not None
    assert breached.candidate.bad >= breached.breach_at
    assert breached.candidate.units == 30 * breached.crossed_at_seconds / 60
    assert later == breached


def test_an_on_call_engineer_reads_what_was_lost_and_what_would_be_normal() -> None:
    even, worse = weigh(judged(20, EVEN)), weigh(judged(20, WORSE))
    proven, short = weigh(judged(30, EVEN), gate(margin_sd=0.3)), weigh(judged(30, [[4, 1, 9]]))

    assert even.why == (
        "600 candidate answers lost 220 levels, 0.37 each (baseline 0.35), BREACH at 271; "
        "10 min of the hold to go"
    )
    assert worse.why == (
        "60 candidate answers lost 60 levels, 1.00 each (baseline 0.35), BREACH at 53; "
        "25.0 expected if harmless"
    )
    assert proven.why == (
        "900 candidate answers lost 330 levels, 0.37 each (baseline 0.35): -0.015 sd, at least "
        "-0.076; PASS above -0.300 sd, BREACH at 381"
    )
    assert short.why == (
        "30 candidate answers lost 0 levels, 0.00 each (baseline 0.00): +0.000 sd, at least -0.907; "
        "PASS above -0.100 sd; 2,436 more judged candidate answers, about 40 h 36 min"
    )


def test_an_incident_in_both_arms_is_no_breach() -> None:
    outage = [[4, 3, 27], [0, 27, 243]]
    rows = judged(10, EVEN) + [[n, outage, 0, 0] for n in range(10, 30)]

    assert weigh(rows).verdict is not Verdict.BREACH


def test_a_shifting_share_in_an_incident_is_no_breach() -> None:
    few_and_good = [[4, 9, 900], [0, 1, 100]]
    many_and_bad = [[4, 250, 250], [0, 250, 250]]
    rows = [[n, few_and_good if n < 15 else many_and_bad, 0, 0] for n in range(30)]

    verdict = weigh(rows, gate(margin_sd=0.2))

    assert verdict.verdict is Verdict.PASS  # pooled totals would say 1.0 levels worse


def test_the_whole_scale_lost_at_once_is_a_breach_at_the_first_look() -> None:
    assert weigh(judged(1, [[4, 0, 90], [0, 12, 0]])).verdict is Verdict.BREACH
    assert weigh(judged(1, [[1, 0, 900], [0, 12, 0]]), gate(levels=2)).verdict is Verdict.BREACH


def test_little_data_never_passes_a_proof() -> None:
    perfect_but_few = judged(30, [[4, 1, 9]])
    few_candidates = [
        [0, [[4, 15, 500], [3, 8, 300]], 0, 0],
        *[[n, [], 0, 0] for n in range(1, 30)],
    ]

    for rows in (perfect_but_few, few_candidates):
        verdict = weigh(rows)
        assert verdict.verdict is Verdict.INCONCLUSIVE
        assert verdict.units_needed
        assert verdict.units_needed > 0


def test_perfect_answers_pass_once_there_are_enough_of_them() -> None:
    assert weigh(judged(30, [[4, 50, 450]])).verdict is Verdict.INCONCLUSIVE
    assert weigh(judged(30, [[4, 100, 900]])).verdict is Verdict.PASS


def test_a_proof_says_how_many_answers_are_missing_and_how_long_they_take() -> None:
    quality = gate(margin_sd=0.05)
    tally = QualityTally(plan_of(quality), quality)
    tally.take(evidence_of(judged(30, EVEN), stream="quality"))

    verdict, wait = tally.answer(1800)

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.units_needed == pytest.approx(1_800, rel=0.2)
    assert wait == pytest.approx(verdict.units_needed * 2)
    assert f"{verdict.units_needed:,} more judged candidate answers, about 1 h" in verdict.why


def test_a_judge_that_fails_too_often_makes_the_hold_wait() -> None:
    quality = gate(margin_sd=0.3)

    fails = weigh(judged(30, EVEN, unjudged=(2, 3)), quality)
    works = weigh(judged(30, EVEN, unjudged=(1, 9)), quality)
    blind = weigh(judged(30, [], unjudged=(5, 45)), quality)

    assert fails.verdict is Verdict.INCONCLUSIVE
    assert fails.why == (
        "the judge gave no score to 60 of 960 candidate answers (6.25 %, limit 5 %): repair the "
        "judge, the hold waits"
    )
    assert works.verdict is Verdict.PASS
    assert blind.verdict is Verdict.INCONCLUSIVE


def test_a_judge_that_spares_one_arm_makes_the_hold_wait() -> None:
    verdict = weigh(judged(30, EVEN, unjudged=(1, 1)), gate(margin_sd=0.3))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.why == (
        "the judge gave no score to 3.23 % of the candidate's answers and 0.37 % of the baseline's "
        "(p < 0.001): what it did score is no fair sample of both"
    )


def test_a_breach_stays_one_when_the_judge_fails_too() -> None:
    assert weigh(judged(30, WORSE, unjudged=(9, 9))).verdict is Verdict.BREACH


@pytest.mark.parametrize(
    "row",
    [
        [29, EVEN, 0],
        [29, [[5, 1, 1]], 0, 0],
        [29, [[4, 1]], 0, 0],
        [29, [[4, True, 1]], 0, 0],
        [29, [[4, -1, 1]], 0, 0],
        [29, [[4, 1.0, 1]], 0, 0],
        [29, [["4", 1, 1]], 0, 0],
        [29, [[4, 10**6, 1]], 0, 0],
        [29, EVEN, None, 0],
        [29, EVEN, 0, math.nan],
        [29, "EVEN", 0, 0],
        None,
    ],
    ids=str,
)
def test_a_row_that_cannot_be_counted_is_no_data(row: JsonValue) -> None:
    rows = [*judged(29, EVEN), row]

    assert weigh(rows, gate(margin_sd=0.3)).verdict is Verdict.NO_DATA


def test_too_many_lost_slices_never_pass() -> None:
    rows = [row for n, row in enumerate(judged(30, EVEN)) if n % 5 or n == 29]

    assert weigh(rows, gate(margin_sd=0.3), sealed=30).verdict is Verdict.NO_DATA


@settings(max_examples=25)
@given(st.data())
def test_looking_often_says_what_one_look_says(data: st.DataObject) -> None:
    cells = st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(0, 30)).map(list), max_size=5
    )
    rows: list[JsonValue] = [
        [n, table, *data.draw(st.tuples(st.integers(0, 1), st.integers(0, 2)))]
        for n, table in enumerate(data.draw(st.lists(cells, min_size=1, max_size=40)))
    ]
    quality = gate(margin_sd=0.5)
    tally = QualityTally(plan_of(quality), quality)

    for n in sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=6)) | {len(rows)}):
        evidence = evidence_of(rows[:n], stream="quality")
        tally.take(evidence)
        once = QualityTally(plan_of(quality), quality)
        once.take(evidence)
        assert tally.answer(n * 60) == once.answer(n * 60)


def test_a_row_that_changes_after_it_was_counted_is_counted_anew() -> None:
    quality = gate()
    tally = QualityTally(plan_of(quality), quality)
    tally.take(evidence_of(judged(30, WORSE), stream="quality"))

    tally.take(evidence_of(judged(30, EVEN), stream="quality"))

    assert tally.answer(1800)[0] == weigh(judged(30, EVEN))


@given(st.integers(1, 25))
def test_a_finer_scale_of_the_same_scores_changes_no_verdict(factor: int) -> None:
    for cells in (EVEN, WORSE):
        plain = weigh(judged(30, cells), gate(margin_sd=0.3))
        finer = weigh(
            judged(30, [[factor * score, a, b] for score, a, b in cells]),
            gate(levels=4 * factor + 1, margin_sd=0.3),
        )

        assert finer.verdict is plain.verdict
        assert finer.candidate.bad == factor * plain.candidate.bad
        assert finer.crossed_at_seconds == plain.crossed_at_seconds


@settings(max_examples=30)
@given(st.integers(0, 25), st.integers(0, 25))
def test_more_lost_levels_never_turn_a_breach_into_a_pass(lost: int, more: int) -> None:
    some = judged(30, [[4, 25 - lost, 229], [3, 3, 23], [0, 2 + lost, 18]])
    worse = max(lost, more)
    many = judged(30, [[4, 25 - worse, 229], [3, 3, 23], [0, 2 + worse, 18]])

    if weigh(some).verdict is Verdict.BREACH:
        assert weigh(many).verdict is Verdict.BREACH


@pytest.mark.parametrize("units", [(5, 45), (30, 270)], ids=["1 rps judged", "5 rps judged"])
def test_harmless_candidates_breach_no_more_often_than_the_budget(
    units: tuple[float, float],
) -> None:
    dice = np.random.default_rng(11)
    quality = gate(alpha=0.1, spending=Spending.POWER)
    holds = 250

    breaches = sum(
        weigh(scored(dice, 30, SCORES, units), quality, must=Must.SCREEN).verdict is Verdict.BREACH
        for _ in range(holds)
    )

    assert breaches / holds <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / holds)


def test_a_fifth_of_a_standard_deviation_is_found_within_eight_minutes() -> None:
    dice = np.random.default_rng(12)
    quality = gate(late=0, spending=Spending.POWER)

    found = [
        weigh(scored(dice, 30, lower_by(0.2), (30, 270)), quality).crossed_at_seconds or math.inf
        for _ in range(101)
    ]

    assert np.median(found) <= 8 * 60


def test_a_candidate_at_the_margin_passes_no_more_often_than_beta() -> None:
    dice = np.random.default_rng(13)
    quality = gate(alpha=1e-6, margin_sd=0.2)
    holds = 150

    passes = 0
    for _ in range(holds):
        rows = scored(dice, 60, lower_by(0.2), (6, 54))
        tally = QualityTally(plan_of(quality), quality)
        for n in range(30, 61, 3):
            tally.take(evidence_of(rows[:n], stream="quality"))
            if tally.answer(n * 60)[0].verdict is Verdict.PASS:
                passes += 1
                break

    assert passes / holds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / holds)


def test_a_proof_at_the_hold_end_spends_four_fifths_of_beta() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)

    proof.look(50, 9.0, 400.0)
    during = (proof.passed, proof.critical_z)
    proof.look(100, 1.77, 400.0)

    assert during == (False, None)
    assert proof.critical_z == pytest.approx(1.7507, abs=0.01)  # the normal quantile of 0.96
    assert proof.passed


def test_a_proof_looked_at_for_long_keeps_its_budget() -> None:
    dice = np.random.default_rng(14)
    holds = 150
    passes = 0
    for _ in range(holds):
        proof = MarginProof(beta=0.05, hold_seconds=30)
        path = np.cumsum(dice.normal(0, 1, 90))
        for n in range(30, 91):
            proof.look(n, path[n - 1] / math.sqrt(n), float(n))
            if proof.passed:
                passes += 1
                break

    assert passes / holds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / holds)
    assert passes / holds >= 0.02
