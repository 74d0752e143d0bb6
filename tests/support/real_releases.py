"""Releases on real processes: the demo's stack and traffic, whose programs a test may kill."""

import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

from clients.client import Releases, Unanswered
from clients.demo import SCENES, TARGET, Demo, Scene, load, register, until_warm
from clients.dev import LocalStack, any_ports
from clients.processes import Program
from clients.releasing import start_release
from rampway.release.controls import Command, Verb
from rampway.release.orders import Outcome, Progress, ReleaseOrder
from rampway.release.records import Record
from support.gateway_process import eventually
from workers.connection import connect
from workers.settings import read_settings
from workers.wiring import Ports, open_ports

SECONDS_MAX = 90


@dataclasses.dataclass
class Stage:
    """A running stack with traffic on one target."""

    demo: Demo
    stack: LocalStack
    ports: Ports
    releases: Releases

    async def order(self, scene: Scene, *, attempt: int = 1, lease: str = "60s") -> ReleaseOrder:
        """A release of the demo with a lease that outlives a restart."""
        order = await self.demo.order(
            scene, self.ports, attempt=attempt, changed={"lease: 15s": f"lease: {lease}"}
        )
        await start_release(order, self.ports.registry, self.releases)
        return order

    async def at(self, order: ReleaseOrder, there: str) -> Progress:
        """Wait until a release is at a step or phase."""

        async def here() -> Progress | None:
            with contextlib.suppress(Unanswered):
                progress = await self.releases.progress(order.header.workflow_id)
                if there in {progress.step, progress.phase.value}:
                    return progress
                assert not progress.phase.ended, progress.line
            return None

        return await eventually(here, seconds=SECONDS_MAX)

    async def kill(self, name: str) -> None:
        """SIGKILL one program of the stack, and start it again."""
        program = self._program(name)
        assert program.process is not None
        program.process.kill()
        await program.process.wait()
        await self.restart(name)

    async def stop(self, name: str) -> None:
        """End one program in order."""
        await self._program(name).stop()

    def _program(self, name: str) -> Program:
        return next(p for p in reversed(self.stack.programs) if p.name == name)

    async def restart(self, name: str) -> None:
        """Start one program of the stack again."""
        restart: dict[str, Callable[[], Awaitable[None]]] = {
            "worker": self.stack.start_worker,
            "gateway": self.stack.start_gateway,
            "temporal": self.stack.start_temporal,
            "judge": self.stack.start_judge,
        }
        await restart[name]()

    async def abort(self, order: ReleaseOrder) -> None:
        """Ask for an abort, durably."""
        command = Command(actor="sre-oncall", reason="drill")
        await self.releases.send(order.header.workflow_id, Verb.ABORT, command)

    async def ended(self, order: ReleaseOrder) -> Outcome:
        """Wait for the end of a release."""
        return await self.releases.outcome(order.header.workflow_id)

    async def record(self, order: ReleaseOrder) -> Record:
        """What the registry has of it."""
        return await self.ports.registry.release(order.header.release)

    async def share_bp(self) -> int:
        """The candidate's share on the gateway now."""
        return (await self.ports.traffic.observe(TARGET)).share_bp

    def deeds(self) -> list[dict[str, object]]:
        """The gateway's own append-only account of every change of traffic."""
        path = self.stack.home / "gateway" / "splits.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def pages_of(self, order: ReleaseOrder) -> list[dict[str, object]]:
        """The pages that were sent about a release."""
        path = self.stack.home / "pages.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        pages = [json.loads(line) for line in lines]
        return [page for page in pages if order.header.name in json.dumps(page)]


@contextlib.asynccontextmanager
async def real_stage(home: Path) -> AsyncGenerator[Stage]:
    """A stack of real processes with traffic on a DEMO target that serves tutor A."""
    demo = Demo(home, lambda _name, _progress: None, lambda _line: None, any_ports())
    async with demo.open():
        assert demo.stack is not None
        environ = demo.stack.stack.environ
        async with (
            open_ports(read_settings(environ)) as ports,
            load(home, demo.stack.stack.gateway_data_url),
        ):
            await register(ports)
            await until_warm(ports)
            yield Stage(demo, demo.stack, ports, Releases(await connect(environ)))


BETTER, WORSE, HARMFUL = SCENES
