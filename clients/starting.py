"""Starts a release from release.yaml or plan.json, and follows it to its end."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clients.ci import write_outputs
from clients.exits import Exit, Failure
from clients.finding import Found, exit_of, find_in_record
from clients.opening import open_registry, open_releases, settings
from clients.output import tell
from clients.planfile import PlanFile, check_unmoved, is_plan_file, read_plan_file
from clients.releasing import (
    Draft,
    make_draft,
    make_order,
    pair_cases,
    read_text,
    start_release,
)
from clients.settings import actor
from rampway.reports.words import demo_mark, short

if TYPE_CHECKING:
    from pydantic import JsonValue

    from clients.client import Releases
    from rampway.gates.evidence import PairedCases
    from rampway.ports import Registry
    from rampway.release.orders import ReleaseOrder


@dataclass(frozen=True)
class Results:
    """The files of eval results that a start was given."""

    baseline: Path
    candidate: Path
    safety_baseline: Path | None = None
    safety_candidate: Path | None = None


@dataclass(frozen=True)
class Begun:
    """A release that is started, in words and for scripts."""

    found: Found
    text: str
    facts: "dict[str, JsonValue]"


@dataclass(frozen=True)
class Ended:
    """How a wait for a release ended."""

    text: str
    facts: "dict[str, JsonValue]"
    code: Exit


async def begin(file: Path, results: Results, attempt: int) -> Begun:
    """Start a release; starting it again is the same release."""
    async with open_registry() as registry:
        draft, plan = await read_draft(file, registry)
        return await launch(draft, await paired(draft, results), registry, attempt, plan)


async def launch(
    draft: Draft,
    cases: "PairedCases | None",
    registry: "Registry",
    attempt: int,
    plan: PlanFile | None = None,
) -> Begun:
    """Start the release of a draft; starting it again is the same release."""
    found = settings()
    releases = await open_releases()
    order = await make_order(
        draft,
        cases,
        registry,
        actor=actor(),
        environment=found.environment,
        attempt=attempt,
        report_url=found.report_url,
    )
    order = _with_acceptance(order, plan)
    is_new = await _started(order, registry, releases)
    release = await find_in_record(registry, order.header.release)
    phase = "OFFLINE_GATE" if is_new else await _phase(releases, release)
    write_outputs({"release_id": release.name, "report_url": order.report_url})
    return Begun(release, _begun_text(order, phase, is_new=is_new), _facts(order, phase, is_new))


async def rehearse(
    file: Path, results: Results, attempt: int
) -> "tuple[dict[str, JsonValue], str]":
    """Check everything that a start would check, and start nothing."""
    from rampway.gates.offline import weigh_offline
    from rampway.release.identity import release_name
    from rampway.reports.texts import offline_text

    async with open_registry() as registry:
        draft, _ = await read_draft(file, registry)
        cases = await paired(draft, results)
    verdict = weigh_offline(draft.plan.offline, cases)
    name = release_name(draft.spec.target, draft.identity(attempt))
    stages = ", ".join(stage.name for stage in draft.plan.watched)
    old, new = short(draft.standing.baseline.artifact), short(draft.artifact_digest)
    mark = demo_mark(draft.standing.target)
    text = (
        f"{mark}would start {name}: {old} to {new}, stages {stages}; nothing was started.\n"
        f"{offline_text(verdict)}"
    )
    facts: dict[str, JsonValue] = {
        "release": name,
        "id": draft.identity(attempt),
        "new": None,
        "dry_run": True,
        "baseline": draft.standing.baseline.artifact,
        "candidate": draft.artifact_digest,
        "offline_verdict": verdict.verdict.value,
    }
    return facts, text


async def follow_to_end(found: Found, seconds: float | None) -> Ended:
    """Tell each change on stderr until the release ends or the time is over."""
    from clients.dossiers import read_dossier
    from clients.screens import ended_text
    from clients.watching import final_record, follow
    from rampway.reports.sentences import headline

    releases = await open_releases()
    in_time = await follow(releases, found, say=tell, seconds=seconds)
    if not in_time:
        text = (
            f"{found.name} is still running after {seconds:g} s; it runs on. "
            f"Next: rampway status -w {found.name}"
        )
        return Ended(text, _end_facts(found.name, None, Exit.RUNNING), Exit.RUNNING)
    async with open_registry() as registry:
        record = await final_record(registry, found)
        dossier = await read_dossier(registry, record.header.release)
    code, outcome = exit_of(record), record.phase.value.lower()
    write_outputs({"outcome": outcome})
    return Ended(ended_text(record, headline(dossier)), _end_facts(found.name, outcome, code), code)


async def read_draft(file: Path, registry: "Registry") -> tuple[Draft, PlanFile | None]:
    """The draft of a release.yaml, or of the one that a plan.json holds to."""
    if not is_plan_file(file):
        return await make_draft(file, registry), None
    plan = read_plan_file(file, await read_text(file))
    draft = await make_draft(file.parent / plan.spec_path, registry)
    check_unmoved(plan, draft)
    return draft, plan


async def paired(draft: Draft, results: Results) -> "PairedCases":
    """The evals of both arms, case by case."""
    return await pair_cases(
        draft,
        results.baseline,
        results.candidate,
        results.safety_baseline,
        results.safety_candidate,
    )


def _with_acceptance(order: "ReleaseOrder", plan: PlanFile | None) -> "ReleaseOrder":
    """Keep in the header, for good, that somebody started what the traffic cannot decide."""
    if plan is None or plan.accepted is None:
        return order
    said = f"accepted by {plan.accepted.actor}: {plan.accepted.reason}"
    links = {**order.header.links, "underpowered": said}
    return order.model_copy(update={"header": order.header.model_copy(update={"links": links})})


async def _started(order: "ReleaseOrder", registry: "Registry", releases: "Releases") -> bool:
    from temporalio.service import RPCError

    try:
        return await start_release(order, registry, releases)
    except RPCError as refused:
        raise Failure(
            f"Temporal did not start {order.header.name}: {refused.message}. Next: rampway doctor"
        ) from refused


async def _phase(releases: "Releases", found: Found) -> str:
    from clients.steering import ask_progress

    if found.record is not None and found.record.phase.ended:
        return found.record.phase.value
    progress = await ask_progress(releases, found)
    if progress is not None:
        return progress.phase.value
    return found.record.phase.value if found.record else "PROPOSED"


def _begun_text(order: "ReleaseOrder", phase: str, *, is_new: bool) -> str:
    header = order.header
    name, mark = header.name, demo_mark(header.target)
    first = f"{mark}{name} started, {phase}." if is_new else f"{mark}{name} was started, {phase}."
    return (
        f"{first} Again returns the same release.\n"
        f"watch rampway status -w {name}    stop rampway abort {name}"
    )


def _facts(order: "ReleaseOrder", phase: str, is_new: bool) -> "dict[str, JsonValue]":  # noqa: FBT001 - a fact of the JSON
    header = order.header
    return {
        "release": header.name,
        "id": header.release,
        "workflow_id": header.workflow_id,
        "new": is_new,
        "phase": phase,
        "baseline": header.baseline.artifact,
        "candidate": header.candidate.artifact,
        "report_url": order.report_url,
        "kind": header.target.kind.value,
    }


def _end_facts(name: str, outcome: str | None, code: Exit) -> "dict[str, JsonValue]":
    return {"release": name, "outcome": outcome, "exit_code": int(code)}
