"""The demo target's parameters decide: the good candidate is promoted, the broken one never is."""

from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np
from pydantic import JsonValue

from rampway.gates.evidence import Evidence
from rampway.gates.plans import Arm, Must, RateGate, ShadowPlan, StagePlan, StepPlan
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh

RUNS = 300
REQUESTS_PER_SECOND = 160
COPIED = 0.3
DEADLINE_SECONDS = 30
BUDGET = 0.005


@dataclass(frozen=True)
class Candidate:
    """What a candidate does to its callers; its copies in shadow are as good as the baseline."""

    errors: float = 0.0
    slow: float = 0.05


@dataclass(frozen=True)
class Run:
    outcome: str
    stage: str
    seconds: float


def shadow() -> ShadowPlan:
    return ShadowPlan(
        name="shadow",
        hold_seconds=7,
        deadline_seconds=DEADLINE_SECONDS,
        slice_seconds=1,
        coverage=0.75,
        rate_bp=3000,
        pairs=250,
        levels=2,
    )


def step(
    name: str,
    share_bp: int,
    hold_seconds: float,
    budget: float,
    must: Must,
    units: int,
    *,
    units_arm: Arm = Arm.CANDIDATE,
    margin_odds: float | None = None,
    margin_abs: float | None = None,
) -> StepPlan:
    def gate(name: str, weight: float, tolerance: float, rate: float) -> RateGate:
        return RateGate(
            name=name,
            stream=name,
            alpha=BUDGET * weight * budget,
            tolerance=tolerance,
            margin_odds=margin_odds,
            margin_abs=margin_abs,
            baseline_rate=rate,
        )

    return StepPlan(
        name=name,
        hold_seconds=hold_seconds,
        deadline_seconds=DEADLINE_SECONDS,
        slice_seconds=1,
        coverage=0.75,
        share_bp=share_bp,
        must=must,
        units=units,
        units_arm=units_arm,
        gates=(gate("error", 0.6, 1.1, 0.0), gate("p95", 0.4, 2.0, 0.05)),
    )


@cache
def ramp() -> tuple[StagePlan, ...]:
    proof = Must.PROVE
    return (
        shadow(),
        step("1 %", 100, 4, 0.4, Must.SCREEN, 4),
        step("5 %", 500, 8, 0.2, proof, 25, margin_odds=15, margin_abs=0.15),
        step("25 %", 2500, 6, 0.2, proof, 100, margin_odds=5, margin_abs=0.05),
        step("99/1", 9900, 5, 0.2, Must.SCREEN, 4, units_arm=Arm.BASELINE),
    )


def requests_in(dice: np.random.Generator, run_rate: float) -> float:
    return REQUESTS_PER_SECOND * run_rate * dice.uniform(0.8, 1.2)


def arms(
    dice: np.random.Generator, run_rate: float, plan: StepPlan, candidate: Candidate
) -> list[tuple[int, float, float]]:
    """Each arm's units in a slice, with its error rate and its rate over the threshold."""
    requests = requests_in(dice, run_rate)
    share = plan.share_bp / 10_000
    stalled = 0.2 if dice.random() < 0.08 else 0.0
    alone = [0.2 if dice.random() < 0.01 else 0.0 for _ in range(2)]
    rates = ((share, candidate.errors, candidate.slow), (1 - share, 0.0, 0.05))
    return [
        (int(dice.poisson(requests * part)), errors, min(1.0, slow + max(stalled, own)))
        for (part, errors, slow), own in zip(rates, alone, strict=True)
    ]


def slice_of_step(
    dice: np.random.Generator, run_rate: float, plan: StepPlan, candidate: Candidate, index: int
) -> dict[str, JsonValue]:
    errors: list[JsonValue] = [index]
    slow: list[JsonValue] = [index]
    for units, error_rate, slow_rate in arms(dice, run_rate, plan, candidate):
        errors += [units, int(dice.binomial(units, error_rate))]
        slow += [units, int(dice.binomial(units, slow_rate))]
    return {"error": errors, "p95": slow}


def slice_of_shadow(dice: np.random.Generator, run_rate: float, index: int) -> dict[str, JsonValue]:
    pairs = int(dice.poisson(requests_in(dice, run_rate) * COPIED))
    right, mended, broken = 0.78, 0.06, 0.015
    counts = dice.multinomial(pairs, [right, mended, broken, 1 - right - mended - broken])
    cells = [[1, 1, int(counts[0])], [0, 1, int(counts[1])]]
    cells += [[1, 0, int(counts[2])], [0, 0, int(counts[3])]]
    return {"judge": [index, cells, int(dice.poisson(0.2))]}


def watch(dice: np.random.Generator, run_rate: float, plan: StagePlan, candidate: Candidate) -> Run:
    """Look each second from the end of the hold on; a BREACH latches, so no look before is missed."""
    rows: dict[str, list[JsonValue]] = {}
    for index in range(DEADLINE_SECONDS):
        if isinstance(plan, StepPlan):
            fresh = slice_of_step(dice, run_rate, plan, candidate, index)
        else:
            fresh = slice_of_shadow(dice, run_rate, index)
        for stream, row in fresh.items():
            found = rows.setdefault(stream, [])
            if dice.random() >= 0.01:
                found.append(row)
        if index + 1 < plan.hold_seconds:
            continue
        verdict = weigh(plan, evidence(rows, sealed=index + 1))
        if verdict.verdict is Verdict.PASS:
            return Run("passed", plan.name, index + 1)
        if verdict.verdict is Verdict.BREACH and verdict.decisive:
            return Run("rolled back", plan.name, verdict.decisive.crossed_at_seconds or 0.0)
    return Run("deadline", plan.name, DEADLINE_SECONDS)


def evidence(rows: dict[str, list[JsonValue]], *, sealed: int) -> Evidence:
    return Evidence.model_construct(
        target="tutor",
        epoch=1,
        segment=1,
        slice_seconds=1.0,
        sealed=dict.fromkeys(rows, sealed),
        rows=rows,
        sources={},
    )


def release(seed: int, candidate: Candidate) -> Run:
    dice = np.random.default_rng(seed)
    run_rate = dice.uniform(0.8, 1.2)
    for plan in ramp():
        run = watch(dice, run_rate, plan, candidate)
        if run.outcome != "passed":
            return run
    return Run("promoted", "", 0.0)


def test_the_good_candidate_is_promoted_on_the_demo_target() -> None:
    runs = [release(seed, Candidate()) for seed in range(RUNS)]

    promoted = sum(run.outcome == "promoted" for run in runs)
    assert promoted >= RUNS - 3, [run for run in runs if run.outcome != "promoted"]


def test_a_candidate_that_fails_half_its_requests_is_always_rolled_back_on_the_demo_target() -> (
    None
):
    broken = Candidate(errors=0.5, slow=0.5)

    runs = [release(10_000 + seed, broken) for seed in range(RUNS)]

    assert {run.outcome for run in runs} == {"rolled back"}
    assert {run.stage for run in runs} <= {"1 %", "5 %"}
    assert sum(run.stage == "1 %" for run in runs) >= 0.75 * RUNS
    assert median(run.seconds for run in runs if run.stage == "1 %") <= 3
