"""Totals of what is sealed, per segment, for the metrics page: the same slices that `/slices` serves.

They rise only in the moment in which a slice is sealed and on the disk, so a reader who knows how many
slices are sealed knows which requests a total holds, and that both arms waited equally long. They begin
at 0 with the process; what an earlier process counted is told as lost.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from rampway.gateway.counting import FastRow, FullRow
from rampway.gateway.durable import replace_file
from rampway.gateway.journal import Key, Line, SegmentFacts
from rampway.gateway.metrics import Sample
from rampway.gateway.terms import Arm

KEPT_SECONDS: Final = 15 * 60  # after a segment is closed and all its slices are sealed
CLOSED_MAX: Final = 16  # segments per target that are over; beyond it the oldest are dropped
GATEWAY_FILE: Final = "gateway-id"
ARTIFACT_DIGITS: Final = 16  # enough to tell a target's few artifacts apart, and safe as a label
FAST: Final = "fast"
FULL: Final = "full"


class Family(NamedTuple):
    """One metric family, as `Page.family` takes it."""

    name: str
    kind: str
    told: str
    samples: list[Sample]


class StreamTotals:
    """What one stream's sealed slices add up to."""

    __slots__ = ("bad", "counted", "sealed", "units")

    def __init__(self, sealed: int, bad: tuple[str, ...]) -> None:
        self.sealed = sealed
        self.counted = 0  # slices that are in the totals
        self.units = dict.fromkeys(Arm, 0)
        self.bad = {arm: dict.fromkeys(bad, 0) for arm in Arm}

    @property
    def lost(self) -> int:
        """Sealed slices that are in no total: lost, or counted by an earlier process."""
        return self.sealed - self.counted


class SegmentTotals:
    """One segment's totals. `closed_at` (monotonic) is when its last slice was sealed."""

    __slots__ = ("closed_at", "facts", "fast", "full", "latency")

    def __init__(self, facts: SegmentFacts, sealed: tuple[int, int]) -> None:
        self.facts = facts
        self.fast = StreamTotals(sealed[0], ("error",))
        self.full = StreamTotals(sealed[1], ("late", "refusal"))
        self.latency: dict[Arm, dict[str, int]] = {arm: {} for arm in Arm}
        self.closed_at: float | None = None

    @property
    def streams(self) -> tuple[tuple[str, StreamTotals], ...]:
        return (FAST, self.fast), (FULL, self.full)

    def add_fast(self, row: FastRow) -> None:
        self.fast.counted += 1
        for arm, counts in ((Arm.BASELINE, row["baseline"]), (Arm.CANDIDATE, row["candidate"])):
            self.fast.units[arm] += counts["units"]
            self.fast.bad[arm]["error"] += counts["error"]

    def add_full(self, row: FullRow) -> None:
        self.full.counted += 1
        for arm, counts in ((Arm.BASELINE, row["baseline"]), (Arm.CANDIDATE, row["candidate"])):
            self.full.units[arm] += counts["units"]
            self.full.bad[arm]["late"] += counts["late"]
            self.full.bad[arm]["refusal"] += counts["refusal"]
            latency = self.latency[arm]
            for bucket, count in counts["latency"].items():
                latency[bucket] = latency.get(bucket, 0) + count


class SealedTotals:
    """The totals of every target's segments: the one in force, those being sealed, those just closed."""

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        self._segments: dict[str, dict[Key, SegmentTotals]] = {}

    def begin(self, target: str, key: Key, facts: SegmentFacts, sealed: tuple[int, int]) -> None:
        """A segment whose slices below `sealed` (fast, full) this process will not count."""
        self._segments.setdefault(target, {})[key] = SegmentTotals(facts, sealed)

    def note(
        self,
        target: str,
        lines: Iterable[Line],
        sealed: Mapping[Key, tuple[int, int]],
        now: float,
    ) -> None:
        """Rows that are now on the disk, and how far each of their segments is sealed."""
        segments = self._segments.get(target, {})
        for line in lines:
            totals = segments.get((line["epoch"], line["segment"]))
            if totals is None:
                continue
            if line["kind"] == "fast":
                totals.add_fast(line)
            elif line["kind"] == "full":
                totals.add_full(line)
            elif line["kind"] == "closed":
                totals.closed_at = now
        for key, (fast, full) in sealed.items():
            if key in segments:
                segments[key].fast.sealed = max(segments[key].fast.sealed, fast)
                segments[key].full.sealed = max(segments[key].full.sealed, full)
        self._forget(segments, now)

    def families(self, now: float) -> list[Family]:
        """The page's families; `now` is monotonic."""
        for segments in self._segments.values():
            self._forget(segments, now)
        return [
            Family(
                "sealed_units_total",
                "counter",
                "Units in sealed slices, by the stream that was sealed.",
                list(self._units()),
            ),
            Family(
                "sealed_bad_total",
                "counter",
                "Bad units in sealed slices, by the gates' stream.",
                list(self._bad()),
            ),
            Family(
                "sealed_latency_total",
                "counter",
                "Units in fully sealed slices by latency: bucket k is [1.02**k, 1.02**(k+1)) ms.",
                list(self._latency()),
            ),
            Family(
                "sealed_slices",
                "gauge",
                "How many slices of the segment are sealed.",
                list(self._slices("sealed")),
            ),
            Family(
                "sealed_lost_slices",
                "gauge",
                "How many of them are in no total: lost, or counted before a restart.",
                list(self._slices("lost")),
            ),
            Family(
                "sealed_slice_seconds",
                "gauge",
                "Length of the segment's slices.",
                [(own, totals.facts["slice_seconds"]) for own, totals in self._each()],
            ),
            Family(
                "sealed_began_seconds",
                "gauge",
                "When the segment began, in Unix time by the gateway's clock.",
                [(own, totals.facts["began_at"]) for own, totals in self._each()],
            ),
            Family(
                "sealed_info",
                "gauge",
                "1: which arm served the target's baseline artifact.",
                [({**own, **_artifact(totals.facts)}, 1) for own, totals in self._each()],
            ),
        ]

    def _units(self) -> Iterator[Sample]:
        for own, totals in self._each():
            for stream, counts in totals.streams:
                for arm in Arm:
                    yield {**own, "arm": arm.value, "stream": stream}, counts.units[arm]

    def _bad(self) -> Iterator[Sample]:
        for own, totals in self._each():
            for _, counts in totals.streams:
                for arm in Arm:
                    for stream, bad in counts.bad[arm].items():
                        yield {**own, "arm": arm.value, "stream": stream}, bad

    def _latency(self) -> Iterator[Sample]:
        for own, totals in self._each():
            for arm in Arm:
                for bucket, count in totals.latency[arm].items():
                    yield {**own, "arm": arm.value, "bucket": bucket}, count

    def _slices(self, fact: str) -> Iterator[Sample]:
        for own, totals in self._each():
            for stream, counts in totals.streams:
                count = counts.sealed if fact == "sealed" else counts.lost
                yield {**own, "stream": stream}, count

    def _each(self) -> Iterator[tuple[dict[str, str], SegmentTotals]]:
        for target, segments in sorted(self._segments.items()):
            for (epoch, segment), totals in sorted(segments.items()):
                own = {
                    "gateway": self.gateway,
                    "target": target,
                    "epoch": str(epoch),
                    "segment": str(segment),
                }
                yield own, totals

    def _forget(self, segments: dict[Key, SegmentTotals], now: float) -> None:
        """Labels must not pile up: each segment is a set of series of its own."""
        over = list(segments)[:-1]  # in the order in which they began; the last is in force
        for position, key in enumerate(over):
            closed_at = segments[key].closed_at
            old = closed_at is not None and now - closed_at > KEPT_SECONDS
            if old or position < len(over) - CLOSED_MAX:
                del segments[key]


def gateway_id(directory: Path) -> str:
    """Who this gateway is: drawn once per state directory, so that a restart is the same gateway."""
    path = directory / GATEWAY_FILE
    if path.exists():
        known = path.read_text().strip()
        if len(known) == len(uuid.uuid4().hex) and known.isalnum():
            return known
    drawn = uuid.uuid4().hex
    replace_file(path, drawn.encode())
    return drawn


def artifact_label(artifact: str) -> str:
    """An artifact's name as a label: hashed, for a name may hold quotes and be 200 characters long."""
    return hashlib.sha256(artifact.encode()).hexdigest()[:ARTIFACT_DIGITS]


def _artifact(facts: SegmentFacts) -> dict[str, str]:
    return {"baseline": artifact_label(facts["baseline"]), "baseline_arm": facts["baseline_arm"]}
