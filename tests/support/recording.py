"""Records the histories that every later workflow must replay: `python tests/support/recording.py NAME`.

Run it for a new story only, by its name. A history that no longer replays is a release that would be stuck.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

TESTS = Path(__file__).parent.parent
HISTORIES = TESTS / "workflows" / "histories"
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from temporalio.client import WorkflowHandle  # noqa: E402 - after the path is set

from rampway.release.controls import Command, OverrideCommand  # noqa: E402
from rampway.release.orders import Outcome  # noqa: E402
from support.virtual_releases import CLEAN, World, quick_world, virtual_temporal  # noqa: E402
from support.virtual_world import Behaviour  # noqa: E402
from workflows.release import ReleaseWorkflow  # noqa: E402

Running = WorkflowHandle[ReleaseWorkflow, Outcome]
FAILING = Behaviour(160.0, baseline=CLEAN, candidate={**CLEAN, "error": 0.5})
SLOW = Behaviour(40.0, CLEAN, CLEAN, pairs={(1, 1): 0.8, (0, 0): 0.2})
SRE = "sre-oncall"


async def promoted(world: World) -> Running:
    """Every stage passes, with a pause on the way."""
    handle = await world.start(await world.quick_order(long="1 %"))
    await world.forward_to(handle, "1 %", stride=timedelta(seconds=2))
    await handle.signal(ReleaseWorkflow.pause, Command(id="p", actor=SRE, reason="look"))
    await world.forward(handle, timedelta(minutes=1))
    await handle.signal(ReleaseWorkflow.resume, Command(id="r", actor=SRE))
    return handle


async def rolled_back(world: World) -> Running:
    """A breach in the canary."""
    return await world.start(await world.quick_order())


async def aborted(world: World) -> Running:
    """An abort at 5 %."""
    handle = await world.start(await world.quick_order(long="5 %"))
    await world.forward_to(handle, "5 %", stride=timedelta(seconds=2))
    await handle.signal(ReleaseWorkflow.abort, Command(id="a", actor=SRE, reason="incident"))
    return handle


async def overridden(world: World) -> Running:
    """Two open gates at 1 % are let through, one refused owner tries first."""
    handle = await world.start(await world.quick_order())
    await world.forward_to(handle, "1 %", stride=timedelta(seconds=1))
    for number, (actor, gate) in enumerate(
        [("tutor-dev", "error"), (SRE, "error"), (SRE, "latency p95")]
    ):
        await handle.signal(
            ReleaseWorkflow.override,
            OverrideCommand(
                id=f"o-{number}", actor=actor, gate=gate, reason="few users", ticket="REL-1"
            ),
        )
    return handle


async def concluded(world: World) -> Running:
    """A shadow and an A/B that only report."""
    stages = "stages: [shadow, ab]\non_pass: report\nab: {share: 50%, time: 60s, units: 100}\n"
    return await world.start(await world.quick_order(stages=stages))


STORIES: dict[str, tuple[Callable[[World], Awaitable[Running]], Behaviour | None]] = {
    "promoted": (promoted, None),
    "rolled_back": (rolled_back, FAILING),
    "aborted": (aborted, None),
    "overridden": (overridden, SLOW),
    "concluded": (concluded, None),
}


async def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    async with virtual_temporal() as env:
        for name in sys.argv[1:]:
            story, behaviour = STORIES[name]
            async with quick_world(env, Path(tempfile.mkdtemp()), behaviour) as world:
                handle = await story(world)
                outcome = await world.to_end(handle)
                history = json.loads((await handle.fetch_history()).to_json())
                path = HISTORIES / f"{name}.json"
                path.write_text(json.dumps(history, separators=(",", ":")) + "\n")
                events = len(history["events"])
                sys.stdout.write(f"{name}: {outcome.phase}, {events} events\n")


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # see workers.main.run_and_leave
