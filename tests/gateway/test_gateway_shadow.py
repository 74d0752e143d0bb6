"""The shadow never delays, fails or leaks into an answer; what it drops is counted."""

import asyncio
import time

from aiohttp import web
from shadowed_planes import missing, shadowing, spooled

from support.gateway_process import (
    BASELINE,
    CANDIDATE,
    Heard,
    accepted,
    data_plane,
    eventually,
    served,
    true,
)

CANARY = "a string that only the candidate says"
SHADOW = """
[shadow]
timeout = 0.5
connections = 4
queued_copies = 4
breaker_failures = 6
breaker_open = 0.4
body_bytes = 2000
"""


async def says_the_canary(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"said": CANARY}, headers={"x-said": CANARY})


async def hangs(_heard: Heard) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


async def test_each_sampled_request_is_copied_once_and_both_answers_are_spooled() -> None:
    async with data_plane(b=says_the_canary) as plane:
        dressed = served(CANDIDATE, "b", fields={"model": "new"}, headers={"X-Prompt": "p2"})
        await shadowing(plane, candidate=dressed)

        told = [await plane.ask(f"u{n}", model="old", n=n) for n in range(20)]
        await eventually(lambda: true(len(spooled(plane, "pair")) == 20))

        assert all(one == {"status": 200, "by": "a"} for one in told)
        assert [heard.is_copy for heard in plane.b.heard] == [True] * 20
        assert {heard.headers["x-request-id"] for heard in plane.b.heard} == {
            f"u{n}" for n in range(20)
        }
        assert {heard.json()["model"] for heard in plane.b.heard} == {"new"}
        assert {heard.headers["X-Prompt"] for heard in plane.b.heard} == {"p2"}
        assert not any(heard.is_copy for heard in plane.a.heard)
        [pair] = [line for line in spooled(plane, "pair") if line["trace"] == "u7"]
        assert pair["request"] == {"model": "old", "n": 7}
        assert (pair["baseline"]["body"], pair["candidate"]["body"]) == (
            {"by": "a"},
            {"said": CANARY},
        )
        assert (pair["epoch"], pair["segment"], pair["missing"]) == (1, 1, None)
        await eventually(lambda: true(sum(mark["copied"] for mark in spooled(plane, "mark")) == 20))
        marks = spooled(plane, "mark")
        assert [mark["i"] for mark in marks] == list(range(len(marks)))
        assert all(mark["missing"] == {} for mark in marks)
        copies = [line for line in plane.gateway.lines("traffic-tutor.jsonl") if line["shadow"]]
        assert len(copies) == 20
        assert {line["arm"] for line in copies} == {"candidate"}


async def test_no_byte_of_the_candidate_reaches_a_caller_while_it_shadows() -> None:
    async def a_varied(heard: Heard) -> web.StreamResponse:
        told = heard.headers["x-request-id"]
        if told.startswith("stream"):
            response = web.StreamResponse()
            await response.prepare(heard.request)
            for _ in range(3):
                await response.write(b"data: a\n\n")
                await asyncio.sleep(0.01)
            return response
        return web.json_response({"by": "a"}, status=500 if told.startswith("fails") else 200)

    async with data_plane(a=a_varied, b=says_the_canary) as plane:
        await shadowing(plane)

        async def ask(unit: str) -> bytes:
            async with plane.http.post(plane.url(), headers={"x-request-id": unit}) as answer:
                return str(answer.headers).encode() + await answer.read()

        kinds = ("plain", "stream", "fails")
        told = await asyncio.gather(*(ask(f"{kinds[n % 3]}-{n}") for n in range(90)))
        assert not any(CANARY.encode() in one for one in told)
        await eventually(lambda: true(spooled(plane, "mark")))


async def test_a_hanging_candidate_delays_nobody_and_its_copies_are_counted_as_dropped() -> None:
    async with data_plane(b=hangs, settings=SHADOW) as plane:
        await shadowing(plane)
        took: list[float] = []
        for n in range(100):
            began = time.monotonic()
            assert (await plane.ask(f"u{n}"))["status"] == 200
            took.append(time.monotonic() - began)

        async def all_counted() -> bool:
            reasons = ("timeout", "queue_full", "breaker")
            return sum([await missing(plane, one) for one in reasons]) == 100

        await eventually(all_counted)
        assert sorted(took)[90] < 0.25
        assert await missing(plane, "queue_full") > 0
        assert len(plane.b.heard) < 20
        assert len(spooled(plane, "pair")) <= 100
        await eventually(
            lambda: true(
                sum(sum(mark["missing"].values()) for mark in spooled(plane, "mark")) == 100
            )
        )


async def test_the_breaker_holds_copies_back_and_probes() -> None:
    async with data_plane(settings=SHADOW) as plane:
        token = await shadowing(plane, candidate=served(CANDIDATE, "gone"))
        for n in range(30):
            await plane.ask(f"u{n}")

        assert await plane.admin.metric('shadow_breaker_open{target="tutor"}') == 1
        assert await missing(plane, "breaker") >= 20
        assert await missing(plane, "candidate_failed") <= 10
        accepted(await plane.admin.write("pin", token, 1, cause="abort"))
        assert await plane.admin.metric('shadow_breaker_open{target="tutor"}') == 0


async def test_a_candidate_that_answers_500_makes_a_pair() -> None:
    async def fails(_heard: Heard) -> web.StreamResponse:
        return web.Response(status=500, text="it broke")

    async with data_plane(b=fails) as plane:
        await shadowing(plane)
        await plane.ask("u")

        await eventually(lambda: true(spooled(plane, "pair")))

        [pair] = spooled(plane, "pair")
        assert (pair["candidate"]["status"], pair["candidate"]["body"]) == (500, "it broke")
        assert pair["missing"] is None


async def test_a_caller_who_leaves_makes_no_pair_and_the_copy_goes_on() -> None:
    async with data_plane(a=hangs) as plane:
        await shadowing(plane)
        try:
            async with asyncio.timeout(0.2):
                await plane.ask("u")
        except TimeoutError:
            pass

        await eventually(lambda: true(spooled(plane, "pair")))

        assert spooled(plane, "pair")[0]["missing"] == "client"
        assert len(plane.b.copies) == 1


async def test_large_bodies_make_no_pair_and_pass_all_the_same() -> None:
    async def large(_heard: Heard) -> web.StreamResponse:
        return web.Response(body=b"x" * 5_000)

    async with data_plane(a=large, settings=SHADOW) as plane:
        await shadowing(plane)

        async with plane.http.post(plane.url()) as answer:
            assert len(await answer.read()) == 5_000
        async with plane.http.post(plane.url(), data=b"y" * 5_000) as answer:
            assert answer.status == 200

        assert await missing(plane, "too_large") == 2
        assert len(plane.b.copies) == 1


async def test_only_the_sampled_part_is_copied_and_none_when_anybody_is_exposed() -> None:
    async with data_plane() as plane:
        token = await shadowing(plane, rate_bp=3_000)
        for n in range(100):
            await plane.ask(f"u{n}")
        await eventually(lambda: true(spooled(plane, "pair")))
        sampled = len(plane.b.copies)

        await plane.admin.share(token, 2, 1)
        before = len(plane.b.copies)
        for n in range(30):
            await plane.ask(f"v{n}")

        assert 10 <= sampled <= 55
        assert len(plane.b.copies) == before


async def test_a_pin_stops_copies_that_are_still_waiting() -> None:
    async with data_plane(b=hangs, settings=SHADOW) as plane:
        token = await shadowing(plane)
        for n in range(8):
            await plane.ask(f"u{n}")
        heard = len(plane.b.heard)

        accepted(await plane.admin.write("pin", token, 1, cause="abort"))

        async def stopped() -> bool:
            return await missing(plane, "stopped") == 4

        await eventually(stopped)
        assert len(plane.b.heard) == heard == 4


async def test_shadow_requests_are_counted_for_the_baseline_only() -> None:
    async with data_plane() as plane:
        await shadowing(plane)
        for n in range(10):
            await plane.ask(f"u{n}")

        async def sealed() -> bool:
            rows = (await plane.admin.slices(1, 1))["full"]["rows"]
            return sum(row["baseline"]["units"] for row in rows) == 10

        await eventually(sealed)
        rows = (await plane.admin.slices(1, 1))["full"]["rows"]
        assert sum(row["candidate"]["units"] for row in rows) == 0
        assert (await plane.admin.observe())["baseline"] == BASELINE
