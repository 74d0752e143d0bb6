"""The admin listener: the traffic contract over HTTP, the counts, and the health of the process.

Errors are `{"error": code, "why": sentence}`: 409 for a refused write, 404 unknown, 422 bad input, 401
without the token, 503 where the state cannot be stored.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import orjson
import structlog
from aiohttp import web
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from rampway.gateway.authority import Authority
from rampway.gateway.counts import Counts
from rampway.gateway.feedback import Feedback, FeedbackOrder
from rampway.gateway.forgetting import Forgotten
from rampway.gateway.metrics import CONTENT_TYPE
from rampway.gateway.reloading import Reloaded
from rampway.gateway.splits import ClaimOrder
from rampway.gateway.terms import (
    BadInput,
    Ending,
    Fact,
    NotStored,
    OpId,
    PinCause,
    PinnedBy,
    RefusalCode,
    Refused,
    Seconds,
    Served,
    Share,
    TargetName,
    Timing,
    Token,
    UnknownUpstream,
)

BODY_BYTES_MAX: Final = 256 * 1024
BASELINE_UNITS_MAX: Final = 10_000_000
CAPABILITIES: Final = {
    "granularity_bp": 1,
    "sticky": True,
    "mirror": True,
}
PROPAGATION_SECONDS: Final = 0.1  # one process: in force when the write is answered
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Forget = Callable[[str, bytes, set[tuple[str, str]], bool], Awaitable[Forgotten]]
M = TypeVar("M", bound=BaseModel)
_NAME: Final[TypeAdapter[str]] = TypeAdapter(TargetName)
_log = structlog.get_logger("rampway.gateway")


class Registration(Timing):
    """PUT of a target: its timing, and who serves it."""

    baseline: Served


class ShareOrder(Fact):
    """POST share."""

    token: Token
    share_bp: Share
    ttl_seconds: Seconds
    op_id: OpId


class ShadowOrder(Fact):
    """POST shadow."""

    token: Token
    rate_bp: Share
    ttl_seconds: Seconds
    op_id: OpId


class Renewal(Fact):
    """POST renew."""

    token: Token
    ttl_seconds: Seconds


class PinOrder(Fact):
    """POST pin."""

    token: Token
    cause: PinCause
    op_id: OpId
    why: Annotated[str, Field(max_length=4_000)] = ""


class EndOrder(Fact):
    """POST end."""

    token: Token
    ending: Ending
    op_id: OpId


class ForgetOrder(Fact):
    """POST forget: the unit, as its header field told it."""

    unit: Annotated[str, Field(min_length=1, max_length=16_384, repr=False)]
    dry_run: bool = False


class Admin:
    """Answers every request of the admin listener."""

    def __init__(
        self,
        *,
        authority: Authority,
        counts: Counts,
        feedback: Feedback,
        reload: Callable[[], Awaitable[Reloaded]],
        metrics: Callable[[], str],
        not_ready: Callable[[], str | None],
        forget: Forget,
        token: str | None,
        propagation_seconds: float = PROPAGATION_SECONDS,
    ) -> None:
        self._authority = authority
        self._counts = counts
        self._feedback = feedback
        self._reload = reload
        self._metrics = metrics
        self._not_ready = not_ready
        self._propagation_seconds = propagation_seconds
        self._forget_unit = forget
        self._token = token.encode() if token else None

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES_MAX)
        target = "/v1/targets/{target}"
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics_page),
                web.post("/v1/reload", self._reload_settings),
                web.get("/v1/targets", self._targets),
                web.get(target, self._observe),
                web.put(target, self._register),
                web.get(f"{target}/capabilities", self._capabilities),
                web.post(f"{target}/claim", self._claim),
                web.post(f"{target}/share", self._share),
                web.post(f"{target}/shadow", self._shadow),
                web.post(f"{target}/renew", self._renew),
                web.post(f"{target}/pin", self._pin),
                web.post(f"{target}/end", self._end),
                web.post(f"{target}/forget", self._forget),
                web.get(f"{target}/slices", self._slices),
                web.get(f"{target}/baseline", self._baseline),
                web.post(f"{target}/feedback", self._mark),
                web.get(f"{target}/feedback", self._marks),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the token, and answer every refusal in one form."""
        if self._token and request.path != "/healthz" and not self._is_allowed(request):
            return _error(401, "unauthorized", "This gateway's admin API needs its bearer token.")
        try:
            return await handler(request)
        except (Refused, BadInput, NotStored, web.HTTPException) as no:
            return _told(no, request)
        except Exception:  # noqa: BLE001 - the outermost place: it is logged, and told as JSON too
            _log.exception("admin.failed", path=request.path)
            return _error(500, "internal", "The gateway failed; its log tells how.")

    def _is_allowed(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        told = given.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(told, self._token or b"")

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"ok": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._not_ready()
        return _json({"ready": True}) if why is None else _error(503, "not_ready", why)

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics().encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _reload_settings(self, _request: web.Request) -> web.Response:
        return _json(await self._reload())

    async def _targets(self, _request: web.Request) -> web.Response:
        names = self._authority.targets()
        return _json([self._authority.observe(name).model_dump(mode="json") for name in names])

    async def _observe(self, request: web.Request) -> web.Response:
        return _fact(self._authority.observe(_target(request)))

    async def _capabilities(self, request: web.Request) -> web.Response:
        self._authority.split(_target(request))
        return _json({**CAPABILITIES, "propagation_seconds": self._propagation_seconds})

    async def _register(self, request: web.Request) -> web.Response:
        order = await _read(request, Registration)
        timing = Timing(**order.model_dump(exclude={"baseline"}))
        try:
            name = _NAME.validate_python(_target(request))
        except ValidationError as wrong:
            raise BadInput(f"A target's name: {wrong.errors()[0]['msg']}.") from wrong
        return _fact(await self._authority.register(name, timing, order.baseline))

    async def _claim(self, request: web.Request) -> web.Response:
        order = await _read(request, ClaimOrder)
        return _fact(await self._authority.claim(_target(request), order))

    async def _share(self, request: web.Request) -> web.Response:
        order = await _read(request, ShareOrder)
        return _fact(
            await self._authority.set_share(
                _same_target(request, order.token),
                share_bp=order.share_bp,
                ttl_seconds=order.ttl_seconds,
                op_id=order.op_id,
            )
        )

    async def _shadow(self, request: web.Request) -> web.Response:
        order = await _read(request, ShadowOrder)
        return _fact(
            await self._authority.shadow(
                _same_target(request, order.token),
                rate_bp=order.rate_bp,
                ttl_seconds=order.ttl_seconds,
                op_id=order.op_id,
            )
        )

    async def _renew(self, request: web.Request) -> web.Response:
        order = await _read(request, Renewal)
        token = _same_target(request, order.token)
        return _fact(await self._authority.renew(token, ttl_seconds=order.ttl_seconds))

    async def _pin(self, request: web.Request) -> web.Response:
        order = await _read(request, PinOrder)
        token = _same_target(request, order.token)
        by = PinnedBy(cause=order.cause, op_id=order.op_id, why=order.why)
        return _fact(await self._authority.pin(token, by))

    async def _end(self, request: web.Request) -> web.Response:
        order = await _read(request, EndOrder)
        token = _same_target(request, order.token)
        return _fact(await self._authority.end(token, ending=order.ending, op_id=order.op_id))

    async def _forget(self, request: web.Request) -> web.Response:
        # The unit is in the body: paths are what every log on the way keeps.
        order, target = await _read(request, ForgetOrder), _target(request)
        claim = self._authority.split(target).claim
        key: set[tuple[str, str]] = set() if claim is None else {(claim.release, claim.salt)}
        unit = order.unit.encode("utf-8", "surrogateescape")
        lines, files = await self._forget_unit(target, unit, key, order.dry_run)
        if not order.dry_run:
            _log.info("unit.forgotten", target=target, lines=lines, files=files)
        return _json({"target": target, "lines": lines, "files": files})

    async def _slices(self, request: web.Request) -> web.Response:
        key = (_number(request, "epoch"), _number(request, "segment"))
        return _json(await self._counts.slices(_target(request), key))

    async def _baseline(self, request: web.Request) -> web.Response:
        split = self._authority.split(_target(request))
        last = _number(request, "last")
        if not 1 <= last <= BASELINE_UNITS_MAX:
            raise BadInput(f"last={last}: ask for 1 to {BASELINE_UNITS_MAX} units.")
        return _json(await self._counts.baseline(split, last))

    async def _mark(self, request: web.Request) -> web.Response:
        order = await _read(request, FeedbackOrder)
        return _json(await self._feedback.mark(_target(request), order))

    async def _marks(self, request: web.Request) -> web.Response:
        key = (_number(request, "epoch"), _number(request, "segment"))
        return _json(await self._feedback.sealed(_target(request), key))


async def _read(request: web.Request, model: type[M]) -> M:
    """The body as a fact. Raises BadInput, naming each field that is wrong."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as wrong:
        told = "; ".join(
            f"{'.'.join(str(part) for part in error['loc']) or 'body'}: {error['msg']}"
            for error in wrong.errors()
        )
        raise BadInput(told) from wrong


def _target(request: web.Request) -> str:
    return request.match_info["target"]


def _same_target(request: web.Request, token: Token) -> Token:
    if token.target != _target(request):
        raise BadInput(f"The token is for {token.target}, the path for {_target(request)}.")
    return token


def _number(request: web.Request, name: str) -> int:
    told = request.query.get(name, "")
    try:
        return int(told)
    except ValueError as wrong:
        raise BadInput(f"{name}={told!r}: a whole number is needed.") from wrong


def _fact(fact: Fact) -> web.Response:
    return web.Response(body=fact.model_dump_json().encode(), content_type="application/json")


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _told(no: Exception, request: web.Request) -> web.Response:
    """A refusal in the API's one form."""
    if isinstance(no, Refused):
        return _error(404 if no.code is RefusalCode.UNKNOWN else 409, no.code.value, no.why)
    if isinstance(no, BadInput):
        code = RefusalCode.UNKNOWN.value if isinstance(no, UnknownUpstream) else "bad_input"
        return _error(422, code, str(no))
    if isinstance(no, web.HTTPException):
        return _error(no.status, "http", f"{request.method} {request.path}: {no.reason}.")
    return _error(503, "not_stored", str(no))


def _error(status: int, code: str, why: str) -> web.Response:
    body = orjson.dumps({"error": code, "why": why})
    return web.Response(status=status, body=body, content_type="application/json")
