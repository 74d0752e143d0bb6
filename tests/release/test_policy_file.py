"""A policy is the section `offline` of a release.yaml, read by the same rules."""

import pytest

from rampway.gates.plans import SliceMode
from rampway.release.plan import offline_plan
from rampway.release.specfile import SpecErrors, parse_policy


def errors_of(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as refused:
        parse_policy(text, filename="policy.yaml")
    return [str(error) for error in refused.value.errors]


def test_a_policy_needs_no_files_of_cases() -> None:
    read = parse_policy(
        "offline:\n"
        "  cluster: verb\n"
        "  coverage: 95%\n"
        "  headline: {p: 0.01, margin: 2pp}\n"
        "  slices: {by: [tense, person], sigma: 3, mode: literal}\n"
        "  safety: {generations: 3}\n",
        filename="policy.yaml",
    )

    plan = offline_plan(read)
    assert (plan.p, plan.margin, plan.coverage, plan.clustered) == (0.01, 0.02, 0.95, True)
    assert plan.slices is not None
    assert plan.slices.by == ("tense", "person")
    assert (plan.slices.sigma, plan.slices.mode) == (3, SliceMode.LITERAL)
    assert plan.safety is not None
    assert plan.safety.generations == 3


def test_a_policy_may_be_a_part_of_a_release_yaml_with_its_files() -> None:
    text = "offline:\n  cases: evals/verbs.jsonl\n  safety: {cases: evals/safety.jsonl}\n"

    read = parse_policy(text, filename="policy.yaml")

    assert read.cases == "evals/verbs.jsonl"


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    told = errors_of("target: x\noffline:\n  clustr: verb\n  headline: {margin: 2000pp}\n")

    assert [line.split(": ")[0] for line in told] == [
        "policy.yaml:1:1",
        "policy.yaml:3:3",
        "policy.yaml:4:22",
    ]
    assert "target: unknown key; a policy has the section offline alone" in told[0]
    assert "did you mean cluster?" in told[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ofline: {}\n", "offline: is missing"),
        ("offline:\n", "offline: has no value"),
        ("offline: strict\n", "offline: needs keys below it"),
        ("offline: {safety: strict}\n", "offline.safety: needs keys below it"),
        ("offline: {slices: {}}\n", "offline.slices.by: is missing"),
        ("- offline\n", "needs the key offline"),
        ("", "needs the key offline"),
        ("offline: {a: 1, a: 2}\n", "policy.yaml:1:"),
    ],
)
def test_a_policy_that_says_nothing_usable_is_refused(text: str, why: str) -> None:
    assert any(why in line for line in errors_of(text))
