"""No text at all makes the reader of release.yaml fail in any way but its own."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from spec_builders import SMALLEST

from rampway.gates.facts import canonical
from rampway.release.minimums import check_minimums
from rampway.release.policies import Policy
from rampway.release.records import Target
from rampway.release.spec import Spec
from rampway.release.specfile import (
    SpecError,
    SpecErrors,
    as_annotations,
    locate_shortfalls,
    parse_spec,
)
from rampway.release.template import demo_spec, init_spec

TOKENS = [
    "target", "owner", "candidate", "canary", "steps", "gates", "error", "margin", "lease", "shadow",
    "offline", "hold", "off", ": ", ":", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ",", "#",
    "&a", "*a", "!!int", "!", "<<", "|", ">", "'", '"', "\\", "\\U", "\\ud800", "%", "%YAML 1.1\n",
    "---\n", "...\n", "? ", "~", "null", "true", "1", "5", "100", "-1", "1e999", ".nan", ".inf",
    "30m", "5%", "1pp", "0.03sd", "3x", "0.0021 USD", "p95", "\t", "\x00", "\u2028", "é", "😀",
]  # fmt: skip

TEXTS = [
    SMALLEST,
    *map(init_spec, Policy),
    demo_spec(target="t", model="b", upstream="u", cases="c.jsonl", safety_cases="s.jsonl"),
]


def check(text: str) -> None:
    """A text is a spec that stands by itself, or a list of mistakes with places."""
    spec, mistakes = read(text)
    lines = as_annotations(mistakes)
    assert (spec is None) is bool(mistakes)
    assert all(error.line >= 1 and error.column >= 1 for error in mistakes)
    assert len(lines) == len(mistakes)
    assert not any("\n" in line for line in lines)
    if spec is not None:
        check_spec(spec, text)


def read(text: str) -> tuple[Spec | None, tuple[SpecError, ...]]:
    try:
        return parse_spec(text, filename="release.yaml"), ()
    except SpecErrors as errors:
        return None, errors.errors


def check_spec(spec: Spec, text: str) -> None:
    assert Spec.model_validate_json(spec.model_dump_json()) == spec
    assert canonical(spec.model_dump(mode="json"))
    assert all(math.isfinite(step.hold_seconds) for step in spec.steps)
    shortfalls = check_minimums(spec, Target(name="t"))
    assert len(locate_shortfalls(shortfalls, text, filename="release.yaml")) == len(shortfalls)


@given(st.text(max_size=200))
def test_arbitrary_text(text: str) -> None:
    check(text)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_arbitrary_pieces_of_yaml(text: str) -> None:
    check(text)


@settings(max_examples=300)
@given(
    st.sampled_from(TEXTS),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TOKENS)),
        min_size=1,
        max_size=4,
    ),
)
def test_good_files_with_pieces_replaced(text: str, edits: list[tuple[float, int, str]]) -> None:
    for where, length, token in edits:
        start = int(where * len(text))
        text = text[:start] + token + text[start + length :]

    check(text)


@settings(max_examples=200)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_good_files_with_values_exchanged(text: str, seed: int) -> None:
    """Each scalar of a good file may turn into that of another key, or into a trap."""
    dice = random.Random(seed)
    lines = text.splitlines()
    for _ in range(dice.randint(1, 3)):
        i, j = dice.randrange(len(lines)), dice.randrange(len(lines))
        key, colon, _value = lines[i].partition(":")
        _key, _colon, other = lines[j].partition(":")
        lines[i] = key + colon + dice.choice([other, " .nan", " 1e999", " -1", " ''", ""])

    check("\n".join(lines))
