"""One line per request of an open split with what was asked and answered, for `rampway compare`.

Off unless `capture.answers` is set; what it keeps of bodies is what `capture.bodies` allows. A request that was copied in shadow
leaves one line with both answers, any other request one line with its arm's answer.
"""

from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from rampway.gateway.assignment import Split
from rampway.gateway.capture import Allowed
from rampway.gateway.redaction import redacted_id
from rampway.gateway.spool import Half, PairRecord, half_as_json, request_as_json

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


def encode(record: LogRecord, allowed: Allowed) -> bytes:
    """One line, without its end. Units are told by a pseudonym that only this release's salt links."""
    if isinstance(record, LiveRecord):
        return orjson.dumps(_live(record, allowed))
    return orjson.dumps(_copied(record, allowed))


def _live(record: LiveRecord, allowed: Allowed) -> dict[str, JsonValue]:
    facts = record.facts
    answered = {} if record.answer is None else half_as_json(record.answer, allowed)
    kept = {"body": answered.get("body")}
    digest = answered.get("sha256")
    return {
        "kind": "live",
        "ts": record.ts,
        "request_id": redacted_id(record.request_id),
        "unit": facts.split.pseudonym(record.unit),
        **_told(facts),
        "arm": record.arm,
        "status": record.status,
        "latency_ms": round(record.latency_ms, 3),
        "error": record.error,
        **request_as_json(record.request, allowed),
        **(kept if digest is None else {**kept, "sha256": digest}),
    }


def _copied(record: CopiedRecord, allowed: Allowed) -> dict[str, JsonValue]:
    facts, pair = record.facts, record.pair
    return {
        "kind": "pair",
        "ts": record.ts,
        "request_id": redacted_id(record.request_id),
        "unit": facts.split.pseudonym(record.unit),
        **_told(facts),
        **request_as_json(pair.request, allowed),
        "baseline": half_as_json(pair.baseline, allowed),
        "candidate": half_as_json(pair.candidate, allowed),
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
