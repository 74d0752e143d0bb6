"""A tutor behind HTTP: what it answers, how long it takes, and how the flaky one goes wrong."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import aiohttp
import httpx
import pytest
from aiohttp.test_utils import TestServer

from clients.tutor.server import (
    FLAKY_EXTRA_SECONDS,
    SERVICE_FLOOR_SECONDS,
    SERVICE_TAIL_SECONDS,
    Tutor,
)
from clients.tutor.variants import Variant, warm

START_SECONDS_MAX = 3.0
WENT = {"case_id": "go.past-simple.3s", "verb": "go", "tense": "past-simple", "person": "3s"}


@dataclass(frozen=True)
class Heard:
    status: int
    seconds: float


class Pupil:
    """Asks one tutor over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, body: object = WENT, **headers: str) -> tuple[int, dict[str, str]]:
        async with self._session.post(self._url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def ask_often(self, times: int, **headers: str) -> list[Heard]:
        few = asyncio.Semaphore(20)
        return await asyncio.gather(*(self._timed(few, headers) for _ in range(times)))

    async def _timed(self, few: asyncio.Semaphore, headers: dict[str, str]) -> Heard:
        async with few:
            began = time.monotonic()
            http_status, _ = await self.ask(WENT, **headers)
            return Heard(http_status, time.monotonic() - began)


@asynccontextmanager
async def tutoring(variant: Variant) -> AsyncIterator[Pupil]:
    warm(variant)
    async with (
        TestServer(Tutor(variant, random.Random(5)).app()) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Pupil(session, str(server.make_url("/v1/conjugate")))


async def test_a_tutor_answers_with_the_phrase_and_its_name() -> None:
    async with tutoring(Variant.NAIVE) as pupil:
        answered = await pupil.ask()

    assert answered == (200, {"answer": "goed", "model": "tutor-a"})


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"tense": "long ago"}, "tense: "),
        ({"person": "4s"}, "person: "),
        ({"verb": "go; drop"}, "verb: "),
        ({"verb": "x" * 40}, "verb: "),
        ({"verb": None}, "verb: "),
    ],
)
async def test_a_question_that_cannot_be_understood_is_refused(
    changed: dict[str, str], complaint: str
) -> None:
    async with tutoring(Variant.NAIVE) as pupil:
        http_status, body = await pupil.ask(WENT | changed)

    assert http_status == 400
    assert body["error"].startswith(complaint)


@pytest.mark.parametrize("variant", [Variant.MODEL, Variant.SLIP])
def test_every_tutor_takes_its_time_from_the_same_dice(variant: Variant) -> None:
    naive, other = (Tutor(one, random.Random(5)) for one in (Variant.NAIVE, variant))
    flaky = Tutor(Variant.FLAKY, random.Random(5))

    drawn = [
        (naive._serving(shadow=False), other._serving(shadow=False), flaky._serving(shadow=True))
        for _ in range(5_000)
    ]

    assert all(first == second == copied for first, second, copied in drawn)
    seconds = [first.seconds for first, _, _ in drawn]
    assert min(seconds) >= SERVICE_FLOOR_SECONDS
    assert fmean(seconds) == pytest.approx(SERVICE_FLOOR_SECONDS + SERVICE_TAIL_SECONDS, rel=0.05)


@pytest.mark.parametrize("variant", [Variant.NAIVE, Variant.MODEL, Variant.SLIP])
async def test_a_sound_tutor_never_answers_sooner_and_never_fails(variant: Variant) -> None:
    async with tutoring(variant) as pupil:
        heard = await pupil.ask_often(40)

    assert {one.status for one in heard} == {200}
    assert min(one.seconds for one in heard) >= SERVICE_FLOOR_SECONDS


async def test_half_of_the_flaky_tutors_answers_fail_and_the_others_are_slow() -> None:
    async with tutoring(Variant.FLAKY) as pupil:
        heard = await pupil.ask_often(200)

    failed = [one for one in heard if one.status == 500]
    answered = [one for one in heard if one.status == 200]
    assert len(failed) + len(answered) == 200
    assert 65 < len(failed) < 135
    assert min(one.seconds for one in answered) >= FLAKY_EXTRA_SECONDS + SERVICE_FLOOR_SECONDS
    assert min(one.seconds for one in failed) < FLAKY_EXTRA_SECONDS


async def test_the_flaky_tutor_behaves_while_it_is_only_copied_to() -> None:
    async with tutoring(Variant.FLAKY) as pupil:
        heard = await pupil.ask_often(100, **{"X-Rampway-Shadow": "1"})

    assert {one.status for one in heard} == {200}
    assert sorted(one.seconds for one in heard)[50] < FLAKY_EXTRA_SECONDS


def test_a_tutor_is_ready_in_three_seconds_and_ends_on_sigterm(tmp_path: Path) -> None:
    ready_file = tmp_path / "tutor.json"
    command = [sys.executable, "-m", "clients.tutor.server", "--variant", "b"]
    began = time.monotonic()
    with subprocess.Popen([*command, "--ready-file", str(ready_file)]) as process:
        try:
            while not ready_file.exists():
                assert time.monotonic() - began < START_SECONDS_MAX
                time.sleep(0.01)
            facts = json.loads(ready_file.read_text())
            healthy = httpx.get(facts["url"] + "/healthz")
            answered = httpx.post(facts["url"] + "/v1/conjugate", json=WENT)
        finally:
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=5)

    assert healthy.json() == {"serving": "b"}
    assert answered.json() == {"answer": "goed", "model": "tutor-b"}
    assert (facts["pid"], code) == (process.pid, 0)
