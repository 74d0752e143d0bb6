"""What every stored fact promises: it never changes, it is complete, and equal facts have one digest."""

import hashlib
import math

import pytest
from pydantic import ValidationError

from rampway.gates.evidence import BaselineCounts, Column, Disagreement, Evidence, PairedCases
from rampway.gates.facts import canonical, digest_of, digest_of_bytes


def test_a_fact_never_changes() -> None:
    column = Column(values=["a"], codes=[0])

    with pytest.raises(ValidationError, match="frozen"):
        column.values = []  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_fact_with_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Column.model_validate({"values": ["a"], "codes": [0], "code": [0]})


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_fact_holds_no_number_that_is_none(score: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Disagreement(case="1", old=score, new=1)


def test_the_canonical_form_is_sorted_tight_and_readable() -> None:
    value = {"z": [1, 0.1, None], "a": "señor", "m": {"b": True, "a": False}}

    assert canonical(value) == ('{"a":"señor","m":{"a":false,"b":true},"z":[1,0.1,null]}'.encode())


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
def test_what_is_no_json_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_the_digest_is_sha_256_of_the_canonical_form() -> None:
    # FIPS 180-4, the example of one block.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    column = Column(values=["a"], codes=[0])

    assert digest_of_bytes(b"abc") == f"sha256:{abc}"
    assert digest_of({"b": 1, "a": 2}) == digest_of_bytes(b'{"a":2,"b":1}')
    assert column.digest == "sha256:" + hashlib.sha256(b'{"codes":[0],"values":["a"]}').hexdigest()


def test_a_case_regressed_only_when_its_score_fell() -> None:
    def case(old: float, new: float) -> Disagreement:
        return Disagreement(case="1", old=old, new=new)

    assert case(0.5, 0.25).regressed
    assert not case(0.5, 0.5).regressed
    assert not case(0.5, 0.75).regressed


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_slices_may_be_as_short_as_a_source_seals_them(seconds: float) -> None:
    facts: dict[str, object] = {
        "target": "tutor",
        "epoch": 1,
        "segment": 7,
        "sealed": {},
        "rows": {},
    }

    assert Evidence.model_validate(facts | {"slice_seconds": seconds}).slice_seconds == seconds
    with pytest.raises(ValidationError, match="greater than 0"):
        Evidence.model_validate(facts | {"slice_seconds": 0})


def test_a_baseline_that_served_nothing_is_measured_as_that() -> None:
    assert BaselineCounts(units=0, bad={}, latency={}).units == 0
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        BaselineCounts(units=-1, bad={}, latency={})


def test_nothing_is_missing_from_a_comparison_unless_its_source_says_so() -> None:
    cases = PairedCases(
        baseline="a", candidate="b", dataset="d", grader="g", cases=["1"], old=[1], new=[0]
    )

    assert cases.missing == 0
