"""Speed as ratios, measured side by side in one run: `make bench`.

Each row times our function and what a user would write instead, in turn, and prints the median of the
pairwise ratios; absolute times depend on the machine and are only there for scale.
"""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from rampway.gates.evidence import BaselineCounts, Column, Evidence, PairedCases
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import OfflinePlan, StagePlan
from rampway.gates.weigh import freeze, weigh
from rampway.release.plan import compile_plan
from rampway.release.records import Target
from rampway.release.specfile import parse_spec
from rampway.release.template import init_spec

ROUNDS = 9
SLICES = 180
CASES = 14_400


def main() -> None:
    print(f"{'what':44} {'ours ms':>9} {'other ms':>9} {'ratio':>8}   beside")
    step, evidence = canary_step()
    row("weigh one 5 % step, 180 slices, all gates", lambda: weigh(step, evidence), naive(evidence))
    row("read one look's evidence from JSON", parse(evidence), naive(evidence))
    plan, cases = offline()
    row("offline headline, 14,400 cases", lambda: weigh_offline(plan, cases), plain_mean(cases))


def row(what: str, ours: Callable[[], object], other: Callable[[], object]) -> None:
    ours()
    other()
    pairs = [(timed(ours), timed(other)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    mine, theirs = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    print(f"{what:44} {mine:9.2f} {theirs:9.2f} {ratio:8.1f}   {other.__doc__}")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def canary_step() -> tuple[StagePlan, Evidence]:
    target = Target(name="grammar-tutor")
    plan = compile_plan(parse_spec(init_spec(), filename="release.yaml"), target)
    before = BaselineCounts(
        units=10_000, bad={"error": 100, "late": 20, "refusal": 200}, latency={230: 9_500, 260: 500}
    )
    step = freeze(plan.steps[1], before, units_min=10_000)
    dice = np.random.default_rng(7)
    rows = {
        gate.stream: [
            [i, new, int(dice.binomial(new, 0.02)), old, int(dice.binomial(old, 0.02))]
            for i, (new, old) in enumerate(
                zip(
                    dice.poisson(25, SLICES).tolist(),
                    dice.poisson(475, SLICES).tolist(),
                    strict=True,
                )
            )
        ]
        for gate in step.gates
    }
    evidence = Evidence(
        target="grammar-tutor",
        epoch=1,
        segment=8,
        slice_seconds=10,
        sealed=dict.fromkeys(rows, SLICES),
        rows=rows,
    )
    return step, evidence


def naive(evidence: Evidence) -> Callable[[], object]:
    def z_each_look() -> list[float]:
        """A two-proportion z at every slice, which cries wolf"""
        scores = []
        for rows in evidence.rows.values():
            n1 = x1 = n0 = x0 = 0
            for _, a, b, c, d in rows:
                n1, x1, n0, x0 = n1 + a, x1 + b, n0 + c, x0 + d
                p = (x1 + x0) / (n1 + n0)
                spread = math.sqrt(p * (1 - p) * (1 / n1 + 1 / n0)) or 1.0
                scores.append((x1 / n1 - x0 / n0) / spread)
        return scores

    return z_each_look


def parse(evidence: Evidence) -> Callable[[], object]:
    text = evidence.model_dump_json()
    return lambda: Evidence.model_validate_json(text)


def offline() -> tuple[OfflinePlan, PairedCases]:
    dice = np.random.default_rng(7)
    cases = PairedCases(
        baseline="sha256:" + "a" * 64,
        candidate="sha256:" + "b" * 64,
        dataset="sha256:" + "d" * 64,
        grader="set-match",
        cases=[f"case-{i}" for i in range(CASES)],
        old=(dice.random(CASES) < 0.72).astype(float).tolist(),
        new=(dice.random(CASES) < 0.81).astype(float).tolist(),
        clusters=Column(
            values=[f"verb-{c}" for c in range(200)], codes=[i % 200 for i in range(CASES)]
        ),
    )
    return OfflinePlan(clustered=True), cases


def plain_mean(cases: PairedCases) -> Callable[[], object]:
    def means() -> float:
        """Two plain means, which say nothing about chance"""
        return statistics.fmean(cases.new) - statistics.fmean(cases.old)

    return means


if __name__ == "__main__":
    main()
