"""One Temporal server with virtual time for all workflow tests of a process."""

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from support.virtual_releases import virtual_temporal


@pytest.fixture(scope="session")
async def env() -> AsyncIterator[WorkflowEnvironment]:
    async with virtual_temporal() as started:
        yield started
