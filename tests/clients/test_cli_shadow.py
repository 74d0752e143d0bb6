"""`rampway shadow`: a release that only copies is started by two artifacts, and switched off without a page."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cli_builders import BASELINE, Cli
from steered_worlds import steered_world
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from clients.commands import shadow, steer
from clients.dossiers import read_blobs
from clients.exits import Exit, Failure
from clients.finding import find_in_record
from clients.shadowing import Wanted
from rampway.release.artifact import Artifact
from rampway.release.controls import Command, Verb
from rampway.release.events import EventKind, check_chain
from rampway.release.orders import Outcome
from rampway.release.phases import Phase
from rampway.release.records import Target
from rampway.reports.verification import verify
from support.gateway_process import eventually
from support.virtual_releases import CLEAN, World
from support.virtual_world import Behaviour
from workflows.release import ReleaseWorkflow

CANDIDATE = Artifact(prompt="You teach verbs well.\n", model="provider-v5")
TARGET = Target(name="grammar-tutor", team="tutor")


@pytest.fixture
def known(cli: Cli) -> Cli:
    """A target with its baseline, and a candidate in the record."""
    cli.register(TARGET)

    async def add(registry: Any) -> None:  # noqa: ANN401 - a registry
        await registry.add_artifact(CANDIDATE.digest, CANDIDATE.content)

    cli.in_registry(add)
    return cli


def on(*more: str, baseline: str = BASELINE.digest) -> tuple[str, ...]:
    named = ("--baseline", baseline, "--candidate", CANDIDATE.digest)
    return ("shadow", "on", "grammar-tutor", *named, *more)


def test_a_dry_run_tells_what_would_be_copied_and_starts_nothing(known: Cli) -> None:
    result = known(*on("--upstream", "b", "--rate", "10%", "--time", "2h", "--dry-run"))
    facts = known.json(*on("--upstream", "b", "--rate", "10%", "--time", "2h", "--dry-run"))

    assert result.exit_code == Exit.OK
    assert "10 % copied to" in result.stdout
    assert "nothing was started" in result.stdout
    assert (facts["rate_bp"], facts["seconds"]) == (1_000, 7_200)
    assert facts["candidate"] == CANDIDATE.digest
    assert "No shadow runs" in known("shadow", "off", "grammar-tutor").stderr


def test_a_baseline_that_does_not_serve_is_refused(known: Cli) -> None:
    result = known(*on("--upstream", "b", baseline=CANDIDATE.digest))

    assert result.exit_code == Exit.USAGE
    assert "refused [baseline moved]: grammar-tutor serves sha256:" in result.stderr
    assert "Next: --baseline current" in result.stderr


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "Next: give --upstream"),
        (("--upstream", "b", "--rate", "200%"), "shadow.rate"),
        (("--upstream", "b", "--time", "soon"), "shadow.until_any.time"),
        (("--upstream", "b", "--latency-warning", "50"), "shadow.latency_warning"),
    ],
)
def test_what_is_wrong_is_named(known: Cli, more: tuple[str, ...], told: str) -> None:
    result = known(*on(*more, "--dry-run"))

    assert result.exit_code == Exit.USAGE
    assert told in result.stderr


def test_an_artifact_that_nobody_recorded_is_refused_and_a_file_describes_one(known: Cli) -> None:
    file = known.write("candidate.yaml", "model: provider-v6\n")
    named = ("--baseline", "current", "--upstream", "b", "--dry-run", "--candidate")

    unknown = known("shadow", "on", "grammar-tutor", *named, "sha256:" + "0" * 64)
    described = known.json("shadow", "on", "grammar-tutor", *named, str(file))

    assert unknown.exit_code == Exit.USAGE
    assert "Next: name the file that describes it" in unknown.stderr
    assert described["candidate"] == Artifact(model="provider-v6").digest


def test_off_on_an_unknown_target_says_so(known: Cli) -> None:
    result = known("shadow", "off", "nobody")

    assert result.exit_code == Exit.ERROR
    assert "nobody" in result.stderr


@pytest.fixture
async def world(
    temporal: WorkflowEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A target that this command line works on, and a candidate that is recorded."""
    behaviour = Behaviour(requests_per_second=20.0, baseline=CLEAN, candidate=CLEAN)
    async with steered_world(temporal, cli, monkeypatch, behaviour) as made:
        await made.registry.add_artifact(CANDIDATE.digest, CANDIDATE.content)
        yield made


def wanted(world: World, **changed: Any) -> Wanted:  # noqa: ANN401 - any field
    told: dict[str, Any] = {
        "target": world.target.name,
        "baseline": world.baseline.artifact,
        "candidate": CANDIDATE.digest,
        "upstream": "tutor-b",
        "rate": "10%",
        "time": "1h",
        "pairs": 1_000_000,
    }
    return Wanted(**{**told, **changed})


async def shadowing(world: World, **changed: Any) -> Any:  # noqa: ANN401 - a release that was begun
    begun = await shadow._begin(wanted(world, **changed))
    handle = world.env.client.get_workflow_handle_for(ReleaseWorkflow.run, begun.found.workflow_id)
    await until_shadowing(handle)
    return begun, handle


async def until_shadowing(handle: WorkflowHandle[ReleaseWorkflow, Outcome]) -> None:
    """It takes no time to come to the shadow, and none passes meanwhile."""

    async def shadows() -> bool:
        progress = await handle.query(ReleaseWorkflow.progress)
        return progress.phase is Phase.SHADOW and progress.hold_ends_at is not None

    await eventually(shadows)


async def test_a_shadow_is_switched_off_by_its_owner_without_a_page(world: World) -> None:
    begun, handle = await shadowing(world)
    assert (await world.traffic.observe(world.target.name)).shadow_bp == 1_000

    found = await shadow._find(world.target.name)
    answer = await steer._ask(
        found.name,
        Verb.ABORT,
        Command(actor="tutor-dev", reason="seen enough"),
        None,
        dry_run=False,
    )
    outcome = await world.to_end(handle)

    record = await world.registry.release(begun.found.record.header.release)
    assert found.name == begun.found.name
    assert answer.text.endswith("It ends CONCLUDED, reason aborted.")
    assert outcome.phase is Phase.CONCLUDED
    assert world.pages.pages == {}
    last = record.events[-1]
    assert (last.kind, last.actor) == (EventKind.CONCLUDED, "tutor-dev")
    assert "seen enough" in last.reason
    check_chain(record.events)
    assert verify(record, await read_blobs(world.book, record)).verified
    observed = await world.traffic.observe(world.target.name)
    assert (observed.shadow_bp, observed.share_bp) == (0, 0)


async def test_a_shadow_that_has_ended_can_be_switched_on_again(world: World) -> None:
    first, handle = await shadowing(world)
    again = await shadow._begin(wanted(world))
    assert (again.found.name, again.facts["new"]) == (first.found.name, False)

    await handle.signal("abort", Command(actor="tutor-dev"))
    await world.to_end(handle)
    second = await shadow._begin(wanted(world, upstream=None))

    assert second.found.name != first.found.name
    assert second.facts["new"] is True
    other = world.env.client.get_workflow_handle_for(ReleaseWorkflow.run, second.found.workflow_id)
    await other.signal("abort", Command(actor="tutor-dev"))
    await world.to_end(other)


async def test_a_release_that_serves_users_is_not_switched_off_as_a_shadow(world: World) -> None:
    order = await world.order()
    handle = await world.start(order)

    with pytest.raises(Failure, match=f"rampway abort {order.header.name}"):
        await shadow._find(world.target.name)

    await handle.signal("abort", Command(actor="tutor-dev"))
    await world.to_end(handle)


async def test_an_abort_of_a_release_that_climbs_pages_from_its_shadow_as_ever(
    world: World,
) -> None:
    order = await world.order()
    handle = await world.start(order)
    await until_shadowing(handle)

    await handle.signal("abort", Command(actor="tutor-dev"))
    outcome = await world.to_end(handle)

    assert outcome.phase is Phase.ROLLED_BACK
    assert len(world.pages.pages) == 1


async def test_without_offline_evidence_only_a_shadow_passes(world: World) -> None:
    order = await world.order()
    header = order.header.model_copy(update={"offline_evidence": None})

    outcome = await world.run_to_end(order.model_copy(update={"header": header}))

    assert outcome.phase is Phase.REJECTED
    assert "no offline evidence" in outcome.reason
    assert (await find_in_record(world.registry, order.header.release)).record is not None
