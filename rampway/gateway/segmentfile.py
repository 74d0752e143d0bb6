"""The file of one segment that all processes map: who was counted, and what each worker counted.

A header, then a table of 8-byte unit hashes that all workers write, then one part for each worker, which
only this worker writes: a ring of slices, each with the counts of both arms. One writer for each number,
so that no lock is needed, and a SIGKILL takes none of them away.
"""

import math
import mmap
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, Self

from rampway.gateway.counting import KINDS, OTHER_KIND, latency_bucket
from rampway.gateway.durable import OWNER_ONLY
from rampway.gateway.terms import Arm, Timing

RING_CELLS_MAX: Final = 1_024
FILE_BYTES_MAX: Final = 256 * 1024 * 1024
AWAITED_SECONDS: Final = 5.0  # beyond the time-out: what a late seal or a late mark may take
PROBES_MAX: Final = 64  # places that are looked at for one unit
KEY_BYTES: Final = 32

_MAGIC: Final = 0x52414D5057415901  # "RAMPWAY", layout 1
_PAGE_BYTES: Final = 4_096
_WORD_BYTES: Final = 4
_UNIT_BYTES: Final = 8
# Places in the header, in 8-byte words.
_MAGIC_AT: Final = 0
_BEGAN_AT: Final = 1
_FIRST_INDEX_AT: Final = 2
_KEY_AT: Final = 3 * _UNIT_BYTES  # in bytes
# Places in a worker's part, in 4-byte words.
_FORGOTTEN: Final = 0
_PART_HEADER_WORDS: Final = 16
# Places in a cell: which slice it is of (its index and one; 0 for none), what was sampled, then both arms.
TAG: Final = 0
COPIED: Final = 1
DRAWN: Final = {Arm.CANDIDATE: 2, Arm.BASELINE: 3}
_CELL_HEADER_WORDS: Final = 4
# Places in an arm.
UNITS: Final = 0
ERROR: Final = 1
LATE: Final = 2
REFUSAL: Final = 3
ABORTED: Final = 4
KINDS_BEGIN: Final = 5
ALL_KINDS: Final = (*KINDS, OTHER_KIND)
LATENCY_BEGIN: Final = KINDS_BEGIN + len(ALL_KINDS)


class SegmentShape(NamedTuple):
    """How large a segment's file is, and where what stands in it."""

    workers: int
    units: int  # places in the table of units
    cells: int  # slices in a ring
    buckets: int  # of latency, without the one of the time-out, which is the last

    @property
    def arm_words(self) -> int:
        return LATENCY_BEGIN + self.buckets + 1

    @property
    def cell_words(self) -> int:
        return _CELL_HEADER_WORDS + 2 * self.arm_words

    @property
    def part_words(self) -> int:
        """One worker's part, in whole pages: two workers never write to one line of a cache."""
        words = _PART_HEADER_WORDS + self.cells * self.cell_words
        return _whole_pages(words * _WORD_BYTES) // _WORD_BYTES

    @property
    def units_bytes(self) -> int:
        return _whole_pages((self.units + PROBES_MAX) * _UNIT_BYTES)

    @property
    def size_bytes(self) -> int:
        return _PAGE_BYTES + self.units_bytes + self.workers * self.part_words * _WORD_BYTES

    def part(self, slot: int) -> int:
        """Where a worker's part begins, in 4-byte words."""
        return (_PAGE_BYTES + self.units_bytes) // _WORD_BYTES + slot * self.part_words

    def cell(self, slot: int, index: int) -> int:
        """Where a slice is counted by a worker, in 4-byte words."""
        return self.part(slot) + _PART_HEADER_WORDS + index % self.cells * self.cell_words

    def arm(self, cell: int, arm: Arm) -> int:
        """Where an arm begins in the cell that begins at `cell`."""
        first = cell + _CELL_HEADER_WORDS
        return first if arm is Arm.BASELINE else first + self.arm_words


def shape_for(timing: Timing, *, workers: int, units_remembered: int) -> SegmentShape:
    """The shape of a segment with this timing.

    The table of units has at least twice the places: at that load hardly any unit needs more than a few
    of them (Knuth, The Art of Computer Programming, vol. 3, section 6.4, linear probing).
    """
    waits = timing.timeout_seconds + AWAITED_SECONDS
    return SegmentShape(
        workers=workers,
        units=1 << (2 * units_remembered - 1).bit_length(),
        cells=math.ceil(waits / timing.slice_seconds) + 2,
        buckets=latency_bucket(timing.timeout_seconds * 1_000) + 2,
    )


class SegmentFile:
    """One segment's file, mapped. `words` are its counts, `units` the hashes of the units counted."""

    def __init__(self, path: Path, shape: SegmentShape, descriptor: int) -> None:
        self.path = path
        self.shape = shape
        self._map = mmap.mmap(descriptor, shape.size_bytes)
        whole = memoryview(self._map)
        self.words = whole.cast("I")
        self.units = whole[_PAGE_BYTES : _PAGE_BYTES + shape.units_bytes].cast("Q")
        self._header = whole[:_PAGE_BYTES].cast("Q")
        self._header_seconds = whole[:_PAGE_BYTES].cast("d")
        self._header_signed = whole[:_PAGE_BYTES].cast("q")

    @classmethod
    def create(cls, path: Path, shape: SegmentShape) -> Self:
        """A new file, all zero but for its key. Its room is taken on the disk now, so that none is missing later.

        Raises OSError.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
        try:
            # Not a sparse file: a page that finds no room when it is written to ends the process.
            os.posix_fallocate(descriptor, 0, shape.size_bytes)
            file = cls(path, shape, descriptor)
        finally:
            os.close(descriptor)
        file._map[_KEY_AT : _KEY_AT + KEY_BYTES] = os.urandom(KEY_BYTES)
        return file

    @classmethod
    def open(cls, path: Path, shape: SegmentShape) -> Self:
        """The file that `create` made. Raises OSError, also where it is not finished or of another shape."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            if os.fstat(descriptor).st_size != shape.size_bytes:
                raise OSError(f"{path} has another shape.")
            file = cls(path, shape, descriptor)
        finally:
            os.close(descriptor)
        if file._header[_MAGIC_AT] != _MAGIC:
            raise OSError(f"{path} is not finished.")
        return file

    def announce(self, *, began: float, first_index: int) -> None:
        """Tell workers when slice 0 began (monotonic seconds), and which slice is the first to count."""
        self._header_seconds[_BEGAN_AT] = began
        self._header_signed[_FIRST_INDEX_AT] = first_index
        self._header[_MAGIC_AT] = _MAGIC

    @property
    def began(self) -> float:
        return self._header_seconds[_BEGAN_AT]

    @property
    def first_index(self) -> int:
        return self._header_signed[_FIRST_INDEX_AT]

    @property
    def key(self) -> bytes:
        """What units are hashed with: drawn for this segment, so that nobody can make units collide."""
        return self._map[_KEY_AT : _KEY_AT + KEY_BYTES]

    def forgotten(self, slot: int) -> int:
        """How many units a worker has written over."""
        return self.words[self.shape.part(slot) + _FORGOTTEN]

    def forget_one(self, slot: int) -> None:
        self.words[self.shape.part(slot) + _FORGOTTEN] += 1

    def remove(self) -> None:
        """No worker finds it any more; those that have mapped it keep it until they let go."""
        self.path.unlink(missing_ok=True)


class UnitTable:
    """Which units were counted in a segment, by all workers: open addressing with linear probing.

    Two workers that meet one unit in the same microsecond may both count it, and two units that are
    written to one place in the same microsecond leave one of them unknown: no lock is worth that. Where
    all `PROBES_MAX` places are taken, one is written over, and that unit would count again.
    """

    def __init__(self, file: SegmentFile, slot: int) -> None:
        self._file = file
        self._slot = slot
        self._units = file.units
        self._mask = file.shape.units - 1
        self._copy = blake2b(digest_size=_UNIT_BYTES, key=file.key).copy

    def hash_unit(self, unit: bytes) -> int:
        """8 bytes of keyed BLAKE2b (RFC 7693), the same in every process; never 0, which is a free place."""
        message = self._copy()
        message.update(unit)
        return int.from_bytes(message.digest()) or 1

    def add(self, unit: int) -> bool:
        """Remember a unit by its hash; False where it was known."""
        units = self._units
        place = unit & self._mask
        if not units[place]:  # mostly
            units[place] = unit
            return True
        for at in range(place, place + PROBES_MAX):
            found = units[at]
            if not found:
                units[at] = unit
                return True
            if found == unit:
                return False
        units[place + (unit >> 40) % PROBES_MAX] = unit
        self._file.forget_one(self._slot)
        return True


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
