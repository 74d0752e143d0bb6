"""What is broken outside never keeps traffic on the candidate, and never lets it climb."""

from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from rampway.release.controls import Command
from rampway.release.events import EventKind, Ledger, check_chain
from rampway.release.phases import Phase, Trigger
from support.virtual_releases import CLEAN, quick_world
from workflows.release import ReleaseWorkflow

STRIDE = timedelta(seconds=2)


async def test_with_a_dead_registry_nothing_climbs(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="1 %")
        handle = await world.start(order)
        await world.forward_to(handle, "1 %", stride=STRIDE)

        world.registry.down = True
        await world.forward(handle, timedelta(minutes=12))
        during = max(share for _, _, share in world.traffic.deeds)
        world.registry.down = False
        outcome = await world.to_end(handle)

        assert during == 100
        assert outcome.phase in {Phase.PROMOTED, Phase.ROLLED_BACK}
        check_chain(await world.events(order))


async def test_a_dead_registry_delays_the_record_of_a_breach_but_not_the_rollback(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        world.registry.down = True
        world.evidence.harm_from_now({**CLEAN, "error": 0.5})

        await world.forward_to_zero(handle)
        share_while_dead = world.traffic.share_bp(world.target.name)
        await world.forward(handle, timedelta(minutes=1))
        pages_while_dead = len(world.pages.pages)
        world.registry.down = False
        outcome = await world.to_end(handle)

        assert share_while_dead == 0
        assert pages_while_dead == 1
        assert outcome.phase is Phase.ROLLED_BACK
        events = await world.events(order)
        check_chain(events)
        pinned = next(event for event in events if event.kind is EventKind.PINNED)
        assert pinned.trigger is Trigger.BREACH
        assert pinned.evidence is not None
        assert await world.registry.get(pinned.evidence)


async def test_a_dead_pager_gets_the_page_later_and_once(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        world.pages.down = True

        world.evidence.harm_from_now({**CLEAN, "error": 0.5})
        await world.forward_to_zero(handle)
        share_while_dead = world.traffic.share_bp(world.target.name)
        world.pages.down = False
        outcome = await world.to_end(handle)

        assert share_while_dead == 0
        assert outcome.phase is Phase.ROLLED_BACK
        assert world.pages.deliveries == 1
        kinds = [event.kind for event in await world.events(order)]
        assert kinds.count(EventKind.PAGED) == 1


async def test_an_undo_that_is_not_confirmed_strands_the_release_and_pages_again(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        world.traffic.cut_off = True

        await handle.signal(ReleaseWorkflow.abort, Command(actor="sre-oncall", reason="test"))
        await world.forward_to(handle, "STRANDED", stride=timedelta(minutes=2))
        share_while_stranded = world.traffic.share_bp(world.target.name)
        world.traffic.cut_off = False
        outcome = await world.to_end(handle)

        assert share_while_stranded == 0  # the lease decayed by itself
        assert outcome.phase is Phase.ROLLED_BACK
        assert sorted(page.severity for page in world.pages.pages.values()) == ["critical", "error"]
        check_chain(await world.events(order))


async def test_an_abort_that_meets_a_breach_in_one_moment_keeps_the_breach_as_its_reason(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        world.evidence.harm_from_now({**CLEAN, "error": 0.5})

        world.traffic.on_pin = lambda: handle.signal(
            ReleaseWorkflow.abort, Command(actor="sre-oncall", reason="me too")
        )
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        events = await world.events(order)
        pinned = [event for event in events if event.kind is EventKind.PINNED]
        assert [event.trigger for event in pinned] == [Trigger.BREACH]
        assert pinned[0].evidence is not None
        assert len(world.pages.pages) == 1


async def test_a_registry_that_has_another_history_of_this_release_ends_it_unexposed(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order()
        foreign = Ledger(order.header.release)
        foreign.write(
            EventKind.STARTED,
            at=order.header.started_at,
            phase=Phase.OFFLINE_GATE,
            share_bp=0,
            actor="another run",
            reason="reset",
            trigger=Trigger.STARTED,
        )
        await world.book.append(foreign.events)

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.REJECTED
        assert {share for _, _, share in world.traffic.deeds} == {0}
        assert await world.events(order) == tuple(foreign.events)
