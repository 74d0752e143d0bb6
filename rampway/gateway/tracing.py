"""The spans of requests and copies: continues a caller's trace (W3C Trace Context) and says what the router did.

Nothing here knows a tracing library: a span is two ids while the request runs, and one record in a
bounded queue when it has ended. With tracing off no span exists and a request pays one comparison.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from rampway.gateway.terms import ALL_BP, Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from pydantic import JsonValue

    from rampway.gateway.counting import Outcome
    from rampway.gateway.routing import Passage, Route

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
PROVIDER: Final = "rampway"  # feature_flag.provider.name
_SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03  # sampled, and (level 2) a trace id that is random
# W3C Trace Context 3.2: version-traceid-parentid-flags; later versions may add fields.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_ID_CHARACTERS_MAX: Final = 200  # a caller's header may be long, a span in the queue may not
_MODEL_BODY_BYTES_MAX: Final = 64 * 1024  # a larger body is not parsed for its model's name
# How the last words of a path are called by the GenAI conventions.
_OPERATIONS: Final = (
    ("/chat/completions", "chat"),
    ("/messages", "chat"),
    ("/responses", "chat"),
    ("/completions", "text_completion"),
    ("/embeddings", "embeddings"),
)
_dice = random.Random()  # noqa: S311 - ids have to differ, not to be secret


class Parent(NamedTuple):
    """What a `traceparent` says; ids in hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: int


class SpanRecord(NamedTuple):
    """A span that has ended. Ids in hexadecimal digits, times in wall seconds, `kind` as in OTLP."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: Parent | None
    is_parent_remote: bool
    began_at: float
    seconds: float
    is_error: bool
    attributes: dict[str, str | int | float | bool]
    refused: bool


class OpenSpan:
    """A request, or a copy, that is being traced."""

    __slots__ = ("_put", "asked", "flags", "is_copy", "parent", "span_id", "trace_id")

    def __init__(
        self,
        put: Callable[[SpanRecord], None],
        *,
        trace_id: str,
        parent: Parent | None,
        flags: int,
        is_copy: bool = False,
    ) -> None:
        self._put = put
        self.trace_id = trace_id
        self.span_id = f"{_dice.getrandbits(64) or 1:016x}"
        self.parent = parent
        self.flags = flags
        self.is_copy = is_copy
        self.asked: dict[str, str] = {}

    def carry(self, headers: MutableMapping[str, str]) -> None:
        """Let what follows be a child of this span. A `tracestate` without a valid parent goes."""
        headers[TRACEPARENT] = f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
        if self.parent is None:
            headers.pop(TRACESTATE, None)

    def ask(self, method: str, rest: str, body: bytes, fields: Mapping[str, JsonValue]) -> None:
        """Note what was asked, by its names; nothing of a prompt."""
        self.asked = asked_for(method, rest, body, fields)

    def copy(self) -> OpenSpan:
        """A copy's span: a child, so that the caller's trace shows it."""
        parent = Parent(self.trace_id, self.span_id, self.flags)
        copied = OpenSpan(
            self._put, trace_id=self.trace_id, parent=parent, flags=self.flags, is_copy=True
        )
        copied.asked = self.asked
        return copied

    def end(self, passage: Passage, outcome: Outcome, began_at: float, took_seconds: float) -> None:
        """Queue the span; never waits."""
        target = passage.route.target
        self._put(
            SpanRecord(
                name=f"copy {target}" if self.is_copy else f"route {target}",
                kind="client" if self.is_copy else "server",
                trace_id=self.trace_id,
                span_id=self.span_id,
                parent=self.parent,
                is_parent_remote=not self.is_copy,
                began_at=began_at,
                seconds=took_seconds,
                is_error=outcome.kind is not None,
                attributes={**self.asked, **_facts(passage, outcome, is_copy=self.is_copy)},
                refused=outcome.refused,
            )
        )


class Tracing:
    """Decides which requests are traced: those whose caller samples, or has no trace, within `part`.

    The part is taken by the last 7 bytes of the trace id (OpenTelemetry's consistent probability
    sampling), so that services with the same part trace the same requests.
    """

    def __init__(self, put: Callable[[SpanRecord], None], *, part: float) -> None:
        self._put = put
        self._below = 2**56 - round(part * 2**56)

    def begin(self, headers: Mapping[str, str]) -> OpenSpan | None:
        """A span for a request with these header fields; None where it is not traced."""
        parent = parent_of(headers.get(TRACEPARENT))
        if parent is None:
            drawn = _dice.getrandbits(128) or 1
            if drawn & (2**56 - 1) < self._below:
                return None
            return OpenSpan(self._put, trace_id=f"{drawn:032x}", parent=None, flags=_KNOWN_FLAGS)
        if not parent.flags & _SAMPLED or int(parent.trace_id[18:], 16) < self._below:
            return None
        return OpenSpan(
            self._put, trace_id=parent.trace_id, parent=parent, flags=parent.flags & _KNOWN_FLAGS
        )


def parent_of(traceparent: str | None) -> Parent | None:
    """The parent that a `traceparent` names; None where there is none, or it is not valid."""
    if traceparent is None:
        return None
    read = _TRACEPARENT.fullmatch(traceparent)
    if read is None or (read[1] == "00" and read[5] is not None):
        return None
    return Parent(read[2], read[3], int(read[4], 16))


def reason_of(route: Route) -> str:
    """Why this arm, in the words of OpenTelemetry's `feature_flag.result.reason`."""
    if route.is_pinned:
        return "disabled"
    if route.candidate is None:
        return "default"
    return "split" if 0 < route.share_bp < ALL_BP else "static"


def asked_for(
    method: str, rest: str, body: bytes, fields: Mapping[str, JsonValue]
) -> dict[str, str]:
    """The method, and the GenAI names of the operation and the model: the artifact's, or the caller's."""
    asked = {"http.request.method": method}
    path = rest.partition("?")[0].rstrip("/")
    operation = next((name for end, name in _OPERATIONS if path.endswith(end)), None)
    if operation is not None:
        asked["gen_ai.operation.name"] = operation
    model = fields.get("model") or _model_in(body)
    if isinstance(model, str):
        asked["gen_ai.request.model"] = model[:_ID_CHARACTERS_MAX]
    return asked


def _model_in(body: bytes) -> JsonValue:
    # A search of the bytes spares the parsing where no model is named.
    if len(body) > _MODEL_BODY_BYTES_MAX or b'"model"' not in body:
        return None
    try:
        told: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return told.get("model") if isinstance(told, dict) else None


def _facts(
    passage: Passage, outcome: Outcome, *, is_copy: bool
) -> dict[str, str | int | float | bool]:
    route = passage.route
    candidate = route.candidate
    copied = is_copy and candidate is not None
    arm = Arm.CANDIDATE if copied else passage.arm
    served = candidate if copied and candidate is not None else passage.served
    facts: dict[str, str | int | float | bool] = {
        "traffic.arm": arm.value,
        "rampway.shadow": is_copy,
        "rampway.target": route.target,
        "rampway.epoch": route.epoch,
        "rampway.segment": route.segment,
        "rampway.share_bp": route.share_bp,
        "rampway.artifact.digest": served.artifact,
        "rampway.request.id": passage.request_id[:_ID_CHARACTERS_MAX],
        "feature_flag.key": route.target,
        "feature_flag.provider.name": PROVIDER,
        "feature_flag.result.variant": arm.value,
        "feature_flag.result.reason": reason_of(route),
        "feature_flag.version": f"{route.epoch}.{route.segment}",
        "http.response.body.size": outcome.size_bytes,
    }
    if route.release is not None:
        facts["rampway.release.id"] = facts["feature_flag.set.id"] = route.release
    if route.split is not None:
        facts["feature_flag.context.id"] = route.split.pseudonym(passage.unit)
    if outcome.status is not None:
        facts["http.response.status_code"] = outcome.status
    if outcome.kind is not None:
        facts["error.type"] = outcome.kind
    if outcome.aborted:
        facts["rampway.aborted"] = True
    return facts
