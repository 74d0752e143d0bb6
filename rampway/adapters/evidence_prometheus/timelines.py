"""From scrapes to rows: which sealed slices a total holds, and what is left out because nobody can know.

**Exact.** A total rises only when a slice is sealed, so a scrape that tells `sealed = k` beside its totals
tells the sums over the slices below k, whatever moment the scrape came at. Between a scrape at k and the
next at k + 1 lies exactly slice k. No clock, rate or interpolation is involved.

**Pooled.** Where no scrape fell between the seals of two slices, their sum is one row at the last index;
in the fast stream the others are rows without a unit. Nothing is uncounted then, so the slices count as
covered. The test stays exact: a unit's arm is drawn with the segment's one share whatever its slice, so
given the pooled totals the candidate's bad units have the same law as given each slice's (the gates'
own slices pool their seconds like this). At most POOLED_SLICES_MAX are pooled: in a longer gap nobody
looked, and its slices are left out.

**Aligned.** The full stream is cut only where the fast stream was, because the gates compare the units of
both slice by slice. A cut that only the full stream missed leaves its first slices without a row, which
understates coverage and never overstates it.

**Restarts.** A gateway tells how many sealed slices are in no total. When that number changes, or a total
falls, slices were lost between the two scrapes: they are left out, and counting goes on from the totals of
the later one, never from the difference of both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from rampway.adapters.evidence_prometheus.samples import (
    BAD,
    LATENCY,
    LOST,
    SLICES,
    UNITS,
    Name,
    Scrape,
)

POOLED_SLICES_MAX: Final = 6  # a minute of ten-second slices
ARMS: Final = ("candidate", "baseline")
Field = tuple[str, str]  # arm, what is counted
Totals = Mapping[Field, int]  # what is absent is 0


class Stream(StrEnum):
    """What is sealed together; latency is of the full stream, and may be unreadable alone."""

    FAST = "fast"
    FULL = "full"
    LATENCY = "latency"


BAD_IN: Final = {Stream.FAST: ("error",), Stream.FULL: ("late", "refusal"), Stream.LATENCY: ()}


class Told(NamedTuple):
    """One stream at one scrape: the sums over the sealed slices, but for the lost ones."""

    sealed: int
    lost: int
    totals: Totals


class Timeline:
    """One stream of one gateway's segment, scrape after scrape, in order of time.

    A run is the time without a loss: its totals, by how many slices were sealed, can be subtracted.
    """

    def __init__(self) -> None:
        self.runs: list[dict[int, Totals]] = []
        self._last: Told | None = None

    def add(self, told: Told) -> None:
        last, self._last = self._last, told
        if last is None:
            # Totals begin at 0 with their segment: where nothing is lost, they hold all its slices.
            nothing: Totals = dict.fromkeys(told.totals, 0)
            self.runs.append({0: nothing} if told.lost == 0 else {})
        elif _broken(last, told):
            self.runs.append({})
        run = self.runs[-1]
        if run.setdefault(told.sealed, told.totals) != told.totals:
            # The sum over the same slices cannot change: neither is known, and nothing before fits.
            del run[told.sealed]
            self.runs.append({})

    @property
    def cuts(self) -> set[int]:
        """The slice counts at which the totals are known; 0 is known of every segment."""
        return {0, *(sealed for run in self.runs for sealed in run)}

    def between(self, begin: int, end: int) -> Totals | None:
        """The sums over slices `[begin, end)`; None where a slice among them was lost."""
        for run in self.runs:
            if begin in run and end in run:
                before = run[begin]
                return {name: count - before.get(name, 0) for name, count in run[end].items()}
        return None


class Block(NamedTuple):
    """Slices `[begin, end)` of all gateways that no scrape told apart; None where they are not known."""

    begin: int
    end: int
    totals: Totals | None


class SegmentTimeline:
    """All streams of one gateway's segment."""

    def __init__(self) -> None:
        self.streams: dict[Stream, Timeline] = {stream: Timeline() for stream in Stream}

    def add(self, scrape: Scrape, *, buckets: Sequence[int] | None) -> None:
        """`buckets` are latency thresholds: their tails are kept. None keeps every bucket."""
        for stream in Stream:
            told = read_stream(scrape, stream, buckets)
            if told is not None:
                self.streams[stream].add(told)


def blocks(gateways: Sequence[SegmentTimeline], stream: Stream) -> list[Block]:
    """The slices in order, cut where every gateway has a cut, of this stream and of the fast one."""
    cuts = _common_cuts(gateways, stream)
    if stream is not Stream.FAST:
        cuts &= _common_cuts(gateways, Stream.FAST)
    found: list[Block] = []
    for begin, end in pairwise(sorted(cuts)):
        parts = [gateway.streams[stream].between(begin, end) for gateway in gateways]
        known = [part for part in parts if part is not None]
        whole = len(known) == len(parts) and end - begin <= POOLED_SLICES_MAX
        found.append(Block(begin, end, _sum(known) if whole else None))
    return found


def sealed(found: Sequence[Block]) -> int:
    """How many slices the blocks reach to."""
    return found[-1].end if found else 0


def pooled_slices(found: Iterable[Block]) -> set[int]:
    """Slices whose counts stand in the row of a later one."""
    return {
        index
        for block in found
        if block.totals is not None
        for index in range(block.begin, block.end - 1)
    }


def rows(found: Iterable[Block], pooled: set[int]) -> Iterator[tuple[int, Totals]]:
    """(slice, totals) of what is known, in order; those in `pooled` are empty, their sum comes later."""
    for block in found:
        if block.totals is not None:
            yield from ((i, {}) for i in range(block.begin, block.end - 1) if i in pooled)
            yield block.end - 1, block.totals


def tail_field(arm: str, bucket: int) -> Field:
    """The units of an arm that were slower than a latency bucket."""
    return arm, f"slower than {bucket}"


def bucket_field(arm: str, bucket: int) -> Field:
    """The units of an arm in a latency bucket."""
    return arm, f"bucket {bucket}"


def read_stream(scrape: Scrape, stream: Stream, buckets: Sequence[int] | None) -> Told | None:
    """What a scrape tells of a stream; None where anything of it is missing or is no count."""
    sealed_in = Stream.FAST if stream is Stream.FAST else Stream.FULL
    slices = scrape.counts.get((SLICES, "", sealed_in))
    lost = scrape.counts.get((LOST, "", sealed_in))
    if slices is None or lost is None or lost > slices:
        return None
    wanted: dict[Field, Name] = {}
    for arm in ARMS:
        wanted[arm, "units"] = (UNITS, arm, sealed_in)
        wanted.update({(arm, bad): (BAD, arm, bad) for bad in BAD_IN[stream]})
    totals: dict[Field, int] = {}
    for field, name in wanted.items():
        count = scrape.counts.get(name)
        if count is None:
            return None
        totals[field] = count
    if stream is Stream.LATENCY:
        slower = _latency(scrape, totals, buckets)
        if slower is None:
            return None
        totals |= slower
    return Told(slices, lost, totals)


def _latency(
    scrape: Scrape, units: Totals, buckets: Sequence[int] | None
) -> dict[Field, int] | None:
    """Latencies by bucket or tail; None unless every unit is in one, for a bucket may be missing."""
    found: dict[Field, int] = {}
    for arm in ARMS:
        counts: dict[int, int] = {}
        for (family, of_arm, bucket), count in scrape.counts.items():
            if family == LATENCY and of_arm == arm:
                if count is None or not (bucket.isascii() and bucket.isdigit()):
                    return None
                counts[int(bucket)] = count
        if sum(counts.values()) != units[arm, "units"]:
            return None
        if buckets is None:
            found |= {bucket_field(arm, bucket): count for bucket, count in counts.items()}
        else:
            for threshold in buckets:
                slower = sum(count for bucket, count in counts.items() if bucket > threshold)
                found[tail_field(arm, threshold)] = slower
    return found


def _broken(last: Told, told: Told) -> bool:
    """Between these two scrapes slices were lost, or the totals began anew."""
    if told.lost != last.lost or told.sealed < last.sealed:
        return True
    return any(told.totals.get(name, -1) < count for name, count in last.totals.items())


def _common_cuts(gateways: Sequence[SegmentTimeline], stream: Stream) -> set[int]:
    each = [gateway.streams[stream].cuts for gateway in gateways]
    common = each[0] if each else set[int]()
    return common.intersection(*each)


def _sum(parts: Sequence[Totals]) -> Totals:
    total: dict[Field, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
