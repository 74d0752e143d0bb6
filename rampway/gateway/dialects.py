"""How an answer of a route is read: the OpenAI-compatible routes, and any other by JSON pointers.

Chat completions, completions, embeddings and responses as in OpenAI's API reference; an error with
code `content_filter` is how Azure tells a refused prompt. Unknown fields and wrong types are passed
over: what is read here is counted, never enforced.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from pydantic import JsonValue

from rampway.gateway.findings import Finding
from rampway.gateway.settings import RouteKind, RouteSettings

JsonObject: TypeAlias = dict[str, JsonValue]
_PATHS_REMEMBERED: Final = 1_024
_PATH_LENGTH_MAX: Final = 512  # longer ones are looked up each time, so that memory stays bounded
_FILTERED: Final = "content_filter"


class Dialect(NamedTuple):
    """Reads the answers of one kind of route.

    `read` takes one JSON object (an answer, or an event's data) into the finding; `ends` are the data
    or event names of which one ends each stream, empty where a stream may just end; `is_idle` is sure,
    by a look at their bytes, that whole events tell nothing, once the model is known. `text` is what
    stands before the piece of text in such an event, up to its opening quote.
    """

    read: Callable[[JsonObject, Finding], None]
    ends: frozenset[bytes]
    is_idle: Callable[[bytes], bool]
    text: bytes = b""


class Dialects:
    """Finds the dialect of a path: the configured patterns in their order, then the known routes."""

    def __init__(self, routes: Mapping[str, RouteSettings]) -> None:
        self._configured = [(_pattern(path), _configured(one)) for path, one in routes.items()]
        self._remembered = lru_cache(_PATHS_REMEMBERED)(self._find)

    def of(self, rest: str) -> Dialect | None:
        """The dialect of a raw path with its query, `/v1/chat/completions?x`; None if not understood."""
        return self._remembered(rest) if len(rest) <= _PATH_LENGTH_MAX else self._find(rest)

    def _find(self, rest: str) -> Dialect | None:
        path = rest.partition("?")[0]
        for pattern, dialect in self._configured:
            if pattern.fullmatch(path):
                return dialect
        for ending, dialect in _KNOWN_ENDINGS:
            if path.endswith(ending):
                return dialect
        return None


def _read_chat(told: JsonObject, finding: Finding) -> None:
    """Chat completions and completions: whole, or one event of a stream.

    Called for each event: what is null, as nearly all of it is, costs one look.
    """
    if error := told.get("error"):
        _take_error(error, finding)
    if finding.model is None:
        finding.take_model(told.get("model"))
    choices = told.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            if (reason := choice.get("finish_reason")) is not None:
                finding.take_finish_reason(reason)
            part = choice.get("delta") or choice.get("message")
            if isinstance(part, dict) and part.get("refusal"):
                finding.refused = True
    usage = told.get("usage")
    if isinstance(usage, dict):
        finding.take_prompt_tokens(usage.get("prompt_tokens"))
        finding.take_completion_tokens(usage.get("completion_tokens"))


def _read_embeddings(told: JsonObject, finding: Finding) -> None:
    """Embeddings: nothing is written, so that what was read is all that costs."""
    _read_chat(told, finding)
    if finding.prompt_tokens is not None:
        finding.take_completion_tokens(0)


def _read_responses(told: JsonObject, finding: Finding) -> None:
    """The responses API: the response itself, or one event of its stream."""
    kind = told.get("type")
    if not isinstance(kind, str):
        _read_response(told, finding)
        return
    if kind == "error":
        _take_error(told, finding)
    elif kind.startswith("response.refusal"):
        finding.refused = True
    within = told.get("response")
    if isinstance(within, dict):
        _read_response(within, finding)
    if kind.encode(errors="replace") in _RESPONSE_ENDS:
        finding.ended = True


def _read_response(told: JsonObject, finding: Finding) -> None:
    status, error = told.get("status"), told.get("error")
    if error:
        _take_error(error, finding)
    elif status == "failed":
        finding.failed = True
    finding.take_model(told.get("model"))
    if status == "completed":
        finding.take_finish_reason("stop")
    elif status == "incomplete":
        finding.take_finish_reason(_why_incomplete(told))
    output = told.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict) and _holds_refusal(item.get("content")):
            finding.refused = True
    usage = told.get("usage")
    if isinstance(usage, dict):
        finding.take_prompt_tokens(usage.get("input_tokens"))
        finding.take_completion_tokens(usage.get("output_tokens"))


def _why_incomplete(told: JsonObject) -> str:
    details = told.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if reason == "max_output_tokens":
        return "length"
    return reason if isinstance(reason, str) else "incomplete"


def _holds_refusal(content: JsonValue) -> bool:
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "refusal" for part in content
    )


def _take_error(error: JsonValue, finding: Finding) -> None:
    if isinstance(error, dict) and error.get("code") == _FILTERED:
        finding.refused = True
        finding.ended = True
    else:
        finding.failed = True


def _configured(route: RouteSettings) -> Dialect:
    if route.kind is not RouteKind.JSON:
        return _KNOWN[route.kind]

    def first(told: JsonObject, pointers: Sequence[str]) -> JsonValue:
        for pointer in pointers:
            value = value_at(told, pointer)
            if value is not None:
                return value
        return None

    def read(told: JsonObject, finding: Finding) -> None:
        if first(told, route.error):
            finding.failed = True
        refusal = first(told, route.refusal)
        if refusal in route.refusal_is if route.refusal_is else refusal:
            finding.refused = True
        finding.take_model(first(told, route.model))
        finding.take_finish_reason(first(told, route.finish_reason))
        finding.take_prompt_tokens(first(told, route.prompt_tokens))
        finding.take_completion_tokens(first(told, route.completion_tokens))

    ends = frozenset({route.stream_end.encode()} if route.stream_end else ())
    return Dialect(read, ends, _never)


def value_at(told: JsonValue, pointer: str) -> JsonValue:
    """The value that a JSON pointer (RFC 6901) names; None where there is none, or it is null."""
    for escaped in pointer.split("/")[1:]:
        key = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(told, dict):
            told = told.get(key)
        elif isinstance(told, list):
            told = told[int(key)] if _is_index(key, len(told)) else None
        else:
            return None
    return told


def _is_index(key: str, length: int) -> bool:
    """Digits without a leading zero, as the standard wants them, and below the length."""
    if len(key) > len(str(length)) or not (key.isascii() and key.isdecimal()):
        return False
    return str(int(key)) == key and int(key) < length


def _is_idle_chat(events: bytes) -> bool:
    """Pieces of text only: null where something could be told."""
    return (
        b"error" not in events
        and b'"refusal"' not in events
        and b"[DONE]" not in events
        and events.count(b'"finish_reason":null') == events.count(b"finish_reason")
        and events.count(b'"usage":null') == events.count(b"usage")
    )


def _is_idle_responses(events: bytes) -> bool:
    return (
        b"error" not in events
        and b'"response"' not in events
        and b"response.refusal" not in events
        and not any(end in events for end in _RESPONSE_ENDS)
    )


def _never(_events: bytes) -> bool:
    return False


def _pattern(path: str) -> re.Pattern[str]:
    """A path in which `*` stands for any run of characters."""
    return re.compile(".*".join(re.escape(part) for part in path.split("*")), re.DOTALL)


_DONE: Final = frozenset({b"[DONE]"})
_RESPONSE_ENDS: Final = frozenset(
    {b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled"}
)
_CHAT: Final = Dialect(_read_chat, _DONE, _is_idle_chat, b'"content":"')
_COMPLETIONS: Final = Dialect(_read_chat, _DONE, _is_idle_chat, b'"text":"')
_RESPONSES: Final = Dialect(_read_responses, _RESPONSE_ENDS, _is_idle_responses, b'"delta":"')
_EMBEDDINGS: Final = Dialect(_read_embeddings, frozenset(), _is_idle_chat)
_KNOWN: Final[Mapping[RouteKind, Dialect]] = {
    RouteKind.CHAT: _CHAT,
    RouteKind.COMPLETIONS: _COMPLETIONS,
    RouteKind.EMBEDDINGS: _EMBEDDINGS,
    RouteKind.RESPONSES: _RESPONSES,
}
_KNOWN_ENDINGS: Final = (
    ("/chat/completions", _CHAT),
    ("/completions", _COMPLETIONS),
    ("/embeddings", _EMBEDDINGS),
    ("/responses", _RESPONSES),
)
