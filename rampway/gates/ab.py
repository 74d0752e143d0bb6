"""Weighs an A/B: both arms serve for a time that was fixed before, and only harm ends it early."""

from rampway.gates.evidence import Evidence
from rampway.gates.plans import AbPlan, Role
from rampway.gates.rates import RateTally, metric_tallies
from rampway.gates.sample_ratio import RatioTally
from rampway.gates.stages import Tally, add_up, deciding, least_seconds
from rampway.gates.verdicts import StageVerdict


class AbWeigher:
    """The harm watch of an A/B, look after look.

    Each rate gate looks at strata of `slices_per_look` slices, added up over the usable ones, which
    are those of both arms at once. Before the hold's end the verdict is INCONCLUSIVE at best, however
    good the candidate looks: the comparison is made once, by `compare_arms`, and ending on a good day
    would make it wrong. At the end it is PASS unless a gate was breached, the evidence has gaps, an arm
    had fewer than the plan's units, or the arms did not get the units that the split promises.
    """

    def __init__(self, plan: AbPlan) -> None:
        self._plan = plan
        self._rates = [RateTally(plan, gate) for gate in plan.gates]
        rates = [*self._rates, *metric_tallies(plan)]
        self._tallies: list[tuple[Role, Tally]] = [(tally.gate.role, tally) for tally in rates]
        if plan.sample_ratio is not None:
            ratio = RatioTally(plan, plan.sample_ratio)
            self._tallies.append((plan.sample_ratio.role, ratio))

    def look(self, evidence: Evidence) -> StageVerdict:
        """The verdict on this evidence: the same as from a first look at all of it."""
        for _, tally in self._tallies:
            tally.take(evidence)
        streams = deciding([(role, tally.slices) for role, tally in self._tallies])
        seconds = least_seconds(streams)
        answers = [tally.answer(seconds) for _, tally in self._tallies]
        return add_up(
            self._plan,
            tuple(verdict for verdict, _ in answers),
            streams,
            exposed=min((tally.exposed for tally in self._rates), default=0),
            waits_seconds=[wait for _, wait in answers],
        )
