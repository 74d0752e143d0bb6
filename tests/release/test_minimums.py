"""No author goes below what his target's owners demand."""

from typing import Any

import pytest
from spec_builders import PRODUCTION, spec

from rampway.release.minimums import BelowMinimums, check_minimums
from rampway.release.plan import compile_plan
from rampway.release.records import Minimums
from rampway.release.specfile import parse_spec
from rampway.release.template import DEMO_MINIMUMS, demo_spec, demo_target

DEMO_TEXT = demo_spec(target="grammar-tutor", model="b", upstream="tutor", cases="cases.jsonl")


def shortfalls(**changed: object) -> list[str]:
    return [str(shortfall) for shortfall in check_minimums(spec(**changed), PRODUCTION)]


def test_the_missions_numbers_are_enough() -> None:
    assert shortfalls() == []


SHORT: list[tuple[dict[str, Any], str]] = [
    ({"target": "other"}, "target: other is not grammar-tutor"),
    ({"error_budget": "8%"}, "error_budget: 8 % is over the limit 5 % of grammar-tutor"),
    ({"offline": {"cases": "a", "headline": {"margin": "3pp"}}},
     "offline.headline.margin: 3 % is over the limit 2 % of grammar-tutor"),
    ({"offline": {"cases": "a", "coverage": "80%"}},
     "offline.coverage: 80 % is under the floor 90 % of grammar-tutor"),
    ({"shadow": "off"}, "shadow: off is not accepted; grammar-tutor demands 60 min of shadow"),
    ({"shadow": {"until_any": {"time": "10m"}}},
     "shadow.until_any.time: 10 min is under the floor 60 min of grammar-tutor"),
    ({"shadow": {"until_any": {"pairs": 100}}},
     "shadow.until_any.pairs: 100 is under the floor 10,000 of grammar-tutor"),
    ({"canary": {"hold": "6s", "look_every": "1s"}},
     "canary.hold: 6 s is under the floor 30 min of grammar-tutor"),
    ({"canary": {"steps": [{"share": 1, "hold": "20m"}, 100]}},
     "canary.steps.0.hold: 20 min is under the floor 30 min of grammar-tutor"),
    ({"canary": {"steps": [{"share": 1, "units": 50}, 100]}},
     "canary.steps.0.units: 50 is under the floor 300 of grammar-tutor"),
    ({"canary": {"coverage": "50%"}},
     "canary.coverage: 50 % is under the floor 90 % of grammar-tutor"),
    ({"gates": {"error": {"margin": [5, 1.5]}}},
     "gates.error.margin.0: odds 5 are over the limit 3 of grammar-tutor"),
    ({"gates": {"error": {"margin": [2, {"odds": 2, "abs": "5%"}]}}},
     "gates.error.margin.1: 5 % is over the limit 2 % of grammar-tutor"),
    ({"canary": {"steps": [1, {"share": 5, "margin": {"refusal": 9}}, 100]}},
     "canary.steps.1.margin.refusal: odds 9 are over the limit 3 of grammar-tutor"),
    ({"stages": ["ab"], "on_pass": "report", "gates": {"error": {"tolerance": 4}}},
     "gates.error.tolerance: odds 4 are over the limit 3 of grammar-tutor"),
    ({"gates": {"refusal": "off"}},
     "gates.refusal: off is for demo targets; grammar-tutor is a production target"),
    ({"gates": {"refusal": {"role": "inform"}}},
     "gates.refusal.role: inform is for demo targets; grammar-tutor is a production target"),
    ({"stages": ["canary"]},
     "stages: off is not accepted; grammar-tutor demands 60 min of shadow"),
    ({"stages": ["ab"], "on_pass": "report", "ab": {"time": "10m"}},
     "ab.time: 10 min is under the floor 30 min of grammar-tutor"),
    ({"stages": ["ab"], "on_pass": "report", "ab": {"units": 100}},
     "ab.units: 100 is under the floor 300 of grammar-tutor"),
    ({"gates": {"quality": {"margin": ["0.5sd", "0.1sd"]}}},
     "gates.quality.margin.0: 0.5 sd is over the limit 0.2 sd of grammar-tutor"),
    ({"shadow": {"judge_mean": {"margin": "1sd"}}},
     "shadow.judge_mean.margin: 1 sd is over the limit 0.2 sd of grammar-tutor"),
    ({"lease": "20s"},
     "lease: 20 s is under the floor 60 s of grammar-tutor; one slow look would end the split"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "told"), SHORT, ids=[told.split(":")[0] for _, told in SHORT])
def test_each_shortfall_is_told_under_its_key(changed: dict[str, Any], told: str) -> None:
    assert shortfalls(**changed) == [told]


def test_a_target_may_demand_more() -> None:
    strict = PRODUCTION.model_copy(update={"minimums": Minimums(hold_seconds=3600)})

    found = check_minimums(spec(), strict)

    assert [str(shortfall) for shortfall in found] == [
        "canary.hold: 30 min is under the floor 60 min of grammar-tutor"
    ]


def test_no_configuration_makes_a_production_target_accept_seconds() -> None:
    lax = PRODUCTION.model_copy(update={"minimums": DEMO_MINIMUMS})
    demo = parse_spec(DEMO_TEXT, filename="release.yaml")

    told = "\n".join(map(str, check_minimums(demo, lax)))

    for key in ("canary.steps.0.hold", "canary.steps.1.hold", "shadow.until_any.time", "lease"):
        assert f"{key}: " in told
    assert check_minimums(demo, demo_target("grammar-tutor")) == []


@pytest.mark.parametrize("margin", [{"odds": 18}, {"odds": 3, "abs": "14%"}], ids=str)
def test_nobody_lets_fifteen_percent_of_errors_pass_in_production(margin: object) -> None:
    lax = PRODUCTION.model_copy(update={"minimums": DEMO_MINIMUMS.model_copy(
        update={"max_margin_odds": 1000.0, "max_margin_abs": 0.5}
    )})  # fmt: skip
    wide = spec(gates={"error": {"margin": [margin, 1.5]}})

    told = [str(shortfall) for shortfall in check_minimums(wide, lax)]

    assert len(told) == 1
    assert told[0].startswith("gates.error.margin.0: refused [margin too wide]: ")
    assert told[0].endswith("Next: rule out odds 3 or less, and 2% or less")


def test_an_experiment_that_only_reports_needs_no_shadow() -> None:
    assert shortfalls(stages=["ab"], on_pass="report") == []


def test_no_plan_is_made_of_a_spec_below_its_minimums() -> None:
    with pytest.raises(BelowMinimums, match="lease: 20 s is under the floor 60 s"):
        compile_plan(spec(lease="20s"), PRODUCTION)
