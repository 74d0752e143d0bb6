"""Erases one unit's lines from what was written of the traffic, and deletes what is too old.

Lines are overwritten where they stand, by as many bytes: whoever appends to the file loses nothing,
and the judge keeps its place in it. Every function here blocks on the disk.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from rampway.gateway.assignment import Split
from rampway.gateway.durable import sync_directory

KINDS: Final = ("traffic", "answers", "spool")
FORGOTTEN: Final = "forgotten"
SALTS: Final = "salts"
_BLOCK_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 4_096
# Who reads the spool counts by these; none of them says anything of the unit.
_FACTS: Final = ("kind", "target", "release", "epoch", "segment", "i", "arm", "failed")
_OLD: Final = re.compile(r"\.jsonl\.\d+$")


class Forgotten(NamedTuple):
    """How many lines of how many files were of the unit."""

    lines: int
    files: int


class Subject(NamedTuple):
    """A unit, as lines tell it: by any of its pseudonyms, or where it was the request's id itself."""

    pseudonyms: frozenset[str]
    name: str

    @property
    def needles(self) -> Sequence[bytes]:
        """One of these is in each of its lines."""
        return [*(name.encode() for name in self.pseudonyms), orjson.dumps(self.name)]


def subject(unit: bytes, keys: Collection[tuple[str, str]]) -> Subject:
    """A unit under the keys (release, salt in hexadecimal) of all lines that are left."""
    splits = (
        Split(salt=bytes.fromhex(salt), release=release, share_bp=0, shadow_bp=0)
        for release, salt in keys
    )
    names = frozenset(split.pseudonym(unit) for split in splits)
    return Subject(names, unit.decode("utf-8", "replace"))


def keys_of(directory: Path, target: str) -> set[tuple[str, str]]:
    """The keys that were noted with the target's files. Raises OSError."""
    keys: set[tuple[str, str]] = set()
    for path in _files(directory, SALTS, target):
        for line in path.read_bytes().splitlines():
            told = _parsed(line)
            if told is not None and "salt" in told:
                keys.add((str(told["release"]), str(told["salt"])))
    return keys


def forget(directory: Path, target: str, who: Subject, *, dry_run: bool = False) -> Forgotten:
    """Erase the subject's lines of a target; what it answers is on the disk. Raises OSError.

    What a crash leaves half done is found again when it is asked again.
    """
    erased: list[int] = []
    for path in (path for kind in KINDS for path in _files(directory, kind, target)):
        with suppress(FileNotFoundError):  # its time had come meanwhile
            erased.append(_erase(path, who, dry_run=dry_run))
    return Forgotten(sum(erased), sum(lines > 0 for lines in erased))


class Retention:
    """Lets no line grow older than `keep_seconds`; `wall` tells the time of day in seconds.

    A file is renamed when its first line is half that old, and deleted half that time after its last.
    """

    def __init__(self, directory: Path, keep_seconds: float, wall: Callable[[], float]) -> None:
        self._directory = directory
        self._half_seconds = keep_seconds / 2
        self._wall = wall

    def sweep(self) -> None:
        """Rename and delete what is due. Raises OSError."""
        for kind in (*KINDS, SALTS):
            for path in sorted(self._directory.glob(f"{kind}-*.jsonl")):
                if self._is_due(_began_at(path)):
                    path.replace(path.with_name(f"{path.name}.1"))
            for path in self._directory.glob(f"{kind}-*.jsonl.*"):
                with suppress(FileNotFoundError):  # renamed over meanwhile
                    if _OLD.search(path.name) and self._is_due(path.stat().st_mtime):
                        path.unlink()

    def _is_due(self, at: float | None) -> bool:
        return at is not None and at + self._half_seconds <= self._wall()


def _files(directory: Path, kind: str, target: str) -> list[Path]:
    """A target's files, of each process (`@N`) and renamed ones."""
    named = re.compile(rf"{kind}-{re.escape(target)}(@\d+)?\.jsonl(\.\d+)?")
    # A file before what it is renamed to: renamed meanwhile, it is found twice, never missed.
    return sorted(path for path in directory.iterdir() if named.fullmatch(path.name))


def _began_at(path: Path) -> float | None:
    """When the file's first line was written, in wall seconds; None where there is no file or line."""
    try:
        with path.open("rb") as file:
            first = file.readline(_BLOCK_BYTES)
            modified = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    told = _parsed(first)
    if not first:
        return None
    at = (told or {}).get("ts", (told or {}).get("at"))
    return at if isinstance(at, float) else modified


def _erase(path: Path, who: Subject, *, dry_run: bool) -> int:
    descriptor = os.open(path, os.O_RDWR)
    try:
        erased = 0
        before = os.fstat(descriptor)
        for offset, line in _lines_with(descriptor, who.needles):
            told = _parsed(line)
            if told is not None and not _is_of(told, who):
                continue
            erased += 1
            if not dry_run:
                _overwrite(descriptor, offset, _tombstone(told, len(line)))
        if erased and not dry_run:
            # The judge orders files by when they were last written to.
            os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(descriptor)
            sync_directory(path.parent)
    finally:
        os.close(descriptor)
    return erased


def _lines_with(descriptor: int, needles: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines, without their ends, that hold one of the needles, and where they begin."""
    offset, rest = 0, b""
    while block := os.pread(descriptor, _BLOCK_BYTES, offset + len(rest)):
        whole, end, rest_next = (rest + block).rpartition(b"\n")
        if not end:
            rest = rest_next
            continue
        if any(needle in whole for needle in needles):
            begin = offset
            for line in whole.split(b"\n"):
                if any(needle in line for needle in needles):
                    yield begin, line
                begin += len(line) + 1
        offset += len(whole) + 1
        rest = rest_next


def _is_of(told: Mapping[str, object], who: Subject) -> bool:
    """A body may name the unit too; that does not make the line its own."""
    ids = (told.get("request_id"), told.get("trace_id"), told.get("trace"))
    return told.get("unit") in who.pseudonyms or who.name in ids


def _tombstone(told: Mapping[str, object] | None, size_bytes: int) -> bytes:
    """As many bytes that say nothing of the unit; the spool's still say what is not there any more."""
    spooled = told is not None and told.get("kind") in {"pair", "answer"} and "i" in told
    facts: dict[str, object] = {"kind": FORGOTTEN}
    if told is not None and spooled:
        facts = {name: told[name] for name in _FACTS if name in told}
        facts["missing"] = None if facts.get("failed") else FORGOTTEN
    elif told is not None and "ts" in told:
        facts["ts"] = told["ts"]  # the first line's tells how old the file is
    left = orjson.dumps(facts)
    return left.ljust(size_bytes) if len(left) <= size_bytes else b" " * size_bytes


def _overwrite(descriptor: int, offset: int, content: bytes) -> None:
    """From the end to the beginning, where the unit stands: until the last piece it can be found."""
    for begin in range((len(content) - 1) // _PIECE_BYTES * _PIECE_BYTES, -1, -_PIECE_BYTES):
        os.pwrite(descriptor, content[begin : begin + _PIECE_BYTES], offset + begin)


def _parsed(line: bytes) -> dict[str, JsonValue] | None:
    try:
        told: JsonValue = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None
