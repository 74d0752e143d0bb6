"""Connections to each worker of a gateway, and the knowledge whose they are: the kernel deals them out."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from support.gateway_process import DataPlane, eventually

CONNECTIONS_MAX = 200  # over two workers: that one of them gets none has a chance below 1e-59


@dataclass(frozen=True)
class Reply:
    """One answer; `by` is the upstream that it names, if it is one of ours."""

    status: int
    headers: dict[str, str]
    by: str | None


@dataclass
class WorkerCaller:
    """A connection that stays with the worker that has it."""

    plane: DataPlane
    connection: HTTPConnection
    pid: int = 0

    async def ask(self, unit: str = "u", *, body: bytes = b"{}", **headers: str) -> Reply:
        """Raises OSError or HTTPException where the connection breaks."""
        fields = {"x-request-id": unit, **{k.replace("_", "-"): v for k, v in headers.items()}}

        def ask() -> Reply:
            self.connection.request("POST", self.plane.url().path, body=body, headers=fields)
            answer = self.connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
            given = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, given, told.get("by"))

        return await asyncio.to_thread(ask)


@asynccontextmanager
async def callers_of_all(plane: DataPlane) -> AsyncGenerator[dict[str, WorkerCaller]]:
    """A caller of each worker that serves now, by the worker's name, when all of them serve."""
    async with AsyncExitStack() as stack:

        async def all_serve() -> dict[str, int] | None:
            told = plane.gateway.workers()
            return told if len(told) == _processes(plane) else None

        workers = await eventually(all_serve)
        named = {pid: name for name, pid in workers.items()}
        callers: dict[str, WorkerCaller] = {}
        for _ in range(CONNECTIONS_MAX):
            caller = WorkerCaller(plane, HTTPConnection("127.0.0.1", plane.gateway.data_port))
            stack.callback(caller.connection.close)
            await asyncio.to_thread(caller.connection.connect)
            caller.pid = await eventually(lambda c=caller: _owner(plane, c.connection))
            callers.setdefault(named[caller.pid], caller)
            if len(callers) == len(workers):
                break
        assert callers.keys() == workers.keys()
        yield callers


async def answered_by_all(plane: DataPlane, unit: str = "u") -> dict[str, str | None]:
    """Who answers on a new connection to each worker."""
    async with callers_of_all(plane) as callers:
        return {name: (await caller.ask(unit)).by for name, caller in callers.items()}


def _processes(plane: DataPlane) -> int:
    [line] = [
        line
        for line in (plane.gateway.directory / "gateway.toml").read_text().splitlines()
        if line.startswith("processes = ")
    ]
    return int(line.removeprefix("processes = "))


async def _owner(plane: DataPlane, connection: HTTPConnection) -> int | None:
    """The worker that has accepted a connection, found by the inode of its socket (proc(5))."""
    ours = connection.sock.getsockname()[1]
    ends = (f":{plane.gateway.data_port:04X}", f":{ours:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *_, inode = line.split()[:10]
        if (local[-5:], remote[-5:]) == ends:
            for pid in plane.gateway.workers().values():
                if f"socket:[{inode}]" in _descriptors(pid):
                    return pid
    return None


def _descriptors(pid: int) -> set[str]:
    found: set[str] = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(path))  # noqa: PTH115 - what it names is no path
        except FileNotFoundError:  # closed meanwhile
            continue
    return found
