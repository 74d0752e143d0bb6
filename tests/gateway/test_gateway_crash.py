"""What a SIGKILL, a SIGTERM and a full disk leave behind, in the real process."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from support.gateway_process import (
    BASELINE,
    AdminClient,
    DataPlane,
    GatewayProcess,
    Heard,
    accepted,
    data_plane,
    eventually,
    scripted_upstream,
    true,
)


async def keep_asking(plane: DataPlane, told: list[str]) -> None:
    """Ask without end; a gateway that is down is asked again."""
    n = 0
    while True:
        n += 1
        try:
            told.append((await plane.ask(f"load-{id(told)}-{n}"))["by"])
        except (aiohttp.ClientError, OSError, KeyError):
            await asyncio.sleep(0.01)


async def test_a_kill_under_load_raises_nothing_and_changes_no_sealed_slice() -> None:
    async with data_plane() as plane:
        await plane.admin.register(slice_seconds=0.2, fast_seconds=0.1, timeout_seconds=0.2)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 2_500)
        load = [asyncio.create_task(keep_asking(plane, [])) for _ in range(4)]
        for sequence, share_bp in ((2, 5_000), (3, 1_000), (4, 9_900)):
            await plane.admin.share(token, sequence, share_bp)

            async def two_sealed(segment: int = sequence) -> bool:
                return (await plane.admin.slices(1, segment))["full"]["sealed"] >= 2

            await eventually(two_sealed)
            before = await plane.admin.slices(1, sequence)

            plane.gateway.kill()
            plane.gateway.start()

            seen, after = await plane.admin.observe(), await plane.admin.slices(1, sequence)
            assert seen["share_bp"] == share_bp
            for stream in ("fast", "full"):
                kept = after[stream]["rows"][: len(before[stream]["rows"])]
                assert kept == before[stream]["rows"]
                assert after[stream]["sealed"] >= before[stream]["sealed"]
            again = accepted(await plane.admin.write("share", token, sequence, share_bp=share_bp))
            assert again["segment"] == sequence
        for task in load:
            task.cancel()
        rows = (await plane.admin.slices(1, 4))["fast"]["rows"]
        indexes = [row["i"] for row in rows]
        assert indexes == sorted(set(indexes))


async def test_a_lease_that_ran_out_while_the_gateway_was_dead_is_down_before_the_first_request() -> (
    None
):
    async with data_plane() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        accepted(await plane.admin.write("share", token, 1, share_bp=10_000, ttl_seconds=0.3))
        assert (await plane.ask())["by"] == "b"

        plane.gateway.kill()
        await asyncio.sleep(0.3)
        plane.gateway.start()
        heard = len(plane.b.heard)

        assert {(await plane.ask())["by"] for _ in range(20)} == {"a"}
        assert len(plane.b.heard) == heard
        assert plane.gateway.lines("splits.jsonl")[-1]["cause"] == "load"


async def test_a_pin_survives_a_kill_at_once() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)

        accepted(await plane.admin.write("pin", token, 1, cause="breach", why="errors"))
        plane.gateway.kill()
        plane.gateway.start()

        seen = await plane.admin.observe()
        assert (seen["share_bp"], seen["pinned_by"]["why"]) == (0, "errors")


async def test_a_torn_state_serves_nothing_until_the_target_is_registered_again() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)
        plane.gateway.kill()
        path = plane.gateway.state_dir / "state.json"
        path.write_bytes(path.read_bytes()[:-7])

        plane.gateway.start()

        assert (await plane.ask())["status"] == 404
        assert (await plane.admin.call("GET", "/readyz"))[0] == 503
        await plane.admin.register()
        assert (await plane.ask())["by"] == "a"
        assert (await plane.admin.call("GET", "/readyz"))[0] == 200
        status, told = await plane.admin.write("share", token, 2, share_bp=100)
        assert (status, told["error"]) == (409, "fenced")


async def test_sigterm_finishes_streams_and_takes_no_new_connection() -> None:
    async def slow_stream(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(heard.request)
        for _ in range(6):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    async with data_plane(a=slow_stream) as plane:
        await plane.admin.register()
        url = plane.url()
        async with plane.http.get(url) as answer:
            assert await answer.content.readexactly(1) == b"x"
            stopping = asyncio.create_task(asyncio.to_thread(plane.gateway.stop))
            await eventually(lambda: true("gateway.draining" in plane.gateway.log()))
            async with aiohttp.ClientSession() as other:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    await other.get(url)
                    raise AssertionError
            assert await answer.read() == b"x" * 5
        assert await stopping == 0


async def test_sigterm_waits_no_longer_than_its_bound() -> None:
    async def endless(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(heard.request)
        await response.write(b"x")
        await asyncio.sleep(30)
        return response

    async with data_plane(a=endless, settings="[timeouts]\ndrain = 0.2") as plane:
        await plane.admin.register()
        async with plane.http.get(plane.url()) as answer:
            assert await answer.content.readexactly(1) == b"x"
            began = time.monotonic()
            assert await asyncio.to_thread(plane.gateway.stop) == 0
            assert time.monotonic() - began < 5


async def test_a_full_disk_for_logs_drops_lines_and_no_request() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with scripted_upstream("a") as upstream, aiohttp.ClientSession() as http:
            gateway = GatewayProcess(Path(directory), {"a": upstream.url})
            gateway.state_dir.mkdir()
            for name in ("traffic-tutor.jsonl", "spool-tutor.jsonl"):
                (gateway.state_dir / name).symlink_to("/dev/full")
            gateway.start()
            try:
                admin = AdminClient(http, gateway)
                plane = DataPlane(gateway, upstream, upstream, admin, http)
                await admin.register()
                assert [(await plane.ask())["status"] for _ in range(50)] == [200] * 50

                sample = 'lines_dropped_total{file="traffic-tutor.jsonl",reason="disk"}'

                async def dropped() -> bool:
                    return await admin.metric(sample) == 50

                await eventually(dropped)
                assert (await admin.observe())["baseline"] == BASELINE
            finally:
                gateway.kill()
