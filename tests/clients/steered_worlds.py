"""A virtual world whose releases the command line of a test works on."""

import contextlib
from collections.abc import AsyncIterator

import pytest
from cli_builders import Cli
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from clients import opening
from support.virtual_releases import World, virtual_world
from support.virtual_world import Behaviour


@contextlib.asynccontextmanager
async def steered_world(
    temporal: WorkflowEnvironment,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: Behaviour | None = None,
) -> AsyncIterator[World]:
    """One target; registry, Temporal and worker are real."""
    cli.home.mkdir()
    monkeypatch.setenv("RAMPWAY_REGISTRY_URL", cli.registry_url)
    async with virtual_world(temporal, cli.home, behaviour) as made:

        async def connected() -> Client:
            return temporal.client

        @contextlib.asynccontextmanager
        async def data_plane() -> AsyncIterator[opening.DataPlane]:
            yield opening.DataPlane(made.traffic, made.evidence)

        monkeypatch.setattr("clients.opening.connect_temporal", connected)
        monkeypatch.setattr("clients.commands.steer.open_data_plane", data_plane)
        monkeypatch.setenv("RAMPWAY_TASK_QUEUE", made.task_queue)
        yield made
