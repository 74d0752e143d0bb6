"""A release that is running while we deploy goes on: the workflow replays what earlier ones did."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from workers.wiring import workflow_runner
from workflows.release import ReleaseWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
STORIES = {"promoted", "rolled_back", "aborted", "overridden", "concluded"}


def test_every_kind_of_ending_has_a_recorded_history() -> None:
    assert {path.stem for path in HISTORIES} >= STORIES


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_workflow_replays_a_recorded_history(path: Path) -> None:
    history = WorkflowHistory.from_json(path.stem, json.loads(path.read_text()))
    replayer = Replayer(
        workflows=[ReleaseWorkflow],
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
    )

    result = await replayer.replay_workflow(history)

    assert result.replay_failure is None


async def test_a_history_that_asks_for_another_activity_does_not_replay() -> None:
    path = HISTORIES[0]
    changed = path.read_text().replace('"name":"measure"', '"name":"guess"')
    history = WorkflowHistory.from_json(path.stem, json.loads(changed))
    replayer = Replayer(
        workflows=[ReleaseWorkflow],
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
    )

    with pytest.raises(Exception, match="Nondeterminism"):
        await replayer.replay_workflow(history)
