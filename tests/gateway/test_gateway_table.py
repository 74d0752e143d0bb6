"""The split table is read whole or not at all, and says nothing that a worker need not know."""

import mmap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_builders import BREACH, TARGET, HandClock, at, canary, claimed, token

from rampway.gateway import moves
from rampway.gateway.callers import Caller
from rampway.gateway.following import FollowingRouter
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.metrics import Meters
from rampway.gateway.settings import CaptureSettings, Settings
from rampway.gateway.sharedcounts import SegmentFiles
from rampway.gateway.splits import TargetSplit
from rampway.gateway.table import (
    LOWERING_BYTES,
    TableReader,
    TableWriter,
    Torn,
    decode,
    encode,
    retire,
)
from rampway.gateway.terms import Arm, BadInput
from rampway.gateway.trafficlog import TrafficFiles
from rampway.gateway.workercounts import WorkerCounts

BOOT = "this-boot"
SIZE_BYTES = 512 * 1024


def written(path: Path, *splits: TargetSplit, boot: str = BOOT) -> TableWriter:
    table = TableWriter(path / "table", boot_id=boot, size_bytes=SIZE_BYTES)
    for split in splits:
        table.put(split)
    table.publish()
    return table


def following(path: Path, clock: HandClock) -> FollowingRouter:
    told = Settings.model_validate({"state_dir": path, "upstreams": {}})
    router = FollowingRouter(
        TableReader(path / "table"),
        boot_id=BOOT,
        clock=clock,
        counts=WorkerCounts(SegmentFiles(path, workers=1, units_remembered=8), 0, clock=clock),
        meters=Meters(),
        files=TrafficFiles(path, CaptureSettings(traffic_log=False), LossyWriter()),
        settings=told,
    )
    router.follow()
    return router


def arm_of(router: FollowingRouter) -> Arm:
    passage = router.admit(TARGET, Caller("r", b"u", is_trusted=True), "t")
    assert passage is not None
    return passage.arm


def test_a_worker_reads_what_was_written_without_what_grows_and_without_words(
    tmp_path: Path,
) -> None:
    pinned = moves.pin(canary(), token(3), BREACH, at(5))
    written(tmp_path, pinned)

    snapshot = TableReader(tmp_path / "table").read()

    assert snapshot is not None
    [line] = snapshot.lines
    told = decode(line)
    assert told.claim is not None
    assert pinned.claim is not None
    assert told.claim.done == {}
    assert told.claim.pinned_by is not None
    assert told.claim.pinned_by.why == ""
    assert told.claim.salt == pinned.claim.salt
    assert (told.segment, told.baseline, told.epoch) == (
        pinned.segment,
        pinned.baseline,
        pinned.epoch,
    )


def test_each_write_is_followed_at_the_next_request(tmp_path: Path) -> None:
    clock = HandClock()
    table = written(tmp_path, canary(10_000))
    router = following(tmp_path, clock)
    assert arm_of(router) is Arm.CANDIDATE

    table.put(moves.pin(canary(10_000), token(3), BREACH, at()))
    table.publish()

    assert arm_of(router) is Arm.BASELINE
    assert router.applied == table.generations[TARGET]


def test_a_lease_that_has_passed_is_down_without_the_supervisor(tmp_path: Path) -> None:
    clock = HandClock()
    written(tmp_path, canary(10_000))
    router = following(tmp_path, clock)
    assert arm_of(router) is Arm.CANDIDATE

    clock.advance(1_000)

    assert arm_of(router) is Arm.BASELINE
    assert not router.is_blind


def test_a_table_of_another_boot_gives_the_candidate_nothing(tmp_path: Path) -> None:
    written(tmp_path, canary(10_000), boot="another-boot")

    assert arm_of(following(tmp_path, HandClock())) is Arm.BASELINE


def test_a_retired_table_gives_the_candidate_nothing_for_ever(tmp_path: Path) -> None:
    written(tmp_path, canary(10_000))
    router = following(tmp_path, HandClock())
    assert arm_of(router) is Arm.CANDIDATE

    retire(tmp_path / "table")

    assert arm_of(router) is Arm.BASELINE
    assert router.is_retired


def test_while_it_is_written_what_was_in_force_stays_in_force(tmp_path: Path) -> None:
    table = written(tmp_path, canary(10_000))
    router = following(tmp_path, HandClock())

    with (tmp_path / "table").open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[8:16] = (int.from_bytes(page[8:16], "little") + 1).to_bytes(8, "little")
        assert TableReader(tmp_path / "table").read() is None
        assert arm_of(router) is Arm.CANDIDATE

    table.publish()
    assert arm_of(router) is Arm.CANDIDATE


@settings(max_examples=60, deadline=None)
@given(where=st.integers(0, 1_000_000), mask=st.integers(1, 255))
def test_any_altered_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, where: int, mask: int
) -> None:
    path = tmp_path_factory.mktemp("table")
    split = canary(10_000)
    table = written(path, split)
    router = following(path, HandClock())
    begin = 4_096
    at_byte = begin + where % len(encode(split))

    with (path / "table").open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[at_byte] ^= mask
        # A generation that was not seen yet, or it would not be looked at.
        page[8:16] = (int.from_bytes(page[8:16], "little") + 2).to_bytes(8, "little")

    with pytest.raises(Torn):
        TableReader(path / "table").read()
    assert arm_of(router) is Arm.BASELINE
    assert router.is_blind

    table.publish()
    table.publish()  # the garbage had the generation of the first

    assert arm_of(router) is Arm.CANDIDATE
    assert not router.is_blind


def test_a_raise_that_leaves_no_room_for_a_lowering_is_refused(tmp_path: Path) -> None:
    table = written(tmp_path, claimed())
    split = claimed()
    assert split.claim is not None
    fields: dict[str, object] = {"prompt": "x" * (SIZE_BYTES - LOWERING_BYTES)}
    candidate = split.claim.candidate.model_copy(
        update={"serve": split.claim.candidate.serve.model_copy(update={"fields": fields})}
    )
    large = split.model_copy(
        update={"claim": split.claim.model_copy(update={"candidate": candidate})}
    )

    table.check(split)
    with pytest.raises(BadInput, match="fewer or smaller"):
        table.check(large)
