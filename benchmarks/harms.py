"""How soon the engine finds harm of each kind, and how near that is to the best any test could do."""

import math
from functools import partial

import numpy as np

from benchmarks.crews import Crew
from benchmarks.figures import Figure, Section, share, standard_error
from benchmarks.traffic import Traffic, Watch, first_breach, simulated

SEED = 201
NEAR_OPTIMUM = 0.75  # of Wald's bound
BOUND_MINUTES_LEAST = 5
POWER_LEAST = 0.75
WALD_CASES = (
    (0.02, 0.05),
    (0.025, 0.05),
    (0.02, 0.01),
    (0.025, 0.01),
    (0.03, 0.01),
    (0.025, 0.0025),
    (0.03, 0.0025),
    (0.035, 0.0025),
)


def measure(crew: Crew) -> Section:
    """Power and median times against their bars."""
    figures = [
        _doubled(crew),
        *_gross(crew),
        _slower(crew),
        *_wald(crew),
    ]
    return Section("Harm found", tuple(figures))


def _doubled(crew: Crew) -> Figure:
    holds = crew.runs(20_000, least=2_000)
    task = partial(simulated, Traffic(candidate_bad=0.02), Watch(0.05))
    found = crew.spread("errors 1 -> 2 %", task, holds, SEED)
    power, median = float(np.isfinite(found).mean()), float(np.median(found))
    return Figure(
        what="errors 1 → 2 % at alpha = .05, looks each minute",
        bar="power ≥ .75, median ≤ 20 min",
        measured=f"{share(power)}, {median:.0f} min",
        met=power >= 0.75 and median <= 20,
        runs=holds,
        seed=SEED,
        error=standard_error(power, holds),
    )


def _gross(crew: Crew) -> list[Figure]:
    return [
        _in_slices(crew, "outage", 1.0, limit_seconds=10, p95_seconds=20, seed=SEED + 1),
        _in_slices(crew, "errors 1 → 10 %", 0.10, limit_seconds=120, seed=SEED + 2),
        _in_slices(crew, "errors 1 → 5 %", 0.05, limit_seconds=330, seed=SEED + 3),
    ]


def _in_slices(
    crew: Crew,
    what: str,
    rate: float,
    *,
    limit_seconds: float,
    p95_seconds: float | None = None,
    seed: int,
) -> Figure:
    holds = crew.runs(4_000, least=100)
    traffic = Traffic(candidate_bad=rate, slice_seconds=10)
    found = crew.spread(what, partial(simulated, traffic, Watch(0.0025)), holds, seed)
    median, p95 = (float(np.quantile(found, q, method="lower")) * 10 for q in (0.5, 0.95))
    bar = f"median ≤ {limit_seconds:g} s"
    met = median <= limit_seconds
    if p95_seconds is not None:
        bar += f", p95 ≤ {p95_seconds:g} s"
        met = met and p95 <= p95_seconds
    return Figure(
        what=f"{what} at alpha = .0025, looks each 10 s",
        bar=bar,
        measured=f"{median:.0f} s, p95 {p95:.0f} s",
        met=met,
        runs=holds,
        seed=seed,
    )


def _slower(crew: Crew) -> Figure:
    holds = crew.runs(8_000, least=200)
    traffic = Traffic(candidate_bad=0.127, baseline_bad=0.05)
    found = crew.spread("p95 +50 %", partial(simulated, traffic, Watch(0.05)), holds, SEED + 4)
    median = float(np.median(found))
    return Figure(
        what="p95 +50 % (5 → 12.7 % over the threshold) at alpha = .05, looks each minute",
        bar="median ≤ 5 min",
        measured=f"{median:.0f} min",
        met=median <= 5,
        runs=holds,
        seed=SEED + 4,
    )


def wald_bound(p0: float, p1: float, alpha: float, missed: float) -> float:
    """The fewest candidate units, on average, of any test with these two errors (Wald 1945)."""
    surprise = (1 - missed) * math.log((1 - missed) / alpha)
    surprise += missed * math.log(missed / (1 - alpha)) if missed > 0 else 0.0
    divergence = p1 * math.log(p1 / p0) + (1 - p1) * math.log((1 - p1) / (1 - p0))
    return surprise / divergence


def _wald(crew: Crew) -> list[Figure]:
    return [_near_wald(crew, p1, alpha, SEED + 20 + n) for n, (p1, alpha) in enumerate(WALD_CASES)]


def _near_wald(crew: Crew, p1: float, alpha: float, seed: int) -> Figure:
    holds = crew.runs(6_000, least=200)
    traffic = Traffic(candidate_bad=p1)
    what = f"1 → {p1 * 100:g} % at alpha = {alpha}"
    used = crew.spread(f"Wald, {what}", partial(_units_used, traffic, Watch(alpha)), holds, seed)
    units = np.array([units for units, _ in used])
    power = float(np.mean([found for _, found in used]))
    bound = wald_bound(0.01, p1, alpha, 1 - power)
    ratio = bound / float(units.mean())
    minutes = bound / (traffic.requests_per_second * traffic.share * 60)
    applies = minutes >= BOUND_MINUTES_LEAST and power >= POWER_LEAST
    return Figure(
        what=f"Wald's bound ÷ mean candidate units, {what}",
        bar="≥ .75" if applies else "none",
        measured=f"{ratio:.2f}",
        met=ratio >= NEAR_OPTIMUM if applies else None,
        runs=holds,
        seed=seed,
        note=f"power {power:.2f}, bound {minutes:.1f} min",
    )


def _units_used(
    traffic: Traffic, watch: Watch, dice: np.random.Generator, holds: int
) -> list[tuple[int, bool]]:
    """For each hold, the candidate units until it stopped or ended, and whether it stopped."""
    used: list[tuple[int, bool]] = []
    for hold in traffic.tables(dice, holds):
        at = first_breach(traffic, watch, hold)
        looks = traffic.slices if math.isinf(at) else int(at)
        used.append((int(hold[:looks, 0].sum()), not math.isinf(at)))
    return used
