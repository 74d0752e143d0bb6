"""What the gateway writes is what the judge reads: neither imports the other, so a test holds both."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from rampway.gateway.assignment import Split
from rampway.gateway.capture import Allowed
from rampway.gateway.forgetting import forget, subject
from rampway.gateway.lossy import LossyFile
from rampway.gateway.settings import BodyFields
from rampway.gateway.spool import Half, MarkRecord, PairRecord, SpoolRecord, encode, first_line
from rampway.judge.counts import SealedSlice
from rampway.judge.graders import Gold, SetMatch
from rampway.judge.judging import Docket, Judge
from rampway.judge.spool import spool_path
from rampway.judge.store import Store

WHOLE = Allowed(BodyFields(request=("",), answer=("",)))

GRADER = SetMatch(Gold({"went": frozenset({"went"})}, case_by_key={}))
RIGHT, WRONG = b'{"answer": "went"}', b'{"answer": "goed"}'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "counts.sqlite3")
    yield store
    store.close()


@pytest.fixture
def judge(tmp_path: Path, store: Store) -> Judge:
    return Judge(Docket("tutor", GRADER, judge_seconds=0.0), tmp_path, store, lambda: 2_000.0)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[LossyFile[SpoolRecord]]:
    spool = LossyFile[SpoolRecord](
        spool_path(tmp_path, "tutor"),
        encode=partial(encode, allowed=WHOLE),
        lines_max=1_000,
        pending_bytes_max=1_000_000,
        file_bytes_max=4_000,
        first_line=lambda: first_line("tutor", 1_000.0),
    )
    yield spool
    spool.close()


def answered(body: bytes, status: int = 200) -> Half:
    return Half(status=status, latency_ms=12.5, body=body, encoding="")


def pair(i: int, old: Half | None, new: Half | None, missing: str | None = None) -> PairRecord:
    return PairRecord(
        target="tutor",
        release="tutor-1",
        epoch=1,
        segment=0,
        i=i,
        unit="u",
        trace="t",
        request=b'{"case_id": "went"}',
        baseline=old,
        candidate=new,
        missing=missing,
    )


def mark(i: int, *, copied: int, missing: dict[str, int]) -> MarkRecord:
    return MarkRecord(
        target="tutor",
        epoch=1,
        segment=0,
        i=i,
        slice_seconds=1.0,
        ended_at=1_000.0 + i,
        copied=copied,
        missing=missing,
    )


def test_pairs_and_marks_of_the_gateway_come_to_counts(
    spool: LossyFile[SpoolRecord], judge: Judge, store: Store
) -> None:
    records = [
        pair(0, answered(WRONG), answered(RIGHT)),
        pair(0, answered(RIGHT), answered(b"the tutor is lost", status=500)),
        pair(0, answered(RIGHT), None, missing="timeout"),
        mark(0, copied=4, missing={"timeout": 1, "spool": 1}),
    ]
    for record in records:
        spool.put(record, 100)
    spool.write()

    judge.look()

    counts = store.counts("tutor", GRADER.fingerprint, epoch=1, segment=0)
    assert counts.sealed == 1
    assert counts.slices == (SealedSlice(i=0, pairs=((0, 1, 1), (1, 0, 1)), lost=2),)
    assert "malformed" not in store.tallies("tutor")


def test_no_pair_is_lost_or_doubled_when_the_gateway_begins_its_spool_anew(
    spool: LossyFile[SpoolRecord], judge: Judge, store: Store, tmp_path: Path
) -> None:
    for i in range(20):
        for _ in range(3):
            spool.put(pair(i, answered(WRONG), answered(RIGHT)), 100)
        spool.put(mark(i, copied=3, missing={}), 100)
        spool.write()
        judge.look()

    counts = store.counts("tutor", GRADER.fingerprint, epoch=1, segment=0)
    assert spool_path(tmp_path, "tutor").with_name("spool-tutor.jsonl.1").exists()
    assert counts.slices == tuple(SealedSlice(i=i, pairs=((0, 1, 3),), lost=0) for i in range(20))


def test_a_unit_that_is_forgotten_moves_no_count_and_not_the_judges_place(
    spool: LossyFile[SpoolRecord], judge: Judge, store: Store, tmp_path: Path
) -> None:
    salt = bytes(32)
    name = Split(salt=salt, release="tutor-1", share_bp=0, shadow_bp=0).pseudonym(b"alice")
    alice = pair(0, answered(WRONG), answered(RIGHT))._replace(unit=name)
    who = subject(b"alice", {("tutor-1", salt.hex())})
    for record in (alice, pair(0, answered(RIGHT), answered(RIGHT))):
        spool.put(record, 100)
    spool.write()
    judge.look()

    read = forget(tmp_path, "tutor", who)
    judge.look()
    spool.put(alice, 100)
    spool.write()
    unread = forget(tmp_path, "tutor", who)
    spool.put(mark(0, copied=3, missing={}), 100)
    spool.write()
    judge.look()

    counts = store.counts("tutor", GRADER.fingerprint, epoch=1, segment=0)
    assert (read.lines, unread.lines) == (1, 1)
    assert counts.slices == (SealedSlice(i=0, pairs=((0, 1, 1), (1, 1, 1)), lost=1),)
    assert {"malformed", "restarts"} & set(store.tallies("tutor")) == set()
