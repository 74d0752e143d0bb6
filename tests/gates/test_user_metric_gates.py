"""Gates on the user's own counters: they find harm, prove nothing, and without counts nothing passes."""

import pytest
from evidence_builders import error_gate, evidence_of_streams, steady

from rampway.gates.evidence import BaselineCounts
from rampway.gates.plans import AbPlan, CountPair, MetricGate, Must, Role, SampleRatioGate, StepPlan
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import freeze, weigh

METRIC = MetricGate(
    name="hallucination",
    stream="metric hallucination",
    alpha=0.001,
    pair=CountPair(bad="flagged_total", total="answers_total"),
)
FINE, WORSE = (50, 1, 950, 19), (50, 10, 950, 19)


def step(metric: MetricGate = METRIC, **facts: object) -> StepPlan:
    plan = StepPlan(
        name="5 %",
        hold_seconds=1_800,
        deadline_seconds=5_400,
        slice_seconds=60,
        share_bp=500,
        must=Must.SCREEN,
        units=300,
        gates=(error_gate(margin_odds=None, margin_abs=None),),
        metrics=(metric,),
        sample_ratio=SampleRatioGate(),
    )
    return plan.model_copy(update=facts)


def ab() -> AbPlan:
    return AbPlan(
        name="ab",
        hold_seconds=1_800,
        deadline_seconds=5_400,
        slice_seconds=60,
        share_bp=500,
        units=300,
        gates=(error_gate(margin_odds=None, margin_abs=None),),
        metrics=(METRIC,),
    )


@pytest.mark.parametrize("plan", [step(), ab()])
def test_a_worse_rate_of_a_users_own_counters_is_a_breach(plan: StepPlan | AbPlan) -> None:
    evidence = evidence_of_streams(
        {"error": steady(30, FINE), "metric hallucination": steady(30, WORSE)}
    )

    found = weigh(plan, evidence)

    assert found.verdict is Verdict.BREACH
    assert found.decisive is not None
    assert found.decisive.gate == "hallucination"


def test_a_metric_is_asked_for_no_exposure_and_no_proof() -> None:
    rare = steady(30, (1, 0, 19, 1))
    evidence = evidence_of_streams({"error": steady(30, FINE), "metric hallucination": rare})

    found = weigh(step(must=Must.SCREEN), evidence)

    assert found.verdict is Verdict.PASS, found.why
    assert found.exposed == 30 * 50


def test_a_metric_that_nobody_counts_is_no_data_unless_it_only_informs() -> None:
    evidence = evidence_of_streams({"error": steady(30, FINE)})

    blind = weigh(step(), evidence)
    informed = weigh(step(METRIC.model_copy(update={"role": Role.INFORM})), evidence)

    assert blind.verdict is Verdict.NO_DATA
    assert informed.verdict is Verdict.PASS


def test_a_metric_is_not_frozen_with_the_gateways_baseline() -> None:
    plan = step()

    frozen = freeze(plan, BaselineCounts(units=10_000, bad={"error": 100}, latency={}), units_min=1)

    assert isinstance(frozen, StepPlan)
    assert frozen.metrics == plan.metrics
    assert frozen.gates[0].baseline_rate == 0.01
