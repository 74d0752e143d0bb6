"""The typed Python client: start a release, steer it, ask where it is."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import (
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StagePlan, StepPlan
from rampway.release.controls import Command, Handled, OverrideCommand, Verb
from rampway.release.orders import Outcome, Progress, ReleaseOrder
from workers.settings import TASK_QUEUE
from workflows.release import ReleaseWorkflow
from workflows.story import first_attributes

QUERY_TIMEOUT = timedelta(seconds=5)
POLL_SECONDS = 0.2
T = TypeVar("T")


class Unanswered(Exception):
    """No worker answers; a signal sent is kept and takes effect when one is back."""


class Unknown(Exception):
    """Temporal knows no such release."""


class Releases:
    """Releases on one Temporal namespace."""

    def __init__(self, temporal: Client, task_queue: str = TASK_QUEUE) -> None:
        self._temporal = temporal
        self._task_queue = task_queue

    async def start(self, order: ReleaseOrder) -> bool:
        """Start a release; starting it again is the same release. Whether it is new."""
        header = order.header
        demo = "DEMO " if header.target.kind == "demo" else ""
        old, new = (
            s.artifact.removeprefix("sha256:")[:12] for s in (header.baseline, header.candidate)
        )
        try:
            await self._temporal.start_workflow(
                ReleaseWorkflow.run,
                order,
                id=header.workflow_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                search_attributes=TypedSearchAttributes(first_attributes(order)),
                static_summary=f"{demo}{header.name}: {old} to {new}",
                static_details=_details(order),
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def progress(self, workflow_id: str) -> Progress:
        """Where a release is. Raises Unanswered or Unknown."""
        return await _asked(
            self._handle(workflow_id).query(ReleaseWorkflow.progress, rpc_timeout=QUERY_TIMEOUT)
        )

    async def outcome(self, workflow_id: str) -> Outcome:
        """Wait for the end of a release."""
        return await self._handle(workflow_id).result()

    async def is_open(self, workflow_id: str) -> bool:
        """Whether the workflow is still running."""
        described = await _asked(self._handle(workflow_id).describe(rpc_timeout=QUERY_TIMEOUT))
        return described.status is WorkflowExecutionStatus.RUNNING

    async def send(self, workflow_id: str, verb: Verb, command: Command) -> Command:
        """Send a command as a durable signal; the command with the id it was sent under."""
        command = command.model_copy(update={"id": command.id or uuid.uuid4().hex})
        handle = self._handle(workflow_id)
        if isinstance(command, OverrideCommand):
            await _asked(handle.signal(ReleaseWorkflow.override, command))
        else:
            await _asked(handle.signal(verb.value, command))
        return command

    async def handled(self, workflow_id: str, command_id: str, *, seconds: float) -> Handled | None:
        """What became of a command, None if that is not known in time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with contextlib.suppress(Unanswered):  # a worker may be on its way back
                        progress = await self.progress(workflow_id)
                        for handled in progress.handled:
                            if handled.id == command_id:
                                return handled
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            return None

    def _handle(self, workflow_id: str) -> WorkflowHandle[ReleaseWorkflow, Outcome]:
        return self._temporal.get_workflow_handle_for(ReleaseWorkflow.run, workflow_id)


def _details(order: ReleaseOrder) -> str:
    """Who, what and the plan as a table: the page that the Temporal UI shows for ever."""
    header, plan = order.header, order.plan
    demo = "DEMO target. " if header.target.kind == "demo" else ""
    rows = [
        f"| {stage.name} | {stage.hold_seconds:g} s | {_must(stage)} |" for stage in plan.watched
    ]
    people = f"Owner **{header.owner}**, team {header.team}, started by {header.actor}."
    lines = [
        f"{demo}{people} Error budget {plan.error_budget:.2%}.",
        "",
        "| stage | hold | must | exposure |",
        "|---|---|---|---|",
        *rows,
        "",
        f"`rampway status {header.name}`",
    ]
    return "\n".join(lines)


def _must(stage: StagePlan) -> str:
    """What a stage has to show, and on how much exposure."""
    match stage:
        case StepPlan():
            return f"{stage.must} | {stage.units:,} {stage.units_arm}"
        case ShadowPlan():
            return f"PASS | {stage.pairs:,} pairs, or the hold"
        case AbPlan():
            return f"no BREACH | {stage.units:,} per arm"
        case SettlePlan():
            return "no BREACH | "


async def _asked(call: Awaitable[T]) -> T:
    """Tell a release that Temporal does not know from one that nobody answers for."""
    try:
        return await call
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Unknown(str(error)) from error
        raise Unanswered(str(error)) from error
    except WorkflowQueryFailedError as failed:
        raise Unanswered(str(failed)) from failed
