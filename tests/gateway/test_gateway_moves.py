"""What each traffic write may do: the matrix of fences, leases, pins and operations."""

from collections.abc import Callable

import pytest
from split_builders import (
    BREACH,
    NEW,
    OLD,
    TIMING,
    TTL_SECONDS,
    at,
    canary,
    claimed,
    order,
    registered,
    shadowing,
    token,
)

from rampway.gateway import moves
from rampway.gateway.splits import TargetSplit, expire, observe
from rampway.gateway.terms import (
    ALL_BP,
    BadInput,
    Ending,
    Instant,
    PinCause,
    PinnedBy,
    RefusalCode,
    Refused,
    Serve,
    Served,
)

LATER = TTL_SECONDS + 1
Write = Callable[[TargetSplit, int, Instant], TargetSplit]


def share(split: TargetSplit, sequence: int, when: Instant, share_bp: int = 900) -> TargetSplit:
    return moves.set_share(
        split,
        token(sequence, epoch=split.epoch),
        share_bp=share_bp,
        ttl_seconds=TTL_SECONDS,
        op_id=f"share/{sequence}",
        at=when,
    )


def copying(split: TargetSplit, sequence: int, when: Instant, rate_bp: int = 900) -> TargetSplit:
    return moves.shadow(
        split,
        token(sequence, epoch=split.epoch),
        rate_bp=rate_bp,
        ttl_seconds=TTL_SECONDS,
        op_id=f"shadow/{sequence}",
        at=when,
    )


def renew(split: TargetSplit, sequence: int, when: Instant) -> TargetSplit:
    return moves.renew(split, token(sequence, epoch=split.epoch), ttl_seconds=TTL_SECONDS, at=when)


def pin(split: TargetSplit, sequence: int, when: Instant, by: PinnedBy = BREACH) -> TargetSplit:
    return moves.pin(split, token(sequence, epoch=split.epoch), by, when)


def promote(split: TargetSplit, sequence: int, when: Instant) -> TargetSplit:
    return moves.end(
        split,
        token(sequence, epoch=split.epoch),
        ending=Ending.PROMOTED,
        op_id="promote",
        at=when,
    )


def roll_back(split: TargetSplit, sequence: int, when: Instant) -> TargetSplit:
    return moves.end(
        split,
        token(sequence, epoch=split.epoch),
        ending=Ending.ROLLED_BACK,
        op_id="roll-back",
        at=when,
    )


def shares(split: TargetSplit, seconds: float = 0.0) -> tuple[int, int]:
    seen = observe(split, at(seconds).monotonic)
    return seen.share_bp, seen.shadow_bp


def refusal(act: Callable[[], object]) -> RefusalCode:
    with pytest.raises(Refused) as refused:
        act()
    return refused.value.code


RAISING: list[Write] = [share, copying, promote]
WRITES: list[Write] = [*RAISING, renew]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_under_an_older_sequence_is_fenced(write: Write) -> None:
    split = canary(sequence=7)

    assert refusal(lambda: write(split, 6, at())) is RefusalCode.FENCED


@pytest.mark.parametrize("write", RAISING)
def test_another_write_under_the_sequence_in_force_is_fenced(write: Write) -> None:
    split = canary(sequence=7)

    assert refusal(lambda: write(split, 7, at())) is RefusalCode.FENCED


@pytest.mark.parametrize("write", [*WRITES, pin, roll_back])
def test_a_write_of_another_epoch_is_fenced(write: Write) -> None:
    second = moves.claim(roll_back(canary(), 9, at()), order("r2"), salt="6b" * 32, at=at())
    earlier = second.model_copy(update={"epoch": 1})

    assert second.epoch == 2
    assert refusal(lambda: moves.renew(second, token(99), ttl_seconds=9, at=at())) is (
        RefusalCode.FENCED
    )
    assert refusal(lambda: write(earlier.model_copy(update={"claim": None}), 99, at())) is (
        RefusalCode.FENCED
    )


def test_a_pin_takes_all_traffic_back_at_once_and_names_itself() -> None:
    pinned = pin(canary(), 3, at(1))

    seen = observe(pinned, at(1).monotonic)
    assert (seen.share_bp, seen.shadow_bp, seen.pinned_by) == (0, 0, BREACH)


@pytest.mark.parametrize("sequence", [0, 2, 3, 8])
def test_a_pin_is_honoured_whatever_its_sequence(sequence: int) -> None:
    assert shares(pin(canary(sequence=3), sequence, at())) == (0, 0)


@pytest.mark.parametrize("write", WRITES)
def test_after_a_pin_nothing_raises_or_renews(write: Write) -> None:
    pinned = pin(canary(), 3, at())
    sequence = 3 if write is renew else 9

    assert refusal(lambda: write(pinned, sequence, at())) is RefusalCode.PINNED


def test_the_first_explicit_pin_is_the_one_that_is_remembered() -> None:
    abort = PinnedBy(cause=PinCause.ABORT, op_id="r1/abort")

    twice = pin(pin(canary(), 3, at()), 5, at(1), abort)

    assert observe(twice, at(1).monotonic).pinned_by == BREACH


def test_an_explicit_pin_replaces_an_expiry() -> None:
    lost = expire(shadowing(), at(LATER))

    pinned = pin(lost, 2, at(LATER))

    assert observe(pinned, at(LATER).monotonic).pinned_by == BREACH
    assert refusal(lambda: copying(pinned, 9, at(LATER))) is RefusalCode.PINNED


@pytest.mark.parametrize("write", WRITES)
def test_after_the_lease_has_passed_nothing_raises_or_renews(write: Write) -> None:
    sequence = 3 if write is renew else 9

    for split in (canary(), expire(canary(), at(LATER))):
        assert refusal(lambda s=split: write(s, sequence, at(LATER))) is RefusalCode.LEASE_LOST
        assert shares(split, LATER) == (0, 0)
        assert observe(split, at(LATER).monotonic).lease_seconds == 0


def test_a_lease_is_over_in_the_very_moment_it_runs_out() -> None:
    end = at(TTL_SECONDS)

    assert shares(canary(), TTL_SECONDS) == (0, 0)
    assert refusal(lambda: renew(canary(), 3, end)) is RefusalCode.LEASE_LOST
    assert refusal(lambda: share(canary(), 4, end)) is RefusalCode.LEASE_LOST
    assert moves.claim(canary(), order("r2"), salt="6b" * 32, at=end).epoch == 2


@pytest.mark.parametrize("lower", [pin, roll_back])
def test_lowering_succeeds_after_the_lease_has_passed(lower: Write) -> None:
    assert shares(lower(expire(canary(), at(LATER)), 4, at(LATER))) == (0, 0)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_lease_lost_while_nobody_was_exposed_is_armed_again_by_a_newer_shadow_write(
    *, recorded: bool
) -> None:
    lost = expire(shadowing(), at(LATER)) if recorded else shadowing()

    armed = copying(lost, 5, at(LATER), 2_000)

    assert shares(armed, LATER) == (0, 2_000)
    assert observe(armed, at(LATER).monotonic).pinned_by is None
    assert shares(share(armed, 6, at(LATER), 100), LATER) == (100, 0)


def test_a_lost_lease_is_not_armed_again_under_the_same_sequence_nor_after_exposure() -> None:
    lost, exposed = expire(shadowing(), at(LATER)), expire(canary(), at(LATER))

    assert refusal(lambda: copying(lost, 2, at(LATER))) is RefusalCode.LEASE_LOST
    assert refusal(lambda: copying(exposed, 9, at(LATER))) is RefusalCode.LEASE_LOST
    assert refusal(lambda: share(lost, 9, at(LATER))) is RefusalCode.LEASE_LOST


def test_renewing_moves_the_lease_and_nothing_else() -> None:
    renewed = renew(canary(), 3, at(30))

    assert observe(renewed, at(30).monotonic).lease_seconds == TTL_SECONDS
    assert renewed.segment == canary().segment
    assert shares(renewed, TTL_SECONDS + 29) == (500, 0)


def test_renewing_under_a_sequence_that_is_not_in_force_is_fenced() -> None:
    assert refusal(lambda: renew(canary(sequence=3), 4, at())) is RefusalCode.FENCED


def test_a_repeated_operation_changes_nothing_and_is_answered_as_done() -> None:
    once = share(claimed(), 3, at())

    assert share(once, 3, at(5)) is once
    assert copying(shadowing_twice := copying(claimed(), 4, at()), 4, at(5)) is shadowing_twice
    assert promote(promoted := promote(once, 5, at(1)), 5, at(9)) is promoted


def test_a_repeated_operation_that_is_no_longer_in_force_is_refused_by_what_came_since() -> None:
    once = share(claimed(), 3, at())

    assert refusal(lambda: share(share(once, 4, at(), 1_000), 3, at())) is RefusalCode.FENCED
    assert refusal(lambda: share(pin(once, 3, at()), 3, at())) is RefusalCode.PINNED
    assert refusal(lambda: share(once, 3, at(LATER))) is RefusalCode.LEASE_LOST
    assert refusal(lambda: share(roll_back(once, 3, at()), 3, at())) is RefusalCode.FENCED


def test_an_operation_cannot_be_reused_for_another_deed() -> None:
    once = share(claimed(), 3, at(), 100)

    with pytest.raises(BadInput, match="already did"):
        share(once, 3, at(), 200)


def test_a_share_ends_the_copying_and_copies_are_refused_while_anybody_is_exposed() -> None:
    exposed = share(shadowing(), 3, at(), 100)

    assert shares(exposed) == (100, 0)
    with pytest.raises(BadInput, match="only at share 0"):
        copying(exposed, 4, at(), 100)
    assert shares(copying(exposed, 4, at(), 0)) == (100, 0)


def test_promoting_makes_the_candidate_the_baseline_without_a_lease() -> None:
    promoted = promote(canary(9_900), 6, at(1))

    seen = observe(promoted, at(999_999).monotonic)
    assert (seen.baseline, seen.share_bp, seen.ended) == (NEW.artifact, ALL_BP, Ending.PROMOTED)
    assert (seen.lease_seconds, seen.segment) == (None, 6)
    assert renew(promoted, 6, at(9)) is promoted


@pytest.mark.parametrize("split", [pin(canary(), 3, at()), expire(canary(), at(LATER))])
def test_promoting_is_refused_once_the_split_was_lowered(split: TargetSplit) -> None:
    assert refusal(lambda: promote(split, 6, at(LATER))) in {
        RefusalCode.PINNED,
        RefusalCode.LEASE_LOST,
    }


@pytest.mark.parametrize("undo", [pin, roll_back])
@pytest.mark.parametrize("sequence", [3, 6, 7])
def test_a_promotion_is_undone_until_the_next_claim(undo: Write, sequence: int) -> None:
    undone = undo(promote(canary(9_900), 6, at()), sequence, at(5))

    seen = observe(undone, at(5).monotonic)
    assert (seen.baseline, seen.share_bp) == (OLD.artifact, 0)
    assert seen.ended is not Ending.PROMOTED
    assert refusal(lambda: promote(undone, 6, at(5))) in {RefusalCode.PINNED, RefusalCode.FENCED}


def test_rolling_back_twice_or_pinning_afterwards_changes_nothing() -> None:
    once = roll_back(canary(), 4, at())

    assert roll_back(once, 4, at(9)) is once
    assert roll_back(once, 9, at(9)) is once
    assert pin(once, 9, at(9)) is once
    assert observe(once, at().monotonic).baseline == OLD.artifact


@pytest.mark.parametrize("write", WRITES)
def test_after_a_rollback_nothing_raises_or_renews(write: Write) -> None:
    ended = roll_back(canary(), 4, at())

    assert refusal(lambda: write(ended, 4 if write is renew else 9, at())) is RefusalCode.FENCED


def test_a_living_lease_keeps_other_releases_away() -> None:
    assert refusal(lambda: moves.claim(canary(), order("r2"), salt="6b" * 32, at=at())) is (
        RefusalCode.BUSY
    )
    assert refusal(lambda: moves.claim(pin(canary(), 3, at()), order("r2"), salt="", at=at())) is (
        RefusalCode.BUSY
    )


def test_a_claim_after_an_expired_lease_begins_at_share_0() -> None:
    second = moves.claim(canary(), order("r2"), salt="6b" * 32, at=at(LATER))

    seen = observe(second, at(LATER).monotonic)
    assert (seen.release, seen.epoch, seen.share_bp) == ("r2", 2, 0)


def test_a_release_that_claims_again_gets_the_same_epoch_and_no_traffic() -> None:
    ended = roll_back(canary(), 4, at())

    for split in (canary(), pin(canary(), 3, at()), expire(canary(), at(LATER)), ended):
        assert moves.claim(split, order(), salt="6b" * 32, at=at(LATER)) is split


def test_a_release_whose_claim_was_followed_by_another_never_claims_again() -> None:
    second = moves.claim(roll_back(canary(), 4, at()), order("r2"), salt="6b" * 32, at=at())
    over = roll_back(second, 1, at())

    assert refusal(lambda: moves.claim(over, order("r1"), salt="6b" * 32, at=at())) is (
        RefusalCode.FENCED
    )


def test_a_release_that_claims_another_candidate_is_told_so() -> None:
    other = Served(artifact="sha256:" + "c" * 64, serve=Serve(upstream="b"))

    with pytest.raises(BadInput, match="already claimed"):
        moves.claim(canary(), order(candidate=other), salt="6b" * 32, at=at())


def test_a_claim_against_another_baseline_is_refused() -> None:
    promoted = promote(canary(9_900), 6, at())

    assert refusal(lambda: moves.claim(promoted, order("r2"), salt="6b" * 32, at=at())) is (
        RefusalCode.BASELINE_MOVED
    )


def test_the_baseline_is_replaced_only_while_no_claim_is_open_and_fences_earlier_releases() -> None:
    promoted = promote(canary(9_900), 6, at())

    assert refusal(lambda: moves.reconfigure(canary(), TIMING, NEW, at())) is RefusalCode.BUSY
    replaced = moves.reconfigure(promoted, TIMING, OLD, at())
    assert observe(replaced, at().monotonic).baseline == OLD.artifact
    assert refusal(lambda: roll_back(replaced, 9, at())) is RefusalCode.FENCED
    assert moves.reconfigure(replaced, TIMING, OLD, at(9)) is replaced


def test_new_timing_waits_for_the_next_segment() -> None:
    faster = TIMING.model_copy(update={"slice_seconds": 1.0})

    timed = moves.reconfigure(canary(), faster, OLD, at())

    assert timed.segment.timing == TIMING
    assert share(timed, 4, at()).segment.timing == faster


def test_segments_are_named_by_the_sequence_and_lowerings_without_one_by_its_negative() -> None:
    told = canary(sequence=3)

    assert claimed().segment.number == 0
    assert told.segment.number == 3
    assert pin(told, 3, at()).segment.number == -4
    assert pin(told, 1, at()).segment.number == -4
    assert pin(told, 5, at()).segment.number == 5
    assert expire(told, at(LATER)).segment.number == -4
    assert roll_back(pin(told, 3, at()), 3, at(1)).segment == pin(told, 3, at()).segment
    assert roll_back(pin(told, 3, at()), 4, at()).segment.number == 4
    assert promote(told, 8, at()).segment.number == 8
    assert observe(pin(told, 3, at()), at().monotonic).segment == 3
    assert observe(pin(told, 1, at()), at().monotonic).segment == 3
    assert observe(pin(told, 5, at()), at().monotonic).segment == 5


def test_no_epoch_carries_more_writes_than_are_remembered() -> None:
    split = claimed()
    full = {f"op/{i}": "share 1" for i in range(moves.OPERATIONS_MAX)}
    assert split.claim is not None
    used = split.model_copy(update={"claim": split.claim.model_copy(update={"done": full})})

    assert refusal(lambda: share(used, 3, at())) is RefusalCode.FENCED
    assert shares(pin(used, 3, at())) == (0, 0)


def test_a_token_of_another_target_is_bad_input() -> None:
    with pytest.raises(BadInput, match="token is for"):
        moves.pin(canary(), token(3).model_copy(update={"target": "other"}), BREACH, at())


def test_before_any_claim_only_the_baseline_is_observed() -> None:
    seen = observe(registered(), at().monotonic)

    assert (seen.baseline, seen.candidate, seen.release) == (OLD.artifact, None, None)
    assert (seen.epoch, seen.segment, seen.share_bp, seen.lease_seconds) == (0, 0, 0, None)
