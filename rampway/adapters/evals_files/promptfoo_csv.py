"""Reads promptfoo's CSV: the tests' vars, then one group of columns for each prompt and provider.

It knows neither assertions, latency nor cost; the JSON export of the same run does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rampway.adapters.evals_files.files import EvalFileError, parse_json
from rampway.adapters.evals_files.promptfoo import ERROR, Cell, add_cells
from rampway.adapters.evals_files.recognise import Format
from rampway.adapters.evals_files.results import Results, Wanted
from rampway.adapters.evals_files.rows import Row, csv_records, parsed_number, shown

if TYPE_CHECKING:
    from pydantic import JsonValue

STATUS = {"PASS": (True, 0), "FAIL": (False, 1), "ERROR": (False, ERROR)}
METRIC = "Metric: "


@dataclass(frozen=True, slots=True)
class Group:
    """Where the columns of one prompt and provider stand: from its answer to its comment."""

    part: str
    begins: int
    columns: dict[str, int]


def read_promptfoo_csv(path: Path, wanted: Wanted) -> Results:
    """The results of one prompt and provider. Raises EvalFileError at the first broken rule."""
    records = csv_records(path)
    _, header = next(records)
    groups = _groups(path, header)
    cells: list[Cell] = []
    absent: dict[str, int] = {}
    for line, record in records:
        for group in groups:
            if any(record[index] for index in (group.begins, *group.columns.values())):
                cells.append(Cell(group.part, _row(path, line, header, record, groups[0], group)))
            else:  # promptfoo leaves a group empty for a result that it does not have
                absent[group.part] = absent.get(group.part, 0) + 1
    results = Results(path, Format.PROMPTFOO_CSV, wanted, harness="promptfoo")
    chosen = add_cells(results, cells)
    part = next(cell.part for cell in cells if cell.row is chosen)
    results.lost = absent.get(part, 0)
    metrics: list[JsonValue] = [
        name.removeprefix(METRIC)
        for group in groups
        if group.part == part
        for name in sorted(group.columns)
        if name.startswith(METRIC)
    ]
    results.grader = {"name": "promptfoo", "metrics": metrics}
    return results.checked()


def _groups(path: Path, header: Sequence[str]) -> list[Group]:
    starts = [
        index - (2 if header[index - 1] == "Reasoning" and index > 1 else 1)
        for index, name in enumerate(header)
        if name == "Status" and index
    ]
    groups: list[Group] = []
    for number, (begins, ends) in enumerate(
        zip(starts, [*starts[1:], len(header)], strict=True), 1
    ):
        columns = {name: begins + 1 + at for at, name in enumerate(header[begins + 1 : ends])}
        if len(columns) != ends - begins - 1:
            raise EvalFileError(path, 1, f"the columns of {shown(header[begins])} are ambiguous.")
        groups.append(Group(f"{header[begins]}, prompt {number}", begins, columns))
    if not groups:
        raise EvalFileError(path, 1, "no column of answers before the column Status.")
    return groups


def _row(
    path: Path, line: int, header: Sequence[str], record: Sequence[str], first: Group, group: Group
) -> Row:
    """The cell in the shape of promptfoo's JSON."""
    described = bool(header) and header[0] == "Description" and first.begins > 0
    named = Row(path, line, {name: record[at] for name, at in group.columns.items()})
    status = named.text("Status") or ""
    if status not in STATUS:
        raise named.broken(f"Status {shown(status)} is none of {', '.join(STATUS)}.")
    success, reason = STATUS[status]
    scores = named.text("Named Scores")
    try:
        named_scores = parse_json(scores) if scores else {}
    except (ValueError, RecursionError) as error:
        raise named.broken(f"Named Scores is not JSON ({error}).") from error
    variables: dict[str, JsonValue] = {
        header[at]: record[at] for at in range(1 if described else 0, first.begins)
    }
    return Row(
        path,
        line,
        {
            "success": success,
            "failureReason": reason,
            "score": parsed_number(named.text("Score") or ""),
            "namedScores": named_scores,
            "response": {"output": record[group.begins]},
            "testCase": {
                "description": record[0] if described else None,
                "vars": variables,
            },
        },
    )
