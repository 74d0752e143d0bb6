"""What each worker tells of itself, in one mapped file: its process, what it has applied, that it lives.

One writer for each slot, its worker; the supervisor reads, and wipes the slot of a worker that has ended.
"""

import mmap
import os
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final

from rampway.gateway.durable import OWNER_ONLY

SLOTS_MAX: Final = 64
_SLOT_WORDS: Final = 16  # two lines of a cache, so that no worker's heartbeat slows another
_SIZE_BYTES: Final = SLOTS_MAX * _SLOT_WORDS * 8
# Places in a slot, in 8-byte words.
_PID: Final = 0
_STAGE: Final = 1
_APPLIED: Final = 2
_HEARTBEAT: Final = 3
_STARTED: Final = 4
_UNREADABLE: Final = 5
_ORDER: Final = 6


class Stage(IntEnum):
    """How far a worker has come."""

    EMPTY = 0
    SERVING = 1
    DRAINING = 2


class Slot:
    """One worker's words. Times are monotonic seconds."""

    def __init__(self, words: memoryview) -> None:
        self._words = words
        self._seconds = words.cast("B").cast("d")

    @property
    def pid(self) -> int:
        return self._words[_PID]

    @property
    def stage(self) -> Stage:
        return Stage(self._words[_STAGE])

    @property
    def applied(self) -> int:
        """The generation of the table that the worker routes by."""
        return self._words[_APPLIED]

    @property
    def heartbeat(self) -> float:
        return self._seconds[_HEARTBEAT]

    @property
    def started(self) -> float:
        return self._seconds[_STARTED]

    @property
    def is_blind(self) -> bool:
        """Could the worker not read the table?"""
        return self._words[_UNREADABLE] != 0

    @property
    def order(self) -> int:
        """The number of the order that the worker serves by."""
        return self._words[_ORDER]

    def acknowledge(self, order: int) -> None:
        self._words[_ORDER] = order

    def begin(self, pid: int, now: float) -> None:
        self._seconds[_STARTED] = now
        self._words[_PID] = pid

    def beat(self, now: float, *, applied: int, blind: bool) -> None:
        self._words[_APPLIED] = applied
        self._words[_UNREADABLE] = int(blind)
        self._seconds[_HEARTBEAT] = now

    def tell(self, stage: Stage) -> None:
        self._words[_STAGE] = stage

    def wipe(self) -> None:
        for at in range(_SLOT_WORDS):
            self._words[at] = 0


class SlotFile:
    """All slots. `create` is the supervisor's; workers open what is there."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_TRUNC if create else 0)
        descriptor = os.open(path, flags, OWNER_ONLY)
        try:
            if create:
                os.posix_fallocate(descriptor, 0, _SIZE_BYTES)  # see SegmentFile.create
            self._map = mmap.mmap(descriptor, _SIZE_BYTES)
        finally:
            os.close(descriptor)
        words = memoryview(self._map).cast("Q")
        self._slots = [
            Slot(words[n * _SLOT_WORDS : (n + 1) * _SLOT_WORDS]) for n in range(SLOTS_MAX)
        ]

    def __getitem__(self, number: int) -> Slot:
        return self._slots[number]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)
