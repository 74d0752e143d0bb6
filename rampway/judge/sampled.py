"""The tables of answers that users saw: how many of each arm got which score, slice by slice.

Every function works inside the store's commit, or only reads.
"""

import sqlite3
from typing import Final

from rampway.judge.counts import Arm, ArmCounts, Drawn, Judged, SealedAnswers, Unanswered, Unjudged

# unjudged_* is NULL until the slice is sealed; ended_at is NULL until its mark was read.
SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS answers (
        segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
        i INTEGER NOT NULL,
        score INTEGER NOT NULL,
        candidate INTEGER NOT NULL,
        baseline INTEGER NOT NULL,
        PRIMARY KEY (segment, i, score)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS drawn (
        segment INTEGER NOT NULL REFERENCES segments ON DELETE CASCADE,
        i INTEGER NOT NULL,
        ended_at REAL,
        candidate INTEGER NOT NULL DEFAULT 0,
        baseline INTEGER NOT NULL DEFAULT 0,
        unanswered_candidate INTEGER NOT NULL DEFAULT 0,
        unanswered_baseline INTEGER NOT NULL DEFAULT 0,
        unjudged_candidate INTEGER,
        unjudged_baseline INTEGER,
        PRIMARY KEY (segment, i)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS drawn_open ON drawn (segment, i) WHERE unjudged_candidate IS NULL",
)

MARKED_NOT_SEALED: Final = """
    SELECT drawn.segment, drawn.i, drawn.ended_at
    FROM segments JOIN drawn ON drawn.segment = segments.id
    WHERE segments.target = ? AND segments.grader = ?
        AND drawn.unjudged_candidate IS NULL AND drawn.ended_at IS NOT NULL
    ORDER BY drawn.segment, drawn.i
"""

# Whatever was drawn, and neither scored nor failed, is unjudged: also what the spool did not take.
SEAL: Final = """
    WITH scored(candidate, baseline) AS (
        SELECT coalesce(sum(candidate), 0), coalesce(sum(baseline), 0)
        FROM answers WHERE segment = :segment AND i = :i
    )
    UPDATE drawn SET
        unjudged_candidate = max(
            0, candidate - unanswered_candidate - (SELECT candidate FROM scored)
        ),
        unjudged_baseline = max(0, baseline - unanswered_baseline - (SELECT baseline FROM scored))
    WHERE segment = :segment AND i = :i
"""


def add(
    db: sqlite3.Connection, segment: int, finding: Judged | Unanswered | Unjudged | Drawn
) -> str:
    """Add a finding to its slice, which is not sealed; return the name it is tallied by."""
    i = finding.slice.i
    match finding:
        case Judged(arm=arm, score=score):
            db.execute(_ADD_ANSWER, (segment, i, score, *_one(arm)))
            return "judged"
        case Unanswered(arm=arm):
            db.execute(_ADD_UNANSWERED, (segment, i, *_one(arm)))
            return "unanswered"
        case Unjudged():
            return "unjudged"  # counted when the slice is sealed, as what is missing
        case Drawn(ended_at=ended_at, candidate=candidate, baseline=baseline):
            db.execute(_MARK, (segment, i, ended_at, candidate, baseline))
            return "drawn"


def sealed_slices(
    db: sqlite3.Connection, segment: int, *, sealed: int
) -> tuple[SealedAnswers, ...]:
    """The sealed slices of a segment, in order."""
    scores: dict[int, list[tuple[int, int, int]]] = {}
    for i, score, candidate, baseline in db.execute(
        "SELECT i, score, candidate, baseline FROM answers WHERE segment = ? AND i < ?"
        " ORDER BY i, score",
        (segment, sealed),
    ):
        scores.setdefault(i, []).append((score, candidate, baseline))
    rows = db.execute(
        "SELECT i, unjudged_candidate, unjudged_baseline, unanswered_candidate, unanswered_baseline"
        " FROM drawn WHERE segment = ? AND unjudged_candidate IS NOT NULL ORDER BY i",
        (segment,),
    )
    return tuple(
        SealedAnswers(
            i=i,
            scores=tuple(scores.get(i, ())),
            unjudged=ArmCounts(candidate=unjudged_c, baseline=unjudged_b),
            unanswered=ArmCounts(candidate=unanswered_c, baseline=unanswered_b),
        )
        for i, unjudged_c, unjudged_b, unanswered_c, unanswered_b in rows
    )


def _one(arm: Arm) -> tuple[int, int]:
    """One of this arm, as (candidate, baseline)."""
    return (1, 0) if arm is Arm.CANDIDATE else (0, 1)


_ADD_ANSWER = """
    INSERT INTO answers (segment, i, score, candidate, baseline) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET candidate = candidate + excluded.candidate,
        baseline = baseline + excluded.baseline
"""
_ADD_UNANSWERED = """
    INSERT INTO drawn (segment, i, unanswered_candidate, unanswered_baseline) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        unanswered_candidate = unanswered_candidate + excluded.unanswered_candidate,
        unanswered_baseline = unanswered_baseline + excluded.unanswered_baseline
"""
_MARK = """
    INSERT INTO drawn (segment, i, ended_at, candidate, baseline) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET ended_at = excluded.ended_at, candidate = excluded.candidate,
        baseline = excluded.baseline
"""
