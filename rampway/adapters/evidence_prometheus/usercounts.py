"""Rows from a user's own pair of counters, cut by the stage's time grid.

An application knows nothing of slices, so its counts go into the slice in which they were scraped: up to
one scrape late, for both arms alike, because both arms' counts are taken from the same scrape. What is
left out: the beginning of a segment (requests of the split before), a scrape without all four counts,
whatever lies around a restart (a crash loses the last counts, perhaps the bad ones), and gaps longer
than slices are pooled for. A slice is sealed when every application that is alive was scraped after it.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from pydantic import JsonValue

from rampway.adapters.evidence_prometheus.promql import BadSelector, read_selector
from rampway.adapters.evidence_prometheus.samples import Series, read_count, read_series
from rampway.adapters.evidence_prometheus.segments import (
    CHUNK_SECONDS,
    CHUNKS_MAX,
    LOOK_AHEAD_SECONDS,
    STALE_INTERVALS,
    Limits,
)
from rampway.adapters.evidence_prometheus.session import Prometheus
from rampway.adapters.evidence_prometheus.timelines import POOLED_SLICES_MAX
from rampway.gates.plans import CountPair
from rampway.ports import Unreachable

BAD, TOTAL = "bad", "total"
CELLS: Final = tuple((arm, kind) for arm in ("candidate", "baseline") for kind in (TOTAL, BAD))
APPLICATIONS_MAX: Final = 1_000
Application = tuple[str, str]  # job, instance
Cells = tuple[int, int, int, int]  # in the order of CELLS


class Grid(NamedTuple):
    """Slice i is `[i, i + 1) * slice_seconds` after `began` (Unix time by the gateway's clock)."""

    began: float
    slice_seconds: float

    def slice_at(self, at: float) -> int:
        return math.floor((at - self.began) / self.slice_seconds)


class UserRows(NamedTuple):
    """A rate stream, as Evidence has it."""

    sealed: int
    rows: list[JsonValue]


class UserCounts:
    """One pair of counters in one segment. `refresh` blocks; not to be shared among threads."""

    def __init__(self, pair: CountPair, grid: Grid, limits: Limits) -> None:
        self._pair = pair
        self._grid = grid
        self._limits = limits
        self._read_to = grid.began
        self._scrapes: dict[Application, dict[float, Cells]] = {}
        self._sealed = 0

    def refresh(self, prometheus: Prometheus, now: Callable[[], float]) -> UserRows:
        """Read what is new. Raises Unreachable where it cannot be read, or nobody is scraped now."""
        at = now()
        queries = _queries(self._pair)
        for _ in range(CHUNKS_MAX):
            end = min(self._read_to + CHUNK_SECONDS, at + LOOK_AHEAD_SECONDS)
            seconds = end - self._read_to + 1
            told = {
                kind: read_series(prometheus.samples(query, at=end, seconds=seconds))
                for kind, query in queries.items()
            }
            for application, scrapes in scrapes_of(told, self._pair.arm_label).items():
                self._scrapes.setdefault(application, {}).update(scrapes)
            if end > at:
                break
            self._read_to = end
        else:
            raise Unreachable(f"{self._pair.total} is being read, its history is to come")
        alive = self._alive(at)
        self._read_to = max(self._grid.began, min(alive))
        self._sealed = max(self._sealed, self._grid.slice_at(min(alive)))
        return UserRows(
            self._sealed, rows_of(self._scrapes, self._grid, self._limits, self._sealed)
        )

    def _alive(self, at: float) -> list[float]:
        """The newest scrape of each application that is scraped now."""
        stale = max(self._limits.stale_seconds, STALE_INTERVALS * self._grid.slice_seconds)
        newest = [max(scrapes) for scrapes in self._scrapes.values()]
        alive = [time for time in newest if at - time <= stale]
        if not alive:
            raise Unreachable(
                f"no application tells {self._pair.bad} and {self._pair.total} of both arms "
                f"({self._pair.arm_label}: baseline, candidate) in one scrape of the last {stale:g} s. "
                "Next: let it start all four series at 0"
            )
        if max(alive) > at + self._limits.skew_seconds:
            raise Unreachable(f"{self._pair.total} has samples from the future: start time sync")
        return alive


def scrapes_of(
    told: dict[str, list[Series]], arm_label: str
) -> dict[Application, dict[float, Cells]]:
    """Scrapes in which all four counts are known: summed over all labels but job, instance and arm."""
    found: dict[Application, dict[float, dict[tuple[str, str], int | None]]] = {}
    for kind, series in told.items():
        for one in series:
            cell = (one.labels.get(arm_label, ""), kind)
            if cell not in CELLS:
                continue
            application = one.labels.get("job", ""), one.labels.get("instance", "")
            scrapes = found.setdefault(application, {})
            for at, value in one.samples:
                counts = scrapes.setdefault(at, {})
                before, count = counts.get(cell, 0), read_count(value)
                counts[cell] = None if before is None or count is None else before + count
    if len(found) > APPLICATIONS_MAX:
        raise Unreachable(f"more than {APPLICATIONS_MAX:,} applications match; name fewer")
    whole = {
        application: {at: cells for at, counts in scrapes.items() if (cells := _whole(counts))}
        for application, scrapes in found.items()
    }
    return {application: scrapes for application, scrapes in whole.items() if scrapes}


def rows_of(
    scrapes: dict[Application, dict[float, Cells]], grid: Grid, limits: Limits, sealed: int
) -> list[JsonValue]:
    """The rows of the slices below `sealed` that are known."""
    counts: dict[int, list[int]] = {}
    lost: set[int] = set()
    known_from = sealed
    # Clocks differ by so much at most: what came later is of this segment.
    margin = max(limits.skew_seconds, grid.slice_seconds)
    for told in scrapes.values():
        times = [at for at in sorted(told) if at >= grid.began + margin]
        if not times:
            continue
        known_from = min(known_from, grid.slice_at(times[0]) + 1)
        for before, at in pairwise(times):
            index = grid.slice_at(at)
            more = [new - old for new, old in zip(told[at], told[before], strict=True)]
            slices = index - grid.slice_at(before)
            if min(more) < 0 or slices > POOLED_SLICES_MAX:
                lost.update(range(grid.slice_at(before), index + 1))
            else:
                row = counts.setdefault(index, [0, 0, 0, 0])
                counts[index] = [old + new for old, new in zip(row, more, strict=True)]
    return [
        [index, *counts.get(index, [0, 0, 0, 0])]
        for index in range(known_from, sealed)
        if index not in lost
    ]


def _queries(pair: CountPair) -> dict[str, str]:
    try:
        return {
            kind: read_selector(text, arm_label=pair.arm_label).render()
            for kind, text in ((TOTAL, pair.total), (BAD, pair.bad))
        }
    except BadSelector as wrong:
        raise Unreachable(f"{pair.bad} of {pair.total} cannot be asked for: {wrong}") from wrong


def _whole(counts: dict[tuple[str, str], int | None]) -> Cells | None:
    found = [counts.get(cell) for cell in CELLS]
    first, second, third, fourth = found
    if first is None or second is None or third is None or fourth is None:
        return None
    return first, second, third, fourth
