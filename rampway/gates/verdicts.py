"""The verdicts a gate can give, how they combine, and the numbers that explain each."""

from collections.abc import Iterable
from enum import StrEnum

from rampway.gates.facts import Fact
from rampway.gates.plans import Role


class Verdict(StrEnum):
    """An answer to a gate's question; later members are worse and win over earlier ones."""

    PASS = "PASS"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"
    INCOMPARABLE = "INCOMPARABLE"
    BREACH = "BREACH"


_SEVERITY = {verdict: rank for rank, verdict in enumerate(Verdict)}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst verdict wins; nothing asked is NO_DATA, so that an empty plan never passes."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.NO_DATA)


class Count(Fact):
    """Bad units of all units; `units` may be judged pairs, `bad` a loss sum, where a gate says so."""

    bad: int = 0
    units: int = 0

    @property
    def rate(self) -> float:
        """Bad units per unit, 0 when there is none."""
        return self.bad / self.units if self.units else 0.0


class GateVerdict(Fact):
    """One gate's answer at the last look, with the numbers that explain it.

    `breach_at` is the smallest candidate count that is a BREACH at this look, `pass_at` the largest
    that is a PASS (None: the gate cannot decide that way yet). `expected` is the candidate count a
    harmless candidate at the tolerated odds would have. `alpha` is the gate's whole false-breach
    budget in this stage, `spent` what the looks so far have spent. `crossed_at_seconds` is the
    evidence time at which a BREACH latched. `units_needed` estimates the candidate units still
    missing for a PASS. A gate whose `role` is inform has a verdict, and no part in that of its stage.
    Floats are rounded to nine significant digits so that a verdict computed on
    another machine is the same bit for bit.
    """

    gate: str
    verdict: Verdict
    role: Role = Role.GUARD
    candidate: Count = Count()
    baseline: Count = Count()
    breach_at: int | None = None
    pass_at: int | None = None
    expected: float = 0.0
    alpha: float = 0.0
    spent: float = 0.0
    crossed_at_seconds: float | None = None
    units_needed: int | None = None
    why: str = ""

    @property
    def decides(self) -> bool:
        """The stage's verdict depends on this gate."""
        return self.role is not Role.INFORM


class StageVerdict(Fact):
    """The answer of a whole stage: the worst of its gates, and how much evidence was seen.

    `seconds` is the evidence time covered since the stage began, `slices` the sealed slices in it,
    `usable` those that could be counted, `blind_seconds` the time since the last usable slice.
    `exposed` is the candidate's units (pairs in shadow, the control's units in a 100 % step).
    `seconds_to_go` estimates the time until the stage can pass, None when unknown or decided.
    """

    stage: str
    verdict: Verdict
    gates: tuple[GateVerdict, ...] = ()
    seconds: float = 0.0
    slices: int = 0
    usable: int = 0
    blind_seconds: float = 0.0
    exposed: int = 0
    seconds_to_go: float | None = None
    why: str = ""

    @property
    def decisive(self) -> GateVerdict | None:
        """The first gate that decides and has the stage's verdict."""
        return next((g for g in self.gates if g.decides and g.verdict is self.verdict), None)


class Headline(Fact):
    """The offline headline in numbers; rates and differences are fractions, not percent.

    `low` and `high` are the 95 % interval of `difference` (candidate less baseline); `p` is the
    one-sided probability of a loss this large if the candidate were not worse; `cases_needed`
    estimates the cases an INCONCLUSIVE headline is short of.
    """

    verdict: Verdict
    cases: int
    clusters: int
    baseline_accuracy: float
    candidate_accuracy: float
    difference: float
    low: float
    high: float
    p: float
    improved: int
    regressed: int
    cases_needed: int | None = None
    literal: str = ""  # what an unpaired z-test at the same level would have said
    why: str


class SliceLoss(Fact):
    """One slice of the cases: those whose column `by` is `value`.

    Differences are fractions, candidate less baseline, with a 95 % interval; `p` is the one-sided
    probability of a loss this large if the slice were not worse, `p_holm` the same adjusted for all
    slices. `sigmas` is the loss in standard errors of the paired difference (positive: worse).
    """

    by: str
    value: str
    verdict: Verdict
    cases: int
    discordant: int
    baseline_accuracy: float
    candidate_accuracy: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    sigmas: float


class OfflineSlices(Fact):
    """The slices, worst first; `beyond_sigma` counts those that the plain rule would have blocked."""

    verdict: Verdict
    slices: tuple[SliceLoss, ...]
    worse: int  # after Holm
    beyond_sigma: int
    sigma: float
    literal: str = ""  # what the plain rule would have said, where the plan asks for it
    why: str


class Safety(Fact):
    """Offline safety: flips from pass to fail, and the rate that zero flips certify (3 / n)."""

    verdict: Verdict
    cases: int
    generations: int
    flips: tuple[str, ...]  # ids of hard cases that passed and now fail
    p: float | None = None  # exact one-sided McNemar over the cases that are not hard
    certified_below: float | None = None
    why: str


class OfflineVerdict(Fact):
    """The offline gate's answer: the worst of headline, slices and safety."""

    verdict: Verdict
    headline: Headline | None = None
    slices: OfflineSlices | None = None
    safety: Safety | None = None
    errors: dict[str, int] = {}
    why: str


def significant(value: float, digits: int = 9) -> float:
    """Round to significant digits, so that a record does not depend on the last bit of a libm."""
    return float(f"{value:.{digits}g}")
