"""One line per request of an open split with what was asked and answered, for `rampway compare`.

Off unless `capture.answers` is set: it keeps what users write. A request that was copied in shadow
leaves one line with both answers, any other request one line with its arm's answer.
"""

from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from rampway.gateway.assignment import Split
from rampway.gateway.spool import Half, PairRecord, half_as_json, readable

LINE_BYTES: Final = 1_024  # what a waiting line is reckoned to hold beside its bodies


class SplitFacts(NamedTuple):
    """What was in force when the request started: enough to read the log without another file."""

    target: str
    release: str | None
    epoch: int
    segment: int
    share_bp: int
    baseline: str  # artifact digests
    candidate: str | None
    split: Split


class LiveRecord(NamedTuple):
    """One live request. `answer` is None where none came; `error` is its kind, or `aborted`."""

    ts: float
    request_id: str
    unit: bytes
    facts: SplitFacts
    arm: str
    status: int | None
    latency_ms: float
    error: str | None
    request: bytes | None
    answer: Half | None


class CopiedRecord(NamedTuple):
    """One request that was copied: its pair, and when it started (wall seconds)."""

    ts: float
    request_id: str
    unit: bytes
    facts: SplitFacts
    pair: PairRecord


LogRecord = LiveRecord | CopiedRecord


def encode(record: LogRecord) -> bytes:
    """One line, without its end. Units are told by a pseudonym that only this release's salt links."""
    return orjson.dumps(_live(record) if isinstance(record, LiveRecord) else _copied(record))


def _live(record: LiveRecord) -> dict[str, JsonValue]:
    facts, answer = record.facts, record.answer
    return {
        "kind": "live",
        "ts": record.ts,
        "request_id": record.request_id,
        "unit": facts.split.pseudonym(record.unit),
        **_told(facts),
        "arm": record.arm,
        "status": record.status,
        "latency_ms": round(record.latency_ms, 3),
        "error": record.error,
        "request": None if record.request is None else readable(record.request, ""),
        "body": None if answer is None else half_as_json(answer)["body"],
    }


def _copied(record: CopiedRecord) -> dict[str, JsonValue]:
    facts, pair = record.facts, record.pair
    return {
        "kind": "pair",
        "ts": record.ts,
        "request_id": record.request_id,
        "unit": facts.split.pseudonym(record.unit),
        **_told(facts),
        "request": None if pair.request is None else readable(pair.request, ""),
        "baseline": half_as_json(pair.baseline),
        "candidate": half_as_json(pair.candidate),
        "missing": pair.missing,
    }


def _told(facts: SplitFacts) -> dict[str, JsonValue]:
    return {
        "target": facts.target,
        "release": facts.release,
        "epoch": facts.epoch,
        "segment": facts.segment,
        "share_bp": facts.share_bp,
        "artifacts": {"baseline": facts.baseline, "candidate": facts.candidate},
    }
