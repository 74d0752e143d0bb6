"""The report of a traffic log as Markdown: for a pull request or a wiki, bounded, harmless to render."""

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
    pairs_sentence,
    rate_rows,
    subject_lines,
)
from rampway.reports.markdown import bounded
from rampway.reports.texts import markdown_plain, markdown_table

CHANGE_COLUMNS = ("", "request", "question", "expected", "baseline", "candidate")


def comparison_markdown(report: TrafficReport) -> str:
    """The whole report; its pictures are only in the HTML page."""
    blocks = [
        f"### {markdown_plain(report.subject.target)}: candidate against baseline",
        f"**{markdown_plain(headline(report), 2000)}**",
        _bullets(subject_lines(report.subject)),
        _section("Rates", markdown_table(RATE_COLUMNS, rate_rows(report)), report.arms),
        _section("Latency", markdown_table(LATENCY_COLUMNS, latency_rows(report)), report.waits),
        markdown_plain(latency_sentence(report)),
        _bullets(cost_lines(report)),
        *_buckets(report),
        _disagreements(report),
        _section("The log", _bullets(log_lines(report.read)), report.read),
        f"Rule: {markdown_plain(report.arms.rule)}." if report.arms else "",
    ]
    return bounded("\n\n".join(block for block in blocks if block) + "\n")


def _section(title: str, body: str, present: object) -> str:
    return f"#### {title}\n\n{body}" if present else ""


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {markdown_plain(line.strip())}" for line in lines)


def _buckets(report: TrafficReport) -> list[str]:
    told: list[str] = []
    for column, buckets in report.buckets().items():
        if buckets:
            table = markdown_table(BUCKET_COLUMNS, bucket_rows(buckets))
            note = buckets_note(report, column)
            told.append(f"#### Right answers by {markdown_plain(column, 60)}\n\n{table}")
            told.append(note)
    return told


def _disagreements(report: TrafficReport) -> str:
    if report.pairs is None:
        return ""
    told = f"#### Disagreements\n\n{markdown_plain(pairs_sentence(report))}"
    if not report.changes:
        return told
    table = markdown_table(CHANGE_COLUMNS, [change_cells(change) for change in report.changes])
    return f"{told}\n\n{table}"
