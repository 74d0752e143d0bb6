"""What moves a release: start, status, pause, resume, abort and override."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.completing import complete_release
from clients.exits import Failure, leave
from clients.opening import (
    open_data_plane,
    open_registry,
    open_releases,
    run,
)
from clients.output import (
    Form,
    dry_run_option,
    output_option,
    reader_zone,
    show,
    show_json,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.finding import Found
    from clients.steering import Answer
    from rampway.release.controls import Command, Verb
    from rampway.release.orders import Progress

RESULTS = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=RESULTS)
@click.option("--baseline-results", type=RESULTS, required=True, help="Evals of the baseline.")
@click.option("--candidate-results", type=RESULTS, required=True, help="Evals of the candidate.")
@click.option("--safety-baseline", type=RESULTS, help="Safety cases, answered by the baseline.")
@click.option("--safety-candidate", type=RESULTS, help="The same, by the candidate.")
@click.option("--attempt", type=click.IntRange(min=1), default=1, help="A deliberate second try.")
@click.option("--wait", is_flag=True, help="Follow it to its end; the exit code tells which.")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to --wait; then exit 8.")
@dry_run_option
@output_option
def start(
    file: Path,
    baseline_results: Path,
    candidate_results: Path,
    safety_baseline: Path | None,
    safety_candidate: Path | None,
    attempt: int,
    timeout: float | None,
    form: Form,
    *,
    wait: bool,
    dry_run: bool,
) -> None:
    """Start the release that FILE asks for: release.yaml, or plan.json from `rampway plan`."""
    from clients.starting import Results, begin, follow_to_end, rehearse

    if timeout is not None and not wait:
        raise click.UsageError("--timeout is how long to --wait. Next: give --wait too")
    results = Results(baseline_results, candidate_results, safety_baseline, safety_candidate)
    if dry_run:
        facts, text = run(rehearse(file, results, attempt))
        show_json(facts) if form is Form.JSON else show(text)
        return
    begun = run(begin(file, results, attempt))
    if not wait:
        show_json(begun.facts) if form is Form.JSON else show(begun.text)
        return
    tell(begun.text)
    ended = run(follow_to_end(begun.found, timeout))
    show_json(ended.facts) if form is Form.JSON else show(ended.text)
    leave(ended.code)


@click.command()
@click.argument("name", required=False, shell_complete=complete_release)
@click.option("-w", "--watch", is_flag=True, help="Follow it: redrawn on a terminal, else lines.")
@output_option
def status(name: str | None, form: Form, *, watch: bool) -> None:
    """Where release NAME is; without a name, the board of all releases."""
    from clients.looking import follow_board, follow_release, look_at_board, look_at_release

    if watch and form is Form.JSON:
        raise click.UsageError("--watch prints lines, not JSON. Next: drop --watch or --output")
    if not watch:
        run(look_at_board(form) if name is None else look_at_release(name, form))
    elif name is None:
        run(follow_board())
    else:
        leave(run(follow_release(name)))


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option("--reason", required=True, help="Why; it is recorded.")
@dry_run_option
@output_option
def pause(name: str, reason: str, form: Form, *, dry_run: bool) -> None:
    """Stop the climb of release NAME; the watch goes on, and a BREACH still rolls back."""
    from rampway.release.controls import Verb

    steer(name, Verb.PAUSE, reason, form, dry_run=dry_run)


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option("--reason", default="", help="Why; it is recorded.")
@dry_run_option
@output_option
def resume(name: str, reason: str, form: Form, *, dry_run: bool) -> None:
    """Let release NAME climb again."""
    from rampway.release.controls import Verb

    steer(name, Verb.RESUME, reason, form, dry_run=dry_run)


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option("--reason", default="", help="Why; it is recorded.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@output_option
def abort(name: str, reason: str, form: Form, *, yes: bool, dry_run: bool) -> None:
    """Send all traffic of release NAME's target back to the baseline, for good."""
    from clients.confirming import confirm_abort
    from rampway.release.controls import Verb

    confirm = partial(confirm_abort, name, yes=yes)
    steer(name, Verb.ABORT, reason, form, dry_run=dry_run, confirm=confirm)


@click.command()
@click.argument("name", shell_complete=complete_release)
@click.option("--gate", required=True, help="Whose verdict to let through.")
@click.option("--reason", required=True, help="Why; it is counted and published.")
@click.option("--ticket", required=True, help="Where it is reviewed.")
@click.option("--yes", is_flag=True, help="Do not ask for the name.")
@dry_run_option
@output_option
def override(
    name: str, gate: str, reason: str, ticket: str, form: Form, *, yes: bool, dry_run: bool
) -> None:
    """Let ONE verdict of release NAME through: INCONCLUSIVE or NO_DATA, never a BREACH."""
    from clients.confirming import confirm_override
    from clients.settings import actor
    from rampway.release.controls import OverrideCommand, Verb

    command = OverrideCommand(actor=actor(), reason=reason, gate=gate, ticket=ticket)

    confirm = partial(confirm_override, name, command, yes=yes)
    steer(name, Verb.OVERRIDE, reason, form, command=command, dry_run=dry_run, confirm=confirm)


def steer(
    name: str,
    verb: "Verb",
    reason: str,
    form: Form,
    *,
    dry_run: bool,
    command: "Command | None" = None,
    confirm: "Callable[[Progress | None], None] | None" = None,
) -> None:
    """Ask, print what became of it, and leave with its exit code."""
    from clients.settings import actor
    from rampway.release.controls import Command

    asked = command or Command(actor=actor(), reason=reason)
    told = run(_ask(name, verb, asked, confirm, dry_run=dry_run))
    if form is Form.JSON:
        show_json(told.facts(name, verb))
    elif told.result == "refused":
        tell(told.text)
    else:
        show(told.text)
    leave(told.code)


async def _ask(
    name: str,
    verb: "Verb",
    command: "Command",
    confirm: "Callable[[Progress | None], None] | None",
    *,
    dry_run: bool,
) -> "Answer":
    from clients.finding import find
    from clients.steering import (
        answer,
        answer_abort,
        ask_progress,
        judge,
        rehearsed,
        send,
        situation_at_end,
        situation_of,
        with_evidence,
    )
    from rampway.release.controls import Verb

    found = await find(name)
    if found.record is not None and found.record.phase.ended:
        ended = judge(verb, command, situation_at_end(found.record, reader_zone()))
        if ended is not None:
            return ended
    try:
        releases = await open_releases()
    except Failure as silent:
        at_once = f"At once, by hand: rampway gateway end {found.target} --reason …"
        raise Failure(f"{silent.message}\n{at_once}") from silent
    progress = await ask_progress(releases, found)
    command = with_evidence(command, progress)
    refused = judge(verb, command, situation_of(progress)) if progress else None
    if refused is not None:
        return refused
    if dry_run:
        return rehearsed(found, verb, progress)
    if confirm is not None:
        confirm(progress)
    sent = await send(releases, found, verb, command)
    if sent is None:
        return await _ended_meanwhile(found, verb, command)
    if verb is not Verb.ABORT:
        return await answer(releases, found, verb, sent)
    async with open_data_plane() as plane:
        return await answer_abort(releases, plane.traffic, found, sent)


async def _ended_meanwhile(found: "Found", verb: "Verb", command: "Command") -> "Answer":
    """The rules' answer to a command that came just after the end."""
    from clients.steering import judge, situation_at_end
    from clients.watching import final_record

    async with open_registry() as registry:
        record = await final_record(registry, found)
    ended = judge(verb, command, situation_at_end(record, reader_zone()))
    if ended is None:
        raise Failure(
            f"{found.name} does not run any more, and its record does not say how it ended. "
            "Next: rampway doctor"
        )
    return ended
