"""The policies of `rampway init`, and what the older rule does that one of them replaces."""

import numpy as np
import pytest
from spec_builders import PRODUCTION

from rampway.gates.planning import tolerated_rate
from rampway.gates.plans import Role
from rampway.release.minimums import check_minimums
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.policies import Policy
from rampway.release.sections import OnPass
from rampway.release.specfile import parse_spec
from rampway.release.template import init_spec


def planned(policy: Policy) -> ReleasePlan:
    return compile_plan(parse_spec(init_spec(policy), filename="release.yaml"), PRODUCTION)


@pytest.mark.parametrize("policy", Policy)
def test_every_policy_is_ready_for_a_production_target(policy: Policy) -> None:
    text = init_spec(policy)

    assert check_minimums(parse_spec(text, filename="release.yaml"), PRODUCTION) == []
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("policy", Policy)
def test_every_number_of_a_policy_stands_beside_its_meaning(policy: Policy) -> None:
    rows = policy.text.splitlines()

    for key in ("error_budget", "  error", "lease", "page"):
        place = next(i for i, row in enumerate(rows) if row.startswith(f"{key}:"))
        assert "#" in rows[place] or "#" in rows[place - 1]


def test_two_days_side_by_side_promote_nothing() -> None:
    plan = planned(Policy.AB_48H)

    assert plan.on_pass is OnPass.REPORT
    assert (plan.shadow, plan.steps, plan.settle) == (None, (), None)
    assert plan.ab is not None
    assert (plan.ab.share_bp, plan.ab.hold_seconds) == (5000, 48 * 3600)


def test_the_older_limits_are_what_its_successor_tolerates() -> None:
    gates = {gate.name: gate for gate in planned(Policy.THRESHOLDS).steps[1].gates}

    assert tolerated_rate(0.01, gates["error"].tolerance) == pytest.approx(0.0105, abs=1e-5)
    assert gates["false_positive"].tolerance == gates["error"].tolerance
    assert tolerated_rate(0.05, gates["latency p95"].tolerance) == pytest.approx(0.125, abs=0.003)
    assert (gates["latency p95"].margin_odds, gates["error"].margin_odds) == (3, 2)
    assert gates["refusal"].role is Role.WATCH


def rolled_back(candidate: float, *, more: float = 0.0, times: float = 1.0) -> float:
    """How often the older rule rolls back: steps of 30 min at 50 a second, one look a minute.

    At least 100 candidate units, then `rate > times * baseline's + more` at any look; 1 % of the
    baseline's units are bad.
    """
    dice = np.random.default_rng(20261120)
    runs, found = 2000, np.zeros(2000, dtype=bool)
    for share in (0.01, 0.05, 0.25, 0.99):
        new, old = round(50 * 60 * share), round(50 * 60 * (1 - share))
        bad_new = dice.binomial(new, candidate, (runs, 30)).cumsum(axis=1)
        bad_old = dice.binomial(old, 0.01, (runs, 30)).cumsum(axis=1)
        units = np.arange(1, 31)
        limit = times * bad_old / (units * old) + more
        found |= ((bad_new / (units * new) > limit) & (units * new >= 100)).any(axis=1)
    return float(found.mean())


def test_looked_at_each_minute_the_older_rule_rolls_back_nearly_every_harmless_release() -> None:
    assert rolled_back(0.01, times=1.05) > 0.99


def test_read_as_percentage_points_the_older_rule_promotes_three_times_the_errors() -> None:
    assert rolled_back(0.01, more=0.05) < 0.01
    assert rolled_back(0.03, more=0.05) < 0.1
