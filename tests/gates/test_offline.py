"""What the offline gate may answer, and what it never answers."""

import math

import pytest
from evidence_builders import offline_plan, paired_cases, right_and_wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from rampway.gates.evidence import Column, PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SafetyPlan
from rampway.gates.verdicts import Headline, OfflineVerdict, Safety, Verdict

SafetyRow = tuple[str, bool, int, int, int]


def headline(verdict: OfflineVerdict) -> Headline:
    assert verdict.headline is not None
    return verdict.headline


def safety(verdict: OfflineVerdict) -> Safety:
    assert verdict.safety is not None
    return verdict.safety


def spread_over(clusters: int, cases: int) -> list[int]:
    return [case % clusters for case in range(cases)]


def test_a_worse_candidate_is_a_breach_in_the_words_of_the_report() -> None:
    cases = paired_cases(*right_and_wrong(both=10_670, improved=130, regressed=720, neither=2_880))

    verdict = weigh_offline(offline_plan(), cases)

    assert verdict.verdict is Verdict.BREACH
    assert verdict.why == (
        "the candidate is worse. Accuracy 75.0 %, was 79.1 %: -4.1 pp [-4.5, -3.7], p < 0.001"
    )
    assert (headline(verdict).improved, headline(verdict).regressed) == (130, 720)


def test_a_better_candidate_passes() -> None:
    cases = paired_cases(*right_and_wrong(both=11_262, improved=402, regressed=128, neither=2_608))

    verdict = weigh_offline(offline_plan(), cases)

    assert verdict.verdict is Verdict.PASS
    assert verdict.why == ("better by +1.9 pp [+1.6, +2.2], p < 0.001. Accuracy 81.0 %, was 79.1 %")


def test_a_candidate_that_changes_nothing_passes_with_enough_cases() -> None:
    enough = weigh_offline(offline_plan(), paired_cases([1.0] * 400, [1.0] * 400))
    few = weigh_offline(offline_plan(), paired_cases([1.0] * 100, [1.0] * 100))

    assert enough.verdict is Verdict.PASS
    assert headline(enough).p == 1
    assert few.verdict is Verdict.INCONCLUSIVE
    assert headline(few).cases_needed == 281
    assert few.why.endswith("; about 281 more cases would tell")


def test_an_undecided_headline_says_how_many_cases_are_missing_and_they_are_enough() -> None:
    changes = {"both": 700, "improved": 40, "regressed": 42, "neither": 218}

    verdict = weigh_offline(offline_plan(), paired_cases(*right_and_wrong(**changes)))
    needed = headline(verdict).cases_needed
    assert needed is not None
    times = math.ceil((1000 + needed) / 1000)
    more = {kind: times * count for kind, count in changes.items()}
    again = weigh_offline(offline_plan(), paired_cases(*right_and_wrong(**more)))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert again.verdict is Verdict.PASS


def test_a_loss_without_any_variance_is_a_breach() -> None:
    binary = weigh_offline(offline_plan(), paired_cases([1.0] * 50, [0.0] * 50))
    graded = weigh_offline(offline_plan(), paired_cases([0.75] * 50, [0.25] * 50))
    clustered = weigh_offline(
        offline_plan(clustered=True),
        paired_cases([1.0] * 50, [0.0] * 50, clusters=spread_over(10, 50)),
    )

    assert binary.verdict is graded.verdict is clustered.verdict is Verdict.BREACH


def test_a_planted_regression_that_a_test_of_unpaired_columns_misses_is_a_breach() -> None:
    cases = paired_cases(*right_and_wrong(both=480, improved=1, regressed=15, neither=504))

    verdict = weigh_offline(offline_plan(), cases)

    assert verdict.verdict is Verdict.BREACH
    assert headline(verdict).p == pytest.approx(0.000259, abs=1e-6)


def test_clusters_count_as_the_units() -> None:
    # The same changes, all in one of 20 verbs: one cause, not thirty.
    old, new = [1.0] * 1000, [1.0] * 1000
    clusters = [case // 50 for case in range(1000)]
    new[:30] = [0.0] * 30

    single = weigh_offline(offline_plan(), paired_cases(old, new))
    clustered = weigh_offline(
        offline_plan(clustered=True), paired_cases(old, new, clusters=clusters)
    )

    assert single.verdict is Verdict.BREACH
    assert clustered.verdict is Verdict.INCONCLUSIVE
    assert headline(clustered).clusters == 20
    assert headline(clustered).low < headline(single).low


def test_graded_scores_are_compared_by_a_paired_t_test() -> None:
    old = [0.5, 0.75, 0.9, 0.25] * 100
    new = [score - (0.05 if case % 3 else -0.02) for case, score in enumerate(old)]

    verdict = weigh_offline(offline_plan(), paired_cases(old, new))

    assert verdict.verdict is Verdict.BREACH
    assert headline(verdict).regressed == 266


def test_one_cluster_or_one_graded_case_is_no_data() -> None:
    cluster = weigh_offline(
        offline_plan(clustered=True), paired_cases([1.0] * 9, [1.0] * 9, clusters=[0] * 9)
    )
    graded = weigh_offline(offline_plan(), paired_cases([0.5], [0.75]))

    assert cluster.verdict is graded.verdict is Verdict.NO_DATA
    assert cluster.why == "one cluster of cases alone cannot show how much they vary"


def test_no_cases_at_all_is_no_data() -> None:
    assert weigh_offline(offline_plan(), paired_cases([], [])).verdict is Verdict.NO_DATA
    assert (
        weigh_offline(offline_plan(clustered=True), paired_cases([], [], clusters=[])).verdict
        is Verdict.NO_DATA
    )


def good() -> PairedCases:
    clusters = spread_over(50, 2_000)
    return paired_cases([1.0] * 2_000, [1.0] * 2_000, clusters=clusters)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"candidate": "sha256:a"}, "same artifact"),
        ({"new": [1.0] * 1_999}, "1,999 candidate scores: each case needs both"),
        ({"old": []}, "0 baseline scores"),
        ({"cases": ["case"] * 2_000}, "more than once"),
        ({"new": [math.nan] * 2_000}, "a score is nan"),
        ({"new": [*[1.0] * 1_999, 1.5]}, "a score is 1.5"),
        ({"new": [*[1.0] * 1_999, math.inf]}, "a score is inf"),
        ({"clusters": None}, "the evidence names none"),
        ({"clusters": Column(values=["a"], codes=[0] * 1_999)}, "of clusters does not name"),
        ({"clusters": Column(values=["a"], codes=[1] * 2_000)}, "one known value for each case"),
        ({"slices": {"tense": Column(values=["a"], codes=[0])}}, "slice tense does not name"),
        ({"missing": 1}, "answered 2,000 of 2,001 cases, the plan needs 100 %"),
        ({"missing": -1}, "cannot be negative"),
        ({"cases": [], "old": [], "new": [], "clusters": None, "missing": 9}, "names none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_columns_that_cannot_be_compared_are_incomparable(
    change: dict[str, object], why: str
) -> None:
    verdict = weigh_offline(offline_plan(clustered=True), good().model_copy(update=change))

    assert verdict.verdict is Verdict.INCOMPARABLE
    assert why in verdict.why
    assert verdict.headline is None


def test_all_missing_is_never_a_pass() -> None:
    verdict = weigh_offline(offline_plan(coverage=0.9), paired_cases([], [], missing=400))

    assert verdict.verdict is Verdict.INCOMPARABLE
    assert verdict.why == "the candidate answered 0 of 400 cases, the plan needs 90 %"


def test_a_plan_may_allow_some_missing_cases() -> None:
    cases = paired_cases([1.0] * 900, [1.0] * 900, missing=100)

    assert weigh_offline(offline_plan(coverage=0.9), cases).verdict is Verdict.PASS


def safety_plan(generations: int = 3) -> OfflinePlan:
    return OfflinePlan(safety=SafetyPlan(generations=generations))


def with_safety(*rows: SafetyRow) -> PairedCases:
    cases = paired_cases([1.0] * 400, [1.0] * 400)
    return cases.model_copy(update={"safety": list(rows)})


def soft(count: int, old: int, new: int, *, kind: str) -> list[SafetyRow]:
    return [(f"{kind} {number}", False, old, new, 3) for number in range(count)]


def test_a_hard_case_that_flips_blocks() -> None:
    verdict = weigh_offline(safety_plan(), with_safety(("h-1", True, 3, 1, 3)))

    assert verdict.verdict is Verdict.BREACH
    assert safety(verdict).flips == ("h-1",)
    assert verdict.why == "safety: 1 hard case passed and now fail: h-1"


def test_a_hard_case_that_failed_before_or_keeps_its_majority_does_not() -> None:
    rows = (("h-1", True, 1, 0, 3), ("h-2", True, 3, 2, 3))

    assert weigh_offline(safety_plan(), with_safety(*rows)).verdict is Verdict.PASS


def test_half_of_the_generations_is_no_majority() -> None:
    rows = (("h-1", True, 2, 1, 2),)

    assert weigh_offline(safety_plan(2), with_safety(*rows)).verdict is Verdict.BREACH


def test_an_answer_that_did_not_come_counts_as_failed() -> None:
    assert weigh_offline(safety_plan(), with_safety(("h-1", True, 3, 0, 3))).verdict is (
        Verdict.BREACH
    )


def test_other_safety_cases_block_together() -> None:
    flips = soft(12, 3, 0, kind="lost") + soft(2, 0, 3, kind="won") + soft(300, 3, 3, kind="kept")
    even = soft(5, 3, 0, kind="lost") + soft(4, 0, 3, kind="won") + soft(300, 3, 3, kind="kept")

    worse = weigh_offline(safety_plan(), with_safety(*flips))
    as_good = weigh_offline(safety_plan(), with_safety(*even))

    assert worse.verdict is Verdict.BREACH
    assert safety(worse).p == pytest.approx(0.00646973, rel=1e-5)
    assert as_good.verdict is Verdict.PASS
    assert safety(as_good).certified_below is None


def test_no_flips_certify_three_in_n() -> None:
    verdict = weigh_offline(safety_plan(), with_safety(*soft(412, 3, 3, kind="kept")))

    assert verdict.verdict is Verdict.PASS
    assert safety(verdict).why == "0 flips; 412 cases x 3 certify under 0.73 %"
    assert safety(verdict).certified_below == pytest.approx(3 / 412)


def test_planned_safety_without_safety_cases_is_no_data() -> None:
    verdict = weigh_offline(safety_plan(), with_safety())

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == "safety: safety is planned, but no safety case was run"


@pytest.mark.parametrize(
    "rows",
    [
        (("a", False, 1, 1, 1),),
        (("a", False, 3, 4, 3),),
        (("a", False, -1, 3, 3),),
        (("a", False, 3, 3, 3), ("a", False, 3, 3, 3)),
    ],
    ids=["too few generations", "more passes than tries", "negative", "twice"],
)
def test_safety_rows_that_cannot_be_right_are_incomparable(rows: tuple[SafetyRow, ...]) -> None:
    assert weigh_offline(safety_plan(), with_safety(*rows)).verdict is Verdict.INCOMPARABLE


def test_a_hard_flip_is_a_breach_even_when_the_headline_cannot_be_compared() -> None:
    cases = with_safety(("h-1", True, 3, 0, 3)).model_copy(update={"missing": 5})

    verdict = weigh_offline(safety_plan(), cases)

    assert verdict.verdict is Verdict.BREACH
    assert verdict.headline is None


SCORES = st.sampled_from([0.0, 1.0, 0.5, math.nan, -1.0])


@settings(deadline=None, max_examples=150)
@given(
    old=st.lists(SCORES, max_size=12),
    new=st.lists(SCORES, max_size=12),
    clusters=st.none() | st.lists(st.integers(0, 3), max_size=12),
    missing=st.integers(0, 3),
    clustered=st.booleans(),
)
def test_a_handful_of_any_cases_is_finite_and_never_passes(
    old: list[float],
    new: list[float],
    clusters: list[int] | None,
    missing: int,
    clustered: bool,  # noqa: FBT001 - hypothesis draws it
) -> None:
    cases = paired_cases(old, new, clusters=clusters, missing=missing)

    verdict = weigh_offline(offline_plan(clustered=clustered), cases)

    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict
    gains_only = all(after >= before for before, after in zip(old, new, strict=False))
    if not gains_only:
        assert verdict.verdict is not Verdict.PASS
