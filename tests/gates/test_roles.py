"""What a gate's role does to its stage: guards decide, watchers pin, informers only tell."""

from typing import TYPE_CHECKING

import pytest
from evidence_builders import error_gate, evidence_of_streams, steady, step_plan
from pydantic import JsonValue

from rampway.gates.plans import (
    Must,
    ProbeGate,
    QualityGate,
    RateGate,
    Role,
    SampleRatioGate,
    StepPlan,
)
from rampway.gates.probes import ProbeTally
from rampway.gates.quality import QualityTally
from rampway.gates.rates import RateTally
from rampway.gates.sample_ratio import RatioTally
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh

if TYPE_CHECKING:
    from rampway.gates.stages import Tally

CLEAN = [150, 1, 2850, 28]
BROKEN = [150, 150, 2850, 28]


def second_gate(role: Role, *, margin_odds: float | None = None) -> RateGate:
    return RateGate(
        name="refusal", stream="refusal", role=role, alpha=0.001, margin_odds=margin_odds
    )


def two_gates(role: Role, *, margin_odds: float | None = None) -> StepPlan:
    return step_plan(error_gate(), second_gate(role, margin_odds=margin_odds))


def both(refusal: list[JsonValue], slices: int = 30) -> dict[str, list[JsonValue]]:
    return {"error": steady(slices, CLEAN), "refusal": refusal}


@pytest.mark.parametrize("role", Role)
def test_a_gates_verdict_names_its_role(role: Role) -> None:
    verdict = weigh(two_gates(role), evidence_of_streams(both(steady(30, CLEAN))))

    assert [gate.role for gate in verdict.gates] == [Role.GUARD, role]


@pytest.mark.parametrize(
    ("role", "stage"),
    [(Role.GUARD, Verdict.BREACH), (Role.WATCH, Verdict.BREACH), (Role.INFORM, Verdict.PASS)],
)
def test_a_breach_decides_unless_its_gate_only_informs(role: Role, stage: Verdict) -> None:
    verdict = weigh(two_gates(role), evidence_of_streams(both(steady(30, BROKEN))))

    assert verdict.gates[1].verdict is Verdict.BREACH
    assert verdict.verdict is stage
    if role is Role.INFORM:
        assert verdict.why == "every gate of 5 % that decides passed"
        assert verdict.decisive is verdict.gates[0]


@pytest.mark.parametrize(
    ("role", "gate"), [(Role.GUARD, Verdict.INCONCLUSIVE), (Role.WATCH, Verdict.PASS)]
)
def test_no_proof_is_asked_of_a_gate_that_only_watches(role: Role, gate: Verdict) -> None:
    at_the_margin = steady(30, [150, 2, 2850, 28])

    verdict = weigh(two_gates(role, margin_odds=1.1), evidence_of_streams(both(at_the_margin)))

    assert verdict.gates[1].verdict is gate
    assert verdict.verdict is gate


def test_what_a_gate_that_only_informs_cannot_see_makes_no_stage_blind() -> None:
    seen = evidence_of_streams(both([]), sealed={"error": 30, "refusal": 0})
    lost = evidence_of_streams(both(steady(5, CLEAN)), sealed={"error": 30, "refusal": 30})

    for evidence in (seen, lost):
        verdict = weigh(two_gates(Role.INFORM), evidence)
        blind = weigh(two_gates(Role.WATCH), evidence)

        assert verdict.gates[1].verdict is Verdict.NO_DATA
        assert verdict.verdict is Verdict.PASS
        assert (verdict.slices, verdict.usable, verdict.blind_seconds) == (30, 30, 0)
        assert verdict.exposed == 30 * 150
        assert blind.verdict is Verdict.NO_DATA


def test_a_stage_that_no_gate_decides_is_no_data() -> None:
    plan = step_plan(second_gate(Role.INFORM), must=Must.SCREEN)

    verdict = weigh(plan, evidence_of_streams({"refusal": steady(30, CLEAN)}))

    assert verdict.gates[0].verdict is Verdict.PASS
    assert verdict.verdict is Verdict.NO_DATA
    assert verdict.why == "every gate of 5 % only informs, so nothing can pass it"
    assert verdict.seconds == 1800


@pytest.mark.parametrize("role", [Role.WATCH, Role.INFORM])
def test_a_step_that_must_prove_needs_the_proof_of_a_guard(role: Role) -> None:
    informs = error_gate().model_copy(update={"role": role})
    plan = step_plan(informs, second_gate(Role.GUARD))

    verdict = weigh(plan, evidence_of_streams(both(steady(30, CLEAN))))

    assert verdict.verdict is Verdict.NO_DATA
    assert "none of its gates declares a margin" in verdict.why


def test_a_wait_of_a_gate_that_only_informs_is_not_waited_for() -> None:
    plan = two_gates(Role.INFORM, margin_odds=1.05)

    verdict = weigh(plan, evidence_of_streams(both(steady(10, CLEAN), slices=10)))

    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.why.startswith("error: ")
    assert verdict.seconds_to_go == 1200


def judged(slices: int, row: list[JsonValue]) -> list[JsonValue]:
    return [[index, *row] for index in range(slices)]


def test_quality_and_probes_join_the_verdict_of_their_step() -> None:
    plan = step_plan().model_copy(
        update={
            "quality": QualityGate(levels=2, alpha=0.003, margin_sd=0.5),
            "probes": ProbeGate(alpha=0.003),
        }
    )
    alike: list[JsonValue] = [[[1, 9, 45], [0, 1, 5]], 0, 0]
    worse: list[JsonValue] = [[[1, 1, 45], [0, 9, 5]], 0, 0]
    rows = {"error": steady(30, CLEAN), "safety": judged(30, [9, 0, 0, 1, 0])}

    fine = weigh(plan, evidence_of_streams(rows | {"quality": judged(30, alike)}))
    lower = weigh(plan, evidence_of_streams(rows | {"quality": judged(30, worse)}))
    unsafe = weigh(
        plan,
        evidence_of_streams(
            rows | {"quality": judged(30, alike), "safety": judged(30, [9, 0, 0, 1, 1])}
        ),
    )
    unjudged = weigh(plan, evidence_of_streams(rows))

    assert [gate.gate for gate in fine.gates] == ["error", "quality", "safety"]
    assert fine.verdict is Verdict.PASS
    assert (lower.verdict, lower.gates[1].verdict) == (Verdict.BREACH, Verdict.BREACH)
    assert (unsafe.verdict, unsafe.gates[2].verdict) == (Verdict.BREACH, Verdict.BREACH)
    assert unjudged.verdict is Verdict.NO_DATA


def test_a_step_whose_units_no_rate_gate_counts_never_passes() -> None:
    quality = QualityGate(levels=2, alpha=0.003, margin_sd=0.5)
    plan = step_plan().model_copy(update={"gates": (), "quality": quality})

    verdict = weigh(
        plan, evidence_of_streams({"quality": judged(30, [[[1, 9, 45], [0, 1, 5]], 0, 0])})
    )

    assert verdict.gates[0].verdict is Verdict.PASS
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert verdict.why == "5 % asks for 300 candidate units, 0 were counted"


@pytest.mark.parametrize(("units", "stage"), [(4_500, Verdict.PASS), (4_501, Verdict.INCONCLUSIVE)])
def test_a_step_that_probes_decide_asks_for_its_units_and_not_one_more(
    units: int, stage: Verdict
) -> None:
    plan = step_plan(second_gate(Role.INFORM), must=Must.SCREEN, units=units)
    plan = plan.model_copy(update={"probes": ProbeGate(alpha=0.003)})
    rows = {"refusal": steady(30, CLEAN), "safety": judged(30, [9, 0, 0, 1, 0])}

    verdict = weigh(plan, evidence_of_streams(rows))

    assert verdict.exposed == 4_500
    assert verdict.verdict is stage


def test_a_tally_that_has_not_looked_yet_has_sealed_nothing() -> None:
    quality, probes = QualityGate(levels=2, alpha=0.003), ProbeGate(alpha=0.003)
    tallies: list[Tally] = [
        RateTally(step_plan(), error_gate()),
        QualityTally(step_plan(), quality),
        ProbeTally(step_plan(), probes),
        RatioTally(step_plan(), SampleRatioGate()),
    ]

    for tally in tallies:
        assert (tally.slices.sealed, tally.slices.seconds, tally.slices.rows) == (0, 0, ())
