"""Evidence through a real Prometheus: the same rows and verdicts as from the gateways themselves."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from sealed_worlds import THRESHOLD, World, played

from clients.prometheus_config import prometheus_config, write_prometheus_config
from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.adapters.evidence_prometheus import (
    Access,
    Limits,
    Prometheus,
    PrometheusEvidence,
    scraped_gateways,
)
from rampway.adapters.evidence_prometheus.timelines import Stream
from rampway.gates.evidence import Evidence
from rampway.gates.plans import (
    AbPlan,
    CountPair,
    MetricGate,
    Must,
    RateGate,
    SampleRatioGate,
    SettleGate,
    SettlePlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import evidence_at, weigh
from rampway.ports import EvidenceSource, Unreachable
from support.gateway_process import NOBODY, DataPlane, Heard, data_plane, eventually
from support.prometheus import needs_prometheus, prometheus, scraping, write_history

pytestmark = needs_prometheus

SLICE_SECONDS, SCRAPE_SECONDS = 0.5, 0.2
BEGAN = 1_700_000_000.0
LATENCY = RateGate(
    name="latency p50",
    stream="latency_p50",
    alpha=0.01,
    quantile=0.5,
    baseline_rate=0.5,
    threshold_bucket=THRESHOLD,
)
GATES = (
    RateGate(name="error", stream="error", alpha=0.01, baseline_rate=0.01),
    RateGate(name="error late", stream="late", alpha=0.01, baseline_rate=0.01),
    RateGate(name="refusal", stream="refusal", alpha=0.01, baseline_rate=0.01),
    LATENCY,
)


def step(**facts: Any) -> StepPlan:  # noqa: ANN401 - any field of a plan
    return StepPlan(
        **{
            "name": "50 %",
            "hold_seconds": 4,
            "deadline_seconds": 180,
            "slice_seconds": SLICE_SECONDS,
            "share_bp": 5_000,
            "must": Must.SCREEN,
            "units": 1,
            "gates": GATES,
            "sample_ratio": SampleRatioGate(),
            **facts,
        }
    )


AB = AbPlan(
    name="A/B",
    hold_seconds=4,
    deadline_seconds=180,
    slice_seconds=SLICE_SECONDS,
    share_bp=5_000,
    units=1,
    slices_per_look=3,
    gates=GATES,
    sample_ratio=SampleRatioGate(),
)
SETTLE = SettlePlan(
    name="settling",
    hold_seconds=4,
    deadline_seconds=180,
    slice_seconds=SLICE_SECONDS,
    gates=(SettleGate(name="error", stream="error", alpha=0.01, baseline_rate=0.01),),
)


async def worse(heard: Heard) -> web.StreamResponse:
    """Fails one in four, refuses one in four, answers late one in eight."""
    n = int(heard.headers["x-request-id"][1:])
    if n % 8 == 3:
        await asyncio.sleep(0.4)
    return web.json_response({"refused": n % 4 == 2}, status=500 if n % 4 in {1, 3} else 200)


@asynccontextmanager
async def both_sources(
    plane: DataPlane, prometheus_url: str
) -> AsyncGenerator[tuple[GatewayEvidence, PrometheusEvidence]]:
    async with (
        httpx.AsyncClient(base_url=plane.gateway.admin_url) as gateway,
        httpx.AsyncClient(base_url=NOBODY) as judge,
    ):
        direct = GatewayEvidence(gateway, judge)
        asked = Prometheus(Access(prometheus_url))
        yield direct, PrometheusEvidence(asked, direct, limits=Limits(SCRAPE_SECONDS))
        asked.close()


async def told(source: EvidenceSource, plan: StagePlan) -> Evidence:
    return await source.stage(target="tutor", epoch=1, segment=1, plan=plan)


async def talk(plane: DataPlane, first: int, count: int) -> None:
    for n in range(first, first + count):
        await plane.ask(f"u{n}")
        await asyncio.sleep(0.01)


async def full_units(source: EvidenceSource) -> int:
    """Units of both arms in the full stream; 0 while the source has no sample."""
    try:
        rows: Any = (await told(source, step())).rows["refusal"]
    except Unreachable:
        return 0
    return sum(row[1] + row[3] for row in rows)


async def test_both_sources_give_the_same_verdicts_on_the_same_traffic(tmp_path: Path) -> None:
    async with data_plane(b=worse) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=1.0)
        config = prometheus_config([plane.gateway.admin_url], scrape_seconds=SCRAPE_SECONDS)
        with prometheus(tmp_path, config) as url:
            async with both_sources(plane, url) as (direct, scraped):
                await scraping(url)
                await plane.admin.share(await plane.admin.claim(), 1, 5_000)
                await talk(plane, 0, 300)

                async def all_in() -> bool:
                    return await full_units(scraped) == 300

                await eventually(all_in, seconds=20)
                pairs = [
                    (plan, await told(direct, plan), await told(scraped, plan))
                    for plan in (step(), AB, SETTLE)
                ]
                baselines = [
                    await source.baseline(target="tutor", last_units=100)
                    for source in (direct, scraped)
                ]

    for plan, by_gateway, by_prometheus in pairs:
        n = min(*by_gateway.sealed.values(), *by_prometheus.sealed.values())
        one, other = evidence_at(by_gateway, n), evidence_at(by_prometheus, n)
        assert n >= 6
        for stream, rows in one.rows.items():
            assert other.rows[stream][:n] == rows[:n]
        assert weigh(plan, other) == weigh(plan, one)
        assert weigh(plan, other).verdict is Verdict.BREACH
    assert baselines[0] == baselines[1]
    assert baselines[0].units >= 100


async def test_a_gateway_that_is_killed_loses_slices_and_invents_none(tmp_path: Path) -> None:
    async with data_plane(b=worse) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=0.6)
        # The port must stay the same for Prometheus to find it again.
        port = plane.gateway.admin_url.rpartition(":")[2]
        file = plane.gateway.directory / "gateway.toml"
        config = prometheus_config([plane.gateway.admin_url], scrape_seconds=SCRAPE_SECONDS)
        with prometheus(tmp_path, config) as url:
            await scraping(url)
            await plane.admin.share(await plane.admin.claim(ttl_seconds=600), 1, 5_000)
            await talk(plane, 0, 150)
            plane.gateway.kill()
            file.write_text(file.read_text().replace("admin_port = 0", f"admin_port = {port}"))
            plane.gateway.start()
            await talk(plane, 1_000, 150)
            async with both_sources(plane, url) as (direct, scraped):

                async def over() -> bool:
                    rows: Any = (await told(direct, step())).rows["error"]
                    return sum(row[1] + row[3] for row in rows[-3:]) == 0

                await eventually(over)

                async def caught_up() -> tuple[Evidence, Evidence] | None:
                    try:
                        by_prometheus = await told(scraped, step())
                    except Unreachable:
                        return None
                    by_gateway = await told(direct, step())
                    return (by_gateway, by_prometheus) if by_prometheus.rows["error"] else None

                by_gateway, by_prometheus = await eventually(caught_up, seconds=20)

    for stream in ("error", "late", "refusal", "latency_p50"):
        known: dict[Any, Any] = {row[0]: row for row in by_gateway.rows[stream]}  # type: ignore[index]
        found: Any = by_prometheus.rows[stream]
        before, after = (
            max(i for i in known if i + 1 not in known and i + 2 < max(known)),
            max(known),
        )
        assert {row[0] for row in found} <= set(known)
        assert any(row[0] <= before and row[1] for row in found)
        assert any(before < row[0] <= after and row[1] for row in found)
        # What one scrape missed stands in the next row: sums are the same up to any row's end.
        run: list[int] = []
        for row in found:
            if run and row[0] != run[-1] + 1:
                run = []
            run.append(row[0])
            if row[1:] == [0, 0, 0, 0]:
                continue
            assert row[1] <= sum(known[i][1] for i in run)


async def test_two_gateways_of_one_release_are_added_up(tmp_path: Path) -> None:
    async with data_plane(b=worse) as one, data_plane(b=worse) as two:
        planes = (one, two)
        config = prometheus_config(
            [plane.gateway.admin_url for plane in planes], scrape_seconds=SCRAPE_SECONDS
        )
        with prometheus(tmp_path, config) as url:
            await scraping(url, 2)
            for plane in planes:
                await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=0.6)
                await plane.admin.share(await plane.admin.claim(), 1, 5_000)
            await asyncio.gather(*(talk(plane, 0, 150) for plane in planes))
            async with both_sources(one, url) as (direct, scraped):

                async def all_in() -> bool:
                    return await full_units(scraped) == 300

                await eventually(all_in, seconds=20)
                found = await told(scraped, step())
                asking = Prometheus(Access(url))
                gateways = scraped_gateways(asking, Limits(SCRAPE_SECONDS), time.time)
                asking.close()
                first = await told(direct, step())
            async with both_sources(two, url) as (direct, _):
                second = await told(direct, step())

    assert [one.gateway for one in gateways] == found.sources["gateways"].split(",")
    assert len(gateways) == 2
    assert all(0.5 * SCRAPE_SECONDS < (one.interval_seconds or 0) < 0.5 for one in gateways)
    n = min(min(each.sealed.values()) for each in (found, first, second))
    for stream, rows in found.rows.items():
        mine: Any = [first.rows[stream][:n], second.rows[stream][:n]]
        added = [
            [a[0], *(x + y for x, y in zip(a[1:], b[1:], strict=True))]
            for a, b in zip(*mine, strict=True)
        ]
        assert rows[:n] == added


def gaps() -> list[str]:
    """Ten slices; the full stream two behind; scrapes fail around slice 5; a restart after slice 7."""
    seal = ["fast", "scrape"] * 2 + ["fast", "full", "scrape"] * 3
    return [
        *seal,
        "fast",
        "full",
        "fast",
        "full",
        "scrape",
        "restart",
        *["fast", "full", "scrape"] * 6,
    ]


async def in_history(
    directory: Path, worlds: Sequence[World], *, now: float, hours: float = 0, **limits: float
) -> Evidence:
    samples = [
        (one.labels["__name__"], _without_name(one.labels), value, at - hours * 3600)
        for world in worlds
        for one in world.series
        for at, value in one.samples
    ]
    write_history(directory, samples)
    with prometheus(directory) as url:
        asked = Prometheus(Access(url))
        source = PrometheusEvidence(asked, _Nobody(), limits=Limits(5, **limits), now=lambda: now)
        try:
            return await source.stage(
                target="tutor",
                epoch=1,
                segment=3,
                plan=step(slice_seconds=10, hold_seconds=60),
            )
        finally:
            asked.close()


class _Nobody:
    """A source that must not be asked."""

    async def stage(self, **asked: object) -> Evidence:
        raise AssertionError(asked)

    async def baseline(self, **asked: object) -> Any:  # noqa: ANN401 - it never answers
        raise AssertionError(asked)


def _without_name(labels: Any) -> dict[str, str]:  # noqa: ANN401 - a mapping
    return {
        **{key: value for key, value in labels.items() if key != "__name__"},
        "instance": labels["gateway"][:1] + ":1",
    }


async def test_a_history_with_gaps_and_a_restart_of_two_gateways_is_read_truly(
    tmp_path: Path,
) -> None:
    steps = gaps()
    worlds = [
        played(steps, 1, "a" * 32, began=BEGAN, pace=4),
        played(steps, 2, "b" * 32, began=BEGAN + 1, pace=4),
    ]
    now = BEGAN + 4 * len(steps)

    evidence = await in_history(tmp_path, worlds, now=now)

    rows: Any = evidence.rows["error"]
    seen = {row[0] for row in rows}
    lost = set.union(*(world.fast_lost for world in worlds))
    assert seen.isdisjoint(lost)
    assert len(seen) >= 8
    assert lost
    counted = [row for row in rows if row[0] < 5]
    for index, units, bad, _, _ in counted:
        truth = [world.fast[index] for world in worlds]
        assert units == sum(one["candidate", "units"] for one in truth)
        assert bad == sum(one["candidate", "error"] for one in truth)
    # One scrape was missed: slices 5 and 6 are one row.
    both = [world.truth(Stream.FAST, 5, 7) for world in worlds]
    assert rows[5] == [5, 0, 0, 0, 0]
    assert rows[6][1] == sum((one or {})["candidate", "units"] for one in both)


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (13.5, r"is 1[0-9]\.[0-9] s old, the limit is 12.5 s"),
        (-9.0, r"in the future"),
        (4_000.0, r"has no sample of tutor, epoch 1, segment 3 in the last 30 s"),
    ],
)
async def test_a_history_that_is_not_of_now_is_no_number(
    tmp_path: Path, later: float, why: str
) -> None:
    world = played(["fast", "full", "scrape"] * 4, 1, began=BEGAN)
    newest = world.scrapes[-1].at

    with pytest.raises(Unreachable, match=why):
        await in_history(tmp_path, [world], now=newest + later)


async def test_a_history_with_nan_and_inf_leaves_those_slices_out(tmp_path: Path) -> None:
    world = played(["fast", "full", "scrape"] * 5, 1, began=BEGAN)
    spoilt = {world.scrapes[1].at: "NaN", world.scrapes[3].at: "+Inf"}
    world.series = [
        one._replace(
            samples=[
                (at, spoilt.get(at, value) if one.labels.get("stream") == "fast" else value)
                for at, value in one.samples
            ]
        )
        for one in world.series
    ]

    evidence = await in_history(tmp_path, [world], now=world.scrapes[-1].at + 1)

    rows: Any = evidence.rows["error"]
    assert [row[0] for row in rows] == [0, 1, 2, 3, 4]
    assert [i for i, row in enumerate(rows) if row[1:] == [0, 0, 0, 0]] >= [1, 3]
    for begin, end in ((0, 1), (1, 3), (3, 5)):
        truth = world.truth(Stream.FAST, begin, end) or {}
        assert rows[end - 1][1] == truth["candidate", "units"]


async def test_a_users_own_counters_stand_beside_the_rates_on_the_same_grid(
    tmp_path: Path,
) -> None:
    world = played(["fast", "full", "scrape"] * 20, 1, began=BEGAN, pace=3)
    slices = 18
    samples = [
        (
            one.labels["__name__"],
            _without_name(one.labels),
            f"{BEGAN:.3f}" if one.labels["__name__"].endswith("began_seconds") else value,
            at,
        )
        for one in world.series
        for at, value in one.samples
    ]
    for arm, each, bad in (("candidate", 10, 2), ("baseline", 90, 3)):
        for n in range(slices):
            at = BEGAN + 1 + 10 * n
            own = {"side": arm, "job": "app", "instance": "app:1", "app": "tutor"}
            samples += [
                ("answers_total", own, str(each * n), at),
                ("flagged_total", own, str(bad * n), at),
                ("answers_total", {**own, "app": "another"}, str(7 * n), at),
            ]
    write_history(tmp_path, samples)
    metric = MetricGate(
        name="flagged",
        stream="metric flagged",
        alpha=0.01,
        pair=CountPair(bad="flagged_total", total='answers_total{app="tutor"}', arm_label="side"),
    )
    absent = metric.model_copy(
        update={
            "stream": "metric absent",
            "pair": CountPair(bad="nobody_total", total="answers_total", arm_label="side"),
        }
    )
    plan = step(slice_seconds=10, metrics=(metric, absent))
    with prometheus(tmp_path) as url:
        asked = Prometheus(Access(url))
        source = PrometheusEvidence(asked, _Nobody(), limits=Limits(5), now=lambda: BEGAN + 180)
        evidence = await source.stage(target="tutor", epoch=1, segment=3, plan=plan)
        again = await source.stage(target="tutor", epoch=1, segment=3, plan=plan)
        asked.close()

    assert evidence.sealed["metric flagged"] == 17
    assert evidence.rows["metric flagged"] == [[i, 10, 2, 90, 3] for i in range(2, 17)]
    assert "metric absent" not in evidence.sealed
    assert "start all four series at 0" in evidence.sources["metric absent"]
    assert evidence.sealed["error"] > 0
    assert again == evidence


async def test_a_long_history_is_read_over_several_looks(tmp_path: Path) -> None:
    # Five hours of slices of a minute, scraped each time they are sealed.
    world = played(["fast", "full", "scrape"] * 300, 1, began=BEGAN, pace=20)
    newest = world.scrapes[-1].at
    samples = [
        (
            one.labels["__name__"],
            _without_name(one.labels),
            f"{BEGAN:.3f}" if one.labels["__name__"].endswith("began_seconds") else value,
            at,
        )
        for one in world.series
        for at, value in one.samples
        if "latency" not in one.labels["__name__"]
    ]
    write_history(tmp_path, samples)
    plan = step(slice_seconds=10, gates=GATES[:3])
    with prometheus(tmp_path) as url:
        asked = Prometheus(Access(url))
        source = PrometheusEvidence(asked, _Nobody(), limits=Limits(60), now=lambda: newest + 1)
        with pytest.raises(Unreachable, match="are to come, with the next looks"):
            await source.stage(target="tutor", epoch=1, segment=3, plan=plan)
        evidence = await source.stage(target="tutor", epoch=1, segment=3, plan=plan)
        asked.close()

    assert evidence.sealed["error"] == 300
    assert len(evidence.rows["error"]) == 300


def test_the_config_for_prometheus_is_one_that_prometheus_accepts(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-gateways")
    file = tmp_path / "written.yml"

    write_prometheus_config(
        file,
        ["http://127.0.0.1:8081", "https://gateway.example:443"],
        scrape_seconds=2.5,
        token_file=tmp_path / "token",
    )

    with prometheus(tmp_path, file.read_text()) as url:
        loaded = httpx.get(f"{url}/api/v1/status/config").json()["data"]["yaml"]
    assert loaded.count("scrape_interval: 2s500ms") == 2
    assert "credentials_file" in loaded
    with pytest.raises(ValueError, match="is no admin listener"):
        prometheus_config(["127.0.0.1:8081"], scrape_seconds=1)
