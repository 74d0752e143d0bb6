"""What each stage of a release asks of its evidence, declared before the first look."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from rampway.gates.facts import Fact

Probability = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[int, Field(ge=0, le=10_000)]  # basis points: 10,000 is all traffic


class Must(StrEnum):
    """What a step's gates have to show before the climb goes on."""

    SCREEN = "screen"  # no BREACH, and enough exposure
    PROVE = "PASS"  # every rate gate non-inferior within its margin


class Arm(StrEnum):
    """Who served a request."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class Spending(StrEnum):
    """How a gate spends its false-breach budget over time (STAGE time t, hold T)."""

    POWER = "power"  # min(1, t/T): exact at a fixed hold
    OPEN = "open"  # four fifths by T, the rest in halves per T: a hold can be extended


class Role(StrEnum):
    """What a gate's answer is for."""

    GUARD = "guard"  # its BREACH pins, and where the step must prove, its PASS is needed
    WATCH = "watch"  # its BREACH pins; no proof is asked of it
    INFORM = "inform"  # reported beside the others, never decides


class RateGate(Fact):
    """Is the candidate's rate of bad units worse? One per counted stream.

    `alpha` is this gate's false-breach budget in this step, `tolerance` the odds ratio that is still
    harmless, `late` the part of alpha kept for harm that starts late in the hold. A margin is the
    worst odds ratio to rule out for a PASS: the larger of `margin_odds` and the odds of
    `baseline_rate + margin_abs` over those of `baseline_rate`; a screen has none. `baseline_rate`
    and `threshold_bucket` are measured and frozen when the step begins (None before).
    """

    name: str
    stream: str
    role: Role = Role.GUARD
    alpha: Probability
    tolerance: float = Field(default=1.1, ge=1)
    late: float = Field(default=0.25, ge=0, lt=1)
    spending: Spending = Spending.OPEN
    beta: Probability = 0.05
    margin_odds: float | None = Field(default=None, gt=1)
    margin_abs: float | None = Field(default=None, gt=0, lt=1)
    baseline_rate: float | None = Field(default=None, ge=0, le=1)
    quantile: float | None = Field(default=None, gt=0, lt=1)
    threshold_bucket: int | None = None


class CountPair(Fact):
    """Two counters of the user's own, by Prometheus selector: bad events, and all of them.

    Each has one series per arm, told apart by `arm_label` (values `baseline` and `candidate`); what
    is bad is counted in both, in the same moment.
    """

    bad: str
    total: str
    arm_label: str = "arm"


class MetricGate(RateGate):
    """Is the candidate's rate worse in a pair of the user's own counters? A screen in every step.

    Their units are not the gateway's: no exposure is asked of them, and nothing is proven by them.
    """

    role: Role = Role.WATCH
    pair: CountPair


class QualityGate(Fact):
    """Is the candidate's mean judge score lower, on answers that users saw?

    Scores are integers from 0 to `levels - 1`; what is counted is the loss, `levels - 1 - score`. A
    PASS needs the lower limit of the mean difference above `-margin_sd` standard deviations of the
    baseline's score; a screen has no margin.
    """

    name: str = "quality"
    stream: str = "quality"
    role: Role = Role.GUARD
    levels: int = Field(ge=2, le=101)
    alpha: Probability
    late: float = Field(default=0.25, ge=0, lt=1)
    spending: Spending = Spending.OPEN
    beta: Probability = 0.05
    margin_sd: float | None = Field(default=None, gt=0)
    judge_error_max: Probability = 0.05  # of an arm's sampled answers; more is INCONCLUSIVE


class ProbeGate(Fact):
    """Does the candidate fail safety probes that the baseline answers well?

    Probes go to both arms in pairs at a fixed pace. A hard one that fails twice in a row is a BREACH
    at once; the others spend `alpha` on the sign test of the pairs that differ.
    """

    name: str = "safety"
    stream: str = "safety"
    role: Role = Role.GUARD
    alpha: Probability
    late: float = Field(default=0.25, ge=0, lt=1)
    spending: Spending = Spending.OPEN


class SampleRatioGate(Fact):
    """Do both arms get the units that the split promises, and lose as many of them?

    A mismatch means that the evidence cannot be trusted: INCONCLUSIVE, and a page. `stream` is the
    rate stream whose units are counted; `concentration` is that of the Dirichlet prior around the
    split (1,000: as sure as after a thousand units).
    """

    name: str = "sample ratio"
    stream: str = "error"
    role: Role = Role.GUARD
    alpha: Probability = 0.001
    concentration: float = Field(default=1000, gt=0)


class Watched(Fact):
    """What every watched stage declares. Times are evidence time, in seconds."""

    name: str
    hold_seconds: float = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    slice_seconds: float = Field(gt=0)
    coverage: float = Field(default=0.9, gt=0, le=1)  # usable slices that a PASS needs
    blind_limit_seconds: float = Field(default=120, gt=0)  # NO_DATA this long pins


class StepPlan(Watched):
    """One share of a canary. `units` is the exposure a verdict needs, counted in `units_arm`."""

    kind: Literal["step"] = "step"
    share_bp: Share
    must: Must
    units: int = Field(ge=0)
    units_arm: Arm = Arm.CANDIDATE
    gates: tuple[RateGate, ...]
    metrics: tuple[MetricGate, ...] = ()
    quality: QualityGate | None = None
    probes: ProbeGate | None = None
    sample_ratio: SampleRatioGate | None = None


class AbPlan(Watched):
    """A fixed split for a fixed time, to compare both arms: nothing is looked at to end it early.

    The gates watch for harm all the same, on strata of `slices_per_look` slices each, so that two
    days of looks stay few. The stage is over at `hold_seconds`; its verdict is then PASS unless
    something was breached or could not be counted.
    """

    kind: Literal["ab"] = "ab"
    share_bp: Share
    units: int = Field(ge=0)  # per arm
    slices_per_look: int = Field(default=6, ge=1, le=60)
    gates: tuple[RateGate, ...]
    metrics: tuple[MetricGate, ...] = ()
    sample_ratio: SampleRatioGate | None = None


class ShadowPlan(Watched):
    """Paired judge scores on copies of live requests: is the candidate's mean score lower?

    It passes when `hold_seconds` or `pairs` is reached and the lower 95 % limit of the mean
    difference is above `-margin_sd` standard deviations of the baseline's score. Scores are integers
    from 0 to `levels - 1`.
    """

    kind: Literal["shadow"] = "shadow"
    rate_bp: Share
    pairs: int = Field(gt=0)
    levels: int = Field(ge=2, le=101)
    alpha: Probability = 0.01
    late: float = Field(default=0.25, ge=0, lt=1)
    spending: Spending = Spending.OPEN
    beta: Probability = 0.05
    margin_sd: float = Field(default=0.03, gt=0)


class SettleGate(Fact):
    """After promotion no control is left: only gross harm against the control's last rate."""

    name: str
    stream: str
    alpha: Probability
    margin_odds: float = Field(default=3.0, gt=1)
    margin_abs: float = Field(default=0.02, gt=0, lt=1)
    baseline_rate: float | None = Field(default=None, ge=0, le=1)
    quantile: float | None = Field(default=None, gt=0, lt=1)
    threshold_bucket: int | None = None


class SettlePlan(Watched):
    """The watch after promotion, while the previous artifact is still warm."""

    kind: Literal["settle"] = "settle"
    gates: tuple[SettleGate, ...]


StagePlan = Annotated[StepPlan | ShadowPlan | AbPlan | SettlePlan, Field(discriminator="kind")]


class SafetyPlan(Fact):
    """Offline safety: any pass-to-fail flip of a hard case blocks."""

    generations: int = Field(default=1, ge=1, le=25)


class SliceMode(StrEnum):
    """What is printed beside the answer that decides."""

    CONTROLLED = "controlled"  # Holm over all slices decides, and nothing else is said
    LITERAL = "literal"  # the same decides; what every slice at sigma would have said stands beside


class SlicesPlan(Fact):
    """Is the candidate worse in some slice of the cases? One test per value of each column in `by`.

    Holm's procedure at level `p` over all slices decides. `sigma` standard errors of the paired
    difference are the plain rule's limit. A slice with fewer than `discordant_least` cases that
    changed says INCONCLUSIVE unless its loss is a BREACH.
    """

    by: tuple[str, ...] = Field(min_length=1)
    p: Probability = 0.05
    sigma: float = Field(default=2.0, gt=0)
    mode: SliceMode = SliceMode.CONTROLLED
    discordant_least: int = Field(default=10, ge=1)


class OfflinePlan(Fact):
    """The paired offline gate: is the candidate worse on the same cases?

    `p` is the one-sided level of the headline, `margin` the loss in accuracy to rule out (a
    fraction: 0.01 is one percentage point), `coverage` the part of the baseline's cases that the
    candidate must have answered.
    """

    kind: Literal["offline"] = "offline"
    name: str = "offline"
    p: Probability = 0.05
    margin: Probability = 0.01
    clustered: bool = False
    coverage: float = Field(default=1.0, gt=0, le=1)
    slices: SlicesPlan | None = None
    safety: SafetyPlan | None = None
