"""The counts of all targets: which segment is counted now, what is sealed, and what is asked of it.

The event loop counts; one thread owns the journals and writes, then reads, what was sealed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypedDict, TypeVar

import structlog

from rampway.gateway.counting import FastArm, FastRow, FullArm, FullRow, Sealed, SegmentCounter
from rampway.gateway.journal import (
    Closed,
    FastLine,
    FullLine,
    Kept,
    Key,
    Line,
    Rows,
    SegmentFacts,
    SliceJournal,
)
from rampway.gateway.sealed import SealedTotals, gateway_id
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, Clock, Ending, RefusalCode, Refused

PENDING_LINES_MAX: Final = 20_000  # while the disk refuses them; beyond it the rows are lost
ROWS_EXAMINED_MAX: Final = 200_000
_log = structlog.get_logger("rampway.gateway")
T = TypeVar("T")


class FastStream(TypedDict):
    """How many slices are sealed, and the rows of those that were not lost."""

    sealed: int
    rows: list[FastRow]


class FullStream(TypedDict):
    """Same, of the full stream."""

    sealed: int
    rows: list[FullRow]


class Slices(TypedDict):
    """The answer to: what is sealed of this segment?"""

    target: str
    epoch: int
    segment: int
    slice_seconds: float
    began_at: float
    share_bp: int
    fast: FastStream
    full: FullStream


class BaselineAnswer(TypedDict):
    """The baseline arm over its most recent sealed slices."""

    units: int
    bad: dict[str, int]
    latency: dict[str, int]


class TargetCounts:
    """One target's segments that are being counted or still to be sealed, and its journal."""

    def __init__(self, journal: SliceJournal) -> None:
        self.journal = journal
        self.live: SegmentCounter | None = None
        self.closing: list[SegmentCounter] = []
        self.pending: list[Line] = []
        self.sealed: dict[Key, tuple[int, int]] = {}  # to be published when `pending` is written
        self.rows_lost = 0
        self.units_forgotten = 0  # in segments that are over

    @property
    def forgotten(self) -> int:
        """Units forgotten in all segments of this process."""
        return self.units_forgotten + sum(one.units_forgotten for one in self.counters())

    def counters(self) -> list[SegmentCounter]:
        return [*self.closing, self.live] if self.live else self.closing

    def collect(self, now: float) -> None:
        """Seal what is due into `pending`."""
        for counter in self.counters():
            key = (counter.epoch, counter.number)
            sealed = counter.seal(now)
            if sealed is not None:
                self.pending += _lines(key, sealed)
                self.sealed[key] = counter.sealed_to
            if counter.is_sealed:
                self.closing.remove(counter)
                self.units_forgotten += counter.units_forgotten
                self.pending.append(_closed(key, counter))

    def write(self, lines: list[Line], sealed: dict[Key, tuple[int, int]]) -> None:
        """Append lines, then publish how far each stream is sealed. Raises OSError."""
        if lines:
            self.journal.append(lines)
        for key, (fast, full) in sealed.items():
            kept = self.journal.segments[key]
            kept.fast_sealed = max(kept.fast_sealed, fast)
            kept.full_sealed = max(kept.full_sealed, full)


class Counts:
    """Counts of every target. Its writes and answers wait for the disk in one thread."""

    def __init__(self, directory: Path, *, clock: Clock, units_remembered: int) -> None:
        self._directory = directory
        self._clock = clock
        self._units_remembered = units_remembered
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="rampway-counts")
        self._started = clock.monotonic()
        self.targets: dict[str, TargetCounts] = {}
        self.totals = SealedTotals(gateway_id(directory))

    def segment_for(self, split: TargetSplit) -> SegmentCounter:
        """The counter of the segment in force; a new segment closes the one before, in its own moment."""
        counts = self.targets.get(split.target)
        if counts is None:
            path = self._directory / f"journal-{split.target}.jsonl"
            counts = self.targets[split.target] = TargetCounts(SliceJournal(path))
        live, segment = counts.live, split.segment
        if live is not None and (live.epoch, live.number) == (split.epoch, segment.number):
            return live
        if live is not None:
            live.close(segment.began)
            counts.closing.append(live)
        counts.live = self._counter(counts, split)
        return counts.live

    def next_seal(self) -> float | None:
        due = (c.next_seal() for counts in self.targets.values() for c in counts.counters())
        return min(due, default=None)

    async def seal_due(self) -> None:
        """Seal, write and publish what is due; what the disk refuses is tried again next time."""
        now = self._clock.monotonic()
        for target, counts in list(self.targets.items()):
            counts.collect(now)
            if not counts.pending and not counts.sealed:
                continue
            # Copies: `segment_for` may add a line while the thread writes these.
            lines, sealed = list(counts.pending), dict(counts.sealed)
            try:
                await self._in_thread(partial(counts.write, lines, sealed))
            except OSError:
                _log.exception("journal.not_written", target=target, lines=len(lines))
                _forget_rows(counts)
            else:
                del counts.pending[: len(lines)]
                counts.sealed = {k: v for k, v in counts.sealed.items() if sealed.get(k) != v}
                self.totals.note(target, lines, sealed, self._clock.monotonic())

    async def slices(self, target: str, key: Key) -> Slices:
        """All sealed rows of a segment. Raises Refused unknown."""
        counts = self._known(target)
        for line in counts.pending:
            if line["kind"] == "began" and (line["epoch"], line["segment"]) == key:
                return _answer(target, key, Kept(line["facts"]), Rows([], []))
        return await self._in_thread(partial(_slices, target, key, counts.journal))

    async def facts(self, target: str, key: Key) -> SegmentFacts:
        """What a segment is. Raises Refused unknown."""
        counts = self._known(target)
        for line in counts.pending:
            if line["kind"] == "began" and (line["epoch"], line["segment"]) == key:
                return line["facts"]
        return await self._in_thread(partial(_facts_of, target, key, counts.journal))

    async def baseline(self, split: TargetSplit, last_units: int) -> BaselineAnswer:
        """The baseline arm over its newest fully sealed slices, until `last_units` are included."""
        journal = self._known(split.target).journal
        artifact = split.baseline.artifact
        return await self._in_thread(partial(_baseline, journal, artifact, last_units))

    def close(self) -> None:
        self._disk.shutdown()
        for counts in self.targets.values():
            counts.journal.close()

    def new_counter(self, split: TargetSplit) -> SegmentCounter:
        """What counts a segment; with several processes, what sums it up."""
        return SegmentCounter(
            epoch=split.epoch,
            number=split.segment.number,
            began=split.segment.began,
            timing=split.segment.timing,
            units_max=self._units_remembered,
        )

    def _counter(self, counts: TargetCounts, split: TargetSplit) -> SegmentCounter:
        segment, now = split.segment, self._clock.monotonic()
        counter = self.new_counter(split)
        kept = counts.journal.segments.get((split.epoch, segment.number))
        if kept is not None and counter.index_at(now) <= kept.last_index:
            # Another boot, and the wall clock was set back: a sealed slice is never begun again.
            counter.began = now - (kept.last_index + 1) * segment.timing.slice_seconds
        if segment.began < self._started:
            counter.resume(now)
            counts.sealed[split.epoch, segment.number] = counter.sealed_to
        key = (split.epoch, segment.number)
        self.totals.begin(split.target, key, _facts(split), counter.sealed_to)
        if kept is None:
            counts.pending.append(
                {
                    "epoch": split.epoch,
                    "segment": segment.number,
                    "kind": "began",
                    "facts": _facts(split),
                }
            )
        return counter

    def _known(self, target: str) -> TargetCounts:
        if target not in self.targets:
            raise Refused(RefusalCode.UNKNOWN, f"No target {target!r} here.")
        return self.targets[target]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)


def _facts(split: TargetSplit) -> SegmentFacts:
    claim, timing = split.claim, split.segment.timing
    promoted = claim is not None and claim.ended is Ending.PROMOTED
    return {
        "slice_seconds": timing.slice_seconds,
        "fast_seconds": timing.fast_seconds,
        "timeout_seconds": timing.timeout_seconds,
        "began_at": split.segment.began_at,
        "share_bp": claim.share_bp if claim else 0,
        "baseline": split.baseline.artifact,
        "baseline_arm": (Arm.CANDIDATE if promoted else Arm.BASELINE).value,
        "candidate": claim.candidate.artifact if claim else None,
    }


def _lines(key: Key, sealed: Sealed) -> list[Line]:
    epoch, segment = key
    fast: list[FastLine] = [
        {"epoch": epoch, "segment": segment, "kind": "fast", **row} for row in sealed.fast
    ]
    full: list[FullLine] = [
        {"epoch": epoch, "segment": segment, "kind": "full", **row} for row in sealed.full
    ]
    return [*fast, *full]


def _closed(key: Key, counter: SegmentCounter) -> Closed:
    slices = counter.slices or 0
    return {"epoch": key[0], "segment": key[1], "kind": "closed", "slices": slices}


def _forget_rows(counts: TargetCounts) -> None:
    if len(counts.pending) > PENDING_LINES_MAX:
        kept: list[Line] = [line for line in counts.pending if line["kind"] == "began"]
        counts.rows_lost += len(counts.pending) - len(kept)
        counts.pending = kept


def _slices(target: str, key: Key, journal: SliceJournal) -> Slices:
    return _answer(target, key, _kept(target, key, journal), journal.rows(key))


def _facts_of(target: str, key: Key, journal: SliceJournal) -> SegmentFacts:
    return _kept(target, key, journal).facts


def _kept(target: str, key: Key, journal: SliceJournal) -> Kept:
    kept = journal.segments.get(key)
    if kept is None:
        raise Refused(
            RefusalCode.UNKNOWN,
            f"{target} has no segment {key[1]} in epoch {key[0]}, or no longer.",
        )
    return kept


def _answer(target: str, key: Key, kept: Kept, rows: Rows) -> Slices:
    return {
        "target": target,
        "epoch": key[0],
        "segment": key[1],
        "slice_seconds": kept.facts["slice_seconds"],
        "began_at": kept.facts["began_at"],
        "share_bp": kept.facts["share_bp"],
        "fast": {"sealed": kept.fast_sealed, "rows": rows.fast},
        "full": {"sealed": kept.full_sealed, "rows": rows.full},
    }


def _baseline(journal: SliceJournal, artifact: str, last_units: int) -> BaselineAnswer:
    total: BaselineAnswer = {
        "units": 0,
        "bad": {"error": 0, "late": 0, "refusal": 0},
        "latency": {},
    }
    examined = 0
    newest_first = sorted(
        journal.segments.items(), key=lambda kept: kept[1].facts["began_at"], reverse=True
    )
    for key, kept in newest_first:
        if kept.facts["baseline"] != artifact:
            continue
        full: dict[int, FullArm] = {}
        of_candidate = kept.facts["baseline_arm"] == Arm.CANDIDATE
        for line in journal.lines_backwards(key):
            examined += 1
            if total["units"] >= last_units or examined > ROWS_EXAMINED_MAX:
                return total
            if line["kind"] == "full":
                full[line["i"]] = line["candidate"] if of_candidate else line["baseline"]
            elif line["kind"] == "fast" and line["i"] in full:
                fast = line["candidate"] if of_candidate else line["baseline"]
                _add(total, fast, full.pop(line["i"]))
    return total


def _add(total: BaselineAnswer, fast: FastArm, full: FullArm) -> None:
    total["units"] += full["units"]
    total["bad"]["error"] += fast["error"]
    total["bad"]["late"] += full["late"]
    total["bad"]["refusal"] += full["refusal"]
    for bucket, count in full["latency"].items():
        total["latency"][bucket] = total["latency"].get(bucket, 0) + count
