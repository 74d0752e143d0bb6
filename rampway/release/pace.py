"""How fast a stage gathers what its verdict needs, and so when it can be decided."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from rampway.gates.plans import ShadowPlan, Watched
from rampway.gates.verdicts import significant
from rampway.release.scalars import DAY, HOUR, MINUTE


class Decidable(StrEnum):
    """When a stage's evidence suffices for its verdict; later members are worse."""

    BY_HOLD = "by the end of the hold"
    BY_DEADLINE = "by the deadline"
    NEVER = "not at all"


class Need(NamedTuple):
    """What a verdict takes: so many of something (None: no number suffices), at so many a second."""

    amount: float | None
    noun: str
    per_second: float

    @property
    def seconds(self) -> float | None:
        """How long that takes; None when it never comes."""
        if self.amount is None or self.per_second <= 0:
            return None
        return significant(self.amount / self.per_second)


class Pace:
    """One stage's needs against its times; the slowest need decides."""

    def __init__(self, plan: Watched, needs: Sequence[Need]) -> None:
        self._plan = plan
        unmet = [need for need in needs if need.seconds is None]
        self._slowest = unmet[0] if unmet else max(needs, key=lambda need: need.seconds or 0.0)
        self.seconds = self._slowest.seconds

    @property
    def decidable(self) -> Decidable:
        """By when the stage has its verdict."""
        if self.seconds is None or self.seconds > self._plan.deadline_seconds:
            return Decidable.NEVER
        if self.seconds > self._plan.hold_seconds:
            return Decidable.BY_DEADLINE
        return Decidable.BY_HOLD

    @property
    def expected_seconds(self) -> float:
        """A step is held to its end, a shadow may end at its pairs; without a verdict, the deadline."""
        if self.seconds is None or self.decidable is Decidable.NEVER:
            return self._plan.deadline_seconds
        if isinstance(self._plan, ShadowPlan):
            return self.seconds
        return max(self._plan.hold_seconds, self.seconds)

    @property
    def why(self) -> str:
        """What the stage needs and how long that takes, beside the time it has."""
        plan, need = self._plan, self._slowest
        if need.per_second <= 0:
            return f"{plan.name} sees no traffic"
        if need.amount is None or self.seconds is None:
            return f"{plan.name} has a gate that no number of units can prove"
        takes = f"{plan.name} needs {round(need.amount):,} {need.noun}, {about(self.seconds)}"
        if self.decidable is Decidable.NEVER:
            return f"{takes}; the deadline is {about(plan.deadline_seconds)}"
        hold = about(plan.hold_seconds)
        if self.decidable is Decidable.BY_DEADLINE:
            return f"{takes}; its hold of {hold} will be extended"
        return f"{takes}; its hold is {hold}"


def about(seconds: float) -> str:
    """Three digits of a duration, in the largest unit of which there are two."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"
