"""One release, durably: offline gate, claim, shadow, canary step by step, promotion, or back."""

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows import calls
from workflows.rollback import Rollback
from workflows.stage import Stage
from workflows.stops import WORKFLOW_ACTOR, LeaseLost, Stopped, as_stopped
from workflows.story import Story
from workflows.waits import finish, within, words

with workflow.unsafe.imports_passed_through():
    from activities.asks import (
        ClaimAsk,
        ConcludeAsk,
        DecideAsk,
        Decided,
        MeasureAsk,
        OfflineAsk,
        PromoteAsk,
        SplitAsk,
    )
    from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StagePlan, StepPlan
    from rampway.gates.verdicts import Verdict
    from rampway.release.controls import Command, Controls, OverrideCommand, Verb
    from rampway.release.events import EventKind
    from rampway.release.orders import Outcome, Progress, ReleaseOrder
    from rampway.release.phases import Phase, Trigger
    from rampway.release.splits import Token

QUEUE_POLL = timedelta(seconds=10)
OFF_PATIENCE = timedelta(seconds=30)  # then a shadow that is switched off is rolled back instead
REARMS = 3  # lost leases in shadow, where nobody is exposed, that are armed again


@workflow.defn
class ReleaseWorkflow:
    """A release from proposal to its end. Handlers note what people ask; `run` acts."""

    @workflow.init
    def __init__(self, order: ReleaseOrder) -> None:
        self.order = order
        self.plan = order.plan
        self.controls = Controls()
        self.story = Story(order)
        self.stage = Stage(order, self.controls, self.story)
        self.passed: list[str] = []
        self.claim_asked = False
        self.promote_asked = False

    @workflow.run
    async def run(self, order: ReleaseOrder) -> Outcome:
        """Carry the release to one of its ends; a rolled-back release is a completed run."""
        recording = asyncio.create_task(self.story.keep_recording())
        try:
            await self._pass_offline_gate(order)
            await self._claim_target()
            await self._pass_shadow()
            for step in self.plan.climb:
                await self._pass_canary(step)
            await self._pass_ab()
            if self.plan.full is None:
                await self._conclude()
            else:
                await self._pass_canary(self.plan.full)
                await self._promote()
                await self._settle()
        except (Stopped, ActivityError, asyncio.CancelledError) as stop:
            await finish(self._end(as_stopped(stop, self.story.phase)))
        await finish(self._close())
        recording.cancel()
        self._count_end(order)
        return self._outcome()

    @workflow.signal(description="Stop the climb; the watch goes on. {actor, reason}")
    def pause(self, command: Command | str | None = None) -> None:
        """Note a pause."""
        self.controls.note(Verb.PAUSE, _as_command(command))

    @workflow.signal(description="Let the climb go on. {actor, reason}")
    def resume(self, command: Command | str | None = None) -> None:
        """Note a resume."""
        self.controls.note(Verb.RESUME, _as_command(command))

    @workflow.signal(description="Send all traffic to the baseline, for good. {actor, reason}")
    def abort(self, command: Command | str | None = None) -> None:
        """Note an abort; it has precedence over every other command."""
        self.controls.note(Verb.ABORT, _as_command(command))

    @workflow.signal(description="Let one verdict through. {actor, gate, reason, ticket}")
    def override(self, command: OverrideCommand) -> None:
        """Note an override; it passes one INCONCLUSIVE or NO_DATA verdict, never a BREACH."""
        self.controls.note(Verb.OVERRIDE, command)

    @workflow.query(description="Where the release is, its gates, and what became of commands")
    def progress(self) -> Progress:
        """Where the release is now."""
        judged = self.stage.watched.judged if self.stage.watched else None
        paused = self.controls.paused_by
        return Progress(
            name=self.story.name,
            phase=self.story.phase,
            share_bp=self.story.share_bp,
            step=self.story.step,
            line=self.story.line,
            verdict=self.story.verdict,
            evidence=judged.digests.evidence if judged else None,
            paused_by=paused.actor if paused else None,
            passed=tuple(self.passed),
            stage_began_at=self.stage.began_at,
            hold_ends_at=self.stage.hold_ends_at,
            deadline_at=self.stage.deadline_at,
            handled=tuple(self.controls.handled),
            events=len(self.story.ledger.events),
            recorded=self.story.recorded_events,
            overrides=self.story.overrides_used,
            owner=self.order.header.owner,
        )

    async def _pass_offline_gate(self, order: ReleaseOrder) -> None:
        header, plan = order.header, order.plan.offline
        self.story.tell(
            EventKind.STARTED,
            f"started by {header.actor}",
            trigger=Trigger.STARTED,
            actor=header.actor,
            data={
                "workflow_id": header.workflow_id,
                "attempt": header.attempt,
                "header": header.digest,
            },
        )
        self.story.show("OFFLINE_GATE: weighing the paired evals", None, self.stage.next_commands())
        ask = OfflineAsk(
            target=header.target.name,
            plan=plan,
            evidence=header.offline_evidence,
            candidate=header.candidate.artifact,
            exposes=order.plan.exposes,
        )
        judged = await self.stage.beside(calls.weigh_offline(ask))
        verdict = judged.verdict.verdict
        self.story.tell(
            EventKind.JUDGED,
            f"{verdict}: {judged.verdict.why}",
            trigger=Trigger.OFFLINE_PASSED if verdict is Verdict.PASS else None,
            step=plan.name,
            digests=judged.digests,
            data={"verdict": verdict.value},
        )
        if verdict is not Verdict.PASS:
            raise Stopped(Trigger.GATE_FAILED, f"offline gate {verdict}: {judged.verdict.why}")
        self.passed.append(plan.name)

    async def _claim_target(self) -> None:
        """Take the target; while another release holds it, wait in the queue."""
        header = self.order.header
        ask = ClaimAsk(
            target=header.target.name,
            release=header.release,
            baseline=header.baseline,
            candidate=header.candidate,
            lease_seconds=self.plan.lease_seconds,
        )
        give_up = workflow.now() + timedelta(seconds=self.plan.queue_limit_seconds)
        attempt = 0
        while True:
            attempt += 1
            self.claim_asked = True
            claimed = await self.stage.beside(calls.claim(ask, attempt))
            if claimed.token is not None:
                break
            self.story.show(f"QUEUED: {claimed.busy}", None, self.stage.next_commands())
            if workflow.now() >= give_up:
                raise Stopped(Trigger.BUSY, f"{claimed.busy}")
            await self.stage.sleep(QUEUE_POLL, f"queued: {claimed.busy}")
        self.stage.token = claimed.token
        self.story.tell(
            EventKind.CLAIMED,
            f"holds {header.target.name}",
            data={"epoch": claimed.token.epoch},
        )

    async def _pass_shadow(self) -> None:
        """Copy live requests to the candidate; nobody is exposed, so a lost lease is armed again."""
        if self.plan.shadow is None:
            return
        for lost in range(REARMS + 1):
            try:
                await self._begin_shadow(self.plan.shadow, lost)
                await self._hold(self.plan.shadow)
            except LeaseLost:
                self.stage.stop_watching()
                if lost == REARMS:
                    raise
            else:
                return

    async def _begin_shadow(self, shadow: ShadowPlan, lost: int) -> None:
        plan = await self._measured(shadow)
        event = self.story.tell(
            EventKind.SHADOWED,
            "the lease was lost: armed again, evidence starts anew" if lost else "offline PASS",
            trigger=None if lost else Trigger.SHADOW_BEGAN,
            step=plan.name,
            plan=plan,
            data={"rate_bp": shadow.rate_bp},
        )
        await self.stage.beside(self.story.recorded())
        token = self.stage.token_at(event.sequence)
        ask = SplitAsk(
            token=token,
            shadow_bp=shadow.rate_bp,
            lease_seconds=self.plan.lease_seconds,
            op_id=self._op(plan.name, f"on-{event.sequence}"),
        )
        await self.stage.beside(calls.split(ask, f"shadow on: copy {shadow.rate_bp / 100:g} %"))
        self.stage.begin(plan, token)

    async def _pass_canary(self, step: StepPlan) -> None:
        await self._raise_to(step)
        await self._hold(self.stage.plan or step)

    async def _pass_ab(self) -> None:
        """Keep a fixed split for a fixed time, under the same watch."""
        if self.plan.ab is not None:
            await self._raise_to(self.plan.ab)
            await self._hold(self.stage.plan or self.plan.ab)

    async def _raise_to(self, step: StepPlan | AbPlan) -> None:
        """Record the raise, then act; the stage before is watched until the new share applies."""
        plan = await self._measured(step)
        event = self.story.tell(
            EventKind.RAISED,
            f"{self.passed[-1]} passed",
            trigger=self._raise_trigger(step),
            share_bp=step.share_bp,
            step=step.name,
            plan=plan,
        )
        await self.stage.beside(self.story.recorded())
        token = self.stage.token_at(event.sequence)
        ask = SplitAsk(
            token=token,
            share_bp=step.share_bp,
            lease_seconds=self.plan.lease_seconds,
            op_id=self._op(step.name, "share"),
        )
        await self.stage.beside(calls.split(ask, f"set share {step.name}"))
        self.stage.begin(plan, token)

    def _raise_trigger(self, step: StepPlan | AbPlan) -> Trigger | None:
        if step is self.plan.full:
            return Trigger.FULL_BEGAN
        if step is self.plan.ab:
            return Trigger.AB_BEGAN
        return None if self.story.phase is Phase.CANARY else Trigger.CANARY_BEGAN

    async def _measured(self, plan: StagePlan) -> StagePlan:
        """The stage's plan with its rates and thresholds frozen from what the baseline did."""
        ask = MeasureAsk(
            target=self.order.header.target.name,
            plan=plan,
            baseline_units=self.plan.baseline_units,
        )
        measured = await self.stage.beside(calls.measure(ask, self.story.ledger.next_sequence))
        return measured.plan

    async def _hold(self, plan: StagePlan) -> None:
        """Hold until the stage passes or is overridden; brakes wait here, the deadline ends it."""
        began = workflow.now()
        lag_seconds = self.plan.lag_seconds(plan)
        hold = timedelta(seconds=plan.hold_seconds + lag_seconds)
        limit = timedelta(seconds=max(plan.deadline_seconds, plan.hold_seconds) + lag_seconds)
        self._set_times(began, began + hold, began + limit)
        await self.stage.sleep(
            hold, f"hold {plan.name}: at least {words(hold)}, watch on", early=True
        )
        asked = 0
        while True:
            asked += 1
            limit += await self._wait_while_paused()
            decided = await self._decide(plan, asked, began + limit)
            if self._lets_through(plan, decided):
                self.passed.append(plan.name)
                return
            left = began + limit - workflow.now()
            if left <= timedelta(0):
                why = f"{plan.name} did not pass by its deadline: {decided.judged.verdict.why}"
                raise Stopped(Trigger.DEADLINE, why, plan=plan, judged=decided.judged)
            longer = min(timedelta(seconds=decided.extend_seconds), left)
            await self._extend(plan, decided, longer)

    def _set_times(self, began: datetime, hold_ends: datetime, deadline: datetime) -> None:
        self.stage.began_at = began
        self.stage.hold_ends_at = hold_ends
        self.stage.deadline_at = deadline
        self.story.deadline(deadline)
        self.stage.show()

    async def _wait_while_paused(self) -> timedelta:
        """Wait for a resume beside the watch, up to the brake limit; how long it was."""
        began = workflow.now()
        paused = self.controls.paused_by
        if paused is not None:
            limit = timedelta(seconds=self.plan.brake_limit_seconds)
            resumed = asyncio.create_task(
                workflow.wait_condition(lambda: self.controls.paused_by is None)
            )
            summary = f"paused by {paused.actor}, at most {words(limit)}; watch on"
            try:
                if not await self.stage.beside(within(resumed, limit, summary=summary)):
                    raise Stopped(Trigger.DEADLINE, f"paused for {words(limit)}, the limit")
            finally:
                resumed.cancel()
            self.stage.show()
        return workflow.now() - began

    async def _decide(self, plan: StagePlan, asked: int, by: datetime) -> Decided:
        """Weigh the hold beside the watch; a registry that stays dead is a missed deadline."""
        ask = DecideAsk(token=self._stage_token(), plan=plan)
        deciding = asyncio.ensure_future(calls.decide(ask, asked))
        patience = max(by - workflow.now(), timedelta(seconds=self.plan.lease_seconds))
        in_time = within(deciding, patience, summary=f"decide {plan.name}, at the latest")
        if not await self.stage.beside(in_time):
            deciding.cancel()
            why = f"{plan.name} could not be decided by its deadline"
            raise Stopped(Trigger.DEADLINE, why, plan=plan)
        decided = deciding.result()
        self.story.verdict = decided.judged.verdict
        self.story.tell(
            EventKind.DECIDED,
            f"{decided.verdict}: {decided.judged.verdict.why}",
            step=plan.name,
            plan=plan,
            judged=decided.judged,
            data={"verdict": decided.verdict.value},
        )
        if decided.verdict is Verdict.BREACH:
            why = decided.judged.verdict.why
            raise Stopped(Trigger.BREACH, why, plan=plan, judged=decided.judged)
        return decided

    def _lets_through(self, plan: StagePlan, decided: Decided) -> bool:
        """A PASS, or overrides that cover every gate that is still open."""
        if decided.verdict is Verdict.PASS:
            return True
        used = self.controls.use_overrides(decided.open_gates, decided.verdict, workflow.now())
        for override in used:
            self.story.overrides_used += 1
            self.story.tell(
                EventKind.OVERRIDE_USED,
                f"{override.command.reason} ({override.command.ticket})",
                actor=override.command.actor,
                step=plan.name,
                data={"gate": override.command.gate, "verdict": decided.verdict.value},
            )
        return bool(used)

    async def _extend(self, plan: StagePlan, decided: Decided, longer: timedelta) -> None:
        why = decided.judged.verdict.why
        self.stage.hold_ends_at = workflow.now() + longer
        self.story.tell(
            EventKind.EXTENDED,
            why,
            step=plan.name,
            data={"seconds": longer.total_seconds(), "why": why},
        )
        self.stage.show()
        await self.stage.sleep(
            longer, f"hold {plan.name} extended by {words(longer)}: {why}", early=True
        )

    async def _conclude(self) -> None:
        """The planned end of a release that only reports: all traffic is the baseline's again."""
        await self.stage.beside(calls.conclude(self._conclude_ask()))
        self._tell_concluded(f"{self.passed[-1]} passed; the release only reports")

    def _conclude_ask(self) -> ConcludeAsk:
        token = self.stage.token_at(self.story.ledger.next_sequence)
        return ConcludeAsk(token=token, op_id=self._op("report", "conclude"))

    def _tell_concluded(self, why: str, actor: str = WORKFLOW_ACTOR) -> None:
        self.stage.stop_watching()
        self.story.tell(EventKind.CONCLUDED, why, trigger=Trigger.REPORTED, share_bp=0, actor=actor)
        self.story.show("CONCLUDED: all traffic is on the baseline", self.story.verdict)

    async def _promote(self) -> None:
        """The commit point: the candidate becomes the baseline, and is watched while it settles."""
        header = self.order.header
        settle = await self._measured(self.plan.settle) if self.plan.settle else None
        event = self.story.tell(
            EventKind.PROMOTING, f"{self.passed[-1]} passed", step=self.story.step
        )
        await self.stage.beside(self.story.recorded())
        token = self.stage.token_at(event.sequence)
        ask = PromoteAsk(
            token=token,
            release=header.release,
            candidate=header.candidate,
            op_id=self._op("full", "promote"),
        )
        self.promote_asked = True
        await self.stage.beside(calls.promote(ask))
        self.stage.stop_watching()
        self.story.tell(
            EventKind.PROMOTED, "every stage passed", trigger=Trigger.PROMOTED, share_bp=10_000
        )
        if settle is not None:
            self.stage.begin(settle, token)

    async def _settle(self) -> None:
        """Watch a while longer with the previous artifact warm; only gross harm is undone."""
        plan, judged = self.stage.plan, None
        if isinstance(plan, SettlePlan):
            began = workflow.now()
            hold = timedelta(seconds=plan.hold_seconds + self.plan.lag_seconds(plan))
            self._set_times(began, began + hold, began + hold)
            await self.stage.sleep(hold, f"settling {words(hold)}: the old artifact is warm")
            decided = await self._decide(plan, 1, began + hold)
            judged = decided.judged
        self.stage.stop_watching()
        self.story.tell(
            EventKind.SETTLED,
            judged.verdict.why if judged else "not watched after promotion",
            trigger=Trigger.SETTLED,
        )
        self.story.show("FULL, promoted", self.story.verdict)

    async def _end(self, stop: Stopped) -> None:
        """End a release that was stopped. Who switches his own shadow off has no incident."""
        shadowing = self.story.phase is Phase.SHADOW and not self.plan.exposes
        if not (shadowing and stop.trigger is Trigger.ABORT and await self._switched_off(stop)):
            await self._roll_back(stop)

    async def _switched_off(self, stop: Stopped) -> bool:
        """Stop copying; False where that cannot be confirmed, so that the way back has to see to it."""
        concluding = asyncio.ensure_future(calls.conclude(self._conclude_ask()))
        try:
            if not await within(concluding, OFF_PATIENCE, summary="shadow off: usually at once"):
                concluding.cancel()
                return False
            concluding.result()
        except ActivityError:
            workflow.logger.warning("shadow.not_switched_off")
            return False
        self._tell_concluded(f"switched off before its end: {stop.why}", stop.actor)
        return True

    async def _roll_back(self, stop: Stopped) -> None:
        way_back = Rollback(
            self.stage, claim_asked=self.claim_asked, promote_asked=self.promote_asked
        )
        await way_back.carry_out(stop)

    async def _close(self) -> None:
        """Answer the commands that came too late, and see everything recorded."""
        self.stage.obey()
        await self.stage.paged()
        await self.story.recorded()

    def _count_end(self, order: ReleaseOrder) -> None:
        """For Prometheus, and silent while a history is replayed; the record is the registry's."""
        workflow.metric_meter().create_counter(
            "rampway_releases_ended", "Releases that ended, by outcome."
        ).add(1, {"target": order.header.target.name, "outcome": self.story.phase.value.lower()})

    def _outcome(self) -> Outcome:
        ending = next(e for e in reversed(self.story.ledger.events) if e.trigger is not None)
        return Outcome(
            name=self.story.name,
            phase=self.story.phase,
            reason=ending.reason,
            overrides=self.story.overrides_used,
        )

    def _stage_token(self) -> Token:
        assert self.stage.token is not None  # noqa: S101 - a stage has a token
        return self.stage.token

    def _op(self, step: str, purpose: str) -> str:
        """The same for every attempt, so that a repeated write is one write."""
        return f"{self.order.header.release}/{step}/{purpose}"


def _as_command(command: Command | str | None) -> Command:
    """The Temporal UI may send a bare reason, or nothing at all; an abort must never be lost."""
    if isinstance(command, Command):
        return command
    return Command(actor="temporal-ui", reason=command or "")
