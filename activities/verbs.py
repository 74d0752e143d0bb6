"""What a release does to the world between its waits: one verb each, over ports."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import metering
from activities.asks import (
    ClaimAsk,
    Claimed,
    ConcludeAsk,
    DecideAsk,
    Decided,
    Digests,
    Judged,
    MeasureAsk,
    Measured,
    OfflineAsk,
    OfflineJudged,
    PageAsk,
    Paged,
    PromoteAsk,
    RecordAsk,
    RepointAsk,
    SplitAsk,
    UndoAsk,
    Undone,
)
from activities.watching import heartbeats
from rampway.gates.evidence import PairedCases
from rampway.gates.facts import Fact, canonical
from rampway.gates.offline import weigh_offline
from rampway.gates.verdicts import OfflineVerdict, Verdict
from rampway.gates.weigh import freeze, weigh
from rampway.ports import AlreadyRecorded, EvidenceSource, NotFound, Pager, Registry, Traffic
from rampway.release.decisions import extension_seconds, open_gates
from rampway.release.events import ChainBroken
from rampway.release.splits import Ending, Observed, RefusalCode, Refused, Token

APPLIED_POLL_SECONDS = 0.1


@dataclass
class Verbs:
    """The verbs over their ports."""

    traffic: Traffic
    evidence: EvidenceSource
    registry: Registry
    pager: Pager

    @activity.defn
    async def weigh_offline(self, ask: OfflineAsk) -> OfflineJudged:
        """Weigh the stored paired cases again, against the baseline that serves today."""
        verdict = await self._offline_verdict(ask)
        return OfflineJudged(
            verdict=verdict,
            digests=Digests(
                plan=await self._store("plan", ask.plan),
                evidence=ask.evidence,
                verdict=await self._store("verdict", verdict),
            ),
        )

    async def _offline_verdict(self, ask: OfflineAsk) -> OfflineVerdict:
        if ask.evidence is None and not ask.exposes:
            why = "no offline evidence was given, and none is needed to copy: nobody is exposed"
            return OfflineVerdict(verdict=Verdict.PASS, why=why)
        if ask.evidence is None:
            return OfflineVerdict(
                verdict=Verdict.NO_DATA, why="no offline evidence was given; run rampway eval"
            )
        cases = PairedCases.model_validate_json(await self.registry.get(ask.evidence))
        standing = await self.registry.target(ask.target)
        sides = {
            "baseline": (cases.baseline, standing.baseline.artifact),
            "candidate": (cases.candidate, ask.candidate),
        }
        for side, (evaluated, expected) in sides.items():
            if evaluated != expected:
                return OfflineVerdict(
                    verdict=Verdict.INCOMPARABLE,
                    why=f"the {side} of the evals is {evaluated[:19]}, this release's is "
                    f"{expected[:19]}; run rampway eval against it",
                )
        return weigh_offline(ask.plan, cases)

    @activity.defn
    async def claim(self, ask: ClaimAsk) -> Claimed:
        """Take the target, or tell who holds it."""
        async with final_refusals():
            try:
                token = await self.traffic.claim(
                    target=ask.target,
                    release=ask.release,
                    baseline=ask.baseline,
                    candidate=ask.candidate,
                    ttl_seconds=ask.lease_seconds,
                    op_id=f"{ask.release}/claim",
                )
            except Refused as refused:
                if refused.code is not RefusalCode.BUSY:
                    raise
                return Claimed(busy=refused.why)
            return Claimed(token=token)

    @activity.defn
    async def measure(self, ask: MeasureAsk) -> Measured:
        """Freeze the stage's rates and thresholds from what the baseline did before it."""
        counts = await self.evidence.baseline(target=ask.target, last_units=ask.baseline_units)
        plan = freeze(ask.plan, counts, units_min=ask.baseline_units)
        return Measured(plan=plan, plan_digest=await self._store("plan", plan))

    @activity.defn
    async def split(self, ask: SplitAsk) -> Observed:
        """Put a share or a shadow rate in force; come back when every instance applies it."""
        async with heartbeats(), final_refusals():
            if ask.share_bp is not None:
                observed = await self.traffic.set_share(
                    ask.token,
                    share_bp=ask.share_bp,
                    ttl_seconds=ask.lease_seconds,
                    op_id=ask.op_id,
                )
            else:
                observed = await self.traffic.shadow(
                    ask.token,
                    rate_bp=ask.shadow_bp or 0,
                    ttl_seconds=ask.lease_seconds,
                    op_id=ask.op_id,
                )
            return await self._applied(observed)

    async def _applied(self, observed: Observed) -> Observed:
        while not observed.applied_by_every_instance:
            await asyncio.sleep(APPLIED_POLL_SECONDS)
            observed = await self.traffic.observe(observed.target)
        return observed

    @activity.defn
    async def decide(self, ask: DecideAsk) -> Decided:
        """Weigh all evidence of the hold and store what was weighed before answering."""
        evidence = await self.evidence.stage(
            target=ask.token.target,
            epoch=ask.token.epoch,
            segment=ask.token.sequence,
            plan=ask.plan,
        )
        verdict = weigh(ask.plan, evidence)
        metering.decided(ask.token.target, verdict.verdict)
        judged = Judged(
            verdict=verdict,
            digests=Digests(
                plan=await self._store("plan", ask.plan),
                evidence=await self._store("evidence", evidence),
                verdict=await self._store("verdict", verdict),
            ),
        )
        return Decided(
            judged=judged,
            verdict=verdict.verdict,
            open_gates=open_gates(verdict),
            extend_seconds=extension_seconds(ask.plan, verdict),
        )

    @activity.defn
    async def promote(self, ask: PromoteAsk) -> Observed:
        """Record the new baseline, then send it the rest of the traffic: the commit point."""
        async with heartbeats(), final_refusals():
            await self.registry.point(ask.token.target, ask.candidate, release=ask.release)
            observed = await self.traffic.end(ask.token, ending=Ending.PROMOTED, op_id=ask.op_id)
            return await self._applied(observed)

    @activity.defn
    async def conclude(self, ask: ConcludeAsk) -> Observed:
        """Send everything back to the baseline at the end of a release that only reports."""
        async with heartbeats(), final_refusals():
            return await self._applied(
                await self.traffic.end(ask.token, ending=Ending.ROLLED_BACK, op_id=ask.op_id)
            )

    @activity.defn
    async def undo(self, ask: UndoAsk) -> Undone:
        """Send everything back to the baseline; tell who pinned first. Safe to repeat for ever."""
        began = time.monotonic()
        async with heartbeats():
            before = await self.traffic.observe(ask.target)
            token = ask.token or Token(
                target=ask.target, epoch=before.epoch, sequence=before.segment
            )
            if before.epoch > token.epoch or (ask.token is None and before.release != ask.release):
                return Undone(
                    pinned_by=None, confirmed="this release holds no traffic", seconds=0.0
                )
            if before.ended is None and before.pinned_by is None:
                await self.traffic.pin(token, by=ask.by)
                metering.pinned(ask.target, ask.by.cause)
            after = await self._applied(
                await self.traffic.end(token, ending=Ending.ROLLED_BACK, op_id=ask.op_id)
            )
            return Undone(
                pinned_by=before.pinned_by or after.pinned_by,
                confirmed=f"{after.instances} of {after.instances} gateways",
                seconds=time.monotonic() - began,
            )

    @activity.defn
    async def repoint(self, ask: RepointAsk) -> None:
        """Let the registry name the old baseline again, if a promotion had moved the pointer."""
        standing = await self.registry.target(ask.target)
        if standing.baseline.artifact != ask.baseline.artifact:
            await self.registry.point(ask.target, ask.baseline, release=f"{ask.release}/undone")

    @activity.defn
    async def record(self, ask: RecordAsk) -> int:
        """Append events in order; the number of the last one."""
        async with final_refusals():
            for blob in ask.blobs:
                await self.registry.put(blob.kind, blob.body.encode())
            await self.registry.append(ask.events)
        return ask.events[-1].sequence if ask.events else 0

    @activity.defn
    async def page(self, ask: PageAsk) -> Paged:
        """Deliver one page; its key makes repeats the same incident."""
        try:
            delivery = await self.pager.page(ask.page)
        except Exception:
            metering.paged(ask.page.severity, "failed")
            raise
        metering.paged(ask.page.severity, "delivered")
        return Paged(delivery=delivery)

    async def _store(self, kind: str, fact: Fact) -> str:
        return await self.registry.put(kind, canonical(fact.model_dump(mode="json")))


@asynccontextmanager
async def final_refusals() -> AsyncGenerator[None]:
    """An understood refusal is an answer: asking again would not change it."""
    try:
        yield
    except Refused as refused:
        raise ApplicationError(refused.why, type=refused.code, non_retryable=True) from refused
    except (AlreadyRecorded, ChainBroken, NotFound) as wrong:
        raise ApplicationError(str(wrong), type=type(wrong).__name__, non_retryable=True) from wrong
