import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from rampway.reports.svg import (
    Axis,
    Drawing,
    Point,
    apart,
    duration_ticks,
    nice_ticks,
    staircase,
    time_ticks,
)

START = datetime(2026, 11, 20, 0, 19, 8, tzinfo=UTC)


def test_a_drawing_has_a_title_and_a_description_and_escapes_what_it_is_told() -> None:
    drawing = Drawing("k", 100, 50, "<b>", '"&')
    drawing.text(Point(1, 2), "</text><script>")
    drawing.box(Point(0, 0), 10, 10, 'x" onload="y', "<i>")

    markup = str(drawing.markup())

    assert 'aria-labelledby="k-t k-d"' in markup
    assert '<title id="k-t">&lt;b&gt;</title><desc id="k-d">&#34;&amp;</desc>' in markup
    assert "<script" not in markup
    assert 'onload="' not in markup


def test_a_staircase_keeps_each_value_until_the_next() -> None:
    stairs = staircase([Point(0, 9), Point(5, 4)], until_x=8)

    assert stairs == [Point(0, 9), Point(5, 9), Point(5, 4), Point(8, 4)]


def test_an_axis_without_extent_does_not_divide_by_zero() -> None:
    assert Axis(3, 3, 10, 90).at(3) == 10


@given(st.floats(0, 1e9), st.integers(2, 10))
def test_ticks_are_round_few_and_inside(high: float, most: int) -> None:
    ticks = nice_ticks(high, most)

    assert ticks[0] == 0
    assert len(ticks) <= most + 1
    assert ticks[-1] <= high * (1 + 1e-9)
    assert ticks == sorted(set(ticks))


@given(st.floats(1, 30 * 86_400), st.integers(3, 10))
def test_duration_ticks_are_few_and_inside(seconds: float, most: int) -> None:
    ticks = duration_ticks(seconds, most)

    assert 1 <= len(ticks) <= most + 1
    assert ticks[-1] <= seconds


@given(st.integers(1, 60 * 86_400), st.integers(3, 10))
def test_times_of_day_are_few_round_and_inside(seconds: int, most: int) -> None:
    end = START + timedelta(seconds=seconds)

    ticks = time_ticks(START, end, ZoneInfo("Europe/Berlin"), most)

    assert len(ticks) <= most + 1
    assert all(START <= tick <= end for tick in ticks)
    assert all(tick.second == 0 for tick in ticks if seconds > 60 * most)


@given(st.lists(st.floats(0, 300), max_size=8))
def test_labels_keep_their_order_and_their_distance(wanted: list[float]) -> None:
    placed = apart(wanted, 17, 0, 300)

    gaps = sorted(placed)
    assert len(placed) == len(wanted)
    assert all(-1e-6 <= place <= 300 + 1e-6 for place in placed)
    assert all(b - a >= 17 - 1e-6 for a, b in itertools.pairwise(gaps))
    assert [p for _, p in sorted(zip(wanted, placed, strict=True))] == gaps


def test_labels_that_cannot_fit_are_spread_evenly() -> None:
    assert apart([5, 5, 5], 100, 0, 100) == [0, 50, 100]
