"""What an author works with: init, validate, schema, artifact and plan."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clients.exits import Exit, Failure, leave
from clients.opening import open_data_plane, open_registry, registry_exists, run
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

    from clients.forecasts import Outlook
    from clients.planfile import Accepted, PlanFile
    from clients.releasing import Draft
    from rampway.ports import Registry
    from rampway.release.forecast import Forecast
    from rampway.release.spec import Spec
    from rampway.release.specfile import SpecError

SPEC_NAME = "release.yaml"
SCHEMA_PATH = Path(".rampway") / "release.schema.json"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write it [here].",
)
@click.option(
    "--policy",
    type=click.Choice(["mission", "thresholds", "ab-48h"]),
    default="mission",
    show_default=True,
    help="How the release is decided: each number is explained in the file.",
)
def init(directory: Path, policy: str) -> None:
    """Write a release.yaml to start from, and its schema for editors."""
    from rampway.release.policies import Policy
    from rampway.release.template import init_spec

    chosen = Policy(policy)
    spec, editor_schema = directory / SPEC_NAME, directory / SCHEMA_PATH
    if spec.exists():
        raise Failure(f"{spec} exists; it was left as it is. Next: rampway validate {spec}")
    write_new(spec, init_spec(chosen))
    if not editor_schema.exists():
        write_new(editor_schema, _schema_text())
    show(
        f"{spec} and {editor_schema} written. {chosen}: {chosen.means}.\n"
        f"Next: name your target, candidate and cases, then rampway validate {spec}"
    )


def write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet. Raises Failure naming it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as failed:
        raise Failure(f"{path} cannot be written: {failed.strerror}") from failed


@click.command()
@click.argument("file", type=FILE, default=Path(SPEC_NAME))
@output_option
def validate(file: Path, form: Form) -> None:
    """Check FILE (release.yaml); every error at once."""
    spec, errors, notes = run(_validated(file))
    if form is Form.JSON:
        show_json({"valid": not errors, "errors": [_error_facts(e) for e in errors]})
    elif errors:
        from rampway.release.specfile import SpecErrors

        show(str(SpecErrors(file.name, errors)))
    elif spec is not None:
        show(f"{file.name} is valid: {spec.target}, {_stages(spec)}.")
    for note in notes:
        tell(note)
    if errors:
        _annotate(errors, form)
        leave(Exit.USAGE)


async def _validated(file: Path) -> "tuple[Spec | None, tuple[SpecError, ...], list[str]]":
    """The spec or every error in it, and what could not be checked here."""
    from clients.metric_selectors import metric_errors
    from clients.releasing import read_text
    from rampway.ports import NotFound
    from rampway.release.minimums import check_minimums
    from rampway.release.specfile import SpecErrors, locate_shortfalls, parse_spec

    text = await read_text(file)
    try:
        spec = parse_spec(text, filename=file.name)
    except SpecErrors as wrong:
        return None, wrong.errors, []
    unreadable = metric_errors(spec, text, filename=file.name)
    if unreadable:
        return None, unreadable, []
    unchecked = f"{spec.target} is not registered here, so its minimums were not checked."
    if not registry_exists():
        return spec, (), [unchecked, *_missing_files(spec, file.parent)]
    async with open_registry() as registry:
        try:
            standing = await registry.target(spec.target)
        except NotFound:
            return spec, (), [unchecked, *_missing_files(spec, file.parent)]
    shortfalls = check_minimums(spec, standing.target)
    located = locate_shortfalls(shortfalls, text, filename=file.name)
    return spec, located, _missing_files(spec, file.parent)


def _stages(spec: "Spec") -> str:
    """`steps 1, 5, 25, 100 %`, or the stages of a release that only reports."""
    if not spec.climbs:
        return f"{', '.join(spec.planned)} and a report"
    steps = ", ".join(str(step.share) for step in spec.canary.steps)
    return f"steps {steps} %" + (", an A/B before the last" if spec.parts > len(spec.steps) else "")


def _missing_files(spec: "Spec", directory: Path) -> list[str]:
    """Files that the spec names and that are not there yet; a release needs them to start."""
    prompt, safety = spec.candidate.prompt, spec.offline.safety
    named = [prompt.file if prompt else None, spec.offline.cases, safety.cases if safety else None]
    return [
        f"{path} is not there yet." for path in named if path and not (directory / path).exists()
    ]


def _error_facts(error: "SpecError") -> "dict[str, JsonValue]":
    return {
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "path": error.path,
        "message": error.message,
        "suggestion": error.suggestion,
    }


def _annotate(errors: "tuple[SpecError, ...]", form: Form) -> None:
    """Errors beside the changed lines of a pull request, where GitHub Actions reads them."""
    from rampway.release.specfile import as_annotations

    if os.environ.get("GITHUB_ACTIONS") == "true":
        say = tell if form is Form.JSON else click.echo
        for annotation in as_annotations(errors):
            say(annotation)


@click.command()
def schema() -> None:
    """Print the JSON Schema of release.yaml, for editors."""
    click.echo(_schema_text(), nl=False)


def _schema_text() -> str:
    import json

    from rampway.release.spec import Spec

    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Spec.model_json_schema(),
        "title": "release.yaml of Rampway",
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


@click.group()
def artifact() -> None:
    """What a release.yaml puts on trial."""


@artifact.command()
@click.argument("file", type=FILE, default=Path(SPEC_NAME))
@output_option
def digest(file: Path, form: Form) -> None:
    """Digest of the artifact that FILE names: the same bytes of behaviour, the same digest."""
    from clients.artifacts import read_artifact

    found = run(read_artifact(file)).artifact
    if form is Form.JSON:
        show_json({"digest": found.digest, "content": found.content})
    else:
        click.echo(found.digest)


@click.command()
@click.argument("file", type=FILE, default=Path(SPEC_NAME))
@click.option(
    "--rps",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests per second of the target [read live from the gateway].",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("plan.json"),
    show_default=True,
    help="Where to write the plan for `rampway start`.",
)
@click.option(
    "--judge-sd",
    type=click.FloatRange(min=0, min_open=True),
    help="How much paired judge scores differ, in standard deviations of one score, if known.",
)
@click.option("--accept-underpowered", is_flag=True, help="Plan what this traffic cannot decide.")
@click.option("--reason", help="Why that is accepted; it is recorded.")
@dry_run_option
@output_option
def plan(
    file: Path,
    rps: float | None,
    judge_sd: float | None,
    out: Path,
    reason: str | None,
    form: Form,
    *,
    accept_underpowered: bool,
    dry_run: bool,
) -> None:
    """Steps, holds and durations of FILE, and what this traffic can decide; exit 5 if it cannot."""
    from clients.planfile import Accepted
    from clients.settings import actor

    if accept_underpowered and not (reason or "").strip():
        raise click.UsageError("--accept-underpowered is recorded, so it needs a --reason")
    accepted = Accepted(actor=actor(), reason=reason or "") if accept_underpowered else None
    run(_plan(file, rps, judge_sd, None if dry_run else out, form, accepted))


async def _plan(
    file: Path,
    rps: float | None,
    judge_sd: float | None,
    out: Path | None,
    form: Form,
    accepted: "Accepted | None",
) -> None:
    from clients.forecasts import look_ahead, outlook_text
    from clients.loads import measure_load
    from clients.planfile import write_plan
    from clients.releasing import make_draft

    async with open_registry() as registry, open_data_plane() as plane:
        draft = await make_draft(file, registry)
        load = await measure_load(draft.plan, plane.traffic, plane.evidence)
        changes = await _changes(draft, registry)
    rate = rps or load.requests_per_second
    if rate is None:
        raise click.UsageError(
            f"The gateway tells no rate of traffic for {draft.spec.target} ({load.words}). "
            "Next: give --rps, its requests per second"
        )
    outlook = look_ahead(
        draft.plan,
        draft.spec,
        draft.standing.target,
        load,
        requests_per_second=rate,
        judge_sd=judge_sd,
    )
    written = out if outlook.decides or accepted else None
    if written is not None:
        planned = await _planned(
            written, file, draft, outlook.told, None if outlook.decides else accepted
        )
        write_plan(written, planned)
    if form is Form.JSON:
        show_json(_plan_facts(draft, outlook, written))
    else:
        show(outlook_text(outlook, diff=changes))
        if written is not None:
            named = draft.plan.name
            show(f"plan {named} written to {written}    Next: rampway start {written}")
    if not outlook.decides and accepted is None:
        leave(Exit.INCONCLUSIVE)


async def _changes(draft: "Draft", registry: "Registry") -> tuple[str, ...]:
    """What differs from the baseline, where the record has the baseline's content."""
    from clients.forecasts import DIFF_LINES
    from rampway.ports import NotFound
    from rampway.release.artifact import Artifact, diff

    try:
        content = await registry.artifact(draft.standing.baseline.artifact)
    except NotFound:
        return ("the baseline's content is not in the record",)
    lines = diff(Artifact.model_validate(content), draft.artifact)
    if not lines:
        return ("nothing: the candidate is the baseline",)
    more = (f"and {len(lines) - DIFF_LINES} lines more",) if len(lines) > DIFF_LINES else ()
    return (*lines[:DIFF_LINES], *more)


async def _planned(
    out: Path, file: Path, draft: "Draft", told: "Forecast", accepted: "Accepted | None"
) -> "PlanFile":
    from clients.planfile import PlanFile, spec_path_from
    from clients.releasing import read_text

    return PlanFile(
        target=draft.spec.target,
        spec_path=spec_path_from(out, file),
        spec_text=await read_text(file),
        spec=draft.spec.digest,
        baseline=draft.standing.baseline.artifact,
        candidate=draft.artifact_digest,
        plan=draft.plan.digest,
        requests_per_second=told.requests_per_second,
        decidable=told.decidable.value,
        accepted=accepted,
    )


def _plan_facts(draft: "Draft", outlook: "Outlook", written: Path | None) -> "dict[str, JsonValue]":
    from clients.proposing import change_lines

    finds, proposal = outlook.finds, outlook.proposal
    return {
        "target": draft.spec.target,
        "kind": draft.standing.target.kind.value,
        "plan": draft.plan.digest,
        "baseline": draft.standing.baseline.artifact,
        "candidate": draft.artifact_digest,
        "can_decide": outlook.decides,
        "load": outlook.load.words,
        "forecast": outlook.told.model_dump(mode="json"),
        "finds": finds.model_dump(mode="json") if finds else None,
        "proposal": proposal.model_dump(mode="json") if proposal else None,
        "suggestion": list(change_lines(proposal, outlook.told)),
        "volumes": [volume.model_dump(mode="json") for volume in outlook.volumes],
        "written": str(written) if written else None,
    }
