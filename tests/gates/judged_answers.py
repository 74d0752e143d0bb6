"""Builds judged answers of both arms, and weighs them; a test changes the one fact it is about."""

import math

import numpy as np
from evidence_builders import evidence_of, step_plan
from pydantic import JsonValue

from rampway.gates.plans import Must, QualityGate, Role, Spending, StepPlan
from rampway.gates.quality import QualityTally
from rampway.gates.verdicts import GateVerdict

# A minute: 30 candidate and 270 baseline answers on a scale of five, both with 85 % at the top.
EVEN = [[4, 25, 229], [3, 3, 23], [0, 2, 18]]
WORSE = [[4, 18, 229], [3, 6, 23], [0, 6, 18]]
SCORES = np.asarray([0.04, 0.03, 0.03, 0.05, 0.85])  # of 0 to 4


def gate(
    *,
    levels: int = 5,
    alpha: float = 0.05,
    late: float = 0.25,
    spending: Spending = Spending.OPEN,
    margin_sd: float | None = 0.1,
    role: Role = Role.GUARD,
) -> QualityGate:
    return QualityGate(
        levels=levels, alpha=alpha, late=late, spending=spending, margin_sd=margin_sd, role=role
    )


def plan_of(quality: QualityGate, must: Must = Must.PROVE) -> StepPlan:
    return step_plan(must=must).model_copy(update={"quality": quality})


def judged(
    slices: int, cells: list[list[int]], *, unjudged: tuple[int, int] = (0, 0)
) -> list[JsonValue]:
    return [[n, [list(cell) for cell in cells], *unjudged] for n in range(slices)]


def weigh(
    rows: list[JsonValue],
    quality: QualityGate | None = None,
    *,
    must: Must = Must.PROVE,
    sealed: int | None = None,
) -> GateVerdict:
    quality = quality or gate()
    tally = QualityTally(plan_of(quality, must), quality)
    tally.take(evidence_of(rows, stream="quality", sealed=sealed))
    verdict, _ = tally.answer(tally.slices.seconds)
    return verdict


def scored(
    dice: np.random.Generator, slices: int, candidate: np.ndarray, units: tuple[float, float]
) -> list[JsonValue]:
    rows: list[JsonValue] = []
    for index in range(slices):
        new = dice.multinomial(dice.poisson(units[0]), candidate).tolist()
        old = dice.multinomial(dice.poisson(units[1]), SCORES).tolist()
        cells = [[score, a, b] for score, (a, b) in enumerate(zip(new, old, strict=True))]
        rows.append([index, cells, 0, 0])
    return rows


def lower_by(sds: float) -> np.ndarray:
    """The usual scores with some answers lost altogether: the mean falls by so many sd."""
    scale = np.arange(SCORES.size)
    mean = SCORES @ scale
    part = sds * math.sqrt(SCORES @ (scale - mean) ** 2) / mean
    return (1 - part) * SCORES + part * (scale == 0)
