"""The screen of `rampway eval`, and the words it shares with the page, the comment and JUnit."""

import textwrap
from collections.abc import Iterator

from rampway.gates.evidence import Disagreement
from rampway.gates.plans import SliceMode
from rampway.gates.verdicts import OfflineSlices, OfflineVerdict
from rampway.reports.offline import Changed, OfflineReport, changed
from rampway.reports.slice_words import SCREEN_COLUMNS, screen_rows, slices_note
from rampway.reports.texts import columns, offline_text
from rampway.reports.words import WIDTH, integer, plain, shorten, significant

EXAMPLE_COLUMNS = (
    *("case", "slices", "score", "question"),
    *("expected", "baseline's answer", "candidate's answer"),
)
SLICES_ON_SCREEN = 20
_LABEL = 10
_SLICES_NAMED = 8


def eval_text(report: OfflineReport, examples: int) -> str:
    """The whole screen; `examples` disagreements of each kind are told in full."""
    lines = offline_text(report.verdict, report.cluster).splitlines()
    if report.verdict.headline is None and len(report.verdict.why) + _LABEL > WIDTH:
        lines += _wrapped("why", plain(report.verdict.why, 2000))
    if report.mode is SliceMode.LITERAL:
        lines += literal_lines(report.verdict)
    lines += [line for case in _shown(report, examples) for line in _example_lines(case)]
    lines += textwrap.wrap(report.next_step, WIDTH)
    return "\n".join(shorten(line, WIDTH) for line in lines)


def slices_text(slices: OfflineSlices) -> str:
    """The worst slices in aligned columns, for `rampway explain --offline`."""
    rows = screen_rows(slices, SLICES_ON_SCREEN)
    lines = columns([list(SCREEN_COLUMNS), *rows], right=frozenset({2, 6}))
    note = slices_note(slices, SLICES_ON_SCREEN)
    return "\n".join(shorten(line, WIDTH) for line in [*lines, note] if line)


def literal_words(report: OfflineReport) -> list[tuple[str, str]]:
    """What the plain rules would have said, by gate; nothing unless the mode asks for it."""
    return plain_rules(report.verdict) if report.mode is SliceMode.LITERAL else []


def literal_lines(verdict: OfflineVerdict) -> list[str]:
    """The same of any verdict, in lines of a screen."""
    told = [_wrapped("literal", f"{name}: {words}") for name, words in plain_rules(verdict)]
    return [line for lines in told for line in lines]


def plain_rules(verdict: OfflineVerdict) -> list[tuple[str, str]]:
    """What the plain rules would have said, by gate."""
    told = [("headline", verdict.headline.literal)] if verdict.headline else []
    told += [("slices", verdict.slices.literal)] if verdict.slices else []
    return [(name, plain(words)) for name, words in told if words]


def disagreements_sentence(report: OfflineReport) -> str:
    """`130 improved, 720 regressed, 12 reworded`; the last are counted among those listed."""
    head = report.verdict.headline
    if head is None:
        return ""
    reworded = sum(changed(case) is Changed.REWORDED for case in report.disagreements)
    more = f", {integer(reworded)} reworded" if reworded else ""
    return f"{integer(head.improved)} improved, {integer(head.regressed)} regressed{more}"


def example_cells(case: Disagreement, limit: int) -> list[str]:
    """One disagreement in a row (see EXAMPLE_COLUMNS), every text at most `limit` long."""
    return [
        plain(case.case, min(limit, 80)),
        plain(_labels(case), limit),
        f"{significant(case.old)} to {significant(case.new)}",
        *(_told(text, limit) for text in _texts(case)),
    ]


def fingerprint_rows(report: OfflineReport) -> list[tuple[str, str]]:
    """What was compared, label and value; only what is known."""
    prints = report.fingerprints
    rows = (
        ("Baseline", prints.baseline),
        ("Candidate", prints.candidate),
        ("Dataset", prints.dataset),
        ("Grader", prints.grader),
        ("Harness", prints.harness),
        ("Seeds", prints.seeds),
        ("Paired by", prints.paired_by),
    )
    return [(label, plain(value, 200)) for label, value in rows if value]


def errors_sentence(verdict: OfflineVerdict) -> str:
    """Generations that failed, per arm; empty if none."""
    failed = {arm: count for arm, count in verdict.errors.items() if count}
    if not failed:
        return ""
    told = ", ".join(f"{integer(count)} {plain(arm, 20)}" for arm, count in failed.items())
    return f"{told} generations failed and count as failures"


def _shown(report: OfflineReport, each: int) -> Iterator[Disagreement]:
    for cases in report.examples(each).values():
        yield from cases


def _example_lines(case: Disagreement) -> list[str]:
    score = f"{significant(case.old)} to {significant(case.new)}"
    labels = f" ({plain(_labels(case), 60)})" if case.slices else ""
    told = f"{changed(case)}  {plain(case.case, 60)}{labels}: {score}"
    named = zip(("asked", "expected", "baseline", "candidate"), _texts(case), strict=True)
    return [
        told,
        *(
            f"  {name.ljust(_LABEL)}{plain(text, WIDTH - _LABEL - 2)}"
            for name, text in named
            if text
        ),
    ]


def _texts(case: Disagreement) -> tuple[str | None, ...]:
    return case.question, case.expected, case.old_answer, case.new_answer


def _told(text: str | None, limit: int) -> str:
    return plain(text, limit) or "-" if text else "-"


def _labels(case: Disagreement) -> str:
    named = [f"{name} {value}" for name, value in case.slices.items()]
    return ", ".join(named[:_SLICES_NAMED])


def _wrapped(label: str, words: str) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    )
