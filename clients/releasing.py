"""From a release.yaml to a started release: resolve, check, compile, store, start."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clients.exits import Exit, Failure
from clients.metric_selectors import metric_errors
from rampway.adapters.evals_files import EvalFileError, Incomparable, PairedEvals, pair_evals
from rampway.gates.evidence import PairedCases
from rampway.gates.facts import Fact, canonical
from rampway.ports import NotFound, Registry
from rampway.release.artifact import Artifact, bundle
from rampway.release.identity import release_id, release_name, workflow_id
from rampway.release.minimums import check_minimums
from rampway.release.orders import ReleaseOrder
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.records import Header, Standing
from rampway.release.spec import Spec
from rampway.release.specfile import SpecErrors, locate_shortfalls, parse_spec
from rampway.release.splits import Serve, Served

if TYPE_CHECKING:
    from clients.client import Releases

TEXT_BYTES_MAX = 256 * 1024


@dataclass(frozen=True)
class Draft:
    """A release that is resolved and checked, but not stored and not started."""

    spec: Spec
    standing: Standing
    artifact: Artifact
    plan: ReleasePlan
    candidate: Served
    directory: Path

    @property
    def artifact_digest(self) -> str:
        """The candidate's digest."""
        return self.candidate.artifact

    def identity(self, attempt: int) -> str:
        """The release id that this draft has as its n-th attempt."""
        return release_id(self.spec.target, self.artifact_digest, self.spec.digest, attempt)


async def make_draft(path: Path, registry: Registry) -> Draft:
    """Read and check a release.yaml against its target.

    Raises Failure (usage) with every error at once, and names the target that is not registered.
    """
    text = await read_text(path)
    spec = _parsed(text, path)
    unreadable = metric_errors(spec, text, filename=path.name)
    if unreadable:
        raise Failure(str(SpecErrors(path.name, unreadable)), Exit.USAGE)
    try:
        standing = await registry.target(spec.target)
    except NotFound as missing:
        raise Failure(str(missing), Exit.USAGE) from missing
    shortfalls = check_minimums(spec, standing.target)
    if shortfalls:
        located = locate_shortfalls(shortfalls, text, filename=path.name)
        raise Failure(str(SpecErrors(path.name, located)), Exit.USAGE)
    if spec.baseline not in {"current", standing.baseline.artifact}:
        raise Failure(
            f"refused [baseline moved]: {spec.target} serves {standing.baseline.artifact[:19]}, "
            f"the spec names {spec.baseline[:19]}. Next: write baseline: current, or eval again",
            Exit.USAGE,
        )
    artifact = bundle(spec.candidate, prompt=await _prompt_text(spec, path.parent))
    serve = Serve(
        upstream=spec.serve.upstream, fields=spec.serve.fields, headers=dict(spec.serve.headers)
    )
    return Draft(
        spec=spec,
        standing=standing,
        artifact=artifact,
        plan=compile_plan(spec, standing.target),
        candidate=Served(artifact=artifact.digest, serve=serve),
        directory=path.parent,
    )


def _parsed(text: str, path: Path) -> Spec:
    try:
        return parse_spec(text, filename=path.name)
    except SpecErrors as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong


async def read_text(path: Path) -> str:
    """A text file of ours, bounded. Raises Failure (usage) when it cannot be read."""
    try:
        return await asyncio.to_thread(_read_bounded, path)
    except (OSError, UnicodeDecodeError) as unreadable:
        raise Failure(f"{path} cannot be read: {unreadable}", Exit.USAGE) from unreadable


def _read_bounded(path: Path) -> str:
    with path.open("rb") as file:
        body = file.read(TEXT_BYTES_MAX + 1)
    if len(body) > TEXT_BYTES_MAX:
        raise Failure(f"{path} has more than {TEXT_BYTES_MAX:,} bytes", Exit.USAGE)
    return body.decode()


async def _prompt_text(spec: Spec, directory: Path) -> str | None:
    prompt = spec.candidate.prompt
    if prompt is None or prompt.file is None:
        return None
    return await read_text(directory / prompt.file)


async def pair_cases(
    draft: Draft,
    baseline_results: Path,
    candidate_results: Path,
    safety_baseline: Path | None = None,
    safety_candidate: Path | None = None,
) -> PairedCases:
    """Pair two files of eval results for this draft's artifacts.

    Raises Failure: usage for a file that is wrong, stopped for results that cannot be compared.
    """
    try:
        paired = await pair_results(
            draft,
            ResultFiles(baseline_results, candidate_results, safety_baseline, safety_candidate),
        )
    except Incomparable as differs:
        raise Failure(f"INCOMPARABLE: {differs}", Exit.STOPPED) from differs
    return paired.cases


@dataclass(frozen=True)
class ResultFiles:
    """Files of eval results; a part is one prompt, provider or task of a file that has several."""

    baseline: Path
    candidate: Path
    safety_baseline: Path | None = None
    safety_candidate: Path | None = None
    baseline_part: str | None = None
    candidate_part: str | None = None
    scorer: str | None = None


async def pair_results(draft: Draft, files: ResultFiles) -> PairedEvals:
    """Pair files of eval results for this draft's artifacts, with what people read beside it.

    Raises Failure (usage) for a file that is wrong, Incomparable for results that measure two things.
    """
    if draft.spec.offline.safety is not None and (
        files.safety_baseline is None or files.safety_candidate is None
    ):
        raise Failure(
            "release.yaml plans offline.safety, but no results of it were given. "
            "Next: --safety-baseline and --safety-candidate",
            Exit.USAGE,
        )
    slices = draft.plan.offline.slices
    try:
        return await asyncio.to_thread(
            pair_evals,
            files.baseline,
            files.candidate,
            cluster=draft.spec.offline.cluster,
            slices=slices.by if slices is not None else (),
            baseline_artifact=draft.standing.baseline.artifact,
            candidate_artifact=draft.artifact_digest,
            safety_baseline=files.safety_baseline,
            safety_candidate=files.safety_candidate,
            baseline_part=files.baseline_part,
            candidate_part=files.candidate_part,
            scorer=files.scorer,
        )
    except EvalFileError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong


async def make_order(
    draft: Draft,
    cases: PairedCases | None,
    registry: Registry,
    *,
    actor: str,
    environment: str,
    attempt: int = 1,
    report_url: str | None = None,
) -> ReleaseOrder:
    """Store what the release is made of, and write the order that starts it."""
    target = draft.standing.target
    identity = draft.identity(attempt)
    name = release_name(target.name, identity)
    await registry.add_artifact(draft.artifact_digest, draft.artifact.content)
    header = Header(
        release=identity,
        name=name,
        target=target,
        owner=draft.spec.owner,
        team=draft.spec.team or target.team,
        actor=actor,
        merged_at=draft.spec.merged_at,
        started_at=datetime.now(UTC),  # noqa: TID251 - the edge: the header's one clock reading
        baseline=draft.standing.baseline,
        candidate=draft.candidate,
        spec=await _store(registry, "spec", draft.spec),
        plan=await _store(registry, "plan", draft.plan),
        offline_evidence=await _store(registry, "evidence", cases) if cases else None,
        attempt=attempt,
        workflow_id=workflow_id(target.name, identity),
    )
    url = f"{report_url}/{name}.html" if report_url else None
    return ReleaseOrder(header=header, plan=draft.plan, environment=environment, report_url=url)


async def _store(registry: Registry, kind: str, fact: Fact) -> str:
    return await registry.put(kind, canonical(fact.model_dump(mode="json")))


async def start_release(order: ReleaseOrder, registry: Registry, releases: "Releases") -> bool:
    """Record the release and start it; started again it is the same release. Whether it is new."""
    header = order.header
    try:
        known = await registry.release(header.release)
    except NotFound:
        await registry.open_release(header)
    else:
        order = order.model_copy(update={"header": known.header})
    return await releases.start(order)
