"""What a release asks for: the whole of `release.yaml`, and the terms of each step."""

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from rampway.gates.facts import Fact
from rampway.gates.plans import Must, Share
from rampway.release.editor_schema import OffSchema, Section
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
    Canary,
    Candidate,
    Costs,
    Gates,
    Margin,
    Offline,
    Serving,
    Shadow,
    Unit,
    off_is_none,
    refuse,
)

# What is designed but decides nothing yet: accepted, such a key would promise a gate that is not there.
NOT_BUILT: dict[tuple[str, ...], str] = {
    ("gates", "quality"): "the quality gate is not built yet",
    ("gates", "false_positive"): "the false-positive gate is not built yet",
    ("gates", "safety"): "the safety canary is not built yet, offline.safety is",
    ("offline", "slices"): "the gate on slices is not built yet",
    ("canary", "judged_units"): "judging live answers is not built yet",
    ("stages",): "report-only releases are not built yet",
    ("on_pass",): "report-only releases are not built yet",
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
    canary: Canary = Canary()
    gates: Gates = Gates()
    lease: Lease = 120.0
    after_promotion: AfterPromotion = AfterPromotion()
    costs: Costs = Costs()
    page: PagerName | None = None

    @model_validator(mode="after")
    def _between_keys(self) -> Self:
        refuse(
            broken_rules(
                canary=self.canary,
                gates=self.gates,
                shadow=self.shadow,
                lease_seconds=self.lease,
            )
        )
        return self

    @property
    def steps(self) -> "tuple[StepTerms, ...]":
        """Every step with its defaults filled in."""
        return tuple(_terms(self, i) for i in range(len(self.canary.steps)))


class StepTerms(Fact):
    """One step with its defaults filled in; `units` None is left to the target and the margins.

    `budget` is the step's part of the release's error budget, `margins` what each gate has to rule
    out: nothing in a screen.
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
        budget=canary.budget(i),
        must=canary.must(i),
        units=step.units,
        margins=_margins(spec, i),
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
    }
