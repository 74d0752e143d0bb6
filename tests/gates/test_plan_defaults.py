"""What a plan asks when nobody says otherwise, and which values make no sense: the numbers of the docs."""

from typing import Any

import pytest
from pydantic import ValidationError

from rampway.gates.facts import Fact
from rampway.gates.plans import (
    AbPlan,
    OfflinePlan,
    ProbeGate,
    QualityGate,
    RateGate,
    SafetyPlan,
    SampleRatioGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    SlicesPlan,
    StepPlan,
)

WATCHED: dict[str, Any] = {
    "name": "5 %",
    "hold_seconds": 1800,
    "deadline_seconds": 3600,
    "slice_seconds": 60,
}

# What has to be declared of each.
DECLARED: dict[type[Fact], dict[str, Any]] = {
    RateGate: {"name": "error", "stream": "error", "alpha": 0.003},
    QualityGate: {"levels": 5, "alpha": 0.003},
    ProbeGate: {"alpha": 0.003},
    SampleRatioGate: {},
    StepPlan: {**WATCHED, "share_bp": 500, "must": "PASS", "units": 300, "gates": ()},
    AbPlan: {**WATCHED, "share_bp": 5000, "units": 300, "gates": ()},
    ShadowPlan: {**WATCHED, "rate_bp": 500, "pairs": 10_000, "levels": 2},
    SettleGate: {"name": "error", "stream": "error", "alpha": 0.0025},
    SettlePlan: {**WATCHED, "gates": ()},
    SafetyPlan: {},
    SlicesPlan: {"by": ("tense",)},
    OfflinePlan: {},
}

SPENDING = {"late": 0.25, "spending": "open"}  # a quarter is kept for harm that starts late
WATCH = {"coverage": 0.9, "blind_limit_seconds": 120}
FROZEN = {"baseline_rate": None, "quantile": None, "threshold_bucket": None}

DEFAULTS: dict[type[Fact], dict[str, Any]] = {
    RateGate: {
        **SPENDING,
        **FROZEN,
        "role": "guard",
        "tolerance": 1.1,
        "beta": 0.05,
        "margin_odds": None,
        "margin_abs": None,
    },
    QualityGate: {
        **SPENDING,
        "name": "quality",
        "stream": "quality",
        "role": "guard",
        "beta": 0.05,
        "margin_sd": None,
        "judge_error_max": 0.05,
    },
    ProbeGate: {**SPENDING, "name": "safety", "stream": "safety", "role": "guard"},
    SampleRatioGate: {
        "name": "sample ratio",
        "stream": "error",
        "role": "guard",
        "alpha": 0.001,
        "concentration": 1000,
    },
    StepPlan: {
        **WATCH,
        "kind": "step",
        "units_arm": "candidate",
        "quality": None,
        "probes": None,
        "sample_ratio": None,
        "metrics": (),
    },
    AbPlan: {**WATCH, "kind": "ab", "slices_per_look": 6, "sample_ratio": None, "metrics": ()},
    ShadowPlan: {
        **SPENDING,
        **WATCH,
        "kind": "shadow",
        "alpha": 0.01,
        "beta": 0.05,
        "margin_sd": 0.03,
    },
    SettleGate: {**FROZEN, "margin_odds": 3.0, "margin_abs": 0.02},
    SettlePlan: {**WATCH, "kind": "settle"},
    SafetyPlan: {"generations": 1},
    SlicesPlan: {"p": 0.05, "sigma": 2.0, "mode": "controlled", "discordant_least": 10},
    OfflinePlan: {
        "kind": "offline",
        "name": "offline",
        "p": 0.05,
        "margin": 0.01,
        "clustered": False,
        "coverage": 1.0,
        "slices": None,
        "safety": None,
    },
}

BETWEEN_0_AND_1: tuple[list[float], list[float]] = ([0.001, 0.999], [0, 1])
PARTS: tuple[list[float], list[float]] = ([0, 0.999], [-0.001, 1])
RATES: tuple[list[float], list[float]] = ([0, 1], [-0.001, 1.001])
ODDS: tuple[list[float], list[float]] = ([1.001], [1])
POSITIVE: tuple[list[float], list[float]] = ([0.001], [0])
SHARES: tuple[list[float], list[float]] = ([0, 10_000], [-1, 10_001])

# The smallest and largest value of each that makes sense, and the first that does not.
LIMITS: dict[type[Fact], dict[str, tuple[list[float], list[float]]]] = {
    RateGate: {
        "alpha": BETWEEN_0_AND_1,
        "tolerance": ([1], [0.999]),
        "late": PARTS,
        "beta": BETWEEN_0_AND_1,
        "margin_odds": ODDS,
        "margin_abs": BETWEEN_0_AND_1,
        "baseline_rate": RATES,
        "quantile": BETWEEN_0_AND_1,
    },
    QualityGate: {
        "levels": ([2, 101], [1, 102]),
        "alpha": BETWEEN_0_AND_1,
        "late": PARTS,
        "beta": BETWEEN_0_AND_1,
        "margin_sd": POSITIVE,
        "judge_error_max": BETWEEN_0_AND_1,
    },
    ProbeGate: {"alpha": BETWEEN_0_AND_1, "late": PARTS},
    SampleRatioGate: {"alpha": BETWEEN_0_AND_1, "concentration": POSITIVE},
    StepPlan: {
        "hold_seconds": POSITIVE,
        "deadline_seconds": POSITIVE,
        "slice_seconds": POSITIVE,
        "coverage": ([0.001, 1], [0, 1.001]),
        "blind_limit_seconds": POSITIVE,
        "share_bp": SHARES,
        "units": ([0], [-1]),
    },
    AbPlan: {"share_bp": SHARES, "units": ([0], [-1]), "slices_per_look": ([1, 60], [0, 61])},
    ShadowPlan: {
        "rate_bp": SHARES,
        "pairs": ([1], [0]),
        "levels": ([2, 101], [1, 102]),
        "alpha": BETWEEN_0_AND_1,
        "late": PARTS,
        "beta": BETWEEN_0_AND_1,
        "margin_sd": POSITIVE,
    },
    SettleGate: {
        "alpha": BETWEEN_0_AND_1,
        "margin_odds": ODDS,
        "margin_abs": BETWEEN_0_AND_1,
        "baseline_rate": RATES,
        "quantile": BETWEEN_0_AND_1,
    },
    SafetyPlan: {"generations": ([1, 25], [0, 26])},
    SlicesPlan: {"p": BETWEEN_0_AND_1, "sigma": POSITIVE, "discordant_least": ([1], [0])},
    OfflinePlan: {
        "p": BETWEEN_0_AND_1,
        "margin": BETWEEN_0_AND_1,
        "coverage": ([0.001, 1], [0, 1.001]),
    },
}

FIELDS = [(plan, field) for plan, fields in LIMITS.items() for field in fields]


@pytest.mark.parametrize("plan", DEFAULTS, ids=lambda plan: plan.__name__)
def test_what_nobody_declares_is_what_the_docs_say(plan: type[Fact]) -> None:
    declared = plan.model_validate(DECLARED[plan])

    left = {name: value for name, value in declared if name not in DECLARED[plan]}

    assert left == DEFAULTS[plan]


@pytest.mark.parametrize(("plan", "field"), FIELDS, ids=str)
def test_a_plan_that_makes_no_sense_is_refused(plan: type[Fact], field: str) -> None:
    sensible, senseless = LIMITS[plan][field]

    for value in sensible:
        assert dict(plan.model_validate(DECLARED[plan] | {field: value}))[field] == value
    for value in senseless:
        with pytest.raises(ValidationError, match=field):
            plan.model_validate(DECLARED[plan] | {field: value})


def test_a_plan_for_slices_names_a_column() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        SlicesPlan(by=())
