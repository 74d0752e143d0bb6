"""What a rate gate asks before it passes, what it is short of, and how long that takes."""

import math

import pytest
from evidence_builders import error_gate, evidence_of, steady, step_plan
from pydantic import JsonValue

from rampway.gates.bounds import clopper_pearson_upper, units_for_bound
from rampway.gates.planning import units_to_prove
from rampway.gates.plans import AbPlan, Arm, Must, QualityGate, RateGate, Role, StepPlan
from rampway.gates.rates import RateTally, odds_to_rule_out
from rampway.gates.verdicts import GateVerdict, Verdict

CLEAN = [150, 1, 2850, 28]


def answer(
    plan: StepPlan | AbPlan, rows: list[JsonValue], *, sealed: int | None = None
) -> tuple[GateVerdict, float | None]:
    tally = RateTally(plan, plan.gates[0])
    tally.take(evidence_of(rows, sealed=sealed))
    return tally.answer(tally.slices.seconds)


def ab_plan(*, slices_per_look: int = 3, units: int = 1, minutes: int = 9) -> AbPlan:
    return AbPlan(
        name="ab",
        share_bp=5_000,
        units=units,
        slices_per_look=slices_per_look,
        hold_seconds=60 * minutes,
        deadline_seconds=180 * minutes,
        slice_seconds=60,
        gates=(error_gate(),),
    )


@pytest.mark.parametrize(
    ("rate", "margin_odds", "margin_abs", "odds"),
    [
        (0.01, 2.0, None, 2.0),
        (None, 2.0, None, 2.0),
        (0.01, None, None, None),
        (0.01, None, 0.01, (0.02 / 0.98) / (0.01 / 0.99)),
        (0.01, 5.0, 0.01, 5.0),
        (0.0, 5.0, 0.01, None),
        (None, 5.0, 0.01, None),
        (0.98, 2.0, 0.02, 2.0),  # just 100 %
        (0.5, 2.0, 0.49, 99.0),
    ],
)
def test_a_pass_rules_out_the_larger_margin_that_can_be_asked(
    rate: float | None, margin_odds: float | None, margin_abs: float | None, odds: float | None
) -> None:
    gate = error_gate(margin_odds=margin_odds, margin_abs=margin_abs, baseline_rate=rate)

    found = odds_to_rule_out(gate)

    assert found == (None if odds is None else pytest.approx(odds, rel=1e-12))


def test_during_the_hold_a_proof_says_how_many_units_it_takes_in_all() -> None:
    verdict, wait = answer(
        step_plan(error_gate(margin_odds=1.5, margin_abs=None)), steady(10, CLEAN)
    )

    total = math.ceil(units_to_prove(280 / 28_500, 1.5, 28_500 / 1_500))
    assert verdict.units_needed == total - 1_500
    assert wait == pytest.approx((total - 1_500) / 1_500 * 600)


def test_a_hold_lasts_as_long_as_it_was_planned_though_the_units_come_earlier() -> None:
    verdict, wait = answer(step_plan(error_gate(margin_odds=9.0)), steady(10, CLEAN))

    assert (verdict.units_needed, wait) == (0, 1200)


def test_before_the_tenth_bad_unit_the_bound_says_what_is_missing() -> None:
    gate = error_gate(margin_odds=9.0, margin_abs=0.05)
    rows: list[JsonValue] = [[0, 30, 0, 570, 0], [1, 30, 1, 570, 0]]

    verdict, _ = answer(step_plan(gate), rows)

    assert verdict.units_needed == max(240, units_for_bound(1, 0.05, 0.05) - 60)


def test_without_a_bad_baseline_unit_the_frozen_rate_tells_what_a_ratio_takes() -> None:
    gate = error_gate(margin_odds=9.0, margin_abs=None, baseline_rate=0.02)

    verdict, _ = answer(step_plan(gate), steady(2, [30, 1, 570, 0]))

    total = math.ceil(units_to_prove(0.02, 9.0, 19.0))
    assert verdict.units_needed == max(240, total - 60)


@pytest.mark.parametrize(
    "gate",
    [
        error_gate(margin_odds=9.0, margin_abs=None, baseline_rate=None),
        error_gate(margin_odds=9.0, margin_abs=None, baseline_rate=0.0),
        error_gate(margin_odds=9.0, margin_abs=None, baseline_rate=1.0),
    ],
    ids=["unknown", "never", "always"],
)
def test_without_a_rate_between_never_and_always_nobody_knows_how_long_it_takes(
    gate: RateGate,
) -> None:
    verdict, wait = answer(step_plan(gate), steady(2, [300, 1, 570, 0]))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert (verdict.units_needed, wait) == (None, None)


def test_an_arm_that_served_nobody_leaves_the_wait_unknown_during_the_hold() -> None:
    for row in ([30, 1, 0, 0], [0, 0, 570, 5]):
        verdict, wait = answer(step_plan(), steady(2, row))

        assert verdict.verdict is Verdict.INCONCLUSIVE
        assert (verdict.units_needed, wait) == (None, None)


def test_a_full_step_waits_for_the_units_of_its_control() -> None:
    plan = step_plan(units=300, units_arm=Arm.BASELINE)

    verdict, wait = answer(plan, steady(2, [900, 9, 9, 0]))

    assert verdict.units_needed == 300 - 18
    assert wait == pytest.approx(282 / 18 * 120)


def test_a_full_step_whose_control_is_exposed_asks_for_candidate_units() -> None:
    plan = step_plan(
        error_gate(margin_odds=1.5, margin_abs=None), units=300, units_arm=Arm.BASELINE
    )

    verdict, _ = answer(plan, steady(2, [900, 9, 150, 2]))

    total = math.ceil(units_to_prove(4 / 300, 1.5, 300 / 1_800))
    assert verdict.units_needed == total - 1_800


def test_exposure_is_reached_by_as_many_units_as_the_plan_asks() -> None:
    enough = step_plan(must=Must.SCREEN, units=60, hold_seconds=120)
    short = step_plan(must=Must.SCREEN, units=61, hold_seconds=120)
    rows = steady(2, [30, 0, 570, 5])

    assert answer(enough, rows)[0].verdict is Verdict.PASS
    verdict, wait = answer(short, rows)
    assert (verdict.verdict, verdict.units_needed, wait) == (Verdict.INCONCLUSIVE, 1, 2)
    assert (
        verdict.why == "0 errors of 60 candidate units, no BREACH; 1 more candidate unit, about 2 s"
    )


def test_units_that_nobody_sends_take_unknown_time() -> None:
    plan = step_plan(must=Must.SCREEN, units=9, units_arm=Arm.BASELINE, hold_seconds=3600)

    verdict, wait = answer(plan, steady(2, [30, 0, 0, 0]))

    assert (verdict.units_needed, wait) == (9, None)


def test_a_bound_at_the_margin_is_the_largest_pass() -> None:
    plan = step_plan(error_gate(margin_abs=0.05, baseline_rate=0.0), units=1, hold_seconds=60)

    passes = answer(plan, [[0, 153, 3, 300, 0]])[0]
    fails = answer(plan, [[0, 152, 3, 300, 0]])[0]

    assert clopper_pearson_upper(3, 153, 0.05) < 0.05 < clopper_pearson_upper(3, 152, 0.05)
    assert (passes.verdict, passes.pass_at) == (Verdict.PASS, 3)
    assert (fails.verdict, fails.pass_at, fails.units_needed) == (Verdict.INCONCLUSIVE, 2, 1)


def test_where_no_count_can_pass_none_is_named() -> None:
    plan = step_plan(error_gate(margin_abs=0.05, baseline_rate=0.0), units=1, hold_seconds=60)

    verdict = answer(plan, [[0, 40, 0, 300, 0]])[0]

    assert (verdict.verdict, verdict.pass_at) == (Verdict.INCONCLUSIVE, None)
    assert verdict.units_needed == 59 - 40


def test_a_candidate_at_the_absolute_margin_will_not_pass_by_waiting() -> None:
    plan = step_plan(error_gate(margin_abs=0.05, baseline_rate=0.0), units=1, hold_seconds=60)

    verdict, wait = answer(plan, [[0, 60, 3, 300, 1]])

    assert (verdict.verdict, verdict.units_needed, wait) == (Verdict.INCONCLUSIVE, None, None)
    assert verdict.why.endswith("too close to the margin to say how many more units decide")


def test_what_passes_is_always_under_what_breaches() -> None:
    wide = step_plan(error_gate(margin_odds=50, margin_abs=None), hold_seconds=60)

    verdict = answer(wide, [[0, 900, 0, 9000, 20]])[0]

    assert verdict.breach_at is not None
    assert verdict.pass_at == verdict.breach_at - 1


def test_a_ratio_that_cannot_pass_yet_says_so() -> None:
    plan = step_plan(error_gate(margin_odds=1.2, margin_abs=None), units=1, hold_seconds=60)

    verdict = answer(plan, [[0, 60, 1, 300, 9]])[0]

    assert (verdict.verdict, verdict.pass_at) == (Verdict.INCONCLUSIVE, None)
    assert "1 error of 60 candidate units, no count is a PASS yet; " in verdict.why


def test_quality_with_a_margin_proves_a_step_whose_rates_have_none() -> None:
    bare = step_plan(error_gate(margin_odds=None, margin_abs=None))

    def with_quality(**changes: object) -> Verdict:
        gate = QualityGate(levels=2, alpha=0.003, margin_sd=0.1).model_copy(update=changes)
        return answer(bare.model_copy(update={"quality": gate}), steady(30, CLEAN))[0].verdict

    assert with_quality() is Verdict.PASS
    assert with_quality(role=Role.WATCH) is Verdict.NO_DATA
    assert with_quality(margin_sd=None) is Verdict.NO_DATA
    assert answer(bare, steady(30, CLEAN))[0].verdict is Verdict.NO_DATA


def test_only_an_absolute_margin_needs_a_rate_that_was_measured() -> None:
    by_odds = step_plan(error_gate(margin_abs=None, baseline_rate=None))
    by_rate = step_plan(error_gate(margin_odds=None, baseline_rate=None))

    assert answer(by_odds, steady(30, CLEAN))[0].verdict is Verdict.PASS
    assert answer(by_rate, steady(30, CLEAN))[0].verdict is Verdict.NO_DATA


def test_a_latency_without_a_threshold_counts_nothing() -> None:
    gate = error_gate().model_copy(update={"quantile": 0.95})

    verdict = answer(step_plan(gate), steady(30, [150, 150, 2850, 0]))[0]

    assert (verdict.verdict, verdict.candidate.units, verdict.spent) == (Verdict.NO_DATA, 0, 0)


def test_the_looks_of_an_ab_are_at_strata_that_are_over() -> None:
    looks = [answer(ab_plan(), steady(n, [500, 5, 500, 5]))[0] for n in range(1, 8)]

    assert [look.candidate.units for look in looks] == [0, 0, 1500, 1500, 1500, 3000, 3000]
    assert [look.expected > 0 for look in looks] == [False, False, *[True] * 5]


def test_a_stratum_ends_where_the_slice_after_it_begins_though_its_last_was_lost() -> None:
    rows = steady(6, [500, 5, 500, 5])
    lost: list[JsonValue] = [rows[0], rows[1], rows[4]]

    early = answer(ab_plan(), [rows[0], rows[1]], sealed=3)[0]
    late = answer(ab_plan(), lost, sealed=5)[0]
    over = answer(ab_plan(), lost, sealed=6)[0]

    assert [v.candidate.units for v in (early, late, over)] == [1000, 1000, 1500]


def test_a_breach_of_an_ab_is_at_the_end_of_its_stratum() -> None:
    rows = [*steady(3, [500, 5, 500, 5]), *steady(6, [500, 90, 500, 5])[3:]]

    verdict = answer(ab_plan(), rows)[0]

    assert verdict.verdict is Verdict.BREACH
    assert verdict.crossed_at_seconds == 360
    assert (verdict.candidate.bad, verdict.baseline.bad) == (285, 30)


def test_a_row_that_comes_late_into_a_weighed_stratum_is_weighed_with_it() -> None:
    rows = steady(7, [500, 5, 500, 5])
    for first, rest in ((0, 1), (1, 2), (2, 3), (3, 4)):
        tally = RateTally(ab_plan(), error_gate())
        tally.take(evidence_of(rows[:first], sealed=3))
        tally.take(evidence_of(rows[:rest], sealed=max(3, rest)))
        once = RateTally(ab_plan(), error_gate())
        once.take(evidence_of(rows[:rest], sealed=max(3, rest)))

        assert tally.answer(180) == once.answer(180)
        assert tally.candidate.units == once.candidate.units


def test_the_exposure_of_an_ab_is_that_of_its_smaller_arm() -> None:
    few_new, few_old = (RateTally(ab_plan(), error_gate()) for _ in range(2))
    few_new.take(evidence_of(steady(9, [10, 0, 500, 5])))
    few_old.take(evidence_of(steady(9, [500, 5, 10, 0])))

    assert (few_new.exposed_arm, few_new.exposed) == (Arm.CANDIDATE, 90)
    assert (few_old.exposed_arm, few_old.exposed) == (Arm.BASELINE, 90)


def test_units_are_exposed_after_a_breach_too_but_no_longer_counted() -> None:
    tally = RateTally(step_plan(), error_gate())

    tally.take(evidence_of([[0, 100, 90, 900, 9], *steady(3, CLEAN)[1:]]))

    assert tally.exposed == 400
    assert (tally.candidate.units, tally.baseline.units, tally.bad) == (100, 900, 99)


def test_a_proof_that_should_be_there_already_cannot_say_what_it_lacks() -> None:
    plan = step_plan(error_gate(margin_odds=1.5, margin_abs=None), units=1, hold_seconds=60)

    verdict, wait = answer(plan, [[0, 30_000, 400, 30_000, 300]])

    assert units_to_prove(0.01, 1.5, 1.0) < 30_000
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert (verdict.units_needed, wait) == (None, None)
    assert verdict.why.endswith("too close to the margin to say how many more units decide")


def test_a_screen_that_is_exposed_waits_only_for_the_rest_of_its_hold() -> None:
    plan = step_plan(must=Must.SCREEN, units=1, hold_seconds=60.5)

    verdict, wait = answer(plan, steady(1, CLEAN))

    assert (verdict.verdict, verdict.units_needed, wait) == (Verdict.INCONCLUSIVE, 0, 0.5)


def test_the_count_that_is_named_is_the_largest_that_passes() -> None:
    plan = step_plan(error_gate(margin_odds=1.5, margin_abs=None), units=1, hold_seconds=60)

    found = [answer(plan, [[0, 6_000, bad, 54_000, 540]])[0] for bad in range(40, 80)]
    passed = [verdict for verdict in found if verdict.verdict is Verdict.PASS]

    assert 0 < len(passed) < len(found)
    assert passed[-1].candidate.bad == passed[-1].pass_at
    assert found[len(passed)].verdict is Verdict.INCONCLUSIVE


def test_a_ratio_under_ten_bad_units_says_how_many_units_it_takes() -> None:
    plan = step_plan(error_gate(margin_odds=2.0, margin_abs=None), units=1, hold_seconds=60)

    verdict = answer(plan, [[0, 90, 0, 900, 9]])[0]

    assert verdict.units_needed == math.ceil(units_to_prove(0.01, 2.0, 10.0)) - 90
    assert verdict.why.startswith("0 errors of 90 candidate units; a ratio needs 10 bad units")


def test_no_bad_unit_at_all_can_be_the_only_pass() -> None:
    plan = step_plan(error_gate(margin_abs=0.05, baseline_rate=0.0), units=1, hold_seconds=60)

    verdict = answer(plan, [[0, 60, 0, 300, 0]])[0]

    assert (verdict.verdict, verdict.pass_at) == (Verdict.PASS, 0)


@pytest.mark.parametrize(
    ("bad", "by_ratio"), [(4, False), (5, True), (6, True)], ids=["nine then", "ten then", "twelve"]
)
def test_a_proof_that_will_be_a_ratio_by_the_time_is_planned_as_one(
    bad: int, *, by_ratio: bool
) -> None:
    # The bound takes 598 units, twice those seen: by then there are twice as many bad units.
    gate = error_gate(margin_odds=9.0, margin_abs=0.005, baseline_rate=0.01)

    verdict, _ = answer(step_plan(gate, units=1), [[0, 299, 0, 5_980, bad]])

    ratio = math.ceil(units_to_prove(bad / 5_980, 9.0, 20.0))
    assert ratio != 598
    assert verdict.units_needed == (ratio if by_ratio else 598) - 299


def test_a_bound_that_is_under_the_margin_already_takes_no_more_units() -> None:
    gate = error_gate(margin_abs=0.005, baseline_rate=0.0)

    verdict, wait = answer(step_plan(gate, units=1), [[0, 700, 0, 7_000, 0]])

    assert (verdict.units_needed, wait) == (0, 1740)


def test_an_ab_may_be_looked_at_twice_though_nothing_new_came() -> None:
    tally = RateTally(ab_plan(), error_gate())
    evidence = evidence_of(steady(4, [500, 5, 500, 5]))

    tally.take(evidence)
    first = tally.answer(240)
    tally.take(evidence)

    assert tally.answer(240) == first


def test_a_late_row_is_weighed_with_its_stratum_of_two_slices_too() -> None:
    rows = steady(4, [500, 5, 500, 5])
    plan = ab_plan(slices_per_look=2)
    tally, once = RateTally(plan, error_gate()), RateTally(plan, error_gate())
    tally.take(evidence_of(rows[:1], sealed=2))

    tally.take(evidence_of(rows[:2], sealed=4))
    once.take(evidence_of(rows[:2], sealed=4))

    assert tally.answer(240) == once.answer(240)
    assert (tally.candidate.units, tally.exposed) == (1_000, 1_000)
