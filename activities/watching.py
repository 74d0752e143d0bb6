"""The watch: look at a stage every few seconds, keep its lease, and pin at once on a BREACH."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import metering
from activities.asks import Digests, Judged, WatchAsk, Watched, WatchEnd
from rampway.gates.facts import canonical
from rampway.gates.verdicts import StageVerdict, Verdict
from rampway.gates.weigh import Weigher
from rampway.ports import Clock, EvidenceSource, OwnRun, RunState, Traffic, Unreachable
from rampway.release.splits import PinCause, PinnedBy, RefusalCode, Refused

HEARTBEAT_SECONDS = 5
# A longer gap between two looks means that the process was frozen, and another attempt may be running.
FROZEN_SECONDS = 15
FROZEN_LOOKS = 1.5
PIN_TRIES = 4
PIN_PAUSE_SECONDS = 0.25


@dataclass
class Watching:
    """The watch over ports; `own_run` asks about the run of the activity that calls it."""

    traffic: Traffic
    evidence: EvidenceSource
    own_run: Callable[[], OwnRun]
    clock: Clock

    @activity.defn
    async def watch(self, ask: WatchAsk) -> Watched:
        """Look until the time is over, the stage can pass, or something ends the stage.

        Raises ApplicationError when it was frozen (another attempt goes on) or when its run is
        closed; in the latter case traffic is pinned first.
        """
        async with heartbeats():
            return await _Watch(self, ask).look_until_over()


@contextlib.asynccontextmanager
async def heartbeats() -> AsyncGenerator[None]:
    """Heartbeat while the body runs, so that a dead worker is noticed in seconds."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


class _Watch:
    """One attempt at one chunk: what it has seen so far, by its own clock."""

    def __init__(self, parts: Watching, ask: WatchAsk) -> None:
        self.parts = parts
        self.ask = ask
        self.weigher = Weigher(ask.plan)
        self.began = parts.clock.monotonic()
        self.looked = 0.0
        self.looks = 0
        self.renewed = 0.0
        self.sighted = -ask.blind_seconds  # when the evidence last grew, perhaps before we began
        self.slices = ask.slices_seen
        self.judged: Judged | None = None

    @property
    def seconds(self) -> float:
        return self.parts.clock.monotonic() - self.began

    async def look_until_over(self) -> Watched:
        while True:
            self._check_not_frozen()
            if (end := await self._keep_control()) is not None:
                return end
            if (end := await self._look()) is not None:
                return end
            left = self.ask.seconds - self.seconds
            if left <= 0:
                return self._ended(WatchEnd.LOOKED)
            await self.parts.clock.sleep(min(self.ask.look_seconds, left))

    def _check_not_frozen(self) -> None:
        seconds = self.seconds
        if seconds - self.looked > max(FROZEN_SECONDS, FROZEN_LOOKS * self.ask.look_seconds):
            raise ApplicationError("The watch was frozen; another attempt goes on.", type="frozen")
        self.looked = seconds

    async def _keep_control(self) -> Watched | None:
        """Renew the lease, but only on an answer that the own run is open."""
        state = await self.parts.own_run().state()
        if state is RunState.CLOSED:
            await self._give_up()
        if self.ask.lease_seconds is None:
            return await self._still_promoted()
        if state is RunState.RUNNING:
            try:
                await self.parts.traffic.renew(self.ask.token, ttl_seconds=self.ask.lease_seconds)
            except Refused as refused:
                return await self._refused(refused)
            except Unreachable as unreachable:
                activity.logger.warning("watch.renew_failed", extra={"why": str(unreachable)})
            else:
                self.renewed = self.seconds
        if self.seconds - self.renewed > self.ask.lease_seconds:
            return self._ended(
                WatchEnd.LEASE_LOST, "the lease could not be renewed and has run out"
            )
        return None

    async def _give_up(self) -> NoReturn:
        """Nobody decides any more: a split goes to the baseline, a promotion stands."""
        if self.ask.lease_seconds is not None:
            await self._pin(PinCause.CONTROL_LOST, "the release's workflow is closed")
        raise ApplicationError("The run is closed.", type="closed", non_retryable=True)

    async def _still_promoted(self) -> Watched | None:
        """After a promotion there is no lease that would tell of somebody else's pin."""
        try:
            observed = await self.parts.traffic.observe(self.ask.token.target)
        except Unreachable as unreachable:
            activity.logger.warning("watch.observe_failed", extra={"why": str(unreachable)})
            return None
        if observed.epoch == self.ask.token.epoch and observed.pinned_by is not None:
            return self._ended(WatchEnd.CONTROL_LOST, observed.pinned_by.why)
        return None

    async def _refused(self, refused: Refused) -> Watched:
        """Tell a later write of this release (stand down) from a lost lease or a lost target."""
        if refused.code is RefusalCode.LEASE_LOST:
            return self._ended(WatchEnd.LEASE_LOST, refused.why)
        if refused.code is RefusalCode.FENCED:
            observed = await self.parts.traffic.observe(self.ask.token.target)
            ours = observed.epoch == self.ask.token.epoch and observed.pinned_by is None
            if ours and observed.segment > self.ask.token.sequence:
                return self._ended(WatchEnd.STOOD_DOWN, refused.why)
        return self._ended(WatchEnd.CONTROL_LOST, refused.why)

    async def _look(self) -> Watched | None:
        verdict = await self._weigh()
        if verdict is not None:
            if verdict.verdict is Verdict.BREACH:
                return await self._breached(verdict)
            if verdict.verdict is Verdict.PASS and self.ask.until_pass:
                return self._ended(WatchEnd.LOOKED)
            if verdict.slices > self.slices:
                self.slices, self.sighted = verdict.slices, self.seconds
        return await self._blind_too_long(verdict)

    async def _blind_too_long(self, verdict: StageVerdict | None) -> Watched | None:
        """A source that is silent, or seals no more slices, or none that can be counted, is blind."""
        limit = self.ask.plan.blind_limit_seconds
        if verdict is not None and verdict.blind_seconds >= limit:
            return await self._blind(verdict.why)
        first = self.ask.lag_seconds if self.slices <= 0 else 0.0
        if self.seconds - self.sighted >= limit + max(first, self.ask.plan.slice_seconds):
            return await self._blind(f"no new slice for {self.seconds - self.sighted:.0f} s")
        return None

    async def _weigh(self) -> StageVerdict | None:
        ask = self.ask
        try:
            evidence = await self.parts.evidence.stage(
                target=ask.token.target,
                epoch=ask.token.epoch,
                segment=ask.token.sequence,
                plan=ask.plan,
            )
        except Unreachable as unreachable:
            activity.logger.warning("watch.no_evidence", extra={"why": str(unreachable)})
            metering.blind(ask.token.target)
            return None
        self.looks += 1
        verdict = self.weigher.look(evidence)
        metering.looked(ask.token.target, verdict.verdict)
        kept = verdict.verdict is Verdict.BREACH
        self.judged = Judged(
            verdict=verdict,
            digests=Digests(plan=ask.plan.digest, evidence=evidence.digest, verdict=verdict.digest),
            evidence=canonical(evidence.model_dump(mode="json")).decode() if kept else None,
        )
        return verdict

    async def _breached(self, verdict: StageVerdict) -> Watched:
        gate = verdict.decisive
        crossed = self.seconds
        pinned = await self._pin(PinCause.BREACH, f"{gate.gate}: {gate.why}" if gate else "")
        return self._ended(
            WatchEnd.BREACH, verdict.why, to_zero=self.seconds - crossed if pinned else None
        )

    async def _blind(self, why: str) -> Watched | None:
        """Pin when nothing can be seen; after a promotion there is no arm left to go back to safely."""
        if self.ask.lease_seconds is None:
            return None
        await self._pin(PinCause.CONTROL_LOST, why)
        return self._ended(WatchEnd.BLIND, why)

    async def _pin(self, cause: PinCause, why: str) -> bool:
        """Pin, with a few tries; if all fail the lease, no longer renewed, does it."""
        by = PinnedBy(cause=cause, op_id=self.ask.op_id, why=why[:500])
        for _ in range(PIN_TRIES):
            try:
                await self.parts.traffic.pin(self.ask.token, by=by)
            except Refused as refused:
                activity.logger.warning("watch.pin_refused", extra={"why": refused.why})
                return False
            except Unreachable as unreachable:
                activity.logger.warning("watch.pin_failed", extra={"why": str(unreachable)})
                await self.parts.clock.sleep(PIN_PAUSE_SECONDS)
            else:
                metering.pinned(self.ask.token.target, cause)
                return True
        return False

    def _ended(self, end: WatchEnd, why: str = "", to_zero: float | None = None) -> Watched:
        metering.watched(self.ask.token.target, end, to_zero)
        return Watched(
            end=end,
            seconds=self.seconds,
            looks=self.looks,
            judged=self.judged,
            to_zero_seconds=to_zero,
            slices_seen=self.slices,
            blind_seconds=max(0.0, self.seconds - self.sighted),
            why=why,
        )
