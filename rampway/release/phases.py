"""Where a release can be, and the only moves it may make: the state machine is a table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where a release is."""

    PROPOSED = "PROPOSED"
    OFFLINE_GATE = "OFFLINE_GATE"
    QUEUED = "QUEUED"
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    AB = "AB"
    FULL = "FULL"
    SETTLING = "SETTLING"
    PINNED = "PINNED"
    ROLLING_BACK = "ROLLING_BACK"
    STRANDED = "STRANDED"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"
    REJECTED = "REJECTED"
    CONCLUDED = "CONCLUDED"

    @property
    def ended(self) -> bool:
        """No move leaves this phase."""
        return self in ENDED

    @property
    def exposed(self) -> bool:
        """The candidate may be serving, or copied to: the harm watch runs."""
        return self in EXPOSED


ENDED = frozenset({Phase.PROMOTED, Phase.ROLLED_BACK, Phase.REJECTED, Phase.CONCLUDED})
EXPOSED = frozenset({Phase.SHADOW, Phase.CANARY, Phase.AB, Phase.FULL, Phase.SETTLING})
_WAITING = frozenset({Phase.PROPOSED, Phase.OFFLINE_GATE, Phase.QUEUED})


class Trigger(StrEnum):
    """What moves a release."""

    STARTED = "started"
    OFFLINE_PASSED = "offline passed"
    SHADOW_BEGAN = "shadow began"
    CANARY_BEGAN = "canary began"
    AB_BEGAN = "ab began"
    FULL_BEGAN = "full began"
    PROMOTED = "promoted"
    SETTLED = "settled"
    REPORTED = "reported"
    GATE_FAILED = "gate failed"
    BUSY = "busy"
    BREACH = "breach"
    CONTROL_LOST = "control lost"
    DEADLINE = "deadline"
    ABORT = "abort"
    SUPERSEDED = "superseded"
    UNDO_BEGAN = "undo began"
    UNDO_STUCK = "undo stuck"
    UNDONE = "undone"


MOVES: Mapping[tuple[Phase, Trigger], Phase] = MappingProxyType(
    {
        (Phase.PROPOSED, Trigger.STARTED): Phase.OFFLINE_GATE,
        (Phase.OFFLINE_GATE, Trigger.OFFLINE_PASSED): Phase.QUEUED,
        (Phase.QUEUED, Trigger.SHADOW_BEGAN): Phase.SHADOW,
        (Phase.QUEUED, Trigger.CANARY_BEGAN): Phase.CANARY,
        (Phase.QUEUED, Trigger.AB_BEGAN): Phase.AB,
        (Phase.QUEUED, Trigger.FULL_BEGAN): Phase.FULL,
        (Phase.SHADOW, Trigger.CANARY_BEGAN): Phase.CANARY,
        (Phase.SHADOW, Trigger.AB_BEGAN): Phase.AB,
        (Phase.SHADOW, Trigger.FULL_BEGAN): Phase.FULL,
        (Phase.CANARY, Trigger.AB_BEGAN): Phase.AB,
        (Phase.CANARY, Trigger.FULL_BEGAN): Phase.FULL,
        (Phase.AB, Trigger.FULL_BEGAN): Phase.FULL,
        (Phase.FULL, Trigger.PROMOTED): Phase.SETTLING,
        (Phase.SETTLING, Trigger.SETTLED): Phase.PROMOTED,
        (Phase.SETTLING, Trigger.SUPERSEDED): Phase.PROMOTED,
        (Phase.SHADOW, Trigger.REPORTED): Phase.CONCLUDED,
        (Phase.AB, Trigger.REPORTED): Phase.CONCLUDED,
        **{
            (phase, trigger): Phase.REJECTED
            for phase in sorted(_WAITING)
            for trigger in (Trigger.GATE_FAILED, Trigger.ABORT, Trigger.SUPERSEDED, Trigger.BUSY)
        },
        **{
            (phase, trigger): Phase.PINNED
            for phase in sorted(EXPOSED)
            for trigger in (
                Trigger.BREACH,
                Trigger.CONTROL_LOST,
                Trigger.DEADLINE,
                Trigger.ABORT,
                Trigger.SUPERSEDED,
            )
            if (phase, trigger) != (Phase.SETTLING, Trigger.SUPERSEDED)
        },
        (Phase.PINNED, Trigger.UNDO_BEGAN): Phase.ROLLING_BACK,
        (Phase.ROLLING_BACK, Trigger.UNDONE): Phase.ROLLED_BACK,
        (Phase.ROLLING_BACK, Trigger.UNDO_STUCK): Phase.STRANDED,
        (Phase.STRANDED, Trigger.UNDONE): Phase.ROLLED_BACK,
    }
)


class IllegalMove(Exception):
    """A trigger that the table does not allow in this phase; a defect, never a user's mistake."""


def move(phase: Phase, trigger: Trigger) -> Phase:
    """Where the trigger leads. Raises IllegalMove, naming what would be legal."""
    try:
        return MOVES[phase, trigger]
    except KeyError:
        legal = ", ".join(t for (p, t) in MOVES if p is phase) or "none, it is final"
        raise IllegalMove(
            f"A release in {phase} cannot take '{trigger}'. Legal triggers: {legal}."
        ) from None
