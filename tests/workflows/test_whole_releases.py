"""Whole releases on the real Temporal server, in virtual time, at the mission's full lengths."""

import itertools
from datetime import timedelta
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment

from clients.dossiers import read_blobs
from rampway.release.events import EventKind, check_chain
from rampway.release.orders import ReleaseOrder
from rampway.release.phases import Phase, Trigger
from rampway.reports.verification import verify
from support.virtual_releases import World, quick_world, virtual_world
from support.virtual_world import Behaviour

HISTORY_EVENTS_MAX = 1_000


async def verified(world: World, order: ReleaseOrder) -> bool:
    record = await world.record(order)
    return verify(record, await read_blobs(world.book, record)).verified


def real_events(history: WorkflowHistory) -> int:
    """The events that the same release has in real time.

    Virtual time adds one event per skip and, per watch, a timer with its workflow task: five.
    """
    kinds = [EventType.Name(event.event_type) for event in history.events]
    waits = sum("virtual time" in str(event.user_metadata.summary) for event in history.events)
    skips = kinds.count("EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED")
    return len(kinds) - skips - 5 * waits


async def test_a_harmless_release_climbs_every_step_and_is_promoted(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with virtual_world(env, tmp_path) as world:
        order = await world.order()

        handle = await world.start(order)
        await world.to_end(handle)
        outcome = await handle.result()

        assert outcome.phase is Phase.PROMOTED
        shares = [share for _, target, share in world.traffic.deeds if target == world.target.name]
        assert list(dict.fromkeys(shares)) == [0, 100, 500, 2500, 9900, 10_000]
        events = await world.events(order)
        check_chain(events)
        raised = {event.step: event.at for event in events if event.kind is EventKind.RAISED}
        steps = list(raised.values())
        assert list(raised) == ["1 %", "5 %", "25 %", "100 %"]
        assert all(b - a >= timedelta(minutes=30) for a, b in itertools.pairwise(steps))
        shadowed = next(event for event in events if event.kind is EventKind.SHADOWED)
        assert raised["1 %"] - shadowed.at >= timedelta(hours=1)
        assert (await world.registry.target(world.target.name)).baseline == order.header.candidate
        assert world.pages.pages == {}
        assert await verified(world, order)
        assert real_events(await handle.fetch_history()) < HISTORY_EVENTS_MAX


async def test_a_harmful_release_is_pinned_paged_and_rolled_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    failing = Behaviour(candidate={"error": 0.10, "late": 0.0, "refusal": 0.01})
    async with virtual_world(env, tmp_path, failing) as world:
        order = await world.order()

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.ROLLED_BACK
        assert world.traffic.share_bp(world.target.name) == 0
        events = await world.events(order)
        pinned = next(event for event in events if event.kind is EventKind.PINNED)
        assert pinned.trigger is Trigger.BREACH
        assert pinned.evidence is not None
        assert len(world.pages.pages) == 1
        assert (await world.registry.target(world.target.name)).baseline == world.baseline
        assert await verified(world, order)


async def test_a_judge_slower_than_the_limit_for_silence_blinds_no_step(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with quick_world(env, tmp_path, judge_seconds=20) as world:  # blind after twelve
        order = await world.quick_order(quality="{budget: 10%, margin: [0.5sd, 0.5sd]}")

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.PROMOTED
        assert await verified(world, order)


async def test_answers_that_the_judge_finds_worse_are_rolled_back(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    worse = Behaviour(judged_wrong={"baseline": 0.2, "candidate": 0.5})
    async with virtual_world(env, tmp_path, worse) as world:
        order = await world.order(more="gates: {quality: {}}")

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.ROLLED_BACK
        pinned = next(e for e in await world.events(order) if e.kind is EventKind.PINNED)
        assert (pinned.trigger, pinned.step) == (Trigger.BREACH, "1 %")
        assert "quality" in pinned.reason
        assert await verified(world, order)


async def test_a_worse_candidate_is_rejected_before_any_traffic(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    async with virtual_world(env, tmp_path) as world:
        order = await world.order(worse_by=0.05)

        outcome = await world.run_to_end(order)

        assert outcome.phase is Phase.REJECTED
        assert {share for _, _, share in world.traffic.deeds} == {0}
        assert world.pages.pages == {}
        assert await verified(world, order)
