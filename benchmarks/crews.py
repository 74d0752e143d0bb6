"""Spreads seeded runs over all cores; the figures do not depend on how many there are."""

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

ResultT = TypeVar("ResultT")
CHUNKS = 16  # of every measurement: small enough for progress, fixed so that seeds stay the same


@dataclass(frozen=True)
class Crew:
    """Runs a task `count` times in chunks, each with dice of its own.

    `scale` shrinks every count (1 is the full benchmark).
    """

    executor: Executor
    scale: float = 1.0

    def runs(self, full: int, *, least: int = 16) -> int:
        """How many runs this benchmark can afford."""
        return max(least, round(full * self.scale))

    def spread(
        self,
        what: str,
        task: Callable[[np.random.Generator, int], list[ResultT]],
        count: int,
        seed: int,
    ) -> list[ResultT]:
        """All results, in the order of their seeds."""
        began = time.monotonic()
        chunks = min(CHUNKS, count)
        sizes = [count // chunks + (index < count % chunks) for index in range(chunks)]
        dice = np.random.default_rng(seed).spawn(chunks)
        futures = {
            self.executor.submit(task, own, size): index
            for index, (own, size) in enumerate(zip(dice, sizes, strict=True))
        }
        results: dict[int, list[ResultT]] = {}
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            say(f"{what}: {len(results)}/{chunks}", end="\r")
        say(f"{what}: {count:,} runs, {time.monotonic() - began:.0f} s")
        return [result for index in sorted(results) for result in results[index]]


def executor(cores: int) -> ProcessPoolExecutor:
    """Workers that leave Ctrl-C to their parent."""
    return ProcessPoolExecutor(
        cores, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )


def say(text: str, *, end: str = "\n") -> None:
    """Progress, for the person who waits."""
    print(f"{text:100}", end=end, file=sys.stderr, flush=True)
