"""The screen of `rampway explain`: the sentence, then the numbers of the gate that decided."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from datetime import tzinfo

from rampway.gates.evidence import Evidence
from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import GateVerdict, OfflineVerdict, StageVerdict, Verdict
from rampway.gates.weigh import look_at
from rampway.release.phases import Phase
from rampway.reports.dossier import Decision, Dossier, Missing
from rampway.reports.offline_words import literal_lines, slices_text
from rampway.reports.sentences import counts_units, gate_words, headline
from rampway.reports.texts import columns, moment, offline_text, verdict_words
from rampway.reports.words import (
    WIDTH,
    decimal,
    demo_sentence,
    duration,
    integer,
    one_in,
    plain,
    plural,
    short,
    shorten,
    significant,
    threshold,
    where,
)

_LABEL = 11
_GATES_NAMED = 12


class NoSuchLook(Exception):
    """The judgement has no look of this number, or cannot be weighed again."""


def explain_text(
    dossier: Dossier,
    tz: tzinfo,
    gate: str | None = None,
    *,
    step: str | None = None,
    look: int | None = None,
) -> str:
    """Why it ended as it did, or what one gate saw when it was last judged, in one step if named.

    `look` counts the sealed slices of that judgement's stage from 1: the evidence is cut there and
    weighed again. Raises NoSuchLook.
    """
    told = _told(dossier, tz, gate, step, look)
    lines = [*_sentence(headline(dossier)), *told, *missing_lines(dossier)]
    demo = demo_sentence(dossier.record.header.target)
    return "\n".join(shorten(line, WIDTH) for line in [*lines, demo] if line)


def at_look(decision: Decision, look: int) -> Decision:
    """The same judgement with the verdict of an earlier look. Raises NoSuchLook."""
    plan, evidence = decision.plan, decision.evidence
    place = where(decision.step, Phase.CANARY)
    if not isinstance(plan, StepPlan | ShadowPlan | AbPlan | SettlePlan) or not isinstance(
        evidence, Evidence
    ):
        raise NoSuchLook(f"{place} has no looks to weigh again: its plan or counts are not there.")
    looks = max(evidence.sealed.values(), default=0)
    if not 1 <= look <= looks:
        raise NoSuchLook(
            f"{place} has looks 1 to {integer(looks)} in this judgement, not {integer(look)}."
        )
    return replace(decision, verdict=look_at(plan, evidence, look))


def explain_offline_text(dossier: Dossier) -> str:
    """What the offline gate said of this release: `rampway explain --offline`."""
    verdict = dossier.offline
    lines = offline_text(verdict).splitlines() if verdict else ["No offline verdict is recorded."]
    if verdict is not None and verdict.slices is not None:
        lines += literal_lines(verdict) if verdict.slices.literal else []
        lines += ["", *slices_text(verdict.slices).splitlines()]
    return "\n".join([*lines, *missing_lines(dossier)])


def missing_lines(dossier: Dossier) -> list[str]:
    """One line for each stored fact that the record names and cannot show."""
    return [
        f"event {decision.event.sequence}: {short(gap.digest)} is {gap.why}"
        for decision in dossier.decisions
        for gap in decision.missing
    ]


def gate_lines(gate: GateVerdict, decision: Decision, dossier: Dossier, tz: tzinfo) -> list[str]:
    """What one gate saw, expected and was allowed, a line each."""
    # The words of a BREACH repeat the numbers above them, but for harm that came late.
    told = gate.verdict is Verdict.BREACH and "after" not in gate.why
    rows = [
        ("seen", _seen(gate, decision)),
        ("expected", _expected(gate, decision)),
        ("budget", _budget(gate)),
        ("why", "" if told else plain(gate.why)),
        ("evidence", _evidence(decision, dossier)),
    ]
    return [
        _gate_title(gate, decision, dossier, tz),
        *(line for label, words in rows if words for line in _row(label, words)),
    ]


def _sentence(text: str) -> list[str]:
    """A sentence over as many lines as it needs: its end is the reason, never cut it."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _row(label: str, words: str) -> list[str]:
    first = f"  {label.ljust(_LABEL)}"
    indent = " " * len(first)
    if len(first) + len(words) <= WIDTH:
        return [first + words]
    return textwrap.wrap(
        words, WIDTH, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False
    )


def _told(
    dossier: Dossier, tz: tzinfo, gate: str | None, step: str | None, look: int | None
) -> list[str]:
    if gate is not None or step is not None:
        return _one_gate(dossier, tz, gate, step, look)
    deciding, decisive = dossier.deciding, dossier.deciding_gate
    if deciding is not None and decisive is not None:
        return _at_look(decisive, deciding, dossier, tz, look)
    if deciding is not None and isinstance(deciding.verdict, OfflineVerdict):
        return offline_text(deciding.verdict).splitlines()
    return _every_stage(dossier)


def _one_gate(
    dossier: Dossier, tz: tzinfo, name: str | None, step: str | None, look: int | None
) -> list[str]:
    """One gate in its last judgement; of a step without a gate's name, the gate with its verdict."""
    known: list[str] = []
    steps: list[str] = []
    for decision in reversed(dossier.decisions):
        if not isinstance(decision.verdict, StageVerdict):
            continue
        steps.append(decision.step)
        if step not in {None, decision.step}:
            continue
        decisive = decision.verdict.decisive
        for gate in decision.verdict.gates:
            if gate.gate == name or (name is None and gate == decisive):
                return _at_look(gate, decision, dossier, tz, look)
            known.append(plain(gate.gate, 40))
    if step is not None and step not in steps:
        has = f" It has {', '.join(reversed(_distinct(steps)))}." if steps else ""
        return _sentence(f"No judgement in the record is of a step {plain(step, 40)}.{has}")
    has = f" It has {', '.join(_distinct(known)[:_GATES_NAMED])}." if known else ""
    return _sentence(f"No judgement in the record names a gate {plain(name or '', 40)}.{has}")


def _at_look(
    gate: GateVerdict, decision: Decision, dossier: Dossier, tz: tzinfo, look: int | None
) -> list[str]:
    """The gate at one look of the judgement; without a number at its last."""
    if look is None:
        return gate_lines(gate, decision, dossier, tz)
    earlier = at_look(decision, look)
    gates = earlier.verdict.gates if isinstance(earlier.verdict, StageVerdict) else ()
    return [
        line
        for then in gates
        if then.gate == gate.gate
        for line in gate_lines(then, earlier, dossier, tz)
    ]


def _every_stage(dossier: Dossier) -> list[str]:
    """The last word on each stage, when no single gate decided."""
    rows = [
        [where(decision.step, Phase.CANARY), verdict_words(decision)]
        for step in _distinct([d.step for d in dossier.judgements])
        if (decision := dossier.last_of(step)) is not None
        and not isinstance(decision.verdict, Missing)
    ]
    lines = [f"  {line}" for line in columns(rows)] if rows else ["No gate has been weighed."]
    return [*lines, f"One gate: rampway explain {dossier.name} --gate GATE"] if rows else lines


def _gate_title(gate: GateVerdict, decision: Decision, dossier: Dossier, tz: tzinfo) -> str:
    verdict = decision.verdict
    seconds = verdict.seconds if isinstance(verdict, StageVerdict) else 0.0
    seconds = gate.crossed_at_seconds or seconds
    place = where(decision.step, Phase.CANARY)
    look = _look_number(decision, seconds)
    judged = moment(decision.event.at, dossier, tz)
    after = f"after {duration(seconds)} (judged {judged})"
    return f"{plain(gate.gate, 40)}, {place}, {look}{after}, {gate.verdict}"


def _look_number(decision: Decision, seconds: float) -> str:
    if not isinstance(decision.plan, StepPlan | ShadowPlan | AbPlan | SettlePlan):
        return ""
    return f"look {round(seconds / decision.plan.slice_seconds)} "


def _seen(gate: GateVerdict, decision: Decision) -> str:
    if isinstance(decision.plan, ShadowPlan) and gate.baseline.units:
        lost, gained = plural(gate.candidate.bad, "level"), integer(gate.baseline.bad)
        return f"{lost} lost and {gained} gained on {plural(gate.candidate.units, 'pair')}"
    over = threshold(decision.plan, gate.gate)
    units = plural(gate.candidate.units, "candidate unit")
    if counts_units(gate):
        return f"{units}; {plural(gate.baseline.units, 'baseline unit')}, same slices"
    candidate = f"{plural(gate.candidate.bad, gate_words(gate.gate).noun)} of {units}"
    if over:
        candidate = f"{integer(gate.candidate.bad)} of {units} over {over}"
    if not gate.baseline.units:
        return candidate
    baseline = f"{integer(gate.baseline.bad)} of {plural(gate.baseline.units, 'baseline unit')}"
    return f"{candidate}; {baseline}, same slices"


def _expected(gate: GateVerdict, decision: Decision) -> str:
    harmless = "where harm is gross" if isinstance(decision.plan, SettlePlan) else "if harmless"
    parts = [f"{decimal(gate.expected)} {harmless}"] if gate.expected else []
    if gate.breach_at is not None:
        parts.append(f"boundary {integer(gate.breach_at)}")
        if gate.verdict is Verdict.BREACH and gate.candidate.bad >= gate.breach_at:
            over = gate.candidate.bad - gate.breach_at
            parts.append(f"crossed by {integer(over)}" if over else "just reached")
    if gate.pass_at is not None:
        parts.append(f"PASS to {integer(gate.pass_at)}")
    return "        ".join(parts)


def _budget(gate: GateVerdict) -> str:
    if not gate.alpha:
        return ""
    spent = f"; spent {significant(gate.spent)} ({one_in(gate.spent)} harmless holds)"
    return f"alpha {significant(gate.alpha)}{spent if gate.spent else ', nothing spent yet'}"


def _evidence(decision: Decision, dossier: Dossier) -> str:
    digest = decision.event.evidence
    named = short(digest) if digest else "none stored"
    return f"{named}    recompute: rampway verify {dossier.name}"


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
