"""Copies sampled requests to the candidate: never awaited by a caller, bounded, and heard by nobody else.

A copy goes through a queue and a pool of its own; what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import structlog
from multidict import CIMultiDict

from rampway.gateway import pairing
from rampway.gateway.answers import is_json, kind_of_status
from rampway.gateway.breaker import Breaker
from rampway.gateway.counting import OTHER_KIND, Outcome
from rampway.gateway.headers import SHADOW, with_fields
from rampway.gateway.load import Load
from rampway.gateway.pairing import Pair, Pairing
from rampway.gateway.refusals import HEADER as REFUSED
from rampway.gateway.refusals import says_refused
from rampway.gateway.requestlog import REQUEST, CopyOf
from rampway.gateway.routing import Passage, Router
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.shadowbudget import Budget, Charge
from rampway.gateway.spool import Half
from rampway.gateway.terms import Clock, Served
from rampway.gateway.tracing import OpenSpan
from rampway.gateway.upstreams import Upstream

_COPY_OVERHEAD_BYTES = 2_048  # what a waiting copy holds beside its body
_log = structlog.get_logger("rampway.gateway")


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


class Waiting(NamedTuple):
    """A copy that was charged and has not been sent."""

    copy: Copy
    charge: Charge


class Copier:
    """The copies of one claim on one target."""

    def __init__(
        self,
        settings: ShadowSettings,
        *,
        router: Router,
        clock: Clock,
        budget: Budget,
        load: Load,
    ) -> None:
        self._settings = settings
        self._router = router
        self._clock = clock
        self._budget = budget
        self._load = load
        self._queue: deque[Waiting] = deque()
        self._queued_bytes = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self.breaker = Breaker(
            failures_max=settings.breaker_failures, open_seconds=settings.breaker_open
        )

    def offer(self, copy: Copy) -> None:
        """Take a copy, now or never; returns at once."""
        now = self._clock.monotonic()
        missing = self._no_room(copy, now)
        if missing is not None:
            copy.pairing.miss(copy.pair, missing)
            return
        charge = self._budget.let_go(len(copy.body), now)
        if charge is None:
            copy.pairing.miss(copy.pair, pairing.BUDGET)
        elif self._has_connection:
            self._start(Waiting(copy, charge))
        else:
            self._queue.append(Waiting(copy, charge))
            self._queued_bytes += copy.size_bytes

    async def close(self) -> None:
        self._queue.clear()
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    def _no_room(self, copy: Copy, now: float) -> str | None:
        """Why the copy cannot go, whatever is left of the budget."""
        if self._load.is_high(now):
            return pairing.LOAD
        if self._has_connection:
            return None
        if self.breaker.is_open():
            return pairing.BREAKER
        full = len(self._queue) >= self._settings.queued_copies
        if full or self._queued_bytes + copy.size_bytes > self._settings.queued_bytes:
            return pairing.QUEUE_FULL
        return None

    @property
    def _has_connection(self) -> bool:
        return len(self._in_flight) < self._settings.connections

    def _start(self, waiting: Waiting) -> None:
        copy = waiting.copy
        if not self._router.is_shadowing(copy.pairing) or copy.upstream.is_retired:
            self._give_up(waiting, pairing.STOPPED)
        elif not self.breaker.allows(self._clock.monotonic()):
            self._give_up(waiting, pairing.BREAKER)
        else:
            copy.upstream.taken()
            task = asyncio.create_task(self._send(waiting))
            self._in_flight.add(task)
            task.add_done_callback(lambda _: copy.upstream.given_back())
            task.add_done_callback(self._ended)

    def _give_up(self, waiting: Waiting, reason: str) -> None:
        self._budget.give_back(waiting.charge)
        waiting.copy.pairing.miss(waiting.copy.pair, reason)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        while self._queue and self._has_connection:
            waiting = self._queue.popleft()
            self._queued_bytes -= waiting.copy.size_bytes
            self._start(waiting)

    async def _send(self, waiting: Waiting) -> None:
        copy, charge = waiting
        began = self._clock.monotonic()
        outcome, missing = Outcome(), None
        span = copy.passage.span.copy() if copy.passage.span else None
        REQUEST.set(CopyOf(copy.passage))
        try:
            half = await self._ask(copy, began, outcome, span)
        except TimeoutError:
            outcome.kind, missing = "timeout", pairing.TIMEOUT
        except (aiohttp.ClientError, OSError):
            outcome.kind, missing = "reset", pairing.CANDIDATE_FAILED
        except Exception:  # noqa: BLE001 - whatever a candidate provokes ends its copy only
            _log.exception("copy.failed", target=copy.pairing.target)
            outcome.kind, missing = OTHER_KIND, pairing.CANDIDATE_FAILED
        else:
            body = half.body or b""
            outcome.status, outcome.size_bytes = half.status, len(body)
            self._budget.answered(charge, len(copy.body), body, half.encoding)
            if outcome.size_bytes > self._settings.body_bytes:
                missing = pairing.TOO_LARGE
            else:
                copy.pairing.take_candidate(copy.pair, half)
        now = self._clock.monotonic()
        if outcome.kind is None:
            self.breaker.answered()
            # Told as an error, like a user's own; a candidate that answers does not open the breaker.
            outcome.kind = kind_of_status(outcome.status or 0)
        else:
            self.breaker.failed(now)
            self._budget.failed(charge)
        if missing is not None:
            copy.pairing.miss(copy.pair, missing)
        self._router.note_copy(copy.passage, outcome, now - began, span)

    async def _ask(self, copy: Copy, began: float, outcome: Outcome, span: OpenSpan | None) -> Half:
        """The candidate's answer, read only as far as it may be kept."""
        serve = copy.candidate.serve
        headers = copy.upstream.dress(copy.headers, serve, copy.passage.request_id)
        headers[SHADOW] = "1"
        if span is not None:
            span.carry(headers)
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
            outcome.refused = answer.headers.get(REFUSED) == "1" or (
                is_json(answer) and says_refused(body)
            )
            encoding = answer.headers.get("Content-Encoding", "").lower()
            return Half(answer.status, latency_ms, bytes(body), encoding)
