"""What a comparison of two files of eval results has to show: the verdict and what belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rampway.gates.evidence import Disagreement, PairedCases
from rampway.gates.plans import OfflinePlan, SliceMode
from rampway.gates.verdicts import OfflineVerdict


class Changed(StrEnum):
    """What became of an answer."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    REWORDED = "reworded"  # another answer, the same score


@dataclass(frozen=True)
class Fingerprints:
    """What was compared, and by what: digests, and None where files that differ were not paired."""

    baseline: str
    candidate: str
    dataset: str | None = None
    grader: str | None = None
    harness: str | None = None
    seeds: str | None = None
    paired_by: str | None = None

    @classmethod
    def of(cls, cases: PairedCases) -> "Fingerprints":
        """Those of paired cases."""
        return cls(
            baseline=cases.baseline,
            candidate=cases.candidate,
            dataset=cases.dataset,
            grader=cases.grader,
            harness=cases.harness,
            seeds=cases.seeds,
            paired_by=cases.paired_by,
        )


@dataclass(frozen=True)
class OfflineReport:
    """A verdict with its plan, fingerprints and examples.

    `name` is the target, or `eval` without one; `cluster` the column that clusters the cases;
    `next_step` what to do, or why nothing changed. Disagreements come worst regressions first, then
    improvements, then other answers.
    """

    name: str
    verdict: OfflineVerdict
    plan: OfflinePlan
    fingerprints: Fingerprints
    mode: SliceMode = SliceMode.CONTROLLED
    cluster: str = ""
    disagreements: tuple[Disagreement, ...] = ()
    next_step: str = ""

    def examples(self, each: int) -> dict[Changed, Sequence[Disagreement]]:
        """At most `each` disagreements of every kind; a kind without one is left out."""
        found: dict[Changed, list[Disagreement]] = {kind: [] for kind in Changed}
        for case in self.disagreements:
            if len(found[kind := changed(case)]) < each:
                found[kind].append(case)
        return {kind: cases for kind, cases in found.items() if cases}


def changed(case: Disagreement) -> Changed:
    """The kind of one disagreement."""
    if case.regressed:
        return Changed.REGRESSED
    return Changed.IMPROVED if case.new > case.old else Changed.REWORDED
