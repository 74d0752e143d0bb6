"""Weighs the watch after promotion, when no control is left and only gross harm is undone."""

from rampway.gates.engine import HarmWatch, binomial
from rampway.gates.evidence import Evidence
from rampway.gates.phrases import duration, words_for_boundary, words_for_breach, words_for_seen
from rampway.gates.plans import SettleGate, SettlePlan, Spending
from rampway.gates.rates import rate_missing, threshold_missing
from rampway.gates.slices import RateRow, Slices, rate_reader
from rampway.gates.stages import add_up, at_hold_end, least_seconds
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict, Verdict, significant

LATE = 0.25  # part of the budget for harm that starts late, as in a step


class SettleWeigher:
    """The promoted candidate against the control's last rate, made worse by the margin.

    The world may have moved since, so a slice's bad units are compared with a binomial law at the
    gross rate of `gross_rate`; the same look-by-look budget is spent, and a BREACH latches.
    """

    def __init__(self, plan: SettlePlan) -> None:
        self._plan = plan
        self._tallies = [_Tally(plan, gate) for gate in plan.gates]

    def look(self, evidence: Evidence) -> StageVerdict:
        """The verdict on this evidence: the same as from a first look at all of it."""
        plan, tallies = self._plan, self._tallies
        for tally in tallies:
            tally.take(evidence)
        streams = [tally.slices for tally in tallies]
        seconds = least_seconds(streams)
        hold_left_seconds = max(0.0, plan.hold_seconds - seconds)
        return add_up(
            plan,
            tuple(_gate_verdict(plan, tally, seconds) for tally in tallies),
            streams,
            exposed=min((tally.units_seen for tally in tallies), default=0),
            waits_seconds=[hold_left_seconds for _ in tallies],
        )


def weigh_settling(plan: SettlePlan, evidence: Evidence) -> StageVerdict:
    """Weigh the watch after promotion in one look."""
    return SettleWeigher(plan).look(evidence)


def gross_rate(gate: SettleGate, baseline_rate: float) -> float:
    """The rate from which on harm is gross: the worse of the margin in odds and the absolute one."""
    by_odds = gate.margin_odds * baseline_rate / (1 + (gate.margin_odds - 1) * baseline_rate)
    by_difference = baseline_rate + gate.margin_abs
    return by_odds if by_difference >= 1 else max(by_odds, by_difference)


class _Tally:
    """One gate, look after look."""

    def __init__(self, plan: SettlePlan, gate: SettleGate) -> None:
        self.gate = gate
        self._plan = plan
        self._reader = rate_reader(plan, gate.stream)
        self._rate = _rate_to_watch(gate)
        self.slices: Slices[RateRow] = Slices(gate.stream, (), 0, plan.slice_seconds, None)
        self._start()

    def take(self, evidence: Evidence) -> None:
        """Count what is new in the evidence; count all anew when it changed its past."""
        reading = self._reader.read(evidence)
        if reading.anew:
            self._start()
        self.slices = reading.slices
        for row in reading.new:
            self.units_seen += row.candidate_units
            self._look(row)

    @property
    def candidate(self) -> Count:
        return Count(bad=self._bad, units=self._units)

    def _start(self) -> None:
        self.harm = HarmWatch(
            alpha=self.gate.alpha,
            late=LATE,
            spending=Spending.OPEN,
            hold_seconds=self._plan.hold_seconds,
        )
        self.units_seen = 0  # also after a BREACH
        self.expected = 0.0
        self._units = self._bad = 0

    def _look(self, row: RateRow) -> None:
        if self._rate is None or self.harm.crossed_at_seconds is not None:
            return
        self._units += row.candidate_units
        self._bad += row.candidate_bad
        law = binomial(row.candidate_units, self._rate)
        self.expected += law.mean
        self.harm.look(self.slices.end_seconds(row), law, row.candidate_bad)


def _rate_to_watch(gate: SettleGate) -> float | None:
    if gate.baseline_rate is None or threshold_missing(gate) is not None:
        return None
    return gross_rate(gate, gate.baseline_rate)


def _gate_verdict(plan: SettlePlan, tally: _Tally, stage_seconds: float) -> GateVerdict:
    verdict, why = _answer(plan, tally, stage_seconds)
    crossed = tally.harm.crossed_at_seconds
    return GateVerdict(
        gate=tally.gate.name,
        verdict=verdict,
        candidate=tally.candidate,
        breach_at=tally.harm.breach_at,
        expected=significant(tally.expected),
        alpha=significant(tally.gate.alpha),
        spent=significant(tally.harm.spent),
        crossed_at_seconds=None if crossed is None else significant(crossed),
        why=why,
    )


def _answer(plan: SettlePlan, tally: _Tally, stage_seconds: float) -> tuple[Verdict, str]:
    gate = tally.gate
    seen = words_for_seen(gate, tally.candidate)
    if tally.harm.crossed_at_seconds is not None:
        return Verdict.BREACH, words_for_breach(seen, tally.harm, tally.expected)
    missing = threshold_missing(gate)
    if missing is None and gate.baseline_rate is None:
        missing = rate_missing(gate.name)
    if missing is None:
        missing = tally.slices.missed_look
    if missing is not None:
        return Verdict.NO_DATA, missing
    watched = f"{seen}{words_for_boundary(tally.harm)}"
    if not at_hold_end(plan, stage_seconds):
        to_go = duration(plan.hold_seconds - stage_seconds)
        return Verdict.INCONCLUSIVE, f"{watched}; {to_go} of the watch to go"
    missing = tally.slices.gap(plan.coverage)
    if missing is None and not tally.candidate.units:
        missing = "the candidate served no unit"
    if missing is not None:
        return Verdict.NO_DATA, missing
    return Verdict.PASS, f"{seen}, no BREACH{words_for_boundary(tally.harm)}"
