"""A place of its own for each test of the command line: home, environment and working directory."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cli_builders import Cli
from temporalio.testing import WorkflowEnvironment

from support.virtual_releases import virtual_temporal

OURS = ("RAMPWAY_", "TEMPORAL_", "GITHUB_", "GITLAB_", "NO_COLOR", "TZ")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """The command in an empty home; the environment it changes is put back."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(OURS):
            del os.environ[name]
    os.environ["RAMPWAY_HOME"] = str(tmp_path / "home")
    os.environ["RAMPWAY_ACTOR"] = "sre-oncall"
    # Nothing listens there, so that no test talks to a stack that happens to run on this machine.
    os.environ["RAMPWAY_GATEWAY_URL"] = "http://127.0.0.1:9"
    os.environ["RAMPWAY_JUDGE_URL"] = "http://127.0.0.1:9"
    os.environ["TEMPORAL_ADDRESS"] = "127.0.0.1:9"
    monkeypatch.setattr("workers.connection.PAUSE_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)
    try:
        yield Cli(tmp_path)
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """One Temporal server with virtual time for all tests of a process."""
    async with virtual_temporal() as started:
        yield started
