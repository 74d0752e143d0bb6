"""Events: what happened to a release, numbered and hash-chained, each appended exactly once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, Field, JsonValue

from rampway.gates.facts import Fact, digest_of
from rampway.gates.plans import Share
from rampway.release.phases import MOVES, Phase, Trigger

GENESIS = "sha256:" + "0" * 64


class EventKind(StrEnum):
    """What an event records."""

    STARTED = "started"
    JUDGED = "judged"  # the offline gate's verdict
    QUEUED = "queued"
    CLAIMED = "claimed"
    SHADOWED = "shadowed"  # copies on, nothing returned from the candidate
    RAISED = "raised"
    DECIDED = "decided"
    EXTENDED = "extended"
    PAUSED = "paused"
    RESUMED = "resumed"
    OVERRIDE_GRANTED = "override_granted"
    OVERRIDE_USED = "override_used"
    COMMAND_REFUSED = "command_refused"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    SETTLED = "settled"
    PINNED = "pinned"
    ROLLING_BACK = "rolling_back"
    STRANDED = "stranded"
    PAGED = "paged"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    CONCLUDED = "concluded"


class Event(Fact):
    """One event of one release.

    `sequence` counts from 1 without gaps. `phase` is where the release is after the event; `trigger`
    names the move, None when the phase did not change. `evidence`, `plan` and `verdict` are digests
    of stored blobs. `previous` is the hash of the event before (GENESIS for the first), `hash` the
    digest of everything else.
    """

    release: str
    sequence: int = Field(ge=1)
    at: AwareDatetime
    kind: EventKind
    phase: Phase
    trigger: Trigger | None = None
    share_bp: Share
    actor: str
    reason: str
    step: str | None = None
    plan: str | None = None
    evidence: str | None = None
    verdict: str | None = None
    data: dict[str, JsonValue] = {}
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """The hash this event ought to have."""
        return digest_of(self.model_dump(mode="json", exclude={"hash"}))


class ChainBroken(Exception):
    """A stored event is not what was written: changed, missing, reordered or never legal."""

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(f"event {sequence}: {why}")
        self.sequence = sequence
        self.why = why


class Ledger:
    """Writes the next event of one release; the workflow is the only writer."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.events: list[Event] = []

    @property
    def head(self) -> str:
        """The hash of the last event."""
        return self.events[-1].hash if self.events else GENESIS

    @property
    def next_sequence(self) -> int:
        """The number the next event will have."""
        return len(self.events) + 1

    def write(
        self,
        kind: EventKind,
        *,
        at: datetime,
        phase: Phase,
        share_bp: int,
        actor: str,
        reason: str,
        trigger: Trigger | None = None,
        step: str | None = None,
        plan: str | None = None,
        evidence: str | None = None,
        verdict: str | None = None,
        data: dict[str, JsonValue] | None = None,
    ) -> Event:
        """Number, chain and keep an event."""
        unsealed = Event(
            release=self.release,
            sequence=self.next_sequence,
            at=at,
            kind=kind,
            phase=phase,
            trigger=trigger,
            share_bp=share_bp,
            actor=actor,
            reason=reason,
            step=step,
            plan=plan,
            evidence=evidence,
            verdict=verdict,
            data=data or {},
            previous=self.head,
            hash="",
        )
        event = unsealed.model_copy(update={"hash": unsealed.computed_hash()})
        self.events.append(event)
        return event


def check_next(previous: Event | None, event: Event) -> None:
    """Check that an event may follow another. Raises ChainBroken."""
    sequence = previous.sequence + 1 if previous else 1
    if event.sequence != sequence:
        raise ChainBroken(event.sequence, f"out of order, expected event {sequence}")
    if event.previous != (previous.hash if previous else GENESIS):
        raise ChainBroken(event.sequence, "does not follow the event before it")
    if event.hash != event.computed_hash():
        raise ChainBroken(event.sequence, "was changed after it was written")
    before = previous.phase if previous else Phase.PROPOSED
    after = before if event.trigger is None else MOVES.get((before, event.trigger))
    if event.phase is not after:
        raise ChainBroken(
            event.sequence, f"moves from {before} to {event.phase}, which no rule allows"
        )


def check_chain(events: Iterable[Event]) -> str:
    """Check a whole chain and return its head. Raises ChainBroken at the first bad event."""
    previous: Event | None = None
    for event in events:
        check_next(previous, event)
        previous = event
    return previous.hash if previous else GENESIS


def end_of(events: Sequence[Event]) -> Event | None:
    """The event that ended the release, None while it is open."""
    return events[-1] if events and events[-1].phase.ended else None
