"""Reads a file of results, JSON lines or CSV, into rows; each remembers the line it stood on."""

import csv
import json
import os
import stat
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from pydantic import JsonValue

MAX_FILE_BYTES = 512 * 2**20
MAX_LINE_BYTES = 2**20
MAX_ROWS = 2_000_000


class EvalFileError(Exception):
    """An eval result file breaks a rule; `line` counts from 1, 0 stands for the whole file."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Row:
    """One line's columns, and the way to complain about them."""

    path: Path
    line: int
    columns: Mapping[str, JsonValue]

    def broken(self, message: str) -> EvalFileError:
        """The error that names this line."""
        return EvalFileError(self.path, self.line, message)


def read_rows(path: Path) -> Generator[Row]:
    """The rows of a `.jsonl`, `.ndjson` or `.csv` file, in order. Raises EvalFileError."""
    suffix = path.suffix.lower()
    if suffix in {".jsonl", ".ndjson"}:
        rows = _json_rows(path)
    elif suffix == ".csv":
        rows = _csv_rows(path)
    else:
        raise EvalFileError(
            path, 0, f"{suffix or 'no ending'} is not a known format. Next: write .jsonl or .csv"
        )
    for count, row in enumerate(rows, start=1):
        if count > MAX_ROWS:
            raise row.broken(f"more than {MAX_ROWS:,} rows. Next: split the eval")
        yield row


def _json_rows(path: Path) -> Generator[Row]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            raise EvalFileError(path, number, "an empty line. Next: one JSON object per line")
        try:
            columns = _parsed(line)
        except (ValueError, RecursionError) as error:
            raise EvalFileError(
                path, number, f"not JSON ({error}). Next: one JSON object per line"
            ) from error
        if not isinstance(columns, dict):
            raise EvalFileError(path, number, "not a JSON object. Next: one JSON object per line")
        yield Row(path, number, columns)


def _parsed(text: str) -> JsonValue:
    value: JsonValue = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    if "\\u" in text:  # half a character has no UTF-8, hence no digest
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return unique


def _csv_rows(path: Path) -> Generator[Row]:
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = next(reader, list[str]())
        if len(set(header)) != len(header) or "" in header:
            raise EvalFileError(path, 1, f"column names must be unique and not empty: {header}.")
        for cells in reader:
            if len(cells) != len(header):
                raise EvalFileError(
                    path, reader.line_num, f"{len(cells)} cells, but {len(header)} columns."
                )
            yield Row(path, reader.line_num, _typed(path, reader.line_num, header, cells))
    except csv.Error as error:
        raise EvalFileError(path, reader.line_num, f"not CSV ({error}).") from error


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
            columns[name] = _parsed_number(cell)
        elif name in {"passed", "refused", "hard"}:
            columns[name] = {"true": True, "1": True, "false": False, "0": False}.get(
                cell.lower(), cell
            )
        elif name == "slices" or (name == "grader" and cell.startswith("{")):
            try:
                columns[name] = _parsed(cell)
            except (ValueError, RecursionError) as error:
                raise EvalFileError(path, line, f"{name} is not JSON ({error}).") from error
        elif name == "error" and cell.lower() == "false":
            columns[name] = False
    return columns


def _parsed_number(cell: str) -> JsonValue:
    try:
        return cell if "_" in cell else float(cell)  # Python reads 0_1 as 1
    except ValueError:
        return cell


def _lines(path: Path) -> Generator[str]:
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise EvalFileError(
                    path,
                    number,
                    f"longer than {MAX_LINE_BYTES:,} bytes. Next: leave out long texts",
                )
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise EvalFileError(path, number, f"not UTF-8 ({error.reason}).") from error


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    """A regular file of bounded size, open for reading."""
    try:
        # Not blocking: opening a pipe that nobody writes would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EvalFileError(path, 0, f"cannot be read ({error.strerror}).") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise EvalFileError(path, 0, "not a regular file. Next: give a file of results")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > MAX_FILE_BYTES:
            raise EvalFileError(
                path, 0, f"{status.st_size:,} bytes; the limit is {MAX_FILE_BYTES:,}."
            )
        yield file
