"""A gateway's segment whose truth is known: sealed, lost, restarted and scraped as a test says."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rampway.adapters.evidence_prometheus.samples import Scrape, Series, read_scrapes
from rampway.adapters.evidence_prometheus.timelines import (
    Field,
    SegmentTimeline,
    Stream,
    tail_field,
)
from rampway.gateway.journal import Line, SegmentFacts
from rampway.gateway.metrics import Page
from rampway.gateway.sealed import SealedTotals

if TYPE_CHECKING:
    from rampway.gateway.counting import FastArm, FastRow, FullArm, FullRow

KEY = (1, 3)
THRESHOLD = 200
FACTS: SegmentFacts = {
    "slice_seconds": 10.0,
    "fast_seconds": 10.0,
    "timeout_seconds": 20.0,
    "began_at": 1_700_000_000.0,
    "share_bp": 500,
    "baseline": "sha256:" + "a" * 64,
    "baseline_arm": "baseline",
    "candidate": "sha256:" + "b" * 64,
}
ARMS = ("baseline", "candidate")


@dataclass
class World:
    """One gateway's segment: what was true of each slice, what was lost, and what was scraped."""

    dice: random.Random
    name: str = "a" * 32
    fast: list[dict[Field, int]] = field(default_factory=list[dict[Field, int]])
    full: list[dict[Field, int]] = field(default_factory=list[dict[Field, int]])
    fast_lost: set[int] = field(default_factory=set[int])
    full_lost: set[int] = field(default_factory=set[int])
    scrapes: list[Scrape] = field(default_factory=list[Scrape])
    series: list[Series] = field(default_factory=list[Series])
    first: int = 0

    def __post_init__(self) -> None:
        self.totals = SealedTotals(self.name)
        self.totals.begin("tutor", KEY, FACTS, (0, 0))

    def step(self, name: str, at: float) -> None:
        match name:
            case "fast":
                self._seal_fast(lost=len(self.fast) < self.first)
            case "full" if len(self.full) < len(self.fast):
                self._seal_full(lost=len(self.full) < self.first)
            case "scrape":
                self.scrapes += self._scraped(at)
            case "restart":
                self.totals = SealedTotals(self.name)
                self.totals.begin("tutor", KEY, FACTS, (len(self.fast), len(self.full)))
                self.first = len(self.fast) + self.dice.randrange(1, 3)
            case "disk":  # a slice that the disk did not take
                self._seal_fast(lost=True)
            case _:
                pass

    def truth(self, stream: Stream, begin: int, end: int) -> dict[Field, int] | None:
        """The sums over slices `[begin, end)`; None where one of them was lost."""
        told = self.fast if stream is Stream.FAST else self.full
        lost = self.fast_lost if stream is Stream.FAST else self.full_lost
        if lost & set(range(begin, end)):
            return None
        names = {name for one in told[begin:end] for name in one}
        return {name: sum(one.get(name, 0) for one in told[begin:end]) for name in names}

    def _seal_fast(self, *, lost: bool) -> None:
        i = len(self.fast)
        arms: dict[str, FastArm] = {}
        true: dict[Field, int] = {}
        for arm in ARMS:
            units = self.dice.choice([0, 1, 7, 1000])
            arms[arm] = {"units": units, "error": self.dice.randint(0, units)}
            true[arm, "units"], true[arm, "error"] = units, arms[arm]["error"]
        self.fast.append(true)
        row: FastRow = {"i": i, "baseline": arms["baseline"], "candidate": arms["candidate"]}
        if lost:
            self.fast_lost.add(i)
        self._note([] if lost else [{"epoch": 1, "segment": 3, "kind": "fast", **row}])

    def _seal_full(self, *, lost: bool) -> None:
        i = len(self.full)
        arms: dict[str, FullArm] = {}
        true: dict[Field, int] = {}
        for arm in ARMS:
            units = self.fast[i][arm, "units"]
            slow = self.dice.randint(0, units)
            latency = {str(self.dice.randint(THRESHOLD - 1, THRESHOLD)): units - slow}
            latency[str(THRESHOLD + self.dice.randrange(1, 50))] = slow
            late, refusal = self.dice.randint(0, units), self.dice.randint(0, units)
            arms[arm] = {
                "units": units,
                "late": late,
                "refusal": refusal,
                "aborted": 0,
                "kinds": {},
                "latency": {bucket: count for bucket, count in latency.items() if count},
            }
            true |= {(arm, "units"): units, (arm, "late"): late, (arm, "refusal"): refusal}
            true[tail_field(arm, THRESHOLD)] = slow
        self.full.append(true)
        row: FullRow = {"i": i, "baseline": arms["baseline"], "candidate": arms["candidate"]}
        if lost:
            self.full_lost.add(i)
        self._note([] if lost else [{"epoch": 1, "segment": 3, "kind": "full", **row}])

    def _note(self, lines: list[Line]) -> None:
        self.totals.note("tutor", lines, {KEY: (len(self.fast), len(self.full))}, 0.0)

    def _scraped(self, at: float) -> list[Scrape]:
        """By way of the page's text, as Prometheus reads it."""
        page = Page()
        page.family("clock_seconds", "gauge", "", [({"gateway": self.name}, at)])
        for family in self.totals.families(0.0):
            page.family(*family)
        series = list(page_series(page.text(), at))
        self.series += series
        return read_scrapes(series).scrapes[self.name, KEY]

    def timeline(self, scrapes: int | None = None) -> SegmentTimeline:
        found = SegmentTimeline()
        for scrape in self.scrapes[:scrapes]:
            found.add(scrape, buckets=[THRESHOLD])
        return found


def page_series(page: str, at: float) -> Iterator[Series]:
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            labels, _, value = rest.partition("} ")
            found = dict(pair.split("=", 1) for pair in labels.split(","))
            named = {"__name__": name, **{k: v.strip('"') for k, v in found.items()}}
            yield Series(named, [(at, value)])


def played(
    steps: Sequence[str],
    seed: int,
    name: str = "a" * 32,
    *,
    began: float = 1_000.0,
    pace: float = 1,
) -> World:
    """A world after these steps, `pace` seconds apart."""
    world = World(random.Random(seed), name)
    for n, step in enumerate(steps):
        world.step(step, began + n * pace)
    return world
