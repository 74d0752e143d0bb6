"""The arms get what the split promises, or nothing that was counted is believed."""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from evidence_builders import error_gate, evidence_of_streams, steady, step_plan
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from rampway.gates import sample_ratio
from rampway.gates.plans import Must, RateGate, SampleRatioGate, StepPlan
from rampway.gates.sample_ratio import EValue
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict
from rampway.gates.weigh import Weigher, weigh

if TYPE_CHECKING:
    from pydantic import JsonValue

ALPHA = 0.001
MINUTES = 30
PER_MINUTE = 3_000
Counts = npt.NDArray[np.int64]


def split_plan(*gates: RateGate, share_bp: int = 500) -> StepPlan:
    plan = step_plan(*gates, must=Must.SCREEN, units=0)
    return plan.model_copy(update={"share_bp": share_bp, "sample_ratio": SampleRatioGate()})


def refusal_gate() -> RateGate:
    return RateGate(name="refusal", stream="refusal", alpha=0.003)


def ratio(verdict: StageVerdict) -> GateVerdict:
    return next(gate for gate in verdict.gates if gate.gate == "sample ratio")


def weigh_units(
    candidate: int, baseline: int, slices: int = 30, share_bp: int = 500
) -> StageVerdict:
    rows = steady(slices, [candidate, 0, baseline, 0])
    return weigh(split_plan(share_bp=share_bp), evidence_of_streams({"error": rows}))


def e_values(candidate: Counts, baseline: Counts, share: float) -> npt.NDArray[np.float64]:
    """The logarithm of the e-value after each slice, by scipy, along the last axis."""
    c, b = candidate.cumsum(axis=-1), baseline.cumsum(axis=-1)
    prior_c, prior_b = 1000 * share, 1000 * (1 - share)
    fitted = special.betaln(prior_c + c, prior_b + b) - special.betaln(prior_c, prior_b)
    log_e: npt.NDArray[np.float64] = fitted - c * np.log(share) - b * np.log1p(-share)
    return log_e


def first_mismatch(candidate: Counts, baseline: Counts, share: float) -> int | None:
    """Units of both arms after which our e-value latches."""
    e_value = EValue(share=share, concentration=1000, limit=1 / ALPHA)
    for number, (c, b) in enumerate(zip(candidate.tolist(), baseline.tolist(), strict=True)):
        e_value.add(c, b, float(number))
        if e_value.mismatch:
            return e_value.total
    return None


def arms(
    share: float, holds: int, *, seed: int, minutes: int = MINUTES, units: int = PER_MINUTE
) -> tuple[Counts, Counts]:
    dice = np.random.default_rng(seed)
    candidate = dice.poisson(units * share, (holds, minutes))
    return candidate, dice.poisson(units * (1 - share), (holds, minutes))


@given(
    candidate=st.integers(0, 10**7),
    baseline=st.integers(0, 10**7),
    share=st.sampled_from([0.01, 0.05, 0.25, 0.5, 0.99]),
)
def test_the_e_value_is_the_dirichlet_multinomials_bayes_factor(
    candidate: int, baseline: int, share: float
) -> None:
    e_value = EValue(share=share, concentration=1000, limit=math.inf)

    e_value.add(candidate, baseline, 60)

    expected = e_values(np.array([candidate]), np.array([baseline]), share)[0]
    assert e_value.log == pytest.approx(expected, rel=1e-9, abs=1e-5)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_under_the_promised_split_the_e_value_is_a_martingale(share: float) -> None:
    units = 12

    expected = 0.0
    for candidate in range(units + 1):
        e_value = EValue(share=share, concentration=10, limit=math.inf)
        e_value.add(candidate, units - candidate, 60)
        expected += stats.binom.pmf(candidate, units, share) * math.exp(e_value.log)

    assert expected == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.99])
def test_a_split_that_does_what_it_promises_is_doubted_no_more_often_than_alpha(
    share: float,
) -> None:
    candidate, baseline = arms(share, 20_000, seed=1, minutes=MINUTES)

    doubted = (e_values(candidate, baseline, share).max(axis=1) >= -math.log(ALPHA)).mean()

    assert doubted <= ALPHA + 3 * math.sqrt(ALPHA / 20_000)


def test_a_chi_square_each_minute_doubts_the_same_splits_many_times_as_often() -> None:
    candidate, baseline = arms(0.05, 20_000, seed=1, minutes=MINUTES)

    c, n = candidate.cumsum(axis=1), (candidate + baseline).cumsum(axis=1)
    chi_square = (c - 0.05 * n) ** 2 / (0.05 * 0.95 * n)
    doubted = (chi_square > stats.chi2.isf(0.01, 1)).any(axis=1).mean()
    ours = (e_values(candidate, baseline, 0.05).max(axis=1) >= -math.log(0.01)).mean()

    assert doubted == pytest.approx(0.075, abs=0.015)
    assert ours <= 0.01


def test_five_and_a_half_percent_instead_of_five_is_found_within_85_000_units() -> None:
    candidate, baseline = arms(0.055, 200, seed=2, minutes=90)

    found = [
        first_mismatch(c, b, 0.05) or math.inf for c, b in zip(candidate, baseline, strict=True)
    ]

    assert float(np.median(found)) <= 40_000
    assert float(np.quantile(found, 0.95)) <= 85_000


def test_a_tenth_more_of_the_rare_arm_is_found_at_99_to_1_too() -> None:
    candidate, baseline = arms(0.989, 50, seed=3, minutes=360)

    found = [
        first_mismatch(c, b, 0.99) or math.inf for c, b in zip(candidate, baseline, strict=True)
    ]

    assert float(np.median(found)) <= 240_000


def test_a_mismatch_is_inconclusive_for_good_and_says_what_was_promised_and_what_came() -> None:
    rows = [*steady(10, [300, 0, 2700, 0]), *steady(30, [20, 0, 2980, 0])[10:]]

    found = weigh(split_plan(), evidence_of_streams({"error": rows}))

    gate = ratio(found)
    assert (found.verdict, gate.verdict) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    assert gate.crossed_at_seconds == 60
    assert found.seconds_to_go is None
    assert (gate.candidate.units, gate.baseline.units, gate.expected) == (300, 2700, 150)
    assert found.why == (
        "sample ratio: 10.00 % of 3,000 units came to the candidate, 5 % promised; e-value over "
        "1,000,000, a mismatch from 1,000 on; these counts decide nothing"
    )


def test_a_mismatch_outlasts_the_hold_whatever_the_other_gates_wait_for() -> None:
    waiting = weigh_units(600, 2400, slices=5)

    assert waiting.verdict is Verdict.INCONCLUSIVE
    assert waiting.why.startswith("sample ratio: 20.00 %")


def test_a_promised_split_passes_at_the_end_of_the_hold() -> None:
    early, verdict = weigh_units(150, 2850, slices=29), weigh_units(150, 2850)

    assert ratio(early).verdict is Verdict.INCONCLUSIVE
    assert ratio(early).why.endswith("promised; 60 s of the hold to go")
    assert early.seconds_to_go == 60
    assert verdict.verdict is Verdict.PASS
    assert ratio(verdict).why == "5.00 % of 90,000 units came to the candidate, 5 % promised"


def test_a_mismatch_is_no_breach_and_hides_none() -> None:
    rows = steady(5, [600, 600, 2400, 0])

    verdict = weigh(split_plan(), evidence_of_streams({"error": rows}))

    assert ratio(verdict).verdict is Verdict.INCONCLUSIVE
    assert verdict.verdict is Verdict.BREACH


@pytest.mark.parametrize(
    ("candidate", "baseline", "share_bp", "matches"),
    [
        (2970, 30, 9_900, True),
        (2940, 60, 9_900, False),
        (3000, 0, 9_900, False),
        (0, 3000, 500, False),
        (3000, 0, 10_000, True),
        (2999, 1, 10_000, False),
        (1, 2999, 0, False),
        (1500, 1500, 5_000, True),
    ],
)
def test_splits_at_the_ends_are_compared_too(
    candidate: int, baseline: int, share_bp: int, *, matches: bool
) -> None:
    gate = ratio(weigh_units(candidate, baseline, share_bp=share_bp))

    assert gate.verdict is (Verdict.PASS if matches else Verdict.INCONCLUSIVE)


def test_without_units_or_with_gaps_there_is_no_ratio() -> None:
    nothing = weigh_units(0, 0)
    rows = steady(30, [150, 0, 2850, 0])
    gaps = evidence_of_streams({"error": [*rows[:10], *rows[20:]]}, sealed={"error": 30})

    assert ratio(nothing).verdict is Verdict.NO_DATA
    assert ratio(weigh(split_plan(), gaps)).verdict is Verdict.NO_DATA
    assert ratio(weigh(split_plan(), evidence_of_streams({}))).verdict is Verdict.NO_DATA


def weigh_kept(candidate: int, baseline: int) -> StageVerdict:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": steady(30, [150, 0, 2850, 0]),
        "refusal": steady(30, [candidate, 0, baseline, 0]),
    }
    return weigh(plan, evidence_of_streams(rows))


def test_arms_that_lose_alike_pass_and_arms_that_do_not_are_a_mismatch() -> None:
    alike = ratio(weigh_kept(150 - 15, 2850 - 285))
    unlike = ratio(weigh_kept(150 - 15, 2850 - 1))

    assert alike.verdict is Verdict.PASS
    assert unlike.verdict is Verdict.INCONCLUSIVE
    assert unlike.crossed_at_seconds == 180
    assert unlike.why == (
        "refusal lost 45 of the candidate's units and 3 of the baseline's: 93.75 % of what was lost, "
        "5 % promised; e-value over 1,000,000, a mismatch from 2,000 on; these counts decide nothing"
    )


def test_a_slice_that_one_stream_lost_counts_as_no_lost_unit() -> None:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": steady(30, [150, 0, 2850, 0]),
        "refusal": steady(28, [150, 0, 2850, 0]),
    }
    del rows["error"][3], rows["refusal"][7]

    verdict = weigh(plan, evidence_of_streams(rows, sealed={"error": 30, "refusal": 28}))

    assert ratio(verdict).crossed_at_seconds is None
    assert verdict.seconds_to_go == 120


@pytest.mark.parametrize("changed", ["error", "refusal", "both"])
def test_what_was_lost_is_counted_anew_when_either_stream_changed_its_past(changed: str) -> None:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": steady(30, [150, 0, 2850, 0]),
        "refusal": steady(30, [147, 0, 2850, 0]),
    }
    weigher = Weigher(plan)
    weigher.look(evidence_of_streams({stream: found[:4] for stream, found in rows.items()}))
    if changed != "refusal":
        rows["error"][0] = [0, 149, 0, 2850, 0]
    if changed != "error":
        rows["refusal"][1] = [1, 146, 0, 2850, 0]

    looks = [
        weigher.look(evidence_of_streams({s: found[:n] for s, found in rows.items()}))
        for n in range(5, 31)
    ]

    first_looks = [
        weigh(plan, evidence_of_streams({s: found[:n] for s, found in rows.items()}))
        for n in range(5, 31)
    ]
    assert looks == first_looks
    assert ratio(looks[-1]).crossed_at_seconds is not None


def test_what_the_last_slice_lost_counts_at_once() -> None:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": steady(3, [150, 0, 2850, 0]),
        "refusal": steady(3, [135, 0, 2849, 0]),
    }

    assert ratio(weigh(plan, evidence_of_streams(rows))).crossed_at_seconds == 180


def test_an_e_value_that_just_reaches_the_limit_is_a_mismatch() -> None:
    e_value = EValue(share=0.05, concentration=1000, limit=1)

    e_value.add(0, 0, 60)  # nothing was seen: exactly 1

    assert e_value.mismatch
    assert e_value.crossed_at_seconds == 60


def test_the_largest_e_value_that_is_shown_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample_ratio, "_E_SHOWN_MAX", 1)

    assert EValue(share=0.05, concentration=1000, limit=1000).words == "1"


def test_a_stream_that_is_sealed_before_the_units_waits_for_them() -> None:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": steady(3, [150, 0, 2850, 0]),
        "refusal": steady(3, [135, 0, 2849, 0]),
    }
    weigher = Weigher(plan)
    weigher.look(evidence_of_streams(rows | {"error": []}, sealed={"error": 0, "refusal": 3}))

    found = weigher.look(evidence_of_streams(rows))

    assert found == weigh(plan, evidence_of_streams(rows))
    assert ratio(found).crossed_at_seconds == 180


def test_the_mismatch_that_was_found_first_is_the_one_told() -> None:
    plan = split_plan(error_gate(), refusal_gate())
    rows: dict[str, list[JsonValue]] = {
        "error": [*steady(5, [150, 0, 2850, 0]), [5, 3000, 0, 0, 0]],
        "refusal": [*steady(5, [135, 0, 2849, 0]), [5, 3000, 0, 0, 0]],
    }

    found = ratio(weigh(plan, evidence_of_streams(rows)))

    assert found.crossed_at_seconds == 180
    assert found.why.startswith("refusal lost 45 of the candidate's units")
