"""What a source may send wrongly: it is left out, seen in the record, and never a PASS."""

import math

import pytest
from evidence_builders import error_gate, evidence_of, only, steady, step_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.gates.plans import Must, Spending
from rampway.gates.steps import weigh_step
from rampway.gates.verdicts import Verdict

CLEAN = [150, 1, 2850, 28]  # a minute at 50 requests/s, 5 % of them candidate, 1 % errors
BAD_ROWS: list[JsonValue] = [
    [29, 150, 1, 2850],
    [29, 150, 1, 2850, 28, 0],
    [29, 150, math.nan, 2850, 28],
    [29, 150, 1, math.inf, 28],
    [29, 150, -1, 2850, 28],
    [29, 150, 1.0, 2850, 28],
    [29, 150, True, 2850, 28],
    [29, 150, "1", 2850, 28],
    [29, 150, None, 2850, 28],
    [29, 150, 151, 2850, 28],
    [29, 150, 1, 2850, 2851],
    [29, 10**9 + 1, 1, 2850, 28],
    [28, *CLEAN],
    [-1, *CLEAN],
    ["29", *CLEAN],
    [True, *CLEAN],
    [math.nan, *CLEAN],
    [],
    None,
    "29",
    {"index": 29},
]


@pytest.mark.parametrize("bad_row", BAD_ROWS, ids=str)
def test_a_bad_row_leaves_its_look_without_data(bad_row: JsonValue) -> None:
    rows = [*steady(29, CLEAN), bad_row]

    verdict = weigh_step(step_plan(), evidence_of(rows, sealed=30))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.usable == 29


@pytest.mark.parametrize("bad_row", BAD_ROWS, ids=str)
def test_nothing_but_bad_rows_is_never_a_pass(bad_row: JsonValue) -> None:
    plan = step_plan(must=Must.SCREEN, units=0)

    verdict = weigh_step(plan, evidence_of([bad_row] * 60, sealed=60))

    assert verdict.verdict is Verdict.NO_DATA


@pytest.mark.parametrize("bad_row", BAD_ROWS, ids=str)
def test_counting_goes_on_after_a_bad_row(bad_row: JsonValue) -> None:
    rows = [*steady(29, CLEAN), bad_row, [30, *CLEAN]]

    verdict = weigh_step(step_plan(), evidence_of(rows, sealed=31))

    assert verdict.verdict is Verdict.PASS
    assert (verdict.slices, verdict.usable) == (31, 30)


def test_a_bad_row_does_not_hide_a_breach() -> None:
    rows: list[JsonValue] = [[0, 100, 100, 9_900, 0], [1, 1, 2, 3, "4"]]

    verdict = weigh_step(step_plan(), evidence_of(rows))

    assert verdict.verdict is Verdict.BREACH


def test_a_row_that_is_not_sealed_yet_is_not_looked_at() -> None:
    rows = [*steady(30, CLEAN), [30, 150, 150, 2850, 0]]

    verdict = weigh_step(step_plan(), evidence_of(rows, sealed=30))

    assert verdict.verdict is Verdict.PASS


def test_a_pass_needs_coverage() -> None:
    lost_three = [row for row in steady(30, CLEAN) if row[0] not in {3, 4, 5}]  # type: ignore[index]
    lost_four = [row for row in lost_three if row[0] != 6]  # type: ignore[index]

    enough = weigh_step(step_plan(), evidence_of(lost_three, sealed=30))
    short = weigh_step(step_plan(), evidence_of(lost_four, sealed=30))

    assert enough.verdict is Verdict.PASS
    assert short.verdict is Verdict.NO_DATA
    assert only(short).why == "26 of 30 slices of error could be counted, PASS needs 90 %"


def test_a_lost_last_slice_is_no_data_and_blindness_is_counted() -> None:
    verdict = weigh_step(step_plan(), evidence_of(steady(9, CLEAN), sealed=11))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.blind_seconds == 120
    assert verdict.why == "no slice could be counted for 2 min, the limit is 2 min"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)
LIKELY = st.lists(
    st.integers(-1, 40) | st.sampled_from([math.nan, 10**9, True, "3"]), min_size=4, max_size=6
)


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(JSON | LIKELY, max_size=12),
    sealed=st.integers(-5, 40),
    must=st.sampled_from(list(Must)),
    spending=st.sampled_from(list(Spending)),
)
def test_whatever_a_source_sends_the_verdict_is_finite_and_uncounted_rows_never_pass(
    rows: list[JsonValue], sealed: int, must: Must, spending: Spending
) -> None:
    plan = step_plan(error_gate(spending=spending), must=must, hold_seconds=120, units=0)

    verdict = weigh_step(plan, evidence_of(rows, sealed=sealed))

    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict
    if not verdict.usable:
        assert verdict.verdict is Verdict.NO_DATA
