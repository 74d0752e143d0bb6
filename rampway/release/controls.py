"""What people ask of a running release: requests are noted in order, judged by rules, used once."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from rampway.gates.facts import Fact
from rampway.gates.verdicts import Verdict
from rampway.release.phases import Phase

OVERRIDE_LIFETIME = timedelta(hours=1)


class Verb(StrEnum):
    """What a person can ask for."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    OVERRIDE = "override"


class Command(Fact):
    """One request. The same `id` twice is one request; an empty id is a request from the UI."""

    id: str = ""
    actor: str = "unknown"
    reason: str = ""


class OverrideCommand(Command):
    """A person lets one verdict through. `evidence` is the digest that the person looked at."""

    gate: str = Field(min_length=1)
    ticket: str = ""
    evidence: str | None = None


class Rule(StrEnum):
    """Which rule refused a command."""

    ENDED = "ended"
    NOT_PAUSED = "not paused"
    ALREADY_PAUSED = "already paused"
    ROLLING_BACK = "rolling back"
    NO_REASON = "no reason"
    NO_TICKET = "no ticket"
    SELF_APPROVAL = "self-approval"
    BREACH = "breach"
    UNKNOWN_GATE = "unknown gate"
    EVIDENCE_MOVED = "evidence moved"


class Refusal(Fact):
    """Why a command was refused, and what to do instead."""

    rule: Rule
    why: str
    next_step: str

    def __str__(self) -> str:
        return f"refused [{self.rule}]: {self.why}. Next: {self.next_step}"


class Handled(Fact):
    """What became of a command: accepted (no refusal) or refused, at which event."""

    id: str
    verb: Verb
    actor: str
    reason: str
    refusal: Refusal | None = None


class Override(Fact):
    """A granted override: it lets one INCONCLUSIVE or NO_DATA verdict through, once, in time."""

    command: OverrideCommand
    expires_at: AwareDatetime

    def covers(self, gate: str, now: datetime) -> bool:
        """Whether this override may be used for the gate now."""
        return self.command.gate == gate and now < self.expires_at


class Situation(Fact):
    """What a rule may look at when it judges a command; the same in the workflow and the client."""

    name: str
    phase: Phase
    owner: str
    paused: bool
    gates: tuple[str, ...] = ()
    breached: tuple[str, ...] = ()
    evidence: str | None = None
    ended_as: str = ""


_GOING_DOWN = frozenset({Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED})


def refuse(  # noqa: PLR0911 - a rule book answers at the first rule that speaks
    verb: Verb, command: Command, situation: Situation
) -> Refusal | None:
    """Judge a command by the rules; None accepts it. Pure, so that clients can ask first."""
    name = situation.name
    if situation.phase.ended:
        return Refusal(
            rule=Rule.ENDED,
            why=f"{name} is already {situation.phase}{situation.ended_as}; nothing changed",
            next_step=f"rampway explain {name}",
        )
    if situation.phase in _GOING_DOWN:
        return Refusal(
            rule=Rule.ROLLING_BACK,
            why=f"{name} is {situation.phase} and only goes down",
            next_step="rampway start (a new release)",
        )
    if verb is Verb.ABORT:
        return None
    if verb is Verb.PAUSE and situation.paused:
        return Refusal(
            rule=Rule.ALREADY_PAUSED,
            why=f"{name} is paused; the watch is on",
            next_step=f"rampway resume {name}",
        )
    if verb is Verb.RESUME and not situation.paused:
        return Refusal(
            rule=Rule.NOT_PAUSED,
            why=f"{name} is not paused",
            next_step=f"rampway status {name}",
        )
    if isinstance(command, OverrideCommand):
        return _refuse_override(command, situation)
    return None


def _refuse_override(  # noqa: PLR0911 - a rule book answers at the first rule that speaks
    command: OverrideCommand, situation: Situation
) -> Refusal | None:
    name = situation.name
    if not command.reason.strip():
        return Refusal(
            rule=Rule.NO_REASON,
            why="an override is counted and published every month, so it needs a reason",
            next_step="run it again with --reason",
        )
    if not command.ticket.strip():
        return Refusal(
            rule=Rule.NO_TICKET,
            why="an override is reviewed later, so it needs a ticket",
            next_step="run it again with --ticket",
        )
    if command.actor == situation.owner:
        return Refusal(
            rule=Rule.SELF_APPROVAL,
            why=f"{command.actor} owns {name}",
            next_step="ask someone who does not own it",
        )
    if command.gate in situation.breached:
        return Refusal(
            rule=Rule.BREACH,
            why="a BREACH cannot be overridden",
            next_step="rampway start (a new release)",
        )
    if situation.gates and command.gate not in situation.gates:
        return Refusal(
            rule=Rule.UNKNOWN_GATE,
            why=f"{name} has no gate {command.gate} now; it has {', '.join(situation.gates)}",
            next_step=f"rampway status {name}",
        )
    if command.evidence is not None and command.evidence != situation.evidence:
        return Refusal(
            rule=Rule.EVIDENCE_MOVED,
            why=f"{command.evidence[:13]} is old",
            next_step=f"rampway explain {name}",
        )
    return None


@dataclass
class Request:
    """A noted command that the release has not acted on yet."""

    verb: Verb
    command: Command


@dataclass
class Controls:
    """The release's inbox. Handlers only note; the release acts, abort before everything else."""

    noted: list[Request] = field(default_factory=list[Request])
    seen: set[str] = field(default_factory=set[str])
    abort: Command | None = None
    paused_by: Command | None = None
    overrides: list[Override] = field(default_factory=list[Override])
    handled: list[Handled] = field(default_factory=list[Handled])

    def note(self, verb: Verb, command: Command) -> None:
        """Keep a request; a repeated id is the same request. An abort counts at once."""
        if command.id and command.id in self.seen:
            return
        if command.id:
            self.seen.add(command.id)
        self.noted.append(Request(verb, command))
        if verb is Verb.ABORT and self.abort is None:
            self.abort = command

    def take(self) -> list[Request]:
        """The requests noted since the last call, aborts first."""
        taken = sorted(self.noted, key=lambda request: request.verb is not Verb.ABORT)
        self.noted.clear()
        return taken

    def settle(self, request: Request, refusal: Refusal | None, now: datetime) -> Handled:
        """Apply a judged request, or keep that it was refused."""
        command = request.command
        handled = Handled(
            id=command.id,
            verb=request.verb,
            actor=command.actor,
            reason=command.reason,
            refusal=refusal,
        )
        self.handled.append(handled)
        if refusal is None:
            self._apply(request, now)
        return handled

    def _apply(self, request: Request, now: datetime) -> None:
        command = request.command
        if request.verb is Verb.PAUSE:
            self.paused_by = command
        elif request.verb is Verb.RESUME:
            self.paused_by = None
        elif isinstance(command, OverrideCommand):
            self.overrides.append(Override(command=command, expires_at=now + OVERRIDE_LIFETIME))

    def use_overrides(
        self, gates: tuple[str, ...], verdict: Verdict, now: datetime
    ) -> tuple[Override, ...]:
        """Take one override for each open gate, all or none; what is taken is used up."""
        if verdict not in OVERRIDABLE:
            return ()
        used: list[Override] = []
        for gate in gates:
            fits = [o for o in self.overrides if o.covers(gate, now) and o not in used]
            if not fits:
                return ()
            used.append(fits[0])
        self.overrides = [override for override in self.overrides if override not in used]
        return tuple(used)


OVERRIDABLE = frozenset({Verdict.INCONCLUSIVE, Verdict.NO_DATA})
