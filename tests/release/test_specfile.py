"""Reading release.yaml: every mistake at once, with its place, and nothing that hides in YAML."""

import tracemalloc

import pytest
from spec_builders import PRODUCTION, SMALLEST, mistakes, spec_text

from rampway.release.minimums import check_minimums
from rampway.release.specfile import (
    ERRORS_LIMIT,
    SpecError,
    SpecErrors,
    as_annotations,
    locate_shortfalls,
    parse_spec,
)

# The keys stand on the lines on which the documented example has them.
EXAMPLE = """\
# yaml-language-server: $schema=./.rampway/release.schema.json
target: grammar-tutor
owner: tutor-dev
team: tutor
baseline: current              # plan resolves the digest
candidate:
  prompt: prompts/tutor.md
  model: provider-v5
  parameters: {temperature: 0}
serve: {upstream: provider}
error_budget: 5%               # harmless releases rolled back
offline:
  cases: evals/verbs.jsonl
  cluster: verb
  headline: {p: 0.05, margin: 1pp}

  safety: {cases: evals/safety.jsonl, generations: 3}        # no flip allowed
shadow:
  rate: 5%
  until_any: {time: 1h, pairs: 10000}
  judge_mean: {p: 0.01, margin: 0.03sd}
canary:
  steps: [1, 5, 25, 100]       # %; 1 and 100 screen, 5 and 25 must PASS
  hold: 30m                    # at least; plan lengthens it to what the proof needs
  deadline: 3x                 # of the hold, per step; then pin, page, roll back
  look_every: 10s

  holdback: 1%                 # baseline kept at 100 %
gates:                         # margin: odds worse to rule out, at 5 % and at 25 %
  error: {budget: 25%, margin: [2.0, 1.5]}
  latency: {budget: 15%, margin: [2.0, 1.5], at: [p50, p95, p99]}

  refusal: {budget: 10%, margin: [2.0, 1.5]}


lease: 120s                    # unrenewed: back to baseline
after_promotion: {watch: 6h}
costs: {request: 0.0021 USD, judge: 0.0006 USD}
page: pagerduty
"""


def test_the_documented_example_is_read() -> None:
    spec = parse_spec(EXAMPLE, filename="release.yaml")

    assert spec.candidate.parameters == {"temperature": 0}
    assert check_minimums(spec, PRODUCTION) == []


def test_the_documented_mistakes_are_told_all_at_once_as_documented() -> None:
    text = EXAMPLE.replace("[1, 5, 25, 100]", "[1, 25, 5, 100]").replace("hold: 30m", "hodl: 30m")

    with pytest.raises(SpecErrors) as told:
        parse_spec(text, filename="release.yaml")

    assert str(told.value).splitlines() == [
        "release.yaml has 2 errors; nothing was started.",
        "release.yaml:23:18: canary.steps: steps must climb: 5 % follows 25 %",
        "release.yaml:24:3: canary.hodl: unknown key; did you mean hold?",
    ]


def test_a_shortfall_is_told_at_its_line() -> None:
    text = EXAMPLE.replace("lease: 120s", "lease: 20s")
    shortfalls = check_minimums(parse_spec(text, filename="release.yaml"), PRODUCTION)

    located = locate_shortfalls(shortfalls, text, filename="release.yaml")

    assert "\n".join(map(str, located)) == (
        "release.yaml:36:8: lease: 20 s is under the floor 60 s of grammar-tutor; "
        "one slow look would end the split"
    )


def test_rules_between_keys_are_told_beside_other_mistakes() -> None:
    text = spec_text(
        owner=None, lease="never", typo=1, gates={"error": {"budget": "80%"}, "latency": {"at": 1}}
    )

    found = "\n".join(mistakes(text))

    assert len(mistakes(text)) == 5
    for part in ("owner: is missing", "lease: needs", "typo: unknown", "gates.latency.at", "105 %"):
        assert part in found


def test_a_rule_is_silent_where_a_value_it_needs_could_not_be_read() -> None:
    text = spec_text(canary={"steps": [1, "x", 100]}, gates={"error": {"margin": [2]}})

    assert [line.split(": ")[1] for line in mistakes(text)] == ["canary.steps.1.share"]


def test_scalars_stay_what_the_author_wrote() -> None:
    text = SMALLEST.replace("provider-v5", "1234567e8").replace("tutor-dev", "no")

    spec = parse_spec(text, filename="release.yaml")

    assert (spec.candidate.model, spec.owner) == ("1234567e8", "no")


HIDDEN = {
    "an alias": ("team: &t x\npage: *t\n", "anchors are not accepted: remove &t"),
    "a tag": ("team: !!str x\n", "tags are not accepted: remove '!!str'"),
    "a local tag": ("team: !x y\n", "tags are not accepted: remove '!x'"),
    "a merge key": ("<<: {team: x}\n", "merge keys are not accepted; write the keys out"),
    "a duplicate key": ("owner: b\n", "owner: is given twice, first on line 2"),
    "an empty key": ("~: b\n", "is not a key; every key needs a name"),
    "half a character": ('team: "\\ud800"\n', "holds a character that cannot be stored"),
    "a zero byte": ('team: "a\\0b"\n', "holds a character that cannot be stored"),
}


@pytest.mark.parametrize(("line", "told"), HIDDEN.values(), ids=HIDDEN)
def test_what_makes_yaml_mean_something_else_is_refused(line: str, told: str) -> None:
    found = mistakes(SMALLEST + line)

    assert found[0].startswith("release.yaml:6:")
    assert told in found[0]


BROKEN = {
    "not closed": ("a: [", "1:5", "is not YAML: while parsing a flow node"),
    "two colons": ("a: b: c", "1:5", "is not YAML: mapping values are not allowed here"),
    "a tab": ("a:\n\tb: c", "2:1", "is not YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1", "holds more than one document"),
    "a list as key": ("? [a]\n: b", "1:3", "a key must be text"),
    "a control character": ("a: b\nc: \x07", "2:4", "holds the character U+0007"),
    "an impossible escape": ('a: "\\UFFFFFFFF"', "1:1", "an escape names no character"),
    "no keys": ("- a", "1:1", "needs keys such as target and candidate"),
    "nothing": ("", "1:1", "needs keys such as target and candidate"),
    "too deep": ("a: " + "[" * 25, "1:23", "is nested deeper than 20 levels"),
    "too large": ("#" * (256 * 1024 + 1), "1:1", "is larger than 256 KB"),
    "too large in bytes": ("#" + "é" * (128 * 1024), "1:1", "is larger than 256 KB"),
}


@pytest.mark.parametrize(("text", "place", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_told_at_its_place(text: str, place: str, told: str) -> None:
    found = mistakes(text)

    assert len(found) == 1
    assert found[0].startswith(f"release.yaml:{place}: ")
    assert told in found[0]


def test_a_bomb_of_aliases_takes_no_memory() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    tracemalloc.start()

    found = mistakes(SMALLEST + "\n".join(levels))

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert any("aliases are not accepted" in line for line in found)
    assert peak_bytes < 20_000_000


def test_a_file_that_is_something_else_is_told_in_bounds() -> None:
    text = SMALLEST + "".join(f"key{i}: {i}\n" for i in range(3000))

    with pytest.raises(SpecErrors) as told:
        parse_spec(text, filename="release.yaml")

    assert len(told.value.errors) == ERRORS_LIMIT


def test_annotations_escape_what_github_would_read() -> None:
    error = SpecError("a,b:c.yaml", 3, 5, "x", "100 % is\nwrong, no: really", "do\r")

    assert as_annotations([error]) == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=5::x: 100 %25 is%0Awrong, no: really; do%0D",
    )


def test_what_was_typed_cannot_forge_a_second_line() -> None:
    text = SMALLEST + '"x\\n::error::pwned": 1\nteam: "a\\n::error::b"\n'

    found = mistakes(text)

    assert len(found) == 2
    assert all("\n" not in line for line in found)
