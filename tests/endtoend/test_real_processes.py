"""Whole releases in real time on real processes, with SIGKILL in their middle."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from clients.dossiers import read_blobs
from rampway.release.events import EventKind
from rampway.release.orders import ReleaseOrder
from rampway.release.phases import Phase
from rampway.reports.verification import verify
from support.real_releases import BETTER, Stage, real_stage

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("endtoend")]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    async with real_stage(tmp_path / "home") as running:
        yield running


async def check_record(stage: Stage, order: ReleaseOrder) -> None:
    """The record verifies, and no share was ever in force above the last one it had recorded."""
    record = await stage.record(order)
    assert verify(record, await read_blobs(stage.ports.registry, record)).verified
    approved = {event.sequence: event.share_bp for event in record.events}
    promoting = [e.sequence for e in record.events if e.kind is EventKind.PROMOTING]
    for deed in stage.deeds():
        if deed["release"] != order.header.release or deed["cause"] in {"renew", "load"}:
            continue
        sequence, share = int(str(deed["sequence"])), int(str(deed["share_after_bp"]))
        assert share <= approved.get(sequence, 0) or sequence in promoting


async def test_a_release_outlives_the_sigkill_of_worker_gateway_and_temporal(
    stage: Stage,
) -> None:
    order = await stage.order(BETTER)

    await stage.at(order, "1 %")
    await stage.kill("worker")
    await stage.at(order, "5 %")
    await stage.kill("gateway")
    await stage.at(order, "25 %")
    await stage.kill("temporal")
    outcome = await stage.ended(order)

    assert outcome.phase is Phase.PROMOTED
    assert (await stage.ports.traffic.observe("grammar-tutor")).baseline == (
        order.header.candidate.artifact
    )
    assert stage.pages_of(order) == []
    await check_record(stage, order)


async def killed_then_aborted(stage: Stage, there: str, attempt: int) -> None:
    order = await stage.order(BETTER, attempt=attempt)
    await stage.at(order, there)

    await stage.kill("worker")
    await stage.abort(order)
    outcome = await stage.ended(order)

    assert outcome.phase is Phase.ROLLED_BACK
    observed = await stage.ports.traffic.observe("grammar-tutor")
    assert (observed.share_bp, observed.baseline) == (0, order.header.baseline.artifact)
    assert len(stage.pages_of(order)) == 1
    kinds = [event.kind for event in (await stage.record(order)).events]
    assert kinds.count(EventKind.ROLLED_BACK) == 1
    await check_record(stage, order)


async def test_an_abort_after_the_workers_sigkill_ends_at_share_zero_with_one_page(
    stage: Stage,
) -> None:
    for attempt, there in enumerate(["shadow", "5 %"], start=1):
        await killed_then_aborted(stage, there, attempt)


@pytest.mark.slow
async def test_an_abort_after_the_workers_sigkill_in_every_phase_ends_at_share_zero(
    stage: Stage,
) -> None:
    phases = ["shadow", "1 %", "5 %", "25 %", "100 %", "settling"]
    for attempt, there in enumerate(phases, start=1):
        await killed_then_aborted(stage, there, attempt)


@pytest.mark.slow
async def test_a_stack_that_was_stopped_resumes_its_release_when_it_starts_again(
    stage: Stage,
) -> None:
    order = await stage.order(BETTER)
    await stage.at(order, "1 %")

    for name in ("worker", "judge", "gateway", "temporal"):
        await stage.stop(name)
    for name in ("temporal", "gateway", "judge", "worker"):
        await stage.restart(name)
    outcome = await stage.ended(order)

    assert outcome.phase in {Phase.PROMOTED, Phase.ROLLED_BACK}
    share = (await stage.ports.traffic.observe("grammar-tutor")).share_bp
    assert share in {0, 10_000}
    await check_record(stage, order)
