"""How the verdicts of a stage's gates add up to the verdict of the stage."""

from collections.abc import Sequence
from typing import Protocol

from rampway.gates.evidence import Evidence
from rampway.gates.phrases import duration
from rampway.gates.plans import Role, Watched
from rampway.gates.slices import Row, Slices
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict, significant, worst


def at_hold_end(plan: Watched, seconds: float) -> bool:
    """The hold is over: from here on a gate may say PASS."""
    return seconds >= plan.hold_seconds * (1 - 1e-9)


class Tally(Protocol):
    """One gate, look after look: it counts each slice once, and answers for all of them."""

    def take(self, evidence: Evidence) -> None:
        """Count what is new; count all anew when the evidence changed its past."""

    @property
    def slices(self) -> Slices[Row]:
        """What the last look read."""
        ...

    def answer(self, stage_seconds: float) -> tuple[GateVerdict, float | None]:
        """The verdict, and the seconds that it still waits: None when that is unknown."""
        ...


def deciding(streams: Sequence[tuple[Role, Slices[Row]]]) -> list[Slices[Row]]:
    """The streams of gates that decide; of all when none does, so that time still passes."""
    found = [stream for role, stream in streams if role is not Role.INFORM]
    return found or [stream for _, stream in streams]


def least_seconds(streams: Sequence[Slices[Row]]) -> float:
    """The stage's time: that of its least sealed stream, as streams are sealed with unequal delays."""
    return min((stream.seconds for stream in streams), default=0.0)


def add_up(
    plan: Watched,
    gates: tuple[GateVerdict, ...],
    streams: Sequence[Slices[Row]],
    *,
    exposed: int,
    waits_seconds: Sequence[float | None],
) -> StageVerdict:
    """The worst gate decides; a stage that no gate decides, or blind for too long, is NO_DATA.

    `streams` are those of the gates that decide: what a gate that only informs cannot see makes no
    stage blind. `waits_seconds` has one entry per gate: how long it still waits, None when that is unknown.
    """
    verdict = worst(gate.verdict for gate in gates if gate.decides)
    blind_seconds = max((stream.blind_seconds for stream in streams), default=0.0)
    too_blind = bool(streams) and blind_seconds >= plan.blind_limit_seconds
    if too_blind and verdict is not Verdict.BREACH:
        verdict = Verdict.NO_DATA
    return StageVerdict(
        stage=plan.name,
        verdict=verdict,
        gates=gates,
        seconds=significant(min((stream.seconds for stream in streams), default=0.0)),
        slices=min((stream.sealed for stream in streams), default=0),
        usable=min((len(stream.rows) for stream in streams), default=0),
        blind_seconds=significant(blind_seconds),
        exposed=exposed,
        seconds_to_go=_longest_wait(verdict, gates, waits_seconds),
        why=_why(plan, verdict, gates, blind_seconds=blind_seconds if too_blind else None),
    )


def _longest_wait(
    verdict: Verdict, gates: tuple[GateVerdict, ...], waits_seconds: Sequence[float | None]
) -> float | None:
    if verdict is not Verdict.INCONCLUSIVE:
        return None
    waits = [
        wait
        for gate, wait in zip(gates, waits_seconds, strict=True)
        if gate.decides and gate.verdict is Verdict.INCONCLUSIVE
    ]
    known = [wait for wait in waits if wait is not None]
    return significant(max(known)) if len(known) == len(waits) else None


def _why(
    plan: Watched,
    verdict: Verdict,
    gates: tuple[GateVerdict, ...],
    *,
    blind_seconds: float | None,
) -> str:
    if not gates:
        return f"{plan.name} declares no gate, so nothing can pass it"
    if not any(gate.decides for gate in gates):
        return f"every gate of {plan.name} only informs, so nothing can pass it"
    if verdict is Verdict.PASS:
        return f"every gate of {plan.name}{_that_decides(gates)} passed"
    if blind_seconds is not None and verdict is Verdict.NO_DATA:
        return (
            f"no slice could be counted for {duration(blind_seconds)}, "
            f"the limit is {duration(plan.blind_limit_seconds)}"
        )
    found = [gate for gate in gates if gate.decides and gate.verdict is verdict]
    decisive = max(found, key=_says_most)
    return f"{decisive.gate}: {decisive.why}"


def _says_most(gate: GateVerdict) -> tuple[bool, int]:
    """Of several gates that wait, one that no waiting helps; else the one that waits for most."""
    latched = gate.verdict is Verdict.INCONCLUSIVE and gate.crossed_at_seconds is not None
    return latched, gate.units_needed or 0


def _that_decides(gates: tuple[GateVerdict, ...]) -> str:
    return "" if all(gate.decides for gate in gates) else " that decides"
