"""Which stages a release has, and what an A/B, the roles and the newer gates become in its plan."""

import pytest
from spec_builders import PRODUCTION, spec

from rampway.gates.plans import Must, Role, SliceMode
from rampway.release.climb import Stage
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.records import Target
from rampway.release.sections import OnPass
from rampway.release.template import demo_target

FAST = PRODUCTION.model_copy(update={"timeout_seconds": 10})
REPORT = {"stages": ["ab"], "on_pass": "report"}
THEN_AB = {"stages": ["shadow", "canary", "ab"]}


def planned(target: Target = FAST, **changed: object) -> ReleasePlan:
    return compile_plan(spec(**changed), target)


def test_a_release_has_a_shadow_and_a_canary_unless_it_says_otherwise() -> None:
    assert spec().planned == (Stage.SHADOW, Stage.CANARY)
    assert spec(shadow="off").planned == (Stage.CANARY,)
    assert planned().ab is None
    assert planned().on_pass is OnPass.PROMOTE


@pytest.mark.parametrize(
    ("stages", "names"),
    [
        (["shadow"], ["shadow"]),
        (["ab"], ["ab"]),
        (["shadow", "ab"], ["shadow", "ab"]),
        (["shadow", "canary"], ["shadow", "1 %", "5 %", "25 %", "100 %", "settling"]),
        (["shadow", "canary", "ab"], ["shadow", "1 %", "5 %", "25 %", "ab", "100 %", "settling"]),
    ],
    ids=str,
)
def test_a_plan_has_the_stages_that_were_named(stages: list[str], names: list[str]) -> None:
    on_pass = "promote" if "canary" in stages else "report"

    plan = planned(stages=stages, on_pass=on_pass)

    assert [stage.name for stage in plan.watched] == names
    assert plan.on_pass == on_pass
    assert (plan.settle is None) is (on_pass == "report")


def test_an_ab_takes_ten_percent_for_two_days_and_looks_once_a_minute() -> None:
    ab = planned(**REPORT).ab

    assert ab is not None
    assert (ab.share_bp, ab.hold_seconds, ab.deadline_seconds) == (1000, 172_800, 345_600)
    assert (ab.units, ab.slices_per_look, ab.slice_seconds) == (300, 6, 10)
    assert all(gate.margin_odds is None for gate in ab.gates)


def test_an_ab_is_planned_as_it_was_said() -> None:
    ab = planned(**REPORT, ab={"share": "50%", "time": "24h", "units": 9000, "deadline": "30h"}).ab

    assert ab is not None
    assert (ab.share_bp, ab.hold_seconds, ab.deadline_seconds) == (5000, 86_400, 108_000)
    assert ab.units == 9000


def test_a_demos_ab_is_looked_at_every_slice() -> None:
    ab = planned(demo_target("grammar-tutor"), **REPORT, ab={"time": "10s"}).ab

    assert ab is not None
    assert ab.slices_per_look == 1


def test_an_ab_after_a_canary_keeps_the_share_that_was_reached() -> None:
    ab = planned(**THEN_AB).ab

    assert ab is not None
    assert ab.share_bp == 2500


def test_an_ab_spends_like_one_more_step() -> None:
    plan = planned(**THEN_AB)

    assert plan.ab is not None
    assert [gate.alpha for gate in plan.ab.gates] == [gate.alpha for gate in plan.steps[0].gates]
    assert plan.ab.gates[0].alpha == 0.05 / 5 * 0.25
    alone = planned(**REPORT).ab
    assert alone is not None
    assert alone.gates[0].alpha == 0.05 * 0.25


def test_an_ab_with_a_budget_of_its_own_leaves_the_rest_to_the_steps() -> None:
    steps = [{"share": share, "budget": "20%"} for share in (1, 5, 25, 100)]

    plan = planned(**THEN_AB, canary={"steps": steps}, ab={"budget": "20%"})

    stages = [*plan.steps, plan.ab]
    spent = sum(gate.alpha for stage in stages if stage is not None for gate in stage.gates)
    assert spent == pytest.approx(0.05 * (0.25 + 0.15 + 0.10))


def test_a_gate_that_watches_stops_harm_and_proves_nothing() -> None:
    proof = planned(gates={"refusal": {"role": "watch"}}).steps[1]

    gates = {gate.name: gate for gate in proof.gates}
    assert gates["refusal"].role is Role.WATCH
    assert gates["refusal"].margin_odds is None
    assert gates["error"].role is Role.GUARD
    assert gates["error"].margin_odds == 2.0


def test_a_gate_that_informs_has_an_answer_and_no_part_of_the_budget() -> None:
    gates = {"error": {"budget": "90%"}, "refusal": {"role": "inform", "budget": "50%"}}

    proof = planned(demo_target("grammar-tutor"), gates={**gates, "latency": "off"},
                    canary={"hold": "10s"}).steps[1]  # fmt: skip

    asked = {gate.name: gate for gate in proof.gates}
    assert asked["refusal"].role is Role.INFORM
    assert asked["refusal"].margin_odds == 2.0


def test_what_users_mark_as_wrong_is_one_more_rate() -> None:
    proof = planned(gates={"false_positive": {"margin": [3, 2]}}).steps[1]

    found = next(gate for gate in proof.gates if gate.stream == "false_positive")
    assert (found.name, found.alpha, found.margin_odds) == ("false_positive", 0.00125, 3)


def test_quality_is_watched_at_every_step_and_proven_where_a_step_must_pass() -> None:
    target = FAST.model_copy(update={"judge_levels": 5})

    plan = planned(target, gates={"quality": {"margin": ["0.2sd", "0.1sd"]}})

    gates = [step.quality for step in plan.steps]
    assert [gate.margin_sd for gate in gates if gate] == [None, 0.2, 0.1, None]
    assert {(gate.levels, gate.alpha) for gate in gates if gate} == {(5, 0.001875)}
    assert plan.judged_units == 4500


def test_quality_is_off_unless_it_is_asked_for() -> None:
    plan = planned()

    assert {step.quality for step in plan.steps} == {None}
    assert plan.judged_units == 0
    assert planned(gates={"quality": {}}, canary={"judged_units": 900}).judged_units == 900
    watching = planned(gates={"quality": {"role": "watch"}}).steps[1].quality
    assert watching is not None
    assert watching.margin_sd is None


def test_the_split_is_counted_wherever_there_is_one() -> None:
    plan = planned(**THEN_AB)
    off = planned(**THEN_AB, gates={"sample_ratio": "off"})

    assert all(stage.sample_ratio is not None for stage in (*plan.steps, plan.ab) if stage)
    assert all(stage.sample_ratio is None for stage in (*off.steps, off.ab) if stage)


def test_slices_of_the_cases_are_planned_as_they_were_said() -> None:
    slices = {"by": ["tense", "class"], "sigma": 3, "mode": "literal", "p": 0.01}

    offline = planned(offline={"cases": "a.jsonl", "slices": slices}).offline

    assert offline.slices is not None
    assert (offline.slices.by, offline.slices.sigma) == (("tense", "class"), 3)
    assert (offline.slices.mode, offline.slices.p) == (SliceMode.LITERAL, 0.01)
    assert planned().offline.slices is None


def test_the_only_step_below_the_last_is_the_one_to_pass() -> None:
    assert [step.must for step in planned(canary={"steps": [10, 100]}).steps] == [
        Must.PROVE, Must.SCREEN
    ]  # fmt: skip
