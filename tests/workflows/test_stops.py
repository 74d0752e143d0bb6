"""However a release is stopped, in whatever phase: share 0, one page, one record."""

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from clients.dossiers import read_blobs
from rampway.ports import RunState
from rampway.release.controls import Command
from rampway.release.events import EventKind, check_chain
from rampway.release.orders import Outcome, ReleaseOrder
from rampway.release.phases import Phase, Trigger
from rampway.release.splits import Serve, Served
from rampway.reports.verification import verify
from support.virtual_releases import CLEAN, World, quick_world, unless_ended
from support.virtual_world import Behaviour
from workflows.release import ReleaseWorkflow

STRIDE = timedelta(seconds=2)
EXPOSED = ["shadow", "1 %", "5 %", "25 %", "100 %", "settling"]
ABORT = Command(id="c-1", actor="sre-oncall", reason="provider incident")

Running = WorkflowHandle[ReleaseWorkflow, Outcome]


async def ended_well(world: World, order: ReleaseOrder, trigger: Trigger) -> None:
    """Share 0, the old baseline, one page, one unbroken record that names the reason."""
    name = world.target.name
    assert world.traffic.share_bp(name) == 0
    assert (await world.traffic.observe(name)).baseline == world.baseline.artifact
    assert (await world.registry.target(name)).baseline == world.baseline
    assert len(world.pages.pages) == 1
    events = await world.events(order)
    check_chain(events)
    assert [e.kind for e in events].count(EventKind.ROLLED_BACK) == 1
    pinned = [e for e in events if e.kind is EventKind.PINNED]
    assert [e.trigger for e in pinned] == [trigger]
    assert events[-1].phase is Phase.ROLLED_BACK
    record = await world.record(order)
    assert verify(record, await read_blobs(world.book, record)).verified


@pytest.mark.parametrize("there", EXPOSED)
async def test_an_abort_in_any_phase_with_candidate_traffic_rolls_back(
    env: WorkflowEnvironment, tmp_path: Path, there: str
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long=there)
        handle = await world.start(order)
        await world.forward_to(handle, there, stride=STRIDE)

        await handle.signal(ReleaseWorkflow.abort, ABORT)
        again = ABORT.model_copy(update={"id": "c-2"})
        await unless_ended(handle.signal(ReleaseWorkflow.abort, again))
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.ABORT)


@pytest.mark.parametrize("there", EXPOSED)
async def test_a_cancel_in_any_phase_with_candidate_traffic_rolls_back(
    env: WorkflowEnvironment, tmp_path: Path, there: str
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long=there)
        handle = await world.start(order)
        await world.forward_to(handle, there, stride=STRIDE)

        await handle.cancel()
        await unless_ended(handle.cancel())
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.ABORT)


async def test_an_abort_before_the_first_step_of_the_workflow_rejects_it(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order()

        handle = await world.start(order, signal=ABORT)
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.REJECTED
        assert {share for _, _, share in world.traffic.deeds} == {0}
        assert world.pages.pages == {}


async def test_an_abort_in_the_queue_gives_the_place_up(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        other = Served(artifact="sha256:" + "b" * 64, serve=Serve(upstream="tutor-b"))
        await world.traffic.claim(
            target=world.target.name,
            release="another",
            baseline=world.baseline,
            candidate=other,
            ttl_seconds=3600,
            op_id="another/claim",
        )
        order = await world.quick_order()
        handle = await world.start(order)
        await world.forward_to(handle, "QUEUED", stride=STRIDE)

        await handle.signal(ReleaseWorkflow.abort, ABORT)
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.REJECTED
        assert (await world.traffic.observe(world.target.name)).release == "another"


async def test_two_releases_never_move_one_targets_traffic_at_the_same_time(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        first = await world.quick_order(model="b", long="5 %")
        second = await world.quick_order(model="c")
        leading = await world.start(first)
        await world.forward_to(leading, "5 %", stride=STRIDE)

        waiting = await world.start(second)
        await world.forward_to(waiting, "QUEUED", stride=STRIDE)
        await world.to_end(leading)
        await world.to_end(waiting)

        assert (await leading.result()).phase is Phase.PROMOTED
        late = await waiting.result()
        assert late.phase is Phase.REJECTED
        assert "baseline_moved" in late.reason


async def test_a_watch_whose_run_is_closed_pins_at_its_next_look(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)
        assert world.traffic.share_bp(world.target.name) == 500

        world.run.answer = RunState.CLOSED
        await world.forward_to_zero(handle)

        claim = world.traffic.targets[world.target.name].claim
        assert claim is not None
        assert claim.lost_at_bp is None  # pinned, before its lease could run out
        world.run.answer = RunState.RUNNING
        await world.to_end(handle)
        await ended_well(world, order, Trigger.CONTROL_LOST)


async def test_a_lease_that_nobody_may_renew_decays_and_the_release_rolls_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)

        world.run.answer = RunState.NO_ANSWER
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.CONTROL_LOST)


async def test_a_lease_lost_in_shadow_is_armed_again_because_nobody_was_exposed(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="shadow")
        handle = await world.start(order)
        await world.forward_to(handle, "shadow", stride=STRIDE)

        world.clock.now_us += 60_000_000
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.PROMOTED
        kinds = [event.kind for event in await world.events(order)]
        assert kinds.count(EventKind.SHADOWED) == 2


async def test_evidence_that_stops_coming_pins_and_pages_instead_of_passing(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="5 %")
        handle = await world.start(order)
        await world.forward_to(handle, "5 %", stride=STRIDE)

        world.evidence.down = True
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.CONTROL_LOST)


async def test_evidence_is_missed_across_watches_that_are_shorter_than_the_limit(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order()  # watches of four seconds, blind after twelve slices
        handle = await world.start(order)

        world.evidence.silent_at = "5 %"
        outcome = await world.to_end(handle)

        assert outcome.phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.CONTROL_LOST)
        pinned = next(e for e in await world.events(order) if e.kind is EventKind.PINNED)
        assert "no new slice" in pinned.reason


async def test_a_judge_that_takes_longer_than_the_limit_is_not_taken_for_a_silent_one(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path, judge_seconds=20) as world:  # blind after twelve
        outcome = await world.run_to_end(await world.quick_order())

        assert outcome.phase is Phase.PROMOTED


async def test_a_judge_that_never_answers_is_missed_once_it_should_have(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path, judge_seconds=20) as world:
        order = await world.quick_order(long="shadow")
        world.evidence.silent_at = "shadow"

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.CONTROL_LOST)
        pinned = next(e for e in await world.events(order) if e.kind is EventKind.PINNED)
        assert (
            "no new slice for 36 s" in pinned.reason
        )  # a look every 6: after 20 + 1 and the limit


async def test_a_step_that_cannot_pass_is_rolled_back_at_its_deadline(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    both_bad = {**CLEAN, "error": 0.02}
    seen = Behaviour(requests_per_second=8, baseline=both_bad, candidate=both_bad)
    async with quick_world(env, tmp_path, seen) as world:
        order = await world.quick_order()

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.DEADLINE)


async def test_a_breach_after_promotion_brings_the_old_baseline_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path) as world:
        order = await world.quick_order(long="100 %")
        handle = await world.start(order)
        await world.forward_to(handle, "100 %", stride=STRIDE)

        world.evidence.after_promotion = {**CLEAN, "error": 0.5}
        await world.to_end(handle)

        assert (await handle.result()).phase is Phase.ROLLED_BACK
        await ended_well(world, order, Trigger.BREACH)
