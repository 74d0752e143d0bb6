"""What one gate sees at a target's traffic: the harm it finds, and when it can say PASS."""

from collections.abc import Mapping

from rampway.gates.facts import Fact
from rampway.gates.planning import (
    EXACT_UNITS,
    POWER,
    SPENT_BY_HOLD,
    chance_of_proof,
    chance_to_pass,
    mean_found,
    pairs_to_prove,
    rate_found,
    rate_found_by_counts,
    tolerated_rate,
    units_to_pass,
    unpaired_sd,
)
from rampway.gates.plans import AbPlan, Must, QualityGate, RateGate, Role, StepPlan
from rampway.gates.verdicts import significant

JUDGED_BASELINE_EACH = 5  # of the more frequent arm, for each judged answer of the rare one


class GateForecast(Fact):
    """What one gate sees in one stage.

    `finds_rate` is the smallest candidate rate found by the end of the hold with power .80 (None:
    not even one that always fails), against `baseline_rate` and the gate's tolerance.
    `units_to_pass` are the candidate units after which a harmless candidate has its PASS with 98 %
    chance (None: a screen, or never); `pass_chance` is that chance at the end of the hold,
    `pass_chance_late` at the deadline.
    """

    gate: str
    stream: str
    role: Role = Role.GUARD
    alpha: float
    baseline_rate: float
    finds_rate: float | None
    units_to_pass: float | None = None
    pass_chance: float | None = None
    pass_chance_late: float | None = None


class QualityForecast(Fact):
    """What the judge's mean score on live answers shows in one step.

    `judged` are the rarer arm's answers that are judged by the end of the hold, `judged_in_all` both
    arms'. `finds_mean` is the loss found with power .80, in standard deviations of the baseline's
    score. The rest is as in GateForecast, counted in `judged`.
    """

    gate: str
    role: Role
    alpha: float
    judged: float
    judged_in_all: float
    finds_mean: float | None
    units_to_pass: float | None = None
    pass_chance: float | None = None
    pass_chance_late: float | None = None


def forecast_gate(
    stage: StepPlan | AbPlan, gate: RateGate, per_second: float, baseline: Mapping[str, float]
) -> GateForecast:
    """What a gate on a rate sees when the candidate serves this many units per second."""
    rate = _baseline_rate(gate, baseline)
    ratio = (10_000 - stage.share_bp) / stage.share_bp
    units = per_second * stage.hold_seconds
    told = GateForecast(
        gate=gate.name,
        stream=gate.stream,
        role=gate.role,
        alpha=gate.alpha,
        baseline_rate=rate,
        finds_rate=_finds_rate(gate, rate, units, ratio),
    )
    if not proves(stage, gate) or gate.margin_odds is None:
        return told
    margin = (gate.margin_odds, gate.margin_abs)
    late = per_second * stage.deadline_seconds
    return told.model_copy(
        update={
            "units_to_pass": units_to_pass(rate, *margin, ratio),
            "pass_chance": chance_to_pass(units, rate, *margin, ratio),
            "pass_chance_late": chance_to_pass(late, rate, *margin, ratio),
        }
    )


def proves(stage: StepPlan | AbPlan, gate: RateGate) -> bool:
    """The stage has to PASS, and this gate has something to rule out there."""
    return isinstance(stage, StepPlan) and stage.must is Must.PROVE and gate.margin_odds is not None


def forecast_quality(
    step: StepPlan, gate: QualityGate, judged_units: int, rps: float
) -> QualityForecast:
    """Answers of the rarer arm are judged at an even pace, and up to five of the other for each."""
    share = step.share_bp / 10_000
    rarer = min(share, 1 - share)
    available = rps * rarer * step.hold_seconds
    judged = min(float(judged_units), available)
    if judged < 1:
        return QualityForecast(
            gate=gate.name, role=gate.role, alpha=gate.alpha,
            judged=judged, judged_in_all=judged, finds_mean=None,
        )  # fmt: skip
    each = min(JUDGED_BASELINE_EACH, rps * (1 - rarer) * step.hold_seconds / judged)
    spread = unpaired_sd(each)
    told = QualityForecast(
        gate=gate.name,
        role=gate.role,
        alpha=gate.alpha,
        judged=significant(judged),
        judged_in_all=significant(judged * (1 + each)),
        finds_mean=mean_found(judged, gate.alpha, POWER, spread),
    )
    if step.must is not Must.PROVE or gate.margin_sd is None:
        return told
    needed = pairs_to_prove(gate.margin_sd, spread)
    late = judged * step.deadline_seconds / step.hold_seconds
    return told.model_copy(
        update={
            "units_to_pass": needed,
            "pass_chance": chance_of_proof(judged, needed),
            "pass_chance_late": chance_of_proof(late, needed),
        }
    )


def _baseline_rate(gate: RateGate, baseline: Mapping[str, float]) -> float:
    rate = baseline.get(gate.stream)
    if rate is None and gate.quantile is not None:
        rate = 1 - gate.quantile
    if rate is None:
        raise ValueError(f"the gate {gate.name} needs the baseline's rate of {gate.stream}")
    if not 0 <= rate <= 1:
        raise ValueError(f"{rate} is not a rate of {gate.stream}")
    return significant(rate)


def _finds_rate(gate: RateGate, rate: float, units: float, ratio: float) -> float | None:
    """The cautious one of two answers: the formula, and exact tails where counts are small."""
    found = rate_found(tolerated_rate(rate, gate.tolerance), units, gate.alpha, POWER, ratio)
    if found is None or min(units, units * ratio) > EXACT_UNITS:
        return found
    spendable = gate.alpha * (1 - gate.late) * SPENT_BY_HOLD[gate.spending]
    exact = rate_found_by_counts(
        rate, int(units), int(units * ratio), spendable, POWER, gate.tolerance
    )
    return None if exact is None else max(found, exact)
