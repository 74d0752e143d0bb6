"""A verdict is the same bit for bit on every machine and every numpy: digests recorded once must return.

`python tests/gates/test_recorded_verdicts.py` writes them anew; do that only when a gate is meant to
answer otherwise, and say so in the changelog: records of earlier releases no longer verify then.
"""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue

from rampway.gates.evidence import BaselineCounts, Column, Evidence, PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import (
    OfflinePlan,
    ProbeGate,
    QualityGate,
    SafetyPlan,
    SampleRatioGate,
    SlicesPlan,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import OfflineVerdict, StageVerdict
from rampway.gates.weigh import freeze, weigh
from rampway.release.plan import compile_plan
from rampway.release.records import Target
from rampway.release.specfile import parse_spec
from rampway.release.template import init_spec

RECORDED = Path(__file__).parent / "recorded_verdicts.json"
WORSE = {"harmless": 1.0, "tolerable": 1.1, "harmful": 2.0}
BASE = {"error": 0.01, "late": 0.002, "refusal": 0.02}
STAGES = "stages: [shadow, canary, ab]\nab: {share: 50%, time: 1h}\n"


def stage_cases() -> Iterator[tuple[str, StagePlan, Evidence]]:
    """Every kind of stage, with harmless and harmful counts from the standard library's dice."""
    spec = parse_spec(init_spec() + STAGES, filename="release.yaml")
    target = Target(name="grammar-tutor", judge_levels=5)
    before = BaselineCounts(
        units=10_000,
        bad={stream: round(10_000 * rate) for stream, rate in BASE.items()},
        latency={200: 5_000, 230: 4_500, 260: 400, 290: 100},
    )
    for stage in compile_plan(spec, target).watched:
        plan = freeze(stage, before, units_min=10_000)
        if isinstance(plan, StepPlan):
            quality = QualityGate(levels=5, alpha=0.002, margin_sd=0.1)
            more = {"quality": quality, "probes": ProbeGate(alpha=0.003)}
            plan = plan.model_copy(update={**more, "sample_ratio": SampleRatioGate()})
        for name, worse in WORSE.items():
            yield f"{stage.name} {name}", plan, counts(plan, worse, random.Random(f"{stage.name}"))


def counts(plan: StagePlan, worse: float, dice: random.Random) -> Evidence:
    """Three minutes past the hold at 50 units a second."""
    slices = int(plan.hold_seconds / plan.slice_seconds) + 18
    share = getattr(plan, "share_bp", 10_000) / 10_000
    rows: dict[str, list[JsonValue]] = {}
    if plan.kind == "shadow":
        rows["judge"] = [judged(i, worse, dice) for i in range(slices)]
    else:
        units = [(round(500 * share), round(500 * (1 - share))) for _ in range(slices)]
        for gate in plan.gates:
            rate = BASE.get(gate.stream, 1 - (gate.quantile or 0.99))
            rows[gate.stream] = [
                [i, new, bad(new, rate * worse, dice), old, bad(old, rate, dice)]
                for i, (new, old) in enumerate(units)
            ]
        rows["quality"] = [scored(i, worse, dice) for i in range(slices)]
        rows["safety"] = [[i, 2, int(worse > dice.uniform(1, 3)), 0, 0, 0] for i in range(slices)]
    return Evidence(
        target=plan.name,
        epoch=1,
        segment=1,
        slice_seconds=plan.slice_seconds,
        sealed=dict.fromkeys(rows, slices),
        rows=rows,
    )


def bad(units: int, rate: float, dice: random.Random) -> int:
    return sum(dice.random() < rate for _ in range(units))


def judged(i: int, worse: float, dice: random.Random) -> JsonValue:
    pairs: dict[tuple[int, int], int] = {}
    for _ in range(25):
        old = dice.choice((2, 3, 4, 4, 4))
        new = max(0, old - 1) if dice.random() < 0.05 * worse**2 else old
        new = min(4, new + 1) if dice.random() < 0.05 else new
        pairs[old, new] = pairs.get((old, new), 0) + 1
    return [i, [[old, new, n] for (old, new), n in sorted(pairs.items())], 0]


def scored(i: int, worse: float, dice: random.Random) -> JsonValue:
    new = [max(0, dice.choice((2, 3, 4, 4, 4)) - (dice.random() < worse - 1)) for _ in range(5)]
    old = [dice.choice((2, 3, 4, 4, 4)) for _ in range(45)]
    return [i, [[level, new.count(level), old.count(level)] for level in range(5)], 0, 0]


def offline_cases() -> Iterator[tuple[str, OfflinePlan, PairedCases]]:
    """Paired evals with and without clusters, right or wrong and graded."""
    for name, worse in WORSE.items():
        for graded in (False, True):
            for clustered in (False, True):
                plan = OfflinePlan(
                    clustered=clustered, slices=SlicesPlan(by=("tense",)), safety=SafetyPlan()
                )
                kind = f"{'graded' if graded else 'right'}{' clustered' if clustered else ''}"
                yield f"offline {name} {kind}", plan, paired(worse, graded=graded)


def paired(worse: float, *, graded: bool) -> PairedCases:
    dice = random.Random(f"{worse} {graded}")
    scale = (0.0, 0.25, 0.5, 0.75, 1.0) if graded else (0.0, 1.0, 1.0, 1.0)
    old = [dice.choice(scale) for _ in range(1_500)]
    new = [0.0 if dice.random() < 0.03 * worse**2 else score for score in old]
    return PairedCases(
        baseline="sha256:" + "a" * 64,
        candidate="sha256:" + "b" * 64,
        dataset="sha256:" + "d" * 64,
        grader="set-match 1",
        cases=[f"case-{i}" for i in range(1_500)],
        old=old,
        new=new,
        clusters=Column(
            values=[f"verb-{c}" for c in range(150)], codes=[i % 150 for i in range(1_500)]
        ),
        slices={"tense": Column(values=list("abcdef"), codes=[i % 6 for i in range(1_500)])},
        safety=[(f"safety-{i}", i < 20, 1, int(i % 50 or worse < 2), 1) for i in range(100)],
    )


def verdicts() -> dict[str, StageVerdict | OfflineVerdict]:
    """The verdicts as they are on this machine."""
    offline = {name: weigh_offline(plan, seen) for name, plan, seen in offline_cases()}
    return offline | {name: weigh(plan, seen) for name, plan, seen in stage_cases()}


@pytest.fixture(scope="module")
def here() -> dict[str, StageVerdict | OfflineVerdict]:
    return verdicts()


def test_every_recorded_verdict_comes_out_the_same_here(
    here: dict[str, StageVerdict | OfflineVerdict],
) -> None:
    recorded = json.loads(RECORDED.read_text())

    changed = [name for name, digest in recorded.items() if here[name].digest != digest]
    assert changed == []
    assert here.keys() == recorded.keys()


def test_the_recorded_verdicts_are_of_every_kind(
    here: dict[str, StageVerdict | OfflineVerdict],
) -> None:
    said = {verdict.verdict.value for verdict in here.values()}

    assert {"PASS", "BREACH"} <= said
    assert len({verdict.digest for verdict in here.values()}) == len(here)


if __name__ == "__main__":
    RECORDED.write_text(
        json.dumps({name: each.digest for name, each in verdicts().items()}, indent=1) + "\n"
    )
    sys.stdout.write(f"{RECORDED.name} written\n")
