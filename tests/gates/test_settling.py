"""What the watch after promotion may answer, with no control left."""

import pytest
from evidence_builders import evidence_of, settle_plan, steady
from scipy import stats

from rampway.gates.plans import SettlePlan
from rampway.gates.settling import gross_rate, weigh_settling
from rampway.gates.verdicts import Verdict

AS_BEFORE = [3000, 30, 0, 0]


def test_a_release_that_stays_as_the_control_was_passes_when_the_watch_ends() -> None:
    looks = [weigh_settling(settle_plan(), evidence_of(steady(n, AS_BEFORE))) for n in (1, 29, 30)]

    assert [look.verdict for look in looks] == [
        Verdict.INCONCLUSIVE,
        Verdict.INCONCLUSIVE,
        Verdict.PASS,
    ]
    assert looks[1].seconds_to_go == 60
    assert looks[1].why.endswith("; 60 s of the watch to go")


def test_a_drift_under_three_times_the_odds_is_not_undone() -> None:
    verdict = weigh_settling(settle_plan(), evidence_of(steady(30, [3000, 80, 0, 0])))

    assert verdict.verdict is Verdict.PASS


def test_gross_harm_is_a_breach_at_once_and_latches() -> None:
    rows = [[0, 3000, 300, 0, 0], *[[n, 3000, 0, 0, 0] for n in range(1, 40)]]

    verdict = weigh_settling(settle_plan(), evidence_of(rows))

    assert verdict.verdict is Verdict.BREACH
    assert verdict.gates[0].crossed_at_seconds == 60
    assert verdict.exposed == 120_000


def test_the_first_boundary_is_the_exact_binomial_one() -> None:
    verdict = weigh_settling(settle_plan(hold_seconds=60), evidence_of([[0, 400, 0, 0, 0]]))

    gate = verdict.gates[0]
    rate = gross_rate(settle_plan().gates[0], 0.01)
    budget = 0.0025 * 0.75 * 0.8
    counts = range(401)
    assert gate.breach_at == next(x for x in counts if stats.binom.sf(x - 1, 400, rate) <= budget)
    assert gate.expected == pytest.approx(400 * rate, rel=1e-8)


@pytest.mark.parametrize(
    ("baseline_rate", "rate"),
    [
        (0.0, 0.02),
        (0.01, 0.03),
        (0.2, 0.428571429),
        (0.98, 0.993243243),  # the absolute margin leads to 100 %, which would excuse everything
        (0.99, 0.996644295),
    ],
)
def test_the_gross_rate_is_the_worse_of_both_margins(baseline_rate: float, rate: float) -> None:
    assert gross_rate(settle_plan().gates[0], baseline_rate) == pytest.approx(rate, rel=1e-6)


def test_without_a_rate_of_the_control_the_watch_is_no_data() -> None:
    verdict = weigh_settling(settle_plan(baseline_rate=None), evidence_of(steady(30, AS_BEFORE)))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == (
        "error: error has no baseline rate: too few baseline units were measured before the step"
    )


def latency_plan(*, threshold_bucket: int | None, baseline_rate: float | None) -> SettlePlan:
    update = {
        "quantile": 0.95,
        "baseline_rate": baseline_rate,
        "threshold_bucket": threshold_bucket,
    }
    plan = settle_plan()
    return plan.model_copy(update={"gates": (plan.gates[0].model_copy(update=update),)})


@pytest.mark.parametrize("baseline_rate", [None, 0.05])
def test_a_latency_without_a_threshold_is_no_data_whatever_was_counted(
    baseline_rate: float | None,
) -> None:
    plan = latency_plan(threshold_bucket=None, baseline_rate=baseline_rate)

    verdict = weigh_settling(plan, evidence_of(steady(30, [3000, 3000, 0, 0])))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == (
        "error: error has no threshold: the baseline's p95 was not measured before the step"
    )
    assert verdict.gates[0].candidate.units == 0


def test_a_latency_with_a_threshold_is_watched() -> None:
    plan = latency_plan(threshold_bucket=393, baseline_rate=0.05)

    verdict = weigh_settling(plan, evidence_of(steady(30, [3000, 150, 0, 0])))

    assert verdict.verdict is Verdict.PASS
    assert verdict.gates[0].candidate.units == 90_000


def test_a_lost_last_slice_is_no_data_and_says_so() -> None:
    verdict = weigh_settling(settle_plan(), evidence_of(steady(9, AS_BEFORE), sealed=10))

    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == "error: the last slice of error was lost or cannot be counted"


def test_nothing_served_or_too_many_slices_lost_is_no_data() -> None:
    idle = weigh_settling(settle_plan(), evidence_of(steady(30, [0, 0, 0, 0])))
    lost = weigh_settling(
        settle_plan(), evidence_of([*steady(20, AS_BEFORE), [29, *AS_BEFORE]], sealed=30)
    )

    assert idle.verdict is Verdict.NO_DATA
    assert lost.verdict is Verdict.NO_DATA


def test_the_wait_for_the_end_of_the_watch_is_told_to_the_second_and_below() -> None:
    verdict = weigh_settling(settle_plan(hold_seconds=60.5), evidence_of(steady(1, AS_BEFORE)))

    assert verdict.seconds_to_go == 0.5


def test_a_watch_without_gates_exposes_nobody_and_is_no_data() -> None:
    plan = settle_plan().model_copy(update={"gates": ()})

    verdict = weigh_settling(plan, evidence_of(steady(30, AS_BEFORE)))

    assert (verdict.verdict, verdict.exposed) == (Verdict.NO_DATA, 0)
