"""Asks a release for something: judged by the rules first, then sent, then waited for."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.exits import Exit, Failure
from clients.finding import Found
from clients.screens import gateways
from rampway.gates.verdicts import Verdict
from rampway.release.controls import (
    Command,
    Handled,
    OverrideCommand,
    Refusal,
    Rule,
    Situation,
    Verb,
    refuse,
)
from rampway.release.events import Event, EventKind
from rampway.release.orders import Progress
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record
from rampway.release.splits import Observed
from rampway.reports.dossier import stop_of, text_in
from rampway.reports.sentences import ending
from rampway.reports.words import clock, duration, plain, share

if TYPE_CHECKING:
    from datetime import tzinfo

    from pydantic import JsonValue

    from clients.client import Releases
    from rampway.ports import Traffic

ANSWER_SECONDS = 10.0
ZERO_SECONDS = 10.0
EVENT_SECONDS = 2.0
POLL_SECONDS = 0.1
REFUSAL_EXITS = {
    Rule.SELF_APPROVAL: Exit.IDENTITY,
    Rule.NO_REASON: Exit.USAGE,
    Rule.NO_TICKET: Exit.USAGE,
}
ID_SHOWN = 4


@dataclass(frozen=True)
class Answer:
    """What became of a command: words for people, facts for scripts, and the exit code."""

    text: str
    result: str  # accepted, refused, already, unknown, dry-run
    code: Exit
    refusal: Refusal | None = None
    command: Command | None = None
    event: int | None = None
    share_bp: int | None = None
    to_zero_seconds: float | None = None

    def facts(self, name: str, verb: Verb) -> "dict[str, JsonValue]":
        """The answer as JSON."""
        refusal = self.refusal
        return {
            "release": name,
            "verb": verb.value,
            "result": self.result,
            "id": self.command.id if self.command else None,
            "rule": refusal.rule.value if refusal else None,
            "why": refusal.why if refusal else None,
            "next": refusal.next_step if refusal else None,
            "event": self.event,
            "share_bp": self.share_bp,
            "to_zero_seconds": self.to_zero_seconds,
            "exit_code": int(self.code),
        }


def situation_of(progress: Progress) -> Situation:
    """What the rules look at, from what the release says of itself."""
    gates = progress.verdict.gates if progress.verdict else ()
    return Situation(
        name=progress.name,
        phase=progress.phase,
        owner=progress.owner,
        paused=progress.paused_by is not None,
        gates=tuple(gate.gate for gate in gates),
        breached=tuple(gate.gate for gate in gates if gate.verdict is Verdict.BREACH),
        evidence=progress.evidence,
    )


def situation_at_end(record: Record, tz: "tzinfo") -> Situation:
    """What the rules look at when only the record is left."""
    return Situation(
        name=record.header.name,
        phase=record.phase,
        owner=record.header.owner,
        paused=False,
        ended_as=ended_as(record, tz),
    )


def ended_as(record: Record, tz: "tzinfo") -> str:
    """How it ended, to stand behind its phase: ` (aborted 03:04:12 by sre-oncall)`."""
    stop = stop_of(record)
    if stop is not None and stop.trigger is Trigger.ABORT:
        return f" (aborted {clock(stop.at, tz)} by {plain(stop.actor, 40)})"
    _, _, how = ending(record).partition(": ")
    return f" ({how})" if how else ""


def judge(verb: Verb, command: Command, situation: Situation) -> Answer | None:
    """The answer of the rules; None where the release has to be asked."""
    refusal = refuse(verb, command, situation)
    if refusal is None:
        return None
    if verb is Verb.ABORT and refusal.rule in {Rule.ENDED, Rule.ROLLING_BACK}:
        text = f"already {situation.phase}{situation.ended_as}; nothing changed."
        return Answer(text, "already", Exit.OK, refusal=refusal)
    return refused(refusal)


def refused(refusal: Refusal, command: Command | None = None) -> Answer:
    """A refusal with its exit code: 4 for who you are, 2 for what is missing, else 1."""
    code = REFUSAL_EXITS.get(refusal.rule, Exit.ERROR)
    return Answer(str(refusal), "refused", code, refusal=refusal, command=command)


def unknown(name: str, command: Command) -> Answer:
    """Nobody answered in time; the signal is kept and may still take effect."""
    text = (
        f"outcome unknown: no answer in {ANSWER_SECONDS:g} s, may still apply; sent as a durable "
        f"signal, id {command.id[:ID_SHOWN]}.\n  Next: rampway status {name}"
    )
    return Answer(text, "unknown", Exit.RUNNING, command=command)


async def ask_progress(releases: "Releases", found: Found) -> Progress | None:
    """What the release says of itself; None where no worker answers for it."""
    from clients.client import Unanswered, Unknown

    try:
        return await releases.progress(found.workflow_id)
    except Unanswered:
        return None
    except Unknown as missing:
        raise Failure(
            f"Temporal does not know the run of {found.name}, which is open by the record. "
            "Next: rampway doctor"
        ) from missing


def with_evidence(command: Command, progress: Progress | None) -> Command:
    """An override names the evidence that its author saw; if that moves, it is refused."""
    if not isinstance(command, OverrideCommand) or progress is None:
        return command
    return command.model_copy(update={"evidence": progress.evidence})


def rehearsed(found: Found, verb: Verb, progress: Progress | None) -> Answer:
    """What a dry run answers where nothing refuses the command."""
    place = (
        f"{progress.phase} at {share(progress.share_bp)}" if progress else "where no worker answers"
    )
    text = f"would {verb} {found.name}, which is {place}; nothing was sent."
    return Answer(text, "dry-run", Exit.OK)


async def send(releases: "Releases", found: Found, verb: Verb, command: Command) -> Command | None:
    """Send a command as a durable signal; None where the release has ended meanwhile.

    Raises Failure when Temporal does not confirm that it took it.
    """
    from clients.client import Unanswered, Unknown

    try:
        return await releases.send(found.workflow_id, verb, command)
    except Unknown:
        return None
    except Unanswered as lost:
        raise Failure(
            f"Temporal did not confirm that it took {verb} for {found.name}: {lost}. It may still "
            f"apply. Next: rampway status {found.name}",
            Exit.RUNNING,
        ) from lost


async def answer(releases: "Releases", found: Found, verb: Verb, command: Command) -> Answer:
    """Wait for what becomes of a command that was sent."""
    handled = await releases.handled(found.workflow_id, command.id, seconds=ANSWER_SECONDS)
    if handled is None:
        return unknown(found.name, command)
    if handled.refusal is not None:
        return refused(handled.refusal, command)
    event = await find_event(found, lambda e: text_in(e, "id") == command.id)
    number = event.sequence if event else None
    text = _accepted(verb, handled, number)
    return Answer(text, "accepted", Exit.OK, command=command, event=number)


def _accepted(verb: Verb, handled: Handled, event: int | None) -> str:
    told = f"accepted: event {event}" if event is not None else "accepted"
    match verb:
        case Verb.PAUSE:
            return f"{told}. The climb has stopped, the watch has not."
        case Verb.RESUME:
            return f"{told}. The climb goes on when the stage has passed."
        case Verb.OVERRIDE:
            return f"{told}. Used at the next judgement, once. A BREACH still rolls back."
        case Verb.ABORT:
            return f"{told} for {plain(handled.actor, 40)}."


async def answer_abort(
    releases: "Releases", traffic: "Traffic", found: Found, command: Command
) -> Answer:
    """Wait until an abort is accepted and every gateway confirms 0 %."""
    from rampway.ports import Unreachable
    from rampway.release.splits import Refused

    began = time.monotonic()
    handled = await releases.handled(found.workflow_id, command.id, seconds=ANSWER_SECONDS)
    if handled is None:
        return unknown(found.name, command)
    if handled.refusal is not None:
        text = f"{handled.refusal.why}."
        return Answer(text, "already", Exit.OK, handled.refusal, command=command)
    try:
        observed = await observe_zero(traffic, found)
    except (Unreachable, Refused) as silent:
        return _unconfirmed(found, command, str(silent), None)
    took = time.monotonic() - began
    if observed is not None and not _is_zero(observed):
        left = f"{share(observed.share_bp)} is still in force after {ZERO_SECONDS:g} s"
        return _unconfirmed(found, command, left, observed.share_bp)
    ends_by = {EventKind.PINNED, EventKind.REJECTED, EventKind.CONCLUDED}
    event = await find_event(found, lambda e: e.kind in ends_by)
    told = "the candidate holds no traffic"
    if observed is not None:
        every = f"{observed.instances} of {gateways(observed.instances)}"
        told = f"0 % confirmed by {every} in {duration(took)}"
    numbered = f", event {event.sequence}" if event else ""
    ends = _ends_as(event, observed)
    return Answer(
        f"aborted: {told}{numbered}. It ends {ends}, reason aborted.",
        "accepted",
        Exit.OK,
        command=command,
        event=event.sequence if event else None,
        share_bp=0,
        to_zero_seconds=round(took, 3) if observed is not None else None,
    )


def _ends_as(event: Event | None, observed: Observed | None) -> Phase:
    if event is None:
        return Phase.REJECTED if observed is None else Phase.ROLLED_BACK
    ends = {EventKind.REJECTED: Phase.REJECTED, EventKind.CONCLUDED: Phase.CONCLUDED}
    return ends.get(event.kind, Phase.ROLLED_BACK)


async def observe_zero(traffic: "Traffic", found: Found) -> Observed | None:
    """The split when it is at 0 % everywhere, or as it is in the end; None if another has it."""
    until = time.monotonic() + ZERO_SECONDS
    while True:
        observed = await traffic.observe(found.target)
        if not is_of(observed, found):
            return None
        if _is_zero(observed) or time.monotonic() >= until:
            return observed
        await asyncio.sleep(POLL_SECONDS)


def is_of(observed: Observed, found: Found) -> bool:
    """Whether what the gateway does is this release's doing."""
    return observed.release is not None and found.workflow_id.endswith(f"/{observed.release}")


def _is_zero(observed: Observed) -> bool:
    nobody = observed.share_bp == 0 and observed.shadow_bp == 0
    return nobody and observed.applied_by_every_instance


def _unconfirmed(found: Found, command: Command, why: str, share_bp: int | None) -> Answer:
    text = (
        f"accepted, but 0 % is not confirmed: {why}.\n"
        f"  It is tried for ever; at once: rampway gateway end {found.target}. "
        f"Next: rampway status {found.name}"
    )
    return Answer(text, "unknown", Exit.RUNNING, command=command, share_bp=share_bp)


async def find_event(found: Found, wanted: Callable[[Event], bool]) -> Event | None:
    """The event that a command became, if the record tells it soon."""
    from clients.opening import open_registry
    from rampway.ports import NotFound, Tampered, Unreachable

    if found.record is None:
        return None
    until = time.monotonic() + EVENT_SECONDS
    try:
        async with open_registry() as registry:
            while True:
                record = await registry.release(found.record.header.release)
                events = [event for event in record.events if wanted(event)]
                if events or time.monotonic() >= until:
                    return events[-1] if events else None
                await asyncio.sleep(POLL_SECONDS)
    except (NotFound, Tampered, Unreachable, Failure):
        return None  # the number is a courtesy; the release has answered
