"""One result as its file has it, which remembers where it stood; and JSON lines and CSV as rows."""

import csv
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import (
    EvalFileError,
    finite_number,
    parse_json,
    read_lines,
)

EMPTY: Mapping[str, JsonValue] = {}


@dataclass(frozen=True, slots=True)
class Row:
    """The columns (or fields) of one result, and the way to complain about them.

    `line` is 0 where the file is no file of lines; then `place` says where the row stands.
    """

    path: Path
    line: int
    columns: Mapping[str, JsonValue]
    place: str = ""

    def broken(self, message: str) -> EvalFileError:
        """The error that names this line or place."""
        return EvalFileError(
            self.path, self.line, f"{self.place}: {message}" if self.place else message
        )

    @property
    def where(self) -> str:
        """The line or place, for a sentence."""
        return f"line {self.line}" if self.line else self.place

    def text(self, name: str) -> str | None:
        """A text, or None where there is none. Raises EvalFileError for anything else."""
        value = self.columns.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self.broken(f"{name} {shown(value)} is not a text.")

    def truth(self, name: str) -> bool | None:
        """True, false, or None where there is neither. Raises EvalFileError for anything else."""
        value = self.columns.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.broken(f"{name} {shown(value)} is neither true nor false.")

    def measure(self, name: str) -> float | None:
        """A number from 0 up, or None where there is none. Raises EvalFileError for others."""
        value = self.columns.get(name)
        if value is None:
            return None
        number = finite_number(value)
        if number is None or number < 0:
            raise self.broken(f"{name} {shown(value)} is not a number from 0 up.")
        return number

    def score(self, name: str) -> float:
        """A number from 0 to 1. Raises EvalFileError for anything else."""
        value = self.columns.get(name)
        number = finite_number(value)
        if number is None or not 0 <= number <= 1:
            raise self.broken(f"{name} {shown(value)} is not a number from 0 to 1.")
        return number

    def part(self, name: str) -> "Row":
        """The object of that name; an empty one where there is none. Raises EvalFileError."""
        value = self.columns.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.broken(f"{name} is not an object.")
        place = f"{self.place}.{name}" if self.place else name
        return Row(self.path, self.line, value or EMPTY, place)

    def parts(self, name: str) -> "list[Row]":
        """The objects of the list of that name. Raises EvalFileError."""
        listed = self.columns.get(name)
        if listed is None:
            return []
        if not isinstance(listed, list):
            raise self.broken(f"{name} is not a list.")
        stem = f"{self.place}.{name}" if self.place else name
        rows: list[Row] = []
        for index, columns in enumerate(listed):
            if not isinstance(columns, dict):
                raise self.broken(f"{name}[{index}] is not an object.")
            rows.append(Row(self.path, self.line, columns, f"{stem}[{index}]"))
        return rows


def shown(value: JsonValue) -> str:
    """A value for an error message: short."""
    text = str(value) if isinstance(value, int | float) and abs(value) > 1e15 else repr(value)  # noqa: PLR2004 - where reading digits ends
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004 - one line of a terminal


def json_rows(path: Path) -> Generator[Row]:
    """The objects of a file with one JSON object per line. Raises EvalFileError."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            raise EvalFileError(path, number, "an empty line. Next: one JSON object per line")
        try:
            columns = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise EvalFileError(
                path, number, f"not JSON ({error}). Next: one JSON object per line"
            ) from error
        if not isinstance(columns, dict):
            raise EvalFileError(path, number, "not a JSON object. Next: one JSON object per line")
        yield Row(path, number, columns)


def csv_records(path: Path) -> Generator[tuple[int, list[str]]]:
    """The records of a CSV file, the header first, each as wide. Raises EvalFileError."""
    reader = csv.reader(read_lines(path), strict=True)
    width = None
    try:
        for cells in reader:
            if width is None:
                width = len(cells)
            if len(cells) != width:
                raise EvalFileError(
                    path, reader.line_num, f"{len(cells)} cells, but {width} columns."
                )
            yield reader.line_num, cells
    except csv.Error as error:
        raise EvalFileError(path, reader.line_num, f"not CSV ({error}).") from error


def csv_rows(path: Path) -> Generator[Row]:
    """The records of a plain CSV file under the names of its header. Raises EvalFileError."""
    records = csv_records(path)
    line, header = next(records, (1, list[str]()))
    if len(set(header)) != len(header) or "" in header:
        raise EvalFileError(path, line, f"column names must be unique and not empty: {header}.")
    for line, cells in records:
        yield Row(path, line, _typed(path, line, header, cells))


def _typed(
    path: Path, line: int, header: Sequence[str], cells: Sequence[str]
) -> dict[str, JsonValue]:
    """CSV has only texts: read those columns that are more, leave out the empty ones."""
    columns: dict[str, JsonValue] = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell:
            continue
        columns[name] = cell
        if name in {"score", "latency_ms", "cost_usd"}:
            columns[name] = parsed_number(cell)
        elif name in {"passed", "refused", "hard"}:
            columns[name] = {"true": True, "1": True, "false": False, "0": False}.get(
                cell.lower(), cell
            )
        elif name == "slices" or (name == "grader" and cell.startswith("{")):
            try:
                columns[name] = parse_json(cell)
            except (ValueError, RecursionError) as error:
                raise EvalFileError(path, line, f"{name} is not JSON ({error}).") from error
        elif name == "error" and cell.lower() == "false":
            columns[name] = False
    return columns


def parsed_number(cell: str) -> JsonValue:
    """The number that a CSV cell holds, or the cell where it holds none."""
    try:
        return cell if "_" in cell else float(cell)  # Python reads 0_1 as 1
    except ValueError:
        return cell


def text_of(value: JsonValue) -> str | None:
    """One text for a question or the accepted answers: the same for the same value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
