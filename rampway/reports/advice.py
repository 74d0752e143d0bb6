"""What a report tells first: the numbers behind the sentence, what is left to do, and five facts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from types import MappingProxyType

from rampway.gates.plans import SettlePlan, StepPlan
from rampway.gates.verdicts import GateVerdict, Headline, OfflineVerdict, StageVerdict
from rampway.release.events import Event, EventKind
from rampway.release.phases import Phase, Trigger
from rampway.reports.dossier import Decision, Dossier, open_pause, text_in
from rampway.reports.sentences import gate_words
from rampway.reports.texts import moment, offline_text
from rampway.reports.words import (
    counted,
    decimal,
    duration,
    integer,
    interval_points,
    listed,
    one_in,
    plain,
    plural,
    points,
    share,
    where,
)

UNKNOWN = "not recorded"
_GOING_DOWN = "Nothing on traffic: it is going back by itself. Follow: `rampway status -w {name}`"
_LEFT: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.ROLLED_BACK: (
            "Nothing on traffic: all of it is on the baseline since {since}. The candidate comes "
            "back only as a new release. Its owner reviews whether this was right."
        ),
        Phase.REJECTED: (
            "Nothing on traffic: none was moved. A better candidate is a new release."
        ),
        Phase.PROMOTED: "Nothing: the candidate is the baseline now.",
        Phase.CONCLUDED: "Nothing on traffic: all of it is on the baseline.",
        Phase.STRANDED: (
            "Act now: restart or drain what does not answer, then run: "
            "`rampway doctor --target {target}`"
        ),
        Phase.PINNED: _GOING_DOWN,
        Phase.ROLLING_BACK: _GOING_DOWN,
    }
)


@dataclass(frozen=True)
class KeyFact:
    """One of the five figures on top of a report."""

    label: str
    value: str
    note: str = ""


def told_decision(dossier: Dossier) -> Decision | None:
    """The judgement that a report draws: the one that decided, else the last one that had to prove."""
    if dossier.deciding is not None:
        return dossier.deciding
    staged = [d for d in dossier.judgements if isinstance(d.verdict, StageVerdict)]
    steps = [d for d in staged if isinstance(d.plan, StepPlan)]
    proofs = [d for d in steps if isinstance(d.plan, StepPlan) and d.plan.must == "PASS"]
    last = proofs or steps or staged
    return last[-1] if last else None


def told_gate(dossier: Dossier) -> GateVerdict | None:
    """The gate that a report draws large: the one that decided, else the one nearest to a BREACH."""
    if dossier.deciding_gate is not None:
        return dossier.deciding_gate
    decision = told_decision(dossier)
    if decision is None or not isinstance(decision.verdict, StageVerdict):
        return None
    return max(decision.verdict.gates, key=_nearness, default=None)


def lead(dossier: Dossier) -> str:
    """The numbers behind the sentence, for someone who reads on."""
    verdict = dossier.deciding.verdict if dossier.deciding else None
    if isinstance(verdict, OfflineVerdict):
        return offline_text(verdict).splitlines()[0]
    gate, decision = told_gate(dossier), told_decision(dossier)
    if gate is None or decision is None:
        return ""
    place = where(decision.step, Phase.CANARY)
    if dossier.deciding is None:
        return f"The gate nearest to a BREACH at {place} was {plain(gate.gate, 40)}: {gate.why}."
    if decision.step == "shadow" or isinstance(decision.plan, SettlePlan):
        return f"{place}: {gate.why}."
    noun = gate_words(gate.gate).noun
    told = (
        f"At {place} the candidate had {plural(gate.candidate.bad, noun)} in "
        f"{plural(gate.candidate.units, dossier.unit)}, the baseline {integer(gate.baseline.bad)} in "
        f"{integer(gate.baseline.units)} in the same slices of time. A harmless candidate would "
        f"have had {decimal(gate.expected)}."
    )
    if gate.breach_at is None:
        return told
    reached = f", which harmless candidates reach so early in {one_in(gate.spent)} holds"
    return f"{told} The boundary was {integer(gate.breach_at)}{reached if gate.spent else ''}."


def left_to_do(dossier: Dossier, tz: tzinfo) -> str:
    """What a reader still has to do, commands in backticks; that it is nothing is said too."""
    record, name = dossier.record, dossier.name
    if dossier.broken is not None:
        return f"Keep this record as it is and run: `rampway verify {name}`"
    if record.phase in _LEFT:
        return _LEFT[record.phase].format(
            name=name,
            target=record.header.target.name,
            since=_moment_of(dossier, EventKind.ROLLED_BACK, tz) + _confirmed(dossier),
        )
    pause = open_pause(record)
    if pause is not None:
        return f"Decide: `rampway resume {name}` or `rampway abort {name}`"
    return f"Nothing unless you want it to stop: `rampway abort {name}`"


def where_to_look(dossier: Dossier) -> str:
    """Where the cause is most likely found, by the record; empty without a hint, commands in backticks."""
    if dossier.broken is not None:
        return f"Event {dossier.broken.sequence} {dossier.broken.why}; nothing after it can be trusted."
    gate, decision = dossier.deciding_gate, dossier.deciding
    if decision is not None and isinstance(decision.verdict, OfflineVerdict):
        return f"The cases that got worse: `rampway explain {dossier.name} --offline`"
    if gate is not None and decision is not None:
        return f"{_earlier(dossier, gate, decision)}{_numbers_at(dossier, gate.gate)}"
    used = [e for e in dossier.record.events if e.kind is EventKind.OVERRIDE_USED]
    let_through = text_in(used[-1], "gate") if used else None
    return _numbers_at(dossier, let_through) if let_through else ""


def five_facts(dossier: Dossier, tz: tzinfo) -> tuple[KeyFact, ...]:
    """Five figures, chosen by how the release ended."""
    phase, stop = dossier.record.phase, dossier.stop
    if phase is Phase.REJECTED:
        return _rejected_facts(dossier)
    if stop is not None:
        return _stopped_facts(dossier, stop)
    return _climb_facts(dossier, tz)


def _nearness(gate: GateVerdict) -> float:
    return gate.candidate.bad / gate.breach_at if gate.breach_at else 0.0


def _moment_of(dossier: Dossier, kind: EventKind, tz: tzinfo) -> str:
    found = next((e for e in reversed(dossier.record.events) if e.kind is kind), None)
    return moment(found.at, dossier, tz) if found else UNKNOWN


def _confirmed(dossier: Dossier) -> str:
    last = dossier.record.events[-1] if dossier.record.events else None
    by = text_in(last, "confirmed") if last else None
    return f", confirmed by {plain(by, 60)}" if by else ""


def _earlier(dossier: Dossier, gate: GateVerdict, decision: Decision) -> str:
    """What the same gate saw in the steps before: harm that grows with the share points to load."""
    seen: list[str] = []
    for step in dict.fromkeys(d.step for d in dossier.judgements):
        last = dossier.last_of(step)
        if (
            step in {decision.step, "settling"}
            or last is None
            or not isinstance(last.verdict, StageVerdict)
        ):
            continue
        found = next((g for g in last.verdict.gates if g.gate == gate.gate), None)
        if found is not None and found.candidate.units:
            seen.append(f"{counted(found.candidate)} at {where(step, Phase.CANARY)}")
    return f"Before, the same gate had seen {listed(seen)}. " if seen else ""


def _numbers_at(dossier: Dossier, gate: str) -> str:
    return f"The numbers: `rampway explain {dossier.name} --gate {shlex.quote(plain(gate, 40))}`"


def _stopped_facts(dossier: Dossier, stop: Event) -> tuple[KeyFact, ...]:
    facts = dossier.facts
    place = where(stop.step, stop.phase)
    at_zero = UNKNOWN if facts.to_zero_seconds is None else duration(facts.to_zero_seconds)
    if stop.trigger is Trigger.BREACH:
        found = UNKNOWN if facts.detected_seconds is None else duration(facts.detected_seconds)
        first = KeyFact("Detected", found, f"after {place} began")
        after = "after the look that crossed"
    else:
        elapsed = max(0.0, (stop.at - facts.started_at).total_seconds())
        first = KeyFact("Stopped", duration(elapsed), f"after the start, at {place}")
        after = "after it was stopped"
    return (
        first,
        KeyFact("Share at zero", at_zero, after),
        _exposed_fact(dossier),
        _cost_fact(dossier),
        _took_fact(dossier),
    )


def _climb_facts(dossier: Dossier, tz: tzinfo) -> tuple[KeyFact, ...]:
    facts, record = dossier.facts, dossier.record
    merged = record.header.merged_at
    promoted = next((e for e in record.events if e.kind is EventKind.PROMOTED), None)
    if promoted is not None:
        since = merged or facts.started_at
        words = "Merge to 100 %" if merged else "Start to 100 %"
        first = KeyFact(
            words,
            duration((promoted.at - since).total_seconds()),
            f"promoted {moment(promoted.at, dossier, tz)}",
        )
    else:
        last = record.events[-1].share_bp if record.events else 0
        first = KeyFact("Serves", share(last), "of traffic, by the last event")
    return (
        first,
        _exposed_fact(dossier),
        _copies_fact(dossier),
        KeyFact("Waited for people", duration(facts.paused_seconds), "sum of all pauses"),
        KeyFact("Overrides", str(facts.overrides), "verdicts let through by a person"),
    )


def _rejected_facts(dossier: Dossier) -> tuple[KeyFact, ...]:
    head = dossier.offline.headline if dossier.offline else None
    difference = points(head.difference) if head else UNKNOWN
    interval = f"95 % interval {interval_points(head.low, head.high)}" if head else ""
    return (
        KeyFact("Difference", difference, interval),
        KeyFact("Cases", integer(head.cases) if head else UNKNOWN, "answered by both"),
        KeyFact("Got worse", integer(head.regressed) if head else UNKNOWN, _improved(head)),
        KeyFact("Traffic moved", share(0), "nobody was answered by the candidate"),
        _took_fact(dossier),
    )


def _improved(head: Headline | None) -> str:
    return f"cases; {integer(head.improved)} got better" if head else ""


def _exposed_fact(dossier: Dossier) -> KeyFact:
    kept = dossier.stop is None  # after a promotion that stands, everybody is served by it
    served = [e for e in dossier.facts.exposed if not (kept and e.step == "settling")]
    if not served:
        return KeyFact("Exposed", "0", "nobody was answered by the candidate")
    counted = sum(e.units or 0 for e in served)
    more = any(e.units is None for e in served)
    value = f"{integer(counted)} and more" if counted and more else integer(counted)
    steps = ", ".join(
        f"{'uncounted' if e.units is None else integer(e.units)} at {e.step}" for e in served
    )
    return KeyFact(
        "Exposed", value if counted or not more else UNKNOWN, f"candidate {dossier.unit}s: {steps}"
    )


def _cost_fact(dossier: Dossier) -> KeyFact:
    """Bad units beyond what a harmless candidate would have had, where a rate gate decided."""
    gate, decision = dossier.deciding_gate, dossier.deciding
    if gate is None or decision is None or not isinstance(decision.plan, StepPlan):
        return _copies_fact(dossier)
    noun = gate_words(gate.gate).noun
    excess = max(0.0, gate.candidate.bad - gate.expected)
    seen = f"{integer(gate.candidate.bad)} seen less {decimal(gate.expected)} expected"
    return KeyFact("Harm it cost", plural(round(excess), noun), seen)


def _copies_fact(dossier: Dossier) -> KeyFact:
    copied = dossier.facts.copied
    if copied is None:
        return KeyFact("Shadow", UNKNOWN, "nobody served, the copies' pairs are not counted")
    if copied == 0:
        return KeyFact("Shadow", "none", "no copies were judged")
    return KeyFact("Shadow", integer(copied), "pairs of answers judged, nobody served")


def _took_fact(dossier: Dossier) -> KeyFact:
    facts = dossier.facts
    paused = f", {duration(facts.paused_seconds)} of it paused" if facts.paused_seconds else ""
    end = "from start to end" if facts.ended_at else "so far"
    return KeyFact("Took", duration(facts.duration_seconds), f"{end}{paused}")
