"""Each pair is counted once, in a slice that closes at one moment and never changes after it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rampway.judge.counts import Ended, Finding, Scored, SealedSlice, SegmentCounts, SliceKey
from rampway.judge.graders import Gold, SetMatch
from rampway.judge.judging import BLOCKS_PER_LOOK_MAX, Docket, Judge
from rampway.judge.spool import Position, spool_path
from rampway.judge.store import EPOCHS_KEPT, Store, StoreBusy

EPOCH, SEGMENT = 3, 7
JUDGE_SECONDS = 1.0
RIGHT, WRONG = {"status": 200, "body": {"answer": "went"}}, {"status": 200, "body": "goed"}
GRADER = SetMatch(Gold({"went": frozenset({"went"})}, case_by_key={}))


class Wall:
    """A wall clock that only the test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Gateway:
    """Writes a spool as the gateway does."""

    def __init__(self, folder: Path, *, target: str = "tutor", epoch: int = EPOCH) -> None:
        self.path = spool_path(folder, target)
        self._of = {"target": target, "epoch": epoch, "segment": SEGMENT}

    def pair(self, i: int, **facts: object) -> None:
        line = {
            "kind": "pair",
            **self._of,
            "i": i,
            "release": "tutor-1",
            "unit": "u",
            "trace": "t",
            "request": {"case_id": "went"},
            "baseline": RIGHT,
            "candidate": RIGHT,
            "missing": None,
        }
        self.write(line | facts)

    def mark(self, i: int, *, ended_at: float, copied: int, **missing: int) -> None:
        self.write(
            {
                "kind": "mark",
                **self._of,
                "i": i,
                "slice_seconds": 1.0,
                "ended_at": ended_at,
                "copied": copied,
                "missing": missing,
            }
        )

    def write(self, line: object) -> None:
        with self.path.open("a") as spool:
            spool.write(json.dumps(line) + "\n")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "counts.sqlite3")
    yield store
    store.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


@pytest.fixture
def wall() -> Wall:
    return Wall(1_000.0)


@pytest.fixture
def judge(tmp_path: Path, store: Store, wall: Wall) -> Judge:
    return Judge(Docket("tutor", GRADER, JUDGE_SECONDS), tmp_path, store, wall)


def counted(store: Store, *, grader: str = GRADER.fingerprint, epoch: int = EPOCH) -> SegmentCounts:
    return store.counts("tutor", grader, epoch=epoch, segment=SEGMENT)


def test_pairs_are_counted_by_both_scores(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    gateway.pair(0)
    gateway.pair(0, candidate=WRONG)
    gateway.pair(0, baseline=WRONG)
    gateway.mark(0, ended_at=1_000.0, copied=4)
    wall.now = 1_001.0

    judge.look()

    assert counted(store) == SegmentCounts(
        slice_seconds=1.0,
        sealed=1,
        slices=(SealedSlice(i=0, pairs=((0, 1, 1), (1, 0, 1), (1, 1, 2)), lost=0),),
    )


def test_an_answer_that_failed_scores_nothing_and_is_not_lost(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0, candidate={"status": 500, "body": {"answer": "went"}})
    gateway.pair(0, candidate=None)
    gateway.pair(0, candidate={"status": None, "latency_ms": 1000.0, "body": None})
    gateway.mark(0, ended_at=1_000.0, copied=3)
    wall.now = 1_001.0

    judge.look()

    assert counted(store).slices == (SealedSlice(i=0, pairs=((1, 0, 3),), lost=0),)


def test_what_has_no_two_answers_or_no_known_case_is_lost(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    gateway.pair(0, missing="timeout", candidate=None)
    gateway.pair(0, request={"case_id": "no.such.case"})
    gateway.pair(0, request="not json")
    gateway.mark(0, ended_at=1_000.0, copied=6, timeout=1, drop=2)
    wall.now = 1_001.0

    judge.look()

    assert counted(store).slices == (SealedSlice(i=0, pairs=((1, 1, 1),), lost=5),)
    assert store.tallies("tutor") == {
        "scored": 1,
        "missing": 1,
        "unknown": 2,
        "marked": 1,
        "sealed": 1,
    }


def test_a_slice_is_sealed_exactly_when_the_judges_time_is_over(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    gateway.mark(0, ended_at=1_000.5, copied=1)

    wall.now = 1_001.499
    judge.look()
    before = counted(store)
    wall.now = 1_001.5
    judge.look()
    after = counted(store)

    assert (before.sealed, before.slices) == (0, ())
    assert (after.sealed, len(after.slices)) == (1, 1)


def test_a_slice_without_its_mark_is_never_sealed(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    wall.now = 9_999_999.0

    judge.look()

    assert counted(store).sealed == 0


def test_a_pair_that_comes_in_time_is_counted_though_its_slice_is_over(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.mark(0, ended_at=1_000.0, copied=1)
    judge.look()
    gateway.pair(0)
    wall.now = 1_001.0

    judge.look()

    assert counted(store).slices == (SealedSlice(i=0, pairs=((1, 1, 1),), lost=0),)


def test_a_pair_that_comes_after_the_seal_changes_nothing_and_is_tallied_late(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    gateway.mark(0, ended_at=1_000.0, copied=2)
    wall.now = 1_001.0
    judge.look()
    sealed = counted(store)
    gateway.pair(0)
    gateway.mark(0, ended_at=2_000.0, copied=50)

    judge.look()
    wall.now = 3_000.0
    judge.look()

    assert counted(store) == sealed
    assert sealed.slices == (SealedSlice(i=0, pairs=((1, 1, 1),), lost=1),)
    assert store.tallies("tutor")["late"] == 2


def test_a_judge_that_was_away_reads_all_that_came_before_it_seals(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rampway.judge.spool.BLOCK_BYTES", 1_000)
    gateway.mark(0, ended_at=1_000.0, copied=40)
    for _ in range(40):
        gateway.pair(0)
    wall.now = 5_000.0

    looks = 0
    while not judge.look():
        assert counted(store).sealed == 0
        looks += 1

    assert looks > 40 // (4 * BLOCKS_PER_LOOK_MAX)
    assert counted(store).slices == (SealedSlice(i=0, pairs=((1, 1, 40),), lost=0),)


def test_a_slice_whose_mark_was_lost_is_lost_when_a_later_one_is_sealed(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.pair(0)
    gateway.pair(1)
    gateway.mark(1, ended_at=1_000.0, copied=1)
    wall.now = 1_001.0

    judge.look()
    gateway.mark(0, ended_at=999.0, copied=1)
    judge.look()

    found = counted(store)
    assert found.sealed == 2
    assert [one.i for one in found.slices] == [1]


def test_slices_are_sealed_in_order_though_a_clock_jumped(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.mark(0, ended_at=2_000.0, copied=0)
    gateway.mark(1, ended_at=1_000.0, copied=0)

    wall.now = 1_500.0
    judge.look()
    meanwhile = counted(store).sealed
    wall.now = 2_001.0
    judge.look()

    assert (meanwhile, counted(store).sealed) == (0, 2)


def test_malformed_lines_are_tallied_and_passed_over(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall
) -> None:
    gateway.write("no pair")
    gateway.pair(0)
    gateway.mark(0, ended_at=1_000.0, copied=1)
    wall.now = 1_001.0

    judge.look()

    assert counted(store).slices == (SealedSlice(i=0, pairs=((1, 1, 1),), lost=0),)
    assert store.tallies("tutor")["malformed"] == 1


def test_another_grader_starts_from_nothing(
    gateway: Gateway, judge: Judge, store: Store, wall: Wall, tmp_path: Path
) -> None:
    gateway.pair(0)
    gateway.mark(0, ended_at=1_000.0, copied=1)
    wall.now = 1_001.0
    judge.look()
    stricter = SetMatch(Gold({"went": frozenset({"has gone"})}, case_by_key={}))
    gateway.pair(1)
    gateway.mark(1, ended_at=1_001.0, copied=1)
    wall.now = 1_002.0

    Judge(Docket("tutor", stricter, JUDGE_SECONDS), tmp_path, store, wall).look()

    assert [one.i for one in counted(store).slices] == [0]
    assert counted(store, grader=stricter.fingerprint).slices == (
        SealedSlice(i=1, pairs=((0, 0, 1),), lost=0),
    )


def test_the_oldest_epochs_are_forgotten(store: Store) -> None:
    for epoch in range(EPOCHS_KEPT + 2):
        fold_one(store, epoch)
    store.seal("tutor", "g", now=9_999.0, judge_seconds=0)

    kept = [e for e in range(EPOCHS_KEPT + 2) if counted(store, grader="g", epoch=e).sealed]

    assert kept == list(range(2, EPOCHS_KEPT + 2))


def fold_one(store: Store, epoch: int) -> None:
    key = SliceKey(epoch, SEGMENT, 0)
    findings = [Scored(key, old=1, new=1), Ended(key, 1.0, ended_at=1.0, copied=1, missing=0)]
    store.fold("tutor", "g", findings, after=Position(1, epoch, ""), tallies={})


class Interrupted(Exception):
    pass


class HalfRead(Sequence[Finding]):
    """Findings whose reading is cut off after the first."""

    def __iter__(self) -> Iterator[Finding]:
        yield Scored(SliceKey(EPOCH, SEGMENT, 0), old=1, new=1)
        raise Interrupted

    def __getitem__(self, index: object) -> Finding:  # type: ignore[override]
        raise NotImplementedError

    def __len__(self) -> int:
        return 2


def test_lines_that_were_half_counted_are_not_counted_and_read_again(store: Store) -> None:
    with pytest.raises(Interrupted):
        store.fold("tutor", "g", HalfRead(), after=Position(1, 10, ""), tallies={"malformed": 1})

    assert store.position("tutor") is None
    assert store.tallies("tutor") == {}


def test_two_judges_on_one_state_directory_are_one_too_many(store: Store, tmp_path: Path) -> None:
    assert store.position("tutor") is None

    with pytest.raises(StoreBusy, match="Another judge is using"):
        Store(tmp_path / "counts.sqlite3", busy_seconds=0.0)


LOOKING = """
import sys, time
from pathlib import Path
from rampway.judge.graders import Gold, SetMatch
from rampway.judge.judging import Docket, Judge
from rampway.judge.store import Store
folder = Path(sys.argv[1])
grader = SetMatch(Gold({"went": frozenset({"went"})}, case_by_key={}))
judge = Judge(Docket("tutor", grader, 1.0), folder, Store(folder / "counts.sqlite3"), lambda: 0.0)
(folder / "looking").touch()
while True:
    judge.look()
"""


def test_a_judge_killed_at_any_moment_neither_loses_nor_doubles_a_pair(
    gateway: Gateway, tmp_path: Path, wall: Wall
) -> None:
    dice = random.Random(11)
    written: Counter[tuple[int, int, int]] = Counter()

    for kill in range(8):
        with killed_in_the_end(tmp_path) as child:
            until = time.monotonic() + dice.uniform(0.02, 0.2)
            while time.monotonic() < until:
                write_some(gateway, dice, written)
            assert child.poll() is None
        if dice.random() < 0.5:
            gateway.path.rename(gateway.path.with_name(f"{gateway.path.name}.{kill}"))
    for i in range(4):
        gateway.mark(i, ended_at=1_000.0, copied=0)
    store = Store(tmp_path / "counts.sqlite3")
    wall.now = 1_001.0
    judge = Judge(Docket("tutor", GRADER, JUDGE_SECONDS), tmp_path, store, wall)
    while not judge.look():
        assert counted(store).sealed == 0

    slices = counted(store).slices
    store.close()
    assert sum(written.values()) > 1_000
    assert {(one.i, old, new): n for one in slices for old, new, n in one.pairs} == written


class killed_in_the_end:  # noqa: N801 - reads as what happens to the child
    """A judge in a process of its own, looking without a pause until it is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> subprocess.Popen[bytes]:
        looking = self._folder / "looking"
        looking.unlink(missing_ok=True)
        self._child = subprocess.Popen([sys.executable, "-c", LOOKING, str(self._folder)])
        deadline = time.monotonic() + 20
        while not looking.exists():
            assert self._child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self._child

    def __exit__(self, *_: object) -> None:
        os.kill(self._child.pid, signal.SIGKILL)
        self._child.wait()


def write_some(
    gateway: Gateway, dice: random.Random, written: Counter[tuple[int, int, int]]
) -> None:
    i, old, new = dice.randrange(4), dice.randrange(2), dice.randrange(2)
    gateway.pair(i, baseline=(WRONG, RIGHT)[old], candidate=(WRONG, RIGHT)[new])
    written[i, old, new] += 1
