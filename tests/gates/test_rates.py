"""What a share of a canary may answer, and what it never answers."""

import pytest
from evidence_builders import (
    error_gate,
    evidence_of,
    evidence_of_streams,
    latency_gate,
    only,
    steady,
    step_plan,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.gates.plans import Arm, Must
from rampway.gates.rates import odds_to_rule_out
from rampway.gates.steps import weigh_step
from rampway.gates.verdicts import Verdict

CLEAN = [150, 1, 2850, 28]  # a minute at 50 requests/s, 5 % of them candidate, 1 % errors


def test_a_step_without_slices_is_no_data() -> None:
    verdict = weigh_step(step_plan(), evidence_of([]))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.seconds_to_go is None
    assert only(verdict).why == "no slice of error is sealed yet"


def test_a_step_without_gates_is_no_data() -> None:
    plan = step_plan().model_copy(update={"gates": ()})

    verdict = weigh_step(plan, evidence_of(steady(30, CLEAN)))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == "5 % declares no gate, so nothing can pass it"


def test_a_stream_that_nobody_counts_is_no_data() -> None:
    verdict = weigh_step(step_plan(), evidence_of(steady(30, CLEAN), stream="refusal"))

    assert verdict.verdict is Verdict.NO_DATA


def test_a_clean_candidate_passes_at_the_end_of_the_hold_and_not_before() -> None:
    looks = [weigh_step(step_plan(), evidence_of(steady(n, CLEAN))) for n in range(1, 31)]

    assert {look.verdict for look in looks[:29]} == {Verdict.INCONCLUSIVE}
    assert looks[29].verdict is Verdict.PASS
    assert looks[28].seconds_to_go == 60
    assert looks[29].seconds_to_go is None
    assert (looks[29].seconds, looks[29].slices, looks[29].usable) == (1800, 30, 30)
    assert looks[29].exposed == 4500
    assert looks[29].why == "every gate of 5 % passed"


@pytest.mark.parametrize("errors", [100, 20])
def test_gross_harm_is_a_breach_at_the_first_look(errors: int) -> None:
    verdict = weigh_step(step_plan(), evidence_of([[0, 100, errors, 9_900, 0]]))

    assert verdict.verdict is Verdict.BREACH
    assert only(verdict).crossed_at_seconds == 60
    assert only(verdict).candidate.bad == errors


def test_a_breach_explains_itself_and_keeps_the_counts_of_the_look_that_crossed() -> None:
    rows = [*steady(7, [158, 2, 3128, 31]), [7, 32, 15, 600, 6], [8, 1000, 0, 9000, 0]]

    verdict = weigh_step(step_plan(), evidence_of(rows))

    gate = only(verdict)
    assert gate.why == "29 errors of 1,138 candidate units, BREACH at 28; 13.3 expected if harmless"
    assert verdict.why == f"error: {gate.why}"
    assert (gate.breach_at, gate.crossed_at_seconds) == (28, 480)
    assert (gate.candidate.bad, gate.candidate.units) == (29, 1138)
    assert 0 < gate.spent <= gate.alpha == 0.003
    assert verdict.exposed == 2138


def test_an_incident_in_both_arms_is_no_breach() -> None:
    verdict = weigh_step(step_plan(), evidence_of(steady(10, [150, 60, 2850, 1140])))

    assert verdict.verdict is Verdict.INCONCLUSIVE


def test_a_share_that_rises_while_the_base_rate_rises_is_no_breach() -> None:
    # Pooled, this candidate looks twice as bad (Simpson); slice by slice it is as good.
    rows = steady(15, [30, 0, 2970, 30]) + [[15 + n, 300, 9, 2700, 81] for n in range(15)]
    plan = step_plan(must=Must.SCREEN)

    verdict = weigh_step(plan, evidence_of(rows))

    assert verdict.verdict is Verdict.PASS


def test_a_candidate_worse_than_the_margin_never_passes() -> None:
    verdict = weigh_step(
        step_plan(error_gate(tolerance=3)), evidence_of(steady(30, [150, 4, 2850, 28]))
    )

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert "PASS up to" in only(verdict).why


def test_a_candidate_that_errs_too_often_to_tell_says_so() -> None:
    verdict = weigh_step(
        step_plan(error_gate(tolerance=3)), evidence_of(steady(60, [150, 3, 2850, 28]))
    )

    assert only(verdict).units_needed is None
    assert verdict.seconds_to_go is None
    assert only(verdict).why.endswith("too close to the margin to say how many more units decide")


def quiet(slices: int) -> list[JsonValue]:
    """10 requests/s, 5 % of them candidate, 1 % errors in both arms."""
    return [[n, 30, int(n % 3 == 0), 570, 6] for n in range(slices)]


def test_too_little_traffic_for_a_proof_says_how_much_is_missing() -> None:
    plan = step_plan(error_gate(margin_odds=1.5))

    verdict = weigh_step(plan, evidence_of(quiet(30)))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert only(verdict).units_needed == 7_796
    assert verdict.seconds_to_go == 2 * 7_796
    assert only(verdict).why == (
        "10 errors of 900 candidate units, PASS up to 7; "
        "7,796 more candidate units, about 4 h 20 min"
    )


def test_a_hold_planned_for_that_traffic_passes() -> None:
    plan = step_plan(error_gate(margin_odds=1.5), hold_seconds=300 * 60)

    assert weigh_step(plan, evidence_of(quiet(300))).verdict is Verdict.PASS


def test_without_events_the_exact_bound_decides() -> None:
    plan = step_plan(error_gate(baseline_rate=0.0), units=1, hold_seconds=60)

    verdicts = [
        weigh_step(plan, evidence_of([[0, units, 0, 10_000, 0]])) for units in (597, 598, 599)
    ]

    assert [found.verdict for found in verdicts] == [
        Verdict.INCONCLUSIVE,
        Verdict.PASS,
        Verdict.PASS,
    ]
    assert only(verdicts[0]).units_needed == 1
    assert only(verdicts[1]).why == (
        "0 errors of 598 candidate units: under 0.50 % with 95 % confidence, PASS under 0.50 %"
    )


@pytest.mark.parametrize(("units", "margin_abs"), [(19, 0.15), (59, 0.05)])
def test_no_error_of_19_or_59_passes_the_wide_margins_of_a_demo(
    units: int, margin_abs: float
) -> None:
    plan = step_plan(
        error_gate(margin_odds=5, margin_abs=margin_abs, baseline_rate=0.0),
        units=1,
        hold_seconds=60,
    )

    enough = weigh_step(plan, evidence_of([[0, units, 0, 300, 0]]))
    short = weigh_step(plan, evidence_of([[0, units - 1, 0, 300, 0]]))

    assert enough.verdict is Verdict.PASS
    assert short.verdict is Verdict.INCONCLUSIVE


def test_a_ratio_is_not_asked_under_ten_bad_units() -> None:
    gate = error_gate(margin_odds=50, margin_abs=None)

    nine = weigh_step(step_plan(gate, hold_seconds=60), evidence_of([[0, 900, 0, 9000, 9]]))
    ten = weigh_step(step_plan(gate, hold_seconds=60), evidence_of([[0, 900, 0, 9000, 10]]))

    assert nine.verdict is Verdict.INCONCLUSIVE
    assert "a ratio needs 10 bad units in both arms, not 9" in only(nine).why
    assert ten.verdict is Verdict.PASS


@pytest.mark.parametrize("row", [[0, 0, 2850, 28], [150, 1, 0, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("must", list(Must))
def test_an_empty_arm_never_passes(row: list[int], must: Must) -> None:
    verdict = weigh_step(step_plan(must=must, units=0), evidence_of(steady(30, row)))

    assert verdict.verdict is Verdict.NO_DATA


def test_a_hundred_percent_step_without_a_holdback_says_no_control() -> None:
    plan = step_plan(must=Must.SCREEN, units=0, units_arm=Arm.BASELINE)

    verdict = weigh_step(plan, evidence_of(steady(30, [3000, 30, 0, 0])))

    assert verdict.verdict is Verdict.NO_DATA
    assert only(verdict).why == "no control: the baseline served no unit"


def test_a_screen_passes_without_a_proof_once_it_was_exposed() -> None:
    plan = step_plan(must=Must.SCREEN, units=4_500)

    short = weigh_step(plan, evidence_of([*steady(29, CLEAN), [29, 149, 1, 2850, 28]]))
    enough = weigh_step(plan, evidence_of(steady(30, CLEAN)))

    assert short.verdict is Verdict.INCONCLUSIVE
    assert only(short).units_needed == 1
    assert only(short).why.endswith("; 1 more candidate unit, about 1 s")
    assert enough.verdict is Verdict.PASS
    assert enough.exposed == 4_500


def test_a_full_step_counts_exposure_in_the_control() -> None:
    plan = step_plan(must=Must.SCREEN, units=300, units_arm=Arm.BASELINE)

    verdict = weigh_step(plan, evidence_of(steady(30, [990, 10, 9, 0])))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.exposed == 270
    assert "30 more baseline units" in only(verdict).why


def test_slices_of_another_length_are_no_data() -> None:
    verdict = weigh_step(step_plan(), evidence_of(steady(30, CLEAN), slice_seconds=10))

    assert verdict.verdict is Verdict.NO_DATA
    assert only(verdict).why == "the evidence has slices of 10 s, the plan asks for 60 s"


def test_a_latency_gate_without_a_threshold_is_no_data() -> None:
    plan = step_plan(latency_gate(threshold_bucket=None), must=Must.SCREEN)

    verdict = weigh_step(plan, evidence_of(steady(30, CLEAN), stream="p95"))

    assert verdict.verdict is Verdict.NO_DATA
    assert only(verdict).why == (
        "latency p95 has no threshold: the baseline's p95 was not measured before the step"
    )


def test_a_latency_gate_names_its_threshold() -> None:
    rows = steady(5, [150, 8, 2850, 142])

    verdict = weigh_step(step_plan(latency_gate()), evidence_of(rows, stream="p95"))

    assert only(verdict).why.startswith("40 of 750 candidate units over 2.45 s, BREACH at ")


def test_a_proof_without_a_baseline_rate_is_no_data_but_still_watches() -> None:
    plan = step_plan(error_gate(baseline_rate=None))

    clean = weigh_step(plan, evidence_of(steady(30, CLEAN)))
    broken = weigh_step(plan, evidence_of([[0, 100, 100, 9_900, 0]]))

    assert clean.verdict is Verdict.NO_DATA
    assert broken.verdict is Verdict.BREACH


def test_a_screen_needs_no_baseline_rate() -> None:
    plan = step_plan(error_gate(baseline_rate=None), must=Must.SCREEN)

    assert weigh_step(plan, evidence_of(steady(30, CLEAN))).verdict is Verdict.PASS


def test_a_step_that_must_prove_but_declares_no_margin_never_passes() -> None:
    plan = step_plan(error_gate(margin_odds=None, margin_abs=None))

    verdict = weigh_step(plan, evidence_of(steady(30, CLEAN)))

    assert verdict.verdict is Verdict.NO_DATA


def test_a_gate_without_a_margin_only_watches_beside_one_that_proves() -> None:
    median = error_gate(margin_odds=None, margin_abs=None).model_copy(
        update={"name": "latency p50", "stream": "p50"}
    )
    rows = {"error": steady(30, CLEAN), "p50": steady(30, [150, 75, 2850, 1425])}

    verdict = weigh_step(step_plan(error_gate(), median), evidence_of_streams(rows))

    assert [gate.verdict for gate in verdict.gates] == [Verdict.PASS, Verdict.PASS]


@pytest.mark.parametrize(
    ("rate", "odds"), [(0.01, 2.0), (0.001, 6.0301), (0.0, None), (0.997, 2.0)]
)
def test_the_margin_is_the_larger_of_odds_and_absolute(rate: float, odds: float | None) -> None:
    found = odds_to_rule_out(error_gate(baseline_rate=rate))

    assert found == (None if odds is None else pytest.approx(odds, rel=1e-4))


def test_the_least_sealed_stream_keeps_the_time_and_each_breach_counts_at_once() -> None:
    slow = error_gate().model_copy(update={"name": "error: timeouts", "stream": "slow"})
    rows = {"error": steady(31, CLEAN), "slow": steady(29, CLEAN)}
    plan = step_plan(error_gate(), slow)

    waiting = weigh_step(plan, evidence_of_streams(rows))
    rows["error"][30] = [30, 150, 150, 2850, 28]
    broken = weigh_step(plan, evidence_of_streams(rows))

    assert waiting.verdict is Verdict.INCONCLUSIVE
    assert waiting.seconds == 29 * 60
    assert broken.verdict is Verdict.BREACH
    assert broken.gates[0].crossed_at_seconds == 31 * 60


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1 / 60, 1000, 1e9])
def test_a_verdict_does_not_depend_on_the_unit_of_time(scale: float) -> None:
    rows = [[n, 150, 3 if n > 20 else 1, 2850, 28] for n in range(35)]
    scaled_plan = step_plan(
        hold_seconds=1800 * scale, slice_seconds=60 * scale, blind_limit_seconds=120 * scale
    )

    for looks in range(1, 36):
        plain = weigh_step(step_plan(), evidence_of(rows[:looks]))
        scaled = weigh_step(scaled_plan, evidence_of(rows[:looks], slice_seconds=60 * scale))

        assert [(g.verdict, g.breach_at, g.pass_at, g.spent) for g in plain.gates] == [
            (g.verdict, g.breach_at, g.pass_at, g.spent) for g in scaled.gates
        ]


def test_the_same_evidence_gives_the_same_record_after_a_round_trip() -> None:
    evidence = evidence_of(steady(30, CLEAN))
    stored = type(evidence).model_validate_json(evidence.model_dump_json())

    assert weigh_step(step_plan(), stored).digest == weigh_step(step_plan(), evidence).digest


ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.floats(0, 0.5), st.integers(0, 200), st.floats(0, 0.3)).map(
        lambda r: [r[0], int(r[0] * r[1]), r[2], int(r[2] * r[3])]
    ),
    min_size=1,
    max_size=14,
)
HOLD = 8 * 60.0


@settings(deadline=None, max_examples=150)
@given(rows=ROWS, extra=ROWS, must=st.sampled_from(list(Must)))
def test_extending_a_hold_never_takes_a_breach_back(
    rows: list[list[int]], extra: list[list[int]], must: Must
) -> None:
    plan = step_plan(error_gate(alpha=0.05), must=must, hold_seconds=HOLD)
    numbered = [[n, *row] for n, row in enumerate([*rows, *extra])]

    before = weigh_step(plan, evidence_of(numbered[: len(rows)]))
    after = weigh_step(plan, evidence_of(numbered))

    if before.verdict is Verdict.BREACH:
        assert after.gates == before.gates
        assert after.verdict is Verdict.BREACH


@settings(deadline=None, max_examples=200)
@given(
    rows=ROWS, where=st.integers(0, 13), more=st.integers(1, 40), must=st.sampled_from(list(Must))
)
def test_more_harm_never_turns_a_breach_into_a_pass(
    rows: list[list[int]], where: int, more: int, must: Must
) -> None:
    plan = step_plan(error_gate(alpha=0.05), must=must, hold_seconds=HOLD, units=0)
    evidence = evidence_of([[n, *row] for n, row in enumerate(rows)])
    worse = [list(row) for row in rows]
    harmed = worse[where % len(rows)]
    harmed[1] = min(harmed[0], harmed[1] + more)

    before = weigh_step(plan, evidence)
    after = weigh_step(plan, evidence_of([[n, *row] for n, row in enumerate(worse)]))

    if before.verdict is Verdict.BREACH:
        assert after.verdict is not Verdict.PASS
        crossed_at = before.gates[0].crossed_at_seconds or 0.0
        if (where % len(rows) + 1) * 60 >= crossed_at:
            assert after.verdict is Verdict.BREACH
