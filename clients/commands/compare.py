"""The verbs that compare two arms on a log of their answers: compare, and the lab that makes one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.exits import Exit, Failure
from clients.output import Form, output_option, show, show_json, tell

if TYPE_CHECKING:
    from clients.comparing import Question
    from rampway.reports.comparison import TrafficReport

FILE = click.Path(path_type=Path, dir_okay=False)
ARMS = ("baseline", "candidate")
SUFFIXES = {".md": "md", ".html": "html"}
MANIFEST_FILE = "manifest.json"


@click.command()
@click.argument("log", type=FILE)
@click.option("--grader", required=True, metavar="[NAME:]GOLD", help="E.g. set_match:gold.jsonl.")
@click.option(
    "--key", "keys", metavar="FIELDS", default="", help="Find cases without a case_id by."
)
@click.option("--by", "by", metavar="FIELDS", default="", help="E.g. tense,person,verb.")
@click.option(
    "--cost", "costs", multiple=True, metavar="ARM=PRICE", help="Of one request; repeatable."
)
@click.option(
    "--seed", "seeds", multiple=True, metavar="NAME=VALUE", help="For the manifest; repeatable."
)
@click.option("--epoch", type=int, help="Of a log of several, this one.")
@click.option("--segment", type=int, help="Of live answers at several shares, these.")
@click.option(
    "-o", "--out", "outs", type=FILE, multiple=True, help="A .md or .html file; repeatable."
)
@click.option("--manifest", type=FILE, help="[manifest.json beside the first report]")
@click.option("--baseline-manifest", type=FILE, help="Its grader must be this one; else exit 3.")
@output_option
def compare(
    log: Path,
    grader: str,
    keys: str,
    by: str,
    costs: tuple[str, ...],
    seeds: tuple[str, ...],
    epoch: int | None,
    segment: int | None,
    outs: tuple[Path, ...],
    manifest: Path | None,
    baseline_manifest: Path | None,
    form: Form,
) -> None:
    """Grade a gateway's log of answers, compare both arms, and say promote, hold or retrain.

    Exit 3: the log mixes what may not be pooled, or the baseline's manifest names another grader.
    """
    from clients.comparing import Question
    from clients.grading import parse_grader

    _refuse_formats(outs)
    question = Question(
        log=log,
        grader=parse_grader(grader, _fields(keys)),
        by=_fields(by),
        price=_prices(costs),
        seeds=_named(seeds, "--seed"),
        epoch=epoch,
        segment=segment,
    )
    report = read_report(question, baseline_manifest)
    place = manifest or (outs[0].parent / MANIFEST_FILE if outs else None)
    facts = write_report(report, outs, place)
    _say(report, form, facts)
    written = [*outs, *([place] if place else [])]
    if written:
        tell(f"Written: {', '.join(map(str, written))}")


def read_report(question: "Question", baseline_manifest: Path | None = None) -> "TrafficReport":
    """Compare, with what is wrong as one sentence and its exit code. Raises Failure."""
    from clients.comparing import GraderChanged, compare_log, refuse_another_grader
    from clients.grading import make_marking
    from clients.units import LogMixed
    from rampway.adapters.answers_log import LogUnreadable
    from rampway.judge.gold import GoldUnusable, UnknownGrader

    try:
        if baseline_manifest is not None:
            # Before the log is read: what is graded in vain is not worth waiting for.
            refuse_another_grader(baseline_manifest, make_marking(question.grader).fingerprint)
        return compare_log(question)
    except (GoldUnusable, UnknownGrader, LogUnreadable) as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    except LogMixed as mixed:
        raise Failure(f"INCOMPARABLE: {mixed}", Exit.STOPPED) from mixed
    except GraderChanged as changed:
        raise Failure(f"GRADER CHANGED: {changed}", Exit.STOPPED) from changed


def write_report(
    report: "TrafficReport", outs: tuple[Path, ...], place: Path | None
) -> "dict[str, object]":
    """Write the pages and the manifest; answers the manifest. Raises Failure."""
    import orjson

    from rampway.reports.comparison_markdown import comparison_markdown
    from rampway.reports.comparison_page import comparison_html
    from rampway.reports.manifest import manifest

    render = {"md": comparison_markdown, "html": comparison_html}
    rendered = {SUFFIXES[out.suffix]: render[SUFFIXES[out.suffix]](report).encode() for out in outs}
    facts = manifest(report, rendered)
    pages = [(out, rendered[SUFFIXES[out.suffix]]) for out in outs]
    if place is not None:
        body = orjson.dumps(facts, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
        pages.append((place, body))
    for path, body in pages:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        except OSError as failed:
            raise Failure(f"{path} cannot be written: {failed.strerror}.") from failed
    return dict(facts)


def _say(report: "TrafficReport", form: Form, facts: "dict[str, object]") -> None:
    from rampway.reports.comparison_words import loud_lines, summary_text

    if form is Form.TABLE:
        show(summary_text(report))
        return
    show_json(
        {
            "recommendation": report.advice.recommendation.value,
            "why": report.advice.why,
            "arms": report.arms.model_dump(mode="json") if report.arms else None,
            "pairs": report.pairs.model_dump(mode="json") if report.pairs else None,
            "errors": loud_lines(report.read),
            "manifest": facts,
        }
    )
    for line in loud_lines(report.read):
        tell(line)


def _refuse_formats(outs: tuple[Path, ...]) -> None:
    for out in outs:
        if out.suffix not in SUFFIXES:
            raise click.UsageError(f"-o {out}: a report is a .md or an .html file")
    if len({out.suffix for out in outs}) < len(outs):
        raise click.UsageError("-o names two files of one format; they would be the same")


def _fields(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _prices(given: tuple[str, ...]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for arm, text in _named(given, "--cost").items():
        if arm not in ARMS:
            raise click.UsageError(f"--cost {arm}: the arms are {' and '.join(ARMS)}")
        prices[arm] = _price(text)
    return prices


def _price(text: str) -> float:
    from math import isfinite

    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not isfinite(price) or price < 0:
        raise click.UsageError(f"--cost {text}: a price is a number of 0 or more")
    return price


def _named(given: tuple[str, ...], option: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option} {text}: write it as NAME=VALUE")
        named[name] = value
    return named


@click.command()
@click.option("--requests", type=click.IntRange(20, 5_000), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the questions.")
def lab(requests: int, seed: int) -> None:
    """Play shadow and A/B requests through a gateway on this machine, and report on them.

    Half a minute at most; it ends what it started. Files are written under --home.
    """
    import asyncio

    from clients.lab import Lab, LabFailed
    from clients.processes import DidNotStart
    from clients.settings import home
    from clients.tutor.lexicon import LexiconMissing
    from rampway.ports import Unreachable
    from rampway.release.splits import Refused

    played = Lab(home() / "lab", requests=requests, seed=seed, note=tell)
    try:
        asyncio.run(played.play())
    except ExceptionGroup as several:
        raise Failure(str(several.exceptions[0])) from several
    except (DidNotStart, LabFailed, LexiconMissing, Refused, Unreachable) as failed:
        raise Failure(str(failed)) from failed
    report = read_report(played.question)
    outs = (played.directory / "report.html", played.directory / "report.md")
    place = played.directory / MANIFEST_FILE
    write_report(report, outs, place)
    _say(report, Form.TABLE, {})
    tell(f"Written: {', '.join(map(str, (played.log, *outs, place)))}")
