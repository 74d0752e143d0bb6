"""The parts of `release.yaml` as frozen models, with the mission's numbers as defaults.

A key that is not here is refused. Inside are fractions and seconds, in the file `5%` and `30m`: a
dumped section is text again and parses back to itself, so a digest does not depend on spelling.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from rampway.gates.plans import SliceMode
from rampway.release.editor_schema import Section
from rampway.release.json_values import FreeList, FreeMap
from rampway.release.scalars import (
    DAY,
    HOUR,
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

SLICE_COLUMNS_LIMIT = 8
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


class OnPass(StrEnum):
    """What a release does when all its stages have passed."""

    PROMOTE = "promote"
    REPORT = "report"  # all traffic goes back to the baseline, and the release is CONCLUDED


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


def distinct_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """At least one column of the cases, none twice."""
    if not 1 <= len(columns) <= SLICE_COLUMNS_LIMIT:
        wrong(f"needs between 1 and {SLICE_COLUMNS_LIMIT} columns of the cases, got {len(columns)}")
    if len(set(columns)) != len(columns):
        wrong("names a column twice")
    return columns


class CaseSlices(Section):
    """Is the candidate worse on some kind of case: one kind for each value of each column in `by`?

    Holm's procedure at level `p` decides; what every slice at `sigma` standard errors would have
    said alone stands beside it.
    """

    by: Annotated[tuple[Line, ...], AfterValidator(distinct_columns)]
    sigma: Annotated[Number, AfterValidator(between(0.5, 10, number_words))] = 2.0
    mode: SliceMode = SliceMode.CONTROLLED
    p: Level = 0.05


class Offline(Section):
    """The gate before any traffic. Only a release that exposes nobody may have no cases."""

    cases: FilePath | None = None
    cluster: Line | None = None
    headline: Headline = Headline()
    slices: CaseSlices | None = None
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
    # Told to who watches when the candidate's p95 is that much above the baseline's; never a verdict.
    latency_warning: (
        Annotated[Duration, AfterValidator(between(0.001, HOUR, duration_words))] | None
    ) = None


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
