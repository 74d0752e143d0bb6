"""The stages of `release.yaml` that serve live traffic: the steps of a canary, and an A/B."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, model_validator

from rampway.gates.plans import Must
from rampway.release.asks import Margin
from rampway.release.editor_schema import Section
from rampway.release.scalars import (
    DAY,
    FULL_PERCENT,
    HOUR,
    MINUTE,
    Deadline,
    DeadlineAt,
    Duration,
    Percent,
    SharePercent,
    between,
    duration_words,
    percent_words,
    whole_basis_points,
    wrong,
)
from rampway.release.sections import Budget, Coverage, Hold, Units, Violation, refuse

STEPS_LIMIT = 10
HOLDBACK_LEAST, HOLDBACK_MOST = 0.001, 0.5
JUDGED_UNITS = 4500  # per step, where live answers are judged and nothing else is said


class Stage(StrEnum):
    """A part of a release that sees live traffic, in the order in which they may follow."""

    SHADOW = "shadow"
    CANARY = "canary"
    AB = "ab"


def in_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """At least one stage, none twice: a shadow comes first, an A/B last."""
    if not stages:
        wrong("needs at least one of shadow, canary, ab")
    if list(stages) != [stage for stage in Stage if stage in stages]:
        wrong("stages come in the order shadow, canary, ab, each at most once")
    return stages


Stages = Annotated[tuple[Stage, ...], AfterValidator(in_order)]


class StepMargins(Section):
    """Margins of one step, where they differ from the gates' own lists."""

    error: Margin | None = None
    latency: Margin | None = None
    refusal: Margin | None = None
    false_positive: Margin | None = None

    def named(self) -> "dict[str, Margin]":
        """The margins that are given, by gate."""
        margins = {
            "error": self.error,
            "latency": self.latency,
            "refusal": self.refusal,
            "false_positive": self.false_positive,
        }
        return {gate: margin for gate, margin in margins.items() if margin is not None}


class Step(Section):
    """One share of a canary: a whole percentage, or that with its own terms."""

    short_form: ClassVar[dict[str, Any] | None] = {
        "type": "integer",
        "minimum": 1,
        "maximum": FULL_PERCENT,
    }

    share: SharePercent
    hold: Hold | None = None
    deadline: Deadline | None = None
    budget: Budget | None = None
    must: Must | None = None
    units: Units | None = None
    margin: StepMargins = StepMargins()

    @model_validator(mode="before")
    @classmethod
    def _from_share(cls, value: object) -> object:
        return {"share": value} if isinstance(value, str | int | float) else value


def climbing(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps climb and end at 100 %: a release ends at the candidate or back at the baseline."""
    if not 1 <= len(steps) <= STEPS_LIMIT:
        wrong(f"needs between 1 and {STEPS_LIMIT} steps, got {len(steps)}")
    shares = [step.share for step in steps]
    found = [
        Violation(f"steps must climb: {shares[i]} % follows {shares[i - 1]} %", at=(i,))
        for i in range(1, len(shares))
        if shares[i] <= shares[i - 1]
    ]
    if not found and shares[-1] != FULL_PERCENT:
        last = len(shares) - 1
        found.append(Violation(f"the last step must be 100 %, not {shares[-1]} %", at=(last,)))
    refuse(found)
    return steps


def some_control(holdback: float) -> float:
    """Without a control nothing can be decided at 100 %, so some baseline traffic always stays."""
    if holdback < HOLDBACK_LEAST:
        wrong(
            f"refused [no control]: {percent_words(holdback)} held back leaves nothing to compare "
            f"100 % with. Next: keep at least {percent_words(HOLDBACK_LEAST)}, as 1% does"
        )
    return between(HOLDBACK_LEAST, HOLDBACK_MOST, percent_words)(holdback)


class Canary(Section):
    """The climb: its steps, and how long each is watched."""

    steps: Annotated[tuple[Step, ...], AfterValidator(climbing)] = tuple(
        Step(share=share) for share in (1, 5, 25, 100)
    )
    hold: Hold = 30.0 * MINUTE
    deadline: Deadline = DeadlineAt(times=3)
    look_every: Annotated[Duration, AfterValidator(between(1, HOUR, duration_words))] = 10.0
    # The candidate's answers that are judged in each step's hold, where gates.quality asks for it.
    judged_units: Units | None = None
    holdback: Annotated[
        Percent, AfterValidator(some_control), AfterValidator(whole_basis_points)
    ] = 0.01
    coverage: Coverage = 0.9
    queue: Hold = 1.0 * DAY

    def must(self, i: int) -> Must:
        """The first step only screens, for its share is small, and the last, for its control is.

        Where one step alone comes before the last, there is no other to PASS.
        """
        own = self.steps[i].must
        if own is not None:
            return own
        last = len(self.steps) - 1
        return Must.SCREEN if i == last or (i == 0 and last > 1) else Must.PROVE

    @property
    def proofs(self) -> tuple[int, ...]:
        """The steps, by index, that must PASS."""
        return tuple(i for i in range(len(self.steps)) if self.must(i) is Must.PROVE)

    def budget(self, i: int, parts: int) -> float:
        """A step's part of the release's error budget: its own, or one of so many equal parts."""
        return self.steps[i].budget or 1 / parts


SHARE_OF_AB = 0.10


class Ab(Section):
    """A fixed split for a fixed time, to compare both arms.

    `share` is the candidate's; left out it is 10 %, or that of the canary's step before, if that is
    larger. `units` are wanted in each arm. A comparison that lacks them at its end goes on to the
    deadline.
    """

    share: (
        Annotated[
            Percent,
            AfterValidator(between(0.001, 0.9, percent_words)),
            AfterValidator(whole_basis_points),
        ]
        | None
    ) = None
    time: Hold = 48.0 * HOUR
    deadline: Deadline = DeadlineAt(times=2)
    budget: Budget | None = None
    units: Units | None = None
