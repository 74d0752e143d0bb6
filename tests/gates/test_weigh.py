"""One door to every stage, and what is frozen before its first look."""

import pytest
from evidence_builders import (
    error_gate,
    evidence_of,
    latency_gate,
    settle_plan,
    shadow_plan,
    steady,
    step_plan,
)

from rampway.gates.evidence import BaselineCounts
from rampway.gates.plans import SettlePlan, StagePlan, StepPlan
from rampway.gates.settling import weigh_settling
from rampway.gates.shadow import weigh_shadow
from rampway.gates.steps import weigh_step
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import TIMEOUT_BUCKET, freeze, weigh

UNFROZEN = (error_gate(baseline_rate=None), latency_gate(threshold_bucket=None))


def measured(**changes: object) -> BaselineCounts:
    counts: dict[str, object] = {
        "units": 10_000,
        "bad": {"error": 123},
        "latency": {100: 9_000, 200: 499, 300: 2, 350: 498, TIMEOUT_BUCKET: 1},
    }
    return BaselineCounts.model_validate(counts | changes)


def frozen_step(baseline: BaselineCounts, *, units_min: int = 10_000) -> StepPlan:
    plan = freeze(step_plan(*UNFROZEN), baseline, units_min=units_min)
    assert isinstance(plan, StepPlan)
    return plan


def test_each_kind_of_stage_is_weighed_by_its_own_rules() -> None:
    rates = evidence_of(steady(30, [150, 1, 2850, 28]))
    judged = evidence_of([[0, [[1, 1, 10]], 0]], stream="judge")

    assert weigh(step_plan(), rates) == weigh_step(step_plan(), rates)
    assert weigh(settle_plan(), rates) == weigh_settling(settle_plan(), rates)
    assert weigh(shadow_plan(), judged) == weigh_shadow(shadow_plan(), judged)


@pytest.mark.parametrize("plan", [step_plan(), settle_plan(), shadow_plan()])
def test_a_stage_with_nothing_to_look_at_is_no_data(plan: StagePlan) -> None:
    assert weigh(plan, evidence_of([])).verdict is Verdict.NO_DATA


def test_the_threshold_is_the_smallest_bucket_that_holds_the_quantile() -> None:
    error, latency = frozen_step(measured()).gates

    assert error.baseline_rate == 0.0123
    assert latency.threshold_bucket == 300  # 9,499 are within bucket 200, 9,501 within 300
    assert latency.baseline_rate == 0.0499


def test_a_quantile_that_falls_on_a_count_takes_that_bucket() -> None:
    _, latency = frozen_step(measured(latency={100: 9_500, 200: 500})).gates

    assert latency.threshold_bucket == 100
    assert latency.baseline_rate == 0.05


def test_too_few_baseline_units_freeze_nothing_and_so_never_pass() -> None:
    plan = frozen_step(measured(), units_min=10_001)

    verdict = weigh(plan, evidence_of(steady(30, [150, 1, 2850, 28])))

    assert plan.gates == UNFROZEN
    assert verdict.verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    "baseline",
    [
        measured(units=0, bad={"error": 0}, latency={}),
        measured(bad={}, latency={}),
        measured(bad={"error": 10_001}, latency={100: 20_000, 200: -1}),
        measured(bad={"error": -1}, latency={100: 9_000, TIMEOUT_BUCKET: 1_000}),
    ],
    ids=["nothing", "missing", "impossible", "time-outs"],
)
def test_what_cannot_be_right_is_not_frozen(baseline: BaselineCounts) -> None:
    assert frozen_step(baseline, units_min=0).gates == UNFROZEN


def test_what_is_frozen_stays_frozen() -> None:
    once = frozen_step(measured())

    again = freeze(once, measured(bad={"error": 5_000}, latency={500: 10_000}), units_min=1)

    assert again == once


def test_settling_freezes_the_controls_last_rate() -> None:
    plan = freeze(settle_plan(baseline_rate=None), measured(), units_min=300)

    assert isinstance(plan, SettlePlan)
    assert plan.gates[0].baseline_rate == 0.0123


def test_a_shadow_has_nothing_to_freeze() -> None:
    assert freeze(shadow_plan(), measured(), units_min=1) == shadow_plan()


def test_a_baseline_that_failed_every_unit_is_measured_as_such() -> None:
    plan = frozen_step(measured(bad={"error": 10_000}))

    assert plan.gates[0].baseline_rate == 1.0


def test_a_baseline_without_a_bad_unit_is_measured_as_such() -> None:
    plan = frozen_step(measured(bad={"error": 0}))

    assert plan.gates[0].baseline_rate == 0.0


def test_a_bucket_that_no_latency_fell_into_is_no_broken_count() -> None:
    plan = frozen_step(measured(latency={50: 0, 100: 9_600, 200: 400}))

    assert (plan.gates[1].threshold_bucket, plan.gates[1].baseline_rate) == (100, 0.04)


def test_a_threshold_at_the_time_out_is_none() -> None:
    timed_out = frozen_step(measured(latency={100: 9_000, 100_000: 1_000}))
    slow = frozen_step(measured(latency={100: 9_000, 99_999: 1_000}))

    assert timed_out.gates[1].threshold_bucket is None
    assert slow.gates[1].threshold_bucket == 99_999


def test_one_unit_is_enough_for_a_baseline_when_no_more_are_asked() -> None:
    plan = frozen_step(measured(units=1, bad={"error": 1}, latency={100: 1}), units_min=0)

    assert plan.gates[0].baseline_rate == 1.0
    assert (plan.gates[1].threshold_bucket, plan.gates[1].baseline_rate) == (100, 0.0)


def test_a_count_just_at_the_quantile_is_enough_whatever_the_float_says() -> None:
    gate = latency_gate(threshold_bucket=None).model_copy(update={"quantile": 0.55})
    assert 0.55 * 100 > 55  # in floats

    plan = freeze(step_plan(gate), measured(units=100, latency={100: 55, 200: 45}), units_min=100)

    assert isinstance(plan, StepPlan)
    assert plan.gates[0].threshold_bucket == 100
