"""What the record tells: history, explain, report and verify, from the registry alone."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.completing import complete_release
from clients.exits import Exit, Failure, leave
from clients.opening import open_registry, reports_directory, run
from clients.output import Form, output_option, reader_zone, show, show_json, tell

if TYPE_CHECKING:
    from pydantic import JsonValue

    from rampway.ports import Registry
    from rampway.reports.dossier import Dossier
    from rampway.reports.verification import Verification

SUFFIXES = {"html": "html", "md": "md", "json": "json"}


@click.command()
@click.argument("name", shell_complete=complete_release)
@output_option
def history(name: str, form: Form) -> None:
    """What happened to release NAME, event by event."""
    run(_history(name, form))


async def _history(name: str, form: Form) -> None:
    from clients.dossiers import read_dossier
    from rampway.reports.texts import history_text

    async with open_registry() as registry:
        dossier = await read_dossier(registry, name)
    if form is Form.TABLE:
        show(history_text(dossier, reader_zone()))
        return
    record = dossier.record
    show_json(
        {
            "release": record.header.name,
            "phase": record.phase.value,
            "outcome": outcome(dossier),
            "broken_at": dossier.broken.sequence if dossier.broken else None,
            "events": [event.model_dump(mode="json") for event in record.events],
        }
    )


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option("--gate", help="What this gate saw when it was last judged.")
@click.option("--step", help="In this step: shadow, '5 %', settling.  [default: the last]")
@click.option(
    "--look",
    type=click.IntRange(min=1),
    help="At this look, weighed again from the counts up to it.",
)
@click.option("--offline", is_flag=True, help="What the offline gate said.")
@output_option
def explain(
    name: str, gate: str | None, step: str | None, look: int | None, form: Form, *, offline: bool
) -> None:
    """Why release NAME ended, or stands, as it does."""
    if offline and (gate, step, look) != (None, None, None):
        raise click.UsageError(
            "--offline and --gate, --step or --look ask two questions. Next: ask one."
        )
    run(_explain(name, gate, step, look, form, offline=offline))


async def _explain(
    name: str, gate: str | None, step: str | None, look: int | None, form: Form, *, offline: bool
) -> None:
    from clients.dossiers import read_dossier
    from rampway.reports.explain import NoSuchLook, explain_offline_text, explain_text

    async with open_registry() as registry:
        dossier = await read_dossier(registry, name)
    try:
        if form is Form.JSON:
            show_json(_explained(dossier, gate, step, look))
        elif offline:
            show(explain_offline_text(dossier))
        else:
            show(explain_text(dossier, reader_zone(), gate, step=step, look=look))
    except NoSuchLook as none:
        raise click.UsageError(str(none)) from none


def _explained(
    dossier: "Dossier", gate: str | None = None, step: str | None = None, look: int | None = None
) -> dict[str, object]:
    """The answer of `explain` for a script: the sentence, what decided, and every last judgement.

    With `look` only the judgement of `step`, or the deciding one, as it was at that look.
    """
    from rampway.gates.verdicts import StageVerdict
    from rampway.reports.explain import at_look
    from rampway.reports.sentences import headline

    deciding, decisive = dossier.deciding, dossier.deciding_gate
    judged = [d for d in dossier.decisions if isinstance(d.verdict, StageVerdict)]
    last = {d.step: d for d in judged if step in {None, d.step}}
    if look is not None:
        one = next((d for d in last.values() if d is deciding), None) or next(
            reversed(last.values()), None
        )
        last = {one.step: at_look(one, look)} if one is not None else {}
    asked = {
        step: [g.model_dump(mode="json") for g in d.verdict.gates if gate in {None, g.gate}]
        for step, d in last.items()
        if isinstance(d.verdict, StageVerdict)
    }
    return {
        "release": dossier.name,
        "phase": dossier.record.phase.value,
        "outcome": outcome(dossier),
        "sentence": headline(dossier),
        "decided_by": {
            "event": deciding.event.sequence,
            "step": deciding.step,
            "gate": decisive.gate if decisive else None,
            "evidence": deciding.event.evidence,
        }
        if deciding
        else None,
        "gates": asked,
        "offline": dossier.offline.model_dump(mode="json") if dossier.offline else None,
    }


def outcome(dossier: "Dossier") -> str | None:
    """The end phase in the spelling of scripts, `rolled_back`; None while it is open."""
    phase = dossier.record.phase
    return phase.value.lower() if phase.ended else None


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it; - is stdout [reports/NAME.html under --home].",
)
@click.option(
    "--format", "suffix", type=click.Choice(list(SUFFIXES)), help="html, or by --out's ending."
)
def report(name: str, out: Path | None, suffix: str | None) -> None:
    """Write the report of release NAME."""
    run(_report(name, out, suffix))


async def _report(name: str, out: Path | None, suffix: str | None) -> None:
    from clients.dossiers import read_dossier

    chosen = suffix or (out.suffix.removeprefix(".") if out else "") or "html"
    if chosen not in SUFFIXES:
        raise click.UsageError(f"A report is {', '.join(SUFFIXES)}, not {chosen}. Next: --format")
    async with open_registry() as registry:
        dossier = await read_dossier(registry, name)
    body = render(dossier, chosen)
    if out is not None and str(out) == "-":
        click.echo(body)
        return
    path = out or reports_directory() / f"{dossier.name}.{SUFFIXES[chosen]}"
    write_file(path, body)
    click.echo(str(path))
    tell(f"Report of {dossier.name} written.")


def render(dossier: "Dossier", suffix: str) -> str:
    """A report as HTML, Markdown or JSON; a file's reader may be anywhere, so times are in UTC."""
    from datetime import UTC

    import orjson

    from rampway.reports.markdown import release_markdown
    from rampway.reports.page import release_html

    if suffix == "html":
        return release_html(dossier, UTC)
    if suffix == "json":
        record: dict[str, object] = dossier.record.model_dump(mode="json")
        facts = {**_explained(dossier), "record": record}
        return orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode()
    return release_markdown(dossier)


def write_file(path: Path, body: str) -> None:
    """Write a file whole, making its directory. Raises Failure naming the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
    except OSError as failed:
        raise Failure(f"{path} cannot be written: {failed.strerror}") from failed


@click.command()
@click.argument("name", required=False, shell_complete=complete_release)
@click.option("--all", "every", is_flag=True, help="Every release in the record.")
@click.option("--anchor", help="The hash of an event that was kept elsewhere.")
@output_option
def verify(name: str | None, anchor: str | None, form: Form, *, every: bool) -> None:
    """Recompute every verdict of release NAME and check its chain; exit 3 when tampered."""
    if (name is None) == (not every):
        raise click.UsageError("Name one release, or give --all.")
    if anchor is not None and every:
        raise click.UsageError(
            "--anchor is the hash of one release's event. Next: name the release."
        )
    found = run(_verify(name, anchor))
    if form is Form.JSON:
        shown = [_verification_facts(one) for one, _ in found]
        show_json({"verified": all(one.verified for one, _ in found), "releases": shown})
    else:
        _show_verifications(found, every=every)
    if not all(one.verified for one, _ in found):
        leave(Exit.STOPPED)


async def _verify(name: str | None, anchor: str | None) -> "list[tuple[Verification, float]]":
    from rampway.ports import Tampered
    from rampway.reports.verification import unreadable

    async with open_registry() as registry:
        if name is not None:
            return [await verify_release(registry, name, anchor)]
        try:
            names = [record.header.release for record in await registry.releases()]
        except Tampered as changed:
            told = unreadable("the record", sequence=changed.sequence, why=str(changed))
            return [(told, 0.0)]
        return [await verify_release(registry, release, None) for release in names]


async def verify_release(
    registry: "Registry", name: str, anchor: str | None = None
) -> "tuple[Verification, float]":
    """Verify one release; also how long the computing took, in milliseconds."""
    from clients.dossiers import read_blobs
    from rampway.ports import Tampered
    from rampway.reports.verification import unreadable, verify

    try:
        record = await registry.release(name)
    except Tampered as changed:
        return unreadable(name, sequence=changed.sequence, why=str(changed)), 0.0
    blobs = await read_blobs(registry, record)
    began = time.perf_counter()
    verification = verify(record, blobs, anchor=anchor)
    return verification, (time.perf_counter() - began) * 1000


def _show_verifications(found: "list[tuple[Verification, float]]", *, every: bool) -> None:
    from rampway.reports.verification import verification_text

    if not found:
        show("verified: no release is recorded.")
    for verification, elapsed_ms in found:
        text = verification_text(verification, elapsed_ms=elapsed_ms)
        show(f"{verification.name}: {text}" if every else text)


def _verification_facts(verification: "Verification") -> "JsonValue":
    facts: dict[str, JsonValue] = verification.model_dump(mode="json")
    return {**facts, "verified": verification.verified}
