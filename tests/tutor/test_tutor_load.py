"""The load generator keeps its rate, keeps its bounds, and keeps to this machine."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from clients.tutor import load
from clients.tutor.cases import questions
from clients.tutor.load import WARM_UP_CONNECTIONS, NotLoopback, Played, play


@dataclass
class Target:
    """Answers at once, with `status`, or hangs; remembers what it was asked."""

    status: int = 200
    hanging: bool = False
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    at_once: int = 0
    at_once_most: int = 0
    plays: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.at_once_most = max(self.at_once, self.at_once_most)
        try:
            self.asked.append(await request.json())
            if len(self.asked) > WARM_UP_CONNECTIONS:
                self.plays.set()
            self.ids.add(request.headers["X-Request-Id"])
            await asyncio.sleep(60 if self.hanging else 0)
        finally:
            self.at_once -= 1
        return web.Response(status=self.status)


@asynccontextmanager
async def serving(target: Target) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/conjugate", target.answer)
    async with TestServer(app, handler_cancellation=True) as server:
        yield str(server.make_url("/v1/conjugate"))


async def played(
    url: str, *, rate: float, seconds: float, stop: asyncio.Event | None = None
) -> Played:
    return await play(
        url,
        requests_per_second=rate,
        seconds_max=seconds,
        stop=stop or asyncio.Event(),
        seed=3,
    )


async def until_it_plays(target: Target) -> None:
    async with asyncio.timeout(10):
        await target.plays.wait()


async def test_it_reaches_its_rate_and_stops_by_itself() -> None:
    target = Target()

    async with serving(target) as url:
        result = await played(url, rate=160, seconds=3)

    assert result.outcomes == {"200": result.sent}
    assert result.sent / 3 == pytest.approx(160, rel=0.1)
    assert result.skipped == 0
    assert result.seconds < 3.2


async def test_warm_up_is_not_counted_and_every_request_has_its_own_id() -> None:
    target = Target()

    async with serving(target) as url:
        result = await played(url, rate=100, seconds=0.5)

    assert len(target.asked) == len(target.ids) == result.sent + WARM_UP_CONNECTIONS


async def test_it_asks_questions_of_the_exam_at_random() -> None:
    target = Target()

    async with serving(target) as url:
        await played(url, rate=200, seconds=0.5)

    exam = {question.case_id for question in questions()}
    asked = {one["case_id"] for one in target.asked}
    assert asked <= exam
    assert len(asked) > 0.9 * len(target.asked)
    assert all(
        one["case_id"] == f"{one['verb']}.{one['tense']}.{one['person']}" for one in target.asked
    )


async def test_it_stops_when_it_is_told_to() -> None:
    stop, target = asyncio.Event(), Target()
    async with serving(target) as url:
        playing = asyncio.create_task(played(url, rate=50, seconds=3600, stop=stop))
        await until_it_plays(target)

        stop.set()

        result = await asyncio.wait_for(playing, timeout=2)
    assert result.sent > 0
    assert target.at_once == 0


async def test_failures_are_counted_by_their_kind() -> None:
    async with serving(Target(status=503)) as url:
        answered = await played(url, rate=100, seconds=0.3)
    gone = await played(url, rate=100, seconds=0.3)

    assert set(answered.outcomes) == {"503"}
    assert set(gone.outcomes) == {"ClientConnectorError"}


async def test_a_hanging_target_is_asked_no_more_than_the_bound_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "IN_FLIGHT_MAX", 8)
    monkeypatch.setattr(load, "WARM_UP_CONNECTIONS", 1)
    monkeypatch.setattr(load, "ANSWER_SECONDS_MAX", 0.2)
    target = Target(hanging=True)

    async with serving(target) as url:
        result = await played(url, rate=400, seconds=0.5)

    assert target.at_once_most <= 8
    assert result.skipped > 0
    assert set(result.outcomes) == {"TimeoutError"}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1/conjugate",
        "http://10.0.0.7/v1/conjugate",
        "http://0.0.0.0:80/",
        "http://127.0.0.1.example.org/",
        "http://[2001:db8::1]/",
        "not a url",
    ],
)
async def test_it_refuses_to_load_another_machine(url: str) -> None:
    with pytest.raises(NotLoopback, match="only asks this machine"):
        await played(url, rate=1, seconds=1)


def test_latencies_are_told_within_two_percent() -> None:
    result = Played()
    for milliseconds in range(1, 101):
        result.count("200", milliseconds / 1000)

    assert result.latency_ms(0.5) == pytest.approx(50, rel=0.04)
    assert result.latency_ms(0.99) == pytest.approx(99, rel=0.04)
    assert Played().latency_ms(0.5) is None


async def test_the_command_ends_on_sigterm_with_a_summary() -> None:
    target = Target()
    async with serving(target) as url:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "clients.tutor.load", "--url", url, "--rate", "50"],
            stdout=subprocess.PIPE,
        )
        await until_it_plays(target)
        process.send_signal(signal.SIGTERM)
        printed, _ = await asyncio.wait_for(process.communicate(), timeout=5)

    summary = json.loads(printed)
    assert process.returncode == 0
    assert summary["outcomes"] == {"200": summary["sent"]}
    assert summary["latency_ms_p50"] > 0


def test_the_command_refuses_another_machine() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "clients.tutor.load", "--url", "http://example.org/"],
        capture_output=True,
        check=False,
    )

    assert ended.returncode == 2
    assert b"only asks this machine" in ended.stderr
