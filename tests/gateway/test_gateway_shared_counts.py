"""Counts that several workers keep in one file come to the same rows as those of one process."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_builders import HandClock, canary

from rampway.gateway.counting import KINDS, OTHER_KIND, Outcome, SegmentCounter
from rampway.gateway.segmentfile import PROBES_MAX, SegmentFile, UnitTable, shape_for
from rampway.gateway.sharedcounts import SEAL_GRACE_SECONDS, SegmentFiles, SummedCounter
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, BadInput, Timing
from rampway.gateway.workercounts import WorkerCounts

WORKERS = 3
UNITS = 1_000
TIMINGS = (
    Timing(slice_seconds=1, fast_seconds=0.5, timeout_seconds=2),
    Timing(slice_seconds=1, fast_seconds=2, timeout_seconds=2),
    Timing(slice_seconds=0.3, fast_seconds=0.1, timeout_seconds=60),
)
OUTCOMES = (
    *(Outcome(kind=kind) for kind in (*KINDS, OTHER_KIND)),
    Outcome(kind="status_500", answered=True),
    Outcome(answered=True),
    Outcome(answered=True, refused=True),
    Outcome(aborted=True),
)


def split_with(timing: Timing) -> TargetSplit:
    split = canary()
    segment = split.segment.model_copy(update={"timing": timing, "began": 1_000.0})
    return split.model_copy(update={"segment": segment, "timing": timing})


def counted(path: Path, split: TargetSplit) -> tuple[SummedCounter, SegmentFiles]:
    files = SegmentFiles(path, workers=WORKERS, units_remembered=UNITS)
    summed = SummedCounter(split, files.create(split))
    summed.announce()
    return summed, files


def worker(files: SegmentFiles, split: TargetSplit, slot: int, clock: HandClock) -> SegmentCounter:
    return WorkerCounts(files, slot, clock=clock).segment_for(split)


REQUEST = st.tuples(
    st.integers(0, WORKERS - 1),
    st.sampled_from(list(Arm)),
    st.integers(0, 25),  # unit
    st.floats(0, 0.4),  # seconds after the one before
    st.one_of(st.none(), st.floats(0, 3)),  # how long it took; None: it never ended
    st.sampled_from(OUTCOMES),
)


@settings(max_examples=60, deadline=None)
@given(timing=st.sampled_from(TIMINGS), requests=st.lists(REQUEST, max_size=40))
def test_the_rows_are_those_of_one_process_whoever_counted_what(
    tmp_path_factory: pytest.TempPathFactory,
    timing: Timing,
    requests: list[tuple[int, Arm, int, float, float | None, Outcome]],
) -> None:
    split, clock = split_with(timing), HandClock()
    summed, files = counted(tmp_path_factory.mktemp("counts"), split)
    workers = [worker(files, split, slot, clock) for slot in range(WORKERS)]
    alone = SegmentCounter(epoch=1, number=3, began=1_000.0, timing=timing)

    for slot, arm, unit, pause, took, outcome in requests:
        now = clock.advance(pause).monotonic
        told = str(unit).encode()
        cells = [one.start(arm, one.hash_unit(told), now) for one in (workers[slot], alone)]
        assert (cells[0] is None) == (cells[1] is None)
        for cell in cells:
            if cell is not None and took is not None:
                cell.finish(took, outcome, timing)

    end = clock.monotonic() + timing.timeout_seconds + timing.slice_seconds
    ours, theirs = summed.seal(end + SEAL_GRACE_SECONDS), alone.seal(end)
    assert (ours and (ours.fast, ours.full)) == (theirs and (theirs.fast, theirs.full))


def test_a_worker_goes_on_where_the_one_before_it_in_its_slot_was_killed(tmp_path: Path) -> None:
    split, clock = split_with(TIMINGS[0]), HandClock()
    summed, files = counted(tmp_path, split)
    before = worker(files, split, 1, clock)
    cell = before.start(Arm.BASELINE, before.hash_unit(b"1"), clock.monotonic())
    assert cell is not None
    before.start(Arm.BASELINE, before.hash_unit(b"2"), clock.monotonic())
    cell.finish(0.1, Outcome(answered=True), split.segment.timing)
    before.note_drawn(0, Arm.CANDIDATE, 4)

    after = worker(files, split, 1, clock)
    assert after.start(Arm.BASELINE, after.hash_unit(b"1"), clock.monotonic()) is None
    cell = after.start(Arm.BASELINE, after.hash_unit(b"3"), clock.monotonic())
    assert cell is not None
    cell.finish(0.1, Outcome(answered=True), split.segment.timing)
    after.note_copied(0)
    after.note_drawn(0, Arm.CANDIDATE, 2)

    sampled = summed.sampled(0, baseline_per_candidate=5)
    assert sampled is not None
    assert (sampled.copied, sampled.candidate) == (1, 6)
    sealed = summed.seal(clock.advance(60).monotonic)
    assert sealed is not None
    assert sealed.full[0]["baseline"]["units"] == 3
    assert sealed.full[0]["baseline"]["late"] == 1
    assert sealed.full[0]["baseline"]["kinds"] == {"timeout": 1}


def test_a_slice_that_was_written_over_before_it_was_sealed_is_lost_and_never_misread(
    tmp_path: Path,
) -> None:
    split, clock = split_with(TIMINGS[0]), HandClock()
    summed, files = counted(tmp_path, split)
    cells = files.shape(split.segment.timing).cells
    one, other = worker(files, split, 0, clock), worker(files, split, 1, clock)
    stale = one.start(Arm.BASELINE, 1, clock.monotonic())
    other.start(Arm.BASELINE, 2, clock.monotonic())
    assert stale is not None

    clock.advance(float(cells))  # the ring of the first worker comes round
    one.start(Arm.BASELINE, 3, clock.monotonic())
    stale.finish(1.0, Outcome(kind="status_500"), split.segment.timing)
    sealed = summed.seal(clock.advance(60).monotonic)

    assert sealed is not None
    rows = {row["i"]: row for row in sealed.full}
    assert 0 not in rows
    assert rows[cells]["baseline"]["units"] == 1
    assert rows[cells]["baseline"]["kinds"] == {"timeout": 1}  # not the stale one's
    assert summed.sampled(0, baseline_per_candidate=5) is None


def test_a_worker_that_comes_to_a_segment_that_is_over_counts_nothing(tmp_path: Path) -> None:
    split, clock = split_with(TIMINGS[0]), HandClock()
    summed, files = counted(tmp_path, split)
    summed.close(clock.advance(5).monotonic)
    summed.seal(clock.advance(60).monotonic)

    late = worker(files, split, 0, clock)

    assert summed.is_sealed
    assert late.start(Arm.BASELINE, late.hash_unit(b"1"), clock.monotonic()) is None
    assert list(tmp_path.iterdir()) == []


def test_units_beyond_the_tables_room_are_forgotten_and_told(tmp_path: Path) -> None:
    shape = shape_for(TIMINGS[0], workers=1, units_remembered=100)
    file = SegmentFile.create(tmp_path / "units", shape)
    table = UnitTable(file, 0)
    hashes = [table.hash_unit(str(n).encode()) for n in range(5_000)]

    remembered = [table.add(unit) for unit in hashes[:100]]
    again = [table.add(unit) for unit in hashes[:100]]
    for unit in hashes:
        table.add(unit)

    assert all(remembered)
    assert not any(again)
    assert file.forgotten(0) >= 5_000 - shape.units - PROBES_MAX


def test_hashes_of_units_are_the_same_in_all_workers_and_others_in_each_segment(
    tmp_path: Path,
) -> None:
    shape = shape_for(TIMINGS[0], workers=2, units_remembered=100)
    files = [SegmentFile.create(tmp_path / str(n), shape) for n in range(2)]

    same = [UnitTable(files[0], slot).hash_unit(b"u") for slot in range(2)]

    assert same[0] == same[1] != UnitTable(files[1], 0).hash_unit(b"u")


def test_a_timing_that_needs_too_much_memory_is_refused_with_both_limits(tmp_path: Path) -> None:
    files = SegmentFiles(tmp_path, workers=4, units_remembered=UNITS)

    files.check(Timing(slice_seconds=10, fast_seconds=10, timeout_seconds=600))
    with pytest.raises(BadInput, match="1024 slices"):
        files.check(Timing(slice_seconds=0.1, fast_seconds=0.1, timeout_seconds=120))
