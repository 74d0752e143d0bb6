"""Opens files of results within bounds, and reads their JSON by rules that leave no doubt."""

import json
import math
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from pydantic import JsonValue

MAX_FILE_BYTES = 512 * 2**20
MAX_DOCUMENT_BYTES = 256 * 2**20  # read whole: its objects take several times that in memory
MAX_LINE_BYTES = 2**20


class EvalFileError(Exception):
    """An eval result file breaks a rule; `line` counts from 1, 0 stands for the whole file."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message


@contextmanager
def opened(path: Path, limit_bytes: int | None = None) -> Generator[BinaryIO]:
    """A regular file of bounded size, open for reading. Raises EvalFileError."""
    limit_bytes = MAX_FILE_BYTES if limit_bytes is None else limit_bytes
    try:
        # Not blocking: opening a pipe that nobody writes would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EvalFileError(path, 0, f"cannot be read ({error.strerror}).") from error
    except ValueError as error:  # a NUL in the name
        raise EvalFileError(path, 0, f"cannot be read ({error}).") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise EvalFileError(path, 0, "not a regular file. Next: give a file of results")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > limit_bytes:
            raise EvalFileError(path, 0, f"{status.st_size:,} bytes; the limit is {limit_bytes:,}.")
        yield file


def read_lines(path: Path) -> Generator[str]:
    """The lines of a UTF-8 file, without a byte order mark. Raises EvalFileError."""
    with opened(path) as file:
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


def read_document(path: Path) -> JsonValue:
    """A file that is one JSON value. Raises EvalFileError, with the line where it breaks."""
    with opened(path, MAX_DOCUMENT_BYTES) as file:
        body = file.read(MAX_DOCUMENT_BYTES + 1)
    return parse_document(path, body)


def parse_document(path: Path, body: bytes, place: str = "") -> JsonValue:
    """One JSON value; `place` names the member of an archive that it comes from.

    NaN and the infinities are let in, because Inspect writes them for a metric that has no value;
    whoever uses a number refuses them.
    """
    told = f"{place}: " if place else ""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise EvalFileError(path, line, f"{told}not UTF-8 ({error.reason}).") from error
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=_unique)
        _refuse_half_characters(text, value)
    except json.JSONDecodeError as error:
        raise EvalFileError(path, error.lineno, f"{told}not JSON ({error.msg}).") from error
    except ValueError as error:
        raise EvalFileError(path, 0, f"{told}not JSON that can be trusted ({error}).") from error
    except RecursionError as error:
        raise EvalFileError(path, 0, f"{told}nested too deeply to be read.") from error
    return value


def parse_json(text: str) -> JsonValue:
    """One line's or cell's JSON. Raises ValueError, RecursionError."""
    value: JsonValue = _STRICT.decode(text)
    _refuse_half_characters(text, value)
    return value


def finite_number(value: JsonValue) -> float | None:
    """The value, if it is a number that can be counted with: not NaN, not infinite, not true."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _refuse_half_characters(text: str, value: JsonValue) -> None:
    if "\\u" in text:  # half a character has no UTF-8, hence no digest
        json.dumps(value, ensure_ascii=False).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return unique


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
