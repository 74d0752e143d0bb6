"""The counts that verdicts are computed from, kept exactly as their source told them.

Rows are raw on purpose: an unusable row (a missing field, NaN, a negative number, more bad units
than units) must stay visible in the record, and is refused where it is weighed, never repaired.
"""

from typing import Literal

from pydantic import Field, JsonValue

from rampway.gates.facts import Fact


class Evidence(Fact):
    """Sealed slices of one segment of a split, for both arms alike.

    A segment is the time in which one traffic write was in force; `segment` is that write's sequence
    number. Slice i covers `[i, i+1) * slice_seconds` since the segment began. `sealed` tells, per
    stream, how many slices are sealed: each index below it either has a row or was lost. A row of a
    rate stream is `[i, n_candidate, bad_candidate, n_baseline, bad_baseline]`; a row of the stream
    `judge` is `[i, [[old_score, new_score, pairs], ...], lost]`. A row of the stream `quality` is
    `[i, [[score, n_candidate, n_baseline], ...], unjudged_candidate, unjudged_baseline]`: answers that
    users saw, by judge score, and those that were drawn but got no score. A row of the stream
    `safety` is `[i, both_pass, only_candidate_fails, only_baseline_fails, both_fail, hard_failed]`:
    paired probes, and the hard ones that the candidate failed twice in a row.
    """

    kind: Literal["counts"] = "counts"
    target: str
    epoch: int
    segment: int
    slice_seconds: float = Field(gt=0)
    sealed: dict[str, int]
    rows: dict[str, list[JsonValue]]
    sources: dict[str, str] = {}  # name -> fingerprint (grader digest, gateway version)


class BaselineCounts(Fact):
    """What the baseline did before a step, over its last requests: measured once, then frozen.

    `bad` counts bad units per stream; `latency` counts requests per log bucket (bucket k holds
    latencies in `[1.02**k, 1.02**(k+1))` milliseconds; time-outs are in bucket 100,000).
    """

    units: int = Field(ge=0)
    bad: dict[str, int]
    latency: dict[int, int]


class PairedCases(Fact):
    """Both artifacts' answers to the same cases, one entry per case in each column.

    Scores are in `[0, 1]`; a failed generation counts 0 for the arm that failed. `clusters` and each
    slice are dictionary-encoded: `codes[i]` indexes `values`. `safety` rows are
    `[case id, hard, baseline passes, candidate passes, generations]`.
    """

    kind: Literal["paired"] = "paired"
    baseline: str  # artifact digest
    candidate: str
    dataset: str  # digest of the case ids and their accepted answers
    grader: str  # fingerprint, the same for both arms
    harness: str = ""  # what ran the eval and its version, where the file says so
    seeds: str = ""  # what a rerun would have to repeat: seeds, temperature, number of repeats
    paired_by: str = "case_id"  # what makes two results the same case
    cases: list[str]
    old: list[float]
    new: list[float]
    clusters: "Column | None" = None
    slices: dict[str, "Column"] = {}
    errors: dict[str, int] = {}  # arm -> generations that failed and count as failures
    missing: int = 0  # cases of the baseline that the candidate has no answer for
    safety: list[tuple[str, bool, int, int, int]] = []


class Disagreement(Fact):
    """A case on which the arms differ, for people to read; never stored with the evidence.

    Scores are in `[0, 1]`. Texts are None where the file has none, and cut where they are long.
    """

    case: str
    old: float
    new: float
    question: str | None = None
    expected: str | None = None
    old_answer: str | None = None
    new_answer: str | None = None
    slices: dict[str, str] = {}

    @property
    def regressed(self) -> bool:
        """The candidate's score is the lower one."""
        return self.new < self.old


class Column(Fact):
    """A dictionary-encoded column: `codes[i]` is the index into `values` for case i."""

    values: list[str]
    codes: list[int]
