"""The page of a traffic report: whole, alone in its file, readable without its pictures."""

import math
import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rampway.gates.advice import PairScored, advise, compare_pairs
from rampway.gates.comparison import ArmResults, Percentiles, Portion, compare_arms
from rampway.gates.evidence import Disagreement
from rampway.gates.ranks import percentile, sample_of
from rampway.reports import distributions, forest
from rampway.reports.comparison import (
    BadLine,
    Change,
    Changed,
    LogFacts,
    Moment,
    Subject,
    TrafficReport,
    Waits,
)
from rampway.reports.comparison_markdown import comparison_markdown
from rampway.reports.comparison_page import comparison_html
from rampway.reports.manifest import manifest

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
VOID = {"meta", "br", "link", "img", "input", "hr"}
TENSES = ("past", "present", HOSTILE)


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def arm(name: str, right: int, units: int, latencies_ms: tuple[float, ...]) -> ArmResults:
    each = Portion(hits=right // 3, units=units // 3)
    return ArmResults(
        artifact=f"sha256:{name}",
        grader="set_match/1/sha256:feed",
        units=units,
        correct=Portion(hits=right, units=units),
        bad={"error": 2},
        by={"tense": dict.fromkeys(TENSES, each)},
        latency_ms=latencies_ms,
        cost=1.5,
    )


def waits(latencies_ms: tuple[float, ...], timeouts: int = 0) -> Waits:
    sample = sample_of((*latencies_ms, *(math.inf,) * timeouts))
    found = [percentile(sample, q) for q in (0.5, 0.95, 0.99)]
    p50, p95, p99 = (ms if math.isfinite(ms) else None for ms in found)
    percentiles = Percentiles(units=len(latencies_ms) + timeouts, p50=p50, p95=p95, p99=p99)
    return Waits(latencies_ms, timeouts, percentiles)


@cache
def report() -> TrafficReport:
    """A hostile log: markup wherever its author could put a text."""
    dice = random.Random(5)
    old, new = (tuple(dice.gammavariate(4, 10) for _ in range(300)) for _ in range(2))
    arms = compare_arms(arm("aaaa", 210, 300, old), arm("bbbb", 270, 300, new), candidate_share=0.5)
    pairs = compare_pairs([PairScored(0, 1, same_answer=False)] * 9, "the same request")
    case = Disagreement(
        case=HOSTILE, old=0, new=1, question=HOSTILE, old_answer=HOSTILE, new_answer="went"
    )
    return TrafficReport(
        subject=Subject(
            target="tutor",
            releases=(HOSTILE,),
            epoch=1,
            segments=(1, 2),
            share_bp=5_000,
            began_at=1_790_000_000.0,
            ended_at=1_790_003_600.0,
            baseline="sha256:aaaa",
            candidate="sha256:bbbb",
            grader="set_match/1/sha256:feed",
            dataset="sha256:dada",
            requests=609,
            log="sha256:1061",
            by=("tense",),
            seeds={"load": HOSTILE},
        ),
        read=LogFacts(lines=620, live=600, pairs=9, outside=0, bad=(BadLine(7, HOSTILE),)),
        advice=advise(arms, pairs, crossed=0),
        arms=arms,
        pairs=pairs,
        waits=(waits(old), waits(new, timeouts=2)),
        changes=(Change(Changed.IMPROVED, case),),
        moments=tuple(Moment(150.0 * i, 12, 13 if i != 3 else 0) for i in range(24)),
    )


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_well_formed_and_loads_and_runs_nothing() -> None:
    html = comparison_html(report())
    reader = read(html)

    tags = {tag for tag, _ in reader.elements}
    attributes = {name for _, attrs in reader.elements for name in attrs}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "form"}
    assert not {a for a in attributes if a.startswith("on")} | attributes & {"src", "xlink:href"}
    assert "@import" not in html
    assert "url(" not in html
    assert html.count("&lt;script&gt;") > 5


def test_every_drawing_is_xml_with_a_title_a_description_and_its_own_ids() -> None:
    html = comparison_html(report())

    drawings = [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # noqa: S314 - our own
    ids = re.findall(r'id="([^"]+)"', html)
    assert len(drawings) == 6  # split, latency and one column, each wide and narrow
    assert all([child.tag for child in one][:2] == ["title", "desc"] for one in drawings)
    assert all(child.text for one in drawings for child in list(one)[:2])
    assert len(ids) == len(set(ids))


def test_a_narrow_window_gets_a_card_per_row_with_the_columns_names() -> None:
    reader = read(comparison_html(report()))

    cells = [attrs for tag, attrs in reader.elements if tag == "td"]
    assert cells
    assert all(attrs.get("data-label") for attrs in cells)
    assert sum(attrs.get("class") == "narrow" for _, attrs in reader.elements) == 3


def test_the_page_answers_first_and_says_what_cannot_be_trusted_before_any_number() -> None:
    html = comparison_html(report())

    places = [
        html.index(part)
        for part in (
            "Recommendation: promote.",
            "ERROR: 1 line of the log cannot be used:",
            "<h2>Rates</h2>",
            "<h2>The split over time</h2>",
            "<h2>Latency</h2>",
            "<h2>Right answers by tense</h2>",
            "<h2>Disagreements</h2>",
            "<h2>Record</h2>",
        )
    ]
    assert places == sorted(places)


def test_a_report_without_an_ab_says_so_and_draws_nothing_of_it() -> None:
    bare = replace(report(), arms=None, waits=None, moments=())

    html, text = comparison_html(bare), comparison_markdown(bare)

    assert "No A/B in this log: nobody was served by the candidate." in html
    assert "<svg" not in html
    assert "#### Rates" not in text
    assert "#### Disagreements" in text


def test_markdown_escapes_what_others_wrote() -> None:
    text = comparison_markdown(report())

    assert "<script" not in text
    assert "<img" not in text
    assert "| improved |" in text


def test_the_manifest_names_everything_the_report_was_made_from_and_no_time_of_its_own() -> None:
    told = manifest(report(), {"html": b"page"})

    assert told == manifest(report(), {"html": b"page"})
    assert told["artifacts"] == {"baseline": "sha256:aaaa", "candidate": "sha256:bbbb"}
    assert told["dataset"] == {"digest": "sha256:dada", "requests": 609}
    assert told["grader"] == "set_match/1/sha256:feed"
    assert told["log"] == {
        "digest": "sha256:1061",
        "lines": 620,
        "live": 600,
        "pairs": 9,
        "bad": [7],
    }
    assert manifest(report(), {"html": b"another"})["reports"] != told["reports"]


def test_a_row_of_the_forest_is_drawn_where_its_numbers_are() -> None:
    buckets = report().buckets()["tense"]

    drawn = str(forest.forest_figure("tense", buckets, forest.WIDE, "0"))

    rate = buckets[0].rate
    low, high = sorted(
        float(x)
        for x in re.search(r'x1="([\d.]+)"[^>]*x2="([\d.]+)"[^>]*interval', drawn).groups()  # type: ignore[union-attr] # found, or the test fails
    )
    assert drawn.count("<circle") == len(TENSES)
    assert (high - low) / (1032 - 190 - 210 - 20) == pytest.approx(
        (rate.high - rate.low) / (2 * 1.05 * max(abs(rate.low), abs(rate.high))), rel=0.01
    )


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1e7), min_size=1, max_size=40),
    st.lists(st.floats(0, 1e7), min_size=1, max_size=40),
    st.integers(0, 60),
)
def test_any_latencies_are_drawn_inside_the_picture(
    old: list[float], new: list[float], timeouts: int
) -> None:
    size = distributions.NARROW

    drawn = str(distributions.latency_figure(waits(tuple(old)), waits(tuple(new), timeouts), size))

    numbers = [float(x) for x in re.findall(r' (?:x1|x2|cx)="([^"]+)"', drawn)]
    assert all(0 <= x <= size.width for x in numbers)
    assert "nan" not in drawn
    ET.fromstring(drawn)  # noqa: S314 - our own
