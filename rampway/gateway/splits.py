"""The state of one target's split: what is claimed, what is in force, when its lease runs out.

What is stored is exactly `TargetSplit`; `moves` changes it, `expire` takes it down.
"""

from typing import Final

from pydantic import Field

from rampway.gateway.terms import (
    Ending,
    Fact,
    Instant,
    Observed,
    OpId,
    PinCause,
    PinnedBy,
    ReleaseName,
    Seconds,
    Served,
    Share,
    TargetName,
    Timing,
)

EXPIRED: Final = PinnedBy(
    cause=PinCause.LEASE_EXPIRED, op_id="lease", why="Nobody renewed the lease."
)


class Segment(Fact):
    """The time in which one write is in force: slice 0 starts at `began` (monotonic seconds).

    A write names its segment by its token's sequence. A lowering that carries no newer sequence (an
    expiry; a pin or rollback at or below the sequence in force) names it -(sequence in force + 1).
    """

    number: int
    began: float
    began_at: float  # wall seconds
    timing: Timing


class Claim(Fact):
    """One release's hold on a target. `sequence` is that of the write in force.

    `lost_at_bp` is the share at which the lease ran out; None while it has not.
    """

    release: ReleaseName
    op_id: OpId
    salt: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    baseline: Served
    candidate: Served
    sequence: int = 0
    share_bp: Share = 0
    shadow_bp: Share = 0
    lease_until: float | None = None  # monotonic seconds
    lost_at_bp: Share | None = None
    pinned_by: PinnedBy | None = None
    ended: Ending | None = None
    done: dict[str, str] = {}  # op_id -> what it did


class TargetSplit(Fact):
    """Everything that is known of one target's traffic; what is stored is exactly this."""

    target: TargetName
    timing: Timing
    baseline: Served
    epoch: int
    segment: Segment
    claim: Claim | None = None
    closed: tuple[str, ...] = ()  # releases that may not claim again


class ClaimOrder(Fact):
    """What a release asks for when it claims a target."""

    release: ReleaseName
    baseline: Served
    candidate: Served
    ttl_seconds: Seconds
    op_id: OpId


def observe(split: TargetSplit, now: float) -> Observed:
    """What is in force at `now`; a lease that has passed is shown as expired, recorded or not."""
    split = expire(split, Instant(now, split.segment.began_at))
    claim = split.claim
    if claim is None:
        return Observed(
            target=split.target,
            epoch=split.epoch,
            segment=max(0, split.segment.number),
            release=None,
            share_bp=0,
            shadow_bp=0,
            baseline=split.baseline.artifact,
            candidate=None,
        )
    return Observed(
        target=split.target,
        epoch=split.epoch,
        segment=claim.sequence,
        release=claim.release,
        share_bp=claim.share_bp,
        shadow_bp=claim.shadow_bp,
        baseline=split.baseline.artifact,
        candidate=claim.candidate.artifact,
        ended=claim.ended,
        pinned_by=claim.pinned_by,
        lease_seconds=_lease_seconds(claim, now),
    )


def expire(split: TargetSplit, at: Instant) -> TargetSplit:
    """Take the split down if its lease has passed; the same state if not."""
    claim = split.claim
    if claim is None or claim.lease_until is None or at.monotonic < claim.lease_until:
        return split
    if claim.pinned_by is not None:  # all is down already; only the claim stops being held
        return leased(split, claim, None)
    return lowered(
        split,
        claim.model_copy(
            update={"pinned_by": EXPIRED, "lease_until": None, "lost_at_bp": claim.share_bp}
        ),
        claim.sequence,
        at,
    )


def is_held(split: TargetSplit, now: float) -> bool:
    """Does a living lease keep other releases away?"""
    held = split.claim
    return held is not None and held.lease_until is not None and now < held.lease_until


def share_when_lost(held: Claim, at: Instant) -> int | None:
    """The share at which the lease ran out; None while it lives, or where a pin came first."""
    if held.pinned_by is None and held.lease_until is not None and at.monotonic >= held.lease_until:
        return held.share_bp
    return held.lost_at_bp


def is_pinned(held: Claim) -> bool:
    return held.pinned_by is not None and held.pinned_by.cause is not PinCause.LEASE_EXPIRED


def lowered(split: TargetSplit, held: Claim, sequence: int, at: Instant) -> TargetSplit:
    """All traffic on the baseline, in a segment of its own, whatever the sequence that ordered it."""
    number = sequence if sequence > held.sequence else -(held.sequence + 1)
    down = held.model_copy(
        update={"share_bp": 0, "shadow_bp": 0, "sequence": max(sequence, held.sequence)}
    )
    if number == split.segment.number:  # it was down already, under the same write
        return split.model_copy(update={"claim": down})
    return split.model_copy(
        update={"claim": down, "segment": new_segment(number, split.timing, at)}
    )


def leased(split: TargetSplit, held: Claim, until: float | None) -> TargetSplit:
    return split.model_copy(update={"claim": held.model_copy(update={"lease_until": until})})


def new_segment(number: int, timing: Timing, at: Instant) -> Segment:
    return Segment(number=number, began=at.monotonic, began_at=at.wall, timing=timing)


def _lease_seconds(held: Claim, now: float) -> float | None:
    if held.ended is not None:
        return None
    return max(0.0, held.lease_until - now) if held.lease_until is not None else 0.0
