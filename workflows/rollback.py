"""The way back: undo all that the release did, then record it; nothing here gives up."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows import calls
from workflows.stage import Stage
from workflows.stops import Stopped
from workflows.waits import within

with workflow.unsafe.imports_passed_through():
    from activities.asks import DecideAsk, PageAsk, RepointAsk, UndoAsk, Undone
    from rampway.gates.verdicts import Verdict
    from rampway.release.decisions import CAUSE_OF
    from rampway.release.events import EventKind
    from rampway.release.paging import stop_page
    from rampway.release.phases import Trigger
    from rampway.release.records import Severity
    from rampway.release.splits import PinCause, PinnedBy

UNDO_PATIENCE = timedelta(seconds=5)  # how long the record waits to learn who pinned
STRANDED_AFTER = timedelta(minutes=10)


class Rollback:
    """Undoes one release. Act first, then record; the reason is the pin's own where it is a breach."""

    def __init__(self, stage: Stage, *, claim_asked: bool, promote_asked: bool) -> None:
        self.stage = stage
        self.story = stage.story
        self.order = stage.order
        self.header = stage.order.header
        self.claim_asked = claim_asked
        self.promote_asked = promote_asked

    async def carry_out(self, stop: Stopped) -> None:
        """Bring the release to ROLLED_BACK, or to REJECTED if nobody was exposed."""
        self.stage.stop_watching()
        if self.story.phase.exposed:
            await self._roll_back(stop)
        else:
            await self._reject(stop)

    async def _reject(self, stop: Stopped) -> None:
        if self.claim_asked:
            await calls.undo(self._undo_ask(stop))
        self.story.tell(EventKind.REJECTED, stop.why, trigger=stop.trigger, actor=stop.actor)
        self.story.show(f"REJECTED: {stop.why}")

    async def _roll_back(self, stop: Stopped) -> None:
        undoing = asyncio.ensure_future(calls.undo(self._undo_ask(stop)))
        await within(undoing, UNDO_PATIENCE, summary="undo: usually confirmed at once")
        stop = await self._with_evidence(stop, undoing)
        self._tell_pinned(stop)
        paging = asyncio.create_task(self._page(stop, Severity.ERROR))
        self.story.tell(
            EventKind.ROLLING_BACK, stop.why, trigger=Trigger.UNDO_BEGAN, actor=stop.actor
        )
        if not await within(undoing, STRANDED_AFTER, summary="undo must be confirmed by then"):
            await self._tell_stranded(stop)
        undone = await undoing
        if self.promote_asked:
            await calls.repoint(
                RepointAsk(
                    target=self.header.target.name,
                    release=self.header.release,
                    baseline=self.header.baseline,
                )
            )
        self.story.tell(
            EventKind.ROLLED_BACK,
            stop.why,
            trigger=Trigger.UNDONE,
            actor=stop.actor,
            data={"confirmed": undone.confirmed, "undo_seconds": undone.seconds},
        )
        self.story.show(f"ROLLED_BACK: {stop.why}", self.story.verdict)
        await paging

    async def _with_evidence(self, stop: Stopped, undoing: "asyncio.Future[Undone]") -> Stopped:
        """The pin knows why it was made, even if nobody lived to report it; a breach is sticky."""
        pinned_by = undoing.result().pinned_by if undoing.done() else None
        if stop.trigger is not Trigger.BREACH:
            if pinned_by is None or pinned_by.cause is not PinCause.BREACH:
                return stop
            stop = Stopped(Trigger.BREACH, pinned_by.why, plan=self.stage.plan)
        plan, token = self.stage.plan, self.stage.token
        if stop.judged is not None or plan is None or token is None:
            return stop
        try:
            decided = await calls.autopsy(DecideAsk(token=token, plan=plan))
        except ActivityError:
            workflow.logger.warning("rollback.evidence_not_to_be_had")
            return stop
        if decided.verdict is not Verdict.BREACH:
            return stop
        judged = decided.judged
        return Stopped(Trigger.BREACH, judged.verdict.why, plan=plan, judged=judged)

    def _tell_pinned(self, stop: Stopped) -> None:
        verdict = stop.judged.verdict if stop.judged else None
        gate = verdict.decisive if verdict else None
        self.story.verdict = verdict or self.story.verdict
        self.story.tell(
            EventKind.PINNED,
            stop.why,
            trigger=stop.trigger,
            share_bp=0,
            actor=stop.actor,
            step=self.story.step,
            plan=stop.plan,
            judged=stop.judged,
            data={
                "cause": stop.trigger.value,
                "gate": gate.gate if gate else None,
                "detected_seconds": gate.crossed_at_seconds if gate else None,
                "to_zero_seconds": stop.to_zero_seconds,
            },
        )
        self.story.show(
            f"PINNED: {stop.why}, at 0 %", self.story.verdict, self.stage.next_commands()
        )

    async def _tell_stranded(self, stop: Stopped) -> None:
        self.story.tell(
            EventKind.STRANDED,
            "the undo is not confirmed; it is tried for ever",
            trigger=Trigger.UNDO_STUCK,
        )
        self.story.show(
            f"STRANDED: act now, {self.header.target.name} may still serve the candidate",
            self.story.verdict,
        )
        await self._page(stop, Severity.CRITICAL)

    async def _page(self, stop: Stopped, severity: Severity) -> None:
        page = stop_page(
            self.order,
            severity=severity,
            trigger=stop.trigger,
            why=stop.why,
            step=self.story.step or "-",
            verdict=stop.judged.verdict if stop.judged else None,
        )
        paged = await calls.page(PageAsk(page=page), severity.value)
        self.story.tell(
            EventKind.PAGED, page.summary, data={"key": page.key, "delivery": paged.delivery}
        )

    def _undo_ask(self, stop: Stopped) -> UndoAsk:
        release = self.header.release
        token = self.stage.token
        return UndoAsk(
            target=self.header.target.name,
            release=release,
            token=self.stage.token_at(self.story.ledger.next_sequence) if token else None,
            by=PinnedBy(
                cause=CAUSE_OF.get(stop.trigger, PinCause.ABORT),
                op_id=f"{release}/undo/pin",
                why=stop.why[:500],
            ),
            op_id=f"{release}/undo/end",
        )
