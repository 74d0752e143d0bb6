"""`gates.metrics` of release.yaml: what may be asked of a user's own counters, and what becomes of it."""

from spec_builders import PRODUCTION, mistake, spec

from rampway.gates.plans import CountPair, Role
from rampway.release.plan import compile_plan

PAIR = {"bad": 'flagged_total{app="tutor"}', "total": "answers_total"}


def test_a_metric_is_watched_at_every_step_with_its_part_of_the_budget() -> None:
    asked = spec(
        gates={"metrics": {"hallucination": PAIR | {"budget": "10%", "arm_label": "side"}}}
    )

    plan = compile_plan(asked, PRODUCTION)

    for step in plan.steps:
        (gate,) = step.metrics
        assert (gate.name, gate.stream) == ("hallucination", "metric hallucination")
        assert gate.role is Role.WATCH
        assert gate.alpha == 0.00125  # 5 % of the release, a quarter for the step, 10 % of that
        assert gate.pair == CountPair(**PAIR, arm_label="side")
        assert gate.margin_odds is None


def test_a_release_without_metrics_asks_for_none() -> None:
    assert all(step.metrics == () for step in compile_plan(spec(), PRODUCTION).steps)


def test_a_metric_that_would_have_to_prove_is_refused() -> None:
    told = mistake(gates={"metrics": {"flagged": PAIR | {"role": "guard"}}})

    assert "gates.metrics: flagged: a metric proves nothing; write role: watch, or inform" in told


def test_a_metric_needs_both_counters_and_a_plain_name() -> None:
    missing = mistake(gates={"metrics": {"flagged": {"bad": "flagged_total"}}})
    name = mistake(gates={"metrics": {"Flagged!": PAIR}})

    assert "gates.metrics.flagged.total" in missing
    assert "a name such as hallucination" in name


def test_metrics_share_the_error_budget_with_the_other_gates() -> None:
    greedy = mistake(gates={"metrics": {"flagged": PAIR | {"budget": "60%"}}})
    thin = mistake(gates={"metrics": {"flagged": PAIR | {"budget": "0.1%"}}})
    many = mistake(gates={"metrics": {f"m{n}": dict(PAIR) for n in range(9)}})

    assert "over 100 %" in greedy
    assert "gates.metrics.flagged.budget: refused [thin budget]" in thin
    assert "at most 8 metrics, got 9" in many
