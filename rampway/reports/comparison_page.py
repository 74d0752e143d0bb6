"""The report of a traffic log as one HTML file: no script, nothing loaded from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rampway.gates.comparison import Recommendation
from rampway.gates.facts import digest_of
from rampway.reports import distributions, forest, split_seen
from rampway.reports.advice import KeyFact
from rampway.reports.comparison import TrafficReport
from rampway.reports.comparison_words import (
    BUCKET_COLUMNS,
    LATENCY_COLUMNS,
    RATE_COLUMNS,
    bucket_rows,
    buckets_note,
    change_cells,
    cost_lines,
    headline,
    latency_rows,
    latency_sentence,
    log_lines,
    loud_lines,
    milliseconds,
    pairs_sentence,
    rate_rows,
)
from rampway.reports.page import TEMPLATES, Figures
from rampway.reports.words import (
    duration,
    integer,
    interval_points,
    plain,
    points,
    share,
    short,
    significant,
    utc,
)

_MOODS = {
    Recommendation.PROMOTE: "PASS",
    Recommendation.HOLD: "INCONCLUSIVE",
    Recommendation.RETRAIN: "BREACH",
}


@dataclass(frozen=True)
class ColumnOfBuckets:
    """The section about one field of the requests."""

    title: str
    figures: Figures
    rows: list[list[str]]
    note: str


def comparison_html(report: TrafficReport) -> str:
    """The whole page; times are in UTC, so that the same log gives the same bytes."""
    return TEMPLATES.get_template("comparison.html").render(_content(report))


def _content(report: TrafficReport) -> Mapping[str, Any]:
    subject = report.subject
    recommendation = report.advice.recommendation
    return {
        "target": subject.target,
        "when": _when(report),
        "mood": _MOODS[recommendation],
        "recommendation": recommendation.value,
        "headline": headline(report),
        "loud": loud_lines(report.read),
        "facts": _facts(report),
        "rates": (RATE_COLUMNS, rate_rows(report)),
        "rule": report.arms.rule if report.arms else "",
        "split": _split(report),
        "latency": _latency(report),
        "latency_rows": (LATENCY_COLUMNS, latency_rows(report)),
        "latency_sentence": latency_sentence(report),
        "cost": cost_lines(report),
        "bucket_columns": BUCKET_COLUMNS,
        "buckets": _buckets(report),
        "pairs": pairs_sentence(report),
        "changes": [change_cells(change) for change in report.changes],
        "log": log_lines(report.read),
        "record": _record(report),
    }


def _when(report: TrafficReport) -> str:
    subject = report.subject
    began = datetime.fromtimestamp(subject.began_at, UTC)
    return f"from {utc(began)} for {duration(subject.ended_at - subject.began_at)}"


def _facts(report: TrafficReport) -> list[KeyFact]:
    read, arms, pairs = report.read, report.arms, report.pairs
    lines = f"{integer(read.live)} live, {integer(read.pairs)} copied"
    facts = [KeyFact("Log", f"{integer(read.lines)} lines", lines)]
    if arms is not None:
        correct = arms.correct
        facts.append(
            KeyFact(
                "Right answers",
                points(correct.difference),
                f"95 % CI {interval_points(correct.low, correct.high)} pp",
            )
        )
    if report.waits is not None:
        old, new = (waits.percentiles.p95 for waits in report.waits)
        facts.append(KeyFact("p95", milliseconds(new), f"baseline {milliseconds(old)}"))
    if pairs is not None:
        told = f"{integer(pairs.improved)} / {integer(pairs.regressed)} / {integer(pairs.neutral)}"
        facts.append(KeyFact("Disagreements", told, "improved / regressed / neutral"))
    cost = arms.cost if arms else None
    if cost is not None and cost.candidate_per_correct is not None:
        note = (
            f"baseline {significant(cost.baseline_per_correct, 3)}"
            if cost.baseline_per_correct is not None
            else ""
        )
        facts.append(
            KeyFact("Cost per right answer", significant(cost.candidate_per_correct, 3), note)
        )
    return facts


def _split(report: TrafficReport) -> Figures | None:
    subject = report.subject
    if subject.share_bp is None or not report.moments:
        return None
    # The A/B's own time: copies may have been made long before it.
    last = report.moments[-1].seconds
    seconds = last * len(report.moments) / max(1, len(report.moments) - 1)
    return Figures(
        *(
            split_seen.split_figure(report.moments, subject.share_bp, seconds, size)
            for size in (split_seen.WIDE, split_seen.NARROW)
        )
    )


def _latency(report: TrafficReport) -> Figures | None:
    if report.waits is None:
        return None
    wide, narrow = (
        distributions.latency_figure(*report.waits, size)
        for size in (distributions.WIDE, distributions.NARROW)
    )
    return Figures(wide, narrow) if wide else None


def _buckets(report: TrafficReport) -> list[ColumnOfBuckets]:
    sections: list[ColumnOfBuckets] = []
    for number, (column, buckets) in enumerate(report.buckets().items()):
        wide, narrow = (
            forest.forest_figure(column, buckets, size, str(number))
            for size in (forest.WIDE, forest.NARROW)
        )
        if buckets:
            sections.append(
                ColumnOfBuckets(
                    title=plain(column, 60),
                    figures=Figures(wide, narrow),
                    rows=bucket_rows(buckets),
                    note=buckets_note(report, column),
                )
            )
    return sections


def _record(report: TrafficReport) -> list[tuple[str, str]]:
    subject = report.subject
    rows = [
        ("Target", f"{plain(subject.target)}, epoch {subject.epoch}"),
        ("Releases", ", ".join(plain(name, 80) for name in subject.releases)),
        ("Baseline", plain(subject.baseline)),
        ("Candidate", plain(subject.candidate)),
        ("Share", "no A/B" if subject.share_bp is None else share(subject.share_bp)),
        ("Grader", plain(subject.grader)),
        ("Dataset", f"{subject.dataset}, {integer(subject.requests)} requests"),
        ("Log", subject.log),
    ]
    if subject.seeds:
        rows.append(
            ("Seeds", f"{plain(str(subject.seeds), 200)}, {short(digest_of(subject.seeds))}")
        )
    return rows
