"""What one file says of one arm: its cases with their generations, each row held to the rules.

The plain formats, JSON lines and CSV, share their columns: `case_id`; `score` in [0, 1] or `passed`;
and, where there is something to say, `slices` (an object; any other column is a slice too), `cluster`,
`repeat`, `error`, `refused`, `latency_ms`, `cost_usd`, `grader` (its name, or an object of name,
version, model, prompt_sha) and, in safety files, `hard`.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.rows import EvalFileError, Row, read_rows
from rampway.gates.facts import digest_of

NO_GRADER = "unstated"
AMBIGUOUS_ERRORS = frozenset({"", "none", "null", "nan", "0", "no"})


@dataclass(slots=True)
class Case:
    """All generations of one case in one file; `line` is where it stands first."""

    line: int
    labels: dict[str, str]
    hard: bool | None
    scores: list[float] = field(default_factory=list[float])

    @property
    def score(self) -> float:
        """The mean over the generations, in [0, 1]."""
        return math.fsum(self.scores) / len(self.scores)


@dataclass(slots=True)
class Results:
    """One file. `errors` counts generations that failed, each scored 0.

    `scored_by` is the column that scores, `grader` what the rows say of their grader; both are
    unknown while no row is graded.
    """

    path: Path
    cases: dict[str, Case] = field(default_factory=dict[str, Case])
    errors: int = 0
    scored_by: str = ""
    grader: JsonValue = None
    graded: bool = False

    @property
    def fingerprint(self) -> str:
        """What identifies the grader."""
        return NO_GRADER if self.grader is None else digest_of(self.grader)

    @property
    def grader_name(self) -> str:
        """What the file says of the grader."""
        return NO_GRADER if self.grader is None else json.dumps(self.grader, sort_keys=True)


def read_results(path: Path, names: frozenset[str]) -> Results:
    """Read one file; `names` are the slices and columns that cases are grouped by.

    Raises EvalFileError at the first broken rule.
    """
    results = Results(path)
    for row in read_rows(path):
        _add(results, row, names)
    if not results.cases:
        raise EvalFileError(path, 0, "no results. An empty eval proves nothing. Next: run it again")
    return results


def _add(results: Results, row: Row, names: frozenset[str]) -> None:
    case_id = row.columns.get("case_id")
    if not isinstance(case_id, str) or not case_id:
        raise row.broken("no case_id. Cases are paired by it. Next: give every row its case_id")
    labels, hard = _labels(row, names), _truth(row, "hard")
    case = results.cases.get(case_id)
    if case is None:
        case = results.cases[case_id] = Case(row.line, labels, hard)
    elif (case.labels, case.hard) != (labels, hard):
        raise row.broken(
            f"case {case_id} differs in its slices, cluster or hardness from line {case.line}."
            " Repeats of a case share them. Next: give another case another case_id"
        )
    failed = _failed(row)
    _note_grader(results, row, failed=failed)
    _check_measures(row)
    case.scores.append(0.0 if failed else _score(results, row))
    results.errors += failed


def _labels(row: Row, names: frozenset[str]) -> dict[str, str]:
    slices = row.columns.get("slices", {})
    if not isinstance(slices, dict):
        raise row.broken('slices is not an object such as {"tense": "past"}.')
    labels: dict[str, str] = {}
    for name in names & (slices.keys() | row.columns.keys()):
        if name in slices and name in row.columns:
            raise row.broken(f"{name} stands in slices and in a column of its own. Next: drop one")
        value = slices[name] if name in slices else row.columns[name]
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
    if isinstance(grader, str):
        named: JsonValue = {"name": grader}
    else:
        named = grader
    if named is not None and (not isinstance(named, dict) or not named.get("name")):
        raise row.broken('grader has no name. Next: {"name": …, "version": …}')
    if results.graded and named != results.grader:
        raise row.broken("another grader than in the rows before. Next: one grader per file")
    if not results.graded:
        results.grader, results.graded = named, True
        try:
            digest_of(named)
        except ValueError as error:
            raise row.broken(f"grader cannot be fingerprinted ({error}).") from error


def _check_measures(row: Row) -> None:
    for name in ("latency_ms", "cost_usd"):
        value = row.columns.get(name)
        number = _number(value)
        if value is not None and (number is None or number < 0):
            raise row.broken(f"{name} {value!r} is not a number from 0 up.")
    _truth(row, "refused")
    repeat = row.columns.get("repeat")
    if isinstance(repeat, bool) or not isinstance(repeat, int | str | None):
        raise row.broken(f"repeat {repeat!r} is neither a number nor a name.")


def _score(results: Results, row: Row) -> float:
    """The row's score; every row of a file has it in the same column."""
    scored_by = "score" if row.columns.get("score") is not None else "passed"
    passed = _truth(row, "passed")
    if results.scored_by and scored_by != results.scored_by:
        raise row.broken(f"no {results.scored_by}, as the rows before have. Next: fill it in")
    results.scored_by = scored_by
    if scored_by == "passed":
        if passed is None:
            raise row.broken("neither score nor passed. Next: grade it, or write its error")
        return float(passed)
    score = row.columns["score"]
    number = _number(score)
    if number is None or not 0 <= number <= 1:
        raise row.broken(f"score {score!r} is not a number from 0 to 1.")
    return float(number)


def _truth(row: Row, name: str) -> bool | None:
    value = row.columns.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise row.broken(f"{name} {value!r} is neither true nor false.")


def _number(value: JsonValue) -> int | float | None:
    """The value, if it is a number that can be counted with: not NaN, not infinite, not true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None
