"""The moves of a target's split: each pure write from one state to the next, or the refusal of it.

Raising is refused when anything newer happened; lowering (pin, rolled back, expiry) always succeeds
within its epoch. A repeated operation is answered as done while it is what is in force; afterwards the
refusal tells what happened since.
"""

from typing import Final

from rampway.gateway.splits import (
    Claim,
    ClaimOrder,
    TargetSplit,
    is_held,
    is_pinned,
    leased,
    lowered,
    new_segment,
    share_when_lost,
)
from rampway.gateway.terms import (
    ALL_BP,
    BadInput,
    Ending,
    Instant,
    PinnedBy,
    RefusalCode,
    Refused,
    Served,
    Timing,
    Token,
)

OPERATIONS_MAX: Final = 4_096  # raising writes remembered, and so allowed, per epoch
CLOSED_RELEASES_MAX: Final = 256


def register(
    target: str, timing: Timing, baseline: Served, *, epoch: int, at: Instant
) -> TargetSplit:
    """A new target, all of it on its baseline."""
    return TargetSplit(
        target=target,
        timing=timing,
        baseline=baseline,
        epoch=epoch,
        segment=new_segment(0, timing, at),
    )


def reconfigure(split: TargetSplit, timing: Timing, baseline: Served, at: Instant) -> TargetSplit:
    """New timing from the next segment on; another baseline only while no claim is open.

    Another baseline begins a new epoch, so that no earlier release can undo it. Raises Refused busy.
    """
    if baseline == split.baseline:
        if timing == split.timing:
            return split
        return split.model_copy(update={"timing": timing})
    if is_held(split, at.monotonic):
        raise Refused(
            RefusalCode.BUSY,
            f"Release {_release(split)} holds {split.target}: end it before its baseline is replaced.",
        )
    return split.model_copy(
        update={
            "timing": timing,
            "baseline": baseline,
            "epoch": split.epoch + 1,
            "segment": new_segment(0, timing, at),
            "claim": None,
            "closed": _closed(split),
        }
    )


def claim(split: TargetSplit, order: ClaimOrder, *, salt: str, at: Instant) -> TargetSplit:
    """Give the target to a release, at share 0, in a new epoch.

    The same release again gets the same epoch, whatever became of it. Raises Refused: busy while
    another release's lease lives, baseline_moved, fenced for a release whose claim was superseded.
    """
    held = split.claim
    if held is not None and held.release == order.release:
        if (held.baseline, held.candidate) != (order.baseline, order.candidate):
            raise BadInput(f"Release {order.release} already claimed {split.target} otherwise.")
        return split
    if order.release in split.closed:
        raise Refused(
            RefusalCode.FENCED,
            f"Release {order.release} had its claim on {split.target}; it is over.",
        )
    if is_held(split, at.monotonic):
        raise Refused(RefusalCode.BUSY, f"Release {_release(split)} holds {split.target}.")
    if order.baseline.artifact != split.baseline.artifact:
        raise Refused(
            RefusalCode.BASELINE_MOVED,
            f"{split.target} serves {split.baseline.artifact}, not {order.baseline.artifact}.",
        )
    return split.model_copy(
        update={
            "epoch": split.epoch + 1,
            "segment": new_segment(0, split.timing, at),
            "closed": _closed(split),
            "claim": Claim(
                release=order.release,
                op_id=order.op_id,
                salt=salt,
                baseline=order.baseline,
                candidate=order.candidate,
                lease_until=at.monotonic + order.ttl_seconds,
            ),
        }
    )


def set_share(
    split: TargetSplit, token: Token, *, share_bp: int, ttl_seconds: float, op_id: str, at: Instant
) -> TargetSplit:
    """Route `share_bp` to the candidate; anybody exposed ends the copying.

    Raises Refused when anything newer is in force.
    """
    held = _fenced(split, token)
    _not_lowered(held, at)
    deed = f"share {share_bp}"
    if _is_done(held, op_id, deed):
        return split
    _is_next(held, token)
    return _written(
        split,
        held,
        at,
        {
            "sequence": token.sequence,
            "done": {**held.done, op_id: deed},
            "share_bp": share_bp,
            "shadow_bp": held.shadow_bp if share_bp == 0 else 0,
            "lease_until": at.monotonic + ttl_seconds,
        },
    )


def shadow(
    split: TargetSplit, token: Token, *, rate_bp: int, ttl_seconds: float, op_id: str, at: Instant
) -> TargetSplit:
    """Copy `rate_bp` of the requests to the candidate, while nobody is exposed to it.

    It alone may arm a lost lease again, with a newer sequence, where the share was 0 when it ran out.
    """
    held = _fenced(split, token)
    deed = f"shadow {rate_bp}"
    if not _may_arm_again(held, token, at):
        _not_lowered(held, at)
        if _is_done(held, op_id, deed):
            return split
    _is_next(held, token)
    if rate_bp > 0 and held.share_bp > 0:
        raise BadInput(
            f"{split.target} has {held.share_bp} bp on the candidate: copies are made only at share 0."
        )
    return _written(
        split,
        held,
        at,
        {
            "sequence": token.sequence,
            "done": {**held.done, op_id: deed},
            "shadow_bp": rate_bp,
            "pinned_by": None,
            "lost_at_bp": None,
            "lease_until": at.monotonic + ttl_seconds,
        },
    )


def renew(split: TargetSplit, token: Token, *, ttl_seconds: float, at: Instant) -> TargetSplit:
    """Let the write in force live on. Nothing to renew after a promotion: the same state."""
    held = _fenced(split, token)
    if token.sequence != held.sequence:
        raise Refused(
            RefusalCode.FENCED,
            f"Sequence {held.sequence} is in force on {split.target}, not {token.sequence}.",
        )
    if held.ended is Ending.PROMOTED:
        return split
    _not_lowered(held, at)
    return leased(split, held, at.monotonic + ttl_seconds)


def pin(split: TargetSplit, token: Token, by: PinnedBy, at: Instant) -> TargetSplit:
    """All traffic to the baseline of the claim, copying off; afterwards the epoch only ends.

    Honoured whatever its sequence: lowering is always safe, also late. The first explicit pin is the
    one that is remembered. After a promotion it brings the previous baseline back.
    """
    held = _in_epoch(split, token)
    if held.ended is Ending.ROLLED_BACK or is_pinned(held):
        return split
    undone = split.model_copy(update={"baseline": _baseline_before(split, held)})
    return lowered(
        undone,
        held.model_copy(update={"pinned_by": by, "ended": None, "lost_at_bp": None}),
        token.sequence,
        at,
    )


def end(
    split: TargetSplit, token: Token, *, ending: Ending, op_id: str, at: Instant
) -> TargetSplit:
    """Close the claim: the candidate becomes the baseline, or all is undone (at any time, again)."""
    if ending is Ending.PROMOTED:
        return _promoted(split, token, op_id, at)
    held = _in_epoch(split, token)
    if held.ended is Ending.ROLLED_BACK:
        return split
    undone = split.model_copy(update={"baseline": _baseline_before(split, held)})
    closed = held.model_copy(update={"ended": ending, "lease_until": None})
    return lowered(undone, closed, token.sequence, at)


def _promoted(split: TargetSplit, token: Token, op_id: str, at: Instant) -> TargetSplit:
    held = _fenced(split, token)
    deed = Ending.PROMOTED.value
    if held.ended is Ending.PROMOTED and _is_done(held, op_id, deed):
        return split
    _not_lowered(held, at)
    _is_next(held, token)
    return _written(
        split.model_copy(update={"baseline": held.candidate}),
        held,
        at,
        {
            "sequence": token.sequence,
            "done": {**held.done, op_id: deed},
            "share_bp": ALL_BP,
            "shadow_bp": 0,
            "lease_until": None,
            "ended": Ending.PROMOTED,
        },
    )


def _in_epoch(split: TargetSplit, token: Token) -> Claim:
    if token.target != split.target:
        raise BadInput(f"The token is for {token.target}, the write for {split.target}.")
    if split.claim is None or token.epoch != split.epoch:
        raise Refused(
            RefusalCode.FENCED,
            f"Epoch {split.epoch} is in force on {split.target}, not {token.epoch}: stand down.",
        )
    return split.claim


def _fenced(split: TargetSplit, token: Token) -> Claim:
    held = _in_epoch(split, token)
    if token.sequence < held.sequence:
        raise Refused(
            RefusalCode.FENCED,
            f"Sequence {held.sequence} is in force on {split.target}; {token.sequence} came too late.",
        )
    return held


def _not_lowered(held: Claim, at: Instant) -> None:
    """Raise Refused where the claim was ended, pinned or lost."""
    if held.ended is not None:
        raise Refused(RefusalCode.FENCED, f"Release {held.release} has ended: {held.ended.value}.")
    if is_pinned(held):
        raise Refused(
            RefusalCode.PINNED,
            f"Release {held.release} is pinned to the baseline; its claim may only end.",
        )
    if held.pinned_by is not None or held.lease_until is None or at.monotonic >= held.lease_until:
        raise Refused(
            RefusalCode.LEASE_LOST,
            f"The lease of release {held.release} ran out; all traffic is on the baseline.",
        )


def _is_done(held: Claim, op_id: str, deed: str) -> bool:
    done = held.done.get(op_id)
    if done is not None and done != deed:
        raise BadInput(f"Operation {op_id!r} already did {done!r}; it cannot do {deed!r}.")
    return done is not None


def _is_next(held: Claim, token: Token) -> None:
    """Raise Refused unless the token may carry one more write."""
    if token.sequence == held.sequence:
        raise Refused(
            RefusalCode.FENCED,
            f"Sequence {held.sequence} has its write on {token.target}; another needs a later one.",
        )
    if len(held.done) >= OPERATIONS_MAX:
        raise Refused(
            RefusalCode.FENCED, f"Release {held.release} has used its {OPERATIONS_MAX} writes."
        )


def _may_arm_again(held: Claim, token: Token, at: Instant) -> bool:
    return held.ended is None and token.sequence > held.sequence and share_when_lost(held, at) == 0


def _written(
    split: TargetSplit, held: Claim, at: Instant, changes: dict[str, object]
) -> TargetSplit:
    """The claim with a write's changes, in the segment that the write begins."""
    changed = held.model_copy(update=changes)
    return split.model_copy(
        update={"claim": changed, "segment": new_segment(changed.sequence, split.timing, at)}
    )


def _baseline_before(split: TargetSplit, held: Claim) -> Served:
    return held.baseline if held.ended is Ending.PROMOTED else split.baseline


def _closed(split: TargetSplit) -> tuple[str, ...]:
    if split.claim is None:
        return split.closed
    return (*split.closed, split.claim.release)[-CLOSED_RELEASES_MAX:]


def _release(split: TargetSplit) -> str:
    return split.claim.release if split.claim else "none"
