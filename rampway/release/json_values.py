"""The author's own JSON in release.yaml: parameters, tool schemas and request fields."""

import math
import re
from typing import Annotated, cast

from pydantic import BeforeValidator, JsonValue

from rampway.release.scalars import shown, wrong

EXACT_INTEGER = 2**53 - 1  # RFC 8259 section 6: beyond it other readers lose digits


class Plain(str):
    """A scalar written without quotes: the only kind that may mean a number, true, false or null."""

    __slots__ = ()


def resolve_json(value: object) -> object:
    """Free values become JSON: an unquoted scalar by JSON's own grammar, anything else is text.

    YAML's other spellings (`no`, `0x10`, `1_000`, `2026-11-20`) stay text. Source: RFC 8259.
    """
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {str(key): resolve_json(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [resolve_json(item) for item in cast("list[object]", value)]
    if isinstance(value, Plain):
        return _plain_json(value)
    return str(value) if isinstance(value, str) else value


_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def _plain_json(value: Plain) -> JsonValue:
    if value in {"true", "false"}:
        return value == "true"
    if _NOT_FINITE.fullmatch(value):
        wrong(f"needs a finite number, got {shown(value)}")
    number = _JSON_NUMBER.fullmatch(value)
    if number is None:
        return str(value)
    if number[1] or number[2]:
        return _finite(value)
    if len(value) > len(str(-EXACT_INTEGER)) or abs(int(value)) > EXACT_INTEGER:
        wrong(f"has more digits than JSON readers keep, put it in quotes: {shown(value)}")
    return int(value)


def _finite(value: Plain) -> float:
    number = float(value)
    if not math.isfinite(number):
        wrong(f"needs a finite number, got {shown(value)}")
    return number


FreeMap = Annotated[dict[str, JsonValue], BeforeValidator(resolve_json)]
FreeList = Annotated[tuple[JsonValue, ...], BeforeValidator(resolve_json)]
