"""The lines that the judge reads: pairs of answers, answers that users saw, and marks that end a slice.

Encoding happens in the writer thread: bodies are unpacked and parsed there, not on the event loop.
"""

import os
import zlib
from typing import Any, Final, NamedTuple

import orjson
from pydantic import JsonValue

from rampway.gateway.capture import Allowed
from rampway.gateway.redaction import redacted_id

UNPACKED_BYTES_MAX: Final = (
    1024 * 1024
)  # of one compressed body, so that a small one cannot be a bomb
FIRST_LINE_BYTES: Final = 256
UNREADABLE: Final = "unreadable"  # an answer in an encoding that is not unpacked
_PLAIN: Final = frozenset({"", "identity"})
_WINDOW_ANY: Final = zlib.MAX_WBITS | 32  # zlib tells gzip from zlib by the header itself


class Half(NamedTuple):
    """What one arm answered."""

    status: int
    latency_ms: float
    body: bytes | None
    encoding: str  # the Content-Encoding, empty for none


class PairRecord(NamedTuple):
    """One sampled request and both answers; `missing` says why there are not two to compare."""

    target: str
    release: str
    epoch: int
    segment: int
    i: int
    unit: str
    trace: str
    request: bytes | None
    baseline: Half | None
    candidate: Half | None
    missing: str | None


class MarkRecord(NamedTuple):
    """A slice is over, and every pair of it is written above, or counted in `missing`."""

    target: str
    epoch: int
    segment: int
    i: int
    slice_seconds: float
    ended_at: float
    copied: int
    missing: dict[str, int]


class AnswerRecord(NamedTuple):
    """A drawn request and the answer that its user saw; `failed` or `missing` says why there is none.

    The arm is told so that the judge can count, never to who scores.
    """

    target: str
    release: str
    epoch: int
    segment: int
    i: int
    arm: str
    unit: str
    trace: str
    request: bytes | None
    answer: Half | None
    failed: str | None
    missing: str | None


class DrawnRecord(NamedTuple):
    """A slice is over, and so many of its requests were drawn for the judge."""

    target: str
    epoch: int
    segment: int
    i: int
    slice_seconds: float
    ended_at: float
    candidate: int
    baseline: int


SpoolRecord = PairRecord | MarkRecord | AnswerRecord | DrawnRecord


def encode(record: SpoolRecord, allowed: Allowed) -> bytes:
    """One line of the spool, without its end, with what may be kept of the bodies."""
    match record:
        case PairRecord():
            return _pair(record, allowed)
        case MarkRecord():
            return orjson.dumps({"kind": "mark", **record._asdict()})
        case AnswerRecord():
            return _answer(record, allowed)
        case DrawnRecord():
            return orjson.dumps({"kind": "drawn", **record._asdict()})


def readable(body: bytes, encoding: str) -> JsonValue:
    """A body as JSON if it is, else as text; None where it cannot be unpacked."""
    if encoding not in _PLAIN:
        unpacked = _unpacked(body) if encoding in {"gzip", "x-gzip", "deflate"} else None
        if unpacked is None:
            return None
        body = unpacked
    try:
        parsed: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    return parsed


def first_line(target: str, at: float) -> bytes:
    """What a spool begins with, at `at` wall seconds: nothing of anybody, and never changed.

    The judge knows a file by its first 256 bytes, and lines may be erased.
    """
    named = {"kind": "begun", "target": target, "at": at, "file": os.urandom(16).hex()}
    return orjson.dumps(named).ljust(FIRST_LINE_BYTES)


def request_as_json(body: bytes | None, allowed: Allowed) -> dict[str, JsonValue]:
    """What was asked, as far as it may be kept, and the digest of what may not."""
    told = None if body is None or not allowed.keeps_bodies else readable(body, "")
    digest = allowed.digest(body)
    kept: dict[str, JsonValue] = {"request": allowed.of_request(told)}
    return kept if digest is None else {**kept, "request_sha256": digest}


def half_as_json(half: Half | None, allowed: Allowed) -> dict[str, JsonValue]:
    """What an arm answered; same."""
    if half is None:
        return {"status": None, "latency_ms": None, "body": None}
    bare = half.body is None or not allowed.keeps_bodies
    told = None if bare else readable(half.body or b"", half.encoding)
    digest = allowed.digest(half.body)
    kept: dict[str, JsonValue] = {
        "status": half.status,
        "latency_ms": round(half.latency_ms, 3),
        "body": allowed.of_answer(told),
    }
    return kept if digest is None else {**kept, "sha256": digest}


def _pair(record: PairRecord, allowed: Allowed) -> bytes:
    if record.missing is not None:  # nobody compares it: its bodies are neither kept nor parsed
        record = record._replace(
            request=None, baseline=_bare(record.baseline), candidate=_bare(record.candidate)
        )
    return orjson.dumps(
        {
            "kind": "pair",
            **_ids_redacted(record._asdict()),
            **request_as_json(record.request, allowed),
            "baseline": half_as_json(record.baseline, allowed),
            "candidate": half_as_json(record.candidate, allowed),
        }
    )


def _bare(half: Half | None) -> Half | None:
    return half and half._replace(body=None)


def _answer(record: AnswerRecord, allowed: Allowed) -> bytes:
    answer, missing = record.answer, record.missing
    # Where the encoding is plain, no body is the JSON value null: that can be scored.
    if answer is not None and answer.body is not None and answer.encoding not in _PLAIN:
        missing = UNREADABLE if readable(answer.body, answer.encoding) is None else missing
    return orjson.dumps(
        {
            "kind": "answer",
            **_ids_redacted(record._asdict()),
            **request_as_json(record.request, allowed),
            "answer": None if answer is None else half_as_json(answer, allowed),
            "missing": missing,
        }
    )


def _ids_redacted(told: dict[str, Any]) -> dict[str, Any]:
    """A trace's id may be the request's, which an edge may have made of anything."""
    return {**told, "trace": redacted_id(told["trace"])}


def _unpacked(body: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(_WINDOW_ANY)
    try:
        unpacked = unpacker.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
