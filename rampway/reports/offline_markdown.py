"""The offline gate as one comment of a pull request: bounded, harmless to render, edited in place."""

import re
from collections.abc import Iterator, Sequence

from rampway.gates.evidence import Disagreement
from rampway.reports.offline import OfflineReport
from rampway.reports.offline_words import (
    EXAMPLE_COLUMNS,
    disagreements_sentence,
    errors_sentence,
    example_cells,
    fingerprint_rows,
    literal_words,
)
from rampway.reports.slice_words import SLICE_COLUMNS, slice_rows, slices_note
from rampway.reports.texts import markdown_plain, markdown_table, offline_answer, offline_rows

SLICES_SHOWN = 10
EXAMPLES_BYTES = 28_000  # of a comment's 64 kB; all else here is bounded far below the rest
_CELL = 200


def marker(name: str) -> str:
    """The hidden line by which a later run finds the comment that it edits."""
    return f"<!-- rampway:{re.sub(r'[^A-Za-z0-9_.-]', '-', name)[:100]} -->"


def offline_comment(report: OfflineReport, examples: int) -> str:
    """The whole body, its marker first; at most `examples` disagreements of each kind."""
    verdict = report.verdict
    rows = offline_rows(verdict, report.cluster)
    blocks = [
        marker(report.name),
        f"**Offline gate {markdown_plain(offline_answer(verdict), 1000)}**",
        markdown_table(("gate", "verdict", "numbers"), rows) if rows else "",
        markdown_plain(errors_sentence(verdict)),
        _slices(report),
        *(f"Plain rule, {name}: {markdown_plain(words)}" for name, words in literal_words(report)),
        _examples(report, examples),
        _fingerprints(report),
        markdown_plain(report.next_step),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _slices(report: OfflineReport) -> str:
    slices = report.verdict.slices
    if slices is None:
        return ""
    note = slices_note(slices, SLICES_SHOWN)
    table = markdown_table(SLICE_COLUMNS, slice_rows(slices, SLICES_SHOWN))
    return f"{table}\n\n{note}" if note else table


def _examples(report: OfflineReport, each: int) -> str:
    sentence = disagreements_sentence(report)
    if not sentence:
        return ""
    if not report.disagreements or not each:
        return f"Disagreements: {sentence}."
    tables = "\n\n".join(_tables(report, each))
    return (
        f"<details><summary>Disagreements: {markdown_plain(sentence)}</summary>\n\n"
        f"{tables}\n\n</details>"
    )


def _tables(report: OfflineReport, each: int) -> Iterator[str]:
    """One table per kind, of as many rows as the comment has room for."""
    kinds = report.examples(each)
    for kind, cases in kinds.items():
        rows = _rows_within(cases, EXAMPLES_BYTES // len(kinds))
        yield f"{kind.value.capitalize()}:\n\n{markdown_table(EXAMPLE_COLUMNS, rows)}"


def _rows_within(cases: Sequence[Disagreement], room_bytes: int) -> list[list[str]]:
    rows: list[list[str]] = []
    for case in cases:
        row = example_cells(case, _CELL)
        room_bytes -= len(markdown_table((), [row]).encode())
        if room_bytes < 0:
            break
        rows.append(row)
    return rows


def _fingerprints(report: OfflineReport) -> str:
    rows = fingerprint_rows(report)
    told = "; ".join(f"{label.lower()} {markdown_plain(value)}" for label, value in rows)
    return f"<details><summary>Fingerprints</summary>\n\n{told}\n\n</details>"
