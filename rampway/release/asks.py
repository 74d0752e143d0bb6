"""The gates of `release.yaml`: what each asks at every step, what it has to rule out, what it decides."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from rampway.gates.plans import Role
from rampway.release.editor_schema import OffSchema, Section
from rampway.release.scalars import (
    Deviations,
    Line,
    Number,
    Percent,
    between,
    named,
    number_words,
    percent_words,
    wrong,
)
from rampway.release.sections import Budget, off_is_none


class Margin(Section):
    """The worst harm to rule out: odds this many times worse or, where that is more, `abs` more."""

    short_form: ClassVar[dict[str, Any] | None] = {"type": "number"}

    odds: Annotated[Number, AfterValidator(between(1.01, 1000, number_words))]
    abs: Annotated[Percent, AfterValidator(between(0.0001, 0.5, percent_words))] = 0.005

    @model_validator(mode="before")
    @classmethod
    def _from_odds(cls, value: object) -> object:
        return {"odds": value} if isinstance(value, str | int | float) else value


MarginSd = Annotated[Deviations, AfterValidator(between(0.001, 2, number_words))]

METRICS_MAX = 8
SELECTOR_CHARACTERS_MAX = 1_000
MARGIN_EARLY = Margin(odds=2.0)  # what a proof before the last has to rule out
MARGIN_LAST = Margin(odds=1.5)
MARGIN_SD_EARLY = 0.10
MARGIN_SD_LAST = 0.05


class Asked(Section):
    """One question: its part of the error budget, and what its answer is for."""

    budget: Budget
    role: Role = Role.GUARD

    @property
    def spends(self) -> bool:
        """Its BREACH rolls back, so it takes its part of the error budget."""
        return self.role is not Role.INFORM


class Gate(Asked):
    """One question about a rate at every step: what to rule out, and what is harmless.

    `margin` has one entry for each step that must PASS; left out, the last such step has to rule out
    odds 1.5 and those before it 2.0. `tolerance` is the odds ratio that is still harmless.
    """

    margin: tuple[Margin, ...] | None = None
    tolerance: Annotated[Number, AfterValidator(between(1, 10, number_words))] = 1.1

    def margin_at(self, proof: int, proofs: int) -> Margin:
        """What this gate has to rule out at a step that must PASS, counted among those steps."""
        if self.margin is not None:
            return self.margin[proof]
        return MARGIN_LAST if proof == proofs - 1 else MARGIN_EARLY


class ErrorGate(Gate):
    """Does the candidate fail more often?"""

    budget: Budget = 0.25


class RefusalGate(Gate):
    """Does the candidate refuse more often?"""

    budget: Budget = 0.10


class FalsePositiveGate(Gate):
    """Do users mark more of the candidate's answers as wrong?"""

    budget: Budget = 0.10


class Quantile(StrEnum):
    """A point of the latency distribution that is compared with the baseline's."""

    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"

    @property
    def fraction(self) -> float:
        """The part of the baseline's requests that are faster."""
        return int(self[1:]) / 100


def distinct(quantiles: tuple[Quantile, ...]) -> tuple[Quantile, ...]:
    """At least one quantile, none twice, slowest last."""
    if not quantiles:
        wrong("needs at least one of p50, p90, p95, p99")
    if len(set(quantiles)) != len(quantiles):
        wrong("names a quantile twice")
    return tuple(sorted(quantiles))


class LatencyGate(Gate):
    """Does the candidate exceed the baseline's own quantiles more often?"""

    budget: Budget = 0.15
    at: Annotated[tuple[Quantile, ...], AfterValidator(distinct)] = (
        Quantile.P50,
        Quantile.P95,
        Quantile.P99,
    )


class LiveQuality(Asked):
    """Is the candidate's mean judge score lower, on answers that users saw?

    `margin` is in standard deviations of the baseline's score, one entry for each step that must
    PASS; left out, the last such step has to rule out 0.05 and those before it 0.10.
    """

    budget: Budget = 0.15
    margin: tuple[MarginSd, ...] | None = None

    def margin_at(self, proof: int, proofs: int) -> float:
        """The loss to rule out at a step that must PASS, counted among those steps."""
        if self.margin is not None:
            return self.margin[proof]
        return MARGIN_SD_LAST if proof == proofs - 1 else MARGIN_SD_EARLY


def short_enough(selector: str) -> str:
    """What a selector needs, and no program."""
    if len(selector) > SELECTOR_CHARACTERS_MAX:
        wrong(f"is longer than {SELECTOR_CHARACTERS_MAX:,} characters")
    return selector


Selector = Annotated[Line, AfterValidator(short_enough)]
LabelName = Annotated[str, named(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}", "the name of a label")]


class UserMetric(Asked):
    """Does the candidate have a worse rate in two counters of yours: bad events of all of them?

    `bad` and `total` are Prometheus selectors of counters with one series per arm, told apart by
    `arm_label`. It is asked at every step and looks for harm only: no baseline rate is measured
    for it before a step, so it has nothing to prove a PASS against.
    """

    budget: Budget = 0.05
    role: Role = Role.WATCH
    bad: Selector
    total: Selector
    arm_label: LabelName = "arm"
    tolerance: Annotated[Number, AfterValidator(between(1, 10, number_words))] = 1.1


MetricName = Annotated[str, named(r"[a-z][a-z0-9_]{0,39}", "a name such as hallucination")]


def few(metrics: dict[str, UserMetric]) -> dict[str, UserMetric]:
    """No more than the error budget can be spread over, and none that would have to prove."""
    if len(metrics) > METRICS_MAX:
        wrong(f"at most {METRICS_MAX} metrics, got {len(metrics)}")
    for name, metric in metrics.items():
        if metric.role is Role.GUARD:
            wrong(f"{name}: a metric proves nothing; write role: watch, or inform")
    return metrics


class Switch(StrEnum):
    """A check that has no numbers of its own."""

    ON = "on"
    OFF = "off"


# Editors that read YAML 1.1 see true and false in a bare on and off.
SwitchKey = Annotated[Switch, WithJsonSchema({"enum": ["on", "off", True, False]})]


def never_off(value: object) -> object:
    """Errors are always asked about, whatever else is."""
    if value == "off":
        wrong(
            "refused [errors decide]: without it a candidate that answers nothing would be promoted. "
            "Next: remove the key, or give it a budget"
        )
    return value


class Gates(Section):
    """What is asked at every step. Errors are always asked about."""

    error: Annotated[ErrorGate, BeforeValidator(never_off)] = ErrorGate()
    latency: Annotated[LatencyGate | None, BeforeValidator(off_is_none), OffSchema] = LatencyGate()
    refusal: Annotated[RefusalGate | None, BeforeValidator(off_is_none), OffSchema] = RefusalGate()
    # Both need a source of live answers or feedback, so no release has them unless it asks.
    false_positive: Annotated[FalsePositiveGate | None, BeforeValidator(off_is_none), OffSchema] = (
        None
    )
    quality: Annotated[LiveQuality | None, BeforeValidator(off_is_none), OffSchema] = None
    sample_ratio: SwitchKey = Switch.ON
    metrics: Annotated[dict[MetricName, UserMetric], AfterValidator(few)] = {}

    def asked(self) -> dict[str, Gate]:
        """The gates on rates that are on, by name."""
        gates = {
            "error": self.error,
            "latency": self.latency,
            "refusal": self.refusal,
            "false_positive": self.false_positive,
        }
        return {name: gate for name, gate in gates.items() if gate is not None}

    def budgeted(self) -> dict[str, Asked]:
        """Every gate that is on and has a part of the error budget to name, by its dotted key."""
        quality = {} if self.quality is None else {"quality": self.quality}
        metrics = {f"metrics.{name}": metric for name, metric in self.metrics.items()}
        return {**self.asked(), **quality, **metrics}
