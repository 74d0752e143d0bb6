"""How soon a lower mean score is found on answers that users saw, and how often by mistake."""

import math
from collections import Counter
from functools import partial

import numpy as np

from benchmarks.crews import Crew
from benchmarks.figures import Figure, Section, share, standard_error
from benchmarks.traffic import Floats
from rampway.gates.draws import sum_of_draws
from rampway.gates.engine import HarmWatch
from rampway.gates.plans import Spending

SEED = 501
ALPHA = 0.05
MINUTES = 30
CANDIDATES_PER_MINUTE = 30  # 1 % of 50 requests/s, all judged
BASELINES_EACH = 9
LOST = (0.40, 0.35, 0.15, 0.07, 0.03)  # chances of losing 0, 1, ... levels of a five-level score


def measure(crew: Crew) -> Section:
    """Detection of a loss of 0.2 sd, and false breaches without a loss."""
    return Section("Quality", (_found(crew), _false(crew)))


def _found(crew: Crew) -> Figure:
    holds = crew.runs(2_000, least=100)
    found = crew.spread("quality -0.2 sd", partial(_first_breaches, 0.2), holds, SEED)
    median = float(np.median(found))
    return Figure(
        what=f"quality -0.2 sd at alpha = .05, {BASELINES_EACH} baseline scores each, looks each minute",
        bar="median ≤ 8 min",
        measured=f"{median:.0f} min",
        met=median <= 8,
        runs=holds,
        seed=SEED,
    )


def _false(crew: Crew) -> Figure:
    holds = crew.runs(2_000, least=50)
    found = crew.spread("quality, harmless", partial(_first_breaches, 0.0), holds, SEED + 1)
    measured = float(np.isfinite(found).mean())
    return Figure(
        what="false breach of quality at alpha = .05, looks each minute",
        bar="≤ alpha + 3 SE",
        measured=share(measured),
        met=measured <= ALPHA + 3 * standard_error(ALPHA, holds),
        runs=holds,
        seed=SEED + 1,
        error=standard_error(measured, holds),
    )


def _first_breaches(loss_sd: float, dice: np.random.Generator, holds: int) -> list[float]:
    worse = _worse_by(loss_sd)
    return [_first_breach(dice, worse) for _ in range(holds)]


def _worse_by(loss_sd: float) -> Floats:
    """The same scores, with a part of each level moved down to the next."""
    chances = np.array(LOST)
    levels = np.arange(chances.size)
    mean = float(levels @ chances)
    sd = math.sqrt(float((levels - mean) ** 2 @ chances))
    moved = chances[:-1] * loss_sd * sd / chances[:-1].sum()
    worse: Floats = chances.copy()
    worse[:-1] -= moved
    worse[1:] += moved
    return worse


def _first_breach(dice: np.random.Generator, worse: Floats) -> float:
    harm = HarmWatch(alpha=ALPHA, late=0.0, spending=Spending.POWER, hold_seconds=MINUTES * 60)
    for minute in range(1, MINUTES + 1):
        new = dice.multinomial(dice.poisson(CANDIDATES_PER_MINUTE), worse)
        old = dice.multinomial(dice.poisson(CANDIDATES_PER_MINUTE * BASELINES_EACH), LOST)
        law = sum_of_draws(Counter(dict(enumerate((new + old).tolist()))), int(new.sum()))
        if harm.look(minute * 60, law, int(np.arange(new.size) @ new)):
            return minute
    return math.inf
