"""What the gates are told: rates from the gateway, and how users' answers were judged, from the judge."""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.gates.evidence import Evidence
from rampway.gates.plans import (
    AbPlan,
    Must,
    QualityGate,
    RateGate,
    SampleRatioGate,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh
from rampway.ports import Unreachable
from support.gateway_process import NOBODY, DataPlane, Heard, data_plane, eventually

SLICE_SECONDS, JUDGE_SECONDS = 0.5, 1.5
UNITS = 120
JUDGED = "[judged]\nper_second = 40\nbaseline_per_candidate = 4\n"
ERRORS = RateGate(name="errors", stream="error", alpha=0.01)
LATE = RateGate(name="late", stream="late", alpha=0.01)


def step(*, quality: bool = True, **facts: Any) -> StepPlan:  # noqa: ANN401 - any field of a plan
    return StepPlan(
        name="50 %",
        hold_seconds=60,
        deadline_seconds=180,
        slice_seconds=SLICE_SECONDS,
        share_bp=5_000,
        must=Must.SCREEN,
        units=1,
        gates=(ERRORS,),
        quality=QualityGate(levels=2, alpha=0.01) if quality else None,
        **facts,
    )


def ab(**facts: Any) -> AbPlan:  # noqa: ANN401 - any field of a plan
    return AbPlan(
        name="A/B",
        hold_seconds=60,
        deadline_seconds=180,
        slice_seconds=SLICE_SECONDS,
        share_bp=5_000,
        units=1,
        gates=(LATE,),
        **facts,
    )


def number(heard: Heard) -> int:
    return int(heard.headers["x-request-id"][1:])


async def right(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"answer": "went"})


async def worse(heard: Heard) -> web.StreamResponse:
    """Wrong every other time, and now and then an error."""
    n = number(heard)
    if n % 10 == 0:
        return web.json_response({"answer": "went"}, status=500)
    return web.json_response({"answer": "went" if n % 2 else "goed"})


@contextlib.asynccontextmanager
async def judge_process(folder: Path, spool_dir: Path) -> AsyncGenerator[str]:
    """A judge in a process of its own; gives where it listens, and is killed at the end."""
    (folder / "judge.toml").write_text(
        f'spool_dir = "{spool_dir}"\nstate_dir = "judge"\n'
        f'[targets.tutor]\ngold = "gold.jsonl"\njudge_seconds = {JUDGE_SECONDS}\n'
    )
    (folder / "gold.jsonl").write_text('{"case_id": "went", "accepted": ["went"]}\n')
    announcement = folder / "judge" / "judge.json"
    announcement.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "rampway.judge",
        env=os.environ | {"RAMPWAY_JUDGE_CONFIG": str(folder / "judge.toml")},
    )

    async def announced() -> str | None:
        assert process.returncode is None
        return json.loads(announcement.read_text())["url"] if announcement.exists() else None

    try:
        yield await eventually(announced, seconds=20)
    finally:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def evidence_from(gateway_url: str, judge_url: str) -> AsyncGenerator[GatewayEvidence]:
    async with (
        httpx.AsyncClient(base_url=gateway_url) as gateway,
        httpx.AsyncClient(base_url=judge_url) as judge,
    ):
        yield GatewayEvidence(gateway, judge)


async def told(source: GatewayEvidence, plan: StagePlan) -> Evidence:
    return await source.stage(target="tutor", epoch=1, segment=1, plan=plan)


async def canary(plane: DataPlane) -> None:
    await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=1.0)
    await plane.admin.share(await plane.admin.claim(), 1, 5_000)


async def all_judged(source: GatewayEvidence, counts: Counter[str]) -> Evidence:
    """The evidence of the first moment at which all that was drawn is in sealed rows."""

    async def seen() -> Evidence | None:
        evidence = await told(source, step())
        told_of = sum(
            sum(new + old for _, new, old in scores) + sum(unjudged)
            for _, scores, *unjudged in quality_rows(evidence)
        )
        return evidence if told_of == counts.total() else None

    return await eventually(seen, seconds=20)


def quality_rows(evidence: Evidence) -> Any:  # noqa: ANN401 - rows of JSON
    return evidence.rows["quality"]


def drawn(plane: DataPlane) -> list[dict[str, Any]]:
    lines = plane.gateway.lines("spool-tutor.jsonl")
    return [line for line in lines if line["kind"] == "answer"]


async def test_a_candidate_whose_answers_are_worse_shows_in_the_rows_also_after_a_kill(
    tmp_path: Path,
) -> None:
    async with data_plane(a=right, b=worse, settings=JUDGED) as plane:
        await canary(plane)
        async with judge_process(tmp_path, plane.gateway.state_dir) as judge_url:
            for n in range(UNITS):
                await plane.ask(f"u{n}", case_id="went")
                await asyncio.sleep(0.01)  # over several slices
            async with evidence_from(plane.gateway.admin_url, judge_url) as source:
                await eventually(lambda: has_slices(source, 1), seconds=20)
                early = await told(source, step())
        async with (
            judge_process(tmp_path, plane.gateway.state_dir) as judge_url,
            evidence_from(plane.gateway.admin_url, judge_url) as source,
        ):
            await eventually(lambda: all_units_sealed(plane), seconds=20)
            answered = [line for line in drawn(plane) if line["failed"] is None]
            expected = Counter(line["arm"] for line in answered)
            evidence = await all_judged(source, expected)

        assert evidence.rows["quality"][: early.sealed["quality"]] == early.rows["quality"]
        scores: Counter[tuple[int, str]] = Counter()
        for _, table, *unjudged in quality_rows(evidence):
            assert unjudged == [0, 0]
            for score, new, old in table:
                scores[score, "candidate"] += new
                scores[score, "baseline"] += old
        wrong = sum(line["answer"]["body"]["answer"] == "goed" for line in answered)
        assert +scores == {
            (0, "candidate"): wrong,
            (1, "candidate"): expected["candidate"] - wrong,
            (1, "baseline"): expected["baseline"],
        }
        assert wrong > 5
        gates = {gate.gate: gate.verdict for gate in weigh(step(), evidence).gates}
        assert gates["quality"] is Verdict.BREACH
        assert evidence.sources["grader"].startswith("set_match/1/sha256:")
        assert sum(row[1] + row[3] for row in evidence.rows["error"]) == UNITS  # type: ignore[index,operator]


async def has_slices(source: GatewayEvidence, least: int) -> bool:
    return (await told(source, step())).sealed.get("quality", 0) >= least


async def all_units_sealed(plane: DataPlane) -> bool:
    """Everybody is in a sealed slice of the gateway, and so all lines of the spool are written."""
    rows = (await plane.admin.slices(1, 1))["full"]["rows"]
    everybody = sum(row[arm]["units"] for row in rows for arm in ("baseline", "candidate")) == UNITS
    marks = [x for x in plane.gateway.lines("spool-tutor.jsonl") if x["kind"] == "drawn"]
    everything = sum(mark["candidate"] + mark["baseline"] for mark in marks) == len(drawn(plane))
    return everybody and everything and len(marks) >= len(rows)


async def test_a_silent_judge_leaves_quality_without_data_and_the_rates_in_sight() -> None:
    async with data_plane() as plane:
        await canary(plane)
        async with evidence_from(plane.gateway.admin_url, NOBODY) as source:
            evidence = await told(source, step())

    assert "quality" not in evidence.sealed
    assert "quality" not in evidence.rows
    assert "error" in evidence.sealed
    assert evidence.sources["judge"].startswith(f"{NOBODY} does not answer")


async def test_a_silent_gateway_is_unreachable_whatever_the_judge_says() -> None:
    async with evidence_from(NOBODY, NOBODY) as source:
        with pytest.raises(Unreachable, match="does not answer"):
            await told(source, step())


async def test_a_step_without_a_quality_gate_asks_no_judge() -> None:
    async with data_plane() as plane:
        await canary(plane)
        async with evidence_from(plane.gateway.admin_url, NOBODY) as source:
            evidence = await told(source, step(quality=False))

    assert evidence.sources == {}


@pytest.mark.parametrize(
    ("plan", "streams"),
    [
        (ab(), {"late"}),
        (ab(sample_ratio=SampleRatioGate()), {"late", "error"}),
        (step(quality=False, sample_ratio=SampleRatioGate(stream="late")), {"late", "error"}),
    ],
)
async def test_an_ab_stage_and_the_sample_ratio_get_the_streams_they_name(
    plan: StagePlan, streams: set[str]
) -> None:
    async with data_plane() as plane:
        await canary(plane)
        async with evidence_from(plane.gateway.admin_url, NOBODY) as source:
            evidence = await told(source, plan)

    assert set(evidence.sealed) == set(evidence.rows) == streams
