"""What follows from a verdict: which gates are still open, and how long to wait before asking again."""

from rampway.gates.plans import AbPlan, StagePlan, StepPlan
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict
from rampway.release.phases import Phase, Trigger
from rampway.release.splits import PinCause

EXPOSURE = "exposure"  # the name under which an unmet exposure or coverage is overridden

CAUSE_OF = {
    Trigger.BREACH: PinCause.BREACH,
    Trigger.ABORT: PinCause.ABORT,
    Trigger.DEADLINE: PinCause.DEADLINE,
    Trigger.CONTROL_LOST: PinCause.CONTROL_LOST,
}


def open_gates(verdict: StageVerdict) -> tuple[str, ...]:
    """The gates that keep a stage from passing; exposure when all gates pass and the stage does not."""
    if verdict.verdict is Verdict.PASS:
        return ()
    waiting = tuple(
        gate.gate for gate in verdict.gates if gate.decides and gate.verdict is not Verdict.PASS
    )
    return waiting or (EXPOSURE,)


def mismatch(plan: StagePlan, verdict: StageVerdict) -> GateVerdict | None:
    """The sample-ratio gate where it has found a mismatch: its evidence cannot be trusted."""
    asked = plan.sample_ratio if isinstance(plan, StepPlan | AbPlan) else None
    if asked is None:
        return None
    found = (gate for gate in verdict.gates if gate.gate == asked.name)
    return next((gate for gate in found if gate.crossed_at_seconds is not None), None)


def extension_seconds(plan: StagePlan, verdict: StageVerdict) -> float:
    """How long to extend a hold: the estimate, between one slice and half the hold."""
    half = plan.hold_seconds / 2
    estimate = verdict.seconds_to_go if verdict.seconds_to_go is not None else half
    return max(plan.slice_seconds, min(estimate, half))


def next_commands(phase: Phase, name: str, *, paused: bool) -> tuple[str, ...]:
    """The commands that make sense now, as a person would type them."""
    if phase.ended:
        return (f"rampway explain {name}",)
    if phase.exposed:
        climb = "resume" if paused else "pause"
        return (f"rampway {climb} {name}", f"rampway abort {name}")
    if phase in {Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED}:
        return (f"rampway status {name}",)
    return (f"rampway abort {name}",)
