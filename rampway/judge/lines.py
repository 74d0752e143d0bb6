"""What a line of the gateway's spool says: a pair of answers, one that a user saw, or the end of a slice."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from rampway.judge.counts import Arm
from rampway.judge.graders import Answer

Count = Annotated[int, Field(ge=0, lt=2**53)]


class Malformed(Exception):
    """The line is not one that a gateway writes for this target."""


class ArmAnswer(BaseModel):
    """What one arm answered; without a status when it did not answer in time."""

    model_config = ConfigDict(frozen=True, strict=True)

    status: int | None = None
    latency_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    body: JsonValue = None


class _OfSlice(BaseModel):
    """Slice `i` of the segment: of the time in which one traffic write of an epoch was in force."""

    model_config = ConfigDict(frozen=True, strict=True)

    target: str
    epoch: Count
    segment: Count
    i: Count


class Pair(_OfSlice):
    """Both arms' answers to one request; `missing` says why there is no answer to compare."""

    kind: Literal["pair"]
    request: JsonValue = None
    baseline: ArmAnswer | None = None
    candidate: ArmAnswer | None = None
    missing: str | None = None

    def answers(self) -> tuple[Answer, Answer]:
        """Baseline's and candidate's."""
        return as_answer(self.baseline), as_answer(self.candidate)


class Mark(_OfSlice):
    """The slice is over: `copied` requests of it were sampled, `missing` of them by reason.

    `ended_at` is the slice's end in seconds of the wall clock.
    """

    kind: Literal["mark"]
    slice_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ended_at: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    copied: Count
    missing: dict[str, Count] = {}


class Seen(_OfSlice):
    """A drawn request and the answer that its user saw.

    `failed` says why there was none, `missing` why it was not kept.
    """

    kind: Literal["answer"]
    arm: Arm
    request: JsonValue = None
    answer: ArmAnswer | None = None
    failed: str | None = None
    missing: str | None = None


class DrawnMark(_OfSlice):
    """The slice is over: so many requests of each arm were drawn. `ended_at` is as in Mark."""

    kind: Literal["drawn"]
    slice_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ended_at: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    candidate: Count
    baseline: Count


class Begun(BaseModel):
    """A spool's first line: it tells one file from another, and no pair or answer."""

    model_config = ConfigDict(frozen=True, strict=True)

    kind: Literal["begun"]
    target: str


Line = Pair | Mark | Seen | DrawnMark
_LINE: TypeAdapter[Line | Begun] = TypeAdapter(Annotated[Line | Begun, Field(discriminator="kind")])


def read_line(line: bytes, *, target: str) -> Line | Begun:
    """Raise Malformed for what is no line of a spool, or is another target's."""
    try:
        read = _LINE.validate_json(line)
    except ValidationError as error:
        raise Malformed(str(error.errors()[0]["msg"])) from error
    if read.target != target:
        raise Malformed(f"The line is of target {read.target!r}, the spool of {target!r}.")
    return read


def as_answer(arm: ArmAnswer | None) -> Answer:
    return Answer(arm.status, arm.body) if arm else Answer(None, None)
