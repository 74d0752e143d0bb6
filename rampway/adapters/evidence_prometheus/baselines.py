"""The baseline arm over its newest sealed slices, in whatever segments they were served."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rampway.adapters.evidence_prometheus.samples import (
    SLICES,
    Scrape,
    SegmentKey,
    Told,
    selector,
)
from rampway.adapters.evidence_prometheus.segments import (
    LOOK_AHEAD_SECONDS,
    Limits,
    ask,
    check_fresh,
)
from rampway.adapters.evidence_prometheus.session import Prometheus
from rampway.adapters.evidence_prometheus.timelines import (
    SegmentTimeline,
    Stream,
    Totals,
    blocks,
)
from rampway.gates.evidence import BaselineCounts
from rampway.ports import Unreachable

CHUNK_SECONDS: Final = 900.0
CHUNKS_MAX: Final = 24  # six hours
BAD: Final = ("error", "late", "refusal")
Page = tuple[str, SegmentKey]  # gateway, segment


def read_baseline(
    prometheus: Prometheus,
    target: str,
    last_units: int,
    limits: Limits,
    now: Callable[[], float],
) -> BaselineCounts:
    """The arm that served the target's present baseline artifact, until `last_units` are included.

    Looks back six hours at most, and less where nothing was scraped for a quarter of an hour. Raises
    Unreachable.
    """
    query, at = selector(target, latency=True), now()
    end, seconds = at + LOOK_AHEAD_SECONDS, CHUNK_SECONDS + LOOK_AHEAD_SECONDS
    pages: dict[Page, dict[float, Scrape]] = {}
    artifact: str | None = None
    total = _Sum()
    for _ in range(CHUNKS_MAX):
        told = ask(prometheus, query, at=end, seconds=seconds)
        for page, scrapes in told.scrapes.items():
            pages.setdefault(page, {}).update((scrape.at, scrape) for scrape in scrapes)
        if artifact is None:
            artifact = _present_artifact(told, at, limits, target)
        total = _newest(pages, artifact, last_units)
        if total.units >= last_units or not told.scrapes:
            break
        end, seconds = end - seconds, CHUNK_SECONDS
    return BaselineCounts(units=total.units, bad=total.bad, latency=total.latency)


class _Sum:
    """What is included so far."""

    def __init__(self) -> None:
        self.units = 0
        self.bad: dict[str, int] = dict.fromkeys(BAD, 0)
        self.latency: dict[int, int] = {}

    def add(self, arm: str, counts: Totals) -> None:
        self.units += counts.get((arm, "units"), 0)
        for bad in BAD:
            self.bad[bad] += counts.get((arm, bad), 0)
        for (of_arm, name), count in counts.items():
            if of_arm == arm and name.startswith("bucket ") and count:
                bucket = int(name.removeprefix("bucket "))
                self.latency[bucket] = self.latency.get(bucket, 0) + count


class _Part(NamedTuple):
    """Some slices of one gateway's segment; `at` is when they were known to be sealed."""

    at: float
    arm: str
    counts: Totals


def _present_artifact(told: Told, at: float, limits: Limits, target: str) -> str:
    """The baseline artifact of every gateway's newest segment. Raises Unreachable where they differ."""
    newest: dict[str, Scrape] = {}
    for (gateway, _), scrapes in told.scrapes.items():
        known = newest.get(gateway)
        last = scrapes[-1]
        if known is None or (last.at, last.began or 0) > (known.at, known.began or 0):
            newest[gateway] = last
    check_fresh(newest, at, limits, target)
    artifacts = {scrape.baseline[0] for scrape in newest.values() if scrape.baseline}
    if len(artifacts) != 1:
        raise Unreachable(
            f"The gateways tell {len(artifacts)} baseline artifacts of {target}, not one"
        )
    return artifacts.pop()


def _newest(pages: dict[Page, dict[float, Scrape]], artifact: str, last_units: int) -> _Sum:
    parts = [
        part
        for scrapes in pages.values()
        for part in _parts([scrapes[at] for at in sorted(scrapes)], artifact)
    ]
    total = _Sum()
    for part in sorted(parts, key=lambda part: part.at, reverse=True):
        if total.units >= last_units:
            break
        total.add(part.arm, part.counts)
    return total


def _parts(scrapes: list[Scrape], artifact: str) -> Iterator[_Part]:
    """The slices of one page that are sealed in all streams, where the artifact was the baseline."""
    arms = {
        scrape.baseline[1]
        for scrape in scrapes
        if scrape.baseline and scrape.baseline[0] == artifact
    }
    if len(arms) != 1:
        return
    arm = arms.pop()
    timeline = SegmentTimeline()
    known_at: dict[int, float] = {}
    for scrape in scrapes:
        timeline.add(scrape, buckets=None)
        slices = scrape.counts.get((SLICES, "", Stream.FULL))
        if slices is not None:
            known_at.setdefault(slices, scrape.at)
    latency = {(b.begin, b.end): b.totals for b in blocks([timeline], Stream.LATENCY)}
    for block in blocks([timeline], Stream.FULL):
        fast = timeline.streams[Stream.FAST].between(block.begin, block.end)
        slower = latency.get((block.begin, block.end))
        if block.totals is not None and fast is not None and slower is not None:
            errors = {name: count for name, count in fast.items() if name[1] == "error"}
            yield _Part(known_at[block.end], arm, {**block.totals, **slower, **errors})
