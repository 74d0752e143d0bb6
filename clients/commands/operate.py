"""What keeps Rampway running: target, doctor, worker, gateway, judge, completion, exit-codes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.completing import complete_target
from clients.exits import Exit, Failure, leave
from clients.opening import (
    connect_temporal,
    open_data_plane,
    open_registry,
    registry_exists,
    run,
    settings,
)
from clients.output import (
    Form,
    dry_run_option,
    output_option,
    show,
    show_json,
    tell,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from clients.findings import Check
    from rampway.release.records import Target
    from rampway.release.splits import Observed, Serve, Served

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHELLS = ("bash", "zsh", "fish")
MEANINGS = {
    Exit.OK: "ok: done, or the release was promoted",
    Exit.ERROR: "error: something failed or was refused; the sentence says what to do",
    Exit.USAGE: "usage: the command line or a file is wrong; nothing was started",
    Exit.STOPPED: "stopped: a gate failed, rolled back, aborted, or the record is tampered with",
    Exit.IDENTITY: "identity: refused for who you are",
    Exit.INCONCLUSIVE: "inconclusive: the evidence does not decide",
    Exit.RUNNING: "still running, or the outcome is unknown",
    Exit.INTERRUPTED: "Ctrl-C: what was started runs on",
}


@click.group()
def target() -> None:
    """The endpoints that releases go to."""


@target.command()
@click.argument("name")
@click.option(
    "--artifact",
    "file",
    type=FILE,
    required=True,
    help="What it serves today: a release.yaml, or a file of prompt, model, parameters, tools.",
)
@click.option("--upstream", help="The gateway's name for what serves it [serve.upstream of FILE].")
@click.option("--field", "fields", multiple=True, metavar="NAME=JSON", help="Set in each request.")
@click.option(
    "--header", "headers", multiple=True, metavar="NAME=VALUE", help="Set on each request."
)
@click.option("--config", type=FILE, help="kind, team, times and minimums, as YAML.")
@click.option("--kind", type=click.Choice(["production", "demo"]), help="demo allows seconds.")
@click.option("--team", help="Who owns it.")
@click.option("--slice", "slice_seconds", type=float, help="Seconds of a slice of counts.")
@dry_run_option
@output_option
def add(  # the parameters are the options
    name: str,
    file: Path,
    upstream: str | None,
    fields: tuple[str, ...],
    headers: tuple[str, ...],
    config: Path | None,
    kind: str | None,
    team: str | None,
    slice_seconds: float | None,
    form: Form,
    *,
    dry_run: bool,
) -> None:
    """Register target NAME and the baseline it serves, with the record and the gateway."""
    given: dict[str, JsonValue] = {"kind": kind, "team": team, "slice_seconds": slice_seconds}
    options: dict[str, JsonValue] = {k: value for k, value in given.items() if value is not None}
    serving = (upstream, _fields(fields), _headers(headers))
    added, baseline = run(_add(name, file, config, options, serving, dry_run=dry_run))
    if form is Form.JSON:
        facts: dict[str, JsonValue] = added.model_dump(mode="json")
        show_json({**facts, "baseline": baseline.model_dump(mode="json"), "dry_run": dry_run})
        return
    done = "would be registered; nothing was written" if dry_run else "registered"
    upstream_name = baseline.serve.upstream
    show(f"{name} {done}: {added.kind} target, baseline {baseline.artifact[:19]}, {upstream_name}.")


async def _add(
    name: str,
    file: Path,
    config: Path | None,
    options: "dict[str, JsonValue]",
    serving: "tuple[str | None, dict[str, JsonValue], dict[str, str]]",
    *,
    dry_run: bool,
) -> "tuple[Target, Served]":
    from clients.artifacts import read_artifact
    from clients.targets import check_new, checked, read_target, register
    from rampway.release.splits import Served

    described = await read_artifact(file)
    baseline = Served(artifact=described.artifact.digest, serve=_serve(described.serve, serving))
    base = await read_target(config, name) if config else checked({"name": name}, name)
    added = checked({**base.model_dump(mode="json"), **options}, name)
    if dry_run and not registry_exists():
        return added, baseline
    async with open_registry(create=True) as registry, open_data_plane() as plane:
        if dry_run:
            await check_new(registry, added, baseline)
        else:
            await register(registry, plane.traffic, added, baseline, described.artifact)
    return added, baseline


def _serve(
    described: "Serve | None", serving: "tuple[str | None, dict[str, JsonValue], dict[str, str]]"
) -> "Serve":
    """How the baseline is served: the options, over what its file says."""
    from pydantic import ValidationError

    from rampway.release.splits import Serve

    upstream, fields, headers = serving
    named = upstream or (described.upstream if described else None)
    if named is None:
        raise click.UsageError("The file does not say what serves it. Next: give --upstream")
    try:
        return Serve(
            upstream=named,
            fields={**(described.fields if described else {}), **fields},
            headers={**(described.headers if described else {}), **headers},
        )
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise click.UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from wrong


def _fields(given: tuple[str, ...]) -> "dict[str, JsonValue]":
    import json

    fields: dict[str, JsonValue] = {}
    for name, text in map(_named, given):
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text  # a bare word is text, so that --field model=v5 needs no quotes
    return fields


def _headers(given: tuple[str, ...]) -> dict[str, str]:
    return dict(map(_named, given))


def _named(given: str) -> tuple[str, str]:
    name, found, value = given.partition("=")
    if not found or not name:
        raise click.UsageError(f"{given!r} is not NAME=VALUE")
    return name, value


@target.command("list")
@output_option
def list_targets(form: Form) -> None:
    """All registered targets."""
    from clients.targets import list_text

    async def work() -> None:
        async with open_registry() as registry:
            standings = list(await registry.targets())
        if form is Form.JSON:
            show_json({"targets": [standing.model_dump(mode="json") for standing in standings]})
        else:
            show(list_text(standings))

    run(work())


@target.command("show")
@click.argument("name", shell_complete=complete_target)
@output_option
def show_target(name: str, form: Form) -> None:
    """What target NAME serves, demands and does now."""
    run(_show_target(name, form))


async def _show_target(name: str, form: Form) -> None:
    from clients.targets import show_text
    from rampway.ports import Unreachable
    from rampway.release.splits import Refused

    observed: Observed | None = None
    silence = ""
    async with open_registry() as registry, open_data_plane() as plane:
        standing = await registry.target(name)
        try:
            observed = await plane.traffic.observe(name)
        except (Refused, Unreachable) as missing:
            silence = str(missing)
    if form is Form.TABLE:
        show(show_text(standing, observed, silence))
        return
    facts: dict[str, JsonValue] = standing.model_dump(mode="json")
    show_json({**facts, "observed": observed.model_dump(mode="json") if observed else None})


@click.command()
@click.option("--target", "name", help="Ask about this target only.")
@click.option("--installation", is_flag=True, help="Only what needs no running part.")
@click.option("--fix", type=click.Choice(["search-attributes"]), help="Mend this.")
@output_option
def doctor(name: str | None, fix: str | None, form: Form, *, installation: bool) -> None:
    """Check every part that a release needs; exit 1 when one is missing."""
    from clients.checks import check_everything
    from clients.findings import State
    from clients.installation import check_installation

    if fix is not None:
        run(_register_attributes())
    checks = run(check_installation(demo=True) if installation else check_everything(name))
    sound = all(check.state is State.OK for check in checks)
    if form is Form.JSON:
        show_json(
            {
                "ok": sound,
                "checks": [
                    {
                        "name": check.name,
                        "state": check.state.name.lower(),
                        "detail": check.detail,
                        "remedy": check.remedy or None,
                    }
                    for check in checks
                ],
            }
        )
    else:
        show(doctor_text(checks))
    if not sound:
        leave(Exit.ERROR)


async def _register_attributes() -> None:
    from temporalio.service import RPCError

    from clients.checks import register_attributes

    client = await connect_temporal()
    try:
        added = await register_attributes(client)
    except RPCError as refused:
        raise Failure(f"Temporal did not register them: {refused.message}") from refused
    tell(f"Registered: {', '.join(added)}." if added else "All search attributes are registered.")


def doctor_text(checks: "list[Check]") -> str:
    """What is wrong first, each with its remedy; then all that is well."""
    import textwrap

    from clients.findings import State
    from rampway.reports.words import WIDTH, shorten

    failing = [check for check in checks if check.state is State.FAIL]
    absent = [check for check in checks if check.state is State.ABSENT]
    unasked = [check for check in checks if check.state is State.UNASKED]
    well = [check for check in checks if check.state is State.OK]
    width = max(len(check.name) for check in checks)
    lines = [_doctor_answer(len(checks), failing, absent, unasked)]
    for check in failing:
        lines += [_doctor_line(check, width), f"      remedy: {check.remedy}"]
    lines += [_doctor_line(check, width) for check in absent]
    lines += [f"      remedy: {remedy}" for remedy in dict.fromkeys(c.remedy for c in absent)]
    lines += [_doctor_line(check, width) for check in unasked]
    names = ", ".join(check.name for check in well)
    lines += textwrap.wrap(names, WIDTH, initial_indent="ok    ", subsequent_indent="      ")
    return "\n".join(shorten(line, WIDTH) for line in lines)


def _doctor_line(check: "Check", width: int) -> str:
    return f"{check.state:<4}  {check.name:<{width}}  {check.detail}"


def _doctor_answer(
    count: int, failing: "list[Check]", absent: "list[Check]", unasked: "list[Check]"
) -> str:
    if not (failing or absent or unasked):
        return f"All {count} checks pass."
    parts = [f"{len(failing)} fail{'s' if len(failing) == 1 else ''}"] if failing else []
    parts += [f"{len(absent)} not set up"] if absent else []
    parts += [f"{len(unasked)} not asked"] if unasked else []
    return f"Of {count} checks {', '.join(parts)}; no release can start."


@click.command()
def worker() -> None:
    """Run a worker until SIGTERM; it carries releases."""
    from rampway.adapters.registry_sql import NewerSchema
    from rampway.ports import Unreachable
    from workers.connection import TemporalUnreachable
    from workers.main import main

    settings()  # a local stack's addresses, where the environment names none
    try:
        main()
    except (NewerSchema, TemporalUnreachable, Unreachable) as missing:
        raise Failure(str(missing)) from missing


@click.group(invoke_without_command=True)
@click.pass_context
def gateway(context: click.Context) -> None:
    """Run the gateway that RAMPWAY_GATEWAY_CONFIG describes; `gateway end` stops a split by hand."""
    if context.invoked_subcommand is not None:
        return
    from rampway.gateway.main import main

    main()


@gateway.command()
@click.argument("name", metavar="TARGET", shell_complete=complete_target)
@click.option("--reason", required=True, help="Why; the gateway and the record keep it.")
@click.option("--undo-promotion", is_flag=True, help="Bring the baseline before a promotion back.")
@dry_run_option
@output_option
def end(name: str, reason: str, form: Form, *, undo_promotion: bool, dry_run: bool) -> None:
    """Send all of TARGET to its baseline now, without Temporal; its release then rolls back."""
    from clients.ending import end_split

    ended = run(end_split(name, reason, undo_promotion=undo_promotion, dry_run=dry_run))
    if form is Form.JSON:
        show_json(ended.facts)
    else:
        show(ended.text)
    leave(ended.code)


@gateway.command()
@click.argument("name", metavar="TARGET", shell_complete=complete_target)
@click.option("--unit", required=True, help="The user, session or request; - reads it from stdin.")
@dry_run_option
@output_option
def forget(name: str, unit: str, form: Form, *, dry_run: bool) -> None:
    """Erase what TARGET's traffic log, answers and spool hold of one unit."""
    from clients.forgetting import forget_unit, told_unit

    forgotten = run(forget_unit(name, told_unit(unit), dry_run=dry_run))
    if form is Form.JSON:
        show_json(forgotten.facts)
    else:
        show(forgotten.text)


@click.command()
def judge() -> None:
    """Run the judge that RAMPWAY_JUDGE_CONFIG describes until SIGTERM."""
    from rampway.judge.main import main

    click.get_current_context().exit(main())


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, to be sourced by it."""
    from click.shell_completion import get_completion_class

    from clients.main import rampway

    script = get_completion_class(shell)
    if script is None:
        raise Failure(f"There is no completion for {shell}.")
    click.echo(script(rampway, {}, "rampway", "_RAMPWAY_COMPLETE").source())


@click.command("exit-codes")
@output_option
def exit_codes(form: Form) -> None:
    """What each exit code means; scripts may rely on them."""
    if form is Form.JSON:
        show_json({str(int(code)): meaning for code, meaning in MEANINGS.items()})
        return
    show("\n".join(f"{int(code):>3}  {meaning}" for code, meaning in MEANINGS.items()))
    sys.stdout.flush()
