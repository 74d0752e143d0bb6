"""The judge's counts in one SQLite file: what was read and what it came to, in the same commit.

A judge that is killed at any instruction has counted each line of a spool once, or not yet.
"""

import sqlite3
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rampway.judge import sampled
from rampway.judge.counts import (
    AnswerCounts,
    Drawn,
    Ended,
    Finding,
    Judged,
    Missing,
    Scored,
    SealedSlice,
    SegmentCounts,
    SliceKey,
    Unanswered,
    Unjudged,
    Unknown,
)
from rampway.judge.scores import ScoreSum, is_score, score_sums, score_tallies
from rampway.judge.spool import Position

BUSY_SECONDS = 5.0  # a judge that is being replaced may still be letting go of the file
LATE = "late"  # the tally of what came after its slice was sealed
EPOCHS_KEPT = 100  # per target; each epoch is one release's claim


class StoreBusy(Exception):
    """Another judge uses the same state directory."""


class Store:
    """Counts of every target, kept apart by the grader they were scored with. One thread at a time."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open or create the file. Raises StoreBusy while another process has it open."""
        self._db = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except sqlite3.OperationalError as error:
            self._db.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise StoreBusy(
                f"Another judge is using {path}. Next: stop it, or give this one its own state_dir."
            ) from error

    def close(self) -> None:
        self._db.close()

    def position(self, target: str) -> Position | None:
        """How far the target's spool is counted; None before its first line."""
        row = self._db.execute(
            "SELECT inode, offset, head FROM positions WHERE target = ?", (target,)
        ).fetchone()
        return Position(*row) if row else None

    def fold(
        self,
        target: str,
        grader: str,
        findings: Sequence[Finding],
        *,
        after: Position,
        tallies: Mapping[str, int],
    ) -> None:
        """Count the findings and move the position behind them, both or neither.

        What belongs to a sealed slice is not added to it but tallied as `late`.
        """
        with self._commit():
            segments = _Segments(self._db, target, grader)
            told = Counter(tallies)
            for finding in findings:
                name = self._add(segments, finding)
                told[name] += 1
                if name != LATE:
                    told.update(score_tallies(finding))
            for name, n in told.items():
                self._tally(target, name, n)
            self._db.execute(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
                (target, after.inode, after.offset, after.head),
            )

    def seal(self, target: str, grader: str, *, now: float, judge_seconds: float) -> int:
        """Seal every marked slice that ended `judge_seconds` ago or earlier; return how many.

        Sealing goes upwards: a slice that is not due keeps those above it open, and a slice whose
        mark never came is lost with the next one that is sealed.
        """
        due = [
            (seal, segment, i)
            for marked, seal in (
                (_MARKED_NOT_SEALED, _SEAL_SLICE),
                (sampled.MARKED_NOT_SEALED, sampled.SEAL),
            )
            for segment, i in self._due(
                marked, target, grader, now=now, judge_seconds=judge_seconds
            )
        ]
        if due:
            with self._commit():
                for seal, segment, i in due:
                    self._db.execute(seal, {"segment": segment, "i": i})
                    self._db.execute(
                        "UPDATE segments SET sealed = ? WHERE id = ?", (i + 1, segment)
                    )
                self._tally(target, "sealed", len(due))
        return len(due)

    def counts(self, target: str, grader: str, *, epoch: int, segment: int) -> SegmentCounts:
        """The sealed slices of a segment, in order. A segment nobody has heard of has none."""
        key, slice_seconds, sealed = self._segment(target, grader, epoch, segment)
        pairs: dict[int, list[tuple[int, int, int]]] = {}
        for i, old, new, n in self._db.execute(
            "SELECT i, old, new, n FROM pairs WHERE segment = ? AND i < ? ORDER BY i, old, new",
            (key, sealed),
        ):
            pairs.setdefault(i, []).append((old, new, n))
        slices = self._db.execute(
            "SELECT i, lost FROM slices WHERE segment = ? AND lost IS NOT NULL ORDER BY i", (key,)
        )
        return SegmentCounts(
            slice_seconds=slice_seconds,
            sealed=sealed,
            slices=tuple(SealedSlice(i, tuple(pairs.get(i, ())), lost) for i, lost in slices),
        )

    def answers(self, target: str, grader: str, *, epoch: int, segment: int) -> AnswerCounts:
        """The sealed slices of a segment's judged sample, in order."""
        key, slice_seconds, sealed = self._segment(target, grader, epoch, segment)
        slices = sampled.sealed_slices(self._db, key, sealed=sealed)
        return AnswerCounts(slice_seconds=slice_seconds, sealed=sealed, slices=slices)

    def tallies(self, target: str) -> dict[str, int]:
        """What happened to the target's lines and slices since the file was created, by name."""
        return {name: n for name, n in self._tallied(target) if not is_score(name)}

    def scores(self, target: str) -> list[ScoreSum]:
        """Since the file was created, by sample and arm, under whatever grader scored them."""
        return score_sums(dict(self._tallied(target)))

    def _tallied(self, target: str) -> list[tuple[str, int]]:
        return self._db.execute(
            "SELECT name, n FROM tallies WHERE target = ?", (target,)
        ).fetchall()

    def _prepare(self) -> None:
        # Exclusive for as long as we live: two judges on one spool would each count a part of it.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._commit():
            for statement in (*_SCHEMA, *sampled.SCHEMA):
                self._db.execute(statement)

    @contextmanager
    def _commit(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _add(self, segments: "_Segments", finding: Finding) -> str:
        """Add one finding to its slice, unless that is sealed; return the name it is tallied by."""
        segment = segments.of(finding.slice)
        i = finding.slice.i
        if i < segment.sealed:
            return LATE
        if isinstance(finding, Ended | Drawn):
            self._db.execute(
                "UPDATE segments SET slice_seconds = ? WHERE id = ?",
                (finding.slice_seconds, segment.id),
            )
        match finding:
            case Scored(old=old, new=new):
                self._db.execute(_ADD_PAIR, (segment.id, i, old, new))
                return "scored"
            case Missing():
                self._db.execute(_ADD_MISSING, (segment.id, i))
                return "missing"
            case Unknown():
                self._db.execute(_ADD_UNKNOWN, (segment.id, i))
                return "unknown"
            case Ended():
                marked = (segment.id, i, finding.ended_at, finding.copied, finding.missing)
                self._db.execute(_MARK, marked)
                return "marked"
            case Judged() | Unanswered() | Unjudged() | Drawn():
                return sampled.add(self._db, segment.id, finding)

    def _segment(
        self, target: str, grader: str, epoch: int, segment: int
    ) -> tuple[int, float | None, int]:
        """Its key, the length of its slices and how many are sealed; key 0, which none has, if unknown."""
        row = self._db.execute(
            "SELECT id, slice_seconds, sealed FROM segments"
            " WHERE target = ? AND grader = ? AND epoch = ? AND segment = ?",
            (target, grader, epoch, segment),
        ).fetchone()
        return row or (0, None, 0)

    def _due(
        self, marked: str, target: str, grader: str, *, now: float, judge_seconds: float
    ) -> list[tuple[int, int]]:
        due: list[tuple[int, int]] = []
        waiting: set[int] = set()
        for segment, i, ended_at in self._db.execute(marked, (target, grader)):
            if now < ended_at + judge_seconds:
                waiting.add(segment)
            elif segment not in waiting:
                due.append((segment, i))
        return due

    def _tally(self, target: str, name: str, n: int) -> None:
        self._db.execute(_TALLY, (target, name, n))


@dataclass(frozen=True)
class _Segment:
    id: int
    sealed: int


class _Segments:
    """The segments that one commit touches, each looked up or created once."""

    def __init__(self, db: sqlite3.Connection, target: str, grader: str) -> None:
        self._db = db
        self._target = target
        self._grader = grader
        self._known: dict[tuple[int, int], _Segment] = {}

    def of(self, key: SliceKey) -> _Segment:
        name = (key.epoch, key.segment)
        if name not in self._known:
            self._known[name] = self._find(*name) or self._create(*name)
        return self._known[name]

    def _find(self, epoch: int, segment: int) -> _Segment | None:
        row = self._db.execute(
            "SELECT id, sealed FROM segments"
            " WHERE target = ? AND grader = ? AND epoch = ? AND segment = ?",
            (self._target, self._grader, epoch, segment),
        ).fetchone()
        return _Segment(*row) if row else None

    def _create(self, epoch: int, segment: int) -> _Segment:
        created = self._db.execute(
            "INSERT INTO segments (target, grader, epoch, segment) VALUES (?, ?, ?, ?) RETURNING id",
            (self._target, self._grader, epoch, segment),
        ).fetchone()
        self._db.execute(_FORGET_OLD_EPOCHS, {"target": self._target, "kept": EPOCHS_KEPT})
        return _Segment(id=created[0], sealed=0)


_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS positions (
        target TEXT PRIMARY KEY,
        inode INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        head TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS segments (
        id INTEGER PRIMARY KEY,
        target TEXT NOT NULL,
        grader TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        slice_seconds REAL,
        sealed INTEGER NOT NULL DEFAULT 0,
        UNIQUE (target, grader, epoch, segment)
    ) STRICT""",
    # lost is NULL until the slice is sealed; ended_at is NULL until its mark was read.
    """CREATE TABLE IF NOT EXISTS slices (
        segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
        i INTEGER NOT NULL,
        ended_at REAL,
        copied INTEGER NOT NULL DEFAULT 0,
        missing_by_mark INTEGER NOT NULL DEFAULT 0,
        missing_by_line INTEGER NOT NULL DEFAULT 0,
        unknown INTEGER NOT NULL DEFAULT 0,
        lost INTEGER,
        PRIMARY KEY (segment, i)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS slices_open ON slices (segment, i) WHERE lost IS NULL",
    """CREATE TABLE IF NOT EXISTS pairs (
        segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
        i INTEGER NOT NULL,
        old INTEGER NOT NULL,
        new INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (segment, i, old, new)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS tallies (
        target TEXT NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (target, name)
    ) STRICT, WITHOUT ROWID""",
)

_ADD_PAIR = """
    INSERT INTO pairs (segment, i, old, new, n) VALUES (?, ?, ?, ?, 1)
    ON CONFLICT DO UPDATE SET n = n + 1
"""
_ADD_MISSING = """
    INSERT INTO slices (segment, i, missing_by_line) VALUES (?, ?, 1)
    ON CONFLICT DO UPDATE SET missing_by_line = missing_by_line + 1
"""
_ADD_UNKNOWN = """
    INSERT INTO slices (segment, i, unknown) VALUES (?, ?, 1)
    ON CONFLICT DO UPDATE SET unknown = unknown + 1
"""
_MARK = """
    INSERT INTO slices (segment, i, ended_at, copied, missing_by_mark) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET ended_at = excluded.ended_at, copied = excluded.copied,
        missing_by_mark = excluded.missing_by_mark
"""
_MARKED_NOT_SEALED = """
    SELECT slices.segment, slices.i, slices.ended_at
    FROM segments JOIN slices ON slices.segment = segments.id
    WHERE segments.target = ? AND segments.grader = ?
        AND slices.lost IS NULL AND slices.ended_at IS NOT NULL
    ORDER BY slices.segment, slices.i
"""
# Lost is what was sampled and not scored. The gateway's own sum of missing pairs and the lines that
# name them are two views of the same pairs: the larger counts, not both.
_SEAL_SLICE = """
    WITH scored(n) AS (
        SELECT coalesce(sum(n), 0) FROM pairs WHERE segment = :segment AND i = :i
    )
    UPDATE slices SET lost = max(
        copied - (SELECT n FROM scored),
        max(missing_by_mark, missing_by_line) + unknown
    )
    WHERE segment = :segment AND i = :i
"""
_TALLY = """
    INSERT INTO tallies (target, name, n) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET n = n + excluded.n
"""
_FORGET_OLD_EPOCHS = """
    DELETE FROM segments WHERE target = :target AND epoch <= (
        SELECT DISTINCT epoch FROM segments WHERE target = :target
        ORDER BY epoch DESC LIMIT 1 OFFSET :kept
    )
"""
