"""The one writer of all splits: it stores before it raises, and lowers before it stores.

Up: state file first, then traffic. Down: traffic first, at once, waiting for no other write; then the
state file. Every change is told to `splits.jsonl`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from rampway.gateway import moves
from rampway.gateway.assignment import SALT_BYTES
from rampway.gateway.instances import Instances, ThisProcess
from rampway.gateway.splits import ClaimOrder, TargetSplit, expire, observe
from rampway.gateway.state import StateFile, Unreadable
from rampway.gateway.terms import (
    BadInput,
    Clock,
    Ending,
    Instant,
    NotStored,
    Observed,
    PinCause,
    PinnedBy,
    RefusalCode,
    Refused,
    Served,
    Timing,
    Token,
    UnknownUpstream,
)
from rampway.gateway.truth import Deed, Truth, deed

TARGETS_MAX: Final = 1_000
_ATTEMPTS_MAX: Final = 8  # how often a raise is weighed again because a lowering came in between
_NAMED_MAX: Final = 20
_log = structlog.get_logger("rampway.gateway")

Move = Callable[[TargetSplit, Instant], TargetSplit]
NewTargetOr = Callable[[TargetSplit | None, Instant], TargetSplit]


class Authority:
    """Holds what is in force; each write answers with it. Raises Refused, BadInput, NotStored.

    `changed` is called, on the event loop, in the moment in which a target's split becomes another.
    """

    def __init__(
        self,
        *,
        state: StateFile,
        truth: Truth,
        clock: Clock,
        upstreams: frozenset[str],
        boot_id: str,
        changed: Callable[[TargetSplit], None],
        instances: Instances | None = None,
    ) -> None:
        self._state = state
        self._truth = truth
        self._clock = clock
        self._upstreams = upstreams
        self._boot_id = boot_id
        self._changed = changed
        self._instances = instances or ThisProcess()
        self._live: dict[str, TargetSplit] = {}
        self._epoch_floors: dict[str, int] = {}
        self._deeds: list[Deed] = []
        self._unsaved = False
        self._lock = asyncio.Lock()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="rampway-state")
        self.unreadable: str | None = None
        self.accepted_total = 0
        self.refused_total: dict[str, int] = {}
        self.leases_expired_total = 0

    def load(self) -> None:
        """Take up what is stored, its passed leases taken down, before the first request comes in.

        An unreadable state is set aside: no target is known then, and nothing is served by a guess.
        """
        try:
            stored = self._state.load()
        except Unreadable as torn:
            self.unreadable = str(torn)
            self._state.set_aside()
            stored = None
        if stored is None:
            self._epoch_floors = self._truth.epochs()
            return
        at = self._clock.now()
        same_boot = stored.boot_id == self._boot_id
        for before in stored.targets.values():
            after = self._revived(before if same_boot else _on_this_boot(before, at), at)
            self._apply("load", "load", before, after, at)
        self._state.save(self._live)
        self._truth.append(self._deeds)
        self._deeds.clear()

    def targets(self) -> list[str]:
        return sorted(self._live)

    def observe(self, target: str) -> Observed:
        return self._seen(self._known(target))

    def split(self, target: str) -> TargetSplit:
        """The state in force. Raises Refused unknown."""
        return self._known(target)

    def next_expiry(self) -> float | None:
        """When the first lease runs out, in monotonic seconds."""
        leases = [
            split.claim.lease_until
            for split in self._live.values()
            if split.claim and split.claim.lease_until is not None
        ]
        return min(leases, default=None)

    def lapse(self, target: str) -> None:
        """Take the target down, in this moment, if its lease has passed; it is recorded a little later."""
        before, at = self._live[target], self._clock.now()
        after = expire(before, at)
        if after is not before:
            self.leases_expired_total += 1
            self._unsaved = True
            self._apply("lease_expired", "lease", before, after, at)
            _log.warning(
                "lease.expired",
                target=target,
                release=before.claim.release if before.claim else None,
                share_bp=before.claim.share_bp if before.claim else 0,
            )

    def lapse_due(self) -> None:
        for target in self._live:
            self.lapse(target)

    async def record(self) -> None:
        """Write what is in force, and not yet on the disk, to the disk. Raises NotStored."""
        if self._unsaved or self._deeds:
            async with self._lock:
                await self._sync()

    async def change_upstreams(
        self, names: frozenset[str], change: Callable[[], Awaitable[None]]
    ) -> None:
        """Know these upstreams when `change` is done; no write is raised meanwhile.

        Raises BadInput where a split in force uses one that would be gone; a lowering, which waits for
        nothing, never begins to use one.
        """
        async with self._lock:
            for target, split in sorted(self._live.items()):
                gone = sorted(_used_by(split) - names)
                if gone:
                    raise BadInput(
                        f"Nothing was changed: upstream {gone[0]!r} serves {target} and cannot be "
                        "removed. End its release, or register another baseline, first."
                    )
            await change()
            self._upstreams = names

    async def register(self, target: str, timing: Timing, baseline: Served) -> Observed:
        self._configured(baseline)

        def move(split: TargetSplit | None, at: Instant) -> TargetSplit:
            self._configured(baseline)  # it may have been removed while this waited
            if split is not None:
                return moves.reconfigure(split, timing, baseline, at)
            if len(self._live) >= TARGETS_MAX:
                raise BadInput(f"This gateway holds {TARGETS_MAX} targets, its limit.")
            # One above whatever the ground truth tells: an epoch is never given out twice.
            floor = self._epoch_floors.get(target)
            epoch = 0 if floor is None else floor + 1
            return moves.register(target, timing, baseline, epoch=epoch, at=at)

        after = await self._up(target, "register", "register", move)
        return await self._told(after)

    async def claim(self, target: str, order: ClaimOrder) -> Token:
        self._configured(order.baseline)
        self._configured(order.candidate)
        salt = secrets.token_hex(SALT_BYTES)

        def move(split: TargetSplit, at: Instant) -> TargetSplit:
            self._configured(order.candidate)  # it may have been removed while this waited
            return moves.claim(split, order=order, salt=salt, at=at)

        after = await self._raise(target, "claim", order.op_id, move)
        await self._instances.applied(target)
        return Token(target=target, epoch=after.epoch, sequence=0)

    async def set_share(
        self, token: Token, *, share_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        def move(split: TargetSplit, at: Instant) -> TargetSplit:
            return moves.set_share(
                split, token, share_bp=share_bp, ttl_seconds=ttl_seconds, op_id=op_id, at=at
            )

        return await self._told(await self._raise(token.target, "share", op_id, move))

    async def shadow(
        self, token: Token, *, rate_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        def move(split: TargetSplit, at: Instant) -> TargetSplit:
            return moves.shadow(
                split, token, rate_bp=rate_bp, ttl_seconds=ttl_seconds, op_id=op_id, at=at
            )

        return await self._told(await self._raise(token.target, "shadow", op_id, move))

    async def renew(self, token: Token, *, ttl_seconds: float) -> Observed:
        def move(split: TargetSplit, at: Instant) -> TargetSplit:
            return moves.renew(split, token, ttl_seconds=ttl_seconds, at=at)

        return await self._told(await self._raise(token.target, "renew", "renew", move))

    async def pin(self, token: Token, by: PinnedBy) -> Observed:
        return await self._lower(
            token.target, "pin", by.op_id, lambda split, at: moves.pin(split, token, by, at)
        )

    async def end(self, token: Token, *, ending: Ending, op_id: str) -> Observed:
        def move(split: TargetSplit, at: Instant) -> TargetSplit:
            return moves.end(split, token, ending=ending, op_id=op_id, at=at)

        if ending is Ending.ROLLED_BACK:
            return await self._lower(token.target, ending.value, op_id, move)
        return await self._told(await self._raise(token.target, ending.value, op_id, move))

    def close(self) -> None:
        self._disk.shutdown()
        self._truth.close()

    def _revived(self, split: TargetSplit, at: Instant) -> TargetSplit:
        split = expire(split, at)
        claim = split.claim
        if claim is None or claim.ended is Ending.ROLLED_BACK:
            return split
        upstream = claim.candidate.serve.upstream
        if upstream in self._upstreams:
            return split
        why = f"The candidate's upstream {upstream!r} is no longer configured."
        by = PinnedBy(cause=PinCause.CONTROL_LOST, op_id="load", why=why)
        token = Token(target=split.target, epoch=split.epoch, sequence=claim.sequence)
        return moves.pin(split, token, by, at)

    async def _raise(self, target: str, cause: str, op_id: str, move: Move) -> TargetSplit:
        def known(split: TargetSplit | None, at: Instant) -> TargetSplit:
            if split is None:
                raise self._unknown(target)
            return move(split, at)

        return await self._up(target, cause, op_id, known)

    async def _up(self, target: str, cause: str, op_id: str, move: NewTargetOr) -> TargetSplit:
        """Weigh, store, then act; weighed again if a lowering struck while the disk was at work."""
        async with self._lock:
            for _ in range(_ATTEMPTS_MAX):
                before, at, after = await self._weighed(target, move)
                if after is before:
                    return after
                await self._save({**self._live, target: after})
                if self._live.get(target) is before:
                    self._apply(cause, op_id, before, after, at)
                    self.accepted_total += 1
                    await self._tell()
                    return after
                self._unsaved = True
        raise NotStored(f"{target} kept changing while the write was stored: send it again.")

    async def _weighed(
        self, target: str, move: NewTargetOr
    ) -> tuple[TargetSplit | None, Instant, TargetSplit]:
        if target in self._live:
            self.lapse(target)
        before, at = self._live.get(target), self._clock.now()
        try:
            after = move(before, at)
            self._instances.check(after)
        except (Refused, BadInput) as no:
            self._count_refused(no)
            if self._unsaved:  # a write that is refused now must not be found on the disk
                await self._sync()
            raise
        return before, at, after

    async def _lower(self, target: str, cause: str, op_id: str, move: Move) -> Observed:
        """Act, without waiting for anything, then store."""
        before, at = self._known(target), self._clock.now()
        try:
            after = move(before, at)
        except (Refused, BadInput) as no:
            self._count_refused(no)
            raise
        if after is not before:
            self._unsaved = True
            self._apply(cause, op_id, before, after, at)
            self.accepted_total += 1
        await self.record()
        return await self._told(self._live[target])

    def _apply(
        self, cause: str, op_id: str, before: TargetSplit | None, after: TargetSplit, at: Instant
    ) -> None:
        self._live[after.target] = after
        self._deeds.append(deed(cause, op_id, before, after, at))
        self._changed(after)

    async def _sync(self) -> None:
        if self._unsaved:
            await self._save(dict(self._live))
        await self._tell()

    async def _save(self, targets: dict[str, TargetSplit]) -> None:
        self._unsaved = False
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._disk, self._state.save, targets)
        except OSError as failed:
            self._unsaved = True
            _log.exception("state.not_stored", path=str(self._state.path))
            raise NotStored(f"The state file cannot be written: {failed}") from failed

    async def _tell(self) -> None:
        """Append the deeds; those that the disk refuses are kept and told later."""
        if not self._deeds:
            return
        told, self._deeds = self._deeds, []
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._disk, self._truth.append, told)
        except OSError:
            self._deeds = told + self._deeds
            _log.exception("truth.not_written", deeds=len(self._deeds))

    async def _told(self, split: TargetSplit) -> Observed:
        """What is in force, when all instances have taken it up, or the bound for that has passed."""
        await self._instances.applied(split.target)
        return self._seen(split)

    def _seen(self, split: TargetSplit) -> Observed:
        seen, reach = observe(split, self._clock.monotonic()), self._instances.reach(split.target)
        return seen.model_copy(
            update={
                "applied_by_every_instance": not reach.laggards,
                "instances": reach.instances,
                "laggards": reach.laggards,
            }
        )

    def _known(self, target: str) -> TargetSplit:
        split = self._live.get(target)
        if split is None:
            raise self._unknown(target)
        return split

    def _unknown(self, target: str) -> Refused:
        known = ", ".join(self.targets()[:_NAMED_MAX]) or "none"
        return Refused(RefusalCode.UNKNOWN, f"No target {target!r} here. Registered: {known}.")

    def _configured(self, served: Served) -> None:
        upstream = served.serve.upstream
        if upstream not in self._upstreams:
            known = ", ".join(sorted(self._upstreams)) or "none"
            raise UnknownUpstream(
                f"No upstream {upstream!r} is configured here. Configured: {known}."
            )

    def _count_refused(self, no: Refused | BadInput) -> None:
        code = no.code.value if isinstance(no, Refused) else "bad_input"
        self.refused_total[code] = self.refused_total.get(code, 0) + 1


def _used_by(split: TargetSplit) -> set[str]:
    """The upstreams that a split sends requests to, or may again."""
    claim = split.claim
    used = {split.baseline.serve.upstream}
    if claim is not None and (claim.lease_until is not None or claim.ended is Ending.PROMOTED):
        used |= {claim.baseline.serve.upstream, claim.candidate.serve.upstream}
    return used


def _on_this_boot(split: TargetSplit, at: Instant) -> TargetSplit:
    """Leases of another boot are over; a segment goes on from where the wall clock says it is."""
    began = at.monotonic - max(0.0, at.wall - split.segment.began_at)
    moved = split.model_copy(update={"segment": split.segment.model_copy(update={"began": began})})
    if moved.claim is None or moved.claim.lease_until is None:
        return moved
    return moved.model_copy(
        update={"claim": moved.claim.model_copy(update={"lease_until": at.monotonic})}
    )
