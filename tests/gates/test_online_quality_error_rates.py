"""How often the quality gate of a step errs, and how soon it finds a loss: by dice that are seeded."""

import math

import numpy as np
import pytest
from evidence_builders import evidence_of
from judged_answers import SCORES, gate, lower_by, plan_of, scored, weigh

from rampway.gates.means import MarginProof
from rampway.gates.plans import Must, Spending
from rampway.gates.quality import QualityTally
from rampway.gates.verdicts import Verdict


@pytest.mark.parametrize("units", [(5, 45), (30, 270)], ids=["1 rps judged", "5 rps judged"])
def test_harmless_candidates_breach_no_more_often_than_the_budget(
    units: tuple[float, float],
) -> None:
    dice = np.random.default_rng(11)
    quality = gate(alpha=0.1, spending=Spending.POWER)
    holds = 250

    breaches = sum(
        weigh(scored(dice, 30, SCORES, units), quality, must=Must.SCREEN).verdict is Verdict.BREACH
        for _ in range(holds)
    )

    assert breaches / holds <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / holds)


def test_a_fifth_of_a_standard_deviation_is_found_within_eight_minutes() -> None:
    dice = np.random.default_rng(12)
    quality = gate(late=0, spending=Spending.POWER)

    found = [
        weigh(scored(dice, 30, lower_by(0.2), (30, 270)), quality).crossed_at_seconds or math.inf
        for _ in range(101)
    ]

    assert np.median(found) <= 8 * 60


def test_a_candidate_at_the_margin_passes_no_more_often_than_beta() -> None:
    dice = np.random.default_rng(13)
    quality = gate(alpha=1e-6, margin_sd=0.2)
    holds = 150

    passes = 0
    for _ in range(holds):
        rows = scored(dice, 60, lower_by(0.2), (6, 54))
        tally = QualityTally(plan_of(quality), quality)
        for n in range(30, 61, 3):
            tally.take(evidence_of(rows[:n], stream="quality"))
            if tally.answer(n * 60)[0].verdict is Verdict.PASS:
                passes += 1
                break

    assert passes / holds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / holds)


def test_a_proof_looked_at_for_long_keeps_its_budget() -> None:
    dice = np.random.default_rng(14)
    holds = 150
    passes = 0
    for _ in range(holds):
        proof = MarginProof(beta=0.05, hold_seconds=30)
        path = np.cumsum(dice.normal(0, 1, 90))
        for n in range(30, 91):
            proof.look(n, path[n - 1] / math.sqrt(n), float(n))
            if proof.passed:
                passes += 1
                break

    assert passes / holds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / holds)
    assert passes / holds >= 0.02
