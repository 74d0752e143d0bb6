"""A weigher that looks again and again says what a first look at the same evidence says."""

import copy
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from evidence_builders import (
    error_gate,
    evidence_of,
    evidence_of_streams,
    only,
    settle_plan,
    shadow_plan,
    steady,
    step_plan,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from rampway.gates.evidence import Evidence
from rampway.gates.plans import (
    AbPlan,
    Must,
    ProbeGate,
    QualityGate,
    RateGate,
    Role,
    SampleRatioGate,
    StagePlan,
    StepPlan,
)
from rampway.gates.rates import Table
from rampway.gates.slices import RateRow
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import Weigher, evidence_at, look_at, path_of, weigh

HOLD_SECONDS = 8 * 60.0
NO_ROWS: list[JsonValue] = [None, "29", [], {"index": 2}, 2**70, [2**70], ["\ud800"]]
STREAMS = ("error", "late", "quality", "safety", "judge")


def late_gate(role: Role = Role.GUARD) -> RateGate:
    return RateGate(name="late", stream="late", role=role, alpha=0.02, margin_odds=5.0)


def whole_step(role: Role = Role.GUARD) -> StepPlan:
    """A step with every kind of gate that a step can declare."""
    plan = step_plan(
        error_gate(alpha=0.05), late_gate(role), hold_seconds=HOLD_SECONDS, units=50, coverage=0.7
    )
    return plan.model_copy(
        update={
            "quality": QualityGate(levels=3, alpha=0.05, margin_sd=0.5),
            "probes": ProbeGate(alpha=0.05),
            "sample_ratio": SampleRatioGate(),
        }
    )


def ab_plan(slices_per_look: int = 3) -> AbPlan:
    return AbPlan(
        name="A/B",
        hold_seconds=HOLD_SECONDS,
        deadline_seconds=HOLD_SECONDS,
        slice_seconds=60,
        share_bp=5_000,
        units=20,
        slices_per_look=slices_per_look,
        gates=(error_gate(alpha=0.05), late_gate()),
        sample_ratio=SampleRatioGate(),
    )


PLANS: dict[str, StagePlan] = {
    "guards": whole_step(),
    "one watches": whole_step(Role.WATCH),
    "one informs": whole_step(Role.INFORM),
    "screen": step_plan(must=Must.SCREEN, hold_seconds=HOLD_SECONDS),
    "ab": ab_plan(),
    "shadow": shadow_plan(pairs=60, levels=3, hold_seconds=HOLD_SECONDS),
    "settling": settle_plan(hold_seconds=HOLD_SECONDS),
}


def row_of(stream: str, index: int, numbers: list[int]) -> list[JsonValue]:
    """A valid row of a stream, made of four numbers up to 40."""
    a, b, c, d = numbers
    if stream == "quality":
        return [index, [[0, a // 9, b], [1, b // 3, c], [2, c // 2, d * 3]], a // 30, d // 20]
    if stream == "safety":
        return [index, c, a // 20, b // 20, d // 30, 1 if a == b == c else 0]
    if stream == "judge":
        return [index, [[2, 0, a // 12], [1, 2, b // 4], [2, 2, c]], d // 10]
    return [index, a, a * d // 80, 19 * a + b, b * d // 200]


@dataclass
class Source:
    """Evidence that grows, loses slices, and now and then changes its past."""

    rows: dict[str, list[JsonValue]] = field(default_factory=lambda: {s: [] for s in STREAMS})
    sealed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    slice_seconds: float = 60

    def act(self, action: str, stream: str, numbers: list[int]) -> None:
        rows, next_index = self.rows[stream], self.sealed[stream]
        match action:
            case "grow":
                rows.append(row_of(stream, next_index, numbers))
                self.sealed[stream] += 1
            case "lose":
                self.sealed[stream] += 1
            case "ahead":
                rows.append(row_of(stream, next_index + numbers[0] % 3, numbers))
            case "catch up":
                self.sealed[stream] += 2
            case "refuse":
                bad = row_of(stream, next_index, numbers)
                bad[numbers[0] % len(bad)] = [None, -1, "7", 1.0, float("nan")][numbers[1] % 5]
                rows.append(bad)
                self.sealed[stream] += 1
            case "no row":
                rows.append(NO_ROWS[numbers[0] % len(NO_ROWS)])
            case "come late":
                rows.append(row_of(stream, max(0, next_index - 1 - numbers[0] % 3), numbers))
            case "seal less":
                self.sealed[stream] = max(0, next_index - 1)
            case "other slices":
                self.slice_seconds = 60 if self.slice_seconds != 60 else 10
            case _:
                self._change(action, rows, numbers)

    def _change(self, action: str, rows: list[JsonValue], numbers: list[int]) -> None:
        if not rows:
            return
        position = numbers[0] % len(rows)
        changed = copy.deepcopy(rows[position])
        if action == "drop":
            del rows[position]
        elif action == "swap":
            rows[position], rows[-1] = rows[-1], rows[position]
        elif isinstance(changed, list) and changed:
            cell = numbers[1] % len(changed)
            value = changed[cell]
            if action == "same number" and isinstance(value, int):
                changed[cell] = float(value) if numbers[2] % 2 else bool(value)
            else:
                changed[cell] = numbers[3]
            rows[position] = changed

    def evidence(self) -> Evidence:
        return evidence_of_streams(
            copy.deepcopy(self.rows), sealed=dict(self.sealed), slice_seconds=self.slice_seconds
        )


RARE = ["lose", "ahead", "catch up", "refuse", "no row", "come late", "seal less", "other slices"]
CHANGES = ["drop", "swap", "same number", "change"]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["grow"] * 12 + RARE + CHANGES),
        st.sampled_from([*STREAMS, "error", "error", "all", "all", "all"]),
        st.lists(st.integers(0, 40), min_size=4, max_size=4),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(actions=ACTIONS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_look_after_many_says_what_a_first_look_says(
    plan: StagePlan, actions: list[tuple[str, str, list[int]]]
) -> None:
    source, weigher = Source(), Weigher(plan)

    for action, stream, numbers in actions:
        for each in STREAMS if stream == "all" else (stream,):
            source.act(action, each, numbers)
        evidence = source.evidence()

        assert weigher.look(evidence) == weigh(plan, evidence)
        # Looking twice at the same counts nothing twice.
        assert weigher.look(evidence) == weigh(plan, evidence)


@pytest.mark.parametrize("kind", ["one informs", "screen", "ab", "settling"])
def test_a_breach_stays_while_evidence_grows_and_goes_when_its_past_was_another(kind: str) -> None:
    plan = PLANS[kind]
    rows: list[JsonValue] = [*steady(3, [100, 90, 1900, 5]), *steady(9, [100, 0, 1900, 5])[3:]]
    weigher = Weigher(plan)

    verdicts = [
        weigher.look(evidence_of_streams({"error": rows[:n], "late": rows[:n]})).verdict
        for n in (3, 6, 9)
    ]
    clean = steady(9, [100, 0, 1900, 5])
    after = weigher.look(evidence_of_streams({"error": clean, "late": clean}))

    assert verdicts == [Verdict.BREACH] * 3
    assert after.verdict is not Verdict.BREACH
    assert after == weigh(plan, evidence_of_streams({"error": clean, "late": clean}))


def test_rows_are_compared_by_what_they_are_not_by_what_python_calls_equal() -> None:
    rows: list[Any] = [[0, 100, 1, 1900, 20], [1, 100, 1, 1900, 20]]
    weigher = Weigher(step_plan())

    before = weigher.look(evidence_of(rows))
    rows[0][2] = True
    after = weigher.look(evidence_of(rows))

    assert before.usable == 2
    assert after.usable == 1


def test_a_row_that_comes_late_into_a_weighed_stratum_is_weighed_with_it() -> None:
    plan = ab_plan(slices_per_look=6)
    rows = steady(6, [100, 1, 100, 1])
    weigher = Weigher(plan)

    early = evidence_of_streams(
        {"error": rows[:4], "late": rows[:4]}, sealed={"error": 6, "late": 6}
    )
    weigher.look(early)
    late = evidence_of_streams({"error": rows, "late": rows}, sealed={"error": 6, "late": 6})

    assert weigher.look(late) == weigh(plan, late)
    assert weigher.look(late).gates[0].candidate.units == 600


def test_a_verdict_can_be_asked_for_as_it_was_at_a_look() -> None:
    evidence = evidence_of([*steady(3, [100, 1, 1900, 20]), *steady(9, [100, 50, 1900, 20])[3:]])

    at_three, at_nine = (look_at(step_plan(), evidence, n) for n in (3, 9))

    assert at_three == weigh(step_plan(), evidence_of(steady(3, [100, 1, 1900, 20])))
    assert at_three.verdict is Verdict.INCONCLUSIVE
    assert at_nine == weigh(step_plan(), evidence)
    assert at_nine.verdict is Verdict.BREACH
    assert look_at(step_plan(), evidence, 99) == at_nine
    assert look_at(step_plan(), evidence, 0).verdict is Verdict.NO_DATA


def test_a_path_is_the_verdict_at_each_of_its_looks() -> None:
    evidence = evidence_of(steady(12, [100, 1, 1900, 20]))
    looks = [1, 5, 6, 12, 3]

    path = path_of(step_plan(), evidence, looks)

    assert path == [look_at(step_plan(), evidence, n) for n in looks]
    assert [verdict.slices for verdict in path] == looks


def test_there_is_no_look_before_the_first_slice() -> None:
    with pytest.raises(ValueError, match="0 or more, not -1"):
        evidence_at(evidence_of([]), -1)


def test_the_looks_of_an_ab_are_at_whole_strata() -> None:
    plan = ab_plan(slices_per_look=3).model_copy(
        update={"gates": (error_gate(alpha=0.05),), "sample_ratio": None}
    )
    worse = steady(6, [100, 60, 100, 2])

    two, three = (only(weigh(plan, evidence_of(worse[:n]))) for n in (2, 3))

    assert (two.candidate.units, two.verdict) == (0, Verdict.INCONCLUSIVE)
    assert (three.candidate.units, three.verdict) == (300, Verdict.BREACH)
    assert three.crossed_at_seconds == 180


COUNTS = st.tuples(*[st.integers(0, 10**9)] * 4)


@given(rows=st.lists(COUNTS, min_size=3, max_size=8), seed=st.randoms(use_true_random=False))
def test_counts_add_up_in_any_order_and_in_any_groups(
    rows: list[tuple[int, int, int, int]], seed: Random
) -> None:
    numbered = [RateRow(n, *row) for n, row in enumerate(rows)]
    shuffled = list(numbered)
    seed.shuffle(shuffled)
    first, rest = Table.of(numbered[:2]), Table.of(numbered[2:])

    assert Table.of(shuffled) == Table.of(numbered)
    assert Table.of([RateRow(0, *first), RateRow(1, *rest)]) == Table.of(numbered)
    assert Table.of([RateRow(0, *rest), RateRow(1, *first)]) == Table.of(numbered)
