"""Fixtures that several files of the gateway's tests use; a file with a `plane` of its own has that one."""

from collections.abc import AsyncGenerator

import pytest

from support.raw_plane import RawPlane, raw_plane


@pytest.fixture(scope="module")
async def running_plane() -> AsyncGenerator[RawPlane]:
    async with raw_plane() as plane:
        yield plane


@pytest.fixture
async def plane(running_plane: RawPlane) -> RawPlane:
    """The gateway between two raw sockets, with nothing left of an earlier case."""
    await running_plane.refresh()
    return running_plane
