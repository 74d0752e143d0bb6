"""The stage that runs now: its harm watch, and every wait of the release beside that watch."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow

from workflows import calls
from workflows.stops import LeaseLost, Stopped
from workflows.story import Story

with workflow.unsafe.imports_passed_through():
    from activities.asks import PageAsk, WatchAsk, Watched, WatchEnd
    from rampway.gates.plans import AbPlan, SettlePlan, StagePlan
    from rampway.gates.verdicts import StageVerdict, Verdict
    from rampway.release.controls import (
        Command,
        Controls,
        OverrideCommand,
        Refusal,
        Situation,
        Verb,
        refuse,
    )
    from rampway.release.decisions import mismatch, next_commands
    from rampway.release.events import EventKind
    from rampway.release.orders import ReleaseOrder
    from rampway.release.paging import mismatch_page
    from rampway.release.phases import Trigger
    from rampway.release.records import Page
    from rampway.release.splits import Token
    from rampway.reports.words import where

T = TypeVar("T")

CHUNK_MIN = timedelta(seconds=10)
CHUNK_MAX = timedelta(minutes=3)
CHUNK_BRAKED = timedelta(minutes=10)
CHUNKS_AB = 72  # of a fixed time of days: half the events that a history may have

STOPS = {
    WatchEnd.BREACH: Trigger.BREACH,
    WatchEnd.BLIND: Trigger.CONTROL_LOST,
    WatchEnd.CONTROL_LOST: Trigger.CONTROL_LOST,
    WatchEnd.LEASE_LOST: Trigger.CONTROL_LOST,
}
TOLD = {
    Verb.PAUSE: EventKind.PAUSED,
    Verb.RESUME: EventKind.RESUMED,
    Verb.OVERRIDE: EventKind.OVERRIDE_GRANTED,
}


class Stage:
    """What runs now, under which token, watched by a chain of activities.

    Everything that the release waits for goes through `beside`: an abort, a breach or a lost lease
    ends the wait at once, and what people asked is acted on meanwhile.
    """

    def __init__(self, order: ReleaseOrder, controls: Controls, story: Story) -> None:
        self.order = order
        self.controls = controls
        self.story = story
        self.plan: StagePlan | None = None
        self.token: Token | None = None
        self.watched: Watched | None = None
        self.began_at: datetime | None = None
        self.hold_ends_at: datetime | None = None
        self.deadline_at: datetime | None = None
        self._watching: asyncio.Task[None] | None = None
        self._paging: asyncio.Task[None] | None = None  # kept, or it would be collected
        self._mismatched: str | None = None  # the stage whose mismatch was paged

    def begin(self, plan: StagePlan, token: Token) -> None:
        """Watch the stage that now applies; the watch of the stage before ends only here."""
        self.stop_watching()
        self.plan = plan
        self.token = token
        self.watched = None
        self.hold_ends_at = None
        self.story.step = plan.name
        self.story.verdict = None
        self._watching = asyncio.create_task(self._watch_over(plan, token))

    def stop_watching(self) -> None:
        """End the chain; a watch that still runs is fenced, or pins."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def paged(self) -> None:
        """Come back when a page that was begun is delivered."""
        if self._paging is not None:
            await self._paging

    def token_at(self, sequence: int) -> Token:
        """The claim's token for a write ordered by the event with this number."""
        assert self.token is not None  # noqa: S101 - every caller runs after the claim
        return self.token.model_copy(update={"sequence": sequence})

    async def beside(self, work: Awaitable[T]) -> T:
        """Await anything beside the watch. Raises Stopped as soon as the release has to stop."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                await workflow.wait_condition(lambda: task.done() or self._stirred())
                self.obey()
                self._check_abort()
                self._check_watch()
                self._check_record()
                if task.done():
                    return task.result()
        finally:
            task.cancel()

    async def sleep(self, length: timedelta, summary: str, *, early: bool = False) -> None:
        """A durable timer beside the watch; `early` ends it when the stage can already pass."""
        timer = asyncio.create_task(workflow.sleep(length, summary=summary[:200]))
        over: Callable[[], bool] = (
            (lambda: timer.done() or self._passable()) if early else timer.done
        )
        try:
            await self.beside(workflow.wait_condition(over))
        finally:
            timer.cancel()

    def obey(self) -> None:
        """Judge what people asked since, write one event each, and apply what is accepted."""
        for request in self.controls.take():
            refusal = refuse(request.verb, request.command, self._situation())
            self.controls.settle(request, refusal, workflow.now())
            self._tell(request.verb, request.command, refusal)
            if self.story.phase.exposed:
                self.show()

    def show(self) -> None:
        """Show where the stage stands, and the commands that make sense now."""
        paused = self.controls.paused_by
        if paused is not None:
            line = f'PAUSED by {paused.actor}: "{paused.reason}"; watch on'
        else:
            until = f", hold until {self.hold_ends_at:%H:%M:%S}Z" if self.hold_ends_at else ""
            verdict = self.story.verdict
            breached = verdict is not None and verdict.verdict is Verdict.BREACH
            said = "BREACH" if breached else "no BREACH"
            line = f"{where(self.story.step, self.story.phase)}{until}, {said}"
        self.story.show(line, self.story.verdict, self.next_commands())

    def next_commands(self) -> tuple[str, ...]:
        """What a person could type next."""
        paused = self.controls.paused_by is not None
        return next_commands(self.story.phase, self.story.name, paused=paused)

    async def _watch_over(self, plan: StagePlan, token: Token) -> None:
        """A chain of watches, as long as the stage lasts; it raises what ends the stage."""
        number = 0
        while True:
            number += 1
            began = workflow.now()
            watched = await calls.watch(self._ask(plan, token), number)
            self.watched = watched
            if watched.judged is not None:
                self.story.verdict = watched.judged.verdict
                self.show()
                self._page_mismatch(plan, watched.judged.verdict)
            if watched.end in STOPS:
                raise _stop(plan, watched)
            if watched.end is WatchEnd.STOOD_DOWN:
                return
            ahead = began + timedelta(seconds=watched.seconds) - workflow.now()
            if ahead > timedelta(0):  # only in virtual time: the watch's clock ran ahead
                await workflow.sleep(ahead, summary="virtual time")

    def _page_mismatch(self, plan: StagePlan, verdict: StageVerdict) -> None:
        """Page once a stage when the split does not send what it promises; the stage holds."""
        gate = mismatch(plan, verdict)
        if gate is None or self._mismatched == plan.name:
            return
        self._mismatched = plan.name
        page = mismatch_page(self.order, step=plan.name, gate=gate)
        self._paging = asyncio.create_task(self._tell_page(page))

    async def _tell_page(self, page: Page) -> None:
        paged = await calls.page(PageAsk(page=page), f"sample ratio, {self.story.step}")
        self.story.tell(
            EventKind.PAGED, page.summary, data={"key": page.key, "delivery": paged.delivery}
        )

    def _ask(self, plan: StagePlan, token: Token) -> WatchAsk:
        hold = timedelta(seconds=plan.hold_seconds)
        # Half of a demo's hold of seconds, so that its gates are shown while it lasts.
        chunk = min(max(hold / 10, CHUNK_MIN), CHUNK_MAX, hold / 2)
        settling = isinstance(plan, SettlePlan)
        if isinstance(plan, AbPlan):
            chunk = max(chunk, hold / CHUNKS_AB)
        if settling or self.controls.paused_by is not None:
            chunk = max(chunk, min(CHUNK_BRAKED, hold))
        return WatchAsk(
            token=token,
            plan=plan,
            seconds=chunk.total_seconds(),
            look_seconds=self.order.plan.look_seconds,
            lag_seconds=self.order.plan.lag_seconds(plan),
            lease_seconds=None if settling else self.order.plan.lease_seconds,
            until_pass=not settling and not self._passable(),
            slices_seen=self.watched.slices_seen if self.watched else -1,
            blind_seconds=self.watched.blind_seconds if self.watched else 0.0,
            op_id=f"{self.order.header.release}/{plan.name}/watch",
        )

    def _check_abort(self) -> None:
        by = self.controls.abort
        if by is not None:
            why = f"aborted by {by.actor}" + (f": {by.reason}" if by.reason else "")
            raise Stopped(Trigger.ABORT, why, actor=by.actor)

    def _check_record(self) -> None:
        why = self.story.record_refused
        if why is not None:
            trigger = Trigger.CONTROL_LOST if self.story.phase.exposed else Trigger.GATE_FAILED
            raise Stopped(trigger, f"the registry refuses this release's events: {why}")

    def _check_watch(self) -> None:
        if self._watching is not None and self._watching.done():
            ended, self._watching = self._watching, None
            ended.result()

    def _stirred(self) -> bool:
        watch_ended = self._watching is not None and self._watching.done()
        return bool(self.controls.noted) or watch_ended or self.story.record_refused is not None

    def _passable(self) -> bool:
        judged = self.watched.judged if self.watched else None
        passes = judged is not None and judged.verdict.verdict is Verdict.PASS
        return passes or (bool(self.controls.overrides) and self._held())

    def _held(self) -> bool:
        if self.began_at is None or self.plan is None:
            return False
        return workflow.now() >= self.began_at + timedelta(seconds=self.plan.hold_seconds)

    def _tell(self, verb: Verb, command: Command, refusal: Refusal | None) -> None:
        kind = EventKind.COMMAND_REFUSED if refusal else TOLD.get(verb)
        if kind is None:
            return  # an accepted abort is told by the event that it causes
        self.story.tell(
            kind,
            refusal.why if refusal else command.reason,
            actor=command.actor,
            step=self.story.step,
            data={
                "id": command.id,
                "verb": verb.value,
                "gate": command.gate if isinstance(command, OverrideCommand) else None,
                "rule": refusal.rule.value if refusal else None,
            },
        )

    def _situation(self) -> Situation:
        verdict = self.story.verdict
        gates = verdict.gates if verdict else ()
        judged = self.watched.judged if self.watched else None
        return Situation(
            name=self.story.name,
            phase=self.story.phase,
            owner=self.order.header.owner,
            paused=self.controls.paused_by is not None,
            gates=tuple(gate.gate for gate in gates),
            breached=tuple(gate.gate for gate in gates if gate.verdict is Verdict.BREACH),
            evidence=judged.digests.evidence if judged else None,
        )


def _stop(plan: StagePlan, watched: Watched) -> Stopped:
    kind = LeaseLost if watched.end is WatchEnd.LEASE_LOST else Stopped
    trigger = STOPS[watched.end]
    return kind(
        trigger,
        watched.why or f"{watched.end} at {plan.name}",
        plan=plan,
        judged=watched.judged if trigger is Trigger.BREACH else None,
        to_zero_seconds=watched.to_zero_seconds,
    )
