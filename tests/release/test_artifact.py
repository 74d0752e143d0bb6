"""What makes two artifacts the same, and what a plan shows when they are not."""

import pytest
from spec_builders import SMALLEST, spec

from rampway.gates.facts import digest_of
from rampway.release.artifact import Artifact, PromptUnread, bundle, diff
from rampway.release.specfile import parse_spec

PROMPT = "You are a tutor.\nAnswer in one word.\n"


def artifact(prompt: str = PROMPT, **candidate: object) -> Artifact:
    given = {"prompt": "prompts/tutor.md", "model": "m1", **candidate}
    return bundle(spec(candidate=given).candidate, prompt=prompt)


def test_the_digest_is_that_of_the_parts_that_are_there() -> None:
    made = artifact(parameters={"temperature": 0})

    assert made.digest == digest_of(
        {"prompt": PROMPT, "model": "m1", "parameters": {"temperature": 0}}
    )


def test_the_same_file_from_another_system_is_the_same_artifact() -> None:
    assert artifact("\ufeff" + PROMPT.replace("\n", "\r\n")).digest == artifact().digest


@pytest.mark.parametrize(
    "prompt", [PROMPT + "\n", PROMPT.rstrip(), PROMPT.replace("one", "One"), " " + PROMPT]
)
def test_every_other_change_of_the_prompt_is_another_artifact(prompt: str) -> None:
    assert artifact(prompt).digest != artifact().digest


def test_a_whole_number_is_one_number_however_it_is_written() -> None:
    text = SMALLEST.replace(
        "{model: provider-v5}", "{model: m, parameters: {a: NUMBER, b: [NUMBER]}}"
    )

    digests = {
        bundle(parse_spec(text.replace("NUMBER", n), filename="r").candidate).digest
        for n in ("2", "2.0", "2e0", "0.2e1")
    }

    assert len(digests) == 1


def test_quotes_make_a_text_of_a_number() -> None:
    text = SMALLEST.replace("{model: provider-v5}", "{model: m, parameters: {a: NUMBER}}")

    number = bundle(parse_spec(text.replace("NUMBER", "2"), filename="r").candidate)
    quoted = bundle(parse_spec(text.replace("NUMBER", "'2'"), filename="r").candidate)

    assert (number.parameters["a"], quoted.parameters["a"]) == (2, "2")
    assert number.digest != quoted.digest


def test_the_order_of_parameters_is_none_and_that_of_tools_counts() -> None:
    assert (
        artifact(parameters={"a": 1, "b": 2}).digest == artifact(parameters={"b": 2, "a": 1}).digest
    )
    assert artifact(tools=["x", "y"]).digest != artifact(tools=["y", "x"]).digest


def test_a_text_in_the_spec_is_the_same_as_in_a_file() -> None:
    assert (
        bundle(spec(candidate={"prompt": {"text": PROMPT}, "model": "m1"}).candidate) == artifact()
    )


def test_a_prompt_file_that_was_not_read_is_not_an_empty_prompt() -> None:
    with pytest.raises(PromptUnread, match=r"prompts/tutor\.md"):
        bundle(spec(candidate={"prompt": "prompts/tutor.md"}).candidate)


def test_a_diff_tells_each_part_that_changes() -> None:
    old = artifact(parameters={"temperature": 0.2, "top_p": 1}, tools=[{"name": "search"}])
    new = artifact(
        PROMPT.replace("one word", "a sentence"), model="m2", parameters={"temperature": 0}
    )

    assert diff(old, new) == (
        "model: m1 -> m2",
        "parameters.temperature: 0.2 -> 0",
        "parameters.top_p: 1 -> none",
        "tools: +0 -1 lines",
        "  @@ -1 +0,0 @@",
        '  -{"name":"search"}',
        "prompt: +1 -1 lines",
        "  @@ -1,2 +1,2 @@",
        "   You are a tutor.",
        "  -Answer in one word.",
        "  +Answer in a sentence.",
    )
    assert diff(old, old) == ()


def test_a_diff_is_bounded() -> None:
    lines = diff(artifact("a\n"), artifact("\n".join("x" * 1000 for _ in range(5000))))

    assert len(lines) < 210
    assert max(map(len, lines)) < 210
    assert lines[-1].endswith("more lines")
