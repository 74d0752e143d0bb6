"""Weighs one share of a canary: all of its gates, look after look."""

from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted
from rampway.gates.plans import Role, StepPlan
from rampway.gates.probes import ProbeTally
from rampway.gates.quality import QualityTally
from rampway.gates.rates import RateTally, metric_tallies
from rampway.gates.sample_ratio import RatioTally
from rampway.gates.stages import Tally, add_up, deciding, least_seconds
from rampway.gates.verdicts import StageVerdict, Verdict


class StepWeigher:
    """The rate gates of a step, those on the user's own counters, and its quality, probes and sample ratio where it declares them.

    The hold is over for the least sealed stream of the gates that decide. An estimate in
    `units_needed` is in units of the plan's `units_arm` while exposure is missing, of the candidate
    otherwise.
    """

    def __init__(self, plan: StepPlan) -> None:
        self._plan = plan
        self._rates = [RateTally(plan, gate) for gate in plan.gates]
        rates = [*self._rates, *metric_tallies(plan)]
        self._tallies = [*((tally.gate.role, tally) for tally in rates), *_others(plan)]

    def look(self, evidence: Evidence) -> StageVerdict:
        """The verdict on this evidence: the same as from a first look at all of it."""
        for _, tally in self._tallies:
            tally.take(evidence)
        streams = deciding([(role, tally.slices) for role, tally in self._tallies])
        seconds = least_seconds(streams)
        answers = [tally.answer(seconds) for _, tally in self._tallies]
        verdict = add_up(
            self._plan,
            tuple(verdict for verdict, _ in answers),
            streams,
            exposed=self._exposed(),
            waits_seconds=[wait for _, wait in answers],
        )
        return self._unless_unexposed(verdict)

    def _unless_unexposed(self, verdict: StageVerdict) -> StageVerdict:
        """A rate gate that decides asks for the exposure itself; without one nobody else does."""
        if verdict.verdict is not Verdict.PASS or verdict.exposed >= self._plan.units:
            return verdict
        units = counted(self._plan.units, f"{self._plan.units_arm.value} unit")
        why = f"{self._plan.name} asks for {units}, {verdict.exposed:,} were counted"
        return verdict.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "why": why})

    def _exposed(self) -> int:
        decides = [tally for tally in self._rates if tally.gate.role is not Role.INFORM]
        return min((tally.exposed for tally in decides or self._rates), default=0)


def weigh_step(plan: StepPlan, evidence: Evidence) -> StageVerdict:
    """Weigh a step in one look."""
    return StepWeigher(plan).look(evidence)


def _others(plan: StepPlan) -> list[tuple[Role, Tally]]:
    others: list[tuple[Role, Tally]] = []
    if plan.quality is not None:
        others.append((plan.quality.role, QualityTally(plan, plan.quality)))
    if plan.probes is not None:
        others.append((plan.probes.role, ProbeTally(plan, plan.probes)))
    if plan.sample_ratio is not None:
        others.append((plan.sample_ratio.role, RatioTally(plan, plan.sample_ratio)))
    return others
