"""Copies sampled requests to the candidate: never awaited by a caller, bounded, and heard by nobody else.

A copy goes through a queue and a pool of its own; what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from typing import NamedTuple

import aiohttp
import structlog
from multidict import CIMultiDict

from rampway.gateway import pairing
from rampway.gateway.answerreading import Reader, Reading
from rampway.gateway.answers import Kept, kind_of_status
from rampway.gateway.asking import Answer
from rampway.gateway.breaker import Breaker
from rampway.gateway.counting import OTHER_KIND, Outcome
from rampway.gateway.findings import WRONG_ARTIFACT
from rampway.gateway.headers import SHADOW, with_fields
from rampway.gateway.load import Load
from rampway.gateway.pairing import Pair, Pairing
from rampway.gateway.requestlog import ABOUT, About
from rampway.gateway.routing import Passage, Router
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.shadowbudget import Budget, Charge, Prices, used
from rampway.gateway.spool import Half
from rampway.gateway.terms import Clock, Served
from rampway.gateway.tracing import OpenSpan
from rampway.gateway.upstreams import Upstream

_COPY_OVERHEAD_BYTES = 2_048  # what a waiting copy holds beside its body
_PIECE_BYTES = 16 * 1024  # of an answer looked into at once
_EVENT_BYTES = 64  # a stream of smaller events is not looked into to its end,
_EVENTS_MIN = 1_024  # unless it has only so many
_log = structlog.get_logger("rampway.gateway")


class Copy(NamedTuple):
    """A request to be repeated to the candidate. `headers` are the caller's end-to-end fields.

    `reader` is that of live answers, by the limits in force when the caller asked.
    """

    passage: Passage
    pair: Pair
    pairing: Pairing
    candidate: Served
    upstream: Upstream
    reader: Reader
    method: str
    rest: str
    headers: CIMultiDict[str]
    body: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.body) + _COPY_OVERHEAD_BYTES

    def prices(self, told: str | None = None) -> Prices | None:
        """What the tokens cost of an answer that tells this model; None where no tariff says it."""
        asked = self.candidate.serve.fields.get("model")
        model = self.upstream.tariff.priced(told, asked)
        return None if model is None else Prices(model.prompt_price, model.completion_price)


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
        charge = self._budget.let_go(len(copy.body), now, copy.prices())
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
        about = About(waiting.copy.passage, is_copy=True)
        ABOUT.set(about)
        try:
            await self._exchange(waiting)
        finally:
            about.over()

    async def _exchange(self, waiting: Waiting) -> None:
        """Whatever comes of it, the copy is settled, paired or missed, and noted."""
        copy = waiting.copy
        began = self._clock.monotonic()
        outcome, half, missing = Outcome(), None, None
        span = copy.passage.span.copy() if copy.passage.span else None
        try:
            half = await self._ask(copy, began, outcome, span)
        except TimeoutError:
            outcome.kind, missing = "timeout", pairing.TIMEOUT
        except (aiohttp.ClientError, OSError):
            outcome.kind, missing = "reset", pairing.CANDIDATE_FAILED
        except Exception:  # noqa: BLE001 - whatever a candidate provokes ends its copy only
            _log.exception("copy.failed", target=copy.pairing.target)
            outcome.kind, missing = OTHER_KIND, pairing.CANDIDATE_FAILED
        now = self._clock.monotonic()
        if half is not None:
            # Whatever it answers, an error among it: what opens the breaker is that no answer can be had.
            self.breaker.answered()
        else:
            # A flood too, which takes more time from the callers than any other way to fail.
            self.breaker.failed(now)
        self._settle(waiting, outcome)
        if outcome.kind == WRONG_ARTIFACT:
            copy.pairing.miss(copy.pair, pairing.OTHER_ARTIFACT)
        elif half is not None:
            copy.pairing.take_candidate(copy.pair, half)
        else:
            copy.pairing.miss(copy.pair, missing or pairing.TOO_LARGE)
        self._router.note_copy(copy.passage, outcome, now - began, span)

    def _settle(self, waiting: Waiting, outcome: Outcome) -> None:
        copy, finding = waiting.copy, outcome.finding
        prices = copy.prices(finding.model if finding else None)
        tokens = used(len(copy.body), outcome.size_bytes, finding)
        self._budget.ended(waiting.charge, tokens, prices)

    async def _ask(
        self, copy: Copy, began: float, outcome: Outcome, span: OpenSpan | None
    ) -> Half | None:
        """The candidate's answer, read only as far as it may be kept; None where it is larger."""
        serve = copy.candidate.serve
        headers = copy.upstream.dress(copy.headers, serve, copy.passage.request_id)
        headers[SHADOW] = "1"
        if span is not None:
            span.carry(headers)
        headers.popall("Accept-Encoding", None)  # the judge reads plain bodies
        timeout = min(self._settings.timeout, copy.passage.route.timeout_seconds)
        async with asyncio.timeout(timeout):
            answer = await copy.upstream.copying.ask(
                copy.method,
                copy.rest,
                headers,
                with_fields(copy.body, serve.fields),
                seconds=timeout,
                connect_seconds=timeout,
            )
            reading = copy.reader.open(
                answer,
                copy.rest,
                served=copy.candidate,
                upstream=copy.upstream,
                events_max=max(_EVENTS_MIN, self._settings.body_bytes // _EVENT_BYTES),
            )
            outcome.status = answer.status
            outcome.kind = kind_of_status(answer.status) or reading.served_wrong
            try:
                return await self._read(answer, reading, began, outcome)
            finally:
                reading.close(outcome)
                answer.close()

    async def _read(
        self, answer: Answer, reading: Reading, began: float, outcome: Outcome
    ) -> Half | None:
        body, limit = bytearray(), self._settings.body_bytes
        while len(body) <= limit:
            chunk = await answer.content.readany()
            if not chunk:
                break
            body += chunk
            outcome.size_bytes = len(body)
            for begin in range(0, len(chunk), _PIECE_BYTES):
                reading.passed(chunk[begin : begin + _PIECE_BYTES])
        latency_ms = (self._clock.monotonic() - began) * 1_000
        if len(body) > limit:
            reading.cut_off()
            return None
        kept = Kept(limit)
        kept.add(bytes(body))
        reading.complete(outcome, kept)
        encoding = answer.headers.get("Content-Encoding", "").lower()
        return Half(answer.status, latency_ms, kept.whole(limit), encoding)
