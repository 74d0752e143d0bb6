"""The totals on the metrics page: the sealed slices and nothing else, told so that no loss is hidden."""

from pathlib import Path

import aiohttp
import pytest
from split_builders import TARGET, HandClock, canary

from rampway.gateway.counting import Outcome
from rampway.gateway.counts import Counts
from rampway.gateway.sealed import CLOSED_MAX, KEPT_SECONDS, artifact_label, gateway_id
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Arm, Timing
from support.gateway_process import data_plane, eventually

TIMING = Timing(slice_seconds=10, fast_seconds=10, timeout_seconds=20)
OK = Outcome(answered=True)
FAILED = Outcome(kind="status_500", answered=True)
REFUSED = Outcome(answered=True, refused=True)


def opened(directory: Path, clock: HandClock) -> Counts:
    return Counts(directory, clock=clock, units_remembered=1_000)


def timed(share_bp: int = 500, *, number: int = 3, began: float = 0) -> TargetSplit:
    split = canary(share_bp)
    segment = split.segment.model_copy(
        update={
            "number": number,
            "timing": TIMING,
            "began": 1_000.0 + began,
            "began_at": 1_700_000_000.0 + began,
        }
    )
    return split.model_copy(update={"segment": segment, "timing": TIMING})


def serve(
    counts: Counts, clock: HandClock, split: TargetSplit, arm: Arm, outcomes: list[Outcome]
) -> None:
    counter = counts.segment_for(split)
    for n, outcome in enumerate(outcomes):
        cell = counter.start(arm, hash((clock.monotonic(), arm, n)), clock.monotonic())
        assert cell is not None
        cell.finish(0.1, outcome, TIMING)


def told(counts: Counts, clock: HandClock, name: str, **labels: object) -> list[float]:
    """The values of a family's samples that have these labels."""
    wanted = {key: str(value) for key, value in labels.items()}.items()
    return [
        value
        for family in counts.totals.families(clock.monotonic())
        if family.name == name
        for own, value in family.samples
        if wanted <= own.items()
    ]


async def test_totals_rise_in_the_moment_of_the_seal_and_not_before(tmp_path: Path) -> None:
    clock, split = HandClock(), timed()
    counts = opened(tmp_path, clock)
    serve(counts, clock, split, Arm.CANDIDATE, [OK, OK, FAILED, REFUSED])
    serve(counts, clock, split, Arm.BASELINE, [OK] * 7)

    begun = told(counts, clock, "sealed_units_total")
    clock.advance(20)
    await counts.seal_due()
    fast = {
        stream: told(counts, clock, "sealed_units_total", stream=stream, arm="candidate")
        for stream in ("fast", "full")
    }
    clock.advance(10)
    await counts.seal_due()

    assert begun == [0, 0, 0, 0]
    assert fast == {"fast": [4], "full": [0]}
    for stream in ("fast", "full"):
        assert told(counts, clock, "sealed_units_total", stream=stream, arm="baseline") == [7]
    assert told(counts, clock, "sealed_bad_total", arm="candidate", stream="error") == [1]
    assert told(counts, clock, "sealed_bad_total", arm="candidate", stream="refusal") == [1]
    assert told(counts, clock, "sealed_bad_total", arm="baseline") == [0, 0, 0]
    assert told(counts, clock, "sealed_latency_total", arm="candidate", bucket=232) == [4]
    assert told(counts, clock, "sealed_slices", stream="fast") == [2]
    assert told(counts, clock, "sealed_slices", stream="full") == [1]
    assert told(counts, clock, "sealed_lost_slices") == [0, 0]
    assert told(counts, clock, "sealed_slice_seconds") == [10]
    assert told(counts, clock, "sealed_began_seconds") == [1_700_000_000.0]
    label = artifact_label(split.baseline.artifact)
    assert told(counts, clock, "sealed_info", baseline=label, baseline_arm="baseline") == [1]
    counts.close()


async def test_what_the_disk_did_not_take_is_in_no_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, split = HandClock(), timed()
    counts = opened(tmp_path, clock)
    serve(counts, clock, split, Arm.CANDIDATE, [OK] * 4)
    journal = counts.targets[TARGET].journal

    def full(_lines: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "append", full)
        clock.advance(20)
        await counts.seal_due()
        refused = told(counts, clock, "sealed_slices", stream="fast")
    await counts.seal_due()

    assert refused == [0]
    assert told(counts, clock, "sealed_slices", stream="fast") == [1]
    assert told(counts, clock, "sealed_units_total", stream="fast", arm="candidate") == [4]
    counts.close()


async def test_slices_of_an_earlier_process_are_told_as_lost(tmp_path: Path) -> None:
    clock, split = HandClock(), timed()
    before = opened(tmp_path, clock)
    for _ in range(4):
        serve(before, clock, split, Arm.CANDIDATE, [OK, FAILED])
        clock.advance(10)
        await before.seal_due()
    before.close()
    clock.advance(5)

    after = opened(tmp_path, clock)
    after.segment_for(split)
    at_once = told(after, clock, "sealed_slices", stream="fast")
    lost_at_once = told(after, clock, "sealed_lost_slices", stream="fast")
    clock.advance(10)
    serve(after, clock, split, Arm.CANDIDATE, [OK] * 3)
    clock.advance(20)
    await after.seal_due()

    assert (at_once, lost_at_once) == ([3], [3])
    # Slice 4 ran in part before the restart, slice 5 is whole.
    assert told(after, clock, "sealed_slices", stream="fast") == [6]
    assert told(after, clock, "sealed_lost_slices", stream="fast") == [5]
    assert told(after, clock, "sealed_units_total", stream="fast", arm="candidate") == [3]
    assert after.totals.gateway == before.totals.gateway
    after.close()


async def test_a_segment_that_is_over_is_told_for_a_quarter_of_an_hour(tmp_path: Path) -> None:
    clock = HandClock()
    counts = opened(tmp_path, clock)
    serve(counts, clock, timed(number=1), Arm.BASELINE, [OK])
    clock.advance(30)
    counts.segment_for(timed(number=2, began=30))

    clock.advance(60)
    await counts.seal_due()
    closed = told(counts, clock, "sealed_slices", stream="fast", segment=1)
    clock.advance(KEPT_SECONDS + 1)
    forgotten = told(counts, clock, "sealed_slices", stream="fast", segment=1)

    assert (closed, forgotten) == ([3], [])
    assert told(counts, clock, "sealed_slices", stream="fast", segment=2)
    counts.close()


async def test_many_writes_in_a_row_do_not_pile_up_series(tmp_path: Path) -> None:
    clock = HandClock()
    counts = opened(tmp_path, clock)

    for number in range(100):
        counts.segment_for(timed(number=number, began=number))
        clock.advance(1)
        await counts.seal_due()

    assert len(told(counts, clock, "sealed_slice_seconds")) == CLOSED_MAX + 1
    assert told(counts, clock, "sealed_slice_seconds", segment=99)
    counts.close()


def test_a_gateway_is_the_same_after_a_restart_and_another_in_another_directory(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()

    first = gateway_id(here)

    assert gateway_id(here) == first
    assert gateway_id(there) != first
    (here / "gateway-id").write_bytes(b'torn"}')
    assert gateway_id(here) not in {first, 'torn"}'}


async def test_the_page_of_a_real_gateway_says_what_its_slices_say() -> None:
    async with data_plane() as plane:
        await plane.admin.register(slice_seconds=0.3, fast_seconds=0.1, timeout_seconds=1.5)
        await plane.admin.share(await plane.admin.claim(), 1, 5_000)
        for n in range(30):
            await plane.ask(f"u{n}")

        async def sealed() -> dict[str, list[float]] | None:
            page = await metrics_page(plane.gateway.admin_url, plane.http)
            units = [
                value
                for name, value in page.items()
                if "sealed_units_total{" in name
                and 'stream="full"' in name
                and 'segment="1"' in name
            ]
            return {"units": units} if sum(units) == 30 else None

        told_units = (await eventually(sealed))["units"]
        rows = (await plane.admin.slices(1, 1))["full"]["rows"]
        page = await metrics_page(plane.gateway.admin_url, plane.http)

    assert told_units == [sum(row[arm]["units"] for row in rows) for arm in Arm]
    assert any(name.startswith("rampway_gateway_clock_seconds{") for name in page)


async def metrics_page(url: str, http: aiohttp.ClientSession) -> dict[str, float]:
    async with http.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}
