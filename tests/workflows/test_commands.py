"""What people may ask of a running release, and what nobody may."""

from datetime import timedelta
from pathlib import Path

from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from rampway.release.controls import Command, OverrideCommand, Rule
from rampway.release.events import EventKind, check_chain
from rampway.release.orders import Outcome
from rampway.release.phases import Phase, Trigger
from support.virtual_releases import CLEAN, World, quick_world
from support.virtual_world import Behaviour
from workflows.release import ReleaseWorkflow

STRIDE = timedelta(seconds=2)
MINUTE = timedelta(minutes=1)
SRE = "sre-oncall"
# Enough for the shadow; of these units the 1 % step sees a third before its deadline.
FIRST_UNITS = 40
SLOW_TRAFFIC = Behaviour(
    requests_per_second=40,
    baseline=CLEAN,
    candidate=CLEAN,
    pairs={(1, 1): 0.8, (0, 0): 0.2},
)

Running = WorkflowHandle[ReleaseWorkflow, Outcome]


def asked(ident: str, reason: str = "unrelated alert") -> Command:
    return Command(id=ident, actor=SRE, reason=reason)


def let_through(gate: str, *, actor: str = SRE, ident: str = "o-1") -> OverrideCommand:
    return OverrideCommand(
        id=ident, actor=actor, reason="template change", ticket="REL-2210", gate=gate
    )


async def open_gates_at(world: World, handle: Running, step: str) -> list[str]:
    """Let time pass until a step is past its hold and extended; the gates that keep it."""
    for _ in range(60):
        progress = await handle.query(ReleaseWorkflow.progress)
        extended = progress.step == step and progress.verdict is not None
        if extended and progress.verdict is not None and progress.verdict.seconds >= 4:
            return [g.gate for g in progress.verdict.gates if g.verdict != "PASS"]
        await world.forward(handle, timedelta(seconds=1))
    raise AssertionError(f"{step} was never extended")


async def test_a_pause_stops_the_climb_and_a_resume_lets_it_go_on(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="1 %")
        handle = await world.start(order)
        await world.forward_to(handle, "1 %", stride=STRIDE)

        await handle.signal(ReleaseWorkflow.pause, asked("p-1"))
        await world.forward(handle, 15 * MINUTE)
        paused = await handle.query(ReleaseWorkflow.progress)
        await handle.signal(ReleaseWorkflow.resume, asked("r-1"))
        outcome = await world.to_end(handle)

        assert (paused.step, paused.share_bp, paused.paused_by) == ("1 %", 100, SRE)
        assert outcome.phase is Phase.PROMOTED
        kinds = [event.kind for event in await world.events(order)]
        assert kinds.index(EventKind.PAUSED) < kinds.index(EventKind.RESUMED)


async def test_a_breach_while_paused_still_rolls_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        await handle.signal(ReleaseWorkflow.pause, asked("p-1"))

        world.evidence.harm_from_now({**CLEAN, "error": 0.5})
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        assert world.traffic.share_bp(world.target.name) == 0
        assert len(world.pages.pages) == 1


async def test_a_pause_beyond_the_brake_limit_pages_and_rolls_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order()
        order = order.model_copy(
            update={"plan": order.plan.model_copy(update={"brake_limit_seconds": 60.0})}
        )
        handle = await world.start(order)
        await handle.signal(ReleaseWorkflow.pause, asked("p-1"))

        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        pinned = [e for e in await world.events(order) if e.kind is EventKind.PINNED]
        assert [event.trigger for event in pinned] == [Trigger.DEADLINE]


async def test_an_override_lets_one_inconclusive_verdict_through_and_is_counted(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path, SLOW_TRAFFIC) as world:
        order = await world.quick_order(first_units=FIRST_UNITS)
        handle = await world.start(order)
        gates = await open_gates_at(world, handle, "1 %")

        for number, gate in enumerate(gates):
            await handle.signal(ReleaseWorkflow.override, let_through(gate, ident=f"o-{number}"))
        await world.forward_to(handle, "5 %", stride=STRIDE)

        events = await world.events(order)
        used = [event for event in events if event.kind is EventKind.OVERRIDE_USED]
        assert [event.data["gate"] for event in used] == gates
        assert {event.actor for event in used} == {SRE}
        check_chain(events)
        await handle.signal(ReleaseWorkflow.abort, asked("a-1"))
        await world.to_end(handle)


async def test_an_owner_cannot_override_the_gates_of_his_own_release(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path, SLOW_TRAFFIC) as world:
        order = await world.quick_order(first_units=FIRST_UNITS)
        handle = await world.start(order)
        await open_gates_at(world, handle, "1 %")

        await handle.signal(ReleaseWorkflow.override, let_through("error", actor="tutor-dev"))
        progress = await handle.query(ReleaseWorkflow.progress)

        refusals = [handled.refusal for handled in progress.handled]
        assert [refusal.rule for refusal in refusals if refusal] == [Rule.SELF_APPROVAL]
        await world.to_end(handle)
        kinds = [event.kind for event in await world.events(order)]
        assert EventKind.COMMAND_REFUSED in kinds
        assert EventKind.OVERRIDE_USED not in kinds


async def test_an_override_given_beforehand_never_lets_a_breach_through(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    failing = Behaviour(requests_per_second=160, baseline=CLEAN, candidate={**CLEAN, "error": 0.5})
    async with quick_world(env, tmp_path, failing) as world:
        order = await world.quick_order(first_units=FIRST_UNITS)
        handle = await world.start(order)
        await handle.signal(ReleaseWorkflow.override, let_through("error"))

        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        assert world.traffic.share_bp(world.target.name) == 0


async def test_a_command_sent_twice_is_one_command(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="1 %")
        handle = await world.start(order)
        await world.forward_to(handle, "1 %", stride=STRIDE)

        await handle.signal(ReleaseWorkflow.pause, asked("p-1"))
        await handle.signal(ReleaseWorkflow.pause, asked("p-1"))
        progress = await handle.query(ReleaseWorkflow.progress)
        await handle.signal(ReleaseWorkflow.resume, asked("r-1"))
        await world.to_end(handle)

        assert [handled.id for handled in progress.handled] == ["p-1"]
        kinds = [event.kind for event in await world.events(order)]
        assert kinds.count(EventKind.PAUSED) == 1


async def test_a_bare_reason_from_the_temporal_ui_aborts_too(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)

        await handle.signal("abort", "something is wrong")
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        assert outcome.reason == "aborted by temporal-ui: something is wrong"


async def test_an_abort_without_any_argument_aborts_too(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)

        await handle.signal("abort")
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
