"""Which field of a changed event or blob was changed: what, put back, gives the recorded digest again.

A digest tells only that something changed. Most values of a record are known from elsewhere in it,
so each is put back in turn; where one fits, the finding is certain, where none does, nothing is said.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from rampway.gates.facts import canonical, digest_of_bytes
from rampway.gates.plans import AbPlan, SettlePlan, StepPlan
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict
from rampway.release.events import GENESIS, EventKind
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record
from rampway.reports.sentences import gate_words
from rampway.reports.words import plain, plural_of, short

MAX_HASHED_BYTES = 400 * 2**20  # about a second
SHARES_BP = range(0, 10_001, 100)
_COLUMNS = ("slice", "candidate units", "candidate", "baseline units", "baseline")


class Change(NamedTuple):
    """What a field says now, and what it said when its digest was taken."""

    where: str
    found: str
    expected: str


def changed_field(
    record: Record, position: int, digest: str, stored: Iterable[str]
) -> Change | None:
    """The one field of the event in this position (from 1) that was other when `digest` was taken.

    `stored` are the digests of all blobs: one of them may be what the event named.
    """
    event = record.events[position - 1]
    if event.computed_hash() == digest:
        return Change("hash", _short(event.hash), _short(digest)) if event.hash != digest else None
    for field, value in _possible(record, position, stored):
        if event.model_copy(update={field: value}).computed_hash() == digest:
            return Change(field, _short(getattr(event, field)), _short(value))
    return None


def changed_count(
    body: bytes, digest: str, plan: StepPlan | AbPlan | SettlePlan, verdict: StageVerdict
) -> Change | None:
    """The one count in changed evidence that no longer adds up to the counts in its verdict."""
    try:
        evidence = json.loads(body)
        streams = {gate.name: gate.stream for gate in plan.gates}
        hashed_bytes = 0
        for gate in verdict.gates:
            stream = streams.get(gate.gate, gate.gate)
            rows = _counted_rows(evidence, stream, plan.slice_seconds, gate)
            for column, difference in _differences(rows, gate):
                hashed_bytes += len(body) * len(rows)
                if hashed_bytes > MAX_HASHED_BYTES:
                    return None
                start = body.find(canonical(stream) + b":[")
                change = _put_back(body[:start], body[start:], digest, rows, column, difference)
                if change is not None:
                    return _in_words(change, gate.gate)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
        return None  # no longer evidence at all: there is no field to name
    return None


def first_difference(found: bytes, expected: bytes) -> Change | None:
    """The first field in which two JSON texts differ."""
    try:
        return _difference(json.loads(found), json.loads(expected), "")
    except (ValueError, RecursionError):
        return None


def _possible(record: Record, position: int, stored: Iterable[str]) -> Iterator[tuple[str, object]]:
    """Each field of an event with what it may have been, by the rest of the record."""
    header, events = record.header, record.events
    before = events[position - 2] if position > 1 else None
    yield "previous", before.hash if before else GENESIS
    yield "sequence", position
    yield "release", header.release
    for name, values in (("kind", EventKind), ("phase", Phase), ("trigger", (None, *Trigger))):
        yield from ((name, value) for value in values)
    yield from (("share_bp", share) for share in {*SHARES_BP, *(e.share_bp for e in events)})
    actors = {header.actor, header.owner, *(e.actor for e in events)}
    yield from (("actor", actor) for actor in sorted(actors))
    for name in ("reason", "step", "at"):
        yield from ((name, getattr(e, name)) for e in events)
    yield "step", None
    digests = {None, *stored}
    for name in ("plan", "evidence", "verdict"):
        yield from ((name, digest) for digest in digests)


def _counted_rows(
    evidence: dict[str, dict[str, list[list[int]]]],
    stream: str,
    slice_seconds: float,
    gate: GateVerdict,
) -> list[list[int]]:
    """The rows that the gate had counted: those sealed, up to the slice in which a BREACH latched."""
    sealed: object = evidence["sealed"][stream]
    end_seconds = gate.crossed_at_seconds
    return [
        row
        for row in evidence["rows"][stream]
        if isinstance(sealed, int)
        and row[0] < sealed
        and (end_seconds is None or (row[0] + 0.5) * slice_seconds < end_seconds)
    ]


def _differences(rows: Sequence[Sequence[int]], gate: GateVerdict) -> Iterator[tuple[int, int]]:
    """Each column whose sum is not what the verdict says, and by how much."""
    counted = (_both(gate.candidate), _both(gate.baseline))
    for column, total in enumerate((*counted[0], *counted[1]), start=1):
        difference = total - sum(row[column] for row in rows)
        if difference:
            yield column, difference


def _both(count: Count) -> tuple[int, int]:
    return count.units, count.bad


def _put_back(
    head: bytes,
    stream: bytes,
    digest: str,
    rows: Sequence[list[int]],
    column: int,
    difference: int,
) -> tuple[int, int, int, int] | None:
    """The slice and column that, by this difference more, give the digest again; both values."""
    for row in rows:
        restored = list(row)
        restored[column] += difference
        before, found, after = stream.partition(canonical(row))
        if found and digest_of_bytes(head + before + canonical(restored) + after) == digest:
            return row[0], column, row[column], restored[column]
    return None


def _in_words(change: tuple[int, int, int, int], gate: str) -> Change:
    index, column, found, expected = change
    what = _COLUMNS[column]
    if " " not in what:
        what = f"{what} {plural_of(gate_words(gate).noun)}"
    return Change(f"counts slice {index}, {what}", str(found), str(expected))


def _difference(found: JsonValue, expected: JsonValue, path: str) -> Change | None:
    if isinstance(found, dict) and isinstance(expected, dict):
        pairs = [(k, found.get(k), expected.get(k)) for k in sorted(found.keys() | expected.keys())]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(str(i), f, e) for i, (f, e) in enumerate(zip(found, expected, strict=True))]
    elif canonical(found) == canonical(expected):
        return None
    else:
        return Change(path or "all of it", _short(found), _short(expected))
    changes = (_difference(f, e, f"{path}.{key}" if path else key) for key, f, e in pairs)
    return next((change for change in changes if change is not None), None)


def _short(value: object) -> str:
    text = str(value)
    return short(text) if text.startswith("sha256:") else plain(text, 60)
