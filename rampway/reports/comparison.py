"""What the report of a traffic log holds: facts about the log, both arms, and what to do next."""

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from rampway.gates.advice import Advice, PairsCompared
from rampway.gates.comparison import ArmsCompared, BucketCompared, Percentiles
from rampway.gates.evidence import Disagreement

BUCKETS_SHOWN = 20  # per column, the likeliest differences first


class Changed(StrEnum):
    """What became of an answer; a neutral one reads otherwise and scores the same."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    NEUTRAL = "neutral"


@dataclass(frozen=True)
class Change:
    """One request on which the arms differ."""

    changed: Changed
    case: Disagreement


@dataclass(frozen=True)
class BadLine:
    """A line of the log that says nothing usable."""

    number: int
    why: str


@dataclass(frozen=True)
class LogFacts:
    """What was in the log, so that nothing is lost in silence.

    `lines` = `live` + `pairs` + `outside` + the bad ones + the other ones. `repeated` lines came from
    units that had an answer already; `crossed` are request ids with answers from both arms. `ungraded`
    answers are counted per arm and reason, `unpaired` copies per reason.
    """

    lines: int
    live: int
    pairs: int
    outside: int
    bad: tuple[BadLine, ...] = ()
    other: dict[str, int] = field(default_factory=dict[str, int])
    repeated: int = 0
    crossed: tuple[str, ...] = ()
    ungraded: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    unpaired: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Waits:
    """One arm's latencies in milliseconds, and how many units got no full answer."""

    latency_ms: tuple[float, ...]
    timeouts: int
    percentiles: Percentiles


@dataclass(frozen=True)
class Moment:
    """A part of the A/B's time: units that began in it, `seconds` after the first one."""

    seconds: float
    baseline: int
    candidate: int

    @property
    def share(self) -> float | None:
        """The candidate's part of the units; None where there were none."""
        units = self.baseline + self.candidate
        return self.candidate / units if units else None


@dataclass(frozen=True)
class Subject:
    """What was compared with what, where and when (wall seconds), and by which grader.

    `dataset` is the digest of all requests, `log` that of the file. `share_bp` is the candidate's
    share in the A/B, None without one.
    """

    target: str
    releases: tuple[str, ...]
    epoch: int
    segments: tuple[int, ...]
    share_bp: int | None
    began_at: float
    ended_at: float
    baseline: str
    candidate: str
    grader: str
    dataset: str
    requests: int
    log: str
    by: tuple[str, ...] = ()
    price: dict[str, float] = field(default_factory=dict[str, float])
    seeds: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True)
class TrafficReport:
    """All that the pages and the manifest are made from.

    `waits` are the A/B's latencies, of copied requests where there was no A/B. `changes` are examples,
    not all of them. `one_armed` counts, per column, the values that only one arm was asked about.
    """

    subject: Subject
    read: LogFacts
    advice: Advice
    arms: ArmsCompared | None
    pairs: PairsCompared | None
    waits: tuple[Waits, Waits] | None
    changes: tuple[Change, ...]
    moments: tuple[Moment, ...]
    one_armed: dict[str, int] = field(default_factory=dict[str, int])

    def buckets(self) -> dict[str, tuple[BucketCompared, ...]]:
        """The buckets of each column, the likeliest differences first; ties in order of the value."""
        found = self.arms.buckets if self.arms else ()
        return {
            column: tuple(
                sorted((b for b in found if b.column == column), key=lambda b: (b.rate.p, b.value))
            )
            for column in self.subject.by
        }
