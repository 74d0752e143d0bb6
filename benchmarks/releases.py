"""What whole releases experience: clean ones on a spent budget, harmless ones under the default plan."""

import math
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from benchmarks.crews import Crew
from benchmarks.figures import Figure, Section, share, standard_error
from benchmarks.traffic import REQUESTS_PER_SECOND, Traffic, Watch, first_breach
from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import Spending, StepPlan
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import Weigher, freeze
from rampway.release.plan import compile_plan
from rampway.release.records import Target
from rampway.release.specfile import parse_spec
from rampway.release.template import init_spec

SEED = 301
SHARES = (0.01, 0.05, 0.25, 0.99)
BUDGET = 0.05
# Weight in the error budget and base rate: errors, safety, slow answers, poor ones, refusals, false positives.
METRICS = ((0.25, 0.01), (0.25, 0.001), (0.15, 0.05), (0.15, 0.2), (0.1, 0.02), (0.1, 0.005))
ERRORS, LATE, REFUSALS = 0.008, 0.002, 0.02
BASELINE_UNITS = 10_000
LOOKS_AFTER_HOLD_SECONDS = 60


def measure(crew: Crew) -> Section:
    """False rollbacks of clean releases, promotions of harmless ones."""
    return Section("Whole releases", (_clean(crew), *_harmless(crew)))


def _clean(crew: Crew) -> Figure:
    releases = crew.runs(1_600, least=32)
    stopped = crew.spread("clean releases", _clean_releases, releases, SEED)
    measured = float(np.mean(stopped))
    return Figure(
        what="clean release, 4 steps x 6 metrics, looks each 10 s, a quarter of alpha for late harm",
        bar="false rollback ≤ .05",
        measured=share(measured),
        met=measured <= BUDGET,
        runs=releases,
        seed=SEED,
        error=standard_error(measured, releases),
        note="open-ended spending, as holds can be extended",
    )


def _clean_releases(dice: np.random.Generator, releases: int) -> list[bool]:
    return [_rolled_back(dice) for _ in range(releases)]


def _rolled_back(dice: np.random.Generator) -> bool:
    for step in SHARES:
        for weight, rate in METRICS:
            traffic = Traffic(rate, rate, share=step, slice_seconds=10)
            watch = Watch(BUDGET / len(SHARES) * weight, spending=Spending.OPEN, late=0.25)
            if math.isfinite(first_breach(traffic, watch, traffic.tables(dice, 1)[0])):
                return True
    return False


@dataclass(frozen=True)
class Climb:
    """How a release under the default plan ended."""

    outcome: str
    hours: float


def _harmless(crew: Crew) -> list[Figure]:
    releases = crew.runs(1_000, least=16)
    climbs = crew.spread("harmless releases, default plan", _climbs, releases, SEED + 1)
    promoted = [climb.hours for climb in climbs if climb.outcome == "promoted"]
    measured = len(promoted) / releases
    hours = float(np.median(promoted)) if promoted else math.inf
    others = sorted({climb.outcome for climb in climbs} - {"promoted"})
    counts = ", ".join(f"{name} {sum(c.outcome == name for c in climbs)}" for name in others)
    return [
        Figure(
            what="harmless release under the default plan, looks each 10 s",
            bar="promoted ≥ .95, median ≤ 2.1 h",
            measured=f"{share(measured)}, {hours:.2f} h",
            met=measured >= 0.95 and hours <= 2.1,
            runs=releases,
            seed=SEED + 1,
            error=standard_error(measured, releases),
            note=counts or "no other outcome",
        )
    ]


def _climbs(dice: np.random.Generator, releases: int) -> list[Climb]:
    return [_climb(dice) for _ in range(releases)]


def _climb(dice: np.random.Generator) -> Climb:
    target = Target(name="grammar-tutor")
    plan = compile_plan(parse_spec(init_spec(), filename="release.yaml"), target)
    seconds = 0.0
    for step in plan.steps:
        sample, rates = _baseline(dice, step)
        frozen = freeze(step, sample, units_min=BASELINE_UNITS)
        if not isinstance(frozen, StepPlan):
            raise TypeError("a step's plan is frozen to a step's plan")
        outcome, took = _hold(dice, frozen, rates)
        seconds += took
        if outcome != "passed":
            return Climb(f"{outcome} at {step.name}", seconds / 3600)
    return Climb("promoted", seconds / 3600)


def _baseline(dice: np.random.Generator, step: StepPlan) -> tuple[BaselineCounts, dict[str, float]]:
    """What is measured before a step, and the true rate of every stream under those thresholds."""
    spread, mean = 0.5, math.log(900.0)
    buckets = np.floor(dice.normal(mean, spread, BASELINE_UNITS) / math.log(1.02)).astype(int)
    values, counts = np.unique(buckets, return_counts=True)
    latency = dict(zip(values.tolist(), counts.tolist(), strict=True))
    plain = {"error": ERRORS, "late": LATE, "refusal": REFUSALS}
    bad = {name: int(dice.binomial(BASELINE_UNITS, rate)) for name, rate in plain.items()}
    sample = BaselineCounts(units=BASELINE_UNITS, bad=bad, latency=latency)
    rates = dict(plain)
    frozen = freeze(step, sample, units_min=BASELINE_UNITS)
    for gate in frozen.gates if isinstance(frozen, StepPlan) else ():
        if gate.threshold_bucket is not None:
            limit = (gate.threshold_bucket + 1) * math.log(1.02)
            rates[gate.stream] = math.erfc((limit - mean) / spread / math.sqrt(2)) / 2
    return sample, rates


def _hold(dice: np.random.Generator, step: StepPlan, rates: dict[str, float]) -> tuple[str, float]:
    """Look from the end of the hold on; a BREACH latches, so none before is missed."""
    rows = _rows(dice, step, rates)
    weigher = Weigher(step)
    at = step.hold_seconds
    while at <= step.deadline_seconds:
        verdict = weigher.look(_evidence(step, rows, round(at / step.slice_seconds)))
        if verdict.verdict is Verdict.PASS:
            return "passed", at
        if verdict.verdict is Verdict.BREACH:
            return "rolled back", at
        at += LOOKS_AFTER_HOLD_SECONDS
    return "deadline", step.deadline_seconds


def _rows(
    dice: np.random.Generator, step: StepPlan, rates: dict[str, float]
) -> dict[str, list[list[JsonValue]]]:
    """Rows up to the deadline; the same units are counted in every stream."""
    slices = round(step.deadline_seconds / step.slice_seconds)
    requests, share_new = REQUESTS_PER_SECOND * step.slice_seconds, step.share_bp / 10_000
    n_c = dice.poisson(requests * share_new, slices)
    n_b = dice.poisson(requests * (1 - share_new), slices)
    rows: dict[str, list[list[JsonValue]]] = {}
    for gate in step.gates:
        bad = [dice.binomial(units, rates[gate.stream]) for units in (n_c, n_b)]
        rows[gate.stream] = np.stack((np.arange(slices), n_c, bad[0], n_b, bad[1]), -1).tolist()
    return rows


def _evidence(step: StepPlan, rows: dict[str, list[list[JsonValue]]], sealed: int) -> Evidence:
    return Evidence(
        target="grammar-tutor",
        epoch=1,
        segment=1,
        slice_seconds=step.slice_seconds,
        sealed=dict.fromkeys(rows, sealed),
        rows={stream: list(found[:sealed]) for stream, found in rows.items()},
    )
