"""The demo ends right by its design, not by luck: many whole runs in a row (`make soak`)."""

import asyncio
import os
import statistics
import sys
from pathlib import Path

import pytest

from rampway.adapters.registry_sql import SqlRegistry
from rampway.release.events import EventKind
from rampway.reports.dossier import number_in

RUNS = int(os.environ.get("RAMPWAY_SOAK_RUNS", "20"))
RUN_SECONDS_MAX = 180


async def to_zero_seconds(home: Path) -> list[float]:
    """From the crossing look to share 0, as recorded by the releases of one demo."""
    registry = SqlRegistry.open(f"sqlite:///{home / 'registry.db'}")
    try:
        records = await registry.releases()
    finally:
        await registry.close()
    pinned = [e for record in records for e in record.events if e.kind is EventKind.PINNED]
    seconds = [number_in(event, "to_zero_seconds") for event in pinned]
    return [value for value in seconds if value is not None]


@pytest.mark.slow
@pytest.mark.timeout(RUNS * RUN_SECONDS_MAX)
async def test_many_demos_in_a_row_all_end_as_they_must(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int | None] = []
    walls: list[float] = []
    zeros: list[float] = []
    clock = asyncio.get_running_loop()

    for run in range(RUNS):
        home = tmp_path / "demo"
        log = tmp_path / f"{run}.log"
        began = clock.time()
        with log.open("wb") as out:
            demo = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "clients.main", "--home", str(home), "demo"),
                stdout=out,
                stderr=out,
                stdin=asyncio.subprocess.DEVNULL,
            )
            codes.append(await asyncio.wait_for(demo.wait(), RUN_SECONDS_MAX))
        walls.append(clock.time() - began)
        zeros += await to_zero_seconds(home)
        with capsys.disabled():
            sys.stdout.write(f"run {run + 1}: exit {codes[-1]}, {walls[-1]:.0f} s\n")
            sys.stdout.flush()

    with capsys.disabled():
        sys.stdout.write(
            f"{codes.count(0)} of {RUNS} right; wall p50 {statistics.median(walls):.0f} s, "
            f"max {max(walls):.0f} s; to zero p50 {statistics.median(zeros):.3f} s, "
            f"max {max(zeros):.3f} s, n {len(zeros)}\n"
        )
    assert codes == [0] * RUNS
