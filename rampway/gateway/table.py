"""The split table: what is in force on every target, in one mapped file that each worker looks at.

The supervisor is the only writer. It raises the generation to an odd number, writes, and raises it to the
next even one (a seqlock: Linux kernel, Documentation/locking/seqlock.rst); a checksum guards what is read
in between. A worker reads eight bytes for each request, and the rest only when they have changed.
"""

import mmap
import os
import zlib
from pathlib import Path
from typing import Final, NamedTuple

from rampway.gateway.durable import OWNER_ONLY
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import BadInput

TABLE_BYTES: Final = 16 * 1024 * 1024
LOWERING_BYTES: Final = 256 * 1024  # kept free by what raises, so that a lowering always fits
READS_MAX: Final = 4  # of a table whose checksum does not match

_MAGIC: Final = 0x52414D5057415902  # "RAMPWAY", layout 2
_PAGE_BYTES: Final = 4_096
_BOOT_BYTES: Final = 64
# Places in the header, in 8-byte words.
_MAGIC_AT: Final = 0
_GENERATION_AT: Final = 1
_LENGTH_AT: Final = 2
_CHECKSUM_AT: Final = 3
_RETIRED_AT: Final = 4
_BOOT_AT: Final = 64  # in bytes


class Torn(Exception):
    """The table is not what its writer wrote."""


class Snapshot(NamedTuple):
    """The table at one generation: a line of JSON for each target, of the boot with this id."""

    generation: int
    boot_id: bytes
    lines: list[bytes]


class TableWriter:
    """Writes the table; `generations` tells in which generation each target changed last."""

    def __init__(self, path: Path, *, boot_id: str, size_bytes: int = TABLE_BYTES) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)  # see SegmentFile.create
            self._map = mmap.mmap(descriptor, size_bytes)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map)[:_PAGE_BYTES].cast("Q")
        self._boot_id = boot_id.encode()[:_BOOT_BYTES].ljust(_BOOT_BYTES)
        self._room_bytes = size_bytes - _PAGE_BYTES
        self._lines: dict[str, bytes] = {}
        self._generation = 0
        self.generations: dict[str, int] = {}

    def check(self, split: TargetSplit) -> None:
        """Raises BadInput where the table would have no room for this split."""
        others = sum(len(line) + 1 for name, line in self._lines.items() if name != split.target)
        room = self._room_bytes - LOWERING_BYTES
        if others + len(encode(split)) > room:
            raise BadInput(
                f"All targets together may be described in {room >> 20} MiB where several processes"
                f" share them; this write to {split.target} goes beyond it. Set fewer or smaller fields."
            )

    def put(self, split: TargetSplit) -> None:
        """Take a split up; `publish` makes it known."""
        self._lines[split.target] = encode(split)
        self.generations[split.target] = self._generation + 2

    def publish(self) -> None:
        """Write all splits. Each worker routes by them from its next request on."""
        words, payload = self._words, b"\n".join(self._lines.values())
        generation = self._generation = self._generation + 2
        words[_GENERATION_AT] = generation - 1
        words[_RETIRED_AT] = 0
        words[_MAGIC_AT] = _MAGIC
        words[_LENGTH_AT] = len(payload)
        words[_CHECKSUM_AT] = _checksum(generation, self._boot_id, payload)
        self._map[_BOOT_AT : _BOOT_AT + _BOOT_BYTES] = self._boot_id
        self._map[_PAGE_BYTES : _PAGE_BYTES + len(payload)] = payload
        words[_GENERATION_AT] = generation


class TableReader:
    """Reads the table that a writer has made. Raises OSError where there is none."""

    def __init__(self, path: Path) -> None:
        self._map = _mapped(path, mmap.ACCESS_READ)
        self._words = memoryview(self._map)[:_PAGE_BYTES].cast("Q")

    @property
    def generation(self) -> int:
        return self._words[_GENERATION_AT]

    @property
    def is_retired(self) -> bool:
        """Has another supervisor taken over?"""
        return self._words[_RETIRED_AT] != 0

    def read(self) -> Snapshot | None:
        """The whole table; None while it is being written. Raises Torn."""
        for _ in range(READS_MAX):
            words, before = self._words, self.generation
            if before % 2:
                return None
            boot_id = self._map[_BOOT_AT : _BOOT_AT + _BOOT_BYTES]
            payload = self._map[_PAGE_BYTES : _PAGE_BYTES + words[_LENGTH_AT]]
            checksum = _checksum(before, boot_id, payload)
            if words[_MAGIC_AT] == _MAGIC and words[_CHECKSUM_AT] == checksum:
                return Snapshot(before, boot_id.rstrip(), payload.split(b"\n") if payload else [])
        raise Torn("The split table's checksum does not match.")


def retire(path: Path) -> None:
    """Tell the workers of a supervisor that is dead to route nothing to candidates, and to drain."""
    table = _mapped(path, mmap.ACCESS_WRITE)
    words = memoryview(table)[:_PAGE_BYTES].cast("Q")
    words[_RETIRED_AT] = 1
    words[_GENERATION_AT] = (words[_GENERATION_AT] | 1) + 2  # odd: it is never whole again


def encode(split: TargetSplit) -> bytes:
    """One line, the target's name first: what a worker needs of a split, nothing that grows with its history."""
    claim = split.claim
    if claim is not None:
        by = claim.pinned_by
        bare: dict[str, object] = {
            "done": {},
            "pinned_by": by and by.model_copy(update={"why": ""}),
        }
        claim = claim.model_copy(update=bare)
    told = split.model_copy(update={"claim": claim, "closed": ()}).model_dump_json()
    return f"{split.target} {told}".encode()


def target_of(line: bytes) -> bytes:
    return line.partition(b" ")[0]


def decode(line: bytes) -> TargetSplit:
    return TargetSplit.model_validate_json(line.partition(b" ")[2])


def _mapped(path: Path, access: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY if access == mmap.ACCESS_READ else os.O_RDWR)
    try:
        return mmap.mmap(descriptor, 0, access=access)
    finally:
        os.close(descriptor)


def _checksum(generation: int, boot_id: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(boot_id, generation & 0xFFFFFFFF))
