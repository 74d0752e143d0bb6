"""What the offline gate may answer, and what it never answers."""

import math
from random import Random

import pytest
from evidence_builders import offline_plan, paired_cases, right_and_wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from rampway.gates.evidence import Column, PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.verdicts import Headline, OfflineVerdict, Verdict


def headline(verdict: OfflineVerdict) -> Headline:
    assert verdict.headline is not None
    return verdict.headline


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
    # 14 of 1,000 cases lost, none gained; accuracy was 82.0 %.
    cases = paired_cases(*right_and_wrong(both=806, improved=0, regressed=14, neither=180))

    verdict = weigh_offline(offline_plan(), cases)

    assert verdict.verdict is Verdict.BREACH
    assert 2 * headline(verdict).p == pytest.approx(0.00012, abs=5e-6)
    assert headline(verdict).literal == (
        "an unpaired z-test at p < 0.05 would have found nothing: p = 0.422"
    )


@pytest.mark.parametrize(
    ("improved", "regressed", "words"),
    [
        (0, 200, "would have blocked: p < 0.001"),
        (150, 0, "would have called it better: p < 0.001"),
        (0, 0, "would have found nothing: p = 1.000"),
    ],
)
def test_every_headline_says_what_an_unpaired_test_would_have_said(
    improved: int, regressed: int, words: str
) -> None:
    table = {"both": 700 - regressed, "neither": 300 - improved}

    verdict = weigh_offline(
        offline_plan(),
        paired_cases(*right_and_wrong(improved=improved, regressed=regressed, **table)),
    )

    assert headline(verdict).literal == f"an unpaired z-test at p < 0.05 {words}"


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


def test_graded_scores_are_compared_pair_by_pair() -> None:
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


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[float], list[float]]:
    """Two columns on a scale of right and wrong, or of five levels."""
    scale = draw(st.sampled_from([(0.0, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)]))
    pairs = st.tuples(st.sampled_from(scale), st.sampled_from(scale))
    columns = draw(st.lists(pairs, min_size=2, max_size=80))
    return [old for old, _ in columns], [new for _, new in columns]


@settings(deadline=None, max_examples=60)
@given(columns=scored(), clusters=st.none() | st.integers(2, 9), dice=st.randoms())
def test_the_order_of_cases_and_the_names_of_clusters_do_not_matter(
    columns: tuple[list[float], list[float]], clusters: int | None, dice: Random
) -> None:
    old, new = columns
    groups = None if clusters is None else spread_over(clusters, len(old))
    plan = offline_plan(clustered=clusters is not None)
    order, names = list(range(len(old))), list(range(clusters or 0))
    dice.shuffle(order)
    dice.shuffle(names)

    told = weigh_offline(plan, paired_cases(old, new, clusters=groups))
    shuffled = weigh_offline(
        plan,
        paired_cases(
            [old[i] for i in order],
            [new[i] for i in order],
            clusters=None if groups is None else [names[groups[i]] for i in order],
        ),
    )

    assert shuffled == told


@settings(deadline=None, max_examples=60)
@given(columns=scored(), clusters=st.none() | st.integers(2, 9))
def test_swapping_the_arms_turns_the_answer_around(
    columns: tuple[list[float], list[float]], clusters: int | None
) -> None:
    old, new = columns
    groups = None if clusters is None else spread_over(clusters, len(old))
    plan = offline_plan(clustered=clusters is not None)

    there = headline(weigh_offline(plan, paired_cases(old, new, clusters=groups)))
    back = headline(weigh_offline(plan, paired_cases(new, old, clusters=groups)))

    assert back.difference == -there.difference
    assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=1e-8)
    assert (back.improved, back.regressed) == (there.regressed, there.improved)
    assert there.verdict is not Verdict.BREACH or back.verdict is not Verdict.BREACH


@settings(deadline=None, max_examples=120)
@given(
    columns=scored(),
    clusters=st.none() | st.integers(2, 30),
    harm=st.lists(st.tuples(st.integers(0, 79), st.sampled_from([0.0, 0.25])), max_size=20),
    level=st.sampled_from([0.05, 0.3]),
)
def test_more_harm_never_takes_a_breach_back(
    columns: tuple[list[float], list[float]],
    clusters: int | None,
    harm: list[tuple[int, float]],
    level: float,
) -> None:
    old, new = columns
    groups = None if clusters is None else spread_over(clusters, len(old))
    harmed = list(new)
    right_or_wrong = not {0.25, 0.5, 0.75} & {*old, *new}
    for place, score in harm:
        at = place % len(new)
        harmed[at] = min(harmed[at], 0.0 if right_or_wrong else score)
    plan = offline_plan(clustered=clusters is not None).model_copy(update={"p": level})

    before = weigh_offline(plan, paired_cases(old, new, clusters=groups))
    after = weigh_offline(plan, paired_cases(old, harmed, clusters=groups))

    assert headline(after).p <= headline(before).p or after.verdict is Verdict.NO_DATA
    assert before.verdict is not Verdict.BREACH or after.verdict is Verdict.BREACH


def test_a_level_that_is_just_met_is_not_crossed() -> None:
    cases = paired_cases(*right_and_wrong(both=97, improved=0, regressed=3, neither=0))

    at = weigh_offline(offline_plan().model_copy(update={"p": 1 / 8}), cases)
    above = weigh_offline(offline_plan().model_copy(update={"p": 0.1251}), cases)

    assert headline(at).verdict is Verdict.INCONCLUSIVE
    assert headline(above).verdict is Verdict.BREACH


def test_a_lower_end_that_just_reaches_the_margin_does_not_pass() -> None:
    # Graded scores that did not change: the interval reaches 3 / 300, which is one point.
    at = weigh_offline(offline_plan(), paired_cases([0.5] * 300, [0.5] * 300))
    above = weigh_offline(offline_plan(), paired_cases([0.5] * 301, [0.5] * 301))

    assert headline(at).verdict is Verdict.INCONCLUSIVE
    assert headline(at).low == -0.01
    assert headline(at).cases_needed == 1
    assert headline(above).verdict is Verdict.PASS


def test_a_gain_whose_interval_ends_at_none_is_not_called_better() -> None:
    at = weigh_offline(offline_plan(), paired_cases([0.5] * 60, [0.55] * 60))
    above = weigh_offline(offline_plan(), paired_cases([0.5] * 60, [0.56] * 60))

    assert headline(at).low == 0
    assert at.why.startswith(
        "not worse: +5.0 pp [+0.0, +10.0], PASS above -1.0 pp. Accuracy 55.0 %"
    )
    assert above.why.startswith("better by +6.0 pp")
