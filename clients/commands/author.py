"""What an author works with: init, validate, schema, artifact, plan and eval."""

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

    from clients.forecasts import Load
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
def init(directory: Path) -> None:
    """Write a release.yaml to start from, and its schema for editors."""
    from rampway.release.template import init_spec

    spec, editor_schema = directory / SPEC_NAME, directory / SCHEMA_PATH
    if spec.exists():
        raise Failure(f"{spec} exists; it was left as it is. Next: rampway validate {spec}")
    write_new(spec, init_spec())
    if not editor_schema.exists():
        write_new(editor_schema, _schema_text())
    show(
        f"{spec} and {editor_schema} written: the steps and gates are the defaults.\n"
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
        steps = ", ".join(str(step.share) for step in spec.canary.steps)
        show(f"{file.name} is valid: {spec.target}, steps {steps} %.")
    for note in notes:
        tell(note)
    if errors:
        _annotate(errors, form)
        leave(Exit.USAGE)


async def _validated(file: Path) -> "tuple[Spec | None, tuple[SpecError, ...], list[str]]":
    """The spec or every error in it, and what could not be checked here."""
    from clients.releasing import read_text
    from rampway.ports import NotFound
    from rampway.release.minimums import check_minimums
    from rampway.release.specfile import SpecErrors, locate_shortfalls, parse_spec

    text = await read_text(file)
    try:
        spec = parse_spec(text, filename=file.name)
    except SpecErrors as wrong:
        return None, wrong.errors, []
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
@click.option("--accept-underpowered", is_flag=True, help="Plan what this traffic cannot decide.")
@click.option("--reason", help="Why that is accepted; it is recorded.")
@dry_run_option
@output_option
def plan(
    file: Path,
    rps: float | None,
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
    run(_plan(file, rps, None if dry_run else out, form, accepted))


async def _plan(
    file: Path, rps: float | None, out: Path | None, form: Form, accepted: "Accepted | None"
) -> None:
    from clients.forecasts import can_decide, forecast_text, measure_load, suggest
    from clients.planfile import write_plan
    from clients.releasing import make_draft
    from rampway.release.forecast import forecast

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
    told = forecast(draft.plan, requests_per_second=rate, baseline=load.rates)
    decides = can_decide(told)
    target = draft.standing.target
    change = () if decides else suggest(draft.spec, target, load, rate)
    written = out if decides or accepted else None
    if written is not None:
        planned = await _planned(written, file, draft, told, None if decides else accepted)
        write_plan(written, planned)
    if form is Form.JSON:
        show_json(_plan_facts(draft, told, load, written, change))
    else:
        show(forecast_text(draft.plan, told, load, target=target, change=change, diff=changes))
        if written is not None:
            named = draft.plan.name
            show(f"plan {named} written to {written}    Next: rampway start {written}")
    if not decides and accepted is None:
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


def _plan_facts(
    draft: "Draft", told: "Forecast", load: "Load", written: Path | None, change: tuple[str, ...]
) -> "dict[str, JsonValue]":
    from clients.forecasts import can_decide

    return {
        "target": draft.spec.target,
        "kind": draft.standing.target.kind.value,
        "plan": draft.plan.digest,
        "baseline": draft.standing.baseline.artifact,
        "candidate": draft.artifact_digest,
        "can_decide": can_decide(told),
        "load": load.words,
        "forecast": told.model_dump(mode="json"),
        "suggestion": list(change),
        "written": str(written) if written else None,
    }


@click.command("eval")
@click.argument("baseline", type=FILE)
@click.argument("candidate", type=FILE)
@click.option("--cluster", help="The column of cases that are not independent.")
@click.option("--safety-baseline", type=FILE, help="Safety cases, answered by the baseline.")
@click.option("--safety-candidate", type=FILE, help="The same, by the candidate.")
@click.option("--spec", type=FILE, help="The release.yaml whose settings and candidate these are.")
@output_option
def evaluate(
    baseline: Path,
    candidate: Path,
    cluster: str | None,
    safety_baseline: Path | None,
    safety_candidate: Path | None,
    spec: Path | None,
    form: Form,
) -> None:
    """The offline gate on two files of eval results; exit 0 PASS, 3 BREACH, 5 INCONCLUSIVE."""
    from clients.ci import write_summary
    from clients.evals import EvalFiles, weigh_files

    if spec is not None and cluster is not None:
        raise click.UsageError("--spec names the cluster itself. Next: drop --cluster")
    files = EvalFiles(baseline, candidate, cluster, safety_baseline, safety_candidate)
    weighed = run(weigh_files(files, spec))
    if form is Form.JSON:
        facts = weighed.verdict.model_dump(mode="json")
        show_json({**facts, "recorded": weighed.recorded, "exit_code": int(weighed.code)})
    else:
        show(weighed.text)
    write_summary(weighed.markdown)
    leave(weighed.code)


eval = evaluate  # noqa: A001 - the verb's name; the module's commands are looked up by it
