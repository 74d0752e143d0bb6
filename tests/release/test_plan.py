"""What a spec becomes: budgets, exposures, delays and margins, each as the design has it."""

import pytest
from spec_builders import PRODUCTION, spec

from rampway.gates.plans import Arm, Must
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.records import Target, TargetKind
from rampway.release.specfile import parse_spec
from rampway.release.template import demo_spec, demo_target

FAST = PRODUCTION.model_copy(update={"timeout_seconds": 10})


def demo_plan() -> ReleasePlan:
    text = demo_spec(target="tutor", model="b", upstream="tutor", cases="cases.jsonl")
    return compile_plan(parse_spec(text, filename="release.yaml"), demo_target("tutor"))


def test_the_error_budget_is_spread_over_steps_and_gates() -> None:
    plan = compile_plan(spec(), FAST)

    for step in plan.steps:
        assert {gate.name: gate.alpha for gate in step.gates} == {
            "error": 0.003125,
            "latency p50": 0.000375,
            "latency p95": 0.001125,
            "latency p99": 0.000375,
            "refusal": 0.00125,
        }


def test_late_errors_are_a_stream_of_half_the_weight_where_they_can_be_late() -> None:
    streams = {
        gate.name: (gate.stream, gate.alpha)
        for gate in compile_plan(spec(), PRODUCTION).steps[0].gates
    }

    assert streams["error"] == ("error", 0.0015625)
    assert streams["error late"] == ("late", 0.0015625)


def test_a_release_spends_no_more_than_its_error_budget() -> None:
    for plan in (compile_plan(spec(), PRODUCTION), demo_plan()):
        spent = sum(gate.alpha for step in plan.steps for gate in step.gates)

        assert spent <= plan.error_budget * (1 + 1e-9)


def test_first_and_last_screen_and_the_rest_prove_with_units_to_match() -> None:
    steps = compile_plan(spec(), PRODUCTION).steps

    assert [
        (step.name, step.share_bp, step.must, step.units, step.units_arm) for step in steps
    ] == [
        ("1 %", 100, Must.SCREEN, 300, Arm.CANDIDATE),
        ("5 %", 500, Must.PROVE, 3200, Arm.CANDIDATE),
        ("25 %", 2500, Must.PROVE, 11_900, Arm.CANDIDATE),
        ("100 %", 9900, Must.SCREEN, 300, Arm.BASELINE),
    ]


def test_only_proofs_have_margins_and_of_latency_only_one_quantile() -> None:
    screen, proof = compile_plan(spec(), PRODUCTION).steps[:2]

    assert all(gate.margin_odds is None and gate.margin_abs is None for gate in screen.gates)
    assert {
        g.name: (g.margin_odds, g.margin_abs) for g in proof.gates if g.margin_odds
    } == dict.fromkeys(("error", "error late", "latency p95", "refusal"), (2.0, 0.005))
    assert {g.stream: g.quantile for g in proof.gates if g.quantile} == {
        "latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99
    }  # fmt: skip


def test_without_p95_the_slowest_quantile_is_the_one_to_prove() -> None:
    plan = compile_plan(spec(gates={"latency": {"at": ["p99", "p50"]}}), PRODUCTION)

    proven = [g.name for g in plan.steps[1].gates if g.quantile and g.margin_odds]

    assert proven == ["latency p99"]


def test_the_missions_times_are_kept() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    assert plan.shadow is not None
    assert (plan.shadow.hold_seconds, plan.shadow.deadline_seconds, plan.shadow.pairs) == (
        3600, 10_800, 10_000
    )  # fmt: skip
    assert (plan.shadow.alpha, plan.shadow.margin_sd, plan.shadow.rate_bp) == (0.01, 0.03, 500)
    assert {(s.hold_seconds, s.deadline_seconds, s.coverage) for s in plan.steps} == {
        (1800, 5400, 0.9)
    }  # fmt: skip
    assert {step.blind_limit_seconds for step in plan.steps} == {120}
    assert (plan.lease_seconds, plan.look_seconds) == (120, 10)
    assert (plan.brake_limit_seconds, plan.queue_limit_seconds) == (86_400, 86_400)
    assert plan.baseline_units == 10_000
    assert plan.target_kind is TargetKind.PRODUCTION


def test_a_hold_waits_for_its_last_slice_to_be_sealed() -> None:
    target = Target(
        name="grammar-tutor",
        slice_seconds=10,
        fast_seconds=10,
        timeout_seconds=60,
        judge_seconds=90,
    )

    plan = compile_plan(spec(), target)

    assert (plan.rate_lag_seconds, plan.judge_lag_seconds) == (70, 100)


def test_a_stage_waits_for_its_slowest_stream() -> None:
    target = PRODUCTION.model_copy(update={"timeout_seconds": 60, "judge_seconds": 90})

    plain, judged = compile_plan(spec(), target), compile_plan(spec(gates={"quality": {}}), target)

    assert plain.shadow is not None
    assert judged.steps[0].quality is not None
    assert plain.lag_seconds(plain.shadow) == 100
    assert plain.lag_seconds(plain.steps[0]) == 70
    assert judged.lag_seconds(judged.steps[0]) == 100


def test_settling_watches_errors_alone_within_a_budget_of_its_own() -> None:
    settle = compile_plan(spec(), PRODUCTION).settle

    assert settle is not None
    assert {gate.name: gate.alpha for gate in settle.gates} == {
        "error": 0.00125, "error late": 0.00125
    }  # fmt: skip
    assert (settle.hold_seconds, settle.deadline_seconds) == (21_600, 64_800)
    assert compile_plan(spec(after_promotion={"watch": "0"}), PRODUCTION).settle is None


def test_the_offline_gate_is_planned_as_it_was_said() -> None:
    offline = {
        "cases": "a.jsonl",
        "cluster": "verb",
        "headline": {"p": 0.01, "margin": "2pp"},
        "safety": {"cases": "s.jsonl", "generations": 3},
        "coverage": "95%",
    }

    plan = compile_plan(spec(offline=offline), PRODUCTION).offline

    assert (plan.p, plan.margin, plan.clustered, plan.coverage) == (0.01, 0.02, True, 0.95)
    assert plan.safety is not None
    assert plan.safety.generations == 3


def test_the_demo_spends_its_budget_as_it_was_simulated() -> None:
    steps = demo_plan().steps

    assert [{gate.name: gate.alpha for gate in step.gates} for step in steps] == [
        {"error": 0.0012, "latency p95": 0.0008},
        {"error": 0.0006, "latency p95": 0.0004},
        {"error": 0.0006, "latency p95": 0.0004},
        {"error": 0.0006, "latency p95": 0.0004},
    ]
    assert [step.hold_seconds for step in steps] == [4, 8, 6, 5]
    assert {step.deadline_seconds for step in steps} == {30}
    assert [(step.must, step.units) for step in steps] == [
        (Must.SCREEN, 4), (Must.PROVE, 25), (Must.PROVE, 100), (Must.SCREEN, 4)
    ]  # fmt: skip
    assert [(g.margin_odds, g.margin_abs, g.tolerance) for s in steps[1:3] for g in s.gates] == [
        (15, 0.15, 1.1), (15, 0.15, 2), (5, 0.05, 1.1), (5, 0.05, 2)
    ]  # fmt: skip


def test_the_demos_own_times_are_seconds_and_its_plan_says_so() -> None:
    plan = demo_plan()

    assert plan.target_kind is TargetKind.DEMO
    assert plan.shadow is not None
    assert (plan.shadow.hold_seconds, plan.shadow.pairs, plan.shadow.rate_bp) == (7, 250, 3000)
    assert plan.settle is not None
    assert (plan.settle.hold_seconds, plan.lease_seconds, plan.look_seconds) == (3, 15, 1)
    assert (plan.rate_lag_seconds, plan.judge_lag_seconds) == (2, 2)
    assert {step.coverage for step in plan.steps} == {0.75}


def test_a_plan_is_one_value_with_one_digest() -> None:
    costs = {"request": "0.0021 USD", "judge": "0.0006 USD"}
    plan = compile_plan(spec(costs=costs), PRODUCTION)

    read_back = ReleasePlan.model_validate_json(plan.model_dump_json())

    assert read_back == plan
    assert read_back.digest == plan.digest == compile_plan(spec(costs=costs), PRODUCTION).digest
    assert plan.name == plan.digest[7:13]
    assert compile_plan(spec(lease="90s"), PRODUCTION).digest != plan.digest


@pytest.mark.parametrize("holdback", ["0.5%", "10%"])
def test_the_last_step_serves_all_but_the_control(holdback: str) -> None:
    plan = compile_plan(spec(canary={"holdback": holdback}), PRODUCTION)

    assert plan.steps[-1].share_bp == 10_000 - round(float(holdback[:-1]) * 100)
