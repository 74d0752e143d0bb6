"""A user's own counters as a gate: read offline, counted from raw samples, never guessed."""

import random
from typing import Any

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rampway.adapters.evidence_prometheus import Limits
from rampway.adapters.evidence_prometheus.promql import BadSelector, read_selector
from rampway.adapters.evidence_prometheus.samples import Series
from rampway.adapters.evidence_prometheus.timelines import POOLED_SLICES_MAX
from rampway.adapters.evidence_prometheus.usercounts import Cells, Grid, rows_of, scrapes_of

GRID = Grid(began=1_000.0, slice_seconds=10)
LIMITS = Limits(5)

REFUSED = {
    "rate(a_total[5m])": "is no plain selector",
    "a_total or vector(0)": "is no plain selector",
    "a_total[5m]": "is no plain selector",
    "(a_total)": "is no plain selector",
    "sum(a_total)": "is no plain selector",
    "-a_total": "is no plain selector",
    "1": "is no plain selector",
    "a_total offset 5m": "asks for another time",
    "a_total @ 3": "asks for another time",
    '{app="x"}': "names no metric",
    '{__name__="a_total"}': "names no metric",
    "latency_seconds": "did you mean latency_seconds_total",
    'a_total{b=~"x.*"}': "regular expression",
    'a_total{b!~"x"}': "regular expression",
    'a_total{arm="candidate"}': "fixes the label arm",
    'a_total{b="c" or d="e"}': "has `or`",
    'a_total{b="x y"}': "other characters",
    'a_total{b="é"}': "other characters",
    'a_total{b=""}': "other characters",
    'a_total{b="\\"} or vector(0) #"}': "other characters",
    "a_total{b=": "is no PromQL",
    "": "is no PromQL",
    "a_total " * 200: "is longer than",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_a_counter_told_plainly_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(BadSelector, match=REFUSED[text]) as refused:
        read_selector(text, arm_label="arm")

    assert refused.value.next_step


def test_a_selector_is_written_anew_from_what_was_read() -> None:
    found = read_selector(" a_total { app = 'tutor' , zone!=\"b/1\" } ", arm_label="arm")

    assert found.render() == 'a_total{app="tutor",zone!="b/1"}'
    assert read_selector("a_total", arm_label="arm").render() == "a_total{}"


@settings(max_examples=300)
@given(
    st.text(max_size=12) | st.from_regex(r"[a-zA-Z0-9_.:/@-]{1,20}", fullmatch=True),
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
)
def test_no_value_can_make_another_question_of_it(value: str, label: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    try:
        query = read_selector(f'a_total{{{label}="{escaped}"}}', arm_label="arm").render()
    except BadSelector:
        return

    parsed = promql_parser.parse(query)
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert parsed.name == "a_total"
    assert [(m.name, m.value) for m in parsed.matchers.matchers] == [(label, value)]


def scraped(
    times: list[float], seed: int, restarts: frozenset[int] = frozenset()
) -> tuple[dict[float, Cells], list[Cells]]:
    """An application's counters at these times, and what truly came before each of them."""
    dice = random.Random(seed)
    told: dict[float, Cells] = {}
    came: list[Cells] = []
    sums = [0, 0, 0, 0]
    for n, at in enumerate(times):
        new_total, old_total = dice.randrange(50), dice.randrange(500)
        more = (new_total, dice.randint(0, new_total), old_total, dice.randint(0, old_total))
        sums = [0, 0, 0, 0] if n in restarts else [a + b for a, b in zip(sums, more, strict=True)]
        came.append(more)
        told[at] = (sums[0], sums[1], sums[2], sums[3])
    return told, came


@settings(max_examples=100)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=60),
    st.sets(st.integers(1, 50), max_size=3),
    st.integers(0, 10**6),
)
def test_no_row_has_more_than_was_scraped_in_its_slice_and_none_lies_at_a_restart(
    gaps: list[int], restarts: set[int], seed: int
) -> None:
    times = [1_000.0 + sum(gaps[: n + 1]) / 2 for n in range(len(gaps))]
    told, came = scraped(times, seed, frozenset(restarts))
    sealed = GRID.slice_at(times[-1])

    rows: Any = rows_of({("job", "one"): told}, GRID, LIMITS, sealed)

    for index, *cells in rows:
        own = [more for at, more in zip(times, came, strict=True) if GRID.slice_at(at) == index]
        # A row may leave its first scrape out: what came before it may be of the split before.
        assert all(
            cell <= sum(column) for cell, column in zip(cells, zip(*own, strict=True), strict=False)
        )
        assert cells == [0, 0, 0, 0] or own
        assert index < sealed
    inside = {n for n in restarts if n < len(times) and all(told[times[n - 1]])}
    for n in inside:
        before, at = times[n - 1], times[n]
        if before >= GRID.began + GRID.slice_seconds:
            around = set(range(GRID.slice_at(before), GRID.slice_at(at) + 1))
            assert around.isdisjoint(row[0] for row in rows)


def test_a_scrape_per_slice_tells_each_slice_but_the_first_ones() -> None:
    times = [1_001.0 + 10 * n for n in range(10)]
    told, came = scraped(times, seed=1)

    rows = rows_of({("job", "one"): told}, GRID, LIMITS, sealed=9)

    # The first scrape after the margin is in slice 1: what came before it is not this segment's.
    assert rows == [[index, *came[index]] for index in range(2, 9)]


def test_two_applications_are_added_up_and_a_gap_of_one_is_a_gap() -> None:
    times = [1_011.0 + 10 * n for n in range(20)]
    one, came = scraped(times, seed=1)
    other = {at: cells for n, (at, cells) in enumerate(one.items()) if not 5 < n < 13}

    rows: Any = rows_of({("job", "1"): one, ("job", "2"): other}, GRID, LIMITS, sealed=20)

    assert rows[0] == [2, *(2 * count for count in came[1])]
    gone = set(range(6, 15))
    assert len(gone) > POOLED_SLICES_MAX
    assert {row[0] for row in rows} == set(range(2, 20)) - gone


def series(kind: str, arm: str, *samples: tuple[float, str], **labels: str) -> Series:
    own = {"__name__": f"{kind}_total", "arm": arm, "job": "app", "instance": "1", **labels}
    return Series(own, list(samples))


def test_both_arms_and_both_counts_must_be_in_one_scrape() -> None:
    totals = [
        series("total", "candidate", (1.0, "10"), (2.0, "20"), (3.0, "30"), code="200"),
        series("total", "candidate", (2.0, "1"), (3.0, "1"), code="500"),
        series("total", "baseline", (1.0, "100"), (2.0, "200"), (3.0, "300")),
        series("total", "shadow", (1.0, "7")),
    ]
    bad = [
        series("bad", "candidate", (1.0, "1"), (2.0, "2"), (3.0, "NaN")),
        series("bad", "baseline", (2.0, "3"), (3.0, "3")),
    ]

    found = scrapes_of({"total": totals, "bad": bad}, "arm")

    assert found == {("app", "1"): {2.0: (21, 2, 200, 3)}}
    assert scrapes_of({"total": totals, "bad": bad[:1]}, "arm") == {}
