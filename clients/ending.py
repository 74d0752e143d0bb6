"""Ends a split by hand at the gateway, for when Temporal or the worker cannot."""

import asyncio
import time
import uuid
from dataclasses import dataclass

from pydantic import JsonValue

from clients.exits import Exit, Failure
from clients.opening import open_data_plane
from clients.screens import gateways
from clients.settings import actor
from rampway.ports import Traffic
from rampway.release.splits import Ending, Observed, PinCause, PinnedBy, Token
from rampway.reports.words import duration, share

ZERO_SECONDS = 10.0
POLL_SECONDS = 0.1
WHY_LENGTH = 500


@dataclass(frozen=True)
class Ended:
    """What became of the split."""

    text: str
    facts: dict[str, JsonValue]
    code: Exit


async def end_split(target: str, reason: str, *, undo_promotion: bool, dry_run: bool) -> Ended:
    """Pin a target at the epoch that is in force. Raises Failure, Refused or Unreachable."""
    async with open_data_plane() as plane:
        before = await plane.traffic.observe(target)
        if before.release is None or before.ended is Ending.ROLLED_BACK or _is_pinned(before):
            return _told(
                before, "already", f"already all on the baseline of {target}; nothing changed."
            )
        if before.ended is Ending.PROMOTED and not undo_promotion:
            raise Failure(
                f"refused [promoted]: {target} serves a promoted artifact to everyone; to end that "
                "brings the baseline before it back. Next: give --undo-promotion if you mean it"
            )
        if dry_run:
            text = f"would send {share(before.share_bp)} of {target} back; nothing was sent."
            return _told(before, "dry-run", text)
        began = time.monotonic()
        by = PinnedBy(
            cause=PinCause.ABORT,
            op_id=f"by-hand/{uuid.uuid4().hex}",
            why=f"ended by hand by {actor()}: {reason}"[:WHY_LENGTH],
        )
        token = Token(target=target, epoch=before.epoch, sequence=before.segment)
        after = await _applied(plane.traffic, await plane.traffic.pin(token, by=by))
        return _confirmed(target, after, time.monotonic() - began)


def _is_pinned(observed: Observed) -> bool:
    """Pinned for good and confirmed; after a lease that ran out a shadow may still be armed again."""
    by = observed.pinned_by
    pinned = by is not None and by.cause is not PinCause.LEASE_EXPIRED
    return pinned and observed.share_bp == 0 and observed.applied_by_every_instance


async def _applied(traffic: Traffic, observed: Observed) -> Observed:
    until = time.monotonic() + ZERO_SECONDS
    while not observed.applied_by_every_instance and time.monotonic() < until:
        await asyncio.sleep(POLL_SECONDS)
        observed = await traffic.observe(observed.target)
    return observed


def _confirmed(target: str, after: Observed, took: float) -> Ended:
    if after.share_bp or not after.applied_by_every_instance:
        late = ", ".join(after.laggards) or "an instance"
        text = (
            f"pinned, but {late} has not confirmed 0 % after {ZERO_SECONDS:g} s. "
            f"Next: restart or drain it; rampway target show {target}"
        )
        return _told(after, "unknown", text, Exit.RUNNING)
    every = f"{after.instances} of {gateways(after.instances)}"
    return _told(
        after,
        "ended",
        f"ended: 0 % confirmed by {every} in {duration(took)}. "
        "Its release rolls back when a worker is there.",
    )


def _told(observed: Observed, result: str, text: str, code: Exit = Exit.OK) -> Ended:
    facts: dict[str, JsonValue] = {
        "target": observed.target,
        "result": result,
        "exit_code": int(code),
        "observed": observed.model_dump(mode="json"),
    }
    return Ended(text, facts, code)
