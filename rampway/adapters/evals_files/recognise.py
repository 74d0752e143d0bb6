"""Tells from a file's content, never from its name, which tool wrote it."""

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import (
    MAX_LINE_BYTES,
    EvalFileError,
    opened,
    read_document,
    read_lines,
)

HEAD_BYTES = 4096
COLUMNS_SHOWN = 8


class Format(StrEnum):
    """The formats that are read, in the words of an error message."""

    PLAIN_JSONL = "plain JSON lines"
    PLAIN_CSV = "plain CSV"
    PROMPTFOO = "promptfoo JSON"
    PROMPTFOO_CSV = "promptfoo CSV"
    INSPECT = "Inspect .json"
    INSPECT_EVAL = "Inspect .eval"
    LM_EVAL_RESULTS = "lm-evaluation-harness results"
    LM_EVAL_SAMPLES = "lm-evaluation-harness samples"
    LM_EVAL_FOLDER = "lm-evaluation-harness folder"
    DEEPEVAL = "DeepEval test run"
    OPENAI_EVALS = "OpenAI evals"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file's format, and its one JSON value where the file is one."""

    format: Format
    document: JsonValue = None


_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_LINE_KEY = re.compile(r'\s*\{\s*"(case_id|doc_id|spec|run_id|final_report)"\s*:')
_PLAIN = frozenset({"case_id", "score", "passed"})


def recognise(path: Path) -> Recognised:
    """The format of a file or folder.

    Raises EvalFileError, which lists the known formats and says what was seen instead.
    """
    if _is_folder(path):
        return Recognised(Format.LM_EVAL_FOLDER)
    with opened(path) as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise EvalFileError(
            path,
            0,
            "no results: the file is empty. An empty eval proves nothing. Next: run it again",
        )
    if head.startswith(b"PK"):
        return Recognised(Format.INSPECT_EVAL)
    _refuse_binary(path, head)
    begins = head.decode("utf-8-sig", errors="replace").lstrip()[:1]
    if begins == "{":
        return _recognise_json(path)
    if begins == "[":
        raise unknown(path, 1, "a JSON array, not a JSON object")
    if begins == "<":
        raise unknown(path, 0, "XML (a JUnit report holds no answers: give the tool's JSON)")
    return _recognise_csv(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # opening it tells what is wrong


def _refuse_binary(path: Path, head: bytes) -> None:
    for magic, packed in _COMPRESSED.items():
        if head.startswith(magic):
            raise EvalFileError(path, 0, f"compressed with {packed}. Next: unpack it first")
    if head.startswith(_WIDE):
        raise EvalFileError(path, 0, "not UTF-8 but UTF-16 or UTF-32. Next: save it as UTF-8")
    if b"\0" in head:
        raise unknown(path, 0, "binary data")


def unknown(path: Path, line: int, seen: str) -> EvalFileError:
    """The error for a content that no importer reads."""
    return EvalFileError(path, line, f"not a known format: {seen}. Known: {', '.join(Format)}.")


def _recognise_json(path: Path) -> Recognised:
    first = _first_line(path)
    try:
        value: JsonValue = json.loads(first)
    except (ValueError, RecursionError):
        key = _LINE_KEY.match(first)  # a broken or endless first line: its reader says so
        if key is not None:
            return Recognised(_of_lines({key.group(1)}) or Format.PLAIN_JSONL)
        value = None
    if isinstance(value, dict):
        by_line = _of_lines(value.keys())
        if by_line is not None and _of_document(value) is None:
            return Recognised(by_line)
    document = read_document(path) if value is None or _of_document(value) else value
    if (kind := _of_document(document)) is None:
        keys = list(document)[:COLUMNS_SHOWN] if isinstance(document, dict) else []
        raise unknown(path, 0, f"a JSON object with the keys {', '.join(keys) or '(none)'}")
    return Recognised(kind, document)


def _first_line(path: Path) -> str:
    """The first line with something in it, or the beginning of a very long one."""
    with opened(path) as file:
        while line := file.readline(MAX_LINE_BYTES):
            if line.strip():
                return line.decode("utf-8-sig", errors="replace")
    return ""


def _of_lines(keys: Iterable[str]) -> Format | None:
    """Which tool's lines begin with an object of these keys."""
    names = set(keys)
    if names & {"spec", "final_report"} or {"run_id", "event_id"} <= names or names == {"run_id"}:
        return Format.OPENAI_EVALS
    if "doc_id" in names:
        return Format.LM_EVAL_SAMPLES
    return Format.PLAIN_JSONL if names & _PLAIN else None


def _of_document(value: JsonValue) -> Format | None:
    """Which tool writes an object of these keys as one document."""
    if not isinstance(value, dict):
        return None
    results = value.get("results")
    if isinstance(results, dict) and isinstance(
        results.get("results", results.get("table")), list | dict
    ):
        return Format.PROMPTFOO
    if {"eval", "status", "version"} <= value.keys():
        return Format.INSPECT
    if isinstance(results, dict) and value.keys() & {"n-samples", "configs"}:
        return Format.LM_EVAL_RESULTS
    if value.keys() & {"testCases", "conversationalTestCases"}:
        return Format.DEEPEVAL
    return None


def _recognise_csv(path: Path) -> Recognised:
    try:
        header = next(csv.reader(read_lines(path), strict=True), list[str]())
    except csv.Error as error:
        raise unknown(path, 1, f"text that is no CSV ({error})") from error
    if {"Status", "Score", "Grader Reason"} <= set(header):
        return Recognised(Format.PROMPTFOO_CSV)
    if _PLAIN & set(header):
        return Recognised(Format.PLAIN_CSV)
    seen = ", ".join(repr(name[:40]) for name in header[:COLUMNS_SHOWN])
    raise unknown(path, 1, f"text that begins with the columns {seen}")
