"""Asks a tutor on this machine the exam's questions, at random moments, at a steady mean rate.

`python -m clients.tutor.load --url http://127.0.0.1:8600/v1/conjugate --rate 160 --seconds 240`
"""

import argparse
import asyncio
import contextlib
import ipaddress
import random
import signal
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from math import ceil, log
from urllib.parse import urlsplit

import aiohttp
import orjson

from clients.tutor.cases import Question, questions

IN_FLIGHT_MAX = 256
WARM_UP_CONNECTIONS = 32
ANSWER_SECONDS_MAX = 5.0
LATENCY_BUCKET_RATIO = 1.02


class NotLoopback(Exception):
    """The URL leads off this machine, where nobody asked for this load."""


@dataclass
class Played:
    """What came of the load: outcomes by status code, or by the error that stood in for one.

    `skipped` requests were due while IN_FLIGHT_MAX others were waiting. Latencies are counted per
    bucket k, in `[1.02**k, 1.02**(k+1))` ms, from the moment a request was due, not when it left:
    a stalled target is not spared the waiting it caused.
    """

    seconds: float = 0.0
    skipped: int = 0
    outcomes: Counter[str] = field(default_factory=Counter[str])
    latency: Counter[int] = field(default_factory=Counter[int])

    def count(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.latency[int(log(max(1.0, seconds * 1000), LATENCY_BUCKET_RATIO))] += 1

    @property
    def sent(self) -> int:
        return self.outcomes.total()

    def latency_ms(self, quantile: float) -> float | None:
        """The upper end of the bucket that holds the quantile; None when nothing was sent."""
        rank = ceil(quantile * self.sent)
        for bucket in sorted(self.latency):
            rank -= self.latency[bucket]
            if rank <= 0:
                return LATENCY_BUCKET_RATIO ** (bucket + 1)
        return None


async def play(
    url: str, *, requests_per_second: float, seconds_max: float, stop: asyncio.Event, seed: int
) -> Played:
    """Post questions to `url` as a Poisson process, until `stop` is set or the time is over.

    Open loop: a slow target is asked no less. Connections are opened before the count begins.
    Raises NotLoopback.
    """
    _refuse_other_machines(url)
    dice = random.Random(seed)  # noqa: S311 - which question comes next, not a secret
    exam = [_body(question) for question in questions()]
    clock = asyncio.get_running_loop()
    played = Played()
    async with _session() as session:
        await _warm_up(session, url, dice.choices(exam, k=WARM_UP_CONNECTIONS))
        began = due = clock.time()
        async with asyncio.TaskGroup() as in_flight:
            waiting: set[asyncio.Task[None]] = set()
            while (due := due + dice.expovariate(requests_per_second)) < began + seconds_max:
                await _wait_until(due, stop)
                if stop.is_set():
                    break
                if len(waiting) == IN_FLIGHT_MAX:
                    played.skipped += 1
                    continue
                ask = in_flight.create_task(_ask(session, url, dice.choice(exam), due, played))
                waiting.add(ask)
                ask.add_done_callback(waiting.discard)
            played.seconds = clock.time() - began
    return played


def _refuse_other_machines(url: str) -> None:
    host = urlsplit(url).hostname or ""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise NotLoopback(
            f"This load generator only asks this machine; {host or url!r} is not a loopback address. "
            "Next: give a URL on 127.0.0.1, [::1] or localhost."
        )


def _body(question: Question) -> bytes:
    return orjson.dumps(
        {
            "case_id": question.case_id,
            "verb": question.verb,
            "tense": question.tense,
            "person": question.person,
        }
    )


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=IN_FLIGHT_MAX),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX),
        headers={"Content-Type": "application/json"},
    )


async def _warm_up(session: aiohttp.ClientSession, url: str, bodies: list[bytes]) -> None:
    """Open one connection for each body; what comes of it is not counted."""
    uncounted = Played()
    due = asyncio.get_running_loop().time()
    await asyncio.gather(*(_ask(session, url, body, due, uncounted) for body in bodies))


async def _wait_until(due: float, stop: asyncio.Event) -> None:
    """Also steps aside when `due` is past, so that answers are read while the questions are late."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            await stop.wait()


async def _ask(
    session: aiohttp.ClientSession, url: str, body: bytes, due: float, played: Played
) -> None:
    try:
        async with session.post(
            url, data=body, headers={"X-Request-Id": str(uuid.uuid4())}
        ) as answer:
            await answer.read()
            outcome = str(answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome = type(error).__name__
    played.count(outcome, asyncio.get_running_loop().time() - due)


async def _play_until_told(options: argparse.Namespace) -> Played:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await play(
        options.url,
        requests_per_second=options.rate,
        seconds_max=options.seconds,
        stop=stop,
        seed=options.seed,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m clients.tutor.load", description=__doc__)
    parser.add_argument("--url", required=True, help="where questions are posted, on this machine")
    parser.add_argument("--rate", type=float, default=160.0, help="mean requests per second")
    parser.add_argument("--seconds", type=float, default=240.0, help="stop after this time")
    parser.add_argument("--seed", type=int, default=1, help="of the questions and their moments")
    try:
        played = asyncio.run(_play_until_told(parser.parse_args()))
    except NotLoopback as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(orjson.dumps(_summary(played)).decode())
    return 0


def _summary(played: Played) -> dict[str, float | dict[str, int] | None]:
    return {
        "seconds": round(played.seconds, 3),
        "sent": played.sent,
        "skipped": played.skipped,
        "outcomes": dict(played.outcomes),
        **{f"latency_ms_p{q}": played.latency_ms(q / 100) for q in (50, 95, 99)},
    }


if __name__ == "__main__":
    sys.exit(main())
