"""What an A/B may answer: harm ends it early, nothing else does."""

import math

import numpy as np
import pytest
from evidence_builders import error_gate, evidence_of, evidence_of_streams, steady
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.gates.ab import AbWeigher
from rampway.gates.plans import AbPlan, SampleRatioGate, Spending
from rampway.gates.verdicts import StageVerdict, Verdict
from rampway.gates.weigh import weigh

EVEN = (500, 5, 500, 5)


def ab_plan(
    *,
    hold_seconds: float = 3600,
    slices_per_look: int = 6,
    units: int = 1_000,
    alpha: float = 0.003,
    spending: Spending = Spending.OPEN,
    sample_ratio: SampleRatioGate | None = None,
) -> AbPlan:
    return AbPlan(
        name="ab",
        share_bp=5_000,
        units=units,
        slices_per_look=slices_per_look,
        hold_seconds=hold_seconds,
        deadline_seconds=3 * hold_seconds,
        slice_seconds=60,
        gates=(error_gate(alpha=alpha, spending=spending),),
        sample_ratio=sample_ratio,
    )


def look(rows: list[JsonValue], plan: AbPlan | None = None) -> StageVerdict:
    return AbWeigher(plan or ab_plan()).look(evidence_of(rows))


def test_nothing_seen_is_no_data() -> None:
    assert look([]).verdict is Verdict.NO_DATA


def test_an_ab_passes_when_its_time_is_over_and_says_how_long_that_takes() -> None:
    plan = ab_plan(hold_seconds=48 * 3600)

    first, last, over = (look(steady(n, EVEN), plan) for n in (60, 2_879, 2_880))

    assert first.verdict is Verdict.INCONCLUSIVE
    assert "47 h of the hold to go" in first.why
    assert first.seconds_to_go == 47 * 3600
    assert last.verdict is Verdict.INCONCLUSIVE
    assert over.verdict is Verdict.PASS


def test_however_good_the_candidate_is_the_time_is_not_cut_short() -> None:
    perfect = look(steady(59, (500, 0, 500, 50)))

    assert perfect.verdict is Verdict.INCONCLUSIVE


def test_harm_ends_an_ab_at_the_end_of_its_stratum() -> None:
    broken = (500, 50, 500, 5)

    looks = [look(steady(n, broken)) for n in (5, 6)]

    assert [each.verdict for each in looks] == [Verdict.INCONCLUSIVE, Verdict.BREACH]
    assert looks[1].gates[0].candidate.units == 3_000
    assert looks[1].gates[0].crossed_at_seconds == 360


def test_a_stratum_counts_what_is_usable_of_it_in_both_arms() -> None:
    whole = steady(60, EVEN)
    gaps: list[JsonValue] = [
        [n, 500, math.nan, 500, 5] if n in {3, 10} else row for n, row in enumerate(whole)
    ]

    verdict = look(gaps)

    assert verdict.verdict is Verdict.PASS
    assert verdict.usable == 58
    assert verdict.gates[0].candidate.units == verdict.gates[0].baseline.units == 58 * 500


def test_too_many_gaps_are_no_data() -> None:
    rows = [row for n, row in enumerate(steady(60, EVEN)) if n % 5 or n == 59]

    verdict = AbWeigher(ab_plan()).look(evidence_of(rows, sealed=60))

    assert verdict.verdict is Verdict.NO_DATA


def test_a_blind_ab_is_no_data_though_its_stratum_is_not_over() -> None:
    verdict = AbWeigher(ab_plan()).look(evidence_of(steady(8, EVEN), sealed=11))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.blind_seconds == 180


@pytest.mark.parametrize("row", [(500, 5, 1, 0), (1, 0, 500, 5)], ids=["baseline", "candidate"])
def test_an_arm_with_too_few_units_waits_past_the_end(row: tuple[int, ...]) -> None:
    verdict = look(steady(60, row))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.exposed == 60
    assert verdict.gates[0].units_needed == 940


def test_an_arm_without_a_unit_is_never_passed() -> None:
    assert look(steady(60, (500, 5, 0, 0))).verdict is Verdict.NO_DATA
    assert look(steady(60, (0, 0, 500, 5))).verdict is Verdict.NO_DATA


def test_arms_that_do_not_get_what_the_split_promises_hold_the_verdict() -> None:
    plan = ab_plan(sample_ratio=SampleRatioGate())
    skewed = look(steady(60, (400, 4, 600, 6)), plan)
    even = look(steady(60, EVEN), plan)

    assert skewed.verdict is Verdict.INCONCLUSIVE
    assert even.verdict is Verdict.PASS


def test_a_stage_is_weighed_as_its_weigher_does() -> None:
    evidence = evidence_of(steady(60, EVEN))

    assert weigh(ab_plan(), evidence) == AbWeigher(ab_plan()).look(evidence)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40), st.data()
)
def test_looking_often_says_what_one_look_says(
    bad: list[tuple[int, int]], data: st.DataObject
) -> None:
    plan = ab_plan(hold_seconds=1800, units=10)
    rows: list[JsonValue] = [[n, 40, new, 40, old] for n, (new, old) in enumerate(bad)]
    weigher = AbWeigher(plan)

    for n in sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=6)) | {len(rows)}):
        evidence = evidence_of_streams({"error": rows[:n]})
        assert weigher.look(evidence) == AbWeigher(plan).look(evidence)


def test_two_days_of_harmless_looks_breach_no_more_often_than_the_budget() -> None:
    dice = np.random.default_rng(21)
    plan = ab_plan(hold_seconds=48 * 1800, alpha=0.1, spending=Spending.POWER)
    slices, holds = 48 * 30, 120
    breaches = 0
    for _ in range(holds):
        rate = 0.01 + 0.02 * dice.random(slices)  # a base rate that drifts
        units = dice.poisson(20, (2, slices))
        bad = dice.binomial(units, rate)
        rows: list[JsonValue] = [
            [n, *map(int, (units[0, n], bad[0, n], units[1, n], bad[1, n]))] for n in range(slices)
        ]
        breaches += look(rows, plan).verdict is Verdict.BREACH

    assert breaches / holds <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / holds)


def test_an_ab_without_gates_exposes_nobody_and_is_no_data() -> None:
    verdict = look(steady(60, EVEN), ab_plan().model_copy(update={"gates": ()}))

    assert (verdict.verdict, verdict.exposed) == (Verdict.NO_DATA, 0)
