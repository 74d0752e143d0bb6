"""Counts are exact, sealed at fixed times, and the same for both arms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.gateway.counting import (
    SEALED_AT_ONCE_MAX,
    TIMEOUT_BUCKET,
    ArmCell,
    Outcome,
    Sealed,
    SegmentCounter,
    latency_bucket,
)
from rampway.gateway.terms import Arm, Timing

TIMING = Timing(slice_seconds=10, fast_seconds=10, timeout_seconds=60)
ONE_STREAM = Timing(slice_seconds=1, fast_seconds=1, timeout_seconds=1)
BEGAN = 5_000.0
OK = Outcome(answered=True)
FAILED = Outcome(kind="status_500", answered=True)
RESET = Outcome(kind="reset")


def counter(timing: Timing = TIMING, *, units_max: int = 1_000) -> SegmentCounter:
    return SegmentCounter(epoch=1, number=3, began=BEGAN, timing=timing, units_max=units_max)


def started(
    counting: SegmentCounter, seconds: float, *, unit: int = 1, arm: Arm = Arm.CANDIDATE
) -> ArmCell:
    cell = counting.start(arm, unit, BEGAN + seconds)
    assert cell is not None
    return cell


def sealed(counting: SegmentCounter, seconds: float) -> Sealed:
    return counting.seal(BEGAN + seconds) or Sealed()


def test_a_slice_is_sealed_fast_exactly_fast_seconds_and_full_exactly_the_timeout_after_its_end() -> (
    None
):
    counting = counter()
    started(counting, 3)

    assert not sealed(counting, 19.999).fast
    assert [row["i"] for row in sealed(counting, 20).fast] == [0]
    assert not sealed(counting, 69.999).full
    assert [row["i"] for row in sealed(counting, 70).full] == [0]


def test_a_slice_is_sealed_once() -> None:
    counting = counter()

    assert len(sealed(counting, 35).fast) == 2
    assert not sealed(counting, 35).fast


@pytest.mark.parametrize(
    ("took_seconds", "outcome", "error", "late"),
    [
        (0.2, OK, 0, 0),
        (10, FAILED, 1, 0),
        (10.001, FAILED, 0, 1),
        (60, FAILED, 0, 1),
        (60, OK, 0, 0),
        (60.001, OK, 0, 1),
        (60.001, Outcome(aborted=True), 0, 1),
        (59, Outcome(aborted=True), 0, 0),
        (0.1, RESET, 1, 0),
    ],
)
def test_what_a_request_counts_as_depends_on_its_own_duration(
    took_seconds: float, outcome: Outcome, error: int, late: int
) -> None:
    counting = counter()
    started(counting, 0).finish(took_seconds, outcome, TIMING)

    told = sealed(counting, 100)

    assert told.fast[0]["candidate"] == {"units": 1, "error": error}
    assert told.full[0]["candidate"]["late"] == late
    assert sum(told.full[0]["candidate"]["kinds"].values()) == error + late


def test_a_request_that_is_unfinished_at_a_seal_has_not_failed_yet_and_is_late_at_the_timeout() -> (
    None
):
    counting = counter()
    cell = started(counting, 9.9)

    fast, full = sealed(counting, 20).fast[0], sealed(counting, 70).full[0]
    cell.finish(61, OK, TIMING)

    assert fast["candidate"] == {"units": 1, "error": 0}
    assert full["candidate"] == {
        "units": 1,
        "late": 1,
        "refusal": 0,
        "aborted": 0,
        "kinds": {"timeout": 1},
        "latency": {str(TIMEOUT_BUCKET): 1},
    }


def test_with_a_timeout_within_fast_seconds_all_that_fails_or_is_unfinished_is_one_stream() -> None:
    counting = counter(ONE_STREAM)
    started(counting, 0.1, unit=1)
    started(counting, 0.1, unit=2).finish(0.5, FAILED, ONE_STREAM)
    started(counting, 0.1, unit=3).finish(1.5, OK, ONE_STREAM)
    started(counting, 0.1, unit=4).finish(0.5, OK, ONE_STREAM)

    assert not sealed(counting, 1.999).fast
    told = sealed(counting, 2)

    assert told.fast[0]["candidate"] == {"units": 4, "error": 3}
    assert told.full[0]["candidate"]["late"] == 0


def test_a_request_counts_in_the_slice_it_started_in_for_its_own_arm() -> None:
    counting = counter()
    started(counting, 9.999, unit=1).finish(0.1, OK, TIMING)
    started(counting, 10, unit=2, arm=Arm.BASELINE).finish(0.1, OK, TIMING)

    rows = sealed(counting, 35).fast

    assert [(row["candidate"]["units"], row["baseline"]["units"]) for row in rows] == [
        (1, 0),
        (0, 1),
    ]


def test_refusals_and_callers_who_left_are_counted_and_are_no_errors() -> None:
    counting = counter()
    started(counting, 0, unit=1).finish(0.1, Outcome(answered=True, refused=True), TIMING)
    started(counting, 0, unit=2).finish(0.1, Outcome(aborted=True), TIMING)

    told = sealed(counting, 100)

    assert told.fast[0]["candidate"]["error"] == 0
    assert told.full[0]["candidate"] == {
        "units": 2,
        "late": 0,
        "refusal": 1,
        "aborted": 1,
        "kinds": {},
        "latency": {str(latency_bucket(100)): 2},
    }


def test_a_failure_without_a_full_answer_took_for_ever() -> None:
    counting = counter()
    started(counting, 0, unit=1).finish(0.1, RESET, TIMING)
    started(counting, 0, unit=2).finish(0.1, FAILED, TIMING)

    [row] = sealed(counting, 70).full

    assert row["candidate"]["latency"] == {str(latency_bucket(100)): 1, str(TIMEOUT_BUCKET): 1}


def test_a_unit_that_comes_again_in_a_segment_counts_once() -> None:
    counting = counter()
    started(counting, 0, unit=7)

    assert counting.start(Arm.CANDIDATE, 7, BEGAN + 25) is None
    assert sealed(counting, 40).fast[0]["candidate"]["units"] == 1


def test_units_beyond_the_bound_are_forgotten_and_the_forgetting_is_counted() -> None:
    counting = counter(units_max=10)
    for unit in range(10):
        started(counting, 0, unit=unit)

    assert counting.start(Arm.CANDIDATE, 0, BEGAN) is None
    assert counting.units_forgotten == 0
    started(counting, 0, unit=10)
    assert counting.units_forgotten == 5
    assert counting.start(Arm.CANDIDATE, 0, BEGAN) is not None
    assert counting.start(Arm.CANDIDATE, 9, BEGAN) is None


def test_the_slice_that_a_write_cuts_is_never_sealed() -> None:
    counting = counter()
    started(counting, 3)
    started(counting, 12, unit=2)

    whole = counting.close(BEGAN + 19)
    told = sealed(counting, 1_000)

    assert whole == 1
    assert [row["i"] for row in told.fast] == [row["i"] for row in told.full] == [0]
    assert counting.is_sealed


def test_nothing_is_counted_in_a_segment_that_is_over() -> None:
    counting = counter()
    counting.close(BEGAN + 25)

    assert counting.start(Arm.CANDIDATE, 1, BEGAN + 5) is None


def test_slices_of_an_earlier_process_are_below_sealed_and_have_no_row() -> None:
    counting = counter()
    counting.resume(BEGAN + 34)

    assert counting.sealed_to == (2, 0)
    assert counting.start(Arm.CANDIDATE, 1, BEGAN + 39) is None
    started(counting, 40, unit=2)
    told = sealed(counting, 200)
    assert counting.sealed_to == (19, 14)
    assert told.fast[0]["i"] == told.full[0]["i"] == 4


def test_a_long_sleep_is_worked_off_in_pieces() -> None:
    counting = counter()

    assert len(sealed(counting, 1e6).fast) == SEALED_AT_ONCE_MAX
    assert len(sealed(counting, 1e6).fast) == SEALED_AT_ONCE_MAX


@given(
    width=st.floats(0.1, 100),
    delay=st.floats(0.01, 100),
    timeout=st.floats(0.01, 100),
    steps=st.lists(st.floats(0.001, 50), max_size=30),
)
def test_a_seal_is_never_early_and_never_skipped(
    width: float, delay: float, timeout: float, steps: list[float]
) -> None:
    timing = Timing(slice_seconds=width, fast_seconds=delay, timeout_seconds=timeout)
    counting, now, seen = counter(timing), BEGAN, 0
    for step in steps:
        now += step
        told = counting.seal(now) or Sealed()
        for row in told.fast:
            assert row["i"] == seen
            seen += 1
            assert now >= BEGAN + seen * width + timing.fast_delay_seconds - 1e-6 * width
        assert counting.next_seal() > now - 1e-6


@given(milliseconds=st.floats(0, 1e7))
def test_a_latency_lies_within_its_bucket(milliseconds: float) -> None:
    bucket = latency_bucket(milliseconds)

    assert 0 <= bucket < TIMEOUT_BUCKET
    if milliseconds >= 1:
        assert 1.02**bucket <= milliseconds * (1 + 1e-9)
        assert milliseconds < 1.02 ** (bucket + 1) * (1 + 1e-9)
    else:
        assert bucket == 0


@given(st.lists(st.tuples(st.floats(0, 200), st.sampled_from([OK, FAILED, RESET])), max_size=50))
def test_every_unit_has_one_latency_and_one_kind_if_it_is_bad(
    told: list[tuple[float, Outcome]],
) -> None:
    cell = ArmCell()
    for took, outcome in told:
        cell.units += 1
        cell.finish(took, outcome, TIMING)
    cell.units += 2

    fast, full = cell.fast(TIMING), cell.full(TIMING)

    assert sum(full["latency"].values()) == full["units"] == len(told) + 2
    assert sum(full["kinds"].values()) == fast["error"] + full["late"]
    assert math.isclose(fast["units"], full["units"])
