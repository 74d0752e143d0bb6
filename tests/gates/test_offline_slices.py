"""What the slices of the offline gate may answer, and how often they cry wolf."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from evidence_builders import paired_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from rampway.gates.evidence import Column, PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SliceMode, SlicesPlan
from rampway.gates.verdicts import OfflineSlices, OfflineVerdict, SliceLoss, Verdict

Part = tuple[str, int, int, int]  # name, cases, improved, regressed


def sliced(plan: SlicesPlan | None = None, *, clustered: bool = False) -> OfflinePlan:
    return OfflinePlan(slices=plan or SlicesPlan(by=("tense",)), clustered=clustered)


def column(codes: Sequence[int], names: Sequence[str] = ()) -> Column:
    count = max(codes, default=-1) + 1
    return Column(
        values=list(names) or [f"value {code}" for code in range(count)], codes=list(codes)
    )


def with_slices(cases: PairedCases, **columns: Column) -> PairedCases:
    return cases.model_copy(update={"slices": columns})


def parts(*tenses: Part, clusters: Sequence[int] | None = None) -> PairedCases:
    """Right answers of the baseline except where the candidate improved, tense after tense."""
    old: list[float] = []
    new: list[float] = []
    codes: list[int] = []
    for code, (_, cases, improved, regressed) in enumerate(tenses):
        same = cases - improved - regressed
        old += [0.0] * improved + [1.0] * (regressed + same)
        new += [1.0] * improved + [0.0] * regressed + [1.0] * same
        codes += [code] * cases
    tense = column(codes, [name for name, *_ in tenses])
    return with_slices(paired_cases(old, new, clusters=clusters), tense=tense)


def slices(verdict: OfflineVerdict) -> OfflineSlices:
    assert verdict.slices is not None
    return verdict.slices


def of(verdict: OfflineVerdict, value: str) -> SliceLoss:
    return next(found for found in slices(verdict).slices if found.value == value)


def test_a_loss_in_one_slice_that_the_mean_hides_is_a_breach() -> None:
    cases = parts(("past", 200, 0, 20), ("present", 900, 25, 10), ("future", 900, 25, 10))

    verdict = weigh_offline(sliced(), cases)

    assert verdict.headline is not None
    assert verdict.headline.verdict is Verdict.PASS
    assert verdict.verdict is Verdict.BREACH
    assert verdict.why == "slices: 1 of 3 slices worse after Holm: past -10.0 pp (200 cases)"
    assert [found.value for found in slices(verdict).slices] == ["past", "future", "present"]


def test_the_tests_are_exact_mcnemar_and_the_family_is_all_values_of_all_columns() -> None:
    cases = parts(("past", 400, 10, 24), ("present", 400, 12, 13), ("future", 400, 20, 11))
    cases = with_slices(
        cases, tense=cases.slices["tense"], half=column([case % 2 for case in range(1200)])
    )
    plan = sliced(SlicesPlan(by=("tense", "half")))

    verdict = weigh_offline(plan, cases)

    found = slices(verdict).slices
    past = of(verdict, "past")
    assert len(found) == 5
    assert past.p == pytest.approx(stats.binom.cdf(10, 34, 0.5), rel=1e-8)
    adjusted = multipletests([one.p for one in found], method="holm")[1]
    assert [one.p_holm for one in found] == pytest.approx(list(adjusted), rel=1e-8)
    assert [one.p for one in found] == sorted(one.p for one in found)


def test_a_slice_down_by_two_sigma_is_reported_and_does_not_block() -> None:
    quiet = [(f"tense {number}", 300, 15, 15) for number in range(14)]
    cases = parts(("conditional", 300, 10, 22), *quiet)
    plan = SlicesPlan(by=("tense",), mode=SliceMode.LITERAL)

    verdict = weigh_offline(sliced(plan), cases)
    controlled = weigh_offline(sliced(), cases)

    assert slices(verdict).verdict is Verdict.PASS
    assert slices(verdict).beyond_sigma == 1
    assert slices(verdict).slices[0].sigmas == pytest.approx(2.134, abs=0.001)
    assert slices(verdict).literal == (
        "every slice at 2 sigma would have blocked: conditional -4.0 pp (300 cases)"
    )
    assert slices(controlled) == slices(verdict).model_copy(update={"literal": ""})


def test_the_plain_rule_may_have_passed_too() -> None:
    plan = SlicesPlan(by=("tense",), mode=SliceMode.LITERAL)

    verdict = weigh_offline(sliced(plan), parts(("past", 400, 12, 12)))

    assert slices(verdict).literal == "every slice at 2 sigma would have passed"


def test_a_candidate_that_changes_nothing_is_not_blocked_for_ever() -> None:
    cases = parts(*[(f"tense {number}", 100, 0, 0) for number in range(15)])

    verdict = weigh_offline(sliced(), cases)

    assert {found.verdict for found in slices(verdict).slices} == {Verdict.INCONCLUSIVE}
    assert verdict.verdict is Verdict.PASS
    assert slices(verdict).why == "0 of 15 slices worse after Holm; 15 with too little to tell"


def test_a_slice_with_few_changes_is_inconclusive_and_named_when_it_lost() -> None:
    cases = parts(("rare", 5, 0, 5), ("past", 2000, 30, 20), ("future", 2000, 30, 20))

    verdict = weigh_offline(sliced(), cases)

    assert of(verdict, "rare").verdict is Verdict.INCONCLUSIVE
    assert slices(verdict).verdict is Verdict.PASS
    assert slices(verdict).why == (
        "0 of 3 slices worse after Holm; 1 with too little to tell, rare -100.0 pp (5 cases) first"
    )
    assert of(verdict, "past").verdict is Verdict.PASS


def test_few_changes_do_not_excuse_a_breach() -> None:
    verdict = weigh_offline(sliced(), parts(("past", 400, 0, 9), ("future", 4000, 40, 20)))

    assert of(verdict, "past").discordant == 9
    assert of(verdict, "past").verdict is Verdict.BREACH


def test_all_lost_without_any_variance_is_a_breach() -> None:
    quiet = [(f"tense {number}", 300, 15, 15) for number in range(14)]

    verdict = weigh_offline(sliced(), parts(("past", 30, 0, 30), *quiet))

    past = slices(verdict).slices[0]
    assert (past.value, past.verdict) == ("past", Verdict.BREACH)
    assert (past.baseline_accuracy, past.candidate_accuracy) == (1, 0)
    assert past.sigmas == pytest.approx(30**0.5)


def test_clusters_are_the_units_of_slices_too() -> None:
    # All that was lost in the past tense was lost by one verb of twenty.
    clusters = [case % 20 for case in range(400)] + [case % 20 for case in range(2000)]
    old = [1.0] * 2400
    new = [0.0 if case < 400 and case % 20 == 3 else 1.0 for case in range(2400)]
    tense = column([0] * 400 + [1] * 2000, ["past", "future"])
    cases = with_slices(paired_cases(old, new, clusters=clusters), tense=tense)

    alone = weigh_offline(sliced(), cases)
    clustered = weigh_offline(sliced(clustered=True), cases)

    assert of(alone, "past").verdict is Verdict.BREACH
    assert of(clustered, "past").p == 0.5
    assert slices(clustered).verdict is Verdict.PASS


def test_slices_that_are_all_too_small_to_be_found_worse_never_pass() -> None:
    old, new = [1.0] * 2000, [1.0] * 2000
    single = with_slices(paired_cases(old, new), case=column(range(2000)))
    verbs = with_slices(
        paired_cases(old, new, clusters=[case // 50 for case in range(2000)]),
        verb=column([case // 50 for case in range(2000)]),
    )

    by_case = weigh_offline(sliced(SlicesPlan(by=("case",))), single)
    by_verb = weigh_offline(sliced(SlicesPlan(by=("verb",)), clustered=True), verbs)

    assert slices(by_case).verdict is slices(by_verb).verdict is Verdict.INCONCLUSIVE
    assert slices(by_case).why == (
        "no slice can be found worse: among 2,000 slices one needs 16 cases, the largest has 1"
    )
    assert "one needs 10 clusters, the largest has 1" in slices(by_verb).why


def test_a_slice_that_nobody_answered_is_no_data() -> None:
    cases = paired_cases([1.0] * 400, [1.0] * 400)
    cases = with_slices(cases, tense=column([0] * 400, ["past", "future perfect"]))

    verdict = weigh_offline(sliced(), cases)

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == "slices: no case that both artifacts answered in future perfect"


def test_a_column_that_the_evidence_lacks_is_incomparable_and_named() -> None:
    cases = parts(("past", 400, 0, 0))

    verdict = weigh_offline(sliced(SlicesPlan(by=("tense", "person"))), cases)

    assert verdict.verdict is Verdict.INCOMPARABLE
    assert verdict.why == (
        "the plan asks for slices by person; the columns that the cases have: tense"
    )
    assert verdict.slices is None


def test_a_column_that_names_a_value_twice_is_incomparable() -> None:
    cases = paired_cases([1.0] * 400, [1.0] * 400)
    cases = with_slices(cases, tense=column([0, 1] * 200, ["past", "past"]))

    verdict = weigh_offline(sliced(), cases)

    assert verdict.verdict is Verdict.INCOMPARABLE


def test_a_value_that_two_columns_have_is_told_with_its_column() -> None:
    cases = parts(("other", 400, 0, 40), ("past", 400, 10, 10))
    kind = column([case % 2 for case in range(800)], ["other", "regular"])
    cases = with_slices(cases, tense=cases.slices["tense"], kind=kind)

    verdict = weigh_offline(sliced(SlicesPlan(by=("tense", "kind", "tense"))), cases)

    assert len(slices(verdict).slices) == 4
    assert "worse after Holm: tense other -10.0 pp (400 cases)" in slices(verdict).why


def test_no_plan_for_slices_asks_for_none() -> None:
    assert weigh_offline(OfflinePlan(), parts(("past", 400, 0, 0))).slices is None


def identical(dice: np.random.Generator, each: int) -> PairedCases:
    """Two runs of one model on 20 slices of cases that it answers more or less surely."""
    sure = np.tile(np.linspace(0.5, 1, each), 20)
    old, new = (dice.random(sure.size) < sure for _ in range(2))
    codes = np.repeat(np.arange(20), each).tolist()
    return with_slices(
        paired_cases(old.astype(float).tolist(), new.astype(float).tolist()), tense=column(codes)
    )


def test_the_plain_rule_blocks_a_third_of_identical_models_and_holm_few() -> None:
    dice, runs = np.random.default_rng(2024), 300

    told = [slices(weigh_offline(sliced(), identical(dice, 120))) for _ in range(runs)]

    literal = sum(found.beyond_sigma > 0 for found in told) / runs
    blocked = sum(found.verdict is not Verdict.PASS for found in told) / runs
    assert literal == pytest.approx(0.37, abs=0.09)  # three standard errors
    assert blocked <= 0.05


@settings(deadline=None, max_examples=60)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), st.integers(0, 3)),
        min_size=30,
        max_size=120,
    ),
    losing=st.integers(0, 25),
    clustered=st.booleans(),
    dice=st.randoms(),
)
def test_order_does_not_matter_and_more_harm_never_takes_a_breach_back(
    pairs: list[tuple[float, float, int]],
    losing: int,
    clustered: bool,  # noqa: FBT001 - hypothesis draws it
    dice: Random,
) -> None:
    pairs = [(1.0, 0.0, 0)] * losing + pairs
    rows = [(old, new, code, place % 30) for place, (old, new, code) in enumerate(pairs)]
    shuffled = dice.sample(rows, len(rows))
    harmed = [
        (old, 0.0 if dice.random() < 0.2 else new, code, cluster)
        for old, new, code, cluster in rows
    ]
    plan = sliced(clustered=clustered)

    def weighed(told: list[tuple[float, float, int, int]]) -> OfflineVerdict:
        cases = paired_cases(
            [old for old, *_ in told],
            [new for _, new, *_ in told],
            clusters=[cluster for *_, cluster in told],
        )
        names = [f"tense {code}" for code in range(4)]
        return weigh_offline(plan, with_slices(cases, tense=column([r[2] for r in told], names)))

    before, after = weighed(rows), weighed(harmed)

    assert weighed(shuffled) == before
    if slices(before).verdict is Verdict.BREACH:
        assert slices(after).verdict is Verdict.BREACH
    assert type(before).model_validate_json(before.model_dump_json()) == before


def test_a_limit_that_is_just_met_is_not_crossed() -> None:
    # Five of five lost: p = 1 / 32, and one slice alone needs five cases to be found worse at 0.04.
    five, one = parts(("past", 5, 0, 5), clusters=range(5)), ("tense",)
    at = weigh_offline(sliced(SlicesPlan(by=one, p=1 / 32), clustered=True), five)
    above = weigh_offline(sliced(SlicesPlan(by=one, p=0.04)), five)
    two_sigma = weigh_offline(sliced(), parts(("past", 4, 0, 4)))

    assert slices(at).verdict is Verdict.INCONCLUSIVE
    assert "one needs 6 clusters, the largest has 5" in slices(at).why
    assert slices(above).verdict is Verdict.BREACH
    assert slices(above).beyond_sigma == 1
    assert of(two_sigma, "past").sigmas == 2
    assert slices(two_sigma).beyond_sigma == 0


def test_ten_changes_are_enough_to_tell_and_nine_are_not() -> None:
    verdict = weigh_offline(sliced(), parts(("past", 400, 5, 5), ("future", 400, 5, 4)))

    assert of(verdict, "past").verdict is Verdict.PASS
    assert of(verdict, "future").verdict is Verdict.INCONCLUSIVE


def test_a_slice_as_small_as_can_be_found_worse_may_pass() -> None:
    plan = SlicesPlan(by=("tense",), discordant_least=4)

    verdict = weigh_offline(sliced(plan), parts(("past", 6, 2, 2), ("future", 5, 2, 2)))

    assert of(verdict, "past").verdict is Verdict.PASS  # 2 slices x 1 / 64 < 0.05
    assert of(verdict, "future").verdict is Verdict.INCONCLUSIVE
    assert slices(verdict).verdict is Verdict.PASS


def test_an_open_slice_that_did_not_lose_is_not_named() -> None:
    verdict = weigh_offline(sliced(), parts(("past", 400, 3, 3), ("future", 400, 4, 3)))

    assert slices(verdict).why == "0 of 2 slices worse after Holm; 2 with too little to tell"


def test_a_breach_comes_first_then_what_nobody_answered() -> None:
    cases = parts(("past", 400, 20, 20), ("future", 400, 0, 40), ("empty", 0, 0, 0))

    verdict = weigh_offline(sliced(), cases)

    assert [found.value for found in slices(verdict).slices] == ["future", "empty", "past"]
    assert slices(verdict).verdict is Verdict.BREACH


def test_only_the_first_slices_are_named() -> None:
    verdict = weigh_offline(sliced(), parts(*[(f"t{number}", 40, 0, 40) for number in range(7)]))

    assert slices(verdict).why == (
        "7 of 7 slices worse after Holm: "
        + ", ".join(f"t{number} -100.0 pp (40 cases)" for number in range(5))
        + " and 2 more"
    )


def test_the_slices_that_are_worse_are_counted() -> None:
    told = weigh_offline(
        sliced(), parts(("past", 200, 0, 20), ("future", 200, 0, 30), ("to", 99, 9, 9))
    )

    assert (slices(told).worse, len(slices(told).slices)) == (2, 3)
    assert slices(weigh_offline(sliced(), parts(("past", 400, 9, 9)))).worse == 0


def test_one_case_can_be_a_slice_where_the_level_is_above_one_half() -> None:
    plan = SlicesPlan(by=("tense",), p=0.6, discordant_least=1)

    verdict = weigh_offline(sliced(plan), parts(("past", 1, 1, 0)))

    assert of(verdict, "past").verdict is Verdict.PASS


def test_a_slice_that_nobody_answered_excludes_nothing() -> None:
    verdict = weigh_offline(sliced(), parts(("past", 400, 0, 0), ("empty", 0, 0, 0)))

    assert of(verdict, "empty") == SliceLoss(
        by="tense", value="empty", verdict=Verdict.NO_DATA, cases=0, discordant=0,
        baseline_accuracy=0, candidate_accuracy=0, difference=0, low=-1, high=1,
        p=1, p_holm=1, sigmas=0,
    )  # fmt: skip


def test_of_the_open_slices_that_lost_only_the_surest_is_named() -> None:
    verdict = weigh_offline(sliced(), parts(("past", 400, 0, 2), ("future", 400, 0, 3)))

    assert slices(verdict).why == (
        "0 of 2 slices worse after Holm; 2 with too little to tell, future -0.8 pp (400 cases) first"
    )


def test_the_plain_rule_names_the_slice_that_is_furthest_beyond_it_first() -> None:
    # 8 of 8 lost are 2.83 sigma and 1 / 256; 143 of 243 are 2.77 sigma, which is less likely.
    plan = SlicesPlan(by=("tense",), p=0.001, mode=SliceMode.LITERAL)
    cases = parts(("many", 1000, 100, 143), ("few", 8, 0, 8))

    told = slices(weigh_offline(sliced(plan), cases))

    assert [found.value for found in told.slices] == ["many", "few"]
    assert told.literal == (
        "every slice at 2 sigma would have blocked: few -100.0 pp (8 cases), many -4.3 pp (1,000 cases)"
    )
