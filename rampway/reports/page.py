"""The report of one release as one HTML file: no script, nothing loaded from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rampway.gates.plans import OfflinePlan, SettlePlan
from rampway.gates.verdicts import GateVerdict, OfflineVerdict, StageVerdict, Verdict
from rampway.release.events import EventKind
from rampway.release.phases import Phase, Trigger
from rampway.reports import intervals, paths, shares
from rampway.reports.advice import (
    five_facts,
    lead,
    left_to_do,
    told_decision,
    told_gate,
    where_to_look,
)
from rampway.reports.dossier import Decision, Dossier, text_in
from rampway.reports.explain import missing_lines
from rampway.reports.offline_words import plain_rules
from rampway.reports.sentences import ending, gate_title, headline
from rampway.reports.slice_words import slice_table
from rampway.reports.texts import gates_table, moment, offline_rows, offline_text, said
from rampway.reports.words import (
    demo_mark,
    demo_sentence,
    one_in,
    plain,
    plural,
    short,
    span,
    utc,
    where,
    zone,
)

_SLICES_SHOWN = 100
_SAFE_LINKS = ("https://", "http://")
_COMMANDS = frozenset(
    {
        EventKind.PAUSED,
        EventKind.RESUMED,
        EventKind.OVERRIDE_GRANTED,
        EventKind.OVERRIDE_USED,
    }
)


@dataclass(frozen=True)
class Figures:
    """One drawing for wide windows and one for narrow ones."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class GatePicture:
    """One gate's picture, empty for a gate without a boundary.

    `card` is the small one, the others are drawn for the gate that decided.
    """

    title: str
    verdict: str
    numbers: str
    why: str
    card: Markup
    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Decided:
    """The section about the judgement that decided; `gap` says why a picture is missing."""

    title: str
    note: str
    gap: str
    main: GatePicture | None
    others: tuple[GatePicture, ...]
    others_note: str


@dataclass(frozen=True)
class DecisionRow:
    """One gate of one judgement in the table."""

    time: str
    where: str
    gate: str
    verdict: str
    candidate: str
    baseline: str
    breach_at: str
    why: str
    evidence: str


def unbroken(value: object) -> object:
    """Keep a number and its percent sign on one line; markup and other values stay as they are."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.replace(" %", "\u00a0%")
    return value


def _coded(text: str) -> Markup:
    """Text of ours in which commands stand between backticks, as HTML."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else str(unbroken(part))
        for i, part in enumerate(parts)
    )


TEMPLATES = Environment(
    loader=PackageLoader("rampway.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    finalize=unbroken,
)
TEMPLATES.filters["coded"] = _coded


def release_html(dossier: Dossier, tz: tzinfo) -> str:
    """The whole page; times are in `tz` for people, and in UTC in its header."""
    return TEMPLATES.get_template("release.html").render(_content(dossier, tz))


def _content(dossier: Dossier, tz: tzinfo) -> Mapping[str, Any]:
    record = dossier.record
    word = _verdict_word(dossier)
    return {
        "name": dossier.name,
        "header": record.header,
        "demo": demo_sentence(record.header.target),
        "demo_mark": demo_mark(record.header.target),
        "when": _when(dossier, tz),
        "zone": zone(dossier.facts.started_at, tz),
        "ending": ending(record),
        "verdict_word": word,
        "mood": _mood(record.phase, word),
        "headline": headline(dossier),
        "lead": lead(dossier),
        "left": left_to_do(dossier, tz),
        "look": where_to_look(dossier),
        "facts": five_facts(dossier, tz),
        "shares": Figures(
            wide=shares.shares_figure(dossier, tz, shares.WIDE),
            narrow=shares.shares_figure(dossier, tz, shares.NARROW),
        ),
        "turns": shares.turns(dossier, tz),
        "decided": _decided(dossier),
        "decisions": [row for d in dossier.judgements for row in _rows(d, dossier, tz)],
        "offline": _offline(dossier),
        "people": _people(dossier, tz),
        "links": _links(dossier),
        "record": _record(dossier),
    }


def _when(dossier: Dossier, tz: tzinfo) -> str:
    facts, events = dossier.facts, dossier.record.events
    end = events[-1].at if events else facts.started_at
    local = f"{facts.started_at.astimezone(tz):%a %d %b %Y}, {span(facts.started_at, end, tz)}"
    return f"{local}; from {utc(facts.started_at)}"


def _verdict_word(dossier: Dossier) -> str:
    if dossier.stop is not None and dossier.stop.trigger is Trigger.BREACH:
        return Verdict.BREACH.value
    if dossier.deciding is not None:
        verdict = dossier.deciding.verdict
        return verdict.verdict.value if isinstance(verdict, StageVerdict | OfflineVerdict) else ""
    if dossier.record.phase is not Phase.PROMOTED:
        return ""
    used = [e for e in dossier.record.events if e.kind is EventKind.OVERRIDE_USED]
    return (text_in(used[-1], "verdict") or "") if used else Verdict.PASS.value


def _mood(phase: Phase, word: str) -> str:
    """The colour of the page's first box; a stop by a person is amber, whatever the gates said."""
    if word in {Verdict.PASS, Verdict.BREACH}:
        return word
    return "INCONCLUSIVE" if phase.ended else ""


def _decided(dossier: Dossier) -> Decided | None:
    decision, gate = told_decision(dossier), told_gate(dossier)
    if decision is None or isinstance(decision.verdict, OfflineVerdict):
        return None
    step = where(decision.step, Phase.CANARY)
    looks = paths.looks_of(decision)
    title = f"What decided: {step}" if dossier.deciding else f"The last proof: {step}"
    gates = decision.verdict.gates if isinstance(decision.verdict, StageVerdict) else ()
    pictures = {g.gate: _picture(g, decision, looks, step, i) for i, g in enumerate(gates)}
    return Decided(
        title=f"{title}, {plain(gate.gate, 40)}" if gate else title,
        note=_decided_note(decision, gate),
        gap=_gap(decision, looks),
        main=pictures.get(gate.gate) if gate else None,
        others=tuple(
            p for name, p in pictures.items() if p is not None and (not gate or name != gate.gate)
        ),
        others_note=_others_note(gates, gate),
    )


def _decided_note(decision: Decision, gate: GateVerdict | None) -> str:
    if gate is None:
        return "The record does not show this judgement."
    what = "score levels lost" if decision.step == "shadow" else "bad units"
    dashed = (
        "what a candidate at the limit of gross harm would have"
        if isinstance(decision.plan, SettlePlan)
        else "what a harmless candidate would have"
    )
    return (
        f"The candidate's {what} since the stage began (line), {dashed} (dashed), and where BREACH "
        f"begins (shaded). Of harmless candidates at most {one_in(gate.alpha)} gets into the shade "
        "in a whole hold. Each point is the evidence up to there, weighed again."
    )


def _gap(decision: Decision, looks: paths.Looks | None) -> str:
    if looks is None:
        lost = "; ".join(f"{short(m.digest)} is {m.why}" for m in decision.missing)
        return f"The path cannot be drawn: {lost or 'no evidence is stored'}."
    if not looks.agrees:
        return (
            "The stored counts, weighed again, do not give the recorded verdict. "
            "The recorded one is in the table."
        )
    return ""


def _others_note(gates: tuple[GateVerdict, ...], gate: GateVerdict | None) -> str:
    others = [g for g in gates if gate is None or g.gate != gate.gate]
    if any(g.verdict is Verdict.BREACH for g in others):
        return "Some of them were in BREACH as well."
    if any(g.verdict is Verdict.INCONCLUSIVE for g in others):
        return "None was in BREACH. INCONCLUSIVE is not PASS: the hold they needed was not over."
    return "None was in BREACH."


def _picture(
    gate: GateVerdict, decision: Decision, looks: paths.Looks | None, step: str, number: int
) -> GatePicture | None:
    if not isinstance(decision.verdict, StageVerdict):
        return None
    points = looks.of(gate.gate) if looks else []
    if not any(look.gate.alpha for look in points):
        points = []  # a gate without a budget has no boundary to draw
    key = f"{number}"
    table = {row[0]: row for row in gates_table(decision.verdict, decision.plan)}
    _, _, candidate, baseline, _ = table[plain(gate.gate, 40)]
    return GatePicture(
        title=gate_title(gate.gate),
        verdict=gate.verdict.value,
        why=plain(gate.why),
        numbers=f"candidate {candidate}"
        + (f", baseline {baseline}" if gate.baseline.units else ""),
        card=paths.path_figure(points, paths.CARD, key=key, step=step) if points else Markup(),
        wide=paths.path_figure(points, paths.WIDE, key=key, step=step) if points else Markup(),
        narrow=paths.path_figure(points, paths.NARROW, key=key, step=step) if points else Markup(),
    )


def _rows(decision: Decision, dossier: Dossier, tz: tzinfo) -> list[DecisionRow]:
    verdict = decision.verdict
    if isinstance(verdict, StageVerdict):
        whys = [g.why for g in verdict.gates] or [verdict.why]
        table = gates_table(verdict, decision.plan) or [["-", verdict.verdict.value, "-", "-", "-"]]
        cells = [[*row, plain(why)] for row, why in zip(table, whys, strict=True)]
    elif isinstance(verdict, OfflineVerdict):
        cells = _offline_cells(verdict)
    else:
        gap = f"verdict {short(verdict.digest)} is {verdict.why}" if verdict else ""
        cells = [["-", "", "-", "-", "-", gap]]
    evidence = short(decision.event.evidence) if decision.event.evidence else "-"
    lost = "; ".join(f"{short(m.digest)} is {m.why}" for m in decision.missing if m is not verdict)
    return [
        DecisionRow(
            time=moment(decision.event.at, dossier, tz),
            where=where(decision.step, Phase.CANARY),
            gate=gate,
            verdict=word,
            candidate=candidate,
            baseline=baseline,
            breach_at=breach_at,
            why=f"{why} ({lost})" if lost else why,
            evidence=evidence,
        )
        for gate, word, candidate, baseline, breach_at, why in cells
    ]


def _offline_cells(verdict: OfflineVerdict) -> list[list[str]]:
    rows = offline_rows(verdict) or [["offline", verdict.verdict.value, plain(verdict.why)]]
    return [[gate, word, "-", "-", "-", why] for gate, word, why in rows]


def _offline(dossier: Dossier) -> Mapping[str, Any] | None:
    verdict = dossier.offline
    if verdict is None:
        return None
    lines = offline_text(verdict).splitlines()
    plans = (d.plan for d in dossier.decisions if isinstance(d.plan, OfflinePlan))
    plan = next(plans, None)
    head = verdict.headline
    figures = head and Figures(
        wide=intervals.interval_figure(head, plan, intervals.WIDE),
        narrow=intervals.interval_figure(head, plan, intervals.NARROW),
    )
    rows = [(label, f"{word}: {words}") for label, word, words in offline_rows(verdict)]
    told = {line.split()[0]: line for line in lines[1:]}
    rows += [
        (label, told[label].removeprefix(label).strip())
        for label in ("needed", "errors")
        if label in told
    ]
    slices = verdict.slices and slice_table(verdict.slices, _SLICES_SHOWN)
    if verdict.slices is not None and verdict.slices.literal:  # the plan's mode asks for it
        rows += [(f"plain rule, {gate}", words) for gate, words in plain_rules(verdict)]
    return {"answer": lines[0], "figures": figures, "rows": rows, "slices": slices}


def _people(dossier: Dossier, tz: tzinfo) -> list[tuple[str, str]]:
    header = dossier.record.header
    team = f", team {plain(header.team, 60)}" if header.team else ""
    people = [
        ("Owner", f"{plain(header.owner, 60)}{team}"),
        ("Started by", plain(header.actor, 60)),
    ]
    for event in dossier.record.events:
        if event.kind in _COMMANDS:
            label = event.kind.value.replace("_", " ").capitalize()
            who = f"{plain(event.actor, 60)}, {moment(event.at, dossier, tz)}: {said(event.reason)}"
            people.append((label, who))
    paged = [e for e in dossier.record.events if e.kind is EventKind.PAGED]
    people += [("Paged", f"{moment(e.at, dossier, tz)}: {plain(e.reason, 200)}") for e in paged]
    if not dossier.facts.overrides:
        people.append(("Overrides", "none used"))
    return people


def _links(dossier: Dossier) -> list[tuple[str, str, bool]]:
    header = dossier.record.header
    links = [
        (plain(label, 60), plain(address), address.startswith(_SAFE_LINKS))
        for label, address in header.links.items()
    ]
    return [*links, ("Workflow", plain(header.workflow_id), False)]


def _record(dossier: Dossier) -> list[tuple[str, str]]:
    header = dossier.record.header
    number = plural(len(dossier.record.events), "event")
    chain = f"{number}, unbroken to {short(dossier.head)}"
    if dossier.broken is not None:
        chain = f"TAMPERED: event {dossier.broken.sequence} {dossier.broken.why}"
    rows = [
        ("Release", f"{header.release}, attempt {header.attempt}"),
        ("Baseline", f"{header.baseline.artifact}, upstream {header.baseline.serve.upstream}"),
        ("Candidate", f"{header.candidate.artifact}, upstream {header.candidate.serve.upstream}"),
        ("Spec", header.spec),
        ("Plan", header.plan),
        ("Unit", f"{dossier.unit}: what is hashed to an arm and counted"),
        ("Events", chain),
    ]
    gaps = missing_lines(dossier)
    return [*rows, ("Gaps", "; ".join(gaps))] if gaps else rows
