"""JSON objects in answers, parsed in bounded time: what comes back on a route is whatever a model server says."""

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from pydantic import JsonValue

# JSON of many small parts costs more than its bytes: half a millisecond for each thousand of them.
_CONTAINERS_MAX: Final = 8_192
_BLANKS: Final = b" \t\r\n"
_CONTAINER_BYTES: Final = 32  # of larger bodies there may be one for as many bytes


def is_overfull(body: bytes) -> bool:
    """Has it more objects or lists than an answer would? Parsing it takes the time of everybody else."""
    size = len(body)
    if size <= _CONTAINERS_MAX:
        return False
    containers_max = max(_CONTAINERS_MAX, size // _CONTAINER_BYTES)
    return body.count(b"{") > containers_max or body.count(b"[") > containers_max


def object_in(body: bytes) -> "dict[str, JsonValue] | None":
    """The JSON object that this is; None for anything else, which costs nothing to tell."""
    # An object begins with a brace; an exception costs as much as parsing a kilobyte.
    if body[:1] != b"{" and body.lstrip(_BLANKS)[:1] != b"{":
        return None
    try:
        told: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None
