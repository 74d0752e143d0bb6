"""Whether an answer says that the model refused: read from small, whole JSON answers only.

A finish reason `content_filter` (as OpenAI-compatible servers send it), `"refused": true` at the top,
or the header `x-refused: 1`. Streams, packed and larger answers are not looked into.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rampway.gateway.jsonbodies import object_in

if TYPE_CHECKING:
    from pydantic import JsonValue

HEADER: Final = "x-refused"
_FILTERED: Final = "content_filter"


def says_refused(body: bytes) -> bool:
    """Does this JSON answer say so? Anything that is not JSON does not."""
    # Two searches of the bytes spare nearly every answer the parsing.
    if b'"content_filter"' not in body and b'"refused"' not in body:
        return False
    told = object_in(body)
    return told is not None and is_refusal(told)


def is_refusal(told: Mapping[str, "JsonValue"]) -> bool:
    """Same, of an answer that was parsed."""
    if told.get("refused") is True or told.get("finish_reason") == _FILTERED:
        return True
    choices = told.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and choice.get("finish_reason") == _FILTERED:
                return True
    return False
