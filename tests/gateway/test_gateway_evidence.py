"""Counts of the real process against an upstream whose failures and latencies are known."""

import asyncio
import time
from collections import Counter

import aiohttp
from aiohttp import web

from rampway.gateway.counting import TIMEOUT_BUCKET
from support.gateway_process import DataPlane, Heard, accepted, data_plane, eventually

PLAN = {
    "ok": 60,
    "missing": 6,
    "e500": 8,
    "e429": 4,
    "slow500": 6,
    "hang": 5,
    "filtered": 7,
    "says-refused": 3,
    "header-refused": 2,
    "cut": 4,
    "leaves": 3,
}


async def by_unit(heard: Heard) -> web.StreamResponse:
    """Answers as the unit's name says."""
    told = heard.headers["x-request-id"].split("_")[0]
    if told == "slow500":
        await asyncio.sleep(1.6)
    if told in {"hang", "leaves"}:
        await asyncio.sleep(20)
    if told == "cut":
        response = web.StreamResponse()
        await response.prepare(heard.request)
        await response.write(b"half")
        assert heard.request.transport is not None
        heard.request.transport.abort()
        return response
    status = {"e500": 500, "slow500": 500, "e429": 429, "missing": 404}.get(told, 200)
    body: dict[str, object] = {"refused": told == "says-refused"}
    if told == "filtered":
        body["choices"] = [{"finish_reason": "content_filter"}]
    fields = {"x-refused": "1"} if told == "header-refused" else {}
    return web.json_response(body, status=status, headers=fields)


async def ask(plane: DataPlane, unit: str) -> None:
    async with plane.http.get(plane.url(), headers={"x-request-id": unit}) as answer:
        try:
            await answer.read()
        except aiohttp.ClientPayloadError:
            assert unit.startswith("cut")


async def leave(plane: DataPlane, unit: str) -> None:
    try:
        async with asyncio.timeout(0.7):
            await ask(plane, unit)
    except TimeoutError:
        return
    raise AssertionError


async def test_counts_are_exact_for_both_arms_and_each_unit_counts_once() -> None:
    async with data_plane(a=by_unit, b=by_unit) as plane:
        await plane.admin.register(slice_seconds=3.0, fast_seconds=1.0, timeout_seconds=2.5)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        units = [f"{told}_{n}" for told, count in PLAN.items() for n in range(count)]

        await asyncio.gather(
            *(
                leave(plane, unit) if unit.startswith("leaves") else ask(plane, unit)
                for unit in units
            )
        )
        await asyncio.gather(*(ask(plane, unit) for unit in units if unit.startswith("ok")))

        async def sealed() -> bool:
            told = await plane.admin.slices(1, 1)
            return told["full"]["sealed"] > 0

        await eventually(sealed)
        told = await plane.admin.slices(1, 1)
        for arm, upstream in (("baseline", plane.a), ("candidate", plane.b)):
            mine = Counter(
                unit.split("_")[0]
                for unit in {heard.headers["x-request-id"] for heard in upstream.served}
            )
            fast, full = told["fast"]["rows"][0][arm], told["full"]["rows"][0][arm]
            assert fast == {
                "units": mine.total(),
                "error": mine["e500"] + mine["e429"] + mine["cut"],
            }
            assert (full["units"], full["late"]) == (
                mine.total(),
                mine["slow500"] + mine["hang"],
            )
            assert full["refusal"] == (
                mine["filtered"] + mine["says-refused"] + mine["header-refused"]
            )
            assert full["aborted"] == mine["leaves"]
            assert (
                Counter(full["kinds"])
                == Counter(
                    {
                        "status_500": mine["e500"] + mine["slow500"],
                        "status_429": mine["e429"],
                        "mid_stream": mine["cut"],
                        "timeout": mine["hang"],
                    }
                )
                - Counter()
            )
            assert full["latency"].get(str(TIMEOUT_BUCKET), 0) == mine["hang"] + mine["cut"]
            assert sum(full["latency"].values()) == mine.total()
        assert len(plane.a.served) + len(plane.b.served) == len(units) + PLAN["ok"]


async def test_slices_are_sealed_on_time_in_the_real_process() -> None:
    async with data_plane() as plane:
        await plane.admin.register(slice_seconds=0.4, fast_seconds=0.2, timeout_seconds=0.5)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        began_at = (await plane.admin.slices(1, 1))["began_at"]
        lateness: list[float] = []
        for wanted in (1, 2, 3):

            async def sealed(wanted: int = wanted) -> bool:
                return (await plane.admin.slices(1, 1))["fast"]["sealed"] >= wanted

            await eventually(sealed)
            lateness.append(time.time() - (began_at + wanted * 0.4 + 0.2))

        assert min(lateness) >= 0
        assert max(lateness) < 2.0


async def test_a_new_write_begins_a_segment_and_drops_the_slice_it_cuts() -> None:
    async with data_plane() as plane:
        await plane.admin.register(slice_seconds=1.5, fast_seconds=0.1, timeout_seconds=1.0)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        began_at = (await plane.admin.slices(1, 1))["began_at"]
        await plane.ask("in-slice-0")
        await asyncio.sleep(max(0.0, began_at + 2.0 - time.time()))
        await plane.ask("in-the-cut-slice")

        await plane.admin.share(token, 2, 6_000)
        await plane.ask("in-the-next-segment")

        async def sealed() -> bool:
            return (await plane.admin.slices(1, 2))["full"]["sealed"] > 0

        await eventually(sealed)
        old, new = await plane.admin.slices(1, 1), await plane.admin.slices(1, 2)
        assert old["full"]["sealed"] == 1
        units = [
            sum(row[arm]["units"] for arm in ("baseline", "candidate"))
            for row in (old["full"]["rows"][0], new["full"]["rows"][0])
        ]
        assert units == [1, 1]


async def test_the_baseline_is_told_over_its_last_sealed_slices() -> None:
    async with data_plane(a=by_unit) as plane:
        await plane.admin.register(slice_seconds=0.3, fast_seconds=0.1, timeout_seconds=1.0)
        for n in range(20):
            await ask(plane, f"{'e500' if n % 4 == 0 else 'ok'}_{n}")

        async def enough() -> bool:
            told = accepted(await plane.admin.call("GET", "baseline", last=20))
            return told["units"] == 20

        await eventually(enough)
        told = accepted(await plane.admin.call("GET", "baseline", last=20))
        assert told["bad"] == {"error": 5, "late": 0, "refusal": 0}
        assert sum(told["latency"].values()) == 20
