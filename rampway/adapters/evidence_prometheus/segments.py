"""One segment as Prometheus knows it: read once from its beginning, then only what is new."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rampway.adapters.evidence_prometheus.samples import Scrape, Told, read_scrapes, read_series
from rampway.adapters.evidence_prometheus.session import Prometheus
from rampway.adapters.evidence_prometheus.timelines import SegmentTimeline
from rampway.ports import Unreachable

SKEW_SECONDS_MAX: Final = 5.0  # of two clocks; a scrape that takes its time counts as skew
STALE_INTERVALS: Final = 2.5
LOOK_AHEAD_SECONDS: Final = 60.0  # so that samples from the future are found, not hidden
RECENT_SECONDS_MIN: Final = 30.0
CHUNK_SECONDS: Final = 1_800.0
CHUNKS_MAX: Final = 8  # per question: a long history is read over several looks


@dataclass(frozen=True)
class Limits:
    """What is fresh: `scrape_seconds` is how often Prometheus is told to scrape the gateways."""

    scrape_seconds: float
    skew_seconds: float = SKEW_SECONDS_MAX

    @property
    def stale_seconds(self) -> float:
        return STALE_INTERVALS * self.scrape_seconds

    @property
    def recent_seconds(self) -> float:
        """How far back the newest scrapes are looked for."""
        return max(RECENT_SECONDS_MIN, 2 * self.stale_seconds)


class Segment:
    """The scrapes of one segment of a target so far. `refresh` blocks; not to be shared among threads."""

    def __init__(self, *, told: str, query: str, buckets: Sequence[int], limits: Limits) -> None:
        self.gateways: dict[str, SegmentTimeline] = {}
        self.slice_seconds = math.nan
        self.began = math.nan
        self._told = told
        self._query = query
        self._buckets = buckets
        self._limits = limits
        self._read_to: float | None = None
        self._newest: dict[str, Scrape] = {}

    def refresh(self, prometheus: Prometheus, now: Callable[[], float]) -> None:
        """Read what is new. Raises Unreachable, also where what is there is too old or of two clocks."""
        at = now()
        if self._read_to is None:
            self.began = self._began(prometheus, at)
            self._read_to = self.began - self._limits.skew_seconds
        for _ in range(CHUNKS_MAX):
            end = min(self._read_to + CHUNK_SECONDS, at + LOOK_AHEAD_SECONDS)
            # A second more, so that no sample falls between two questions.
            seconds = end - self._read_to + 1
            self._take(ask(prometheus, self._query, at=end, seconds=seconds))
            if end > at:
                break
            self._read_to = end
        else:
            raise Unreachable(
                f"{self._told} is being read from Prometheus: {at - self._read_to:.0f} s of its "
                "history are to come, with the next looks"
            )
        check_fresh(self._newest, at, self._limits, self._told)
        self._read_to = min(at, *(scrape.at for scrape in self._newest.values()))

    def _began(self, prometheus: Prometheus, at: float) -> float:
        """When the segment began. Raises Unreachable where no gateway tells of it now."""
        seconds = self._limits.recent_seconds + LOOK_AHEAD_SECONDS
        told = ask(prometheus, self._query, at=at + LOOK_AHEAD_SECONDS, seconds=seconds)
        began = [
            scrape.began
            for scrapes in told.scrapes.values()
            for scrape in scrapes
            if scrape.began is not None
        ]
        if not began:
            raise Unreachable(
                f"Prometheus at {prometheus.name} has no sample of {self._told} in the last "
                f"{self._limits.recent_seconds:.0f} s. Next: rampway doctor"
            )
        return min(began)

    def _take(self, told: Told) -> None:
        for (gateway, _), scrapes in told.scrapes.items():
            timeline = self.gateways.setdefault(gateway, SegmentTimeline())
            newest = self._newest.get(gateway)
            for scrape in scrapes:
                if newest is None or scrape.at > newest.at:
                    self._check_slices(scrape)
                    timeline.add(scrape, buckets=self._buckets)
                    newest = self._newest[gateway] = scrape

    def _check_slices(self, scrape: Scrape) -> None:
        told = scrape.slice_seconds
        if told is None:
            return
        if math.isnan(self.slice_seconds):
            self.slice_seconds = told
        elif told != self.slice_seconds:
            raise Unreachable(
                f"The gateways cut {self._told} into slices of {self.slice_seconds:g} s and of "
                f"{told:g} s, which cannot be added up"
            )


def ask(prometheus: Prometheus, query: str, *, at: float, seconds: float) -> Told:
    """The scrapes of the `seconds` before `at`. Raises Unreachable."""
    return read_scrapes(read_series(prometheus.samples(query, at=at, seconds=seconds)))


def check_fresh(newest: Mapping[str, Scrape], at: float, limits: Limits, told: str) -> None:
    """Every gateway's newest scrape is of now, by all three clocks. Raises Unreachable.

    The three are ours, Prometheus' (which stamps the scrape) and the gateway's (which it tells). No
    count depends on them; but what is old may look quiet, and what is from the future may be another's.
    """
    if not newest:
        raise Unreachable(f"Prometheus has no sample of {told}. Next: rampway doctor")
    for gateway, scrape in newest.items():
        age, name = at - scrape.at, f"gateway {gateway[:12]}"
        if age > limits.stale_seconds:
            raise Unreachable(
                f"The newest sample of {told} from {name} is {age:.1f} s old, the limit is "
                f"{limits.stale_seconds:g} s ({STALE_INTERVALS:g} scrape intervals): it is down, "
                "or scraped less often than RAMPWAY_PROMETHEUS_SCRAPE_SECONDS says"
            )
        if age < -limits.skew_seconds:
            raise Unreachable(
                f"The newest sample of {told} from {name} is {-age:.1f} s in the future: the clocks "
                "of Prometheus and of this machine differ. Next: start time sync"
            )
        if scrape.clock is None:
            raise Unreachable(f"{name} tells no clock beside its counts. Next: rampway doctor")
        skew = scrape.clock - scrape.at
        if abs(skew) > limits.skew_seconds:
            side = "ahead of" if skew > 0 else "behind"
            raise Unreachable(
                f"The clock of {name} is {abs(skew):.1f} s {side} that of Prometheus, the limit is "
                f"{limits.skew_seconds:g} s. Next: start time sync"
            )
