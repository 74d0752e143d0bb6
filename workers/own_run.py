"""Asks Temporal whether the run that an activity belongs to is still open, bounded in time."""

import asyncio
from datetime import timedelta

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from rampway.ports import RunState

RPC_TIMEOUT = timedelta(seconds=2)
# When the connection is refused the client retries past rpc_timeout, so a second bound is needed.
TOTAL_SECONDS = 3


class TemporalRun:
    """The run of the activity that is executing now."""

    async def state(self) -> RunState:
        """Running, closed (also when Temporal no longer knows it), or no answer."""
        info = activity.info()
        handle = activity.client().get_workflow_handle(
            info.workflow_id or "", run_id=info.workflow_run_id
        )
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            gone = error.status is RPCStatusCode.NOT_FOUND
            return RunState.CLOSED if gone else RunState.NO_ANSWER
        except TimeoutError:
            return RunState.NO_ANSWER
        running = described.status is WorkflowExecutionStatus.RUNNING
        return RunState.RUNNING if running else RunState.CLOSED
