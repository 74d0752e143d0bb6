"""Answers that users saw are scored blind to the arm, and each is counted once for its own."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import JsonValue

from rampway.gateway.capture import Allowed
from rampway.gateway.lossy import LossyFile
from rampway.gateway.settings import BodyFields
from rampway.gateway.spool import AnswerRecord, DrawnRecord, Half, SpoolRecord, encode
from rampway.judge.counts import AnswerCounts, Arm, ArmCounts, SealedAnswers
from rampway.judge.graders import Answer, Gold, SetMatch
from rampway.judge.judging import Docket, Judge
from rampway.judge.spool import spool_path
from rampway.judge.store import Store

WHOLE = Allowed(BodyFields(request=("",), answer=("",)))

EPOCH, SEGMENT = 3, 7
JUDGE_SECONDS = 1.0
DEADLINE_SECONDS = 20.0
GRADER = SetMatch(Gold({"went": frozenset({"went"})}, case_by_key={}))
RIGHT, WRONG = b'{"answer": "went"}', b'{"answer": "goed"}'
NOBODY = ArmCounts(candidate=0, baseline=0)


class Wall:
    """A wall clock that only the test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Gateway:
    """Writes a spool with the gateway's own records and encoding."""

    def __init__(self, folder: Path) -> None:
        self._file = LossyFile[SpoolRecord](
            spool_path(folder, "tutor"),
            encode=partial(encode, allowed=WHOLE),
            lines_max=10_000,
            pending_bytes_max=10_000_000,
            file_bytes_max=10_000_000,
        )

    def seen(
        self,
        i: int,
        arm: Arm,
        body: bytes = RIGHT,
        *,
        request: bytes = b'{"case_id": "went"}',
        failed: str | None = None,
        missing: str | None = None,
        encoding: str = "",
    ) -> None:
        answer = None if failed or missing else Half(200, 12.5, body, encoding)
        self._write(
            AnswerRecord(
                target="tutor",
                release="tutor-1",
                epoch=EPOCH,
                segment=SEGMENT,
                i=i,
                arm=arm,
                unit="u",
                trace="t",
                request=request,
                answer=answer,
                failed=failed,
                missing=missing,
            )
        )

    def mark(self, i: int, *, ended_at: float, candidate: int, baseline: int) -> None:
        self._write(
            DrawnRecord(
                target="tutor",
                epoch=EPOCH,
                segment=SEGMENT,
                i=i,
                slice_seconds=1.0,
                ended_at=ended_at,
                candidate=candidate,
                baseline=baseline,
            )
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, record: SpoolRecord) -> None:
        self._file.put(record, 100)
        self._file.write()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "counts.sqlite3")) as store:
        yield store


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with contextlib.closing(Gateway(tmp_path)) as gateway:
        yield gateway


@pytest.fixture
def wall() -> Wall:
    return Wall(1_000.0)


@pytest.fixture
def judge(tmp_path: Path, store: Store, wall: Wall) -> Judge:
    return Judge(Docket("tutor", GRADER, JUDGE_SECONDS), tmp_path, store, wall)


def counted(store: Store, grader: str = GRADER.fingerprint) -> AnswerCounts:
    return store.answers("tutor", grader, epoch=EPOCH, segment=SEGMENT)


def test_answers_are_counted_by_score_and_arm(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    for body in (RIGHT, WRONG, WRONG):
        gateway.seen(0, Arm.CANDIDATE, body)
    for body in (RIGHT, RIGHT, RIGHT, WRONG):
        gateway.seen(0, Arm.BASELINE, body)
    gateway.mark(0, ended_at=1_000.0, candidate=3, baseline=4)
    wall.now = 1_001.0

    judge.look()

    assert counted(store) == AnswerCounts(
        slice_seconds=1.0,
        sealed=1,
        slices=(SealedAnswers(0, ((0, 2, 1), (1, 1, 3)), unjudged=NOBODY, unanswered=NOBODY),),
    )
    assert "malformed" not in store.tallies("tutor")


def test_all_that_was_drawn_is_scored_unjudged_or_unanswered_in_its_own_arm(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.seen(0, Arm.CANDIDATE)
    gateway.seen(0, Arm.CANDIDATE, failed="error")
    gateway.seen(0, Arm.CANDIDATE, failed="timeout")
    gateway.seen(0, Arm.CANDIDATE, missing="too_large")
    gateway.seen(0, Arm.BASELINE, failed="client")
    gateway.seen(0, Arm.BASELINE, request=b'{"case_id": "no.such.case"}')
    gateway.seen(0, Arm.BASELINE, encoding="br")
    gateway.mark(0, ended_at=1_000.0, candidate=5, baseline=6)
    wall.now = 1_001.0

    judge.look()

    # One candidate's line and three of the baseline never came: they were drawn all the same.
    assert counted(store).slices == (
        SealedAnswers(
            0,
            ((1, 1, 0),),
            unjudged=ArmCounts(candidate=2, baseline=5),
            unanswered=ArmCounts(candidate=2, baseline=1),
        ),
    )
    assert store.tallies("tutor") == {
        "judged": 1,
        "unanswered": 3,
        "unjudged": 3,
        "drawn": 1,
        "sealed": 1,
    }


class Witness:
    """A grader that remembers everything it was told."""

    fingerprint = "witness"
    levels = 2

    def __init__(self) -> None:
        self.told: list[tuple[JsonValue, Answer]] = []

    def score(self, request: JsonValue, answer: Answer) -> int:
        self.told.append((request, answer))
        return 1


def test_a_grader_is_told_the_same_of_both_arms(
    gateway: Gateway, tmp_path: Path, store: Store, wall: Wall
) -> None:
    witness = Witness()
    for arm in Arm:
        gateway.seen(0, arm)

    Judge(Docket("tutor", witness, JUDGE_SECONDS), tmp_path, store, wall).look()

    first, second = witness.told
    assert first == second == ({"case_id": "went"}, Answer(200, {"answer": "went"}))


def test_a_slice_is_sealed_the_judges_time_after_its_end_whether_or_not_all_answers_are_in(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.mark(0, ended_at=1_000.5, candidate=1, baseline=1)
    gateway.seen(0, Arm.BASELINE)
    wall.now = 1_001.499
    judge.look()
    before = counted(store)

    wall.now = 1_001.5
    judge.look()
    sealed = counted(store)
    gateway.seen(0, Arm.CANDIDATE)
    gateway.mark(0, ended_at=2_000.0, candidate=9, baseline=9)
    judge.look()
    wall.now = 9_000.0
    judge.look()

    assert (before.sealed, before.slices) == (0, ())
    assert [one.unjudged for one in sealed.slices] == [ArmCounts(candidate=1, baseline=0)]
    assert counted(store) == sealed
    assert store.tallies("tutor")["late"] == 2


def test_a_slice_without_its_mark_is_lost_with_the_next_that_is_sealed(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.seen(0, Arm.CANDIDATE)
    gateway.seen(1, Arm.CANDIDATE)
    wall.now = 9_000.0
    judge.look()
    before = counted(store).sealed
    gateway.mark(1, ended_at=1_000.0, candidate=1, baseline=0)

    judge.look()

    assert before == 0
    assert (counted(store).sealed, [one.i for one in counted(store).slices]) == (2, [1])


def test_another_grader_starts_from_nothing_and_says_so_of_what_it_did_not_score(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall, tmp_path: Path
) -> None:
    gateway.seen(0, Arm.CANDIDATE)
    gateway.mark(0, ended_at=1_000.0, candidate=1, baseline=0)
    gateway.seen(1, Arm.CANDIDATE)
    wall.now = 1_001.0
    judge.look()
    stricter = SetMatch(Gold({"went": frozenset({"has gone"})}, case_by_key={}))
    gateway.seen(1, Arm.CANDIDATE)
    gateway.mark(1, ended_at=1_001.0, candidate=2, baseline=0)
    wall.now = 1_002.0

    Judge(Docket("tutor", stricter, JUDGE_SECONDS), tmp_path, store, wall).look()

    assert [one.i for one in counted(store).slices] == [0]
    assert counted(store, stricter.fingerprint).slices == (
        SealedAnswers(
            1, ((0, 1, 0),), unjudged=ArmCounts(candidate=1, baseline=0), unanswered=NOBODY
        ),
    )


SETTINGS = """
spool_dir = "."
state_dir = "state"

[targets.tutor]
gold = "gold.jsonl"
judge_seconds = 1.0
"""


@contextlib.contextmanager
def judge_process(folder: Path) -> Generator[httpx.Client]:
    """A judge in a process of its own, killed at the end."""
    announcement = folder / "state" / "judge.json"
    announcement.unlink(missing_ok=True)
    environment = os.environ | {"RAMPWAY_JUDGE_CONFIG": str(folder / "judge.toml")}
    process = subprocess.Popen([sys.executable, "-m", "rampway.judge"], env=environment)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not announcement.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with httpx.Client(base_url=json.loads(announcement.read_text())["url"]) as client:
            yield client
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def quality(client: httpx.Client) -> Any:  # noqa: ANN401 - a JSON document
    asked = {"target": "tutor", "epoch": EPOCH, "segment": SEGMENT}
    return client.get("/v1/quality", params=asked).raise_for_status().json()


def until_sealed(client: httpx.Client, sealed: int) -> Any:  # noqa: ANN401 - a JSON document
    deadline = time.monotonic() + DEADLINE_SECONDS
    while quality(client)["sealed"] < sealed:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return quality(client)


def furnish(folder: Path) -> None:
    (folder / "judge.toml").write_text(SETTINGS)
    (folder / "gold.jsonl").write_text('{"case_id": "went", "accepted": ["went"]}\n')


def test_a_judge_killed_again_and_again_counts_each_answer_once(
    gateway: Gateway, tmp_path: Path
) -> None:
    furnish(tmp_path)
    dice = random.Random(5)
    written: Counter[tuple[int, int, Arm]] = Counter()

    for _ in range(4):
        with judge_process(tmp_path):
            until = time.monotonic() + dice.uniform(0.05, 0.25)
            while time.monotonic() < until:
                i, score, arm = dice.randrange(3), dice.randrange(2), dice.choice(list(Arm))
                gateway.seen(i, arm, (WRONG, RIGHT)[score])
                written[i, score, arm] += 1
    for i in range(3):
        drawn = {arm: sum(written[i, score, arm] for score in (0, 1)) for arm in Arm}
        gateway.mark(
            i, ended_at=time.time(), candidate=drawn[Arm.CANDIDATE], baseline=drawn[Arm.BASELINE]
        )
    with judge_process(tmp_path) as client:
        told = until_sealed(client, 3)
    with judge_process(tmp_path) as client:
        again = until_sealed(client, 3)

    assert sum(written.values()) > 200
    assert told["rows"] == [
        {
            "i": i,
            "scores": [
                [score, written[i, score, Arm.CANDIDATE], written[i, score, Arm.BASELINE]]
                for score in (0, 1)
            ],
            "unjudged": {"candidate": 0, "baseline": 0},
            "unanswered": {"candidate": 0, "baseline": 0},
        }
        for i in range(3)
    ]
    assert told["grader"] == GRADER.fingerprint
    assert again == told
