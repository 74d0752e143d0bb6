"""What `plan` promises about a target's traffic before anything starts."""

import math

import pytest
from spec_builders import PRODUCTION, spec

from rampway.release.forecast import Forecast, StageForecast, forecast
from rampway.release.pace import Decidable
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.specfile import parse_spec
from rampway.release.template import demo_spec, demo_target

RATES = {"error": 0.01, "late": 0.0, "refusal": 0.02}


def production(rps: float, **changed: object) -> Forecast:
    plan = compile_plan(spec(**changed), PRODUCTION)
    return forecast(plan, requests_per_second=rps, baseline=RATES)


def demo_plan() -> ReleasePlan:
    text = demo_spec(target="tutor", model="b", upstream="tutor", cases="cases.jsonl")
    return compile_plan(parse_spec(text, filename="release.yaml"), demo_target("tutor"))


def demo(rps: float, error: float = 0.0) -> Forecast:
    return forecast(demo_plan(), requests_per_second=rps, baseline={"error": error})


def stage(told: Forecast, name: str) -> StageForecast:
    return next(stage for stage in told.stages if stage.stage == name)


def finds(told: Forecast, step: str, gate: str) -> float:
    found = next(g.finds_rate for g in stage(told, step).gates if g.gate == gate)
    assert found is not None
    return found


@pytest.mark.parametrize("rps", [160, 128])
@pytest.mark.parametrize("error", [0.0, 0.005])
def test_every_step_of_the_demo_is_decided_by_its_hold(rps: float, error: float) -> None:
    told = demo(rps, error)

    assert {each.stage: each.decidable for each in told.stages} == dict.fromkeys(
        ["shadow", "1 %", "5 %", "25 %", "100 %"], Decidable.BY_HOLD
    )
    assert told.decidable is Decidable.BY_HOLD


def test_the_demos_proofs_need_what_was_computed_by_hand() -> None:
    told = demo(160)

    needed = {
        name: {gate.gate: round(gate.units_to_pass or 0) for gate in stage(told, name).gates}
        for name in ("5 %", "25 %")
    }

    assert needed == {
        "5 %": {"error": 19, "latency p95": 44},
        "25 %": {"error": 59, "latency p95": 157},
    }


def test_the_demos_stages_see_the_units_they_were_planned_for() -> None:
    units = {each.stage: int(each.units) for each in demo(160).stages}

    assert units == {"shadow": 336, "1 %": 6, "5 %": 64, "25 %": 240, "100 %": 8}


def test_the_demo_sees_only_the_gross_harm_that_was_simulated() -> None:
    """The simulation, with lost slices and uneven rates, found no less than these in percent."""
    simulated = {"1 %": (50, 95), "5 %": (10, 35), "25 %": (5, 25), "100 %": (80, 95)}
    told = demo(160)

    for step, (errors, slow) in simulated.items():
        assert 0.6 * errors <= 100 * finds(told, step, "error") <= errors
        assert 0.8 * slow <= 100 * finds(told, step, "latency p95") <= slow


def test_the_demo_takes_as_long_as_it_was_simulated_to() -> None:
    assert 35 <= demo(160).expected_seconds <= 43
    assert demo(160).worst_seconds == 160


def test_slower_traffic_extends_the_demos_holds() -> None:
    told = demo(100)

    assert told.decidable is Decidable.BY_DEADLINE
    assert told.why == "5 % needs 44 units, 8.76 s; its hold of 8 s will be extended"


def test_fifty_requests_a_second_decide_the_default_plan() -> None:
    told = production(50)

    assert told.decidable is Decidable.BY_HOLD
    assert {each.stage: round(each.units) for each in told.stages} == {
        "shadow": 9000, "1 %": 900, "5 %": 4500, "25 %": 22_500, "100 %": 900
    }  # fmt: skip
    assert round(stage(told, "100 %").exposed) == 89_100
    assert 3 * 3600 < told.expected_seconds < 3.2 * 3600


def test_what_the_default_plan_finds_at_fifty_requests_a_second() -> None:
    told = production(50)

    found = {step: round(100 * finds(told, step, "error"), 1) for step in ("1 %", "5 %", "25 %")}

    assert found == {"1 %": 2.9, "5 %": 1.8, "25 %": 1.4}
    assert round(100 * finds(told, "5 %", "latency p95"), 1) == 7.0


def test_one_request_a_second_cannot_decide_it_and_the_reason_is_told() -> None:
    told = production(1, canary={"hold": "80m"})

    assert told.decidable is Decidable.NEVER
    assert stage(told, "5 %").decidable is Decidable.NEVER
    assert stage(told, "5 %").why == "5 % needs 3,209 units, 17.8 h; the deadline is 4 h"
    assert told.expected_seconds >= 4 * 4 * 3600


def test_a_control_that_is_too_small_is_what_limits_the_last_step() -> None:
    last = stage(production(2), "100 %")

    assert last.why == "100 % needs 300 control units, 4.17 h; the deadline is 90 min"


def test_without_traffic_nothing_is_decided() -> None:
    told = production(0)

    assert {each.decidable for each in told.stages} == {Decidable.NEVER}
    assert told.why == "shadow sees no traffic"
    assert all(gate.finds_rate is None for each in told.stages for gate in each.gates)


def test_a_shadow_ends_at_its_pairs_when_they_come_first() -> None:
    shadow = stage(demo(160), "shadow")

    assert (shadow.units_needed, shadow.seconds_needed) == (250, 5.20833333)


def test_a_shadow_with_a_known_spread_has_to_reach_its_margin_too() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    told = forecast(plan, requests_per_second=50, baseline=RATES, judge_sd=1.0)

    shadow = stage(told, "shadow")
    assert shadow.units_needed == pytest.approx(14.5 / 0.03**2)
    assert shadow.decidable is Decidable.BY_DEADLINE
    assert shadow.pass_chance == pytest.approx(0.87, abs=0.01)
    assert shadow.finds_mean == pytest.approx(0.0358, abs=0.0001)


def test_costs_are_those_of_the_copies_and_their_judging() -> None:
    told = production(50, costs={"request": "0.0021 USD", "judge": "0.0006 USD"}).cost

    assert (told.shadow_calls, told.judge_calls) == (9000, 18_000)
    assert (told.shadow_cost, told.judge_cost, told.total) == (18.9, 10.8, 29.7)
    assert told.currency == "USD"


def test_without_prices_no_cost_is_made_up() -> None:
    assert (production(50).cost.total, production(50).cost.currency) == (None, None)


@pytest.mark.parametrize("rps", [-1, math.nan, math.inf])
def test_an_impossible_rate_of_traffic_is_refused(rps: float) -> None:
    with pytest.raises(ValueError, match="is not a rate of traffic"):
        production(rps)


def test_a_missing_or_impossible_baseline_rate_is_refused() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    with pytest.raises(ValueError, match="needs the baseline's rate of late"):
        forecast(plan, requests_per_second=1, baseline={"error": 0, "refusal": 0})
    with pytest.raises(ValueError, match="2 is not a rate of error"):
        forecast(plan, requests_per_second=1, baseline={**RATES, "error": 2})
    with pytest.raises(ValueError, match="not a standard deviation"):
        forecast(plan, requests_per_second=1, baseline=RATES, judge_sd=0)


def test_a_broken_baseline_makes_a_proof_impossible() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    told = forecast(plan, requests_per_second=1e6, baseline={**RATES, "error": 1.0})

    assert stage(told, "5 %").why == "5 % has a gate that no number of units can prove"


QUALITY = {"gates": {"quality": {}}}


def test_judged_answers_find_a_loss_of_the_mean() -> None:
    """900 and 4,500 judged answers with five of the baseline each, as the screens show them."""
    told = production(50, **QUALITY)

    found = {each.stage: each.quality.finds_mean for each in told.stages if each.quality}

    assert {name: round(mean or 0, 2) for name, mean in found.items()} == {
        "1 %": 0.15, "5 %": 0.07, "25 %": 0.07, "100 %": 0.15
    }  # fmt: skip


def test_judging_live_answers_is_counted_with_both_arms() -> None:
    told = production(50, **QUALITY)

    assert told.cost.judge_calls_live == 64_800
    assert told.cost.judge_calls == 82_800


def test_a_proof_of_quality_goes_on_being_judged_at_its_pace() -> None:
    step = stage(production(50, **QUALITY), "25 %")

    assert step.quality is not None
    assert step.quality.units_to_pass == pytest.approx(6960)
    assert step.quality.pass_chance == pytest.approx(0.91, abs=0.01)
    assert step.decidable is Decidable.BY_DEADLINE
    assert (
        step.why == "25 % needs 6,960 judged answers, 46.4 min; its hold of 30 min will be extended"
    )


def test_quality_that_nobody_can_judge_in_time_is_not_decided() -> None:
    told = production(50, canary={"judged_units": 100}, **QUALITY)

    assert told.decidable is Decidable.NEVER
    assert "judged answers" in told.why
    assert stage(production(0.0001, **QUALITY), "1 %").quality is not None


def test_a_gate_that_only_informs_or_watches_is_waited_for_by_nobody() -> None:
    rates = {**RATES, "refusal": 0.9}
    watched = compile_plan(spec(gates={"refusal": {"role": "watch"}}), PRODUCTION)

    told = forecast(watched, requests_per_second=50, baseline=rates)

    assert told.decidable is Decidable.BY_HOLD
    assert stage(told, "5 %").units_needed == pytest.approx(3209, abs=1)


def test_what_informs_is_outside_the_chance_of_a_false_rollback() -> None:
    gates = {"refusal": {"role": "inform"}, "latency": "off"}
    plan = compile_plan(spec(gates=gates), demo_target("grammar-tutor"))

    told = forecast(plan, requests_per_second=50, baseline=RATES)

    assert told.false_rollback == pytest.approx(0.05 * 0.25 + 0.01)


def test_a_harmless_release_is_promoted_but_for_the_budgets_and_what_it_cannot_prove() -> None:
    told = production(50)

    assert told.false_rollback == pytest.approx(0.05 * 0.5 + 0.01)
    assert told.harmless_passes == pytest.approx(0.965, abs=0.001)
    assert production(1).harmless_passes == 0


def test_an_ab_is_told_by_the_smallest_difference_it_finds() -> None:
    plan = compile_plan(spec(stages=["ab"], on_pass="report", ab={"share": "50%"}), PRODUCTION)

    told = forecast(plan, requests_per_second=5, baseline=RATES)

    ab = stage(told, "ab")
    assert (ab.units, ab.kind, ab.decidable) == (432_000, "ab", Decidable.BY_HOLD)
    assert ab.finds_difference == pytest.approx(
        2.8016 * math.sqrt(0.01 * 0.99 * 2 / 432_000), rel=1e-4
    )
    assert ab.finds_mean == pytest.approx(2.8016 * math.sqrt(2 / 432_000), rel=1e-4)
    assert finds(told, "ab", "error") < 0.012
    assert told.cost.total is None


def test_an_arm_without_its_units_is_waited_for_until_the_deadline() -> None:
    plan = compile_plan(spec(stages=["ab"], on_pass="report", ab={"time": "1h"}), PRODUCTION)

    told = [forecast(plan, requests_per_second=rps, baseline=RATES) for rps in (1, 0.5, 0.1, 0)]

    assert [each.decidable for each in told] == [
        Decidable.BY_HOLD, Decidable.BY_DEADLINE, Decidable.NEVER, Decidable.NEVER
    ]  # fmt: skip
    assert told[2].why == "ab needs 300 units in each arm, 8.33 h; the deadline is 2 h"
    assert told[3].why == "ab sees no traffic"


def test_a_day_of_shadow_is_priced_at_its_rate() -> None:
    a_day = production(50, costs={"request": "0.0021 USD"}).cost_per_day

    assert (a_day.shadow_calls, a_day.judge_calls) == (216_000, 432_000)
    assert (a_day.shadow_cost, a_day.judge_cost) == (453.6, None)
