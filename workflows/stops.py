"""Why a release does not go on, whatever ended it."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.asks import Judged
    from rampway.gates.plans import StagePlan
    from rampway.release.phases import Phase, Trigger

WORKFLOW_ACTOR = "workflow"


class Stopped(Exception):
    """The release does not go on; why, at which stage, and on what evidence."""

    def __init__(
        self,
        trigger: Trigger,
        why: str,
        *,
        actor: str = WORKFLOW_ACTOR,
        plan: StagePlan | None = None,
        judged: Judged | None = None,
        to_zero_seconds: float | None = None,
    ) -> None:
        super().__init__(why)
        self.trigger = trigger
        self.why = why
        self.actor = actor
        self.plan = plan
        self.judged = judged
        self.to_zero_seconds = to_zero_seconds


class LeaseLost(Stopped):
    """The split decayed to the baseline; in shadow, where nobody was exposed, it is armed again."""


def as_stopped(stop: Stopped | ActivityError | asyncio.CancelledError, phase: Phase) -> Stopped:
    """Read a failed activity or a cancelled workflow as the reason it is."""
    if isinstance(stop, Stopped):
        return stop
    if isinstance(stop, asyncio.CancelledError):
        why = workflow.cancellation_reason() or "the workflow was cancelled"
        return Stopped(Trigger.ABORT, why, actor="temporal")
    why = str(stop.cause or stop)
    return Stopped(Trigger.CONTROL_LOST if phase.exposed else Trigger.GATE_FAILED, why)
