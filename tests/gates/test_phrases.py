"""How gates say numbers to a person."""

from types import SimpleNamespace
from typing import cast

import pytest
from evidence_builders import error_gate, latency_gate

from rampway.gates.engine import HarmWatch
from rampway.gates.phrases import (
    counted,
    duration,
    enumerated,
    percent,
    points,
    probability,
    signed_points,
    whole_percent,
    words_for_boundary,
    words_for_breach,
    words_for_seen,
    words_for_unpaired,
)
from rampway.gates.plans import RateGate
from rampway.gates.verdicts import Count


def seen(gate: RateGate, bad: int, units: int) -> str:
    return words_for_seen(gate, Count(bad=bad, units=units))


def named(name: str) -> RateGate:
    return error_gate().model_copy(update={"name": name})


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("error", 29, "29 errors of 1,138 candidate units"),
        ("error", 1, "1 error of 1,138 candidate units"),
        ("refusal", 2, "2 refusals of 1,138 candidate units"),
        ("false_positive", 2, "2 false positives of 1,138 candidate units"),
        ("feedback", 2_000, "2,000 bad units of 1,138 candidate units"),
    ],
)
def test_what_a_gate_counts_is_called_by_its_name(name: str, bad: int, words: str) -> None:
    assert seen(named(name), bad, 1_138) == words


@pytest.mark.parametrize(
    ("bucket", "limit"),
    [
        (0, "1 ms"),
        (232, "101 ms"),  # 1.02 ** 233 = 100.9
        (347, "984 ms"),
        (348, "1.00 s"),  # 1.02 ** 349 = 1,003.6
        (393, "2.45 s"),
    ],
)
def test_slow_answers_are_told_with_the_upper_end_of_the_bucket_they_are_over(
    bucket: int, limit: str
) -> None:
    gate = latency_gate(threshold_bucket=bucket)

    assert seen(gate, 1_200, 2_000) == f"1,200 of 2,000 candidate units over {limit}"


def test_a_threshold_of_time_outs_is_still_a_number() -> None:
    at, beyond = (seen(latency_gate(threshold_bucket=b), 1, 2) for b in (19_999, 100_000))

    assert at == beyond
    assert beyond.endswith(" s")


def test_a_latency_that_was_not_frozen_yet_is_counted_without_its_limit() -> None:
    only_bucket = latency_gate().model_copy(update={"quantile": None})

    for gate in (latency_gate(threshold_bucket=None), only_bucket):
        assert seen(gate, 1, 20) == "1 bad unit of 20 candidate units"


def watch(breach_at: int | None, *, late: bool = False) -> HarmWatch:
    """A watch as far as its words need it."""
    told = SimpleNamespace(
        breach_at=breach_at, crossed_late=late, seen_in_window=1_044, window_starts_seconds=1_200.0
    )
    return cast("HarmWatch", told)


def test_a_breach_says_what_was_seen_and_what_a_harmless_candidate_does() -> None:
    assert words_for_breach("44 errors", watch(1_044), 38.06) == (
        "44 errors, BREACH at 1,044; 38.1 expected if harmless"
    )
    assert words_for_breach("44 errors", watch(44, late=True), 38.06) == (
        "44 errors, BREACH at 44; 38.1 expected if harmless; 1,044 of them after 20 min"
    )


def test_a_boundary_that_nothing_can_reach_is_not_told() -> None:
    assert words_for_boundary(watch(None)) == ""
    assert words_for_boundary(watch(0)) == ", BREACH at 0"


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs"), (5_702, "5,702 pairs")]
)
def test_one_thing_is_counted_in_the_singular(number: int, words: str) -> None:
    assert counted(number, "pair") == words


def test_a_plural_that_does_not_end_in_s_is_given() -> None:
    assert counted(2, "loss", "losses") == "2 losses"
    assert counted(1, "loss", "losses") == "1 loss"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (25, "25 s"),
        (119, "119 s"),
        (119.5, "2 min"),
        (120, "2 min"),
        (121, "3 min"),
        (2_460, "41 min"),
        (3_540, "59 min"),
        (3_541, "1 h"),
        (3_600, "1 h"),
        (3_601, "1 h 01 min"),
        (7_500, "2 h 05 min"),
        (47 * 3_600 + 60, "47 h 01 min"),
        (48 * 3_600, "48 h"),
        (48 * 3_600 + 60, "48 h"),
        (60 * 3_600, "60 h"),
    ],
)
def test_a_time_is_told_as_exactly_as_a_plan_needs_it_rounded_up(
    seconds: float, words: str
) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.0, "0.00 %"),
        (0.0047, "0.47 %"),
        (0.0999, "9.99 %"),
        (0.1, "10.0 %"),
        (0.152, "15.2 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_rate_under_ten_percent_is_told_with_two_decimals(rate: float, words: str) -> None:
    assert percent(rate) == words


def test_a_declared_share_is_told_as_it_was_declared() -> None:
    assert [whole_percent(share) for share in (0.95, 0.975, 1)] == ["95 %", "97.5 %", "100 %"]


@pytest.mark.parametrize(
    ("difference", "words"),
    [(-0.041, "-4.1"), (0.0, "+0.0"), (-0.0, "+0.0"), (0.019, "+1.9"), (1.0, "+100.0")],
)
def test_a_difference_is_told_in_points_with_its_sign(difference: float, words: str) -> None:
    assert signed_points(difference) == words
    assert points(difference) == f"{words} pp"


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.0, "p < 0.001"), (0.00099, "p < 0.001"), (0.001, "p = 0.001"), (1.0, "p = 1.000")],
)
def test_a_probability_is_told_with_three_decimals(p: float, words: str) -> None:
    assert probability(p) == words


def test_what_is_not_named_is_counted() -> None:
    assert enumerated(["past simple", "future"], 2) == "past simple, future"
    assert enumerated(["past simple", "future"], 3) == "past simple, future and 1 more"
    assert enumerated(["past simple", "future"], 1_006) == "past simple, future and 1,004 more"


@pytest.mark.parametrize(
    ("p", "difference", "said"),
    [
        (0.0499, -0.01, "blocked: p = 0.050"),
        (0.0499, 0.01, "called it better: p = 0.050"),
        (0.0499, 0.0, "called it better: p = 0.050"),
        (0.05, -0.01, "found nothing: p = 0.050"),
        (0.05, 0.01, "found nothing: p = 0.050"),
    ],
)
def test_the_plain_test_is_told_as_it_would_have_decided(
    p: float, difference: float, said: str
) -> None:
    assert words_for_unpaired(p, 0.05, difference) == (
        f"an unpaired z-test at p < 0.05 would have {said}"
    )
