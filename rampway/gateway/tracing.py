"""The spans of requests and copies: continues a caller's trace (W3C Trace Context) and says what the router did.

Nothing here knows a tracing library: a span is two ids while the request runs, and one record in a
bounded queue when it has ended. With tracing off no span exists and a request pays one comparison.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from rampway.gateway.redaction import redacted_id, redacted_text
from rampway.gateway.terms import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from pydantic import JsonValue

    from rampway.gateway.counting import Outcome
    from rampway.gateway.findings import Finding
    from rampway.gateway.routing import Passage, Route
    from rampway.gateway.terms import Reason, Served

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
PROVIDER: Final = "rampway"  # feature_flag.provider.name
_SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03  # sampled, and (level 2) a trace id that is random
# W3C Trace Context 3.2: version-traceid-parentid-flags; later versions may add fields.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_TEXT_CHARACTERS_MAX: Final = 200  # a caller's header may be long, a span in the queue may not
_UNIT_BYTES_MAX: Final = 1_024  # same
_MODEL_BODY_BYTES_MAX: Final = 64 * 1024  # a larger body is not parsed for its model's name
_MODEL_FIRST: Final = re.compile(rb'\{"model": ?"([^"\\]*+)"')
# Without braces in between, the brace that ends the body ends the object that holds the model.
_MODEL_LAST: Final = re.compile(
    rb'"model": ?"([^"\\]*+)"(?:, ?"[^"\\]*+": ?(?:"[^"\\]*+"|[a-z0-9.+-]++))*+\}', re.IGNORECASE
)
# How the last words of a path are called by the GenAI conventions.
_OPERATIONS: Final = (
    ("/chat/completions", "chat"),
    ("/messages", "chat"),
    ("/responses", "chat"),
    ("/completions", "text_completion"),
    ("/embeddings", "embeddings"),
)
Attribute = str | int | float | bool | tuple[str, ...]
_dice = random.Random()  # noqa: S311 - ids have to differ, not to be secret


class Parent(NamedTuple):
    """What a `traceparent` says; ids in hexadecimal digits."""

    trace_id: str
    span_id: str
    flags: int


class SpanRecord(NamedTuple):
    """A span that has ended. `began_at` is in wall seconds; `unit` is None where it is too long to wait."""

    span: OpenSpan
    route: Route
    arm: Arm
    served: Served
    reason: Reason
    request_id: str
    unit: bytes | None
    outcome: Outcome
    began_at: float
    seconds: float


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
        route, candidate = passage.route, passage.route.candidate
        arm, served = passage.arm, passage.served
        if self.is_copy and candidate is not None:
            arm, served = Arm.CANDIDATE, candidate
        self._put(
            SpanRecord(
                self,
                route,
                arm,
                served,
                passage.reason,
                passage.request_id[:_TEXT_CHARACTERS_MAX],
                passage.unit if len(passage.unit) <= _UNIT_BYTES_MAX else None,
                outcome,
                began_at,
                took_seconds,
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


def asked_for(
    method: str, rest: str, body: bytes, fields: Mapping[str, JsonValue]
) -> dict[str, str]:
    """The method, and the GenAI names of the operation and the model: the artifact's, or the caller's."""
    asked = {"http.request.method": method}
    path = rest.partition("?")[0].rstrip("/")
    for end, operation in _OPERATIONS:
        if path.endswith(end):
            asked["gen_ai.operation.name"] = operation
            break
    model = fields.get("model") or _model_in(body)
    if isinstance(model, str):
        asked["gen_ai.request.model"] = model[:_TEXT_CHARACTERS_MAX]
    return asked


def _model_in(body: bytes) -> JsonValue:
    if len(body) > _MODEL_BODY_BYTES_MAX:
        return None
    # A search of the bytes spares the parsing where no model is named, and where it is named first, or
    # with nothing nested behind it: clients do either, and prompts are long.
    found = body.rfind(b'"model"')
    if found < 0:
        return None
    named = _MODEL_FIRST.match(body) or _MODEL_LAST.fullmatch(body, found)
    if named is not None:
        return named[1].decode(errors="replace")
    try:
        told: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return told.get("model") if isinstance(told, dict) else None


def attributes_of(record: SpanRecord) -> dict[str, Attribute]:
    """What the span says, by OpenTelemetry's names where there are some. For the thread that delivers."""
    route, arm, outcome = record.route, record.arm, record.outcome
    told: dict[str, Attribute] = {
        **{name: redacted_text(text) for name, text in record.span.asked.items()},
        "traffic.arm": arm.value,
        "rampway.shadow": record.span.is_copy,
        "rampway.target": route.target,
        "rampway.epoch": route.epoch,
        "rampway.segment": route.segment,
        "rampway.share_bp": route.share_bp,
        "rampway.artifact.digest": record.served.artifact,
        "rampway.request.id": redacted_id(record.request_id),
        "feature_flag.key": route.target,
        "feature_flag.provider.name": PROVIDER,
        "feature_flag.result.variant": arm.value,
        "feature_flag.result.reason": record.reason.value,
        "feature_flag.version": f"{route.epoch}.{route.segment}",
        "http.response.body.size": outcome.size_bytes,
    }
    if route.release is not None:
        told["rampway.release.id"] = told["feature_flag.set.id"] = route.release
    if route.split is not None and record.unit is not None:
        told["feature_flag.context.id"] = route.split.pseudonym(record.unit)
    if outcome.status is not None:
        told["http.response.status_code"] = outcome.status
    if outcome.kind is not None:
        told["error.type"] = outcome.kind
    if outcome.aborted:
        told["rampway.aborted"] = True
    if outcome.finding is not None:
        told |= _found(outcome.finding)
    return told


def _found(finding: Finding) -> dict[str, Attribute]:
    """What the answer told of itself; what it did not tell is left out."""
    told: dict[str, Attribute | None] = {
        "gen_ai.response.model": finding.model
        and redacted_text(finding.model[:_TEXT_CHARACTERS_MAX]),
        "gen_ai.response.finish_reasons": finding.reason_label and (finding.reason_label,),
        "gen_ai.usage.input_tokens": finding.prompt_tokens,
        "gen_ai.usage.output_tokens": finding.completion_tokens,
        "rampway.cost": finding.cost,
    }
    return {name: value for name, value in told.items() if value is not None}
