"""What the report of an A/B says about both arms, and what it recommends."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rampway.gates import comparison
from rampway.gates.comparison import (
    ArmResults,
    ArmsCompared,
    ComparisonRule,
    GradersDiffer,
    Portion,
    Reading,
    Recommendation,
    compare_arms,
)
from rampway.gates.proportions import Hits, newcombe_hybrid_interval, two_proportion_z


def arm(
    *,
    artifact: str = "sha256:a",
    grader: str = "sha256:g",
    units: int = 20_000,
    correct: int = 16_000,
    bad: dict[str, int] | None = None,
    **rest: Any,  # noqa: ANN401 - the fields of ArmResults that a test is about
) -> ArmResults:
    return ArmResults(
        artifact=artifact,
        grader=grader,
        units=units,
        correct=Portion(hits=correct, units=units),
        bad={"error": 200} if bad is None else bad,
        **rest,
    )


def latencies(seed: int, *, factor: float = 1.0, units: int = 2_000) -> tuple[float, ...]:
    return tuple((factor * np.random.default_rng(seed).lognormal(5, 0.5, units)).tolist())


def rate(compared: ArmsCompared, metric: str) -> Any:  # noqa: ANN401 - read by field in the tests
    return next(each for each in compared.rates if each.metric == metric)


def test_a_candidate_that_is_not_worse_is_promoted() -> None:
    compared = compare_arms(arm(), arm(artifact="sha256:b", correct=16_040))

    assert compared.recommendation is Recommendation.PROMOTE
    assert compared.correct.reading is Reading.NOT_WORSE
    assert (compared.baseline, compared.candidate) == ("sha256:a", "sha256:b")
    assert compared.why == (
        "correct 80.2 % against 80.0 %, +0.2 pp, -0.6 to +1.0, p = 1.000; nothing is worse"
    )
    assert compared.rule == (
        "promote: a loss of 1.00 % of accuracy is excluded at 95 % and nothing is worse. retrain: "
        "something is worse, p < 0.05 after Holm, and by more than its margin is not excluded. hold: "
        "neither can be told"
    )


def test_a_better_candidate_is_promoted() -> None:
    compared = compare_arms(arm(), arm(correct=16_600))

    assert compared.correct.reading is Reading.BETTER
    assert compared.recommendation is Recommendation.PROMOTE


def test_a_candidate_that_answers_worse_goes_back_to_training() -> None:
    compared = compare_arms(arm(), arm(correct=15_600))

    assert compared.recommendation is Recommendation.RETRAIN
    assert "correct 78.0 % against 80.0 %, -2.0 pp" in compared.why


def test_a_candidate_that_fails_more_often_goes_back_to_training() -> None:
    compared = compare_arms(arm(), arm(correct=16_200, bad={"error": 400}))

    assert compared.recommendation is Recommendation.RETRAIN
    assert rate(compared, "error").reading is Reading.WORSE
    assert compared.why.startswith("error 2.00 % against 1.00 %")


def test_too_little_data_holds() -> None:
    few = {"units": 200, "correct": 160, "bad": {"error": 2}}

    compared = compare_arms(arm(**few), arm(**few))

    assert compared.recommendation is Recommendation.HOLD
    assert compared.why.endswith("a loss of 1.00 % is not excluded")
    assert compare_arms(arm(units=0, correct=0, bad={}), arm(bad={})).recommendation is (
        Recommendation.HOLD
    )


def test_a_significant_loss_within_the_margin_is_harmless() -> None:
    old = arm(units=2_000_000, correct=1_600_000, bad={})
    new = arm(units=2_000_000, correct=1_596_000, bad={})

    compared = compare_arms(old, new)

    assert compared.correct.p < 0.001
    assert compared.recommendation is Recommendation.PROMOTE


def test_a_loss_hidden_in_one_bucket_holds() -> None:
    def by(past: int) -> dict[str, dict[str, Portion]]:
        return {
            "tense": {
                "past perfect": Portion(hits=past, units=1_000),
                "present": Portion(hits=15_200, units=19_000),
            }
        }

    compared = compare_arms(arm(by=by(800)), arm(by=by(700)))

    assert compared.recommendation is Recommendation.HOLD
    assert compared.why.startswith("worse where tense is past perfect (correct 70.0 % against 80.0")
    assert [bucket.value for bucket in compared.buckets] == ["past perfect", "present"]


def test_a_bucket_that_one_arm_never_saw_stays_visible_and_tells_nothing() -> None:
    seen = {"verb": {"go": Portion(hits=8, units=10)}}

    compared = compare_arms(arm(by=seen), arm())

    (bucket,) = compared.buckets
    assert bucket.rate.candidate.units == 0
    assert (bucket.rate.low, bucket.rate.high, bucket.rate.reading) == (-1, 1, Reading.UNCLEAR)


def test_an_unfair_split_holds_whatever_the_rates_say() -> None:
    old, new = arm(units=20_000), arm(units=18_000, correct=16_900)

    compared = compare_arms(old, new, candidate_share=0.5)

    assert compared.sample_ratio_p is not None
    assert compared.sample_ratio_p < 0.001
    assert compared.recommendation is Recommendation.HOLD
    assert compare_arms(old, new).sample_ratio_p is None
    assert compare_arms(old, new).recommendation is Recommendation.PROMOTE


def test_arms_of_different_graders_are_refused() -> None:
    with pytest.raises(GradersDiffer, match="the baseline was graded by sha256:g, the candidate"):
        compare_arms(arm(), arm(grader="sha256:h"))


def test_arms_that_count_different_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="only one of the arms counts refusal"):
        compare_arms(arm(), arm(bad={"error": 1, "refusal": 2}))


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than all of them"):
        Portion(hits=3, units=2)
    with pytest.raises(ValidationError, match="cannot be bad"):
        arm(bad={"error": -1})
    with pytest.raises(ValidationError, match="not both"):
        arm(latency_ms=(1.0,), latency_buckets={3: 1})
    with pytest.raises(ValidationError, match="negative"):
        arm(latency_buckets={3: -1})
    with pytest.raises(ValidationError):
        arm(latency_ms=(math.nan,))


def test_latencies_are_told_by_percentiles_ranks_and_their_shift() -> None:
    old, new = latencies(1), latencies(2, factor=1.2)

    latency = compare_arms(arm(latency_ms=old), arm(latency_ms=new)).latency

    assert latency is not None
    expected = stats.mannwhitneyu(new, old)
    assert latency.u == expected.statistic
    assert latency.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert latency.chance_slower == pytest.approx(expected.statistic / 4_000_000)
    assert latency.candidate.p95 == pytest.approx(
        np.quantile(new, 0.95, method="inverted_cdf"), rel=1e-8
    )
    assert latency.baseline.p50 == pytest.approx(np.quantile(old, 0.5, method="inverted_cdf"))
    assert latency.candidate.p99 == pytest.approx(np.quantile(new, 0.99, method="inverted_cdf"))
    assert not latency.bucketed
    assert latency.shift_low_ms is not None
    assert latency.shift_ms is not None
    assert latency.shift_high_ms is not None
    assert 0 < latency.shift_low_ms < latency.shift_ms < latency.shift_high_ms


def test_slower_than_the_baselines_p95_too_often_is_worse() -> None:
    compared = compare_arms(arm(latency_ms=latencies(1)), arm(latency_ms=latencies(2, factor=1.5)))

    assert rate(compared, "slow").baseline.hits == 100
    assert rate(compared, "slow").reading is Reading.WORSE
    assert compared.recommendation is Recommendation.RETRAIN


def test_buckets_tell_what_raw_latencies_tell_to_one_percent() -> None:
    def buckets(values: tuple[float, ...]) -> dict[int, int]:
        places, counts = np.unique(
            np.floor(np.log(values) / math.log(1.02)).astype(int), return_counts=True
        )
        return dict(zip(places.tolist(), counts.tolist(), strict=True))

    old, new = latencies(1), latencies(2, factor=1.1)
    raw = compare_arms(arm(latency_ms=old), arm(latency_ms=new)).latency
    counted = compare_arms(
        arm(latency_buckets=buckets(old)), arm(latency_buckets=buckets(new))
    ).latency

    assert raw is not None
    assert counted is not None
    assert counted.bucketed
    assert counted.candidate.p99 == pytest.approx(raw.candidate.p99, rel=0.0101)
    assert counted.chance_slower == pytest.approx(raw.chance_slower, abs=0.002)
    assert counted.shift_ms == pytest.approx(raw.shift_ms, abs=2.5)


@pytest.mark.parametrize("given_as", ["latency_ms", "latency_buckets"])
def test_time_outs_are_slower_than_any_latency(given_as: str) -> None:
    measured: Any = (100.0,) * 98 if given_as == "latency_ms" else {232: 98}

    compared = compare_arms(
        arm(**{given_as: measured}, timeouts=2), arm(**{given_as: measured}, timeouts=40)
    )

    latency = compared.latency
    assert latency is not None
    assert latency.baseline.p95 == pytest.approx(100, rel=0.02)
    assert (latency.baseline.p99, latency.candidate.p95) == (None, None)
    assert rate(compared, "slow").candidate.hits == 40


def test_the_cost_is_that_of_a_correct_answer() -> None:
    cost = compare_arms(arm(cost=32.0), arm(correct=10_000, bad={"error": 200}, cost=10.0)).cost

    assert cost is not None
    assert (cost.baseline_per_correct, cost.candidate_per_correct) == (0.002, 0.001)
    assert cost.ratio == 0.5
    assert compare_arms(arm(), arm()).cost is None
    nothing_right = compare_arms(arm(cost=1.0), arm(correct=0, cost=1.0)).cost
    assert nothing_right is not None
    assert nothing_right.candidate_per_correct is None


def test_the_facts_have_a_digest_and_no_number_that_is_none() -> None:
    compared = compare_arms(arm(latency_ms=latencies(3)), arm(latency_ms=latencies(4)))

    assert ArmsCompared.model_validate_json(compared.model_dump_json()) == compared
    assert compared.digest.startswith("sha256:")


def test_an_arm_may_fail_whole_and_a_bucket_may_be_empty() -> None:
    failed = arm(bad={"error": 20_000}, latency_buckets={3: 0, 4: 1})

    assert compare_arms(arm(bad={"error": 0}), failed).recommendation is Recommendation.RETRAIN
    with pytest.raises(ValidationError, match="error: 20,001 of 20,000 units cannot be bad"):
        arm(bad={"error": 20_001})


@pytest.mark.parametrize("share", [0, 1])
def test_all_traffic_on_one_arm_is_no_split_to_test(share: float) -> None:
    assert compare_arms(arm(), arm(), candidate_share=share).sample_ratio_p is None


def test_a_level_that_is_just_met_is_not_crossed() -> None:
    worse, better = arm(correct=15_800, bad={}), arm(correct=16_200, bad={})
    level = two_proportion_z(Hits(16_200, 20_000), Hits(16_000, 20_000)).p

    def reading(candidate: ArmResults, level: float) -> Reading:
        rule = ComparisonRule(margin=0.001, level=level)
        return compare_arms(arm(bad={}), candidate, rule).correct.reading

    assert reading(better, level) is Reading.NOT_WORSE
    assert reading(better, level * 1.001) is Reading.BETTER
    assert reading(worse, 0.001) is Reading.UNCLEAR
    assert reading(worse, 0.05) is Reading.WORSE


def test_a_margin_that_the_interval_just_reaches_is_not_excluded() -> None:
    low, _ = newcombe_hybrid_interval(Hits(16_000, 20_000), Hits(16_000, 20_000))

    def reading(margin: float) -> Reading:
        rule = ComparisonRule(margin=margin)
        return compare_arms(arm(bad={}), arm(bad={}), rule).correct.reading

    assert reading(-low) is Reading.UNCLEAR
    assert reading(-low * 1.001) is Reading.NOT_WORSE


def test_a_sample_ratio_that_is_just_likely_enough_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = arm(units=20_000), arm(units=19_300, correct=16_000)
    likely = compare_arms(old, new, candidate_share=0.5).sample_ratio_p
    assert likely is not None
    assert likely < 0.001

    monkeypatch.setattr(comparison, "UNFAIR_BELOW", likely)

    assert compare_arms(old, new, candidate_share=0.5).recommendation is Recommendation.PROMOTE


def test_the_buckets_that_are_worse_are_counted_and_the_surest_is_named() -> None:
    def told(*lost: int) -> str:
        def by(losses: tuple[int, ...]) -> dict[str, dict[str, Portion]]:
            rights = {
                f"verb {n}": Portion(hits=800 - loss, units=1_000) for n, loss in enumerate(losses)
            }
            return {"verb": rights}

        return compare_arms(arm(by=by((0,) * len(lost))), arm(by=by(lost))).why

    assert told(100, 0).startswith("worse where verb is verb 0 (correct 70.0 % against 80.0 %")
    assert told(100, 0).endswith(")")
    assert told(100, 140, 0).startswith("worse where verb is verb 1 (correct 66.0 %")
    assert told(100, 140, 0).endswith(") and in 1 more bucket")
    assert told(100, 140, 120).endswith(") and in 2 more buckets")


def test_few_latencies_get_the_exact_law_and_so_no_z() -> None:
    few = compare_arms(arm(latency_ms=(1, 2, 3)), arm(latency_ms=(4, 5, 6))).latency
    many = compare_arms(arm(latency_ms=latencies(1)), arm(latency_ms=latencies(2))).latency

    assert few is not None
    assert many is not None
    assert (few.z, few.p) == (None, 0.1)
    assert many.z is not None
    assert math.erfc(abs(many.z) / math.sqrt(2)) == pytest.approx(many.p)


def test_what_nobody_declares_is_the_rule_of_the_docs() -> None:
    rule = ComparisonRule()

    assert (rule.margin, rule.harm_margin, rule.slow_margin) == (0.01, 0.005, 0.025)
    assert rule.level == 0.05


@pytest.mark.parametrize(("candidate", "fair"), [(19_374, True), (19_300, False)])
def test_a_split_is_unfair_under_one_in_a_thousand(candidate: int, fair: bool) -> None:  # noqa: FBT001 - a row
    compared = compare_arms(arm(), arm(units=candidate, correct=16_000), candidate_share=0.5)

    assert compared.sample_ratio_p is not None
    assert compared.sample_ratio_p < 0.002
    assert (compared.recommendation is Recommendation.PROMOTE) is fair


def test_an_uneven_split_is_fair_when_the_units_fall_as_it_says() -> None:
    new = arm(units=2_000, correct=1_600, bad={"error": 20})

    assert compare_arms(arm(units=18_000), new, candidate_share=0.1).sample_ratio_p == 1


def test_an_arm_that_costs_nothing_has_no_ratio() -> None:
    free, cheap = arm(cost=0.0), arm(cost=0.5)

    there, back = compare_arms(free, cheap).cost, compare_arms(cheap, free).cost

    assert there is not None
    assert back is not None
    assert (there.baseline_per_correct, there.ratio) == (0, None)
    assert (back.candidate_per_correct, back.ratio) == (0, 0)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        arm(cost=-0.01)


def test_one_arm_counted_in_buckets_makes_the_comparison_so_exact() -> None:
    raw, counted = arm(latency_ms=(1.0, 2.0)), arm(latency_buckets={35: 2})

    for latency in (compare_arms(raw, counted).latency, compare_arms(counted, raw).latency):
        assert latency is not None
        assert latency.bucketed


def test_time_outs_alone_are_latencies_too_and_none_of_them_is_slow() -> None:
    stuck, quick = arm(timeouts=3), arm(latency_ms=(1.0, 2.0), timeouts=1)

    compared = compare_arms(stuck, quick)

    assert compared.latency is not None
    assert (compared.latency.baseline.units, compared.latency.candidate.units) == (3, 3)
    assert compared.latency.baseline.p50 is None
    assert [each.metric for each in compared.rates] == ["correct", "error"]
    assert compare_arms(quick, arm()).latency is None
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        arm(timeouts=-1)


def test_the_part_over_the_baselines_p95_differs_no_more_often_than_it_says() -> None:
    found = 0
    for seed in range(150):
        compared = compare_arms(
            arm(bad={}, latency_ms=latencies(2 * seed, units=200)),
            arm(bad={}, latency_ms=latencies(2 * seed + 1, units=200)),
        )
        found += rate(compared, "slow").p < 0.05

    assert found / 150 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


@settings(max_examples=20)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_every_rate_is_adjusted_for_their_number(a: int, b: int, c: int, d: int) -> None:
    compared = compare_arms(
        arm(units=300, correct=a, bad={"error": c, "refusal": 7}),
        arm(units=300, correct=b, bad={"error": d, "refusal": 9}),
    )

    expected = multipletests([each.p for each in compared.rates], method="holm")[1]
    assert [each.p_holm for each in compared.rates] == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 120))
def test_more_wrong_answers_never_promote_what_was_not_promoted(
    old: int, new: int, more: int
) -> None:
    rule = ComparisonRule(margin=0.1)
    rank = [Recommendation.PROMOTE, Recommendation.HOLD, Recommendation.RETRAIN]
    baseline = arm(units=300, correct=old, bad={})

    before = compare_arms(baseline, arm(units=300, correct=new, bad={}), rule)
    after = compare_arms(baseline, arm(units=300, correct=max(0, new - more), bad={}), rule)

    assert rank.index(after.recommendation) >= rank.index(before.recommendation)


def test_graders_that_differ_are_told_by_their_names_where_they_have_one() -> None:
    with pytest.raises(GradersDiffer, match="by an unnamed grader, the candidate by sha256:h; "):
        compare_arms(arm(grader=""), arm(grader="sha256:h"))
    with pytest.raises(GradersDiffer, match="by sha256:g, the candidate by an unnamed grader; "):
        compare_arms(arm(), arm(grader=""))


def test_no_unit_has_no_rate_to_compare() -> None:
    assert Portion(hits=0, units=0).rate == 0


def test_what_only_one_arm_was_measured_for_is_not_compared() -> None:
    quick = arm(latency_ms=(1.0, 2.0))

    for old, new in ((quick, arm()), (arm(), quick)):
        assert [each.metric for each in compare_arms(old, new).rates] == ["correct", "error"]
    cost = compare_arms(arm(cost=32.0), arm()).cost
    assert cost is not None
    assert (cost.baseline_per_correct, cost.candidate_per_correct, cost.ratio) == (
        0.002,
        None,
        None,
    )
