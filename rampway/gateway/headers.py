"""Which header fields pass a proxy, and what a target's artifact sets (RFC 9110 7.6.1)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import orjson
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import JsonValue

REQUEST_ID: Final = "x-request-id"
SHADOW: Final = "x-rampway-shadow"
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Rebuilt for the next hop: the host by the upstream's URL, the length by the body that is sent.
_REBUILT: Final = frozenset({"host", "content-length", "expect"})
_DROPPED_FROM_REQUEST: Final = _HOP_BY_HOP | _REBUILT
_OURS: Final = "x-rampway-"
_NONE: Final = frozenset[str]()
_NAMES_REMEMBERED: Final = 512  # of up to 16 KiB each, if somebody is after memory
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """A request's end-to-end fields, duplicates and order kept; none of ours from outside."""
    hop = _named_by_connection(headers) if "connection" in headers else _NONE
    kept: CIMultiDict[str] = CIMultiDict()
    spelled: dict[str, str] = {}  # aiohttp drops all but the last of `X: 1` and `x: 2`
    for name, value in headers.items():
        low = _to_upstream(name)
        if low and low not in hop:
            kept.add(spelled.setdefault(low, name), value)
    return kept


def passed_back(headers: CIMultiDictProxy[str], artifact_header: str) -> CIMultiDict[str]:
    """An answer's end-to-end fields, duplicates and order kept; none that would tell the arm."""
    hop = _named_by_connection(headers) if "connection" in headers else _NONE
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        token = _to_caller(name)
        if token and (not hop or token.lower() not in hop):
            kept.add(token, value)
    if artifact_header in kept:
        del kept[artifact_header]
    return kept


@lru_cache(_NAMES_REMEMBERED)
def _to_upstream(name: str) -> str:
    """A field's name in small letters; empty where it never passes."""
    low = name.lower()
    return "" if low in _DROPPED_FROM_REQUEST or low.startswith(_OURS) else low


@lru_cache(_NAMES_REMEMBERED)
def _to_caller(name: str) -> str:
    """A field's name as it is spelled; empty where it never passes."""
    token = name.rstrip()  # aiohttp takes `Name : value` from upstreams (RFC 9112 5.1)
    low = token.lower()
    return "" if low in _HOP_BY_HOP or low.startswith(_OURS) else token


def are_plain(headers: Mapping[str, str], reason: str) -> bool:
    """May an answer with this head be passed on? aiohttp takes more from upstreams than HTTP allows.

    No control characters (RFC 9110 5.5), and no transfer coding but the one that was undone.
    """
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        return False
    if reason.isprintable() and "".join(headers.values()).isprintable():
        return True
    return not any(_CONTROL.search(text) for text in (reason, *headers.values()))


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """The trace id of a W3C `traceparent` (version-traceid-parentid-flags), if it is one."""
    told = headers.get("traceparent")
    if told is None:
        return None
    parts = told.split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or not _is_hex(parts[1]) or not parts[1].strip("0"):  # noqa: PLR2004 - the fields and digits of the W3C format
        return None
    return parts[1]


def with_fields(body: bytes, fields: Mapping[str, JsonValue]) -> bytes:
    """The body with `fields` set at the top of its JSON object; anything else is left as it came."""
    if not fields or body.lstrip()[:1] != b"{":
        return body
    try:
        told: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return orjson.dumps({**told, **fields}) if isinstance(told, dict) else body


def _named_by_connection(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    named = ",".join(headers.getall("connection", []))
    return frozenset(token.strip().lower() for token in named.split(","))


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)
