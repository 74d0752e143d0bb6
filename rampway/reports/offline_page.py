"""A comparison of eval results as one HTML file: no script, nothing loaded from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rampway.gates.verdicts import OfflineSlices, OfflineVerdict, Verdict
from rampway.reports import forest, intervals
from rampway.reports.advice import KeyFact
from rampway.reports.offline import OfflineReport
from rampway.reports.offline_words import (
    EXAMPLE_COLUMNS,
    disagreements_sentence,
    errors_sentence,
    example_cells,
    fingerprint_rows,
    literal_words,
)
from rampway.reports.page import TEMPLATES, Figures
from rampway.reports.slice_words import slice_table
from rampway.reports.texts import offline_answer, offline_rows
from rampway.reports.words import integer, interval_points, percents_apart, plain, plural, points

SLICES_SHOWN = 100
FORESTS_MAX = 8  # columns; the table below them has the rest
_CELL = 500


@dataclass(frozen=True)
class ColumnOfSlices:
    """The forest plot of one column of the cases."""

    title: str
    figures: Figures


def offline_html(report: OfflineReport, examples: int) -> str:
    """The whole page, with at most `examples` disagreements of each kind."""
    return TEMPLATES.get_template("offline.html").render(_content(report, examples))


def _content(report: OfflineReport, examples: int) -> Mapping[str, Any]:
    verdict = report.verdict
    return {
        "name": plain(report.name, 100),
        "verdict": verdict.verdict.value,
        "mood": _mood(verdict),
        "headline": plain(offline_answer(verdict), 2000),
        "next_step": report.next_step,
        "facts": _facts(verdict),
        "interval": _interval(report),
        "gates": offline_rows(verdict, report.cluster),
        "errors": errors_sentence(verdict),
        "literal": literal_words(report),
        "forests": _forests(verdict.slices) if verdict.slices else [],
        "slices": slice_table(verdict.slices, SLICES_SHOWN) if verdict.slices else None,
        "disagreements": disagreements_sentence(report),
        "example_columns": EXAMPLE_COLUMNS,
        "examples": [
            (kind.value.capitalize(), [example_cells(case, _CELL) for case in cases])
            for kind, cases in report.examples(examples).items()
        ],
        "record": fingerprint_rows(report),
    }


def _mood(verdict: OfflineVerdict) -> str:
    """The colour of the first box; what could not be compared blocks like a BREACH, in amber."""
    known = {Verdict.PASS, Verdict.BREACH}
    return verdict.verdict.value if verdict.verdict in known else Verdict.INCONCLUSIVE.value


def _facts(verdict: OfflineVerdict) -> list[KeyFact]:
    head, slices, safety = verdict.headline, verdict.slices, verdict.safety
    facts: list[KeyFact] = []
    if head is not None:
        new, old = percents_apart(head.candidate_accuracy, head.baseline_accuracy)
        interval = f"95 % CI {interval_points(head.low, head.high)} pp"
        changed = f"{integer(head.improved)} / {integer(head.regressed)}"
        facts = [
            KeyFact("Accuracy", new, f"baseline {old}"),
            KeyFact("Difference", points(head.difference), interval),
            KeyFact("Cases", integer(head.cases), f"{integer(head.clusters)} independent"),
            KeyFact("Answers", changed, "improved / regressed"),
        ]
    if slices is not None:
        told = f"{slices.worse} of {len(slices.slices)}"
        facts.append(KeyFact("Worse slices", told, f"{slices.beyond_sigma} by the plain rule"))
    if safety is not None:
        tried = f"{plural(safety.cases, 'case')} x {safety.generations}"
        facts.append(KeyFact("Hard cases flipped", integer(len(safety.flips)), tried))
    return facts


def _interval(report: OfflineReport) -> Figures | None:
    head = report.verdict.headline
    if head is None:
        return None
    return Figures(
        *(
            intervals.interval_figure(head, report.plan, size)
            for size in (intervals.WIDE, intervals.NARROW)
        )
    )


def _forests(slices: OfflineSlices) -> list[ColumnOfSlices]:
    by_column = {
        slice_.by: [s for s in slices.slices if s.by == slice_.by] for slice_ in slices.slices
    }
    drawn = [
        ColumnOfSlices(
            plain(column, 60),
            Figures(
                *(
                    forest.slices_figure(column, members, size, str(number))
                    for size in (forest.WIDE, forest.NARROW)
                )
            ),
        )
        for number, (column, members) in enumerate(list(by_column.items())[:FORESTS_MAX])
    ]
    return [column for column in drawn if column.figures.wide]
