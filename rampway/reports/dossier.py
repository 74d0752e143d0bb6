"""All that a report can say about one release: its record with every stored fact looked up.

What is missing or damaged becomes a `Missing` in its place, never an exception: a report about a
damaged record must still show the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from rampway.gates.evidence import Evidence, PairedCases
from rampway.gates.facts import digest_of_bytes
from rampway.gates.plans import AbPlan, Arm, OfflinePlan, SettlePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import GateVerdict, OfflineVerdict, StageVerdict, Verdict
from rampway.release.events import ChainBroken, Event, EventKind, check_chain, end_of
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record


class Gap(StrEnum):
    """Why a stored fact cannot be shown."""

    ABSENT = "not in the record"
    ALTERED = "not what its digest says"
    UNREADABLE = "not readable as what the event says it is"


@dataclass(frozen=True)
class Missing:
    """A fact that an event names by digest and the record cannot show."""

    digest: str
    why: Gap


_Fact = TypeVar("_Fact")

_PLANS: TypeAdapter[StepPlan | ShadowPlan | AbPlan | SettlePlan | OfflinePlan] = TypeAdapter(
    Annotated[
        StepPlan | ShadowPlan | AbPlan | SettlePlan | OfflinePlan, Field(discriminator="kind")
    ]
)
_EVIDENCE: TypeAdapter[Evidence | PairedCases] = TypeAdapter(
    Annotated[Evidence | PairedCases, Field(discriminator="kind")]
)
_VERDICTS: TypeAdapter[StageVerdict | OfflineVerdict] = TypeAdapter(StageVerdict | OfflineVerdict)
_UNIT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])
_UNITS = ("request", "session", "user")


@dataclass(frozen=True)
class Decision:
    """One event that weighed evidence, with what it names; None where it names nothing."""

    event: Event
    plan: StepPlan | ShadowPlan | AbPlan | SettlePlan | OfflinePlan | Missing | None
    evidence: Evidence | PairedCases | Missing | None
    verdict: StageVerdict | OfflineVerdict | Missing | None

    @property
    def step(self) -> str:
        """The stage it is about: `offline`, `shadow`, `5 %`, `settling`."""
        if isinstance(self.verdict, StageVerdict):
            return self.verdict.stage
        return self.event.step or "offline"

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What cannot be shown."""
        named = (self.plan, self.evidence, self.verdict)
        return tuple(fact for fact in named if isinstance(fact, Missing))


@dataclass(frozen=True)
class Exposure:
    """Candidate units served in one step; None where no judgement in the record has counted them."""

    step: str
    units: int | None


@dataclass(frozen=True)
class Facts:
    """Key figures of one release, in seconds and units; None where the record does not tell.

    `exposed` has every step in which the candidate served. `copied` counts judged pairs of shadow
    copies, 0 when there was no shadow. `detected_seconds` runs from the step's start to the crossing slice, `to_zero_seconds` from the
    pin's decision to 0 % confirmed, `paused_seconds` is the sum of all pauses.
    """

    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float
    exposed: tuple[Exposure, ...]
    copied: int | None
    detected_seconds: float | None
    to_zero_seconds: float | None
    paused_seconds: float
    overrides: int

    @property
    def exposed_units(self) -> int:
        """Candidate units served in all steps that are counted."""
        return sum(exposure.units or 0 for exposure in self.exposed)


@dataclass(frozen=True)
class SharePoint:
    """The candidate's share of traffic from an event on; `copied_bp` is the shadow rate then."""

    at: datetime
    share_bp: int
    copied_bp: int


@dataclass(frozen=True)
class Dossier:
    """One release, ready to be told."""

    record: Record
    unit: str
    decisions: tuple[Decision, ...]
    deciding: Decision | None
    facts: Facts
    shares: tuple[SharePoint, ...]
    head: str
    broken: ChainBroken | None

    @property
    def name(self) -> str:
        """The release's name, `<target>-<6 hex>`."""
        return self.record.header.name

    @property
    def judgements(self) -> tuple[Decision, ...]:
        """The decisions that gave a verdict; the others only name what a step began with."""
        return tuple(d for d in self.decisions if d.verdict is not None)

    @property
    def stop(self) -> Event | None:
        """The event that stopped the climb, None while nothing did."""
        return stop_of(self.record)

    @property
    def deciding_gate(self) -> GateVerdict | None:
        """The gate that decided: the one the stop names, or the first with the stage's verdict."""
        if self.deciding is None or not isinstance(self.deciding.verdict, StageVerdict):
            return None
        verdict = self.deciding.verdict
        named = text_in(self.deciding.event, "gate")
        return next((g for g in verdict.gates if g.gate == named), verdict.decisive)

    @property
    def offline(self) -> OfflineVerdict | None:
        """The offline gate's last answer that the record can show."""
        told = (d.verdict for d in reversed(self.decisions))
        return next((v for v in told if isinstance(v, OfflineVerdict)), None)

    def last_of(self, step: str) -> Decision | None:
        """The last judgement of a step."""
        return next((d for d in reversed(self.judgements) if d.step == step), None)


def assemble(record: Record, blobs: Mapping[str, bytes]) -> Dossier:
    """Look up what the record's events name in `blobs` (digest to bytes), and draw the sums."""
    decisions = tuple(
        _decision(event, blobs)
        for event in record.events
        if event.plan or event.evidence or event.verdict
    )
    head, broken = _chain(record.events)
    return Dossier(
        record=record,
        unit=_unit(blobs.get(record.header.plan)),
        decisions=decisions,
        deciding=_deciding(record, decisions),
        facts=_facts(record, decisions),
        shares=_shares(record),
        head=head,
        broken=broken,
    )


def stop_of(record: Record) -> Event | None:
    """The event that pinned or rejected the release."""
    stops = (EventKind.PINNED, EventKind.REJECTED)
    return next((e for e in reversed(record.events) if e.kind in stops), None)


def open_pause(record: Record) -> Event | None:
    """The pause that is still in force, None when the release is not paused or has ended."""
    if record.phase.ended:
        return None
    switches = (EventKind.PAUSED, EventKind.RESUMED, EventKind.PINNED)
    last = next((e for e in reversed(record.events) if e.kind in switches), None)
    return last if last is not None and last.kind is EventKind.PAUSED else None


def number_in(event: Event, key: str) -> float | None:
    """A number from the event's data; None if it is absent or something else."""
    value = event.data.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def text_in(event: Event, key: str) -> str | None:
    """A non-empty text from the event's data; None if it is absent or something else."""
    value = event.data.get(key)
    return value if isinstance(value, str) and value else None


def _decision(event: Event, blobs: Mapping[str, bytes]) -> Decision:
    plan = _look_up(event.plan, blobs, _PLANS)
    evidence = _look_up(event.evidence, blobs, _EVIDENCE)
    verdict = _look_up(event.verdict, blobs, _VERDICTS)
    return Decision(event=event, plan=plan, evidence=evidence, verdict=verdict)


def _look_up(
    digest: str | None, blobs: Mapping[str, bytes], adapter: TypeAdapter[_Fact]
) -> _Fact | Missing | None:
    if digest is None:
        return None
    body = blobs.get(digest)
    if body is None:
        return Missing(digest, Gap.ABSENT)
    if digest_of_bytes(body) != digest:
        return Missing(digest, Gap.ALTERED)
    try:
        return adapter.validate_json(body)
    except ValidationError:
        return Missing(digest, Gap.UNREADABLE)


def _chain(events: Sequence[Event]) -> tuple[str, ChainBroken | None]:
    try:
        return check_chain(events), None
    except ChainBroken as broken:
        return events[-1].hash, broken


def _unit(plan: bytes | None) -> str:
    """What was hashed to an arm and counted, by the release's plan; just `unit` without one."""
    try:
        named = _UNIT.validate_json(plan or b"{}").get("unit")
    except ValidationError:
        return "unit"
    return named if isinstance(named, str) and named in _UNITS else "unit"


def _deciding(record: Record, decisions: Sequence[Decision]) -> Decision | None:
    """The judgement that stopped the climb; a person, a lost lease or a queue leave none."""
    stop = stop_of(record)
    if stop is None:
        return None
    judged = [d for d in decisions if d.verdict is not None]
    own = [d for d in judged if d.event.sequence == stop.sequence]
    if own:
        return own[0]
    if stop.trigger is Trigger.GATE_FAILED:
        return next((d for d in reversed(judged) if d.event.kind is EventKind.JUDGED), None)
    if stop.trigger is Trigger.BREACH:
        return next((d for d in reversed(judged) if _breached(d.event, stop.step)), None)
    return None


def _breached(event: Event, step: str | None) -> bool:
    return event.step == step and text_in(event, "verdict") == Verdict.BREACH


def _facts(record: Record, decisions: Sequence[Decision]) -> Facts:
    started = record.header.started_at
    end = end_of(record.events)
    last = record.events[-1].at if record.events else started
    stop = stop_of(record)
    return Facts(
        started_at=started,
        ended_at=end.at if end else None,
        duration_seconds=max(0.0, (last - started).total_seconds()),
        exposed=_exposed(record.events, decisions),
        copied=_copied(record.events, decisions),
        detected_seconds=_detected(record, decisions),
        to_zero_seconds=number_in(stop, "to_zero_seconds") if stop else None,
        paused_seconds=_paused(record.events, last),
        overrides=sum(1 for e in record.events if e.kind is EventKind.OVERRIDE_USED),
    )


def _exposed(events: Sequence[Event], decisions: Sequence[Decision]) -> tuple[Exposure, ...]:
    """Later judgements of a step count more of the same units, so the last one stands."""
    raised = [e.step or e.kind.value for e in events if e.kind is EventKind.RAISED]
    units: dict[str, int | None] = dict.fromkeys(raised)
    for decision in decisions:
        if decision.step not in {"offline", "shadow"}:
            units[decision.step] = _served(decision) or units.get(decision.step)
    return tuple(Exposure(step, n) for step, n in units.items())


def _copied(events: Sequence[Event], decisions: Sequence[Decision]) -> int | None:
    if not any(event.kind is EventKind.SHADOWED for event in events):
        return 0
    counted = [_served(d) for d in decisions if d.step == "shadow" and d.verdict is not None]
    return counted[-1] if counted else None


def _served(decision: Decision) -> int | None:
    verdict = decision.verdict
    if not isinstance(verdict, StageVerdict):
        return None
    if isinstance(decision.plan, ShadowPlan):
        return verdict.exposed
    seen = [gate.candidate.units for gate in verdict.gates]
    if not isinstance(decision.plan, StepPlan) or decision.plan.units_arm is Arm.CANDIDATE:
        # At 100 % `exposed` counts the control; before, it also counts units after a crossing.
        seen.append(verdict.exposed)
    return max(seen, default=0)


def _detected(record: Record, decisions: Sequence[Decision]) -> float | None:
    stop = stop_of(record)
    if stop is None or stop.trigger is not Trigger.BREACH:
        return None
    told = number_in(stop, "detected_seconds")
    if told is not None:
        return told
    deciding = _deciding(record, decisions)
    if deciding is None or not isinstance(deciding.verdict, StageVerdict):
        return None
    decisive = deciding.verdict.decisive
    return decisive.crossed_at_seconds if decisive else None


def _paused(events: Sequence[Event], until: datetime) -> float:
    total, since = 0.0, None
    for event in events:
        if event.kind is EventKind.PAUSED:
            since = since or event.at
        elif since is not None and (event.kind is EventKind.RESUMED or event.phase is Phase.PINNED):
            total += (event.at - since).total_seconds()
            since = None
    return total + ((until - since).total_seconds() if since else 0.0)


def _shares(record: Record) -> tuple[SharePoint, ...]:
    points: list[SharePoint] = []
    copied = 0
    for event in record.events:
        if event.kind is EventKind.SHADOWED:
            copied = int(number_in(event, "rate_bp") or 0)
        elif event.phase is not Phase.SHADOW:
            copied = 0
        points.append(SharePoint(event.at, event.share_bp, copied))
    return tuple(points)
