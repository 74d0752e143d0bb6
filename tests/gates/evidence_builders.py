"""Builds valid plans and evidence; a test changes the one fact it is about."""

from collections.abc import Sequence

from pydantic import JsonValue

from rampway.gates.evidence import Column, Evidence, PairedCases
from rampway.gates.plans import (
    Arm,
    Must,
    OfflinePlan,
    RateGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    Spending,
    StepPlan,
)
from rampway.gates.verdicts import GateVerdict, StageVerdict


def evidence_of(
    rows: Sequence[JsonValue],
    *,
    stream: str = "error",
    sealed: int | None = None,
    slice_seconds: float = 60,
) -> Evidence:
    """One stream's rows, sealed as far as they go."""
    return evidence_of_streams(
        {stream: list(rows)},
        sealed={stream: len(rows) if sealed is None else sealed},
        slice_seconds=slice_seconds,
    )


def evidence_of_streams(
    rows: dict[str, list[JsonValue]],
    *,
    sealed: dict[str, int] | None = None,
    slice_seconds: float = 60,
) -> Evidence:
    # model_construct: a source may hand over what no valid JSON holds (NaN), and must not pass by it.
    return Evidence.model_construct(
        target="tutor",
        epoch=1,
        segment=7,
        slice_seconds=slice_seconds,
        sealed=sealed or {stream: len(found) for stream, found in rows.items()},
        rows=rows,
        sources={},
    )


def steady(slices: int, row: Sequence[int]) -> list[JsonValue]:
    """The same counts `[n_c, x_c, n_b, x_b]` in each slice."""
    return [[index, *row] for index in range(slices)]


def error_gate(
    *,
    alpha: float = 0.003,
    tolerance: float = 1.1,
    late: float = 0.25,
    spending: Spending = Spending.OPEN,
    margin_odds: float | None = 2.0,
    margin_abs: float | None = 0.005,
    baseline_rate: float | None = 0.01,
) -> RateGate:
    return RateGate(
        name="error",
        stream="error",
        alpha=alpha,
        tolerance=tolerance,
        late=late,
        spending=spending,
        margin_odds=margin_odds,
        margin_abs=margin_abs,
        baseline_rate=baseline_rate,
    )


def latency_gate(*, threshold_bucket: int | None = 393) -> RateGate:
    return RateGate(
        name="latency p95",
        stream="p95",
        alpha=0.001,
        margin_odds=2.0,
        margin_abs=0.005,
        baseline_rate=None if threshold_bucket is None else 0.05,
        quantile=0.95,
        threshold_bucket=threshold_bucket,
    )


def step_plan(
    *gates: RateGate,
    must: Must = Must.PROVE,
    units: int = 300,
    units_arm: Arm = Arm.CANDIDATE,
    hold_seconds: float = 1800,
    slice_seconds: float = 60,
    coverage: float = 0.9,
    blind_limit_seconds: float = 120,
) -> StepPlan:
    """A 5 % step of half an hour in slices of a minute."""
    return StepPlan(
        name="5 %",
        hold_seconds=hold_seconds,
        deadline_seconds=3 * hold_seconds,
        slice_seconds=slice_seconds,
        coverage=coverage,
        blind_limit_seconds=blind_limit_seconds,
        share_bp=500,
        must=must,
        units=units,
        units_arm=units_arm,
        gates=gates or (error_gate(),),
    )


def shadow_plan(
    *, pairs: int = 10_000, levels: int = 2, hold_seconds: float = 3600, coverage: float = 0.9
) -> ShadowPlan:
    return ShadowPlan(
        name="shadow",
        hold_seconds=hold_seconds,
        deadline_seconds=3 * hold_seconds,
        slice_seconds=60,
        coverage=coverage,
        rate_bp=500,
        pairs=pairs,
        levels=levels,
    )


def settle_plan(*, baseline_rate: float | None = 0.01, hold_seconds: float = 1800) -> SettlePlan:
    return SettlePlan(
        name="settling",
        hold_seconds=hold_seconds,
        deadline_seconds=3 * hold_seconds,
        slice_seconds=60,
        gates=(
            SettleGate(name="error", stream="error", alpha=0.0025, baseline_rate=baseline_rate),
        ),
    )


def only(verdict: StageVerdict) -> GateVerdict:
    """The verdict of the only gate."""
    assert len(verdict.gates) == 1
    return verdict.gates[0]


def offline_plan(*, clustered: bool = False, coverage: float = 1.0) -> OfflinePlan:
    return OfflinePlan(clustered=clustered, coverage=coverage)


def paired_cases(
    old: Sequence[float],
    new: Sequence[float],
    *,
    clusters: Sequence[int] | None = None,
    missing: int = 0,
    candidate: str = "sha256:b",
) -> PairedCases:
    column = None
    if clusters is not None:
        values = [f"verb {code}" for code in range(max(clusters, default=0) + 1)]
        column = Column(values=values, codes=list(clusters))
    return PairedCases.model_construct(
        baseline="sha256:a",
        candidate=candidate,
        dataset="sha256:d",
        grader="sha256:g",
        cases=[f"case {number}" for number in range(len(old))],
        old=list(old),
        new=list(new),
        clusters=column,
        slices={},
        errors={},
        missing=missing,
        safety=[],
    )


def right_and_wrong(
    *, both: int, improved: int, regressed: int, neither: int
) -> tuple[list[float], list[float]]:
    """Scores of 0 and 1 with these many pairs of each kind."""
    old = [1.0] * both + [0.0] * improved + [1.0] * regressed + [0.0] * neither
    new = [1.0] * both + [1.0] * improved + [0.0] * regressed + [0.0] * neither
    return old, new
