"""The lines that the judge reads: pairs of answers, answers that users saw, and marks that end a slice.

Encoding happens in the writer thread: bodies are unpacked and parsed there, not on the event loop.
"""

import zlib
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

UNPACKED_BYTES_MAX: Final = (
    1024 * 1024
)  # of one compressed body, so that a small one cannot be a bomb
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
    """One sampled request and both answers; `missing` says why there are not two."""

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


def encode(record: SpoolRecord) -> bytes:
    """One line of the spool, without its end."""
    match record:
        case PairRecord():
            return _pair(record)
        case MarkRecord():
            return orjson.dumps({"kind": "mark", **record._asdict()})
        case AnswerRecord():
            return _answer(record)
        case DrawnRecord():
            return orjson.dumps({"kind": "drawn", **record._asdict()})


def encode_without_bodies(record: SpoolRecord) -> bytes:
    """Same, for who may not keep what was asked and answered."""
    match record:
        case PairRecord():
            bare = record._replace(request=None, baseline=_bare(record.baseline))
            return encode(bare._replace(candidate=_bare(record.candidate)))
        case AnswerRecord():
            return encode(record._replace(request=None, answer=_bare(record.answer)))
        case MarkRecord() | DrawnRecord():
            return encode(record)


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


def _pair(record: PairRecord) -> bytes:
    return orjson.dumps(
        {
            "kind": "pair",
            **record._asdict(),
            "request": None if record.request is None else readable(record.request, ""),
            "baseline": half_as_json(record.baseline),
            "candidate": half_as_json(record.candidate),
        }
    )


def _answer(record: AnswerRecord) -> bytes:
    answer, missing = record.answer, record.missing
    told = None if answer is None else half_as_json(answer)
    # Where the encoding is plain, no body is the JSON value null: that can be scored.
    if answer is not None and told is not None and told["body"] is None:
        missing = missing if answer.encoding in _PLAIN else UNREADABLE
    return orjson.dumps(
        {
            "kind": "answer",
            **record._asdict(),
            "request": None if record.request is None else readable(record.request, ""),
            "answer": told,
            "missing": missing,
        }
    )


def half_as_json(half: Half | None) -> dict[str, JsonValue]:
    if half is None:
        return {"status": None, "latency_ms": None, "body": None}
    return {
        "status": half.status,
        "latency_ms": round(half.latency_ms, 3),
        "body": None if half.body is None else readable(half.body, half.encoding),
    }


def _bare(half: Half | None) -> Half | None:
    return half._replace(body=None) if half else None


def _unpacked(body: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(_WINDOW_ANY)
    try:
        unpacked = unpacker.decompress(body, UNPACKED_BYTES_MAX)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
