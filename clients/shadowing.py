"""Switches a shadow on and off: a release whose one stage copies, and that only reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clients.artifacts import read_artifact
from clients.exits import Exit, Failure
from clients.finding import Found, find_in_record
from clients.releasing import Draft
from clients.settings import actor
from rampway.ports import NotFound
from rampway.release.artifact import Artifact
from rampway.release.minimums import check_minimums
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.spec import Spec
from rampway.release.splits import Serve, Served
from rampway.reports.words import short

if TYPE_CHECKING:
    from pydantic import JsonValue

    from rampway.ports import Registry
    from rampway.release.records import Standing

CURRENT = "current"
DIGEST = "sha256:"
ATTEMPTS_MAX = 1_000


@dataclass(frozen=True)
class Wanted:
    """The shadow that somebody wants. `candidate` is a recorded artifact's digest, or a file."""

    target: str
    baseline: str
    candidate: str
    upstream: str | None
    rate: str
    time: str
    pairs: int | None = None
    latency_warning: str | None = None


async def draft_shadow(wanted: Wanted, registry: "Registry") -> Draft:
    """The release that shadows. Raises Failure (usage) for what cannot be started."""
    standing = await registry.target(wanted.target)
    _check_baseline(wanted, standing)
    candidate = await _candidate(wanted, registry)
    spec = _spec(wanted, candidate)
    shortfalls = check_minimums(spec, standing.target)
    if shortfalls:
        told = "; ".join(f"{'.'.join(map(str, one.path))} {one.message}" for one in shortfalls)
        raise Failure(f"{wanted.target} does not accept this shadow: {told}", Exit.USAGE)
    return Draft(
        spec=spec,
        standing=standing,
        artifact=candidate.artifact,
        plan=compile_plan(spec, standing.target),
        candidate=Served(artifact=candidate.artifact.digest, serve=candidate.serve),
        directory=Path(),
    )


async def next_attempt(draft: Draft, registry: "Registry") -> int:
    """The attempt that runs, or else one that was never made: a shadow that has ended begins anew."""
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            record = await registry.release(draft.identity(attempt))
        except NotFound:
            return attempt
        if not record.phase.ended:
            return attempt
    raise Failure(f"This shadow was started {ATTEMPTS_MAX} times. Next: give another --time")


async def find_shadow(target: str, registry: "Registry") -> Found:
    """The open shadow of a target, the one that was started first. Raises Failure without one."""
    await registry.target(target)
    others: list[str] = []
    opened = [one for one in await registry.releases(target) if not one.phase.ended]
    for record in sorted(opened, key=lambda one: one.header.started_at):
        plan = ReleasePlan.model_validate_json(await registry.get(record.header.plan))
        if not plan.exposes:
            return await find_in_record(registry, record.header.release)
        others.append(record.header.name)
    if others:
        raise Failure(
            f"No shadow runs on {target}, but {others[0]} does, which serves users. "
            f"Next: rampway abort {others[0]}"
        )
    raise Failure(f"No shadow runs on {target}. Next: rampway status")


def words(draft: Draft, name: str) -> str:
    """What a dry run says."""
    old, new = short(draft.standing.baseline.artifact), short(draft.artifact_digest)
    shadow = draft.plan.shadow
    rate = f"{shadow.rate_bp / 100:g} %" if shadow else "nothing"
    return f"would start {name}: {old} stays, {rate} copied to {new}; nothing was started."


@dataclass(frozen=True)
class _Candidate:
    artifact: Artifact
    serve: Serve


def _check_baseline(wanted: Wanted, standing: "Standing") -> None:
    live = standing.baseline.artifact
    if wanted.baseline not in {CURRENT, live}:
        raise Failure(
            f"refused [baseline moved]: {wanted.target} serves {live}, not {wanted.baseline}. "
            f"Next: --baseline {CURRENT}",
            Exit.USAGE,
        )


async def _candidate(wanted: Wanted, registry: "Registry") -> _Candidate:
    if wanted.candidate.startswith(DIGEST):
        artifact = await _recorded(wanted.candidate, registry)
        served = await _served_before(wanted.target, artifact.digest, registry)
    else:
        described = await read_artifact(Path(wanted.candidate))
        artifact, served = described.artifact, described.serve
    if wanted.upstream is not None:
        known = served or Serve(upstream=wanted.upstream)
        served = known.model_copy(update={"upstream": wanted.upstream})
    if served is None:
        raise Failure(
            f"Nothing tells what serves {short(artifact.digest)} on {wanted.target}. "
            "Next: give --upstream, the gateway's name for it",
            Exit.USAGE,
        )
    return _Candidate(artifact, served)


async def _recorded(digest: str, registry: "Registry") -> Artifact:
    try:
        return Artifact.model_validate(await registry.artifact(digest))
    except NotFound as missing:
        raise Failure(
            f"No artifact {digest} is recorded. Next: name the file that describes it", Exit.USAGE
        ) from missing


async def _served_before(target: str, digest: str, registry: "Registry") -> Serve | None:
    """How the target's last release with this artifact served it."""
    records = sorted(await registry.releases(target), key=lambda one: one.header.started_at)
    for record in reversed(records):
        for served in (record.header.candidate, record.header.baseline):
            if served.artifact == digest:
                return served.serve
    return None


def _spec(wanted: Wanted, candidate: _Candidate) -> Spec:
    """What a release.yaml would say. Raises Failure (usage), naming the option that is wrong."""
    from pydantic import ValidationError

    until: dict[str, JsonValue] = {"time": wanted.time}
    if wanted.pairs is not None:
        until["pairs"] = wanted.pairs
    shadow: dict[str, JsonValue] = {"rate": wanted.rate, "until_any": until}
    if wanted.latency_warning is not None:
        shadow["latency_warning"] = wanted.latency_warning
    asked: dict[str, JsonValue] = {
        "target": wanted.target,
        "owner": actor(),
        "candidate": _told(candidate.artifact),
        "serve": candidate.serve.model_dump(mode="json"),
        "offline": {},
        "stages": ["shadow"],
        "shadow": shadow,
        "on_pass": "report",
    }
    try:
        return Spec.model_validate(asked)
    except ValidationError as wrong:
        told = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in wrong.errors()
        )
        raise Failure(f"This shadow cannot be started: {told}", Exit.USAGE) from wrong


def _told(artifact: Artifact) -> "dict[str, JsonValue]":
    content = artifact.content
    prompt = content.get("prompt")
    return content if prompt is None else {**content, "prompt": {"text": prompt}}
