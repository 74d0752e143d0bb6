"""Which rows of a stream are slices, which of them are new at a look, and what is missing between them."""

import math

import pytest
from evidence_builders import evidence_of, evidence_of_streams, shadow_plan, steady, step_plan
from pydantic import JsonValue

from rampway.gates.slices import (
    RateRow,
    Reading,
    SliceReader,
    Slices,
    count_of,
    counts_of,
    judge_reader,
    rate_reader,
)

CLEAN = [150, 1, 2850, 28]


def reader() -> SliceReader[RateRow]:
    return rate_reader(step_plan(), "error")


def read(rows: list[JsonValue], *, sealed: int | None = None) -> Reading[RateRow]:
    return reader().read(evidence_of(rows, sealed=sealed))


def slices_of(*indices: int, sealed: int) -> Slices[RateRow]:
    return Slices("error", tuple(RateRow(n, 150, 1, 2850, 28) for n in indices), sealed, 60, None)


@pytest.mark.parametrize("count", [0, 1, 10**9])
def test_a_count_is_a_whole_number_up_to_a_billion(count: int) -> None:
    assert count_of(count) == count


@pytest.mark.parametrize("value", [-1, 10**9 + 1, True, 3.0, "3", None, math.nan, [3]], ids=str)
def test_anything_else_is_no_count(value: JsonValue) -> None:
    assert count_of(value) is None
    assert counts_of([1, value], 2) is None


def test_counts_are_as_many_as_asked() -> None:
    assert counts_of([1, 2], 2) == [1, 2]
    assert counts_of([1, 2], 3) is None
    assert counts_of([1, 2, 3], 2) is None
    assert counts_of("12", 2) is None


def test_all_units_of_an_arm_may_be_bad_and_no_more() -> None:
    assert read([[0, 5, 5, 9, 9]]).slices.rows == (RateRow(0, 5, 5, 9, 9),)
    assert read([[0, 5, 6, 9, 9]]).slices.rows == ()
    assert read([[0, 5, 5, 9, 10]]).slices.rows == ()


def test_evidence_time_is_sealed_counted_or_blind() -> None:
    found = slices_of(0, 1, 4, sealed=7)

    assert (found.seconds, found.counted_seconds, found.blind_seconds) == (420, 180, 120)
    assert found.end_seconds(found.rows[-1]) == 300
    assert slices_of(sealed=3).blind_seconds == 180
    assert slices_of(0, 1, sealed=2).blind_seconds == 0


def test_coverage_is_reached_by_as_many_slices_as_it_says() -> None:
    assert slices_of(*range(9), sealed=10).gap(0.9) is None
    assert slices_of(*range(8), sealed=10).gap(0.9) == (
        "8 of 10 slices of error could be counted, PASS needs 90 %"
    )
    assert slices_of(*range(7), sealed=10).gap(0.7) is None  # 0.7 * 10 is 7, rounded or not
    assert slices_of(0, sealed=1).gap(1.0) is None
    assert slices_of(sealed=0).gap(0.5) is not None
    assert slices_of(sealed=0).gap(0.0) is not None
    assert slices_of(sealed=3).gap(0.0) is None


def test_a_fraction_of_a_slice_is_no_slice_less() -> None:
    # 0.55 of 100 slices are 55 and a bit in floats.
    assert slices_of(*range(55), sealed=100).gap(0.55) is None
    assert slices_of(*range(54), sealed=100).gap(0.55) is not None


def test_the_first_look_reads_everything_anew_and_the_next_only_what_is_new() -> None:
    one = reader()
    rows = steady(4, CLEAN)

    first = one.read(evidence_of(rows[:2]))
    second = one.read(evidence_of(rows))
    third, fourth = (one.read(evidence_of(rows)) for _ in range(2))

    assert (first.anew, [row.slice_index for row in first.new]) == (True, [0, 1])
    assert (second.anew, [row.slice_index for row in second.new]) == (False, [2, 3])
    assert (third.anew, third.new) == (fourth.anew, fourth.new) == (False, ())
    assert len(third.slices.rows) == 4


def test_an_empty_first_look_is_the_first_one_all_the_same() -> None:
    one = reader()

    first = one.read(evidence_of([]))
    second = one.read(evidence_of(steady(1, CLEAN)))

    assert (first.anew, second.anew) == (True, False)
    assert len(second.new) == 1


@pytest.mark.parametrize(
    ("rows", "sealed"),
    [
        ([[0, 151, 1, 2850, 28], *steady(4, CLEAN)[1:]], 4),  # a row changed
        ([*steady(3, CLEAN), [3, 150, 1.0, 2850, 28]], 4),  # to what Python calls equal
        (steady(4, CLEAN)[:3], 4),  # a row went
        (steady(4, CLEAN), 3),  # a slice is no longer sealed
    ],
    ids=["changed", "another type", "gone", "unsealed"],
)
def test_when_the_past_changed_everything_is_read_anew(rows: list[JsonValue], sealed: int) -> None:
    one = reader()
    one.read(evidence_of(steady(4, CLEAN)))

    found = one.read(evidence_of(rows, sealed=sealed))

    assert found.anew
    assert found == read(rows, sealed=sealed)
    assert found.new == found.slices.rows


def test_a_past_that_changed_twice_between_looks_is_seen_in_each_part() -> None:
    one = reader()
    rows = steady(6, CLEAN)
    for n in (2, 4, 6):
        assert one.read(evidence_of(rows[:n])).anew is (n == 2)
    rows[3] = [3, 150, 2, 2850, 28]

    found = one.read(evidence_of(rows))

    assert found == read(rows)
    assert found.anew


def test_a_row_that_was_not_sealed_yet_is_read_when_it_is() -> None:
    one = reader()
    rows = steady(3, CLEAN)
    one.read(evidence_of(rows, sealed=2))
    rows[2] = [2, 160, 1, 2850, 28]  # its counts grew meanwhile

    found = one.read(evidence_of(rows, sealed=3))

    assert not found.anew
    assert found.new == (RateRow(2, 160, 1, 2850, 28),)


def test_a_sealed_row_behind_one_that_is_not_makes_the_next_look_start_anew() -> None:
    one = reader()
    rows: list[JsonValue] = [[0, *CLEAN], [2, *CLEAN], [1, *CLEAN]]
    early = one.read(evidence_of(rows, sealed=2))

    found = one.read(evidence_of(rows, sealed=3))

    assert [row.slice_index for row in early.new] == [0, 1]
    assert found.anew
    assert found == read(rows, sealed=3)


def test_a_row_out_of_order_is_refused() -> None:
    found = read([[0, *CLEAN], [2, *CLEAN], [1, *CLEAN], [2, *CLEAN]], sealed=3)

    assert [row.slice_index for row in found.slices.rows] == [0, 2]
    assert found.slices.missed_look == (
        "the last row of error cannot be counted: it is no valid slice after the one before"
    )


def test_a_refused_row_is_forgiven_when_a_good_one_follows() -> None:
    found = read([[0, *CLEAN], None, [1, *CLEAN]], sealed=2)

    assert found.slices.missed_look is None
    assert len(found.slices.rows) == 2


def test_a_refused_row_is_forgotten_when_all_is_read_anew() -> None:
    one = reader()
    assert one.read(evidence_of([[0, *CLEAN], None], sealed=2)).slices.missed_look is not None

    found = one.read(evidence_of(steady(2, CLEAN)))

    assert found.slices.missed_look is None


def test_a_look_says_why_it_has_no_data() -> None:
    assert read([], sealed=0).slices.missed_look == "no slice of error is sealed yet"
    lost = "the last slice of error was lost or cannot be counted"
    assert read(steady(3, CLEAN), sealed=4).slices.missed_look == lost
    assert read([], sealed=1).slices.missed_look == lost
    assert read(steady(3, CLEAN)).slices.missed_look is None


def test_fewer_than_no_slices_are_none_and_more_than_a_billion_are_a_billion() -> None:
    assert read(steady(3, CLEAN), sealed=-2).slices.sealed == 0
    assert read([], sealed=10**9 + 5).slices.sealed == 10**9
    assert reader().read(evidence_of_streams({"other": []})).slices.sealed == 0


@pytest.mark.parametrize(
    ("off", "same"), [(0.9e-9, True), (-0.9e-9, True), (1.1e-9, False), (-1.1e-9, False)]
)
def test_slices_are_as_long_as_the_plan_asks_but_for_rounding(off: float, *, same: bool) -> None:
    found = reader().read(evidence_of(steady(3, CLEAN), slice_seconds=60 * (1 + off)))

    assert (found.slices.missed_look is None) is same


def test_a_billionth_of_a_slice_is_rounding_and_more_is_another_length() -> None:
    plan = step_plan(slice_seconds=1e9, hold_seconds=3e10)
    rounded = evidence_of(steady(3, CLEAN), slice_seconds=1e9 + 1)
    longer = evidence_of(steady(3, CLEAN), slice_seconds=1e9 + 2)

    assert rate_reader(plan, "error").read(rounded).slices.missed_look is None
    assert rate_reader(plan, "error").read(longer).slices.missed_look is not None


def test_slices_of_another_length_are_nothing_and_forget_what_was_read() -> None:
    one = reader()
    one.read(evidence_of(steady(3, CLEAN)))

    found = one.read(evidence_of(steady(3, CLEAN), slice_seconds=30))
    after = one.read(evidence_of(steady(3, CLEAN)))

    assert (found.anew, found.new, found.slices.rows, found.slices.sealed) == (True, (), (), 0)
    assert (after.anew, len(after.new)) == (True, 3)


@pytest.mark.parametrize("odd", [10**30, "\ud800"], ids=["beyond 64 bits", "half a pair"])
def test_what_json_cannot_hold_is_read_anew_when_it_changes_and_only_then(odd: JsonValue) -> None:
    one = reader()
    rows: list[JsonValue] = [[0, odd, 0, 0, 0], *steady(4, CLEAN)[1:]]
    one.read(evidence_of(rows[:2]))

    same = one.read(evidence_of(rows[:2]))
    rows[1] = [1, 160, 1, 2850, 28]
    other = one.read(evidence_of(rows[:2]))
    rows[0] = [0, *CLEAN]
    valid = one.read(evidence_of(rows))

    assert (same.anew, other.anew, valid.anew) == (False, True, True)
    assert other.slices.rows == (RateRow(1, 160, 1, 2850, 28),)
    assert len(valid.slices.rows) == 4


def judged(row: JsonValue, levels: int = 3) -> int:
    """How many slices this row is."""
    found = judge_reader(shadow_plan(), "judge", levels=levels).read(
        evidence_of([row], stream="judge")
    )
    return len(found.slices.rows)


def test_scores_of_a_pair_are_under_the_levels() -> None:
    assert judged([0, [[2, 2, 5], [0, 0, 1]], 0]) == 1
    assert judged([0, [[3, 2, 5]], 0]) == 0
    assert judged([0, [[2, 3, 5]], 0]) == 0
    assert judged([0, [[2, 2, 3]], 0]) == 1  # three pairs, not a score of three


def test_a_slice_may_hold_a_million_pairs() -> None:
    assert judged([0, [[0, 0, 10**6 - 1], [1, 1, 1]], 0]) == 1
    assert judged([0, [[0, 0, 10**6], [1, 1, 1]], 0]) == 0


@pytest.mark.parametrize(
    "row",
    [
        [0, [[1, 1, 5]]],
        [0, [[1, 1, 5]], 0, 0],
        [None, [[1, 1, 5]], 0],
        [0, [[1, 1, 5]], None],
        [0, {"1": 1}, 0],
        [0, [[1, 1]], 0],
        [0, [None], 0],
    ],
    ids=str,
)
def test_a_row_of_another_shape_is_no_slice_of_pairs(row: JsonValue) -> None:
    assert judged(row) == 0
