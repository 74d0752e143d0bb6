"""What the quality gate of a step may answer from the judge scores of both arms."""

import math

import pytest
from evidence_builders import evidence_of
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_answers import EVEN, WORSE, gate, judged, plan_of, weigh
from pydantic import JsonValue

from rampway.gates import quality
from rampway.gates.means import MarginProof, MeanDifference
from rampway.gates.plans import Must, QualityGate, Role
from rampway.gates.proportions import Hits, fisher_exact_p
from rampway.gates.quality import QualityTally
from rampway.gates.verdicts import GateVerdict, Verdict


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


def test_a_judge_that_differs_by_less_than_one_in_a_thousand_is_believed() -> None:
    rows = judged(30, EVEN)
    rows[3] = [3, [list(cell) for cell in EVEN], 9, 20]  # p = 0.0016 of 909 and 8,120

    assert weigh(rows, gate(margin_sd=0.3)).verdict is Verdict.PASS


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
        [None, EVEN, 0, 0],
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


def test_a_proof_at_the_hold_end_spends_four_fifths_of_beta() -> None:
    proof = MarginProof(beta=0.05, hold_seconds=100)

    proof.look(50, 9.0, 400.0)
    during = (proof.passed, proof.critical_z)
    proof.look(100, 1.77, 400.0)

    assert during == (False, None)
    assert proof.critical_z == pytest.approx(1.7507, abs=0.01)  # the normal quantile of 0.96
    assert proof.passed


def answer(
    rows: list[JsonValue], quality: QualityGate, *, must: Must = Must.PROVE
) -> tuple[GateVerdict, float | None]:
    tally = QualityTally(plan_of(quality, must), quality)
    tally.take(evidence_of(rows, stream="quality"))
    return tally.answer(tally.slices.seconds)


def test_during_the_hold_a_proof_waits_for_the_answers_that_its_margin_takes() -> None:
    short, wait = answer(judged(10, EVEN), gate(margin_sd=0.1))
    enough, rest = answer(judged(10, EVEN), gate(margin_sd=0.5))

    # 14.5 units of information, and the baseline has nine times the units.
    assert short.units_needed == math.ceil(14.5 * (1 + 1 / 9) / 0.1**2) - 300
    assert wait == pytest.approx(short.units_needed * 2)
    assert (enough.units_needed, rest) == (0, 1200)


def test_a_screen_waits_for_its_hold_and_for_no_more_answers() -> None:
    verdict, wait = answer(judged(10, EVEN), gate(), must=Must.SCREEN)

    assert (verdict.units_needed, wait) == (0, 1200)


def test_without_an_answer_of_both_arms_nobody_knows_how_long_a_proof_takes() -> None:
    for cells in ([[4, 30, 0]], [[4, 0, 270]]):
        verdict, wait = answer(judged(10, cells), gate())

        assert verdict.verdict is Verdict.INCONCLUSIVE
        assert (verdict.units_needed, wait) == (None, None)


def test_arms_that_each_have_one_score_prove_nothing_by_their_mean() -> None:
    verdict = weigh(judged(30, [[4, 5, 0], [3, 0, 45]]))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert "and these are too few to tell; 1,462 more judged candidate answers" in verdict.why


def test_arms_that_are_never_judged_in_the_same_slice_prove_nothing() -> None:
    by_turns = [
        [n, [[4, 20, 0], [3, 5, 0]] if n % 2 else [[4, 0, 90], [3, 0, 9]], 0, 0] for n in range(40)
    ]

    assert weigh(by_turns).verdict is Verdict.INCONCLUSIVE
    assert weigh(by_turns, gate(margin_sd=0.5)).units_needed == 1  # there are enough to plan with


def test_a_judge_may_fail_as_often_as_its_limit_says() -> None:
    at_limit = judged(30, [[4, 19, 171]], unjudged=(1, 9))  # 5 % of both

    assert weigh(at_limit, must=Must.SCREEN).verdict is Verdict.PASS


def test_a_judge_that_differs_just_as_much_as_chance_may_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = judged(30, EVEN, unjudged=(1, 1))
    monkeypatch.setattr(quality, "JUDGES_ALIKE_P", fisher_exact_p(Hits(30, 930), Hits(30, 8130)))

    assert weigh(rows, gate(margin_sd=0.3)).verdict is Verdict.PASS


def test_a_limit_at_the_margin_is_no_pass() -> None:
    # The one candidate answer lost the whole scale, the baseline's sd is half of it: just 2 sd.
    rows = [[0, [[1, 0, 6], [0, 1, 0]], 0, 0], *[[n, [], 0, 0] for n in range(1, 30)]]

    verdict = weigh(rows, gate(levels=2, margin_sd=2.0))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert "at least -2.000; PASS above -2.000 sd" in verdict.why
    assert verdict.units_needed == 1


def test_a_mean_at_the_margin_says_that_no_number_of_answers_decides() -> None:
    at_margin = [[1, 1, 2], [0, 3, 2]]  # -0.25 levels, and half a level is one sd
    rows = [*judged(9, at_margin), *[[n, [], 0, 0] for n in range(9, 30)]]

    verdict = weigh(rows, gate(levels=2, alpha=1e-6, margin_sd=0.5))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.units_needed is None
    assert verdict.why.endswith("too close to the margin to say how many more answers decide")


def test_a_slice_may_hold_a_million_judged_answers() -> None:
    most = weigh(judged(30, [[4, 10**5, 9 * 10**5]]), must=Must.SCREEN)
    more = weigh(judged(30, [[4, 10**5, 9 * 10**5 + 1]]), must=Must.SCREEN)

    assert (most.verdict, more.verdict) == (Verdict.PASS, Verdict.NO_DATA)


def test_a_screen_that_is_nearly_over_waits_for_a_part_of_a_second() -> None:
    quality = gate()
    plan = plan_of(quality, Must.SCREEN).model_copy(update={"hold_seconds": 60.5})
    tally = QualityTally(plan, quality)
    tally.take(evidence_of(judged(1, EVEN), stream="quality"))

    assert tally.answer(60)[1] == 0.5


def test_answers_that_are_nearly_all_alike_are_missing_as_their_bound_shrinks() -> None:
    rows = judged(30, [[4, 2, 20], [3, 0, 0]])
    rows[0] = [0, [[4, 2, 15], [3, 0, 5]], 0, 0]
    sd = math.sqrt(5 / 600 * (1 - 5 / 600))
    limit = 4 * (1 - 0.05 ** (1 / 60)) / sd

    verdict = weigh(rows)

    assert verdict.units_needed == math.ceil(60 * (limit / 0.1 - 1))


def limit_of_even() -> tuple[float, float]:
    """The mean difference of half an hour of EVEN, and how far under it the limit is, in sd."""
    mean, proof = MeanDifference(5), MarginProof(beta=0.05, hold_seconds=1800)
    for _ in range(30):
        mean.add([(score, new, old) for score, new, old in EVEN])
    proof.look(1800, 0.0, 1.0)
    assert proof.critical_z is not None
    reach = proof.critical_z * mean.standard_error() / mean.baseline_sd
    return mean.levels / mean.baseline_sd, reach


def test_answers_are_missing_as_the_error_shrinks_with_its_root() -> None:
    mean, reach = limit_of_even()

    verdict = weigh(judged(30, EVEN), gate(margin_sd=0.05))

    assert verdict.units_needed == math.ceil(900 * ((reach / (mean + 0.05)) ** 2 - 1))


def test_a_limit_that_just_misses_the_margin_is_short_of_one_answer() -> None:
    mean, reach = limit_of_even()

    verdict = weigh(judged(30, EVEN), gate(margin_sd=(reach - mean) * (1 - 1e-6)))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.units_needed == 1
