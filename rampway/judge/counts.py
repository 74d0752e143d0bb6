"""What the judge counts per slice: pairs of scores, scores of answers that users saw, and what got none."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class SliceKey:
    """One slice: `i` counts from the moment the segment's traffic write came into force."""

    epoch: int
    segment: int
    i: int


@dataclass(frozen=True)
class Scored:
    """A pair of answers to one request, with the baseline's score and the candidate's."""

    slice: SliceKey
    old: int
    new: int


@dataclass(frozen=True)
class Missing:
    """A pair of which an answer is missing: the gateway says why, the judge only counts it."""

    slice: SliceKey


@dataclass(frozen=True)
class Unknown:
    """A pair of answers to a request that the grader knows no case for."""

    slice: SliceKey


@dataclass(frozen=True)
class Ended:
    """A slice is over: `copied` requests of it were sampled, `missing` of them came to no pair.

    `ended_at` is the time of day, in seconds.
    """

    slice: SliceKey
    slice_seconds: float
    ended_at: float
    copied: int
    missing: int


class Arm(StrEnum):
    """Whose answer it was: told to who counts, never to a grader."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@dataclass(frozen=True)
class Judged:
    """An answer that a user saw, with its score."""

    slice: SliceKey
    arm: Arm
    score: int


@dataclass(frozen=True)
class Unanswered:
    """A drawn request that failed, which has no quality: the gateway counts it as an error."""

    slice: SliceKey
    arm: Arm


@dataclass(frozen=True)
class Unjudged:
    """An answer that could not be scored: it was not kept, or its request is of no known case."""

    slice: SliceKey
    arm: Arm


@dataclass(frozen=True)
class Drawn:
    """A slice is over: so many of its requests were drawn. `ended_at` is as in Ended."""

    slice: SliceKey
    slice_seconds: float
    ended_at: float
    candidate: int
    baseline: int


Finding = Scored | Missing | Unknown | Ended | Judged | Unanswered | Unjudged | Drawn


@dataclass(frozen=True)
class SealedSlice:
    """`[old score, new score, pairs]` for each combination seen, and how many pairs were lost."""

    i: int
    pairs: tuple[tuple[int, int, int], ...]
    lost: int


@dataclass(frozen=True)
class SegmentCounts:
    """Every slice below `sealed` is here, or its mark was lost; `slice_seconds` is None before any."""

    slice_seconds: float | None
    sealed: int
    slices: tuple[SealedSlice, ...]


@dataclass(frozen=True)
class ArmCounts:
    """One count for each arm."""

    candidate: int
    baseline: int


@dataclass(frozen=True)
class SealedAnswers:
    """`[score, candidate's answers, baseline's]` for each score seen; all drawn are in one of the three."""

    i: int
    scores: tuple[tuple[int, int, int], ...]
    unjudged: ArmCounts
    unanswered: ArmCounts


@dataclass(frozen=True)
class AnswerCounts:
    """The judged sample of a segment; as SegmentCounts otherwise."""

    slice_seconds: float | None
    sealed: int
    slices: tuple[SealedAnswers, ...]
