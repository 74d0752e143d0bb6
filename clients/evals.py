"""The offline gate on two files of eval results; the first verdict on a candidate stands."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clients.exits import Exit, Failure
from clients.opening import open_registry, registry_exists
from clients.releasing import make_draft, pair_cases
from rampway.adapters.evals_files import EvalFileError, Incomparable, pair_evals
from rampway.gates.evidence import PairedCases
from rampway.gates.facts import canonical, digest_of, digest_of_bytes
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SafetyPlan
from rampway.gates.verdicts import OfflineVerdict, Verdict
from rampway.reports.texts import markdown_table, offline_rows, offline_text

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


@dataclass(frozen=True)
class EvalFiles:
    """What `rampway eval` was given."""

    baseline: Path
    candidate: Path
    cluster: str | None = None
    safety_baseline: Path | None = None
    safety_candidate: Path | None = None


@dataclass(frozen=True)
class Weighed:
    """The verdict that stands; `rerun` is what these files would have said where that differs."""

    verdict: OfflineVerdict
    recorded: bool
    rerun: Verdict | None = None

    @property
    def code(self) -> Exit:
        """The exit code of the verdict."""
        return EXITS[self.verdict.verdict]

    @property
    def text(self) -> str:
        """The screen of `rampway eval`."""
        return f"{offline_text(self.verdict)}\n{self._last_line()}"

    @property
    def markdown(self) -> str:
        """The same for a CI job's summary."""
        told = f"**Offline gate {self.text.splitlines()[0]}**"
        rows = offline_rows(self.verdict)
        return f"{told}\n\n{markdown_table(('gate', 'verdict', 'numbers'), rows)}" if rows else told

    def _last_line(self) -> str:
        if self.rerun is not None:
            return (
                f"The first verdict on this candidate, eval set and grader stands; "
                f"this rerun would say {self.rerun}."
            )
        if self.verdict.verdict is Verdict.PASS:
            return (
                "Cached by digest: a rerun changes nothing." if self.recorded else "Not recorded."
            )
        return "Next: mend the candidate; the same candidate keeps this verdict."


async def weigh_files(files: EvalFiles, spec: Path | None) -> Weighed:
    """Weigh two files of eval results.

    With a release.yaml its settings count, and its candidate's digest names whose verdict this is;
    without one the candidate's file stands for the candidate. Raises Failure.
    """
    if spec is not None:
        async with open_registry() as registry:
            draft = await make_draft(spec, registry)
            cases = await pair_cases(
                draft,
                files.baseline,
                files.candidate,
                files.safety_baseline,
                files.safety_candidate,
            )
            return await _kept(registry, draft.plan.offline, cases, baseline=cases.baseline)
    cases = await asyncio.to_thread(_paired, files)
    plan = _plan(files, cases)
    if not registry_exists():
        return Weighed(weigh_offline(plan, cases), recorded=False)
    async with open_registry() as registry:
        return await _kept(registry, plan, cases, baseline=None)


def _paired(files: EvalFiles) -> PairedCases:
    try:
        return pair_evals(
            files.baseline,
            files.candidate,
            cluster=files.cluster,
            slices=(),
            baseline_artifact=digest_of_bytes(files.baseline.read_bytes()),
            candidate_artifact=digest_of_bytes(files.candidate.read_bytes()),
            safety_baseline=files.safety_baseline,
            safety_candidate=files.safety_candidate,
        )
    except EvalFileError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    except Incomparable as differs:
        raise Failure(f"INCOMPARABLE: {differs}", Exit.STOPPED) from differs


def _plan(files: EvalFiles, cases: PairedCases) -> OfflinePlan:
    """The mission's numbers; as many generations of a safety case as the files have."""
    generations = cases.safety[0][-1] if cases.safety else 1
    planned = files.safety_candidate is not None
    return OfflinePlan(
        clustered=files.cluster is not None,
        safety=SafetyPlan(generations=generations) if planned else None,
    )


async def _kept(
    registry: "Registry", plan: OfflinePlan, cases: PairedCases, *, baseline: str | None
) -> Weighed:
    """The first verdict on this candidate stands, so that nobody runs evals until one passes.

    Another baseline is another question, where the registry vouches for which one it was.
    """
    verdict = weigh_offline(plan, cases)
    if verdict.verdict not in KEPT:
        return Weighed(verdict, recorded=False)
    asked = {
        "candidate": cases.candidate,
        "dataset": cases.dataset,
        "grader": cases.grader,
        "baseline": baseline,
    }
    said = canonical(verdict.model_dump(mode="json"))
    first = OfflineVerdict.model_validate_json(
        await registry.keep_first_eval(digest_of(asked), said)
    )
    rerun = None if first.verdict is verdict.verdict else verdict.verdict
    return Weighed(first, recorded=True, rerun=rerun)
