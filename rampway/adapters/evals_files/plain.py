"""Reads our own formats, JSON lines and CSV.

They share their columns: `case_id`; `score` in [0, 1] or `passed`; and, where there is something to
say, `slices` (an object; any other column is a slice too), `cluster`, `repeat`, `error`, `refused`,
`latency_ms`, `cost_usd`, `grader` (its name, or an object of name, version, model, prompt_sha),
`question`, `expected` (one accepted answer or a list of them), `output`, `harness` (what ran the
eval, with its version), `seed` and, in safety files, `hard`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    label_of,
    refuse_choice,
)
from rampway.adapters.evals_files.rows import Row, text_of

if TYPE_CHECKING:
    from pydantic import JsonValue

AMBIGUOUS_ERRORS = frozenset({"", "none", "null", "nan", "0", "no"})
RESERVED = frozenset({
    "case_id", "score", "passed", "slices", "cluster", "repeat", "error", "refused", "latency_ms",
    "cost_usd", "grader", "question", "expected", "output", "harness", "seed", "hard",
})  # fmt: skip
ONE_FOR_THE_FILE = ("harness", "seed")


def read_plain(path: Path, tool: str, rows: Iterable[Row], wanted: Wanted) -> Results:
    """The results of one plain file. Raises EvalFileError at the first broken rule."""
    refuse_choice(path, tool, wanted)
    results = Results(path, tool, wanted)
    notes: dict[str, list[str]] = {name: [] for name in ONE_FOR_THE_FILE}
    for row in rows:
        _add(results, row)
        for name, seen in notes.items():
            told = text_of(row.columns.get(name))
            if told and told not in seen:
                seen.append(told)
                if name == "harness" and len(seen) > 1:
                    raise row.broken(f"harness {told!r}, but {seen[0]!r} before. One per file.")
    results.harness = "".join(notes["harness"])
    if notes["seed"]:
        results.seeds = {"seed": " ".join(sorted(notes["seed"]))}
    return results.checked()


def _add(results: Results, row: Row) -> None:
    columns = row.columns
    case_id = columns.get("case_id")
    if not isinstance(case_id, str) or not case_id:
        raise row.broken("no case_id. Cases are paired by it. Next: give every row its case_id")
    failed = _failed(row)
    _note_grader(results, row, failed=failed)
    _check_repeat(row)
    results.add(
        row,
        Answer(
            case_id,
            0.0 if failed else _score(results, row),
            failed,
            _labels(row, results.wanted),
            row.truth("hard"),
            text_of(columns.get("question")),
            text_of(columns.get("expected")),
            None,
            text_of(columns.get("output")),
            row.truth("refused") or False,
            row.measure("latency_ms"),
            row.measure("cost_usd"),
        ),
    )


def _labels(row: Row, wanted: Wanted) -> dict[str, str]:
    slices = row.columns.get("slices", {})
    if not isinstance(slices, dict):
        raise row.broken('slices is not an object such as {"tense": "past"}.')
    labels: dict[str, str] = {}
    if wanted.every_label:
        for source in (slices, row.columns):
            for name, value in source.items():
                if name in RESERVED or name in labels:
                    continue
                if (label := label_of(value)) is not None:
                    labels[name] = label
    for name in wanted.names:
        if name in slices and name in row.columns:
            raise row.broken(f"{name} stands in slices and in a column of its own. Next: drop one")
        value = slices.get(name, row.columns.get(name))
        if value is not None:
            labels[name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return labels


def _failed(row: Row) -> bool:
    """Whether this generation failed, by its `error`: a text, an object or true."""
    error = row.columns.get("error")
    if error is None or error is False or error == "":
        return False
    if error is True or (isinstance(error, dict) and error):
        return True
    if isinstance(error, str) and error.strip().lower() not in AMBIGUOUS_ERRORS:
        return True
    raise row.broken(
        f"error {error!r} may mean either. Next: write what failed, or nothing where nothing did"
    )


def _note_grader(results: Results, row: Row, *, failed: bool) -> None:
    grader = row.columns.get("grader")
    if failed and grader is None:
        return  # nothing was graded
    named: JsonValue = {"name": grader} if isinstance(grader, str) else grader
    if named is not None and (not isinstance(named, dict) or not named.get("name")):
        raise row.broken('grader has no name. Next: {"name": …, "version": …}')
    results.note_grader(row, named)


def _check_repeat(row: Row) -> None:
    repeat = row.columns.get("repeat")
    if isinstance(repeat, bool) or not isinstance(repeat, int | str | None):
        raise row.broken(f"repeat {repeat!r} is neither a number nor a name.")


def _score(results: Results, row: Row) -> float:
    """The row's score; every row of a file has it in the same column."""
    scored_by = "score" if row.columns.get("score") is not None else "passed"
    passed = row.truth("passed")
    if results.scored_by and scored_by != results.scored_by:
        raise row.broken(f"no {results.scored_by}, as the rows before have. Next: fill it in")
    results.scored_by = scored_by
    if scored_by == "passed":
        if passed is None:
            raise row.broken("neither score nor passed. Next: grade it, or write its error")
        return float(passed)
    return row.score("score")
