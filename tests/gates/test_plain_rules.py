"""The rules that teams write by hand fail at these rates; the engine holds on the same traffic.

Simulated Poisson traffic: 50 requests/s, 1 % of them candidate, a hold of 30 minutes in slices of one
minute, 1 % errors in both arms, unless a test says otherwise. Every candidate here is harmless.
"""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import gammainc, ndtri

from rampway.gates.engine import HarmWatch, ProofWatch, noncentral_hypergeometric
from rampway.gates.plans import Spending

Counts = npt.NDArray[np.int64]
Tables = npt.NDArray[np.int64]  # holds x slices x (n_c, x_c, n_b, x_b)

MINUTES = 30
PER_MINUTE = 3_000
ERRORS = 0.01
ALPHA = 0.05


def tables(
    dice: np.random.Generator,
    holds: int,
    *,
    slices: int = MINUTES,
    requests: npt.ArrayLike = PER_MINUTE,
    share: npt.ArrayLike = 0.01,
    errors: float | npt.NDArray[np.float64] = ERRORS,
) -> Tables:
    """Harmless holds; requests per slice, share and error rate may change from slice to slice."""
    rates = np.broadcast_to(requests, slices) * np.broadcast_to(share, slices)
    rest = np.broadcast_to(requests, slices) - rates
    n_c, n_b = dice.poisson(rates, (holds, slices)), dice.poisson(rest, (holds, slices))
    return np.stack([n_c, dice.binomial(n_c, errors), n_b, dice.binomial(n_b, errors)], axis=-1)


def z_scores(n_c: Counts, x_c: Counts, n_b: Counts, x_b: Counts) -> npt.NDArray[np.float64]:
    """The two-proportion z of a textbook, 0 where nothing was seen."""
    pooled = (x_c + x_b) / np.maximum(1, n_c + n_b)
    variance = pooled * (1 - pooled) * (1 / np.maximum(1, n_c) + 1 / np.maximum(1, n_b))
    gap = x_c / np.maximum(1, n_c) - x_b / np.maximum(1, n_b)
    scores: npt.NDArray[np.float64] = gap / np.sqrt(np.where(variance > 0, variance, 1.0))
    return scores


def z_at_each_look(found: Tables) -> npt.NDArray[np.float64]:
    n_c, x_c, n_b, x_b = np.moveaxis(found.cumsum(axis=1), -1, 0)
    return z_scores(n_c, x_c, n_b, x_b)


def z_at_the_end(found: Tables) -> npt.NDArray[np.float64]:
    return z_at_each_look(found)[:, -1]


def share_stopped(found: Tables, alpha: float = ALPHA) -> float:
    """The part of holds that the engine stops, at power spending and without tolerance."""
    return float(np.mean([stopped(hold, alpha) for hold in found]))


def stopped(hold: Tables, alpha: float) -> bool:
    watch = HarmWatch(alpha=alpha, late=0.0, spending=Spending.POWER, hold_seconds=len(hold))
    return any(
        watch.look(index + 1, noncentral_hypergeometric(n_c, n_b, x_c + x_b, 1.0), x_c)
        for index, (n_c, x_c, n_b, x_b) in enumerate(hold.tolist())
    )


def at_most(alpha: float, runs: int) -> float:
    return alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_a_z_test_each_minute_rolls_back_nearly_every_harmless_release() -> None:
    dice = np.random.default_rng(1)
    releases, steps, rates = 300, (0.01, 0.05, 0.25, 0.99), 5

    ever = np.zeros(releases, dtype=bool)
    once = np.zeros(releases, dtype=bool)
    for share in steps * rates:
        scores = z_at_each_look(tables(dice, releases, share=share))
        ever |= (scores > ndtri(1 - ALPHA)).any(axis=1)
        once |= scores[:, -1] > ndtri(1 - ALPHA)
    ours = sum(
        any(stopped(tables(dice, 1, share=share)[0], ALPHA / 20) for share in steps * rates)
        for _ in range(40)
    )

    assert ever.mean() >= 0.98  # 99.8 % on more runs
    assert 0.58 <= once.mean() <= 0.76  # once a step is no way out: 67 %
    assert ours / 40 <= at_most(ALPHA, 40)


def test_twice_as_bad_as_yesterday_is_a_false_alarm_and_blind_to_a_common_incident() -> None:
    dice = np.random.default_rng(2)
    incident = np.where(np.arange(MINUTES) < 10, ERRORS, 4 * ERRORS)

    def alarms(found: Tables) -> float:
        n_c, x_c, _, _ = np.moveaxis(found.cumsum(axis=1), -1, 0)
        return float(((n_c >= 100) & (x_c > 2 * ERRORS * n_c)).any(axis=1).mean())

    quiet = tables(dice, 2_000)
    common = tables(dice, 2_000, errors=incident)

    assert 0.14 <= alarms(quiet) <= 0.30
    assert alarms(common) >= 0.90
    assert share_stopped(common[:300]) <= at_most(ALPHA, 300)


def test_pooled_totals_see_harm_where_share_and_base_rate_moved_together() -> None:
    dice = np.random.default_rng(3)
    later = np.arange(MINUTES) >= MINUTES // 2
    found = tables(
        dice, 2_000, share=np.where(later, 0.05, 0.01), errors=np.where(later, 0.03, 0.01)
    )

    simpson = float((z_at_the_end(found) > ndtri(1 - ALPHA)).mean())

    assert 0.70 <= simpson <= 1
    assert share_stopped(found[:300]) <= at_most(ALPHA, 300)


def test_requests_of_sticky_users_are_not_independent() -> None:
    dice = np.random.default_rng(4)
    each = 6
    n_c, _, n_b, _ = np.moveaxis(tables(dice, 1_500, requests=PER_MINUTE / each), -1, 0)

    def outcomes(users: Counts) -> tuple[Counts, Counts]:
        """Failed requests, and users whose first request failed."""
        # 7 of 10 users have one fate for all their requests, the others a new one each time.
        steady = dice.binomial(users, 0.7)
        doomed = dice.binomial(steady, ERRORS)
        first = dice.binomial(users - steady, ERRORS)
        rest = dice.binomial((users - steady) * (each - 1), ERRORS)
        return doomed * each + first + rest, doomed + first

    (failed_c, first_c), (failed_b, first_b) = outcomes(n_c), outcomes(n_b)
    by_request = np.stack([n_c * each, failed_c, n_b * each, failed_b], axis=-1)
    by_user = np.stack([n_c, first_c, n_b, first_b], axis=-1)

    assert 0.15 <= (z_at_the_end(by_request) > ndtri(1 - ALPHA)).mean() <= 0.30
    assert share_stopped(by_user[:300]) <= at_most(ALPHA, 300)


def test_a_failure_that_the_client_tries_again_is_one_outcome() -> None:
    dice = np.random.default_rng(5)
    found = tables(dice, 600)
    n_c, x_c, n_b, x_b = np.moveaxis(found, -1, 0)
    tries = np.stack([n_c + 2 * x_c, 3 * x_c, n_b + 2 * x_b, 3 * x_b], axis=-1)

    assert share_stopped(tries[:300]) >= 0.18
    assert share_stopped(found[:300]) <= at_most(ALPHA, 300)


def seen_in_time(mean_seconds: float, *, slice_seconds: float) -> float:
    """The part of answers that end in the slice they began in; latencies follow a gamma law."""
    left = np.linspace(0, slice_seconds, 1_001)
    return float(gammainc(4, left * 4 / mean_seconds).mean())


@pytest.mark.parametrize(("slower", "alarms"), [(2, 0.37), (3, 0.80)])
def test_leaving_out_unfinished_requests_makes_a_slow_candidate_a_failing_one(
    slower: int, alarms: float
) -> None:
    dice = np.random.default_rng(6)
    found = tables(dice, 3_000, slices=180, requests=PER_MINUTE / 6)
    n_c, x_c, n_b, x_b = np.moveaxis(found, -1, 0)

    # Failures come at once; good answers take 2.7 s on average, and are seen if their slice lasts.
    seen_c = dice.binomial(n_c - x_c, seen_in_time(slower * 2.7, slice_seconds=10)) + x_c
    seen_b = dice.binomial(n_b - x_b, seen_in_time(2.7, slice_seconds=10)) + x_b
    hasty = z_at_the_end(np.stack([seen_c, x_c, seen_b, x_b], axis=-1))

    assert (hasty > ndtri(1 - ALPHA)).mean() == pytest.approx(alarms, abs=0.1)
    assert share_stopped(found[:150]) <= at_most(ALPHA, 150)


def test_a_strict_level_does_not_pay_for_ninety_looks() -> None:
    dice = np.random.default_rng(7)
    found = tables(dice, 2_000, slices=90)

    alarms = (z_at_each_look(found) > ndtri(0.99)).any(axis=1).mean()

    assert 0.08 <= alarms <= 0.20
    assert share_stopped(found[:200], alpha=0.01) <= at_most(0.01, 200)


def test_a_success_rate_each_minute_aborts_small_targets_by_chance() -> None:
    dice = np.random.default_rng(8)
    found = tables(dice, 2_000, requests=20, share=0.5, errors=0.02)
    n_c, x_c, _, _ = np.moveaxis(found, -1, 0)

    aborted = (n_c - x_c < 0.95 * n_c).any(axis=1).mean()

    assert aborted >= 0.98
    assert share_stopped(found[:300]) <= at_most(ALPHA, 300)


@pytest.mark.parametrize(("hours", "promoted"), [(0.5, 0.34), (1, 0.50), (4, 0.96)])
def test_a_proof_at_every_step_keeps_most_good_candidates_waiting(
    hours: float, promoted: float
) -> None:
    dice = np.random.default_rng(9)
    seconds = round(hours * 3_600)

    def proven(share: float, margin: float, holds: int) -> npt.NDArray[np.bool_]:
        """The fixed test of a textbook: the upper 95 % limit of the log odds is under the margin."""
        found = tables(dice, holds, slices=1, requests=50 * seconds, share=share)
        n_c, x_c, n_b, x_b = np.moveaxis(found[:, 0] + 0.5, -1, 0)
        log_odds = np.log(x_c / (n_c - x_c) / (x_b / (n_b - x_b)))
        reach = ndtri(0.95) * np.sqrt(1 / x_c + 1 / x_b)
        below: npt.NDArray[np.bool_] = log_odds + reach < math.log(margin)
        return below

    everywhere = np.all([proven(share, 1.5, 4_000) for share in (0.01, 0.05, 0.25)], axis=0)

    assert everywhere.mean() == pytest.approx(promoted, abs=0.13)


def test_a_screen_first_and_margins_that_narrow_prove_a_good_candidate_in_half_an_hour() -> None:
    dice = np.random.default_rng(10)

    def proves(share: float, odds: float, minutes: int) -> bool:
        proof = ProofWatch(beta=0.05, hold_seconds=minutes)
        seen = 0
        for index, row in enumerate(tables(dice, 1, slices=minutes, share=share)[0].tolist()):
            n_c, x_c, n_b, x_b = row
            seen += x_c
            law = noncentral_hypergeometric(n_c, n_b, x_c + x_b, odds)
            proof.look(index + 1, law, mute=False)
        return proof.pass_at is not None and seen <= proof.pass_at

    proven = sum(proves(0.05, 2.0, 30) and proves(0.25, 1.5, 30) for _ in range(60))

    assert proven >= 55
