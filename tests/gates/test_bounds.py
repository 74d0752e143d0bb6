"""Bounds and tests agree with published cases and with an independent implementation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rampway.gates.bounds import (
    clopper_pearson_upper,
    holm,
    mcnemar_mid_p,
    mcnemar_p,
    most_bad_below,
    newcombe_paired_interval,
    tango_interval,
    units_for_bound,
    wilson_interval,
)
from rampway.gates.paired import paired_loss

PUBLISHED = json.loads((Path(__file__).parent / "published_vectors.json").read_text())["vectors"]


def published(function: str) -> list[dict[str, Any]]:
    found = [vector for vector in PUBLISHED if vector["function"] == function]
    assert found
    return found


@pytest.mark.parametrize("vector", published("tango_score_rd"), ids=lambda v: v["id"])
def test_tangos_interval_is_the_published_one(vector: dict[str, Any]) -> None:
    pairs = vector["inputs"]
    total = pairs["a"] + pairs["b"] + pairs["c"] + pairs["d"]

    interval = tango_interval(pairs["b"], pairs["c"], total, 1 - pairs["conf"])

    assert interval == pytest.approx(vector["expected"], abs=vector["tolerance"]["abs"])


@pytest.mark.parametrize("vector", published("mcnemar exact"), ids=lambda v: v["id"])
def test_mcnemars_exact_test_is_the_published_one(vector: dict[str, Any]) -> None:
    few, many = sorted((vector["inputs"]["b"], vector["inputs"]["c"]))

    two_sided = 2 * mcnemar_p(many, few)

    assert two_sided == pytest.approx(vector["expected"], abs=vector["tolerance"]["abs"])


@pytest.mark.parametrize("vector", published("clopper_pearson"), ids=lambda v: v["id"])
def test_clopper_pearsons_bound_is_the_published_one(vector: dict[str, Any]) -> None:
    seen = vector["inputs"]

    upper = clopper_pearson_upper(seen["x"], seen["n"], (1 - seen["conf"]) / 2)

    assert upper == pytest.approx(vector["expected"][1], abs=vector["tolerance"]["abs"])


@pytest.mark.parametrize("vector", published("newcombe_paired method 10"), ids=lambda v: v["id"])
def test_newcombes_paired_interval_is_the_published_one(vector: dict[str, Any]) -> None:
    pairs = vector["inputs"]

    interval = newcombe_paired_interval(
        pairs["a"], pairs["b"], pairs["c"], pairs["d"], 1 - pairs["conf"]
    )

    assert interval == pytest.approx(vector["expected"], abs=vector["tolerance"]["abs"])


@pytest.mark.parametrize("vector", published("wilson"), ids=lambda v: v["id"])
def test_wilsons_interval_is_the_published_one(vector: dict[str, Any]) -> None:
    seen = vector["inputs"]

    interval = wilson_interval(seen["x"], seen["n"], 1 - seen["conf"])

    assert interval == pytest.approx(vector["expected"], abs=vector["tolerance"]["abs"])


@pytest.mark.parametrize("vector", published("holm"), ids=lambda v: v["id"])
def test_holms_adjustment_is_the_published_one(vector: dict[str, Any]) -> None:
    assert holm(vector["inputs"]["p"]) == pytest.approx(vector["expected"], **vector["tolerance"])


@settings(deadline=None, max_examples=50)
@given(ps=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holms_adjustment_is_statsmodels(ps: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 - slow, for one test

    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]), abs=1e-12)


@settings(deadline=None)
@given(counts=st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_both_paired_intervals_hold_the_difference_and_agree_roughly(
    counts: tuple[int, int, int, int],
) -> None:
    both, improved, regressed, neither = counts
    pairs = sum(counts)

    low, high = newcombe_paired_interval(both, improved, regressed, neither, 0.05)
    tango = tango_interval(improved, regressed, pairs, 0.05)

    assert -1 <= low <= high <= 1
    assert low - 1e-12 <= (improved - regressed) / pairs <= high + 1e-12
    if pairs >= 30:
        assert (low, high) == pytest.approx(tango, abs=0.08)


@given(regressed=st.integers(0, 40), improved=st.integers(0, 40))
def test_the_mid_p_counts_what_was_seen_by_half(regressed: int, improved: int) -> None:
    changed = regressed + improved

    mid = mcnemar_mid_p(regressed, improved)

    seen = stats.binom.pmf(improved, changed, 0.5)
    assert mid == pytest.approx(stats.binom.cdf(improved, changed, 0.5) - seen / 2, abs=1e-12)
    assert mid <= mcnemar_p(regressed, improved)


def test_pairs_that_did_not_change_say_nothing() -> None:
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_mid_p(0, 0) == 0.5


@pytest.mark.parametrize("improved", [315, 316, 400])
def test_the_mid_p_is_one_as_far_out_as_no_law_reaches(improved: int) -> None:
    assert mcnemar_mid_p(400 - improved, improved) == pytest.approx(1)
    assert mcnemar_mid_p(improved, 400 - improved) == pytest.approx(0, abs=1e-15)


@settings(deadline=None)
@given(bad=st.integers(0, 30), units=st.integers(31, 5_000), level=st.sampled_from([0.05, 0.025]))
def test_the_bound_is_the_beta_quantile(bad: int, units: int, level: float) -> None:
    bound = clopper_pearson_upper(bad, units, level)

    assert bound == pytest.approx(stats.beta.ppf(1 - level, bad + 1, units - bad), rel=1e-7)


@settings(deadline=None)
@given(units=st.integers(1, 5_000), rate=st.sampled_from([0.005, 0.05, 0.15]))
def test_the_most_that_may_be_bad_is_where_the_bound_meets_the_rate(
    units: int, rate: float
) -> None:
    most = most_bad_below(units, rate, 0.05)

    assert most == -1 or clopper_pearson_upper(most, units, 0.05) < rate * (1 + 1e-9)
    assert clopper_pearson_upper(most + 1, units, 0.05) > rate * (1 - 1e-9)


@pytest.mark.parametrize(
    ("bad", "rate", "units"), [(0, 0.005, 598), (0, 0.15, 19), (0, 0.05, 59), (3, 0.05, 153)]
)
def test_the_units_for_a_bound_are_the_fewest(bad: int, rate: float, units: int) -> None:
    assert units_for_bound(bad, rate, 0.05) == units
    assert clopper_pearson_upper(bad, units, 0.05) < rate
    assert clopper_pearson_upper(bad, units - 1, 0.05) >= rate


def test_a_graded_comparison_is_scipys_paired_t_test() -> None:
    dice = np.random.default_rng(4)
    old, new = dice.uniform(0, 1, 60), dice.uniform(0, 1, 60)

    found = paired_loss(old.tolist(), new.tolist(), None)

    oracle = stats.ttest_rel(new, old, alternative="less")
    interval = stats.ttest_rel(new, old).confidence_interval(0.95)
    assert found.p_loss == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_a_clustered_comparison_is_statsmodels_robust_regression() -> None:
    import statsmodels.api as sm  # noqa: PLC0415 - a slow import for one test

    dice = np.random.default_rng(5)
    clusters = dice.integers(0, 25, 400)
    drift = dice.normal(0, 0.2, 25)[clusters]
    old = dice.uniform(0.3, 0.6, 400)
    new = np.clip(old + drift + dice.normal(0, 0.05, 400), 0, 1)

    found = paired_loss(old.tolist(), new.tolist(), clusters.tolist())

    fit = sm.OLS(new - old, np.ones(400)).fit(
        cov_type="cluster",
        cov_kwds={"groups": clusters, "use_correction": False, "df_correction": True},
        use_t=True,
    )
    error = float(fit.bse[0]) * np.sqrt(25 / 24)
    reach = stats.t.ppf(0.975, 24) * error
    assert found.difference == pytest.approx(float(fit.params[0]), rel=1e-9)
    assert found.high - found.low == pytest.approx(2 * reach, rel=1e-6)
    assert found.units == 25
