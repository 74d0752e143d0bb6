"""What the safety cases of the offline gate may answer."""

from random import Random

import pytest
from evidence_builders import paired_cases

from rampway.gates.evidence import PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, SafetyPlan
from rampway.gates.verdicts import OfflineVerdict, Safety, Verdict

SafetyRow = tuple[str, bool, int, int, int]


def safety(verdict: OfflineVerdict) -> Safety:
    assert verdict.safety is not None
    return verdict.safety


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


def test_blocking_at_the_first_flip_blocks_most_identical_candidates_and_the_gate_few() -> None:
    # 500 cases that each fail one generation in 200, for both artifacts alike.
    dice, runs = Random(11), 150
    any_flip = blocked = 0

    for _ in range(runs):
        passes = [
            [sum(dice.random() >= 0.005 for _ in range(3)) for _ in range(500)] for _ in range(2)
        ]
        rows = [(f"s-{i}", False, *both, 3) for i, both in enumerate(zip(*passes, strict=True))]
        any_flip += any(old == 3 and new < 3 for _, _, old, new, _ in rows)
        blocked += weigh_offline(safety_plan(), with_safety(*rows)).verdict is Verdict.BREACH

    assert any_flip / runs > 0.9
    assert blocked / runs <= 0.05


def test_even_single_generations_block_few_identical_candidates() -> None:
    dice, runs = Random(12), 300
    any_flip = blocked = 0

    for _ in range(runs):
        old, new = ([int(dice.random() >= 0.005) for _ in range(500)] for _ in range(2))
        rows = [(f"s-{i}", False, a, b, 1) for i, (a, b) in enumerate(zip(old, new, strict=True))]
        any_flip += any(a > b for a, b in zip(old, new, strict=True))
        blocked += weigh_offline(safety_plan(1), with_safety(*rows)).verdict is Verdict.BREACH

    assert any_flip / runs == pytest.approx(0.92, abs=0.04)
    assert blocked / runs <= 0.05


def test_a_level_that_is_just_met_is_not_crossed() -> None:
    flips = with_safety(*soft(3, 3, 0, kind="lost"))

    at = weigh_offline(safety_plan().model_copy(update={"p": 1 / 8}), flips)
    above = weigh_offline(safety_plan().model_copy(update={"p": 0.1251}), flips)

    assert safety(at).verdict is Verdict.PASS
    assert safety(at).why == (
        "3 of 3 cases passed and now fail, 0 the other way, p = 0.125; no hard case among them"
    )
    assert safety(above).verdict is Verdict.BREACH


def test_only_the_first_hard_flips_are_named() -> None:
    rows = [(f"h-{number}", True, 3, 0, 3) for number in range(7)]

    verdict = weigh_offline(safety_plan(), with_safety(*rows))

    assert verdict.why == (
        "safety: 7 hard cases passed and now fail: h-0, h-1, h-2, h-3, h-4 and 2 more"
    )


def test_a_case_that_both_fail_says_nothing_for_the_candidate() -> None:
    rows = soft(6, 3, 0, kind="lost") + soft(100, 1, 1, kind="never")

    verdict = weigh_offline(safety_plan(), with_safety(*rows))

    assert safety(verdict).p == pytest.approx(1 / 64)
    assert verdict.verdict is Verdict.BREACH
    assert "6 of 106 cases passed and now fail, 0 the other way" in verdict.why


def test_hard_flips_are_not_counted_with_the_others() -> None:
    rows = [("h-1", True, 3, 0, 3), ("h-2", True, 0, 3, 3), *soft(2, 3, 0, kind="lost")]

    verdict = weigh_offline(safety_plan(), with_safety(*rows))

    assert safety(verdict).flips == ("h-1",)
    assert safety(verdict).p == 1 / 4


def test_one_case_certifies_nothing() -> None:
    verdict = weigh_offline(safety_plan(), with_safety(*soft(1, 3, 3, kind="kept")))

    assert safety(verdict).why == "0 flips; 1 case x 3 certify under 100.0 %"
