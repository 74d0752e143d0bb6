"""Copies sampled requests to the candidate: never awaited by a caller, bounded, and heard by nobody else.

A copy goes through a queue and a pool of its own; what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict

from rampway.gateway import pairing
from rampway.gateway.breaker import Breaker
from rampway.gateway.counting import Outcome
from rampway.gateway.headers import SHADOW, with_fields
from rampway.gateway.pairing import Pair, Pairing
from rampway.gateway.routing import Passage, Router
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.spool import Half
from rampway.gateway.terms import Clock, Served
from rampway.gateway.upstreams import Upstream

_COPY_OVERHEAD_BYTES = 2_048  # what a waiting copy holds beside its body


@dataclass(frozen=True)
class Copy:
    """A request to be repeated to the candidate. `headers` are the caller's end-to-end fields."""

    passage: Passage
    pair: Pair
    pairing: Pairing
    candidate: Served
    upstream: Upstream
    method: str
    rest: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + _COPY_OVERHEAD_BYTES


class Copier:
    """The copies of one claim on one target."""

    def __init__(self, settings: ShadowSettings, *, router: Router, clock: Clock) -> None:
        self._settings = settings
        self._router = router
        self._clock = clock
        self._queue: deque[Copy] = deque()
        self._queued_bytes = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self.breaker = Breaker(
            failures_max=settings.breaker_failures, open_seconds=settings.breaker_open
        )

    def offer(self, copy: Copy) -> None:
        """Take a copy, now or never; returns at once."""
        size = copy.size_bytes
        if len(self._in_flight) < self._settings.connections:
            self._start(copy)
        elif self.breaker.is_open():
            copy.pairing.miss(copy.pair, pairing.BREAKER)
        elif (
            len(self._queue) >= self._settings.queued_copies
            or self._queued_bytes + size > self._settings.queued_bytes
        ):
            copy.pairing.miss(copy.pair, pairing.QUEUE_FULL)
        else:
            self._queue.append(copy)
            self._queued_bytes += size

    async def close(self) -> None:
        self._queue.clear()
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _start(self, copy: Copy) -> None:
        if not self._router.is_shadowing(copy.pairing):
            copy.pairing.miss(copy.pair, pairing.STOPPED)
        elif not self.breaker.allows(self._clock.monotonic()):
            copy.pairing.miss(copy.pair, pairing.BREAKER)
        else:
            task = asyncio.create_task(self._send(copy))
            self._in_flight.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        while self._queue and len(self._in_flight) < self._settings.connections:
            copy = self._queue.popleft()
            self._queued_bytes -= copy.size_bytes
            self._start(copy)

    async def _send(self, copy: Copy) -> None:
        began = self._clock.monotonic()
        outcome, missing = Outcome(), None
        try:
            half = await self._ask(copy, began)
        except TimeoutError:
            outcome.kind, missing = "timeout", pairing.TIMEOUT
        except (aiohttp.ClientError, OSError):
            outcome.kind, missing = "reset", pairing.CANDIDATE_FAILED
        else:
            outcome.status, outcome.size_bytes = half.status, len(half.body or b"")
            if outcome.size_bytes > self._settings.body_bytes:
                missing = pairing.TOO_LARGE
            else:
                copy.pairing.take_candidate(copy.pair, half)
        now = self._clock.monotonic()
        if outcome.kind is None:
            self.breaker.answered()
        else:
            self.breaker.failed(now)
        if missing is not None:
            copy.pairing.miss(copy.pair, missing)
        self._router.note_copy(copy.passage, outcome, now - began)

    async def _ask(self, copy: Copy, began: float) -> Half:
        """The candidate's answer, read only as far as it may be kept."""
        serve = copy.candidate.serve
        headers = copy.upstream.dress(copy.headers, serve, copy.passage.request_id)
        headers[SHADOW] = "1"
        headers.popall("Accept-Encoding", None)  # the judge reads plain bodies
        timeout = min(self._settings.timeout, copy.passage.route.timeout_seconds)
        async with copy.upstream.copies.request(
            copy.method,
            copy.upstream.url(copy.rest),
            headers=headers,
            data=with_fields(copy.body, serve.fields) or None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as answer:
            body = bytearray()
            while len(body) <= self._settings.body_bytes:
                chunk = await answer.content.readany()
                if not chunk:
                    break
                body += chunk
            latency_ms = (self._clock.monotonic() - began) * 1_000
            encoding = answer.headers.get("Content-Encoding", "").lower()
            return Half(answer.status, latency_ms, bytes(body), encoding)
