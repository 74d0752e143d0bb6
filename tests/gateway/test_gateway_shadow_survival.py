"""Whatever a candidate does to its copies, callers get the baseline's bytes and the gateway stays small."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from shadowed_planes import all_missing, missing, sampled, shadowing, spooled

from support import hostile_candidate
from support.gateway_process import (
    START_SECONDS,
    AdminClient,
    DataPlane,
    Heard,
    accepted,
    data_plane,
    eventually,
    gateway_process,
    scripted_upstream,
    true,
)

REQUESTS = 150
GROWTH_MIB_MAX = 24  # queue and pairs hold at most 2 + 2 MiB here, and the pool what its sockets do
SHADOW = """
[shadow]
timeout = 0.5
connections = 8
queued_copies = 32
queued_bytes = 2097152
pair_bytes = 2097152
breaker_failures = 1000000
tokens_per_minute = 1e12
[routes."*"]
kind = "chat"
"""
BASELINES = b'{"by": "a"}'
REASONS = {  # why there is no pair; each other mode gives an answer, however odd
    "raises": "candidate_failed",
    "hangs": "timeout",
    "drips": "timeout",
    "endless": "too_large",
    "one-endless-header": "candidate_failed",
    "endless-headers": "candidate_failed",
    "no-http": "candidate_failed",
    "bad-chunks": "candidate_failed",
    "huge-chunk": "too_large",
    "two-lengths": "candidate_failed",
    "cut-short": "candidate_failed",
    "gzip-bomb": "too_large",
    "endless-events": "too_large",
    "informs-for-ever": "candidate_failed",
}
ANSWERS = 120_000  # of which an eighth of the callers leaves before
CALLERS = 48
KINDS = ("plain", "stream", "fails", "late", "plain", "cut", "stream", "leaves")
CANARY = b"a string that only the candidate says"


@contextmanager
def hostile(directory: Path) -> Generator[tuple[str, int]]:
    """A candidate's address and process id."""
    ready = directory / "hostile.port"
    script = [sys.executable, hostile_candidate.__file__, str(ready)]
    with subprocess.Popen(script) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready.exists():
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.01)
            yield f"http://127.0.0.1:{ready.read_text()}", process.pid
        finally:
            process.kill()


@asynccontextmanager
async def plane_with(candidate: str, settings: str = SHADOW) -> AsyncGenerator[DataPlane]:
    """A data plane that copies everything to a candidate at this address."""
    async with (
        scripted_upstream("a") as a,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        urls = {"a": a.url, "b": candidate}
        with gateway_process(urls, settings=settings) as gateway:
            plane = DataPlane(gateway, a, a, AdminClient(http, gateway), http)
            # The baseline's own; a busy machine is not what is tested. Copies have SHADOW's.
            await shadowing(plane, timeout_seconds=20.0)
            yield plane


async def ask_many(plane: DataPlane, mode: str, count: int) -> list[bytes]:
    """The bodies of as many answers, a few requests at a time."""
    together = asyncio.Semaphore(16)

    async def ask(number: int) -> bytes:
        headers = {"x-request-id": f"{mode}-{number}"}
        async with (
            together,
            plane.http.post(plane.url(f"/{mode}"), headers=headers, json={"n": number}) as answer,
        ):
            assert answer.status == 200
            return await answer.read()

    return await asyncio.gather(*(ask(number) for number in range(count)))


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


async def test_callers_get_the_baselines_bytes_whatever_the_candidate_does(tmp_path: Path) -> None:
    with hostile(tmp_path) as (address, _):
        async with plane_with(address) as plane:
            await ask_many(plane, "behaves", REQUESTS)
            before = rss_mib(plane.gateway.pid)
            asked = REQUESTS

            for mode in hostile_candidate.MODES:
                told = await ask_many(plane, mode, REQUESTS)
                asked += REQUESTS
                assert set(told) == {BASELINES}, mode

            await eventually(lambda: true(sampled(plane) == asked), seconds=20)
            assert rss_mib(plane.gateway.pid) - before < GROWTH_MIB_MAX
            assert await plane.admin.metric('errors_total{target="tutor",arm="baseline"}') == 0
            assert "copy.failed" not in plane.gateway.log()
            pairs = spooled(plane, "pair")
            assert len(pairs) == asked
            lost = Counter(line["missing"] for line in pairs if line["missing"])
            assert lost == all_missing(plane)


async def test_each_way_to_misbehave_has_its_reason(tmp_path: Path) -> None:
    with hostile(tmp_path) as (address, _):
        async with plane_with(address) as plane:
            for number, mode in enumerate(hostile_candidate.MODES, start=1):
                await ask_many(plane, mode, 4)
                await eventually(lambda n=number: true(len(spooled(plane, "pair")) == 4 * n))
            told: dict[str, set[str | None]] = {}
            for line in spooled(plane, "pair"):
                told.setdefault(line["trace"].rpartition("-")[0], set()).add(line["missing"])
            assert told == {mode: {REASONS.get(mode)} for mode in hostile_candidate.MODES}


async def test_a_stopped_candidate_costs_time_outs_until_it_goes_on(tmp_path: Path) -> None:
    with hostile(tmp_path) as (address, candidate):
        async with plane_with(address) as plane:
            await ask_many(plane, "behaves", 20)
            await eventually(lambda: true(len(spooled(plane, "pair")) == 20))
            before = rss_mib(plane.gateway.pid)

            os.kill(candidate, signal.SIGSTOP)
            told = await ask_many(plane, "behaves", 400)
            await eventually(lambda: true(sampled(plane) == 420), seconds=20)
            os.kill(candidate, signal.SIGCONT)
            lost = all_missing(plane)
            assert set(told) == {BASELINES}
            assert set(lost) == {"timeout", "queue_full"}
            assert sum(lost.values()) == 400
            assert rss_mib(plane.gateway.pid) - before < GROWTH_MIB_MAX

            pairs = len(spooled(plane, "pair"))

            async def pairs_again() -> bool:
                await ask_many(plane, "behaves", 1)
                return any(line["missing"] is None for line in spooled(plane, "pair")[pairs:])

            await eventually(pairs_again)


async def test_after_a_pause_of_the_gateway_the_storm_of_deadlines_counts_as_time_outs(
    tmp_path: Path,
) -> None:
    settings = SHADOW.replace("breaker_failures = 1000000", "breaker_failures = 20")
    settings = settings.replace("timeout = 0.5\nconnections = 8", "timeout = 0.5\nconnections = 64")
    with hostile(tmp_path) as (address, _):
        async with plane_with(address, settings) as plane:
            told = await ask_many(plane, "hangs", 16)

            os.kill(plane.gateway.pid, signal.SIGSTOP)
            await asyncio.sleep(1.0)  # the pause itself: every deadline passes in it
            os.kill(plane.gateway.pid, signal.SIGCONT)

            await eventually(lambda: true(sampled(plane) == 16))
            assert set(told) == {BASELINES}
            assert all_missing(plane) == {"timeout": 16}
            assert await plane.admin.metric('shadow_breaker_open{target="tutor"}') == 0
            assert set(await ask_many(plane, "behaves", 8)) == {BASELINES}


async def test_a_candidate_that_is_killed_and_comes_back_is_copied_to_again() -> None:
    settings = SHADOW.replace(
        "breaker_failures = 1000000", "breaker_failures = 3\nbreaker_open = 0.3"
    )
    async with scripted_upstream("b") as b:
        port = int(b.url.rpartition(":")[2])
        gone = b.url
    async with plane_with(gone, settings) as plane:
        assert set(await ask_many(plane, "refuses", 50)) == {BASELINES}
        assert await missing(plane, "candidate_failed") >= 1
        assert await missing(plane, "breaker") >= 40

        async with scripted_upstream("b", port=port) as back:

            async def copied() -> bool:
                await ask_many(plane, "again", 1)
                return len(back.copies) >= 3

            await eventually(copied)


@pytest.mark.slow
async def test_no_byte_of_the_candidate_is_in_a_hundred_thousand_answers() -> None:
    """Streams, errors, time-outs, callers who leave, and each switch of the shadow, all at once."""
    async with data_plane(a=answers_as_asked, b=says_the_canary, settings=SHADOW) as plane:
        await plane.admin.register(slice_seconds=0.5, timeout_seconds=0.5)
        leaked: list[bytes] = []
        begun = 0

        async def call(number: int) -> None:
            nonlocal begun
            kind = KINDS[number % len(KINDS)]
            headers = {"x-request-id": f"{kind}_{number}"}
            told = b""
            with suppress(TimeoutError, aiohttp.ClientPayloadError):
                async with (
                    asyncio.timeout(0.02 if kind == "leaves" else 30.0),
                    plane.http.get(plane.url(), headers=headers) as answer,
                ):
                    begun += 1
                    told = str(answer.headers).encode()
                    async for chunk in answer.content.iter_any():
                        told += chunk
            leaked.extend([told] if CANARY in told else [])

        async def caller(first: int) -> None:
            for number in range(first, ANSWERS, CALLERS):
                await call(number)

        async def switch() -> None:
            for release in range(10_000):
                token = await plane.admin.claim(f"r{release}")
                await plane.admin.shadow(token, 1, 10_000)
                await asyncio.sleep(0.2)
                await plane.admin.shadow(token, 2, 0)
                await plane.admin.shadow(token, 3, 5_000)
                await asyncio.sleep(0.2)
                accepted(await plane.admin.write("end", token, 3, ending="rolled_back"))

        switching = asyncio.create_task(switch())
        try:
            await asyncio.gather(*(caller(first) for first in range(CALLERS)))
        finally:
            switching.cancel()
            with suppress(asyncio.CancelledError):
                await switching

        assert begun >= 100_000
        assert leaked == []
        assert len(plane.b.copies) > ANSWERS / 10
        assert plane.b.served == []


async def answers_as_asked(heard: Heard) -> web.StreamResponse:
    kind = heard.headers["x-request-id"].partition("_")[0]
    if kind == "stream":
        response = web.StreamResponse()
        await response.prepare(heard.request)
        for _ in range(3):
            await response.write(b"data: a\n\n")
            await asyncio.sleep(0)
        return response
    if kind == "cut":
        response = web.StreamResponse()
        await response.prepare(heard.request)
        await response.write(b"half")
        assert heard.request.transport is not None
        heard.request.transport.abort()
        return response
    if kind == "leaves":
        await asyncio.sleep(0.1)
    if kind == "late" and int(heard.headers["x-request-id"].partition("_")[2]) % 50 == 0:
        await asyncio.sleep(1.0)  # beyond the target's time-out: the gateway answers itself
    return web.json_response({"by": "a"}, status=500 if kind == "fails" else 200)


async def says_the_canary(heard: Heard) -> web.StreamResponse:
    told = CANARY.decode()
    if heard.headers["x-request-id"].startswith("fails"):
        return web.Response(status=503, reason=told, text=told)
    return web.json_response({"said": told}, headers={"x-said": told, "set-cookie": told})
