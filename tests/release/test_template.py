"""The first file that people see is right, also in their editor."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from schema_complaints import complaints
from spec_builders import SMALLEST, spec_text

from rampway.release.minimums import check_minimums
from rampway.release.plan import compile_plan
from rampway.release.policies import Policy
from rampway.release.records import Target
from rampway.release.spec import NOT_BUILT, Spec
from rampway.release.specfile import parse_spec
from rampway.release.template import demo_spec, demo_target, init_spec

SCHEMA = Spec.model_json_schema()
DEMO = demo_spec(target="tutor", model="b", upstream="u", cases="a.jsonl", safety_cases="s.jsonl")


def underlined(text: str) -> list[str]:
    return complaints(yaml.safe_load(text), SCHEMA, SCHEMA)


def test_the_file_that_init_writes_is_ready_for_a_production_target() -> None:
    spec = parse_spec(init_spec(), filename="release.yaml")

    assert check_minimums(spec, Target(name="grammar-tutor")) == []
    assert compile_plan(spec, Target(name="grammar-tutor")).steps[1].units == 3200


def test_the_file_that_init_writes_says_nothing_but_the_defaults() -> None:
    said = parse_spec(init_spec(), filename="release.yaml")
    assumed = parse_spec(SMALLEST, filename="release.yaml")

    for key in ("error_budget", "canary", "shadow", "lease", "after_promotion", "unit", "baseline"):
        assert getattr(said, key) == getattr(assumed, key)
    assert compile_plan(said, Target(name="grammar-tutor")).steps == (
        compile_plan(assumed, Target(name="grammar-tutor")).steps
    )


def test_the_file_that_init_writes_names_no_gate_that_is_not_built() -> None:
    keys = yaml.safe_load(init_spec())

    for section, *rest in NOT_BUILT:
        assert not rest or rest[0] not in keys[section]


TEXTS = {**{policy.value: init_spec(policy) for policy in Policy}, "demo": DEMO, "": SMALLEST}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_editor_finds_nothing_wrong(text: str) -> None:
    assert underlined(text) == []


@pytest.mark.parametrize(
    "changed",
    [{"typo": 1}, {"lease": 120}, {"lease": "2 hours"}, {"error_budget": 5}, {"unit": "pod"},
     {"canary": {"steps": [1, 500]}}, {"canary": {"hodl": "30m"}}, {"shadow": "on"},
     {"gates": {"error": {"margin": ["2x"]}}}, {"owner": None}, {"stages": ["canaries"]},
     {"on_pass": "approve"}, {"ab": {"share": 50}}, {"gates": {"sample_ratio": "maybe"}},
     {"gates": {"quality": {"margin": [0.1]}}}, {"gates": {"refusal": {"role": "watches"}}}],
    ids=str,
)  # fmt: skip
def test_an_editor_underlines_what_validate_refuses(changed: dict[str, Any]) -> None:
    assert underlined(spec_text(**changed)) != []


def test_an_editor_offers_defaults_as_the_file_spells_them() -> None:
    canary = SCHEMA["$defs"]["Canary"]["properties"]

    assert canary["hold"]["default"] == "30m"
    assert canary["deadline"]["default"] == "3x"
    assert SCHEMA["properties"]["error_budget"]["default"] == "5%"
    assert "null" not in str(SCHEMA)


ODD = ["null", "no", "on", "1e3", "a: b", "#x", "- a", "*a", "&a", "x y", "'", '"', "é", "%", "@x"]


@pytest.mark.parametrize("name", ODD)
def test_names_that_yaml_would_misread_survive(name: str) -> None:
    init = parse_spec(init_spec(owner=name, team=name, model=name), filename="r")
    demo = parse_spec(
        demo_spec(target="t", model=name, upstream="u", cases="c", owner=name, cluster=name),
        filename="r",
    )

    assert (init.owner, init.team, init.candidate.model) == (name, name, name)
    assert init.serve.fields == {"model": name}
    assert (demo.owner, demo.candidate.model, demo.offline.cluster) == (name, name, name)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_prompt_survives_the_demos_file(prompt: str) -> None:
    text = demo_spec(target="t", model="b", upstream="u", cases="c", prompt=f"x{prompt}")

    spec = parse_spec(text, filename="release.yaml")

    assert spec.candidate.prompt is not None
    assert spec.candidate.prompt.text == f"x{prompt}"


def test_the_demo_is_a_demo_and_cannot_be_run_on_a_production_target() -> None:
    spec = parse_spec(DEMO, filename="release.yaml")

    assert check_minimums(spec, demo_target("tutor")) == []
    assert len(check_minimums(spec, Target(name="tutor"))) > 10
