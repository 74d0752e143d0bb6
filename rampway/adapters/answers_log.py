"""Reads the gateway's log of answers: what was asked, who answered what; every line accounted for.

The format is that of `answers-<target>.jsonl` in docs/gateway.md. What cannot be read is named with
its number and counted, never skipped in silence.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

NO_FULL_ANSWER = frozenset({"connect", "timeout", "reset", "mid_stream"})
ABORTED = "aborted"  # the caller left
LINE_BYTES_MAX = 8 * 1024 * 1024  # three bodies of 256 KiB, escaped, are far below
_SHOWN = 60
_BP = Annotated[int, Field(ge=0, le=10_000)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LogUnreadable(Exception):
    """The log cannot be opened, or holds no line of answers at all."""


class Artifacts(BaseModel):
    """The artifact digests of both arms."""

    model_config = ConfigDict(frozen=True, strict=True)

    baseline: str
    candidate: str


class Half(BaseModel):
    """What one arm answered to a copied request; `status` is None where no answer came."""

    model_config = ConfigDict(frozen=True, strict=True)

    status: int | None
    latency_ms: _Number | None
    body: JsonValue = None

    @property
    def full_latency_ms(self) -> float:
        """Milliseconds to the end of the answer; infinite where none came."""
        return math.inf if self.latency_ms is None else self.latency_ms


class _Line(BaseModel):
    """What live answers and pairs have in common. Times are wall seconds.

    `grader` is the fingerprint of who scored the line already, for logs that carry scores.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    ts: Annotated[float, Field(allow_inf_nan=False)]
    request_id: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(min_length=1)]
    target: str
    release: str
    epoch: int
    segment: int
    share_bp: _BP
    artifacts: Artifacts
    request: JsonValue = None
    grader: str | None = None


class LiveAnswer(_Line):
    """What a user got, and from which arm."""

    kind: Literal["live"]
    arm: Literal["baseline", "candidate"]
    status: int | None
    latency_ms: _Number
    error: str | None
    body: JsonValue = None

    @property
    def is_full(self) -> bool:
        """A whole answer came, right or wrong, in error or not."""
        return self.status is not None and self.error not in NO_FULL_ANSWER

    @property
    def full_latency_ms(self) -> float:
        """Milliseconds to the end of the answer; infinite where no full answer came.

        A caller who left counts with the time he waited, as in the gateway's own counts.
        """
        return self.latency_ms if self.is_full or self.error == ABORTED else math.inf


class PairedAnswers(_Line):
    """What both arms answered to one copied request; `missing` says why there are not two."""

    kind: Literal["pair"]
    baseline: Half
    candidate: Half
    missing: str | None


@dataclass(frozen=True)
class BadLine:
    """A line that says nothing usable: where it stands and why."""

    number: int
    why: str


@dataclass
class AnswersLog:
    """Every line of a log: `lines` is the sum of the usable, the bad and the `other` ones."""

    lines: int = 0
    live: list[LiveAnswer] = field(default_factory=list[LiveAnswer])
    pairs: list[PairedAnswers] = field(default_factory=list[PairedAnswers])
    bad: list[BadLine] = field(default_factory=list[BadLine])
    other: Counter[str] = field(default_factory=Counter[str])  # kind -> lines without answers


_LINE: TypeAdapter[LiveAnswer | PairedAnswers] = TypeAdapter(
    Annotated[LiveAnswer | PairedAnswers, Field(discriminator="kind")]
)


def read_answers(path: Path) -> AnswersLog:
    """Read a log of answers. Raises LogUnreadable."""
    log = AnswersLog()
    try:
        for number, line, whole in _lines(path):
            log.lines += 1
            _take(log, number, line, whole=whole)
    except OSError as failed:
        raise LogUnreadable(f"{path} cannot be read: {failed.strerror}.") from failed
    if not log.live and not log.pairs:
        raise LogUnreadable(_nothing_in(path, log))
    return log


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Number, text and whether its end was written, of each line that is not blank."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES_MAX):
            number += 1
            whole = line.endswith(b"\n")
            while not line.endswith(b"\n") and (rest := file.readline(LINE_BYTES_MAX)):
                line, whole = line[:_SHOWN] + rest[-1:], False  # too long to be one of ours
            if line.strip():
                yield number, line, whole


def _take(log: AnswersLog, number: int, line: bytes, *, whole: bool) -> None:
    try:
        told: JsonValue = orjson.loads(line)
    except orjson.JSONDecodeError:
        why = "is not JSON" if whole else "is cut off before its end"
        log.bad.append(BadLine(number, f"{why}: {_beginning(line)}"))
        return
    if not isinstance(told, dict):
        log.bad.append(BadLine(number, f"is not a JSON object: {_beginning(line)}"))
        return
    kind = told.get("kind")
    if kind in {"mark", "forgotten"}:
        log.other[str(kind)] += 1
        return
    if kind is None and "arm" in told:
        log.other["traffic line without an answer"] += 1
        return
    try:
        read = _LINE.validate_json(line)
    except ValidationError as wrong:
        log.bad.append(BadLine(number, _complaint(wrong)))
        return
    (log.live if isinstance(read, LiveAnswer) else log.pairs).append(read)  # type: ignore[arg-type] # each to its list


def _complaint(wrong: ValidationError) -> str:
    """The first complaint, without the union's own step in the path."""
    first = wrong.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in {"live", "pair"})
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _beginning(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _nothing_in(path: Path, log: AnswersLog) -> str:
    told = f"{path} holds no answers in its {log.lines} lines"
    if log.other["traffic line without an answer"]:
        return (
            f"{told}: it is a traffic log without bodies. Next: set `answers = true` under [capture] "
            "in the gateway's settings, and compare answers-<target>.jsonl"
        )
    if log.bad:
        first = log.bad[0]
        return f"{told}; line {first.number} {first.why}. Its format is told in docs/gateway.md"
    return f"{told}. Its format is told in docs/gateway.md"
