"""Where a release's chain of events breaks: what was changed, is missing or out of order."""

from collections.abc import Collection, Iterator

from rampway.gates.facts import Fact
from rampway.release.events import GENESIS, ChainBroken, Event, check_next
from rampway.release.phases import MOVES, Phase
from rampway.release.records import Record
from rampway.reports.tampering import Change, changed_field
from rampway.reports.words import plain, short

CHANGED = "was changed after it was written"


class Finding(Fact):
    """One place where the record contradicts itself.

    `sequence` is the event (None: the header), and `what` completes a sentence that begins with it.
    `where` names the field; `found` is what it says, and `witness` says `expected` instead.
    """

    sequence: int | None
    what: str
    where: str
    found: str
    witness: str
    expected: str


def head_of(record: Record) -> str:
    """The hash of the last event."""
    return record.events[-1].hash if record.events else GENESIS


def header_findings(record: Record) -> list[Finding]:
    """The first event may carry the header's digest, which puts the header in the chain."""
    kept = record.events[0].data.get("header") if record.events else None
    if not isinstance(kept, str) or kept == record.header.digest:
        return []
    return [
        Finding(
            sequence=None,
            what=CHANGED,
            where="its digest",
            found=short(record.header.digest),
            witness="event 1",
            expected=short(kept),
        )
    ]


def chain_findings(record: Record, stored: Collection[str]) -> list[Finding]:
    """The first break; what follows one cannot be trusted and is not looked at.

    `stored` are the digests of all blobs.
    """
    previous: Event | None = None
    for position, event in enumerate(record.events, start=1):
        try:
            check_next(previous, event)
        except ChainBroken as broken:
            return [_break(record, position, broken, stored)]
        if event.release != record.header.release:
            return [
                Finding(
                    sequence=position,
                    what="belongs to another release",
                    where="release",
                    found=short(event.release),
                    witness="the header",
                    expected=short(record.header.release),
                )
            ]
        previous = event
    return []


def _break(record: Record, position: int, broken: ChainBroken, stored: Collection[str]) -> Finding:
    event = record.events[position - 1]
    after = record.events[position] if position < len(record.events) else None
    intact = event.hash == event.computed_hash()
    follows = event.previous == (record.events[position - 2].hash if position > 1 else GENESIS)
    if intact and not follows and position > 1 and event.sequence == position:
        change = changed_field(record, position - 1, event.previous, stored)
        if change is not None or (after is not None and after.previous == event.hash):
            return _changed(record, position - 1, event.previous, f"event {position}", change)
    for digest, witness in _witnesses(event, after):
        change = changed_field(record, position, digest, stored)
        if change is not None:
            return _changed(record, position, digest, witness, change)
    if event.sequence != position:
        return Finding(
            sequence=position,
            what="is missing" if event.sequence > position else "is out of order",
            where=f"the event in place {position}",
            found=f"has number {event.sequence}",
            witness="its place",
            expected=str(position),
        )
    if not intact:
        return _changed(record, position, event.hash, "its hash", None)
    before = record.events[position - 2] if position > 1 else None
    if not follows:
        return Finding(
            sequence=position,
            what="does not follow the event before it",
            where="previous",
            found=short(event.previous),
            witness=f"event {position - 1}" if before else "the beginning",
            expected=short(before.hash if before else GENESIS),
        )
    phase = before.phase if before else Phase.PROPOSED
    legal = phase if event.trigger is None else MOVES.get((phase, event.trigger))
    return Finding(
        sequence=position,
        what=plain(broken.why, 200),
        where="phase",
        found=event.phase,
        witness="the table of moves",
        expected=legal or f"no release in {phase} takes '{event.trigger}'",
    )


def _witnesses(event: Event, after: Event | None) -> Iterator[tuple[str, str]]:
    if after is not None:
        yield after.previous, f"event {after.sequence}"
    yield event.hash, "its hash"


def _changed(
    record: Record, position: int, digest: str, witness: str, change: Change | None
) -> Finding:
    told = change or Change(
        "its contents",
        f"hash to {short(record.events[position - 1].computed_hash())}",
        short(digest),
    )
    return Finding(
        sequence=position,
        what=CHANGED,
        where=told.where,
        found=told.found,
        witness=witness,
        expected=told.expected,
    )


def anchor_findings(record: Record, anchor: str) -> list[Finding]:
    """An anchor that is no longer in the chain: events after it, or all, were taken away."""
    if anchor in {GENESIS, *(event.hash for event in record.events)}:
        return []
    return [
        Finding(
            sequence=len(record.events) + 1,
            what="is missing",
            where="the record",
            found=f"ends at {short(head_of(record))}",
            witness="the anchor",
            expected=short(anchor),
        )
    ]
