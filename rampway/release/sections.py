"""The parts of `release.yaml` as frozen models, with the mission's numbers as defaults.

A key that is not here is refused. Inside are fractions and seconds, in the file `5%` and `30m`: a
dumped section is text again and parses back to itself, so a digest does not depend on spelling.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from rampway.gates.plans import Must
from rampway.release.editor_schema import OffSchema, Section
from rampway.release.json_values import FreeList, FreeMap
from rampway.release.scalars import (
    DAY,
    FULL_PERCENT,
    HOUR,
    MINUTE,
    Deadline,
    DeadlineAt,
    Deviations,
    Duration,
    FilePath,
    Line,
    Money,
    Number,
    Percent,
    Points,
    SharePercent,
    Text,
    Whole,
    between,
    duration_words,
    named,
    number_words,
    percent_words,
    whole_basis_points,
    wrong,
)

STEPS_LIMIT = 10
UNITS_LIMIT = 10**9

Path = tuple[str | int, ...]


class Violation(NamedTuple):
    """A broken rule between values: the key it is told under, and where in the file it shows.

    Both paths are relative to the section that checks the rule; `about` names every key the rule
    looked at, so that a rule stays silent where one of them could not even be read.
    """

    message: str
    path: Path = ()
    at: Path = ()
    about: tuple[Path, ...] = ()


def refuse(violations: list[Violation]) -> None:
    """Refuse a section for all its broken rules at once."""
    if violations:
        raise PydanticCustomError(
            "violations",
            "{summary}",
            {
                "summary": "; ".join(violation.message for violation in violations),
                "violations": tuple(violations),
            },
        )


def off_is_none(value: object) -> object:
    """`off` switches a section off; an empty key would be an accident, and the file refuses it."""
    return None if value == "off" else value


Hold = Annotated[Duration, AfterValidator(between(1, 30 * DAY, duration_words))]
Level = Annotated[Number, AfterValidator(between(0.0001, 0.5, number_words))]
Budget = Annotated[Percent, AfterValidator(between(0.0001, 1, percent_words))]
Units = Annotated[Whole, AfterValidator(between(1, UNITS_LIMIT, number_words))]
Coverage = Annotated[Percent, AfterValidator(between(0.01, 1, percent_words))]


class Unit(StrEnum):
    """What the router hashes and the gates count."""

    REQUEST = "request"
    SESSION = "session"
    USER = "user"


class Prompt(Section):
    """The prompt's text, or the file that holds it."""

    short_form: ClassVar[dict[str, Any] | None] = {"type": "string"}

    file: FilePath | None = None
    text: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file is None) == (self.text is None):
            wrong("needs a path, or {text: …}")
        return self


class Candidate(Section):
    """Everything that changes behaviour. An artifact is whole: nothing is inherited."""

    prompt: Prompt | None = None
    model: Line | None = None
    retrieval_index: Line | None = None
    tools: FreeList = ()
    parameters: FreeMap = {}

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.prompt is None and self.model is None:
            wrong("needs a prompt or a model: nothing is inherited from the baseline")
        return self


UpstreamName = Annotated[
    str, named(r"[A-Za-z0-9_.:-]{1,64}", "an upstream's name in the gateway's settings")
]
# Credentials live in the gateway's settings alone, and framing is the connection's own business.
GATEWAYS_OWN = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "proxy-authorization",
        "transfer-encoding",
        "x-api-key",
    }
)


def open_header(name: str) -> str:
    """A header that a spec may set: no credential, no framing, none of Rampway's own."""
    if name.lower() in GATEWAYS_OWN or name.lower().startswith("x-rampway-"):
        wrong(f"{name} is set by the gateway from its own settings, never by a spec")
    return name


# The token of RFC 9110 section 5.6.2: what a header's name may be made of.
HeaderName = Annotated[
    str,
    named(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "the name of a header"),
    AfterValidator(open_header),
]


class Serving(Section):
    """How the candidate is reached: a configured upstream by name, and what is set per request."""

    upstream: UpstreamName
    fields: FreeMap = {}
    headers: dict[HeaderName, Line] = {}


class Headline(Section):
    """The paired offline gate: the level of its test, and the loss of accuracy to rule out."""

    p: Level = 0.05
    margin: Annotated[Points, AfterValidator(between(0.0001, 0.5, percent_words))] = 0.01


class SafetyCases(Section):
    """Cases that may not flip from pass to fail, and how often each is generated."""

    cases: FilePath
    generations: Annotated[Whole, AfterValidator(between(1, 25, number_words))] = 1


class Offline(Section):
    """The gate before any traffic."""

    cases: FilePath
    cluster: Line | None = None
    headline: Headline = Headline()
    safety: SafetyCases | None = None
    coverage: Coverage = 1.0


class UntilAny(Section):
    """Shadow may pass at whichever comes first."""

    time: Hold = 1.0 * HOUR
    pairs: Units = 10_000


class JudgeMean(Section):
    """Is the candidate's mean judge score lower on the same requests?"""

    p: Level = 0.01
    margin: Annotated[Deviations, AfterValidator(between(0.001, 2, number_words))] = 0.03


class Shadow(Section):
    """Copies of live requests, answered by the candidate and returned to nobody."""

    rate: Annotated[Budget, AfterValidator(whole_basis_points)] = 0.05
    until_any: UntilAny = UntilAny()
    judge_mean: JudgeMean = JudgeMean()
    deadline: Deadline = DeadlineAt(times=3)


class Margin(Section):
    """The worst harm to rule out: odds this many times worse or, where that is more, `abs` more."""

    short_form: ClassVar[dict[str, Any] | None] = {"type": "number"}

    odds: Annotated[Number, AfterValidator(between(1.01, 1000, number_words))]
    abs: Annotated[Percent, AfterValidator(between(0.0001, 0.5, percent_words))] = 0.005

    @model_validator(mode="before")
    @classmethod
    def _from_odds(cls, value: object) -> object:
        return {"odds": value} if isinstance(value, str | int | float) else value


MARGIN_EARLY = Margin(odds=2.0)  # what a proof before the last has to rule out
MARGIN_LAST = Margin(odds=1.5)


class StepMargins(Section):
    """Margins of one step, where they differ from the gates' own lists."""

    error: Margin | None = None
    latency: Margin | None = None
    refusal: Margin | None = None

    def named(self) -> "dict[str, Margin]":
        """The margins that are given, by gate."""
        margins = {"error": self.error, "latency": self.latency, "refusal": self.refusal}
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


class Canary(Section):
    """The climb: its steps, and how long each is watched."""

    steps: Annotated[tuple[Step, ...], AfterValidator(climbing)] = tuple(
        Step(share=share) for share in (1, 5, 25, 100)
    )
    hold: Hold = 30.0 * MINUTE
    deadline: Deadline = DeadlineAt(times=3)
    look_every: Annotated[Duration, AfterValidator(between(1, HOUR, duration_words))] = 10.0
    # Without a control nothing can be decided at 100 %, so some baseline traffic always stays.
    holdback: Annotated[
        Percent,
        AfterValidator(between(0.001, 0.5, percent_words)),
        AfterValidator(whole_basis_points),
    ] = 0.01
    coverage: Coverage = 0.9
    queue: Hold = 1.0 * DAY

    def must(self, i: int) -> Must:
        """The first step only screens, for its share is small, and the last, for its control is."""
        own = self.steps[i].must
        if own is not None:
            return own
        return Must.SCREEN if i in {0, len(self.steps) - 1} else Must.PROVE

    @property
    def proofs(self) -> tuple[int, ...]:
        """The steps, by index, that must PASS."""
        return tuple(i for i in range(len(self.steps)) if self.must(i) is Must.PROVE)

    def budget(self, i: int) -> float:
        """A step's part of the release's error budget: its own, or an equal part."""
        return self.steps[i].budget or 1 / len(self.steps)


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


class Gate(Section):
    """One question at every step: its part of the error budget, what to rule out, what is harmless.

    `margin` has one entry for each step that must PASS; left out, the last such step has to rule out
    odds 1.5 and those before it 2.0. `tolerance` is the odds ratio that is still harmless.
    """

    budget: Budget
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


class Gates(Section):
    """What is asked at every step. Errors are always asked about."""

    error: ErrorGate = ErrorGate()
    latency: Annotated[LatencyGate | None, BeforeValidator(off_is_none), OffSchema] = LatencyGate()
    refusal: Annotated[RefusalGate | None, BeforeValidator(off_is_none), OffSchema] = RefusalGate()

    def asked(self) -> dict[str, Gate]:
        """The gates that are on, by name."""
        gates = {"error": self.error, "latency": self.latency, "refusal": self.refusal}
        return {name: gate for name, gate in gates.items() if gate is not None}


class AfterPromotion(Section):
    """How long the previous artifact is kept warm to undo gross harm; 0 skips it."""

    watch: Annotated[Duration, AfterValidator(between(0, 30 * DAY, duration_words))] = 6.0 * HOUR


class Costs(Section):
    """What one call costs, so that a plan can say what a release will cost."""

    request: Money | None = None
    judge: Money | None = None

    @model_validator(mode="after")
    def _one_currency(self) -> Self:
        priced = [price for price in (self.request, self.judge) if price is not None]
        if len({price.currency for price in priced}) > 1:
            wrong("needs one currency for all prices")
        return self
