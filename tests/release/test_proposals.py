"""What is proposed to a target with little traffic, and what it would give."""

import pytest
from spec_builders import PRODUCTION, spec

from rampway.gates.plans import Must
from rampway.release.forecast import forecast
from rampway.release.pace import Decidable
from rampway.release.plan import compile_plan
from rampway.release.policies import Policy
from rampway.release.proposals import (
    Proposal,
    Regime,
    find_gross_harm,
    propose,
    regime_of,
    rounded_up,
)
from rampway.release.specfile import parse_spec
from rampway.release.template import demo_spec, demo_target, init_spec
from rampway.release.volumes import volumes

RATES = {"error": 0.01, "late": 0.0, "refusal": 0.01, "false_positive": 0.01}


def proposed(rps: float, **changed: object) -> Proposal | None:
    return propose(spec(**changed), PRODUCTION, units_per_second=rps, baseline=RATES)


def canary_hours(proposal: Proposal) -> list[float]:
    holds = [stage.hold_seconds for stage in proposal.forecast.stages if stage.kind == "step"]
    return [round(hold / 3600, 1) for hold in holds]


@pytest.mark.parametrize(
    ("rps", "regime"),
    [(50, Regime.CLIMB), (20, Regime.CLIMB), (19.9, Regime.SHORT), (0.5, Regime.SHORT),
     (0.49, Regime.ASSISTED), (0.001, Regime.ASSISTED)],
)  # fmt: skip
def test_the_units_per_second_choose_the_shape(rps: float, regime: Regime) -> None:
    proposal = proposed(rps)

    assert regime_of(rps) is regime
    assert proposal is not None
    assert proposal.regime is regime


def test_one_request_a_second_takes_a_third_of_a_day_by_three_steps() -> None:
    """The design's figures: 3.7 + 3.4 + 0.8 hours, 5 % errors in 41 min, odds under 2 proven."""
    proposal = proposed(1)

    assert proposal is not None
    assert canary_hours(proposal) == [3.8, 3.5, 0.8]
    assert proposal.proves_odds == 2
    assert proposal.finds is not None
    assert proposal.finds.outage_seconds is not None
    assert proposal.finds.five_percent_seconds is not None
    assert 40 <= proposal.finds.outage_seconds <= 110
    assert 35 <= proposal.finds.five_percent_seconds / 60 <= 45
    assert proposal.forecast.decidable is Decidable.BY_HOLD


def test_the_default_steps_at_one_request_a_second_take_two_days() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    told = forecast(plan, requests_per_second=1, baseline=RATES)

    steps = [stage.seconds_needed for stage in told.stages if stage.kind == "step"]
    assert sum(seconds or 0 for seconds in steps) / 3600 == pytest.approx(48, abs=1)


def test_fifty_and_five_requests_a_second_take_two_hours() -> None:
    for rps in (50, 5):
        proposal = proposed(rps)

        assert proposal is not None
        assert sum(canary_hours(proposal)) == pytest.approx(2, abs=0.2)
        assert proposal.forecast.harmless_passes > 0.95


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("rps", [0.5, 1, 3, 10, 20, 100])
def test_what_is_proposed_can_be_decided_and_proves_something(policy: Policy, rps: float) -> None:
    said = parse_spec(init_spec(policy), filename="release.yaml")

    proposal = propose(said, PRODUCTION, units_per_second=rps, baseline=RATES)

    assert proposal is not None
    assert proposal.forecast.decidable is not Decidable.NEVER
    proofs = [s for s in proposal.forecast.stages if s.kind == "step" and s.must is Must.PROVE]
    assert bool(proofs) is said.climbs


def test_so_little_traffic_promises_no_pass() -> None:
    proposal = proposed(10 / 3600)

    assert proposal is not None
    assert proposal.keys["on_pass"] == "report"
    assert proposal.keys["stages"] == ["shadow", "ab"]
    assert proposal.proves_odds is None
    assert proposal.finds is not None
    assert proposal.finds.outage_seconds is not None
    assert 1 <= proposal.finds.outage_seconds / 3600 <= 4


def test_no_traffic_and_a_broken_baseline_are_proposed_nothing() -> None:
    broken = propose(spec(), PRODUCTION, units_per_second=50, baseline={**RATES, "error": 1.0})

    assert proposed(0) is None
    assert broken is None


def test_an_experiment_is_made_longer_until_both_arms_have_their_units() -> None:
    report = {"stages": ["ab"], "on_pass": "report", "ab": {"units": 90_000}}

    proposal = proposed(1, **report)

    assert proposal is not None
    assert proposal.keys == {"ab": {"time": "250h", "deadline": "2x"}}


def test_quality_keeps_its_gate_with_wider_margins() -> None:
    proposal = proposed(1, gates={"quality": {}})

    assert proposal is not None
    gates = proposal.keys["gates"]
    assert isinstance(gates, dict)
    assert gates["quality"] == {"margin": ["0.2sd", "0.1sd"]}


def test_a_shadow_copies_all_that_there_is_where_that_is_little() -> None:
    rates = {}
    for rps in (100, 50, 10, 1):
        proposal = proposed(rps)
        assert proposal is not None
        shadow = proposal.keys["shadow"]
        assert isinstance(shadow, dict)
        rates[rps] = shadow["rate"]

    assert rates == {100: "5%", 50: "5%", 10: "25%", 1: "100%"}


def test_a_demo_is_proposed_holds_below_the_production_floor() -> None:
    text = demo_spec(target="tutor", model="b", upstream="tutor", cases="cases.jsonl")
    demo = parse_spec(text, filename="release.yaml")

    proposal = propose(demo, demo_target("tutor"), units_per_second=100, baseline={"error": 0.0})

    assert proposal is not None
    assert proposal.forecast.expected_seconds < 3600


def test_an_ab_is_told_by_its_look_and_a_lone_shadow_by_nothing() -> None:
    report = {"on_pass": "report"}
    ab = compile_plan(spec(stages=["ab"], **report), PRODUCTION)
    shadow = compile_plan(spec(stages=["shadow"], **report), PRODUCTION)

    found = find_gross_harm(ab, units_per_second=50, baseline=RATES)

    assert found is not None
    assert found.outage_seconds == 60
    assert find_gross_harm(shadow, units_per_second=50, baseline=RATES) is None


def test_harm_that_the_baseline_does_itself_is_not_told_as_found() -> None:
    plan = compile_plan(spec(), PRODUCTION)

    found = find_gross_harm(plan, units_per_second=50, baseline={**RATES, "error": 0.06})

    assert found is not None
    assert found.five_percent_seconds is None
    assert found.outage_seconds is not None


def test_three_volumes_tell_cost_and_who_decides() -> None:
    said = spec(costs={"request": "0.0021 USD", "judge": "0.0006 USD"})

    told = volumes(compile_plan(said, PRODUCTION), said, PRODUCTION, baseline=RATES)

    assert [volume.cost_per_day.shadow_calls for volume in told] == [50, 500, 5000]
    assert [volume.cost_per_day.judge_cost for volume in told] == [0.06, 0.6, 6.0]
    assert [volume.regime.value for volume in told] == ["assisted", "assisted", "10/50/90"]
    assert [volume.expected_seconds is None for volume in told] == [True, True, False]


@pytest.mark.parametrize(
    ("seconds", "rounded"),
    [(0.2, 1), (59.5, 60), (61, 300), (1801, 2100), (3601, 4200), (13_500, 13_800),
     (20_000, 21_600), (100_000, 100_800)],
)  # fmt: skip
def test_times_are_rounded_up_to_what_people_write(seconds: float, rounded: float) -> None:
    assert rounded_up(seconds) == rounded
