"""Reads on in the file where the gateway leaves pairs of answers, whatever happened to it meanwhile.

A spool is `spool-<target>.jsonl`. Whole lines are appended; a line whose end is missing is still
being written and is left for later. The file may be renamed (`spool-<target>.jsonl.1`, a number)
and begun anew, any number of times between two looks, or begun anew in place.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Three bodies of 256 KiB, escaped, fit; a longer line is handed out in pieces, which do not parse.
BLOCK_BYTES = 4 * 1024 * 1024
HEAD_BYTES = 256


@dataclass(frozen=True)
class Position:
    """How far a spool is read: the file, known by inode and digest of its head, and the offset."""

    inode: int
    offset: int
    head: str


@dataclass(frozen=True)
class Block:
    """Lines without their ends, and the position behind them.

    `follows` is false when the file that was being read is gone (deleted, or begun anew in place),
    so that lines may have been missed before this block.
    """

    lines: tuple[bytes, ...]
    after: Position
    follows: bool = True


def spool_path(spool_dir: Path, target: str) -> Path:
    return spool_dir / f"spool-{target}.jsonl"


def unread_blocks(path: Path, position: Position | None) -> Iterator[Block]:
    """Every whole line that the spool held at the first step, in order. May raise OSError."""
    with ExitStack() as opened:
        files = _oldest_first(path, opened)
        if position is None:
            yield from _read_through(files, 0)
            return
        for number, file in enumerate(files):
            offset = _where_to_read_on(file, position)
            if offset is not None:
                yield from _read_through(files[number:], offset)
                return
        if path.exists():
            # Which of the renamed files were counted cannot be told any more; the spool was not.
            yield Block((), _position(files[-1], 0), follows=False)
            yield from _read_through(files[-1:], 0)


def unread_bytes(path: Path, position: Position | None) -> int:
    """How much of the spool has not been read. May raise OSError."""
    with ExitStack() as opened:
        files = _oldest_first(path, opened)
        sizes = [os.fstat(file.fileno()).st_size for file in files]
        if position is None:
            return sum(sizes)
        for number, file in enumerate(files):
            offset = _where_to_read_on(file, position)
            if offset is not None:
                return sum(sizes[number:]) - offset
        return sizes[-1] if path.exists() else 0


def _oldest_first(path: Path, opened: ExitStack) -> list[BinaryIO]:
    """The spool, last, behind its renamed predecessors in the order they were last written to."""
    # The spool is opened before the others are listed: one that is renamed in between is found
    # twice, never missed.
    files = [opened.enter_context(path.open("rb"))] if path.exists() else []
    renamed = path.parent.glob(f"{path.name}.[0-9]*")
    files += [opened.enter_context(sibling.open("rb")) for sibling in renamed]
    by_inode = {os.fstat(file.fileno()).st_ino: file for file in reversed(files)}
    return sorted(
        by_inode.values(), key=lambda file: (os.fstat(file.fileno()).st_mtime_ns, file is files[0])
    )


def _where_to_read_on(file: BinaryIO, position: Position) -> int | None:
    """None when this is not the file that was being read."""
    # An inode is given to a new file soon after the old one is deleted, and a file begun anew in
    # place keeps its own: only the head tells them from the file we have read.
    facts = os.fstat(file.fileno())
    if facts.st_ino != position.inode or _position(file, position.offset).head != position.head:
        return None
    # A writer that finds the disk full takes back its last lines, which we may have read, and may
    # have written others since: read on where a line begins.
    return _line_begin(file, min(position.offset, facts.st_size))


def _line_begin(file: BinaryIO, offset: int) -> int:
    """Where the line at `offset` begins; `offset` itself inside a line that is handed out in pieces."""
    if offset == 0 or os.pread(file.fileno(), 1, offset - 1) == b"\n":
        return offset
    reach = min(offset, BLOCK_BYTES - 1)
    before = os.pread(file.fileno(), reach, offset - reach)
    line_end = before.rfind(b"\n")
    return offset - reach + line_end + 1 if line_end >= 0 else offset


def _read_through(files: Sequence[BinaryIO], offset: int) -> Iterator[Block]:
    """From `offset` in the first file to the end of the last."""
    for number, file in enumerate(files):
        if number:
            yield _turn(files[number - 1], file)
        yield from _blocks(file, 0 if number else offset)


def _turn(finished: BinaryIO, following: BinaryIO) -> Block:
    """The step to the next file. A torn line will never be completed: it is handed out as it is."""
    torn = _torn_end(finished)
    return Block(lines=(torn,) if torn else (), after=_position(following, 0))


def _blocks(file: BinaryIO, offset: int) -> Iterator[Block]:
    """Whole lines from `offset` to where the file ended at the first step."""
    end = os.fstat(file.fileno()).st_size
    while offset < end:
        block = os.pread(file.fileno(), min(BLOCK_BYTES, end - offset), offset)
        whole = block[: block.rfind(b"\n") + 1]
        if not whole and len(block) == BLOCK_BYTES:
            whole = block
        if not whole:
            return
        offset += len(whole)
        yield Block(tuple(whole.removesuffix(b"\n").split(b"\n")), _position(file, offset))


def _torn_end(file: BinaryIO) -> bytes:
    size = os.fstat(file.fileno()).st_size
    end = os.pread(file.fileno(), min(BLOCK_BYTES, size), max(0, size - BLOCK_BYTES))
    return end[end.rfind(b"\n") + 1 :]


def _position(file: BinaryIO, offset: int) -> Position:
    head = os.pread(file.fileno(), min(offset, HEAD_BYTES), 0)
    return Position(os.fstat(file.fileno()).st_ino, offset, hashlib.sha256(head).hexdigest())
