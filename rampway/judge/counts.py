"""What the judge counts: pairs of scores per slice, and the pairs that no score could be given to."""

from dataclasses import dataclass


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


Finding = Scored | Missing | Unknown | Ended


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
