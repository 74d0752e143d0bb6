"""One look of the judge at a spool: read on, score each answer, seal what is due."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rampway.judge import rolling
from rampway.judge.counts import (
    Drawn,
    Ended,
    Finding,
    Judged,
    Missing,
    Scored,
    SliceKey,
    Unanswered,
    Unjudged,
    Unknown,
)
from rampway.judge.graders import Grader, Ungradable
from rampway.judge.lines import (
    Begun,
    DrawnMark,
    Line,
    Malformed,
    Mark,
    Pair,
    Seen,
    as_answer,
    read_line,
)
from rampway.judge.rolling import Figures, Rolling
from rampway.judge.spool import spool_path, unread_blocks, unread_bytes
from rampway.judge.store import Store

BLOCKS_PER_LOOK_MAX = 4  # so that a long backlog does not keep a reader of counts waiting


@dataclass(frozen=True)
class Docket:
    """A target's grader, and how long after its end a slice stays open for answers."""

    target: str
    grader: Grader
    judge_seconds: float


class Judge:
    """Scores one target's spool. `wall_seconds` tells the time of day in seconds, as marks do."""

    def __init__(
        self, docket: Docket, spool_dir: Path, store: Store, wall_seconds: Callable[[], float]
    ) -> None:
        self.docket = docket
        self._path = spool_path(spool_dir, docket.target)
        self._store = store
        self._wall_seconds = wall_seconds
        self._rolling = Rolling(levels=docket.grader.levels)

    def figures(self) -> Figures:
        """How the target's shadow does right now; for people, no verdict reads it."""
        return self._rolling.figures(self._wall_seconds())

    def look(self) -> bool:
        """Read what the spool holds now, then seal the slices that were due when the look began.

        A look that does not reach the end (false) seals nothing: a judge that was away first reads
        all that was written in time. May raise OSError or sqlite3.Error; nothing is lost by it.
        """
        target, grader = self.docket.target, self.docket.grader
        now = self._wall_seconds()
        for read, block in enumerate(unread_blocks(self._path, self._store.position(target))):
            if read == BLOCKS_PER_LOOK_MAX:
                return False
            findings, malformed = self._weigh(block.lines)
            tallies = Counter(malformed=malformed, restarts=0 if block.follows else 1)
            self._store.fold(
                target, grader.fingerprint, findings, after=block.after, tallies=+tallies
            )
        self._store.seal(
            target, grader.fingerprint, now=now, judge_seconds=self.docket.judge_seconds
        )
        return True

    def unread_bytes(self) -> int:
        """How much of the spool is still to be read. May raise OSError."""
        return unread_bytes(self._path, self._store.position(self.docket.target))

    def _weigh(self, lines: Sequence[bytes]) -> tuple[list[Finding], int]:
        findings: list[Finding] = []
        malformed = 0
        for line in lines:
            try:
                read = read_line(line, target=self.docket.target)
            except Malformed:
                malformed += 1
            else:
                if isinstance(read, Begun):
                    continue
                found = finding(read, self.docket.grader)
                findings.append(found)
                if isinstance(read, Pair):
                    self._roll(read, found)
        return findings, malformed

    def _roll(self, pair: Pair, found: Finding) -> None:
        if pair.baseline is None or pair.candidate is None or isinstance(found, Missing):
            return
        old, new = (found.old, found.new) if isinstance(found, Scored) else (None, None)
        at = self._wall_seconds()
        seen = rolling.Seen(at, old, new, pair.baseline.latency_ms, pair.candidate.latency_ms)
        self._rolling.add(pair.epoch, seen)


def finding(line: Line, grader: Grader) -> Finding:
    """What a line of the spool comes to under a grader."""
    key = SliceKey(line.epoch, line.segment, line.i)
    match line:
        case Mark():
            return Ended(
                slice=key,
                slice_seconds=line.slice_seconds,
                ended_at=line.ended_at,
                copied=line.copied,
                missing=sum(line.missing.values()),
            )
        case DrawnMark():
            return Drawn(
                slice=key,
                slice_seconds=line.slice_seconds,
                ended_at=line.ended_at,
                candidate=line.candidate,
                baseline=line.baseline,
            )
        case Pair():
            return _of_pair(key, line, grader)
        case Seen():
            return _of_seen(key, line, grader)


def _of_pair(key: SliceKey, line: Pair, grader: Grader) -> Finding:
    if line.missing is not None:
        return Missing(key)
    baseline, candidate = line.answers()
    try:
        return Scored(
            key, old=grader.score(line.request, baseline), new=grader.score(line.request, candidate)
        )
    except Ungradable:
        return Unknown(key)


def _of_seen(key: SliceKey, line: Seen, grader: Grader) -> Finding:
    """The grader gets the request and the answer only: it is blind to the arm."""
    if line.failed is not None:
        return Unanswered(key, line.arm)
    if line.missing is not None or line.answer is None:
        return Unjudged(key, line.arm)
    try:
        return Judged(key, line.arm, grader.score(line.request, as_answer(line.answer)))
    except Ungradable:
        return Unjudged(key, line.arm)
