"""What a release asks for: the whole of `release.yaml`, and the terms of each step."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from rampway.gates.facts import Fact
from rampway.gates.plans import Must, Role, Share
from rampway.release.asks import Gates, Margin
from rampway.release.climb import SHARE_OF_AB, Ab, Canary, Stage, Stages
from rampway.release.editor_schema import OffSchema, Section
from rampway.release.lint import failing_open
from rampway.release.rules import broken_rules
from rampway.release.scalars import (
    FULL_PERCENT,
    Duration,
    Instant,
    Line,
    basis_points,
    between,
    duration_words,
    named,
    percent_words,
)
from rampway.release.sections import (
    AfterPromotion,
    Budget,
    Candidate,
    Costs,
    Offline,
    OnPass,
    Serving,
    Shadow,
    Unit,
    off_is_none,
    refuse,
)

# What is designed but decides nothing yet: accepted, such a key would promise a gate that is not there.
NOT_BUILT: dict[tuple[str, ...], str] = {
    ("gates", "safety"): "no source of live probes is wired yet, offline.safety is",
}

FREE = frozenset({("candidate", "tools"), ("candidate", "parameters"), ("serve", "fields")})
"""Where the file holds the author's own JSON, in which null has a meaning."""

TargetName = Annotated[
    str, named(r"[a-z0-9][a-z0-9-]{0,47}", "a target's name such as grammar-tutor")
]
BaselineName = Annotated[
    str, named(r"current|sha256:[0-9a-f]{64}", "current, or an artifact's digest (sha256:…)")
]
PagerName = Annotated[
    str, named(r"[A-Za-z0-9_.-]{1,64}", "the name of a pager in the worker's settings")
]
Lease = Annotated[Duration, AfterValidator(between(1, 600, duration_words))]


class Spec(Section):
    """One `release.yaml`. Its digest identifies what was asked for, however it was spelled."""

    target: TargetName
    owner: Line
    team: Line | None = None
    merged_at: Instant | None = None
    baseline: BaselineName = "current"
    candidate: Candidate
    serve: Serving
    unit: Unit = Unit.REQUEST
    error_budget: Annotated[Budget, AfterValidator(between(0.0001, 0.5, percent_words))] = 0.05
    offline: Offline
    shadow: Annotated[Shadow | None, BeforeValidator(off_is_none), OffSchema] = Shadow()
    stages: Stages | None = None
    canary: Canary = Canary()
    ab: Ab = Ab()
    on_pass: OnPass = OnPass.PROMOTE
    gates: Gates = Gates()
    lease: Lease = 120.0
    after_promotion: AfterPromotion = AfterPromotion()
    costs: Costs = Costs()
    page: PagerName | None = None

    @model_validator(mode="after")
    def _between_keys(self) -> Self:
        refuse([*broken_rules(self), *failing_open(self)])
        return self

    @property
    def planned(self) -> tuple[Stage, ...]:
        """The stages in their order; where the file says nothing, a shadow and a canary."""
        if self.stages is not None:
            return self.stages
        return (Stage.CANARY,) if self.shadow is None else (Stage.SHADOW, Stage.CANARY)

    @property
    def climbs(self) -> bool:
        """There is a canary, so the release may end at the candidate."""
        return Stage.CANARY in self.planned

    @property
    def exposes(self) -> bool:
        """Somebody's answer may come from the candidate; a shadow alone returns nothing to anyone."""
        return self.planned != (Stage.SHADOW,)

    @property
    def steps(self) -> "tuple[StepTerms, ...]":
        """Every step of the canary with its defaults filled in; none without a canary."""
        if not self.climbs:
            return ()
        return tuple(_terms(self, i) for i in range(len(self.canary.steps)))

    @property
    def parts(self) -> int:
        """Among how many watches the error budget is spread."""
        steps = len(self.canary.steps) if self.climbs else 0
        return steps + (1 if Stage.AB in self.planned else 0)

    @property
    def ab_share(self) -> float:
        """The candidate's share in the A/B: never below the step before, where it was already seen."""
        if self.ab.share is not None:
            return self.ab.share
        return max(SHARE_OF_AB, self.share_before_ab)

    @property
    def share_before_ab(self) -> float:
        """The candidate's share at the step before the A/B; 0 when none comes before it."""
        before = self.canary.steps[:-1] if self.climbs else ()
        return before[-1].share / FULL_PERCENT if before else 0.0

    @property
    def ab_budget(self) -> float:
        """The A/B's part of the release's error budget: its own, or an equal part."""
        return self.ab.budget or 1 / self.parts


class StepTerms(Fact):
    """One step with its defaults filled in; `units` None is left to the target and the margins.

    `budget` is the step's part of the release's error budget, `margins` what each gate has to rule
    out: nothing in a screen, nor by a gate that only watches. `margin_sd` is the loss of the mean
    judge score to rule out, in standard deviations.
    """

    name: str
    percent: int
    share_bp: Share
    hold_seconds: float
    deadline_seconds: float
    budget: float
    must: Must
    units: int | None
    margins: dict[str, Margin]
    margin_sd: float | None = None

    @property
    def full(self) -> bool:
        """The last step serves all traffic but the control that is held back."""
        return self.percent == FULL_PERCENT


def _terms(spec: Spec, i: int) -> StepTerms:
    canary, step = spec.canary, spec.canary.steps[i]
    hold = step.hold or canary.hold
    return StepTerms(
        name=f"{step.share} %",
        percent=step.share,
        share_bp=min(step.share * 100, 10_000 - basis_points(canary.holdback)),
        hold_seconds=hold,
        deadline_seconds=(step.deadline or canary.deadline).of(hold),
        budget=canary.budget(i, spec.parts),
        must=canary.must(i),
        units=step.units,
        margins=_margins(spec, i),
        margin_sd=_margin_sd(spec, i),
    )


def _margins(spec: Spec, i: int) -> dict[str, Margin]:
    proofs = spec.canary.proofs
    if i not in proofs:
        return {}
    own = spec.canary.steps[i].margin.named()
    proof = proofs.index(i)
    return {
        name: own.get(name) or gate.margin_at(proof, len(proofs))
        for name, gate in spec.gates.asked().items()
        if gate.role is not Role.WATCH
    }


def _margin_sd(spec: Spec, i: int) -> float | None:
    quality, proofs = spec.gates.quality, spec.canary.proofs
    if quality is None or quality.role is Role.WATCH or i not in proofs:
        return None
    return quality.margin_at(proofs.index(i), len(proofs))
