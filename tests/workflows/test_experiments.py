"""Releases that only report, and a fixed split for a fixed time: watched, and back to the baseline."""

from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from clients.dossiers import read_blobs
from rampway.release.events import EventKind, check_chain
from rampway.release.orders import ReleaseOrder
from rampway.release.phases import Phase, Trigger
from rampway.reports.dossier import assemble
from rampway.reports.sentences import headline
from rampway.reports.verification import verify
from support.virtual_releases import CLEAN, World, quick_world
from workflows.release import ReleaseWorkflow

STRIDE = timedelta(seconds=2)
AB = "\nab: {share: 50%, time: 60s, units: 100, budget: 20%}\n"
REPORT = "on_pass: report\n"


async def experiment(
    world: World, stages: str, more: str = "", *, first_budget: str = "40%"
) -> ReleaseOrder:
    """A release of the demo's lengths with other stages; `first_budget` is that of the 1 % step."""
    return await world.quick_order(
        stages=f"stages: [{stages}]{AB}{more}", first_budget=first_budget
    )


async def ended_on_the_baseline(world: World, order: ReleaseOrder) -> None:
    """Nothing of the candidate is left, and the record holds."""
    name = world.target.name
    assert world.traffic.share_bp(name) == 0
    assert (await world.traffic.observe(name)).baseline == world.baseline.artifact
    assert (await world.registry.target(name)).baseline == world.baseline
    check_chain(await world.events(order))
    record = await world.record(order)
    assert verify(record, await read_blobs(world.book, record)).verified


def shares(world: World) -> set[int]:
    return {share for _, _, share in world.traffic.deeds}


async def test_an_experiment_keeps_its_split_for_its_time_and_ends_with_a_report(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "ab", REPORT)

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.CONCLUDED
        assert shares(world) == {0, 5_000}
        assert world.pages.pages == {}
        await ended_on_the_baseline(world, order)
        record = await world.record(order)
        told = headline(assemble(record, await read_blobs(world.book, record)))
        assert "report" in told


async def test_an_experiment_does_not_end_early_however_good_it_looks(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "ab", REPORT)
        handle = await world.start(order)
        await world.forward_to(handle, "AB", stride=STRIDE)

        await world.forward(handle, timedelta(seconds=30))
        progress = await handle.query(ReleaseWorkflow.progress)

        assert progress.phase is Phase.AB
        assert progress.hold_ends_at is not None
        assert (await world.to_end(handle)).phase is Phase.CONCLUDED


async def test_harm_in_an_experiment_is_rolled_back_at_once(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "ab", REPORT)
        handle = await world.start(order)
        await world.forward_to(handle, "AB", stride=STRIDE)

        world.evidence.harm_from_now({**CLEAN, "error": 0.5})
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        assert len(world.pages.pages) == 1
        await ended_on_the_baseline(world, order)


async def test_a_shadow_that_only_reports_exposes_nobody(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "shadow", REPORT)

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.CONCLUDED
        assert shares(world) == {0}
        kinds = [event.kind for event in await world.events(order)]
        assert kinds[-1] is EventKind.CONCLUDED
        await ended_on_the_baseline(world, order)


async def test_an_experiment_on_the_way_up_comes_before_all_traffic(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "shadow, canary, ab", first_budget="20%")

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.PROMOTED
        raised = [e for e in await world.events(order) if e.kind is EventKind.RAISED]
        assert [e.share_bp for e in raised] == [100, 500, 2_500, 5_000, 9_900]
        assert [e.trigger for e in raised][3:] == [Trigger.AB_BEGAN, Trigger.FULL_BEGAN]


async def test_a_split_that_is_not_what_it_promises_holds_and_pages_once(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await experiment(world, "ab", REPORT)
        handle = await world.start(order)
        world.evidence.routed = 0.6  # of what was promised to the candidate

        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        pinned = next(e for e in await world.events(order) if e.kind is EventKind.PINNED)
        assert pinned.trigger is Trigger.DEADLINE
        causes = sorted(key.rpartition("/")[2] for key in world.pages.pages)
        assert causes == ["mismatch", "sampleratio"]
        await ended_on_the_baseline(world, order)
