"""The short report for a pull request or a CI summary: Markdown, bounded, harmless to render."""

from datetime import UTC

from rampway.gates.verdicts import OfflineVerdict, StageVerdict
from rampway.release.phases import Phase
from rampway.reports.advice import (
    KeyFact,
    five_facts,
    lead,
    left_to_do,
    told_decision,
    where_to_look,
)
from rampway.reports.dossier import Decision, Dossier
from rampway.reports.explain import missing_lines
from rampway.reports.sentences import ending, headline
from rampway.reports.slice_words import SLICE_COLUMNS, slice_rows, slices_note
from rampway.reports.texts import (
    markdown_gates,
    markdown_plain,
    markdown_table,
    moment,
    offline_rows,
    verdict_words,
)
from rampway.reports.words import demo_sentence, plural, short, where

LIMIT_BYTES = 60_000  # a GitHub comment holds 65,536 characters; the marker and links need the rest
_DECISIONS_MAX = 30
_GAPS_MAX = 10
_SLICES_MAX = 10


def release_markdown(dossier: Dossier) -> str:
    """What became of a release: the sentence, five facts, the gates that decided, every stage."""
    blocks = [
        f"### {markdown_plain(dossier.name)}: {markdown_plain(ending(dossier.record))}",
        _demo(dossier),
        f"**{markdown_plain(headline(dossier))}**",
        markdown_plain(lead(dossier)),
        f"Left to do: {coded(left_to_do(dossier, UTC))}",
        f"Where to look: {coded(look)}" if (look := where_to_look(dossier)) else "",
        _facts(five_facts(dossier, UTC)),
        _gates(dossier),
        _decisions(dossier),
        _record(dossier),
    ]
    return bounded("\n\n".join(block for block in blocks if block) + "\n")


def offline_markdown(verdict: OfflineVerdict) -> str:
    """The offline gate's tables: gate, verdict, numbers, and the worst slices."""
    gates = markdown_table(("gate", "verdict", "numbers"), offline_rows(verdict))
    if verdict.slices is None:
        return gates
    slices = markdown_table(SLICE_COLUMNS, slice_rows(verdict.slices, _SLICES_MAX))
    note = slices_note(verdict.slices, _SLICES_MAX)
    return "\n\n".join(block for block in (gates, slices, note) if block)


def coded(text: str) -> str:
    """Text of ours in which commands stand between backticks, with everything else escaped."""
    parts = text.split("`")
    return "".join(f"`{part}`" if i % 2 else _prose(part) for i, part in enumerate(parts))


def _prose(part: str) -> str:
    """Escaped, with the space that keeps it apart from a command before or after it."""
    before, after = (" " if edge == " " else "" for edge in (part[:1], part[-1:]))
    return f"{before}{markdown_plain(part)}{after}" if part.strip() else part


def bounded(text: str) -> str:
    """At most LIMIT_BYTES, cut between lines, saying so."""
    if len(text.encode()) <= LIMIT_BYTES:
        return text
    note = "\n\nCut here: the whole report is in the HTML file.\n"
    kept = text.encode()[: LIMIT_BYTES - len(note)].decode(errors="ignore")
    return kept[: kept.rfind("\n")] + note


def _demo(dossier: Dossier) -> str:
    sentence = demo_sentence(dossier.record.header.target)
    return f"**{sentence}**" if sentence else ""


def _facts(facts: tuple[KeyFact, ...]) -> str:
    rows = [(fact.label, fact.value, fact.note) for fact in facts]
    return markdown_table(("fact", "value", ""), rows)


def _gates(dossier: Dossier) -> str:
    decision = told_decision(dossier)
    if decision is None:
        return ""
    if isinstance(decision.verdict, OfflineVerdict):
        return offline_markdown(decision.verdict)
    if not isinstance(decision.verdict, StageVerdict) or not decision.verdict.gates:
        return ""
    place = where(decision.step, Phase.CANARY)
    return f"Gates at {place}:\n\n{markdown_gates(decision.verdict, decision.plan)}"


def _decisions(dossier: Dossier) -> str:
    shown = dossier.judgements[-_DECISIONS_MAX:]
    if not shown:
        return ""
    table = markdown_table(
        ("time", "where", "decision"), [_decision_cells(d, dossier) for d in shown]
    )
    return f"Every decision:\n\n{table}"


def _decision_cells(decision: Decision, dossier: Dossier) -> tuple[str, str, str]:
    words = verdict_words(decision) or "; ".join(
        f"{short(gap.digest)} is {gap.why}" for gap in decision.missing
    )
    place = where(decision.step, Phase.CANARY)
    return moment(decision.event.at, dossier, UTC), place, words


def _record(dossier: Dossier) -> str:
    number = plural(len(dossier.record.events), "event")
    if dossier.broken is not None:
        chain = (
            f"**TAMPERED: event {dossier.broken.sequence} {markdown_plain(dossier.broken.why)}**"
        )
    else:
        chain = f"{number}, unbroken to {short(dossier.head)}"
    gaps = [f"- {markdown_plain(line)}" for line in missing_lines(dossier)[:_GAPS_MAX]]
    owner = markdown_plain(dossier.record.header.owner, 60)
    line = f"Owner {owner}. Record: {chain}. Recompute: `rampway verify {dossier.name}`"
    return "\n".join([line, *gaps])
