"""The lines that the judge reads: pairs of answers to one request, and the marks that end a slice.

Encoding happens in the writer thread: bodies are unpacked and parsed there, not on the event loop.
"""

import zlib
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

UNPACKED_BYTES_MAX: Final = (
    1024 * 1024
)  # of one compressed body, so that a small one cannot be a bomb
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


SpoolRecord = PairRecord | MarkRecord


def encode(record: SpoolRecord) -> bytes:
    """One line of the spool, without its end."""
    if isinstance(record, MarkRecord):
        return orjson.dumps(
            {
                "kind": "mark",
                "target": record.target,
                "epoch": record.epoch,
                "segment": record.segment,
                "i": record.i,
                "slice_seconds": record.slice_seconds,
                "ended_at": record.ended_at,
                "copied": record.copied,
                "missing": record.missing,
            }
        )
    return orjson.dumps(
        {
            "kind": "pair",
            "target": record.target,
            "release": record.release,
            "epoch": record.epoch,
            "segment": record.segment,
            "i": record.i,
            "unit": record.unit,
            "trace": record.trace,
            "request": None if record.request is None else readable(record.request, ""),
            "baseline": _half(record.baseline),
            "candidate": _half(record.candidate),
            "missing": record.missing,
        }
    )


def encode_without_bodies(record: SpoolRecord) -> bytes:
    """Same, for who may not keep what was asked and answered."""
    if isinstance(record, MarkRecord):
        return encode(record)
    bare = record._replace(request=None, baseline=_bare(record.baseline))
    return encode(bare._replace(candidate=_bare(record.candidate)))


def readable(body: bytes, encoding: str) -> JsonValue:
    """A body as JSON if it is, else as text; None where it cannot be unpacked."""
    if encoding not in {"", "identity"}:
        unpacked = _unpacked(body) if encoding in {"gzip", "x-gzip", "deflate"} else None
        if unpacked is None:
            return None
        body = unpacked
    try:
        parsed: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    return parsed


def _half(half: Half | None) -> dict[str, JsonValue]:
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
