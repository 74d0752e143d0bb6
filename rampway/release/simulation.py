"""Plays a release in a made-up world: its real gates on drawn counts, stage by stage, to its end.

The dice are an argument (a numpy Generator), so the same seed plays the same release. Only the
counts are made up: verdicts come from the weigher that decides real releases, and holds are
extended, passed and given up as the workflow does it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue

from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.facts import Fact
from rampway.gates.plans import (
    AbPlan,
    QualityGate,
    SettlePlan,
    ShadowPlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import StageVerdict, Verdict
from rampway.gates.weigh import freeze, weigh
from rampway.release.decisions import extension_seconds

THRESHOLD_BUCKET = 200  # where the latency thresholds of a made-up world lie; only order counts
FULL_BP = 10_000
COUNT_NONE = 0

IntArray = npt.NDArray[np.int64]


class Rates(Fact):
    """How often a unit is bad in each arm, as fractions."""

    baseline: float = Field(ge=0, le=1)
    candidate: float = Field(ge=0, le=1)


class World(Fact):
    """What users would see while a candidate is on trial: constant rates, Poisson traffic.

    `bad` has the rates of each stream of bad units. A latency stream has the rate of units slower
    than the baseline's frozen threshold. `pass_rate` is how often an answer gets the judge's top
    score, in shadow and in live quality; `changed` is the part of shadow pairs whose scores differ
    when both arms pass equally often. At most `judged_per_second` candidate answers are judged, and
    `judged_ratio` baseline answers for each.
    """

    name: str
    units_per_second: float = Field(gt=0)
    bad: dict[str, Rates]
    pass_rate: Rates = Rates(baseline=0.8, candidate=0.8)
    changed: float = Field(default=0.04, ge=0, le=1)
    judged_per_second: float = Field(default=5.0, ge=0)
    judged_ratio: int = Field(default=5, ge=1)

    @property
    def harmless(self) -> bool:
        """The candidate is nowhere worse."""
        return all(r.candidate <= r.baseline for r in self.bad.values()) and (
            self.pass_rate.candidate >= self.pass_rate.baseline
        )


class Ended(StrEnum):
    """How a played release ended."""

    PROMOTED = "promoted"
    REPORTED = "reported"
    BREACH = "breach"
    DEADLINE = "deadline"


class Played(Fact):
    """One played release.

    `stage` is where it ended and `gate` what breached there. `seconds` runs from the first stage to
    the end, `exposed_seconds` from the first share to the pin or the end (None: nobody was exposed),
    `exposed_units` counts what the candidate served until then.
    """

    ended: Ended
    stage: str
    gate: str | None = None
    seconds: float
    exposed_seconds: float | None = None
    exposed_units: int = 0


@dataclass(frozen=True, slots=True)
class _StagePlayed:
    verdict: StageVerdict
    seconds: float
    units: int


def play(stages: Sequence[StagePlan], world: World, dice: np.random.Generator) -> Played:
    """Play the stages in order until one stops the release.

    `stages` are those of a compiled plan, its watch after promotion last if it has one; a release
    without a step at full share only reports. Raises KeyError for a gate whose stream the world
    does not know.
    """
    seconds = exposed = 0.0
    units = 0
    serves = False
    settles = bool(stages) and isinstance(stages[-1], SettlePlan)
    for stage in stages:
        played = _play_stage(_measured(stage, world, dice), world, dice)
        seconds += played.seconds
        if not isinstance(stage, ShadowPlan):
            serves = True
            exposed += played.seconds
            units += played.units
        if played.verdict.verdict is Verdict.PASS:
            continue
        breached = played.verdict.verdict is Verdict.BREACH
        decisive = played.verdict.decisive
        return Played(
            ended=Ended.BREACH if breached else Ended.DEADLINE,
            stage=stage.name,
            gate=decisive.gate if decisive else None,
            seconds=seconds,
            exposed_seconds=exposed if serves else None,
            exposed_units=units,
        )
    promotes = settles or any(isinstance(stage, StepPlan) for stage in stages)
    return Played(
        ended=Ended.PROMOTED if promotes else Ended.REPORTED,
        stage=stages[-1].name if stages else "",
        seconds=seconds,
        exposed_seconds=exposed if serves else None,
        exposed_units=units,
    )


def _measured(stage: StagePlan, world: World, dice: np.random.Generator) -> StagePlan:
    """The stage with its baselines frozen from what this world's baseline did before it."""
    units = 10_000
    bad = {stream: int(dice.binomial(units, rates.baseline)) for stream, rates in world.bad.items()}
    frozen = freeze(stage, BaselineCounts(units=units, bad=bad, latency={}), units_min=units)
    if not isinstance(frozen, StepPlan | AbPlan | SettlePlan):
        return frozen
    gates = tuple(
        gate
        if gate.quantile is None
        else gate.model_copy(
            update={
                "threshold_bucket": THRESHOLD_BUCKET,
                "baseline_rate": world.bad[gate.stream].baseline,
            }
        )
        for gate in frozen.gates
    )
    if isinstance(frozen, SettlePlan):
        return frozen.model_copy(update={"gates": gates})
    # A made-up world has none of the user's own counters.
    return frozen.model_copy(update={"gates": gates, "metrics": ()})


def _play_stage(stage: StagePlan, world: World, dice: np.random.Generator) -> _StagePlayed:
    drawn = _Drawn(stage, world, dice)
    limit = max(stage.deadline_seconds, stage.hold_seconds)
    seconds = stage.hold_seconds
    while True:
        verdict = weigh(stage, drawn.until(seconds))
        if verdict.verdict is Verdict.BREACH:
            decisive = verdict.decisive
            crossed = decisive.crossed_at_seconds if decisive else None
            seconds = verdict.seconds if crossed is None else crossed
        elif verdict.verdict is not Verdict.PASS and seconds < limit:
            seconds = min(limit, seconds + extension_seconds(stage, verdict))
            continue
        return _StagePlayed(verdict, seconds, drawn.served(seconds))


class _Drawn:
    """The counts of one stage, drawn further as it is extended."""

    def __init__(self, stage: StagePlan, world: World, dice: np.random.Generator) -> None:
        self._stage = stage
        self._world = world
        self._dice = dice
        self._rows: dict[str, list[JsonValue]] = {}
        self._served: list[int] = []

    def until(self, seconds: float) -> Evidence:
        """All slices that end by `seconds`."""
        slices = max(1, math.floor(seconds / self._stage.slice_seconds + 1e-9))
        missing = slices - len(self._served)
        if missing > 0:
            self._draw(len(self._served), missing)
        return Evidence(
            target="simulated",
            epoch=1,
            segment=1,
            slice_seconds=self._stage.slice_seconds,
            sealed=dict.fromkeys(self._rows, slices),
            rows={stream: rows[:slices] for stream, rows in self._rows.items()},
        )

    def served(self, seconds: float) -> int:
        """Units that the candidate served by then."""
        return sum(self._served[: math.ceil(seconds / self._stage.slice_seconds - 1e-9)])

    def _draw(self, first: int, count: int) -> None:
        stage, mean = self._stage, self._world.units_per_second * self._stage.slice_seconds
        match stage:
            case ShadowPlan():
                self._served += [0] * count
                pairs = self._dice.poisson(mean * stage.rate_bp / FULL_BP, count)
                self._add("judge", self._pair_rows(first, pairs))
            case StepPlan() | AbPlan() | SettlePlan():
                share = 1.0 if isinstance(stage, SettlePlan) else stage.share_bp / FULL_BP
                new = self._dice.poisson(mean * share, count)
                old = self._dice.poisson(mean * (1 - share), count)
                self._served += [int(n) for n in new]
                for stream in dict.fromkeys(gate.stream for gate in stage.gates):
                    self._add(stream, self._rate_rows(stream, first, new, old))
                if isinstance(stage, StepPlan) and stage.quality is not None:
                    self._add(stage.quality.stream, self._judged(stage.quality, first, new, old))
                if not isinstance(stage, SettlePlan) and stage.sample_ratio is not None:
                    units = self._rate_rows(None, first, new, old)
                    if stage.sample_ratio.stream not in {gate.stream for gate in stage.gates}:
                        self._add(stage.sample_ratio.stream, units)

    def _add(self, stream: str, rows: list[JsonValue]) -> None:
        self._rows.setdefault(stream, []).extend(rows)

    def _rate_rows(
        self, stream: str | None, first: int, new: IntArray, old: IntArray
    ) -> list[JsonValue]:
        rates = Rates(baseline=0, candidate=0) if stream is None else self._world.bad[stream]
        bad_new = self._dice.binomial(new, rates.candidate)
        bad_old = self._dice.binomial(old, rates.baseline)
        return [
            [first + i, int(n), int(x), int(m), int(y)]
            for i, (n, x, m, y) in enumerate(zip(new, bad_new, old, bad_old, strict=True))
        ]

    def _pair_rows(self, first: int, pairs: IntArray) -> list[JsonValue]:
        """Joint scores of pairs: bottom and top of the scale, as far apart as the pass rates."""
        top = self._levels - 1
        cells = _joint(self._world)
        drawn = self._dice.multinomial(pairs, list(cells.values()))
        rows: list[JsonValue] = []
        for i, counts in enumerate(drawn):
            joint: list[JsonValue] = [
                [old * top, new * top, int(n)]
                for (old, new), n in zip(cells, counts, strict=True)
                if n
            ]
            rows.append([first + i, joint, COUNT_NONE])
        return rows

    def _judged(
        self, gate: QualityGate, first: int, new: IntArray, old: IntArray
    ) -> list[JsonValue]:
        world, seconds = self._world, self._stage.slice_seconds
        most = math.ceil(world.judged_per_second * seconds)
        judged_new = np.minimum(new, most)
        judged_old = np.minimum(old, judged_new * world.judged_ratio)
        good_new = self._dice.binomial(judged_new, world.pass_rate.candidate)
        good_old = self._dice.binomial(judged_old, world.pass_rate.baseline)
        top = gate.levels - 1
        return [
            [
                first + i,
                [[0, int(n - g), int(m - h)], [top, int(g), int(h)]],
                COUNT_NONE,
                COUNT_NONE,
            ]
            for i, (n, g, m, h) in enumerate(
                zip(judged_new, good_new, judged_old, good_old, strict=True)
            )
        ]

    @property
    def _levels(self) -> int:
        return self._stage.levels if isinstance(self._stage, ShadowPlan) else 2


def _joint(world: World) -> Mapping[tuple[int, int], float]:
    """Probabilities of (old passes, new passes) with the world's pass rates and changed pairs."""
    old, new = world.pass_rate.baseline, world.pass_rate.candidate
    loss = old - new
    # Pairs change at least as often as the pass rates differ, and no more than the rates allow.
    changed = min(max(world.changed, abs(loss)), old + new, 2 - old - new)
    lost, gained = (changed + loss) / 2, (changed - loss) / 2
    return {
        (1, 1): max(0.0, old - lost),
        (0, 0): max(0.0, 1 - old - gained),
        (1, 0): lost,
        (0, 1): gained,
    }
