"""The directory of one supervisor's shared files, and the end of those that a dead one left behind.

Each supervisor has its own, so that workers of two generations never count into one file. A new supervisor
first has its own workers listen, then retires the old directories: their workers see it at their next
request, give nothing to a candidate from then on, and drain.
"""

import asyncio
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

from rampway.gateway.slots import SlotFile, Stage
from rampway.gateway.table import retire

RETIRE_SECONDS_MAX: Final = 2.0
_FRESH_SECONDS: Final = 1.0  # since the last heartbeat of a worker that lives
_LOOK_SECONDS: Final = 0.01


class Run:
    """Where one supervisor and its workers meet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, state_dir: Path) -> "Run":
        """A new directory with nothing in it."""
        run = cls(state_dir / "runs" / f"{os.getpid()}-{secrets.token_hex(4)}")
        run.segments.mkdir(parents=True, mode=0o700)
        return run

    @property
    def table(self) -> Path:
        return self.path / "table"

    @property
    def slots(self) -> Path:
        return self.path / "slots"

    @property
    def segments(self) -> Path:
        return self.path / "segments"

    @property
    def is_there(self) -> bool:
        return self.table.exists()

    def remove(self) -> None:
        """Workers that still map its files keep them until they end."""
        shutil.rmtree(self.path, ignore_errors=True)


def other_runs(state_dir: Path, mine: Run | None = None) -> list[Run]:
    """What dead supervisors left behind; only who holds the directory's lock may ask."""
    directory = state_dir / "runs"
    found = directory.iterdir() if directory.exists() else ()
    return [Run(path) for path in found if mine is None or path != mine.path]


async def retire_runs(state_dir: Path, mine: Run | None = None) -> None:
    """End other runs; returns when their workers take no more connections, or after a bound."""
    others = other_runs(state_dir, mine)
    for run in others:
        if run.table.exists() and run.table.stat().st_size:
            retire(run.table)
    waited_until = time.monotonic() + RETIRE_SECONDS_MAX
    while time.monotonic() < waited_until and any(accepts(run) for run in others):  # noqa: ASYNC110 - other processes write it
        await asyncio.sleep(_LOOK_SECONDS)
    for run in others:
        run.remove()


def accepts(run: Run) -> bool:
    """Does a worker of this run still listen? One that is stopped does, and is not waited for."""
    if not run.slots.exists() or not run.slots.stat().st_size:
        return False
    alive_since = time.monotonic() - _FRESH_SECONDS
    return any(
        slot.stage is Stage.SERVING and slot.heartbeat > alive_since for slot in SlotFile(run.slots)
    )
