"""The plain-text screens: history, explain, the offline answer, the board, and the gates' table.

Lines are at most 100 columns wide, without colour and without anything invisible.
"""

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo

from rampway.gates.verdicts import (
    GateVerdict,
    Headline,
    OfflineVerdict,
    Safety,
    StageVerdict,
    Verdict,
)
from rampway.release.events import Event, EventKind
from rampway.reports.dossier import Decision, Dossier, Missing, text_in
from rampway.reports.sentences import counts_units, ending
from rampway.reports.slice_words import slices_answer, slices_cells
from rampway.reports.words import (
    WIDTH,
    clock,
    counted,
    day,
    demo_mark,
    integer,
    interval_points,
    p_value,
    percent,
    percents_apart,
    plain,
    plural,
    points,
    share,
    short,
    shorten,
    span,
    threshold,
)

GATE_COLUMNS = ("gate", "verdict", "candidate", "baseline", "BREACH at")
_GAP = "  "
_MARKUP = re.compile(r"[\\`*\[\]|~>]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")  # NO_DATA needs no escape
_ACTOR_WIDTH = 16
_FLIPS_NAMED = 3
_GATES_NAMED = 2
_TWO_DAYS = 2
_SAID_BY_PEOPLE = frozenset(
    {
        EventKind.PAUSED,
        EventKind.RESUMED,
        EventKind.OVERRIDE_GRANTED,
        EventKind.OVERRIDE_USED,
    }
)


def history_text(dossier: Dossier, tz: tzinfo) -> str:
    """Every event, one a line, under a line that tells how it ended."""
    record = dossier.record
    mark = demo_mark(record.header.target)
    if not record.events:
        return f"{mark}{ending(record)}. No events yet."
    first, last = record.events[0], record.events[-1]
    number = plural(len(record.events), "event")
    decided = {d.event.sequence: d for d in dossier.decisions}
    rows = [["seq", "time", "event", "share", "actor", "why"]]
    rows += [_history_row(e, decided.get(e.sequence), dossier, tz) for e in record.events]
    lines = [f"{mark}{ending(record)}. {number}, {span(first.at, last.at, tz)}"]
    lines += columns(rows, right=frozenset({0, 3}))
    if dossier.broken is not None:
        lines.append(f"TAMPERED: event {dossier.broken.sequence} {dossier.broken.why}.")
        lines.append(f"{_GAP}Next: rampway verify {dossier.name}")
    return "\n".join(shorten(line, WIDTH) for line in lines)


def offline_text(verdict: OfflineVerdict, cluster: str = "") -> str:
    """The screen of `rampway eval`: the answer, then headline, slices, safety and errors.

    `cluster` names the column that clusters the cases.
    """
    failed = {arm: n for arm, n in verdict.errors.items() if n}
    lines = [offline_answer(verdict), *columns(offline_rows(verdict, cluster))]
    if verdict.headline is not None and verdict.headline.cases_needed:
        lines.append(f"needed    about {integer(verdict.headline.cases_needed)} more cases")
    if failed:
        told = ", ".join(f"{integer(n)} {plain(arm, 20)}" for arm, n in failed.items())
        lines.append(f"errors    {told} generations failed and count as failures")
    return "\n".join(shorten(line, WIDTH) for line in lines)


def offline_rows(verdict: OfflineVerdict, cluster: str = "") -> list[list[str]]:
    """Headline, slices and safety: name, verdict, numbers."""
    rows = [["headline", *_headline_cells(verdict.headline, cluster)]] if verdict.headline else []
    rows += [["slices", *slices_cells(verdict.slices)]] if verdict.slices else []
    rows += [["safety", *_safety_cells(verdict.safety)]] if verdict.safety else []
    return rows


def offline_answer(verdict: OfflineVerdict) -> str:
    """The answer to "may it go on?" in one line, verdict first."""
    head = verdict.headline
    if head is None:
        return f"{verdict.verdict}: {plain(verdict.why)}"
    difference = f"{points(head.difference)} {interval_points(head.low, head.high)}"
    if head.verdict is not verdict.verdict:
        return _answer_beside(verdict, f"; overall {difference}")
    new, old = percents_apart(head.candidate_accuracy, head.baseline_accuracy)
    accuracy = f"Accuracy {new}, was {old}"
    if verdict.verdict is Verdict.PASS:
        return _passed(head, difference, accuracy)
    words = {
        Verdict.BREACH: f"the candidate is worse. {accuracy}: {difference}, {p_value(head.p)}",
        Verdict.INCONCLUSIVE: f"{difference} does not tell. {accuracy}",
    }
    return f"{verdict.verdict}: {words.get(verdict.verdict, plain(head.why))}"


def gates_table(verdict: StageVerdict, plan: object = None) -> list[list[str]]:
    """One row per gate: gate, verdict, candidate, baseline, BREACH at (see GATE_COLUMNS).

    With the stage's plan a latency row also tells its frozen threshold.
    """
    return [
        [
            plain(gate.gate, 40),
            gate.verdict.value,
            *_arms(gate, verdict.stage),
            _breach_at(gate, plan),
        ]
        for gate in verdict.gates
    ]


def gates_text(verdict: StageVerdict, plan: object = None) -> str:
    """The gates' table in aligned columns, with its heading."""
    return "\n".join(columns([list(GATE_COLUMNS), *gates_table(verdict, plan)]))


def markdown_gates(verdict: StageVerdict, plan: object = None) -> str:
    """The gates' table in Markdown; empty without gates."""
    rows = gates_table(verdict, plan)
    return markdown_table(GATE_COLUMNS, rows) if rows else ""


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are escaped."""
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    lines += ["| " + " | ".join(markdown_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown_plain(text: str, limit: int = 500) -> str:
    """Someone else's words made harmless in Markdown: no markup, HTML, mention or line end."""
    shown = plain(text, limit).replace("&", "&amp;").replace("<", "&lt;")
    # A zero-width space after @: GitHub would notify whoever is named.
    return _MARKUP.sub(lambda found: f"\\{found[0]}", shown).replace("@", "@\u200b")


def stage_markdown(line: str, verdict: StageVerdict | None, next_commands: Sequence[str]) -> str:
    """What the Temporal UI shows of a running release: a bold line, the gates, what to do next.

    A command is shown as code; one that marks its own code, such as "signal `abort`", stays as it is.
    """
    blocks = [f"**{markdown_plain(line)}**"]
    if verdict is not None and verdict.gates:
        blocks.append(markdown_gates(verdict))
    if next_commands:
        blocks.append("Next: " + ", ".join(map(_command, next_commands)))
    return "\n\n".join(blocks)


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows in aligned columns; `right` names the columns that end, not begin, at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _history_row(
    event: Event, decision: Decision | None, dossier: Dossier, tz: tzinfo
) -> list[str]:
    return [
        str(event.sequence),
        moment(event.at, dossier, tz),
        event.kind.value,
        share(event.share_bp),
        plain(event.actor, _ACTOR_WIDTH),
        event_why(event, decision),
    ]


def moment(at: datetime, dossier: Dossier, tz: tzinfo) -> str:
    """The time of day, with the day if the release ran over midnight."""
    events = dossier.record.events
    days = {day(events[0].at, tz), day(events[-1].at, tz)} if events else set[str]()
    return clock(at, tz) if len(days) < _TWO_DAYS else f"{day(at, tz)[:-5]} {clock(at, tz)}"


def event_why(event: Event, decision: Decision | None) -> str:
    """Why an event happened: the verdict that it stored, a person's own words, or its reason."""
    if decision is not None and decision.verdict is not None:
        return _judged_why(event, decision)
    match event.kind:
        case kind if kind in _SAID_BY_PEOPLE:
            gate = text_in(event, "gate")
            return f"{plain(gate, 40)}, {said(event.reason)}" if gate else said(event.reason)
        case EventKind.COMMAND_REFUSED:
            verb, rule = text_in(event, "verb") or "command", text_in(event, "rule") or "rule"
            return f"{plain(verb, 20)} refused [{plain(rule, 30)}]: {plain(event.reason)}"
        case EventKind.ROLLING_BACK:
            return "the undo began"  # its reason is that of the pin, one line above
        case EventKind.ROLLED_BACK:
            return plain(text_in(event, "confirmed") or event.reason)
        case _:
            return plain(event.reason)


def _judged_why(event: Event, decision: Decision) -> str:
    if isinstance(decision.verdict, Missing):
        gap = f"verdict {short(decision.verdict.digest)} {decision.verdict.why}"
        return f"{plain(event.reason)}; {gap}" if event.reason else gap
    return f"{plain(decision.step, 20)} {verdict_words(decision)}"


def said(reason: str) -> str:
    """A person's reason, in quotes; a missing one is told, not left out."""
    return f'"{plain(reason, 200)}"' if reason.strip() else "no reason given"


def verdict_words(decision: Decision) -> str:
    """A stored verdict in a few words: `error BREACH, 1,138 units, evidence e87b05`."""
    verdict = decision.verdict
    seen = f", evidence {short(decision.event.evidence)}" if decision.event.evidence else ""
    if isinstance(verdict, OfflineVerdict):
        cases = f", {plural(verdict.headline.cases, 'case')}" if verdict.headline else ""
        return f"{verdict.verdict}{cases}{seen}"
    if not isinstance(verdict, StageVerdict):
        return ""
    noun = "pair" if decision.step == "shadow" else "unit"
    decisive = verdict.decisive
    crossed = decisive is not None and verdict.verdict is Verdict.BREACH
    # What was exposed after a crossing did not decide.
    units = decisive.candidate.units if decisive and crossed else verdict.exposed
    return f"{_blamed(verdict)}{verdict.verdict}, {plural(units, noun)}{seen}"


def _blamed(verdict: StageVerdict) -> str:
    """The gates that gave the stage its verdict; nothing for a PASS, which all gave."""
    if verdict.verdict is Verdict.PASS:
        return ""
    names = [plain(g.gate, 40) for g in verdict.gates if g.verdict is verdict.verdict]
    more = len(names) - _GATES_NAMED
    told = ", ".join(names[:_GATES_NAMED])
    return f"{told} and {more} more " if more > 0 else f"{told} "


def _answer_beside(verdict: OfflineVerdict, overall: str) -> str:
    """The answer where it is not the headline's: that of slices or of safety."""
    slices, safety = verdict.slices, verdict.safety
    worse = slices is not None and slices.verdict is verdict.verdict is Verdict.BREACH
    if slices is not None and worse and (safety is None or safety.verdict is not verdict.verdict):
        return f"BREACH: {slices_answer(slices, overall)}"
    return f"{verdict.verdict}: {plain(verdict.why)}"


def _passed(head: Headline, difference: str, accuracy: str) -> str:
    if head.low <= 0:
        return f"PASS: not worse, {difference}. {accuracy}"
    if head.why:
        return f"PASS: {plain(head.why)}"  # only the gate's words have the probability of a gain
    return f"PASS: better by {difference}. {accuracy}"


def _headline_cells(head: Headline, cluster: str) -> list[str]:
    noun = f"{plain(cluster, 20)} cluster".strip()
    own = head.clusters == head.cases  # without clusters each case is one
    clusters = "" if own or not head.clusters else f", {plural(head.clusters, noun)}"
    changed = f"improved {integer(head.improved)}, regressed {integer(head.regressed)}"
    return [head.verdict.value, f"{changed}; {plural(head.cases, 'case')}{clusters}"]


def _safety_cells(safety: Safety) -> list[str]:
    flips = plural(len(safety.flips), "flip")
    named = (
        f" ({', '.join(plain(flip, 30) for flip in safety.flips[:_FLIPS_NAMED])})"
        if safety.flips
        else ""
    )
    tried = f"{plural(safety.cases, 'case')} x {safety.generations}"
    if safety.certified_below is not None and not safety.flips:
        certified = f"{tried} certify under {percent(safety.certified_below, 2)}"
        return [safety.verdict.value, f'{flips}; {certified}, not "safe"']
    chance = f", {p_value(safety.p)}" if safety.p is not None else ""
    return [safety.verdict.value, f"{flips}{named}; {tried}{chance}"]


def _arms(gate: GateVerdict, stage: str) -> list[str]:
    """Both arms' counts; in shadow both answered the same requests, so score levels are counted."""
    if stage == "shadow" and gate.baseline.units:
        pairs = plural(gate.candidate.units, "pair")
        return [
            f"lost {plural(gate.candidate.bad, 'level')} on {pairs}",
            f"gained {integer(gate.baseline.bad)}",
        ]
    if counts_units(gate):
        return [plural(arm.units, "unit") for arm in (gate.candidate, gate.baseline)]
    return [counted(gate.candidate), counted(gate.baseline) if gate.baseline.units else "-"]


def _breach_at(gate: GateVerdict, plan: object) -> str:
    if gate.breach_at is None:
        return "-"
    over = threshold(plan, gate.gate)
    return f"{integer(gate.breach_at)} over {over}" if over else integer(gate.breach_at)


def _command(command: str) -> str:
    return plain(command) if "`" in command else f"`{plain(command)}`"
