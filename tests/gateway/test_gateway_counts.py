"""Sealed slices are journalled before they are served, never change, and are read back after a crash."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from split_builders import (
    BREACH,
    NEW,
    OLD,
    TARGET,
    TTL_SECONDS,
    HandClock,
    canary,
    registered,
    token,
)

from rampway.gateway import moves
from rampway.gateway.counting import Outcome
from rampway.gateway.counts import Counts
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, Ending, Refused, Timing

TIMING = Timing(slice_seconds=10, fast_seconds=10, timeout_seconds=20)
OK = Outcome(answered=True)
FAILED = Outcome(kind="status_500", answered=True)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def counts(tmp_path: Path, clock: HandClock) -> Iterator[Counts]:
    counts = opened(tmp_path, clock)
    yield counts
    counts.close()


def opened(directory: Path, clock: HandClock) -> Counts:
    return Counts(directory, clock=clock, units_remembered=1_000)


def timed(split: TargetSplit, began: float = 0) -> TargetSplit:
    segment = split.segment.model_copy(
        update={"timing": TIMING, "began": 1_000.0 + began, "began_at": 1_700_000_000.0 + began}
    )
    return split.model_copy(update={"segment": segment, "timing": TIMING})


def served(
    counts: Counts,
    clock: HandClock,
    split: TargetSplit,
    *,
    good: int = 0,
    bad: int = 0,
    arm: Arm = Arm.BASELINE,
) -> None:
    counter = counts.segment_for(split)
    for n in range(good + bad):
        cell = counter.start(arm, hash((clock.monotonic(), arm, n)), clock.monotonic())
        assert cell is not None
        cell.finish(0.1, FAILED if n < bad else OK, TIMING)


async def test_a_slice_is_served_when_it_is_sealed_and_on_the_disk(
    counts: Counts, clock: HandClock, tmp_path: Path
) -> None:
    split = timed(canary(500))
    served(counts, clock, split, good=3, bad=1, arm=Arm.CANDIDATE)

    before = await counts.slices(TARGET, (1, 3))
    clock.advance(20)
    await counts.seal_due()
    after = await counts.slices(TARGET, (1, 3))

    assert before["fast"] == {"sealed": 0, "rows": []}
    assert after["fast"]["sealed"] == 1
    assert after["fast"]["rows"][0]["candidate"] == {"units": 4, "error": 1}
    assert (after["share_bp"], after["slice_seconds"]) == (500, 10)
    assert after["began_at"] == 1_700_000_000.0
    assert '"kind":"fast"' in (tmp_path / f"journal-{TARGET}.jsonl").read_text()


async def test_what_was_sealed_before_a_crash_is_the_same_after_it_and_the_rest_is_lost(
    tmp_path: Path, clock: HandClock
) -> None:
    split = timed(canary(500))
    before = opened(tmp_path, clock)
    for _ in range(4):
        served(before, clock, split, good=5, bad=1, arm=Arm.CANDIDATE)
        clock.advance(10)
        await before.seal_due()
    sealed = await before.slices(TARGET, (1, 3))

    after = opened(tmp_path, clock.__class__(clock.monotonic(), clock.now().wall))
    after.segment_for(split)
    await after.seal_due()
    again = await after.slices(TARGET, (1, 3))

    assert again == sealed
    clock.advance(25)
    late = Counts(tmp_path, clock=clock, units_remembered=1_000)
    late.segment_for(split)
    clock.advance(40)
    await late.seal_due()
    told = await late.slices(TARGET, (1, 3))
    assert told["fast"]["rows"][:3] == sealed["fast"]["rows"]
    assert [row["i"] for row in told["fast"]["rows"]] == [0, 1, 2, 7, 8]
    assert told["fast"]["sealed"] == 9
    for one in (before, after, late):
        one.close()


async def test_a_journal_torn_at_any_byte_loads_its_whole_lines(
    tmp_path: Path, clock: HandClock
) -> None:
    split = timed(canary(500))
    before = opened(tmp_path, clock)
    for _ in range(3):
        served(before, clock, split, good=2)
        clock.advance(10)
        await before.seal_due()
    before.close()
    path = tmp_path / f"journal-{TARGET}.jsonl"
    content = path.read_bytes()

    for cut in range(0, len(content), 7):
        path.write_bytes(content[:cut])
        again = opened(tmp_path, clock)
        again.segment_for(split)
        told = await again.slices(TARGET, (1, 3))
        whole = content[:cut].count(b'"kind":"fast"')
        torn = content[:cut].rpartition(b"\n")[2]
        assert len(told["fast"]["rows"]) == whole - torn.count(b'"kind":"fast"')
        again.close()


async def test_a_new_write_closes_the_segment_and_its_whole_slices_are_still_sealed(
    counts: Counts, clock: HandClock
) -> None:
    first = timed(canary(500))
    served(counts, clock, first, good=3)
    clock.advance(15)
    second = timed(canary(2_500, sequence=4), began=15)
    served(counts, clock, second, good=1)

    clock.advance(60)
    await counts.seal_due()

    old, new = await counts.slices(TARGET, (1, 3)), await counts.slices(TARGET, (1, 4))
    assert (old["full"]["sealed"], len(old["full"]["rows"])) == (1, 1)
    assert new["full"]["sealed"] == 4
    assert new["began_at"] == 1_700_000_015.0


async def test_a_segment_that_never_was_is_unknown(counts: Counts) -> None:
    counts.segment_for(timed(canary()))

    with pytest.raises(Refused, match="no segment 9"):
        await counts.slices(TARGET, (1, 9))
    with pytest.raises(Refused, match="No target"):
        await counts.slices("elsewhere", (1, 9))


async def test_the_baseline_is_summed_over_its_newest_sealed_slices_until_enough_are_in(
    counts: Counts, clock: HandClock
) -> None:
    idle, step = timed(registered()), timed(canary(500), began=30)
    for split in (idle, idle, idle, step, step):
        served(counts, clock, split, good=9, bad=1)
        served(counts, clock, split, bad=7, arm=Arm.CANDIDATE)
        clock.advance(10)
    clock.advance(30)
    await counts.seal_due()
    split = timed(canary(500), began=30)

    assert (await counts.baseline(split, 15))["units"] == 20
    told = await counts.baseline(split, 35)
    assert told["units"] == 40
    assert told["bad"] == {"error": 4, "late": 0, "refusal": 0}
    assert sum(told["latency"].values()) == 40
    assert (await counts.baseline(split, 10_000))["units"] == 50


async def test_a_promoted_artifact_is_the_baseline_although_it_served_as_candidate(
    counts: Counts, clock: HandClock
) -> None:
    step = timed(canary(9_900))
    served(counts, clock, step, good=4)
    clock.advance(10)
    ended = moves.end(step, token(9), ending=Ending.PROMOTED, op_id="promote", at=clock.now())
    served(counts, clock, ended, good=6, bad=1, arm=Arm.CANDIDATE)
    clock.advance(60)
    await counts.seal_due()

    told = await counts.baseline(ended, 1_000)

    assert ended.baseline == NEW
    assert (told["units"], told["bad"]["error"]) == (7, 1)


async def test_a_pinned_interval_is_counted_under_a_name_of_its_own(
    counts: Counts, clock: HandClock
) -> None:
    step = timed(canary(500))
    served(counts, clock, step, good=1)
    clock.advance(10)
    pinned = moves.pin(step, token(3), BREACH, clock.now())
    served(counts, clock, pinned, good=8)
    clock.advance(60)
    await counts.seal_due()

    assert (await counts.slices(TARGET, (1, 3)))["fast"]["sealed"] == 1
    rows = (await counts.slices(TARGET, (1, -4)))["fast"]["rows"]
    assert rows[0]["baseline"]["units"] == 8
    assert (await counts.baseline(pinned, 1_000))["units"] == 9


async def test_a_renewal_does_not_begin_a_segment(counts: Counts, clock: HandClock) -> None:
    split = timed(canary())
    counter = counts.segment_for(split)

    renewed = moves.renew(split, token(3), ttl_seconds=TTL_SECONDS, at=clock.now())

    assert counts.segment_for(renewed) is counter


async def test_a_sealed_slice_is_never_begun_again_when_the_wall_clock_was_set_back(
    tmp_path: Path, clock: HandClock
) -> None:
    split = timed(canary(500))
    before = opened(tmp_path, clock)
    served(before, clock, split, good=2)
    clock.advance(50)
    await before.seal_due()
    sealed = await before.slices(TARGET, (1, 3))
    before.close()

    clock.advance(1_000)
    reboot = split.segment.model_copy(update={"began": clock.monotonic() - 5})
    after = opened(tmp_path, clock)
    after.segment_for(split.model_copy(update={"segment": reboot}))
    clock.advance(60)
    await after.seal_due()
    told = await after.slices(TARGET, (1, 3))
    after.close()

    indexes = [row["i"] for row in told["fast"]["rows"]]
    assert told["fast"]["rows"][:4] == sealed["fast"]["rows"]
    assert len(set(indexes)) == len(indexes)


async def test_rows_that_the_disk_refuses_are_served_only_once_it_takes_them(
    counts: Counts, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = timed(canary(500))
    served(counts, clock, split, good=2)
    clock.advance(20)

    def is_full(_lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    journal = counts.targets[TARGET].journal
    with monkeypatch.context() as full:
        full.setattr(journal._lines, "append", is_full)
        await counts.seal_due()
        assert (await counts.slices(TARGET, (1, 3)))["fast"]["sealed"] == 0

    await counts.seal_due()
    assert (await counts.slices(TARGET, (1, 3)))["fast"]["sealed"] == 1


async def test_a_journal_that_is_full_is_begun_anew_and_the_one_before_is_still_read(
    tmp_path: Path, clock: HandClock
) -> None:
    counts = opened(tmp_path, clock)
    split = timed(canary(500))
    served(counts, clock, split, good=1)
    counts.targets[TARGET].journal._bytes_max = 2_000
    for _ in range(30):
        clock.advance(10)
        served(counts, clock, split, good=1)
        await counts.seal_due()
    told = await counts.slices(TARGET, (1, 3))
    assert (tmp_path / f"journal-{TARGET}.jsonl.1").exists()
    indexes = [row["i"] for row in told["fast"]["rows"]]
    assert indexes == list(range(indexes[0], 29))
    assert len(indexes) > 3
    assert all(row["baseline"]["units"] == 1 for row in told["fast"]["rows"])
    counts.close()

    again = opened(tmp_path, clock)
    again.segment_for(split)
    assert await again.slices(TARGET, (1, 3)) == told
    again.close()


async def test_another_artifacts_slices_are_no_baseline(counts: Counts, clock: HandClock) -> None:
    served(counts, clock, timed(registered()), good=5)
    clock.advance(60)
    await counts.seal_due()
    other = timed(registered()).model_copy(update={"baseline": NEW})

    assert (await counts.baseline(other, 10))["units"] == 0
    assert (await counts.baseline(timed(registered()), 10))["units"] == 5
    assert OLD.artifact != NEW.artifact
