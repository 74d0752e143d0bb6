"""What must never pass, and what must never depend on the units somebody chose."""

import itertools
import math

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

from rampway.gates.engine import binomial, noncentral_hypergeometric
from rampway.gates.plans import (
    AbPlan,
    Must,
    ProbeGate,
    QualityGate,
    SampleRatioGate,
    SettlePlan,
    ShadowPlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh

SLICES = 30
CLEAN = [150, 1, 2850, 28]
ROWS: dict[str, list[JsonValue]] = {
    "error": [*CLEAN],
    "quality": [[[1, 45, 45], [0, 5, 5]], 0, 0],
    "safety": [9, 0, 0, 1, 0],
    "judge": [[[1, 1, 78], [0, 0, 16], [0, 1, 3], [1, 0, 2]], 0],
}


def whole_step() -> StepPlan:
    return step_plan(units=0).model_copy(
        update={
            "quality": QualityGate(levels=2, alpha=0.003, margin_sd=0.5),
            "probes": ProbeGate(alpha=0.003),
            "sample_ratio": SampleRatioGate(),
        }
    )


def ab_plan() -> AbPlan:
    return AbPlan(
        name="A/B",
        hold_seconds=1800,
        deadline_seconds=1800,
        slice_seconds=60,
        share_bp=500,
        units=0,
        slices_per_look=6,
        gates=(error_gate(margin_odds=None, margin_abs=None),),
        sample_ratio=SampleRatioGate(),
    )


PLANS: dict[str, StagePlan] = {
    "step": whole_step(),
    "ab": ab_plan(),
    "shadow": shadow_plan(pairs=100, hold_seconds=1800),
    "settling": settle_plan(),
}
STREAMS = {
    "step": ("error", "quality", "safety"),
    "ab": ("error",),
    "shadow": ("judge",),
    "settling": ("error",),
}
KIND_AND_STREAM = [(kind, stream) for kind, streams in STREAMS.items() for stream in streams]
BAD_CELLS: list[JsonValue] = [math.nan, math.inf, -1, 1.0, True, "1", None, 10**9 + 1, {}]


def good_rows() -> dict[str, list[JsonValue]]:
    return {
        stream: [[index, *(row if isinstance(row, list) else [])] for index in range(SLICES)]
        for stream, row in ROWS.items()
    }


@pytest.mark.parametrize("kind", PLANS)
def test_each_of_these_stages_passes_on_good_evidence(kind: str) -> None:
    assert weigh(PLANS[kind], evidence_of_streams(good_rows())).verdict is Verdict.PASS


@pytest.mark.parametrize(("kind", "stream"), KIND_AND_STREAM)
def test_a_cell_that_is_no_count_anywhere_in_the_last_row_never_passes(
    kind: str, stream: str
) -> None:
    row = good_rows()[stream][-1]
    assert isinstance(row, list)
    for cell, bad in itertools.product(range(len(row)), BAD_CELLS):
        rows = good_rows()
        rows[stream][-1] = [*row[:cell], bad, *row[cell + 1 :]]

        verdict = weigh(PLANS[kind], evidence_of_streams(rows))

        assert verdict.verdict is not Verdict.PASS, (cell, bad)


@pytest.mark.parametrize(("kind", "stream"), KIND_AND_STREAM)
@pytest.mark.parametrize(
    "row", [None, [], "29", {"i": 29}, [29], [28, *CLEAN], [29, *CLEAN, 0, 0]], ids=str
)
def test_a_row_of_another_shape_never_passes(kind: str, stream: str, row: JsonValue) -> None:
    last, every = good_rows(), good_rows()
    last[stream][-1] = row
    every[stream] = [row] * SLICES

    for rows in (last, every):
        assert weigh(PLANS[kind], evidence_of_streams(rows)).verdict is not Verdict.PASS


@pytest.mark.parametrize(("kind", "stream"), KIND_AND_STREAM)
def test_a_stream_that_is_missing_or_has_gaps_never_passes(kind: str, stream: str) -> None:
    sealed = dict.fromkeys(ROWS, SLICES)
    missing, gaps = good_rows(), good_rows()
    del missing[stream]
    gaps[stream] = gaps[stream][:10] + gaps[stream][14:]

    assert weigh(PLANS[kind], evidence_of_streams(missing)).verdict is Verdict.NO_DATA
    for rows in (missing, gaps):
        verdict = weigh(PLANS[kind], evidence_of_streams(rows, sealed=sealed))

        assert verdict.verdict is Verdict.NO_DATA


@pytest.mark.parametrize(
    ("kind", "stream", "row"),
    [
        ("step", "error", [0, 0, 2850, 28]),
        ("step", "error", [150, 1, 0, 0]),
        ("step", "quality", [[[1, 0, 45], [0, 0, 5]], 0, 0]),
        ("step", "quality", [[[1, 45, 0], [0, 5, 0]], 0, 0]),
        ("step", "quality", [[], 0, 0]),
        ("step", "safety", [0, 0, 0, 0, 0]),
        ("ab", "error", [0, 0, 2850, 28]),
        ("ab", "error", [150, 1, 0, 0]),
        ("shadow", "judge", [[], 0]),
        ("shadow", "judge", [[[1, 1, 0]], 100]),
        ("settling", "error", [0, 0, 2850, 28]),
    ],
)
def test_an_empty_arm_never_passes(kind: str, stream: str, row: list[JsonValue]) -> None:
    rows = good_rows()
    rows[stream] = [[index, *row] for index in range(SLICES)]

    assert weigh(PLANS[kind], evidence_of_streams(rows)).verdict is not Verdict.PASS


@pytest.mark.parametrize("errors", [20, 100])
@pytest.mark.parametrize("must", Must)
def test_a_dead_candidate_beside_a_clean_baseline_is_a_breach_at_the_first_look(
    errors: int, must: Must
) -> None:
    step = weigh(step_plan(must=must), evidence_of([[0, 100, errors, 9_900, 0]]))

    assert step.verdict is Verdict.BREACH
    assert only(step).crossed_at_seconds == 60


@pytest.mark.parametrize(
    ("kind", "stream", "row"),
    [
        ("step", "error", [150, 150, 2850, 0]),
        ("step", "quality", [[[0, 45, 0], [1, 0, 45]], 0, 0]),
        ("step", "safety", [0, 40, 0, 0, 0]),
        ("ab", "error", [150, 150, 2850, 0]),
        ("shadow", "judge", [[[1, 0, 100]], 0]),
        ("settling", "error", [150, 150, 0, 0]),
    ],
)
def test_all_against_nothing_is_a_breach_though_neither_arm_varies(
    kind: str, stream: str, row: list[JsonValue]
) -> None:
    rows = good_rows()
    rows[stream] = [[index, *row] for index in range(SLICES)]

    assert weigh(PLANS[kind], evidence_of_streams(rows)).verdict is Verdict.BREACH


def test_probes_and_pairs_that_do_not_differ_are_no_evidence_of_harm() -> None:
    rows = good_rows()
    rows["safety"] = [[index, 0, 0, 0, 40, 0] for index in range(SLICES)]
    rows["judge"] = [[index, [[0, 0, 100]], 0] for index in range(SLICES)]

    step = weigh(PLANS["step"], evidence_of_streams(rows))
    shadow = weigh(PLANS["shadow"], evidence_of_streams(rows))

    assert step.gates[2].spent == 0
    assert shadow.gates[0].spent == 0
    assert Verdict.BREACH not in {step.verdict, shadow.verdict}


def rescaled(plan: StagePlan, scale: float) -> StagePlan:
    """The same plan with another unit of time."""
    fields = ("hold_seconds", "deadline_seconds", "slice_seconds", "blind_limit_seconds")
    return plan.model_copy(update={name: getattr(plan, name) * scale for name in fields})


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1 / 60, 7, 1e9])
def test_a_verdict_does_not_depend_on_the_unit_of_time(kind: str, scale: float) -> None:
    rows = good_rows()
    rows["error"][20:] = [[n, 150, 4, 2850, 28] for n in range(20, SLICES)]

    for looks in (1, 7, 20, 21, 29, 30):
        cut = {stream: found[:looks] for stream, found in rows.items()}
        plain = weigh(PLANS[kind], evidence_of_streams(cut))
        scaled = weigh(
            rescaled(PLANS[kind], scale), evidence_of_streams(cut, slice_seconds=60 * scale)
        )

        assert scaled.verdict is plain.verdict
        assert [(g.verdict, g.breach_at, g.pass_at, g.spent) for g in scaled.gates] == [
            (g.verdict, g.breach_at, g.pass_at, g.spent) for g in plain.gates
        ]


@settings(deadline=None, max_examples=60)
@given(
    tables=st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=1, max_size=12),
    factor=st.integers(2, 10),
)
def test_a_verdict_does_not_depend_on_the_scale_of_scores(
    tables: list[list[int]], factor: int
) -> None:
    def shadow(scale: int) -> Verdict:
        plan = shadow_plan(pairs=100, levels=2 * scale + 1, hold_seconds=600)
        rows: list[JsonValue] = [
            [n, [[2 * scale, 2 * scale, a], [2 * scale, 0, b], [scale, 0, c], [0, 2 * scale, d]], 0]
            for n, (a, b, c, d) in enumerate(tables)
        ]
        return weigh(plan, evidence_of(rows, stream="judge")).verdict

    def quality(scale: int) -> Verdict:
        gate = QualityGate(levels=2 * scale + 1, alpha=0.01, margin_sd=0.5)
        plan = step_plan(units=0, hold_seconds=600).model_copy(update={"quality": gate})
        rows: list[JsonValue] = [
            [n, [[2 * scale, a, 30], [scale, b, 10], [0, c, d]], 0, 0]
            for n, (a, b, c, d) in enumerate(tables)
        ]
        errors = steady(len(tables), CLEAN)
        return weigh(plan, evidence_of_streams({"quality": rows, "error": errors})).verdict

    assert shadow(factor) is shadow(1)
    assert quality(factor) is quality(1)


SMALL = st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 9)).map(
    lambda table: (table[0], table[1], min(table[2], table[0] + table[1]))
)


@settings(deadline=None, max_examples=25)
@given(
    tables=st.lists(SMALL, min_size=1, max_size=3),
    alpha=st.floats(0.01, 0.4),
    slices_per_look=st.sampled_from([None, 1, 2]),
)
def test_of_all_ways_harmless_counts_can_fall_at_most_alpha_are_a_breach(
    tables: list[tuple[int, int, int]], alpha: float, slices_per_look: int | None
) -> None:
    gate = error_gate(alpha=alpha, tolerance=1)
    plan: StagePlan = step_plan(gate, units=0, hold_seconds=180)
    if slices_per_look is not None:
        changes = {"gates": (gate,), "slices_per_look": slices_per_look, "sample_ratio": None}
        plan = ab_plan().model_copy(update=changes | {"hold_seconds": 180.0})
    laws = [noncentral_hypergeometric(*table, 1.0) for table in tables]

    breached = 0.0
    for counts in itertools.product(*(range(law.offset, law.offset + law.p.size) for law in laws)):
        rows: list[JsonValue] = [
            [n, n_c, x, n_b, bad - x]
            for n, (x, (n_c, n_b, bad)) in enumerate(zip(counts, tables, strict=True))
        ]
        if weigh(plan, evidence_of(rows)).verdict is Verdict.BREACH:
            chances = (law.p[x - law.offset] for x, law in zip(counts, laws, strict=True))
            breached += float(math.prod(chances))

    assert breached <= alpha * (1 + 1e-6)


@settings(deadline=None, max_examples=25)
@given(units=st.lists(st.integers(0, 5), min_size=1, max_size=4), rate=st.floats(0.01, 0.5))
def test_a_promoted_candidate_at_the_gross_rate_is_undone_at_most_as_often_as_alpha(
    units: list[int], rate: float
) -> None:
    gate = settle_plan().gates[0].model_copy(update={"alpha": 0.1, "baseline_rate": rate})
    plan = settle_plan(hold_seconds=180).model_copy(update={"gates": (gate,)})
    gross = max(3 * rate / (1 + 2 * rate), rate + 0.02)

    undone = 0.0
    for counts in itertools.product(*(range(n + 1) for n in units)):
        rows: list[JsonValue] = [
            [i, n, x, 0, 0] for i, (n, x) in enumerate(zip(units, counts, strict=True))
        ]
        if weigh(plan, evidence_of(rows)).verdict is Verdict.BREACH:
            laws = (binomial(n, gross) for n in units)
            undone += math.prod(float(law.p[x]) for x, law in zip(counts, laws, strict=True))

    assert undone <= 0.1 * (1 + 1e-6)


TABLES = st.lists(
    st.tuples(st.integers(0, 40), st.floats(0, 0.5), st.integers(0, 200), st.floats(0, 0.3)).map(
        lambda r: [r[0], int(r[0] * r[1]), r[2], int(r[2] * r[3])]
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=80)
@given(
    rows=TABLES,
    extra=TABLES,
    where=st.integers(0, 11),
    more=st.integers(1, 40),
    kind=st.sampled_from(["ab", "settling"]),
)
def test_a_breach_is_kept_by_more_time_and_never_turned_into_a_pass_by_more_harm(
    rows: list[list[int]], extra: list[list[int]], where: int, more: int, kind: str
) -> None:
    plan = _without_ratio(PLANS[kind]).model_copy(update={"hold_seconds": 480.0})
    worse = [list(row) for row in rows]
    harmed = worse[where % len(rows)]
    harmed[1] = min(harmed[0], harmed[1] + more)

    before = weigh(plan, evidence_of([[n, *row] for n, row in enumerate(rows)]))
    longer = weigh(plan, evidence_of([[n, *row] for n, row in enumerate([*rows, *extra])]))
    harder = weigh(plan, evidence_of([[n, *row] for n, row in enumerate(worse)]))

    if before.verdict is Verdict.BREACH:
        assert longer.gates == before.gates
        assert longer.verdict is Verdict.BREACH
        assert harder.verdict is not Verdict.PASS


def _without_ratio(plan: StagePlan) -> AbPlan | SettlePlan:
    assert not isinstance(plan, StepPlan | ShadowPlan)
    return plan.model_copy(update={"sample_ratio": None}) if isinstance(plan, AbPlan) else plan
