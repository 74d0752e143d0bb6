"""The offline gate on two files of eval results; the first verdict on a candidate stands."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clients.exits import Exit, Failure
from clients.opening import open_registry, registry_exists
from clients.releasing import Draft, ResultFiles, make_draft, pair_results, read_text
from rampway.adapters.evals_files import EvalFileError, Incomparable, PairedEvals, pair_evals
from rampway.gates.evidence import PairedCases
from rampway.gates.facts import canonical, digest_of, digest_of_bytes
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SafetyPlan, SliceMode, SlicesPlan
from rampway.gates.verdicts import OfflineVerdict, Verdict
from rampway.release.plan import offline_plan
from rampway.release.sections import Offline
from rampway.release.specfile import SpecErrors, parse_policy
from rampway.reports.offline import Fingerprints, OfflineReport

if TYPE_CHECKING:
    from rampway.ports import Registry

KEPT = frozenset({Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.BREACH})
EXITS = {
    Verdict.PASS: Exit.OK,
    Verdict.BREACH: Exit.STOPPED,
    Verdict.INCOMPARABLE: Exit.STOPPED,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Verdict.NO_DATA: Exit.INCONCLUSIVE,
}
NO_TARGET = "eval"


@dataclass(frozen=True)
class Asked:
    """What the command line says of how to decide; None where it leaves that to the file or default.

    `by` empty: the policy's slices, else every label that the cases can be sliced by.
    """

    policy: Path | None = None
    cluster: str | None = None
    by: tuple[str, ...] = ()
    mode: SliceMode | None = None


@dataclass(frozen=True)
class Weighed:
    """The verdict that stands with its report; `rerun` is what these files would have said instead.

    `evals` is None, and `differs` is not, where the two files do not measure the same thing.
    """

    report: OfflineReport
    recorded: bool
    rerun: Verdict | None = None
    evals: PairedEvals | None = None
    differs: Incomparable | None = None

    @property
    def verdict(self) -> OfflineVerdict:
        """The verdict that stands."""
        return self.report.verdict

    @property
    def code(self) -> Exit:
        """The exit code of the verdict."""
        return EXITS[self.verdict.verdict]


async def weigh_by_spec(files: ResultFiles, spec: Path, mode: SliceMode | None) -> Weighed:
    """Weigh by a release.yaml: its settings count, and its candidate's digest names whose verdict it is.

    Raises Failure.
    """
    async with open_registry() as registry:
        draft = await make_draft(spec, registry)
        planned = draft.plan.offline
        shown = mode or (planned.slices.mode if planned.slices else SliceMode.CONTROLLED)
        report = OfflineReport(
            name=draft.spec.target,
            verdict=OfflineVerdict(verdict=Verdict.NO_DATA, why="nothing was weighed yet"),
            plan=_telling_both(planned),
            fingerprints=_of_draft(draft),
            mode=shown,
            cluster=draft.spec.offline.cluster or "",
        )
        try:
            evals = await pair_results(draft, files)
        except Incomparable as differs:
            return _incomparable(report, differs)
        return await _kept(registry, report, evals, baseline=evals.cases.baseline)


async def weigh_files(files: ResultFiles, asked: Asked) -> Weighed:
    """Weigh by a policy, or by the mission's numbers; the candidate's file stands for the candidate.

    Raises Failure.
    """
    policy = await _read_policy(asked.policy) if asked.policy else None
    cluster = _cluster(policy, asked)
    if policy is not None and policy.safety is not None and files.safety_candidate is None:
        raise Failure(
            f"{asked.policy} plans offline.safety, but no results of it were given. "
            "Next: --safety-baseline and --safety-candidate",
            Exit.USAGE,
        )
    written = policy.slices if policy else None
    mode = asked.mode or (written.mode if written else SliceMode.CONTROLLED)
    by = asked.by or (written.by if written else None)
    plan = offline_plan(policy) if policy else OfflinePlan()
    report = OfflineReport(
        name=NO_TARGET,
        verdict=OfflineVerdict(verdict=Verdict.NO_DATA, why="nothing was weighed yet"),
        plan=plan,
        fingerprints=Fingerprints("", ""),
        mode=mode,
        cluster=cluster or "",
    )
    try:
        evals = await asyncio.to_thread(_paired, files, cluster, by)
    except Incomparable as differs:
        prints = Fingerprints(*await asyncio.to_thread(_file_digests, files))
        return _incomparable(replace(report, fingerprints=prints), differs)
    report = replace(report, plan=_filled(plan, evals.cases, cluster))
    if not registry_exists():
        verdict = weigh_offline(report.plan, evals.cases)
        return _weighed(report, evals, verdict, recorded=False)
    async with open_registry() as registry:
        return await _kept(registry, report, evals, baseline=None)


async def _read_policy(path: Path) -> Offline:
    try:
        return parse_policy(await read_text(path), filename=path.name)
    except SpecErrors as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong


def _cluster(policy: Offline | None, asked: Asked) -> str | None:
    named = policy.cluster if policy else None
    if named is not None and asked.cluster is not None:
        raise Failure(f"{asked.policy} names the cluster {named}. Next: drop --cluster", Exit.USAGE)
    return named or asked.cluster


def _paired(files: ResultFiles, cluster: str | None, by: tuple[str, ...] | None) -> PairedEvals:
    try:
        evals = pair_evals(
            files.baseline,
            files.candidate,
            cluster=cluster,
            slices=by,
            baseline_artifact="",
            candidate_artifact="",
            safety_baseline=files.safety_baseline,
            safety_candidate=files.safety_candidate,
            baseline_part=files.baseline_part,
            candidate_part=files.candidate_part,
            scorer=files.scorer,
        )
    except EvalFileError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    # After the importer has refused what is no regular file, which reading would wait for.
    baseline, candidate = _file_digests(files)
    cases = evals.cases.model_copy(update={"baseline": baseline, "candidate": candidate})
    return replace(evals, cases=cases)


def _file_digests(files: ResultFiles) -> tuple[str, str]:
    """What stands for the artifacts: each arm's bytes, and its part of a file that has several."""
    return (
        _results_digest(files.baseline, files.baseline_part),
        _results_digest(files.candidate, files.candidate_part),
    )


def _results_digest(path: Path, part: str | None) -> str:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*.json*") if file.is_file())
        digest = digest_of([[str(f.relative_to(path)), _file_digest(f)] for f in found])
    else:
        digest = _file_digest(path)
    return digest if part is None else digest_of({"file": digest, "part": part})


def _file_digest(path: Path) -> str:
    try:
        return digest_of_bytes(path.read_bytes())
    except OSError as failed:
        raise Failure(f"{path} cannot be read: {failed.strerror}", Exit.USAGE) from failed


def _filled(plan: OfflinePlan, cases: PairedCases, cluster: str | None) -> OfflinePlan:
    """The plan for these cases: slices by the columns that were read, safety as often as generated."""
    by = tuple(cases.slices)
    slices = plan.slices or (SlicesPlan(by=by) if by else None)
    safety = plan.safety
    if safety is None and cases.safety:
        safety = SafetyPlan(generations=cases.safety[0][-1])
    return _telling_both(
        plan.model_copy(
            update={
                "clustered": cluster is not None,
                "slices": slices and slices.model_copy(update={"by": by}),
                "safety": safety,
            }
        )
    )


def _telling_both(plan: OfflinePlan) -> OfflinePlan:
    """The words of the plain rule are kept with every verdict; whether they are shown is the mode's."""
    if plan.slices is None:
        return plan
    literal = plan.slices.model_copy(update={"mode": SliceMode.LITERAL})
    return plan.model_copy(update={"slices": literal})


def _of_draft(draft: Draft) -> Fingerprints:
    return Fingerprints(draft.standing.baseline.artifact, draft.artifact_digest)


def _incomparable(report: OfflineReport, differs: Incomparable) -> Weighed:
    verdict = OfflineVerdict(verdict=Verdict.INCOMPARABLE, why=str(differs))
    return Weighed(replace(report, verdict=verdict), recorded=False, differs=differs)


async def _kept(
    registry: "Registry", report: OfflineReport, evals: PairedEvals, *, baseline: str | None
) -> Weighed:
    """The first verdict on this candidate stands, so that nobody runs evals until one passes.

    Another baseline is another question, where the registry vouches for which one it was. So are
    other cases, safety cases among them, another grader, and other seeds.
    """
    cases = evals.cases
    verdict = weigh_offline(report.plan, cases)
    if verdict.verdict not in KEPT:
        return _weighed(report, evals, verdict, recorded=False)
    asked = {
        "candidate": cases.candidate,
        "dataset": cases.dataset,
        "grader": cases.grader,
        "seeds": cases.seeds,
        "safety": [[case, hard, tries] for case, hard, _, _, tries in cases.safety],
        "baseline": baseline,
    }
    said = canonical(verdict.model_dump(mode="json"))
    first = OfflineVerdict.model_validate_json(
        await registry.keep_first_eval(digest_of(asked), said)
    )
    return _weighed(report, evals, first, recorded=True, rerun=verdict)


def _weighed(
    report: OfflineReport,
    evals: PairedEvals,
    verdict: OfflineVerdict,
    *,
    recorded: bool,
    rerun: OfflineVerdict | None = None,
) -> Weighed:
    told = replace(
        report,
        verdict=verdict,
        fingerprints=Fingerprints.of(evals.cases),
        disagreements=evals.disagreements,
        next_step=_next_step(verdict, rerun, recorded=recorded),
    )
    other = rerun.verdict if rerun and rerun.verdict is not verdict.verdict else None
    return Weighed(told, recorded=recorded, rerun=other, evals=evals)


def _next_step(verdict: OfflineVerdict, rerun: OfflineVerdict | None, *, recorded: bool) -> str:
    stands = "The first verdict on this candidate, eval set, grader and seeds stands"
    if rerun is not None and rerun.verdict is not verdict.verdict:
        return f"{stands}; this rerun would say {rerun.verdict}."
    if rerun is not None and rerun != verdict:
        return f"{stands} with its numbers; this rerun's differ."
    if verdict.verdict is Verdict.PASS:
        return "Cached by digest: a rerun changes nothing." if recorded else "Not recorded."
    if verdict.verdict is Verdict.INCONCLUSIVE:
        return "Next: add cases; they are another eval set, and get a verdict of their own."
    if verdict.verdict is Verdict.BREACH:
        keeps = "; the same candidate keeps this verdict" if recorded else ""
        return f"Next: mend the candidate (--examples 10 shows answers){keeps}."
    return "Next: mend the files; nothing was recorded."
