"""The data listener: `/{target}/{rest}` goes to the arm's upstream as `/{rest}`, its answer streamed back.

Bodies of requests are read whole (a copy may need them); answers are never buffered. A request whose
bytes were sent is not sent again, and never to the other arm: that would count one arm for the other.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict

from rampway.gateway import pairing
from rampway.gateway.answerreading import Reader, Reading
from rampway.gateway.answers import SERVER, Kept, Rejected, failure, kind_of_status, own_answer
from rampway.gateway.asking import Answer
from rampway.gateway.callers import Callers
from rampway.gateway.counting import OTHER_KIND, Outcome
from rampway.gateway.findings import WRONG_ARTIFACT
from rampway.gateway.handouts import Handouts
from rampway.gateway.headers import are_plain, passed_back, passed_on, trace_id_of, with_fields
from rampway.gateway.load import Load
from rampway.gateway.metrics import Meters
from rampway.gateway.relaying import BrokenOff, break_off, relay
from rampway.gateway.requestlog import ABOUT, About
from rampway.gateway.requesttargets import split_target
from rampway.gateway.routing import Passage, Router
from rampway.gateway.settings import Settings
from rampway.gateway.shadowbudget import Budget
from rampway.gateway.shadowing import Copier, Copy
from rampway.gateway.spool import Half
from rampway.gateway.terms import Clock
from rampway.gateway.tracing import Tracing
from rampway.gateway.upstreams import Upstream
from rampway.gateway.wholeanswer import Response, WholeAnswer

_VERSIONS: Final = (aiohttp.HttpVersion11, aiohttp.HttpVersion10)
_FINAL: Final = 200  # below are interim answers; aiohttp hands out a 101 that nobody asked for
_log = structlog.get_logger("rampway.gateway")


@dataclass(slots=True)
class Call:
    """One request on its way: what goes on, where it passes, and how it ends."""

    request: web.BaseRequest
    passage: Passage
    request_id: str
    rest: str
    headers: CIMultiDict[str]
    body: bytes
    outcome: Outcome


class Proxy:
    """Handles every request of the data listener."""

    def __init__(
        self,
        settings: Settings,
        *,
        router: Router,
        upstreams: Mapping[str, Upstream],
        meters: Meters,
        clock: Clock,
        handouts: Handouts,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._handouts = handouts
        self._tracing = tracing
        self._router = router
        self._upstreams = upstreams
        self._meters = meters
        self._clock = clock
        self._reader = Reader(settings.limits, settings.routes)
        self._callers = Callers(settings.units, settings.tenants)
        self._draining = False
        self._idle = asyncio.Event()
        self.copiers: dict[str, tuple[int, Copier]] = {}  # per target, with its epoch
        self.budgets: dict[str, Budget] = {}  # per target
        self.load = Load(settings.shadow, meters=meters, clock=clock)

    async def handle(self, request: web.BaseRequest) -> Response:
        self._meters.in_flight += 1
        about = About()
        ABOUT.set(about)
        try:
            response = await self._served(request, about)
        except Rejected as no:
            self._meters.reject(no.code)
            response = own_answer(no)
        except Exception:
            _log.exception("request.failed", path=request.raw_path)
            raise
        finally:
            about.over()
            self._meters.in_flight -= 1
            if self._meters.in_flight == 0:
                self._idle.set()
        if self._draining:
            response.force_close()
        return response

    def drain(self) -> None:
        """From now on close each connection with its next answer."""
        self._draining = True

    async def drained(self) -> None:
        """Returns when nothing is in flight."""
        self._idle.clear()
        if self._meters.in_flight:
            await self._idle.wait()

    @property
    def is_draining(self) -> bool:
        return self._draining

    def take(self, settings: Settings) -> None:
        """Use these limits and time-outs from the next request on."""
        self._settings = settings
        self._reader = Reader(settings.limits, settings.routes)

    async def close(self) -> None:
        for _, copier in self.copiers.values():
            await copier.close()

    async def _served(self, request: web.BaseRequest, about: About) -> Response:
        if request.version not in _VERSIONS:
            raise Rejected(400, "bad_version", "HTTP/1.1 and HTTP/1.0 are spoken here.")
        target, rest = split_target(request.method, request.raw_path)
        if not self._router.knows(target):
            raise _unknown(target)
        body = await self._body_of(request)
        told = request.headers
        caller = self._callers.who(request.remote, told)
        request_id = caller.request_id
        caller.request_id = readable_id = _readable(request_id)
        span = self._tracing.begin(told) if self._tracing else None
        trace_id = span.trace_id if span else trace_id_of(told) or readable_id
        passage = self._router.admit(target, caller, trace_id)
        if passage is None:
            raise _unknown(target)
        about.passage = passage
        headers = self._callers.believed(caller, passed_on(told))
        if span is not None:
            passage.span = span
            span.carry(headers)
            span.ask(request.method, rest, body, passage.served.serve.fields)
        if self._settings.capture.answers and len(body) <= self._settings.shadow.body_bytes:
            passage.asked = body
        call = Call(request, passage, request_id, rest, headers, body, Outcome())
        try:
            return await self._pass(call)
        except asyncio.CancelledError:
            call.outcome.aborted = call.outcome.kind is None and not call.outcome.answered
            raise
        finally:
            self._router.finish(passage, call.outcome)

    async def _body_of(self, request: web.BaseRequest) -> bytes:
        limit = self._settings.limits.request_body_bytes
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        _check_coding(request)
        if (
            request.headers.get("Expect", "").lower() == "100-continue"
            and request.version >= aiohttp.HttpVersion11
        ):
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the final answer counts its own bytes
        content = request.content
        read = bytearray()
        try:
            if content.is_eof():
                read += content.read_nowait()
            else:
                async with asyncio.timeout(self._settings.timeouts.request_body):
                    while len(read) <= limit and (chunk := await content.readany()):
                        read += chunk
        except TimeoutError as slow:
            raise Rejected(408, "body_timeout", "The body did not come in time.") from slow
        except web.RequestPayloadError as broken:
            raise Rejected(400, "bad_body", "The body is not framed as HTTP says.") from broken
        if len(read) > limit:
            raise _too_large(limit)
        return bytes(read)

    async def _pass(self, call: Call) -> Response:
        upstream = self._upstreams.get(call.passage.served.serve.upstream)
        if upstream is None:
            call.outcome.kind, call.outcome.status = OTHER_KIND, 502
            raise Rejected(502, "upstream_missing", "The target's upstream is not configured.")
        upstream.taken()
        try:
            return await self._answered_by(upstream, call)
        finally:
            upstream.given_back()

    async def _answered_by(self, upstream: Upstream, call: Call) -> Response:
        answer = await self._ask(upstream, call)
        reading = self._reader.open(
            answer, call.rest, served=call.passage.served, upstream=upstream
        )
        try:
            return await self._relay(call, answer, reading)
        finally:
            reading.close(call.outcome)
            # Closes the connection unless the answer was read to its end: an upstream whose
            # caller has left stops at once, for tokens cost money.
            answer.close()

    async def _ask(self, upstream: Upstream, call: Call) -> Answer:
        """Send the request; answers when the upstream's header has come. Raises Rejected."""
        serve = call.passage.served.serve
        body = with_fields(call.body, serve.fields)
        gone = self._copied_when_gone(call) if call.passage.pair else None
        try:
            return await upstream.asking.ask(
                call.request.method,
                call.rest,
                upstream.dress(call.headers, serve, call.request_id),
                body,
                seconds=call.passage.route.timeout_seconds,
                connect_seconds=self._settings.timeouts.connect,
                gone=gone,
            )
        except (aiohttp.ClientError, OSError) as failed:
            call.outcome.kind, told = failure(failed)
            call.outcome.status = told.status
            raise told from failed

    async def _relay(self, call: Call, answer: Answer, reading: Reading) -> Response:
        """Pass the answer back chunk by chunk; in one piece only where all of it has come already."""
        outcome, content = call.outcome, answer.content
        outcome.status = answer.status
        outcome.kind = kind_of_status(answer.status) or reading.served_wrong
        headers = passed_back(answer.headers, reading.artifact_header)
        headers.setdefault("Server", SERVER)
        reason = answer.reason or ""
        if answer.status < _FINAL or not are_plain(answer.headers, reason):
            outcome.kind, outcome.status = OTHER_KIND, 502
            raise Rejected(502, "upstream_invalid", "The upstream's answer is not one of HTTP.")
        self._handouts.hand_out(call.passage, headers)
        kept = Kept(self._kept_bytes(call, reading))
        if content.is_eof() and content.exception() is None:
            body = content.read_nowait()
            kept.add(body)
            reading.passed(body)
            self._answered(call, answer, kept, reading)
            return WholeAnswer(answer.status, reason, headers, body)
        response = web.StreamResponse(status=answer.status, reason=reason, headers=headers)
        if self._draining:
            response.force_close()
        self._end_if_silent(answer)

        def passed(piece: bytes) -> None:
            kept.add(piece)
            reading.passed(piece)

        try:
            await relay(answer, call.request, response, passed=passed)
        except ConnectionError:  # the caller has left
            outcome.aborted = outcome.kind is None
            return response
        except BrokenOff:
            outcome.kind = "mid_stream"
            break_off(call.request)
            return response
        finally:
            outcome.size_bytes = kept.size_bytes
        self._answered(call, answer, kept, reading)
        return response

    def _answered(self, call: Call, answer: Answer, kept: Kept, reading: Reading) -> None:
        """The whole answer has come: what does it tell, and who else wants it?"""
        outcome, passage = call.outcome, call.passage
        outcome.answered = True
        outcome.size_bytes = kept.size_bytes
        reading.complete(outcome, kept)
        self._held_for_judge(call, answer, kept)
        if passage.pair is not None and passage.route.pairing is not None:
            half = self._half(passage, answer, kept)
            if outcome.kind == WRONG_ARTIFACT:
                passage.route.pairing.miss(passage.pair, pairing.OTHER_ARTIFACT)
            elif half is None:
                passage.route.pairing.miss(passage.pair, pairing.TOO_LARGE)
            else:
                passage.route.pairing.take_baseline(passage.pair, half)
        elif self._settings.capture.answers:
            passage.answer = self._half(passage, answer, kept)

    def _held_for_judge(self, call: Call, answer: Answer, kept: Kept) -> None:
        draw, sampling = call.passage.draw, call.passage.route.sampling
        if draw is not None and sampling is not None:
            fits = len(call.body) <= self._settings.shadow.body_bytes
            half = self._half(call.passage, answer, kept)
            sampling.take(draw, call.body if fits else None, half)

    def _half(self, passage: Passage, answer: Answer, kept: Kept) -> Half | None:
        """What the arm answered; None where the body is larger than may be kept."""
        body = kept.whole(self._settings.shadow.body_bytes)
        if body is None:
            return None
        latency_ms = (self._clock.monotonic() - passage.began) * 1_000
        encoding = answer.headers.get("Content-Encoding", "").lower()
        return Half(answer.status, latency_ms, body, encoding)

    def _kept_bytes(self, call: Call, reading: Reading) -> int:
        pair, draw = call.passage.pair, call.passage.draw
        wanted = self._settings.capture.answers or draw or (pair and not pair.settled)
        return max(reading.kept_bytes, self._settings.shadow.body_bytes if wanted else 0)

    def _copied_when_gone(self, call: Call) -> Callable[[], None] | None:
        """Arrange for a sampled request's copy, made when the caller's own request was written."""
        passage, route = call.passage, call.passage.route
        pair, candidate, pairs = passage.pair, route.candidate, route.pairing
        if pair is None or pairs is None or candidate is None or pair.settled:
            return None
        upstream = self._upstreams.get(candidate.serve.upstream)
        if upstream is None or len(call.body) > self._settings.shadow.body_bytes:
            pairs.miss(pair, pairing.TOO_LARGE if upstream else pairing.CANDIDATE_FAILED)
            return None
        pairs.take_request(pair, call.body)
        copy = Copy(
            passage=passage,
            pair=pair,
            pairing=pairs,
            candidate=candidate,
            upstream=upstream,
            reader=self._reader,
            method=call.request.method,
            rest=call.rest,
            headers=call.headers,
            body=call.body,
        )
        return partial(self._copier(passage).offer, copy)

    def _copier(self, passage: Passage) -> Copier:
        target, epoch = passage.route.target, passage.route.epoch
        known = self.copiers.get(target)
        if known is None or known[0] != epoch:
            shadow = self._settings.shadow
            copier = Copier(
                shadow,
                router=self._router,
                clock=self._clock,
                budget=self.budgets.setdefault(target, Budget(shadow)),
                load=self.load,
            )
            known = self.copiers[target] = (epoch, copier)
        return known[1]

    def _end_if_silent(self, answer: Answer) -> None:
        """From the header on, the time between two chunks is what is bounded."""
        connection = answer.connection
        if connection is not None:
            connection.read_timeout = self._settings.timeouts.between_chunks
            connection.start_timeout()


def _check_coding(request: web.BaseRequest) -> None:
    """Chunked is the one transfer coding that is undone here, and HTTP/1.0 has none (RFC 9112 6.1)."""
    coding = request.headers.get("Transfer-Encoding")
    if coding is None:
        return
    if coding.lower() != "chunked" or request.version < aiohttp.HttpVersion11:
        raise Rejected(400, "bad_coding", "No transfer coding but chunked is taken, in HTTP/1.1.")


def _readable(text: str) -> str:
    """Header bytes that are no UTF-8 are replaced: logs and spool are UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _unknown(target: str) -> Rejected:
    return Rejected(404, "unknown", f"No target {_readable(target)!r} is registered here.")


def _too_large(limit_bytes: int) -> Rejected:
    return Rejected(413, "body_too_large", f"A request's body may have {limit_bytes} bytes.")
