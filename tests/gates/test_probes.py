"""What the safety canary of a step may answer from paired probes."""

import math

import pytest
from evidence_builders import evidence_of, step_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from scipy import stats

from rampway.gates.plans import ProbeGate, Role, Spending, StepPlan
from rampway.gates.probes import ProbeTally
from rampway.gates.verdicts import GateVerdict, Verdict

# A minute's pairs: both pass, only the candidate fails, only the baseline fails, both fail, hard failed.
GOOD = (4, 0, 0, 0, 0)
FLAKY = (3, 1, 1, 0, 0)
BAD = (2, 2, 0, 0, 0)


def gate(
    *,
    alpha: float = 0.003125,
    late: float = 0.25,
    spending: Spending = Spending.OPEN,
    role: Role = Role.GUARD,
) -> ProbeGate:
    return ProbeGate(alpha=alpha, late=late, spending=spending, role=role)


def plan_of(probes: ProbeGate) -> StepPlan:
    return step_plan().model_copy(update={"probes": probes})


def probed(slices: int, row: tuple[int, ...]) -> list[JsonValue]:
    return [[n, *row] for n in range(slices)]


def weigh(
    rows: list[JsonValue], probes: ProbeGate | None = None, *, sealed: int | None = None
) -> GateVerdict:
    probes = probes or gate()
    tally = ProbeTally(plan_of(probes), probes)
    tally.take(evidence_of(rows, stream="safety", sealed=sealed))
    return tally.answer(tally.slices.seconds)[0]


def test_without_a_slice_or_a_probe_there_is_no_data() -> None:
    assert weigh([]).verdict is Verdict.NO_DATA
    assert weigh(probed(30, (0, 0, 0, 0, 0))).verdict is Verdict.NO_DATA
    assert weigh(probed(29, GOOD), sealed=30).verdict is Verdict.NO_DATA


def test_probes_without_a_failure_pass_at_the_end_of_the_hold() -> None:
    looks = [weigh(probed(n, GOOD)) for n in (1, 29, 30)]

    assert [look.verdict for look in looks] == [*[Verdict.INCONCLUSIVE] * 2, Verdict.PASS]


def test_the_verdict_says_which_failure_rate_is_excluded() -> None:
    during, done = weigh(probed(4, GOOD)), weigh(probed(30, GOOD))
    flaky, few = weigh(probed(30, FLAKY)), weigh(probed(1, (1, 0, 0, 0, 0)))
    assert (flaky.candidate.bad, flaky.baseline.bad, flaky.baseline.units) == (30, 30, 150)

    assert during.why == (
        "0 of 16 probes, under 19 % (exactly 17.1 %) with 95 % confidence; 26 min of the hold to go"
    )
    assert done.why == (
        "0 of 120 probes, under 2.5 % (exactly 2.47 %) with 95 % confidence, no BREACH"
    )
    assert flaky.why == "30 of 150 probes, under 26.1 % with 95 % confidence, no BREACH"
    assert few.why.startswith("0 of 1 probe, under 100 % (exactly 95.0 %)")


def test_a_hard_probe_that_failed_twice_is_a_breach_at_once_whatever_the_budget() -> None:
    rows = [*probed(3, GOOD), [3, 3, 1, 0, 0, 1]]

    verdict = weigh(rows, gate(alpha=1e-9))

    assert verdict.verdict is Verdict.BREACH
    assert verdict.crossed_at_seconds == 240
    assert verdict.why == "the candidate failed 1 hard probe twice in a row; one is a BREACH"
    assert verdict.candidate.units == verdict.baseline.units == 16


def test_a_hard_failure_without_any_pair_is_a_breach_too() -> None:
    assert weigh([[0, 0, 0, 0, 0, 1]]).verdict is Verdict.BREACH


def test_failures_of_the_candidate_alone_breach_as_the_exact_sign_test_says() -> None:
    verdict = weigh(probed(30, BAD))

    assert verdict.verdict is Verdict.BREACH
    assert verdict.crossed_at_seconds is not None
    slices = round(verdict.crossed_at_seconds / 60)
    # By then the whole budget could not have bought so many heads in a row a slice earlier.
    assert stats.binom.sf(2 * slices - 1, 2 * slices, 0.5) < 0.003125
    assert verdict.candidate.bad == 2 * slices
    assert verdict.baseline.bad == 0
    assert verdict.breach_at is not None
    assert verdict.breach_at <= verdict.candidate.bad
    assert "probes that the baseline answered well" in verdict.why


def test_a_breach_latches_with_the_counts_of_its_look() -> None:
    recovered = probed(20, BAD) + [[n, *GOOD] for n in range(20, 30)]

    assert weigh(recovered) == weigh(probed(20, BAD))


def test_probes_that_both_arms_fail_say_nothing_about_the_candidate() -> None:
    verdict = weigh(probed(30, (0, 0, 0, 4, 0)))

    assert verdict.verdict is Verdict.PASS
    assert (verdict.candidate.bad, verdict.baseline.bad) == (120, 120)
    assert verdict.expected == 120


def test_the_boundary_moves_with_the_probes_that_both_arms_fail() -> None:
    plain = weigh(probed(29, (3, 1, 1, 0, 0)))
    shifted = weigh(probed(29, (2, 1, 1, 1, 0)))

    assert plain.breach_at is not None
    assert shifted.breach_at == plain.breach_at + 29
    assert shifted.candidate.bad == plain.candidate.bad + 29
    assert shifted.spent == plain.spent


def test_too_many_lost_slices_never_pass() -> None:
    rows = [row for n, row in enumerate(probed(30, GOOD)) if n % 5 or n == 29]

    assert weigh(rows, sealed=30).verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    "row",
    [
        [29, 4, 0, 0, 0],
        [29, 4, 0, 0, 0, -1],
        [29, 4, 0, 0, 0, math.nan],
        [29, 4, 0, 0, 0, "0"],
        [29],
    ],
    ids=str,
)
def test_a_row_that_cannot_be_counted_is_no_data(row: JsonValue) -> None:
    assert weigh([*probed(29, GOOD), row]).verdict is Verdict.NO_DATA


def test_what_a_gate_is_for_stands_in_its_verdict() -> None:
    assert weigh(probed(30, GOOD), gate(role=Role.WATCH)).role is Role.WATCH


def test_the_false_breach_bound_holds_over_every_outcome() -> None:
    # Two pairs differ in each of five slices: all 3^5 outcomes, each as likely as its coin flips.
    probes = gate(alpha=0.2, late=0.3, spending=Spending.POWER)
    plan = plan_of(probes).model_copy(update={"hold_seconds": 300.0})
    breached = 0.0

    for outcome in range(3**5):
        heads = [outcome // 3**n % 3 for n in range(5)]
        tally = ProbeTally(plan, probes)
        rows: list[JsonValue] = [[n, 2, up, 2 - up, 0, 0] for n, up in enumerate(heads)]
        tally.take(evidence_of(rows, stream="safety"))
        if tally.answer(300)[0].verdict is Verdict.BREACH:
            breached += math.prod((0.25, 0.5, 0.25)[up] for up in heads)

    assert 0.01 < breached <= 0.2


@settings(max_examples=40)
@given(
    st.lists(st.tuples(*[st.integers(0, 4)] * 4, st.just(0)), min_size=1, max_size=40), st.data()
)
def test_looking_often_says_what_one_look_says(
    counts: list[tuple[int, ...]], data: st.DataObject
) -> None:
    rows: list[JsonValue] = [[n, *row] for n, row in enumerate(counts)]
    probes = gate()
    tally = ProbeTally(plan_of(probes), probes)

    for n in sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=6)) | {len(rows)}):
        evidence = evidence_of(rows[:n], stream="safety")
        tally.take(evidence)
        once = ProbeTally(plan_of(probes), probes)
        once.take(evidence)
        assert tally.answer(n * 60) == once.answer(n * 60)
