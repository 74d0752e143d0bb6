"""The spool of several workers: their lines in one file, and a slice's mark when all of them have marked it.

How many requests were sampled is read from the shared counts, so that what a worker took with it when it
died is told by the mark, as missing. A worker's own mark only says that all of its lines have come.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from rampway.gateway.capture import allowed
from rampway.gateway.counting import SegmentCounter
from rampway.gateway.courier import Message
from rampway.gateway.lossy import LossyFile, LossyWriter
from rampway.gateway.pairing import GRACE_SECONDS, SPOOL
from rampway.gateway.settings import CaptureSettings, Settings
from rampway.gateway.sharedcounts import Sampled, SummedCounter
from rampway.gateway.splits import TargetSplit
from rampway.gateway.spool import DrawnRecord, MarkRecord, encode, first_line
from rampway.gateway.terms import ALL_BP

LOST: Final = "lost"  # sampled by a worker that ended before it handed over the line
OVERDUE_SECONDS: Final = (
    2.0  # after which a slice's mark waits no longer for a worker that is silent
)
Key = tuple[str, int, int, str]  # target, epoch, segment, and the kind of its marks


class Awaited:
    """One segment's slices that are still to be marked, and how far each worker has marked its own."""

    def __init__(self, split: TargetSplit, counter: SummedCounter, *, overdue: float) -> None:
        self.counter = counter
        self._began_at = split.segment.began_at
        self._target = split.target
        self._overdue_seconds = overdue
        self._next = counter.first_index
        self._marked_to: dict[int, int] = {}  # per slot
        self._lines: dict[int, int] = {}  # per slice
        self._missing: dict[int, dict[str, int]] = {}  # same, by reason

    @property
    def is_over(self) -> bool:
        slices = self.counter.slices
        return slices is not None and self._next >= slices

    def note_line(self, i: int) -> None:
        self._lines[i] = self._lines.get(i, 0) + 1

    def note_mark(self, slot: int, i: int, missing: Mapping[str, int]) -> None:
        self._marked_to[slot] = i + 1
        told = self._missing.setdefault(i, {})
        for reason, count in missing.items():
            told[reason] = told.get(reason, 0) + count

    def pop_complete(self, now: float, joined: Mapping[int, float]) -> int | None:
        """The next slice that is over and complete, or overdue; `joined` tells since when each worker is here."""
        i, end = self._next, self._end_of(self._next)
        if self.is_over or now < end:
            return None
        waits = any(
            self._marked_to.get(slot, 0) <= i and since < end for slot, since in joined.items()
        )
        if waits and now < end + self._overdue_seconds:
            return None
        self._next += 1
        return i

    def mark(self, i: int, sampled: Sampled) -> MarkRecord:
        missing = self._missing.pop(i, {})
        lost = sampled.copied - self._lines.pop(i, 0) - missing.get(SPOOL, 0)
        if lost > 0:
            missing[LOST] = lost
        return MarkRecord(
            target=self._target,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=i,
            slice_seconds=self.counter.timing.slice_seconds,
            ended_at=self._ended_at(i),
            copied=sampled.copied,
            missing=missing,
        )

    def drawn(self, i: int, sampled: Sampled) -> DrawnRecord:
        return DrawnRecord(
            target=self._target,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=i,
            slice_seconds=self.counter.timing.slice_seconds,
            ended_at=self._ended_at(i),
            candidate=sampled.candidate,
            baseline=sampled.baseline,
        )

    def _end_of(self, i: int) -> float:
        return self.counter.began + (i + 1) * self.counter.timing.slice_seconds

    def _ended_at(self, i: int) -> float:
        return self._began_at + (i + 1) * self.counter.timing.slice_seconds


class Gathering:
    """Takes every worker's lines and writes each target's spool."""

    def __init__(self, settings: Settings, writer: LossyWriter) -> None:
        self._settings = settings
        self._spools = Spools(settings.state_dir, settings.capture, writer)
        self._awaited: dict[Key, Awaited] = {}
        self._joined: dict[int, float] = {}

    @property
    def spools(self) -> "Spools":
        return self._spools

    def follow(self, split: TargetSplit, counter: SegmentCounter) -> None:
        """A segment begins: are slices to be marked in it? Workers ask themselves the same."""
        kind, settings = _marks(split, self._settings), self._settings
        key = (split.target, counter.epoch, counter.number, kind or "")
        if kind is None or key in self._awaited or not isinstance(counter, SummedCounter):
            return
        copies_seconds = min(settings.shadow.timeout, split.segment.timing.timeout_seconds)
        waits = copies_seconds + GRACE_SECONDS if kind == "mark" else 0.0
        self._awaited[key] = Awaited(split, counter, overdue=waits + OVERDUE_SECONDS)

    def join(self, slot: int, now: float) -> None:
        """A worker is here; what comes from its slot is its own from now on."""
        self._joined[slot] = now

    def leave(self, slot: int) -> None:
        """It has ended, and all that it sent was taken."""
        self._joined.pop(slot, None)

    def take(self, slot: int, message: Message) -> None:
        """One line, in the order the worker sent them."""
        kind = "mark" if message.kind in {"pair", "mark"} else "drawn"
        awaited = self._awaited.get((message.target, message.epoch, message.segment, kind))
        if message.kind in {"mark", "drawn"}:
            if awaited is not None:
                missing = orjson.loads(message.line).get("missing", {})
                awaited.note_mark(slot, message.i, missing)
            return
        taken = self._spools.of(message.target).put(message.line, len(message.line))
        if taken and awaited is not None:
            awaited.note_line(message.i)

    def mark_due(self, now: float) -> None:
        """Mark, in order, each slice that is complete; one that is lost gets no mark."""
        for key, awaited in list(self._awaited.items()):
            while (i := awaited.pop_complete(now, self._joined)) is not None:
                ratio = self._settings.judged.baseline_per_candidate
                sampled = awaited.counter.sampled(i, baseline_per_candidate=ratio)
                if sampled is not None:
                    made = awaited.mark if key[-1] == "mark" else awaited.drawn
                    line = encode(made(i, sampled), allowed(self._settings.capture, key[0]))
                    self._spools.of(key[0]).put(line, len(line))
            if awaited.is_over:
                del self._awaited[key]


class Spools:
    """The spool of each target: lines that workers have encoded."""

    def __init__(self, directory: Path, capture: CaptureSettings, writer: LossyWriter) -> None:
        self._directory = directory
        self._capture = capture
        self._writer = writer
        self.files: dict[str, LossyFile[bytes]] = {}

    def of(self, target: str) -> LossyFile[bytes]:
        file = self.files.get(target)
        if file is None:
            file = self.files[target] = self._writer.add(
                LossyFile[bytes](
                    self._directory / f"spool-{target}.jsonl",
                    encode=_as_it_came,
                    first_line=lambda: first_line(target, time.time()),
                    lines_max=self._capture.traffic_log_lines,
                    pending_bytes_max=self._capture.spool_pending_bytes,
                    file_bytes_max=self._capture.spool_bytes,
                )
            )
        return file


def _marks(split: TargetSplit, settings: Settings) -> str | None:
    """Which marks a split's slices get, by the rules of Router."""
    claim = split.claim
    if claim is None:
        return None
    if claim.shadow_bp > 0 and claim.share_bp == 0:
        return "mark"
    kept = allowed(settings.capture, split.target).keeps_bodies
    judged = settings.judged.per_second > 0 and kept
    return "drawn" if judged and 0 < claim.share_bp < ALL_BP else None


def _as_it_came(line: bytes) -> bytes:
    return line
