"""Which answers that users saw go to the judge: a bounded number per slice, drawn from both arms alike.

Each arm keeps the requests with the lowest points of the slice (a bottom-k sample: Cohen and Kaplan,
"Summarizing data using bottom-k sketches", PODC 2007). A point is a hash of the unit alone, so that
being drawn tells nothing of the arm, the answer or how long it took. When the slice is over, its mark
says how many were drawn; their lines follow at once, or when their answers end.
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from heapq import heappush, heappushpop
from typing import Final

from rampway.gateway.counting import Outcome, SegmentCounter
from rampway.gateway.lossy import LossyFile
from rampway.gateway.settings import JudgedSettings
from rampway.gateway.spool import AnswerRecord, DrawnRecord, Half, SpoolRecord
from rampway.gateway.terms import Arm, Timing

CANDIDATES_MAX: Final = 500  # of one slice, however long it is
ERROR: Final = "error"
TIMEOUT: Final = "timeout"
CLIENT: Final = "client"  # the caller left before the answer was complete
TOO_LARGE: Final = "too_large"
TOO_MANY: Final = "too_many"  # more bytes than may be held
SPOOL: Final = "spool"  # the spool took no line
FORGOTTEN: Final = "forgotten"  # the unit asked for it
LINES_AT_ONCE: Final = 32  # so that the end of a slice holds up no request
_LINE_BYTES: Final = 256


class Stage(Enum):
    """How far a drawn request has come."""

    RUNNING = "running"
    ENDED = "ended"  # kept until its slice is over, if nobody pushes it out, and it is written
    AWAITED = "awaited"  # its slice is over, its answer is not
    OUT = "out"  # written, or pushed out


class Draw:
    """A request that may be judged: whose arm it is only serves to count it."""

    __slots__ = (
        "answer",
        "arm",
        "failed",
        "held_bytes",
        "index",
        "missing",
        "point",
        "request",
        "stage",
        "trace",
        "unit",
    )

    def __init__(self, arm: Arm, index: int, *, point: int, unit: bytes, trace: str) -> None:
        self.arm = arm
        self.index = index
        self.point = point
        self.unit = unit
        self.trace = trace
        self.request: bytes | None = None
        self.answer: Half | None = None
        self.failed: str | None = None  # why there is no answer to judge
        self.missing: str | None = None  # why an answer was not kept for the judge
        self.held_bytes = 0
        self.stage = Stage.RUNNING


class ArmTally:
    """What was drawn of one arm of one target since the process started."""

    def __init__(self) -> None:
        self.drawn = 0
        self.missing: dict[str, int] = {}


class Lowest:
    """The draws with the lowest points, at most `size` of them."""

    __slots__ = ("_heap", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, bytes, Draw]] = []  # the highest point first

    @property
    def held(self) -> int:
        return len(self._heap)

    @property
    def draws(self) -> list[Draw]:
        return [draw for _, _, draw in self._heap]

    def admits(self, point: int) -> bool:
        return len(self._heap) < self._size or -point > self._heap[0][0]

    def add(self, draw: Draw) -> Draw | None:
        """Answers the draw that it pushes out."""
        entry = (-draw.point, draw.unit, draw)  # a unit comes once: draws are never compared
        if len(self._heap) < self._size:
            heappush(self._heap, entry)
            return None
        return heappushpop(self._heap, entry)[2]

    def split(self, n: int) -> tuple[list[Draw], list[Draw]]:
        """The `n` lowest, in order, and the others."""
        ordered = [draw for _, _, draw in sorted(self._heap, key=_point, reverse=True)]
        return ordered[:n], ordered[n:]


class Sampling:
    """The judged sample of one segment. Times are monotonic seconds, given by the caller."""

    def __init__(
        self,
        settings: JudgedSettings,
        *,
        target: str,
        release: str,
        counter: SegmentCounter,
        began_at: float,
        spool: LossyFile[SpoolRecord],
        totals: dict[Arm, ArmTally],
        pseudonym: Callable[[bytes], str],
    ) -> None:
        self.target = target
        self.release = release
        self.counter = counter
        self._settings = settings
        self._began_at = began_at
        self._spool = spool
        self._totals = totals
        self._pseudonym = pseudonym
        self._candidates_max = candidates_per_slice(settings, counter.timing)
        self._slices: dict[int, dict[Arm, Lowest]] = {}
        self._awaited: dict[int, set[Draw]] = {}  # by slice, in order
        self._ready: deque[Draw] = deque()  # to be written
        self._next_mark = counter.first_index
        self._held_bytes = 0

    def draw(self, arm: Arm, point: int, unit: bytes, trace: str, now: float) -> Draw | None:
        """A request that starts now; None where its point is too high for the slice."""
        index = self.counter.index_at(now)
        arms = self._slices.get(index)
        if arms is None:
            most = self._candidates_max
            baselines_max = most * self._settings.baseline_per_candidate
            arms = {Arm.CANDIDATE: Lowest(most), Arm.BASELINE: Lowest(baselines_max)}
            self._slices[index] = arms
        if not arms[arm].admits(point):
            return None
        drawn = Draw(arm, index, point=point, unit=unit, trace=trace)
        pushed_out = arms[arm].add(drawn)
        self.counter.note_drawn(index, arm, arms[arm].held)
        if pushed_out is not None:
            self._let_go(pushed_out)
        return drawn

    def take(self, draw: Draw, request: bytes | None, answer: Half | None) -> None:
        """Hold a whole answer until its slice is over; None is a body too large to be kept."""
        if draw.stage in {Stage.ENDED, Stage.OUT} or draw.missing == FORGOTTEN:
            return
        if request is None or answer is None:
            draw.missing = TOO_LARGE
            return
        size = len(request) + len(answer.body or b"")
        if self._held_bytes + size > self._settings.held_bytes:
            draw.missing = TOO_MANY
            return
        self._held_bytes += size
        draw.held_bytes = size
        draw.request, draw.answer = request, answer

    def end(self, draw: Draw, outcome: Outcome, took_seconds: float) -> None:
        """The request is over, `took_seconds` after its start."""
        if draw.stage in {Stage.ENDED, Stage.OUT}:
            return
        draw.failed = _why_failed(outcome, took_seconds, self.counter.timing)
        if draw.stage is Stage.RUNNING:
            draw.stage = Stage.ENDED
            return
        awaited = self._awaited[draw.index]
        awaited.discard(draw)
        if not awaited:
            del self._awaited[draw.index]
        self._write(draw)

    def forget(self, unit: bytes) -> None:
        """Hold nothing of a unit any more but that it was drawn: its lines will name nobody."""
        name = unit.decode("utf-8", "replace")
        for draw in self._held():
            if draw.unit == unit or draw.trace == name:
                draw.missing, draw.trace = FORGOTTEN, ""
                self._let_go_bodies(draw)

    def mark_due(self, now: float) -> None:
        """Mark, in order, each slice that is over; give up answers that did not come in time.

        Writes some of the lines that are ready: call again while `next_due` is past.
        """
        while not self._is_marked and now >= self._end_of(self._next_mark):
            self._mark(self._next_mark)
            self._next_mark += 1
        if self._is_marked:
            self._drop_cut_slice()
        while (deadline := self._next_deadline()) is not None and now >= deadline:
            for draw in self._awaited.pop(next(iter(self._awaited))):
                draw.failed, draw.stage = TIMEOUT, Stage.ENDED
                self._ready.append(draw)
        for _ in range(min(LINES_AT_ONCE, len(self._ready))):
            self._write(self._ready.popleft())

    def next_due(self) -> float:
        """When `mark_due` has something to do."""
        if self._ready:
            return self.counter.began
        deadline = self._next_deadline()
        if self._is_marked:
            return deadline if deadline is not None else self._end_of(self._next_mark)
        mark = self._end_of(self._next_mark)
        return mark if deadline is None else min(mark, deadline)

    @property
    def is_over(self) -> bool:
        """Does the segment end, and are all lines of its whole slices written?"""
        return self._is_marked and not self._awaited and not self._ready

    def _held(self) -> Iterator[Draw]:
        for arms in self._slices.values():
            for lowest in arms.values():
                yield from lowest.draws
        for awaited in self._awaited.values():
            yield from awaited
        yield from self._ready

    @property
    def _is_marked(self) -> bool:
        slices = self.counter.slices
        return slices is not None and self._next_mark >= slices

    def _next_deadline(self) -> float | None:
        first = next(iter(self._awaited), None)
        return None if first is None else self._end_of(first) + self.counter.timing.timeout_seconds

    def _end_of(self, index: int) -> float:
        return self.counter.began + (index + 1) * self.counter.timing.slice_seconds

    def _mark(self, index: int) -> None:
        arms = self._slices.pop(index, None)
        candidates = arms[Arm.CANDIDATE].split(self._candidates_max)[0] if arms else []
        enough = len(candidates) * self._settings.baseline_per_candidate
        baselines, too_many = arms[Arm.BASELINE].split(enough) if arms else ([], [])
        for draw in too_many:
            self._let_go(draw)
        self.counter.note_drawn(index, Arm.CANDIDATE, len(candidates))
        self.counter.note_drawn(index, Arm.BASELINE, len(baselines))
        width = self.counter.timing.slice_seconds
        record = DrawnRecord(
            target=self.target,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=index,
            slice_seconds=width,
            ended_at=self._began_at + (index + 1) * width,
            candidate=len(candidates),
            baseline=len(baselines),
        )
        self._spool.put(record, _LINE_BYTES)
        for draw in (*candidates, *baselines):
            self._totals[draw.arm].drawn += 1
            if draw.stage is Stage.ENDED:
                self._ready.append(draw)
            else:
                draw.stage = Stage.AWAITED
                self._awaited.setdefault(index, set()).add(draw)

    def _drop_cut_slice(self) -> None:
        """What the next write cut is counted nowhere, so it is not judged either."""
        for arms in self._slices.values():
            for lowest in arms.values():
                for draw in lowest.split(0)[1]:
                    self._let_go(draw)
        self._slices.clear()

    def _write(self, draw: Draw) -> None:
        judged = draw.failed is None and draw.missing is None
        record = AnswerRecord(
            target=self.target,
            release=self.release,
            epoch=self.counter.epoch,
            segment=self.counter.number,
            i=draw.index,
            arm=draw.arm,
            unit="" if draw.missing == FORGOTTEN else self._pseudonym(draw.unit),
            trace=draw.trace,
            request=draw.request if judged else None,
            answer=draw.answer if judged else None,
            failed=draw.failed,
            missing=None if draw.failed else draw.missing,
        )
        taken = self._spool.put(record, draw.held_bytes + _LINE_BYTES)
        reason = (draw.failed or draw.missing) if taken else SPOOL
        if reason is not None:
            told = self._totals[draw.arm].missing
            told[reason] = told.get(reason, 0) + 1
        self._let_go(draw)

    def _let_go(self, draw: Draw) -> None:
        draw.stage = Stage.OUT
        self._let_go_bodies(draw)

    def _let_go_bodies(self, draw: Draw) -> None:
        draw.request = draw.answer = None
        self._held_bytes -= draw.held_bytes
        draw.held_bytes = 0


def candidates_per_slice(settings: JudgedSettings, timing: Timing) -> int:
    """How many candidate answers of one slice are judged at most; at least one."""
    return min(max(1, int(settings.per_second * timing.slice_seconds)), CANDIDATES_MAX)


def _why_failed(outcome: Outcome, took_seconds: float, timing: Timing) -> str | None:
    """Why there is no answer whose quality could be judged: the error counts have it already."""
    if took_seconds > timing.timeout_seconds:
        return TIMEOUT
    if outcome.aborted:
        return CLIENT
    return None if outcome.answered and outcome.kind is None else ERROR


def _point(entry: tuple[int, bytes, Draw]) -> tuple[int, bytes]:
    return entry[0], entry[1]
