"""How fast verdicts are: absolute bars, and ratios to what a user would write instead.

Each ratio times ours and the other in turn and takes the median of the pairwise ratios, so it
depends on the machine much less than the times do.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.crews import Crew, say
from benchmarks.figures import Figure, Section, table
from rampway.adapters.evals_files import pair_evals
from rampway.gates.engine import HarmWatch, ProofWatch, noncentral_hypergeometric
from rampway.gates.evidence import BaselineCounts, Column, Evidence, PairedCases
from rampway.gates.facts import canonical
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import Must, OfflinePlan, SlicesPlan, Spending, StepPlan
from rampway.gates.verdicts import OfflineVerdict, StageVerdict
from rampway.gates.weigh import freeze, weigh
from rampway.release.plan import compile_plan
from rampway.release.records import Target
from rampway.release.specfile import parse_spec
from rampway.release.template import init_spec

if TYPE_CHECKING:
    from pydantic import JsonValue

SEED = 401
ROUNDS = 15
CASES = 14_400
RAW_ROWS = 10_000_000
RATES = {
    "error": 0.008,
    "late": 0.002,
    "latency_p50": 0.5,
    "latency_p95": 0.05,
    "latency_p99": 0.01,
    "refusal": 0.02,
}

Release = list[tuple[StepPlan, Evidence]]


def measure(crew: Crew) -> Section:
    """The absolute bars, then the ratios."""
    say("speed")
    waiting = os.getloadavg()[0]
    figures = (
        *_replays(slice_seconds=60, looks=720, bars_ms=(60, 120)),
        *_replays(slice_seconds=10, looks=4_320, bars_ms=(180, 360)),
        _raw_rows(),
        _one_look(5_000, bar_ms=1),
        _one_look(500_000, bar_ms=5),
        _offline_files(),
        _help(),
        _fuzz(crew),
    )
    load = (
        f"Before these rows the load average of the machine was {waiting:.1f} on "
        f"{len(os.sched_getaffinity(0))} cores: times on a busy machine are not the program's."
    )
    return Section("Speed, the best round on one core", figures, beside=f"{load}\n\n{_ratios()}")


def _replays(*, slice_seconds: float, looks: int, bars_ms: tuple[float, float]) -> list[Figure]:
    release = _release(slice_seconds)
    screens = [(plan.model_copy(update={"must": Must.SCREEN}), seen) for plan, seen in release]
    what = f"replay of a release from counts, {looks:,} looks"
    same = _boundaries(release) == _boundaries(release)
    bytes_per_step = max(
        len(zlib.compress(canonical(seen.model_dump(mode="json")))) for _, seen in release
    )
    return [
        _timed_figure(f"{what}, BREACH only", lambda: _boundaries(screens), bars_ms[0]),
        _timed_figure(f"{what}, all", lambda: _boundaries(release), bars_ms[1]),
        Figure(
            what=f"{what}: counts as stored, largest step",
            bar="≤ 8 KB, same integers again",
            measured=f"{bytes_per_step / 1000:.1f} KB, {'same' if same else 'DIFFERENT'}",
            met=bytes_per_step <= 8_000 and same,
            runs=1,
            seed=SEED,
        ),
    ]


def _release(slice_seconds: float) -> Release:
    """Four frozen steps of the default plan with half an hour of harmless counts each."""
    dice = np.random.default_rng(SEED)
    plan = compile_plan(
        parse_spec(init_spec(), filename="release.yaml"), Target(name="grammar-tutor")
    )
    before = BaselineCounts(
        units=10_000, bad={"error": 80, "late": 20, "refusal": 200}, latency={230: 9_500, 260: 500}
    )
    release: Release = []
    for step in plan.steps:
        frozen = freeze(step, before, units_min=10_000)
        if not isinstance(frozen, StepPlan):
            raise TypeError("a step's plan is frozen to a step's plan")
        sliced = frozen.model_copy(update={"slice_seconds": slice_seconds})
        release.append((sliced, _evidence(dice, sliced)))
    return release


def _evidence(dice: np.random.Generator, step: StepPlan) -> Evidence:
    slices = round(step.hold_seconds / step.slice_seconds)
    requests, part = 50 * step.slice_seconds, step.share_bp / 10_000
    n_c, n_b = (dice.poisson(requests * share, slices) for share in (part, 1 - part))
    rows: dict[str, list[JsonValue]] = {}
    for gate in step.gates:
        bad = [dice.binomial(units, RATES[gate.stream]) for units in (n_c, n_b)]
        rows[gate.stream] = np.stack([np.arange(slices), n_c, bad[0], n_b, bad[1]], -1).tolist()
    return Evidence(
        target="tutor",
        epoch=1,
        segment=8,
        slice_seconds=step.slice_seconds,
        sealed=dict.fromkeys(rows, slices),
        rows=rows,
    )


def _boundaries(release: Release) -> list[StageVerdict]:
    return [weigh(plan, seen) for plan, seen in release]


def _raw_rows() -> Figure:
    """From packed columns: the slice, the arm, and one bit per stream."""
    dice = np.random.default_rng(SEED + 1)
    step = _release(60)[1][0]
    slices = dice.integers(0, 30, RAW_ROWS, dtype=np.uint16)
    new = (dice.random(RAW_ROWS, dtype=np.float32) < 0.05).astype(np.uint16)
    bits = np.zeros(RAW_ROWS, dtype=np.uint16)
    for bit, rate in enumerate(RATES.values()):
        bits |= (dice.random(RAW_ROWS, dtype=np.float32) < rate).astype(np.uint16) << bit

    def verdict() -> StageVerdict:
        keys = (slices << 7) | (new << 6) | bits
        counts = np.bincount(keys, minlength=30 << 7).reshape(30, 2, 64)
        patterns = np.arange(64)
        units = counts.sum(axis=2)
        rows: dict[str, list[JsonValue]] = {}
        for bit, stream in enumerate(RATES):
            bad = counts[:, :, (patterns >> bit & 1) == 1].sum(axis=2)
            columns = (np.arange(30), units[:, 1], bad[:, 1], units[:, 0], bad[:, 0])
            rows[stream] = np.stack(columns, -1).tolist()
        sealed = dict.fromkeys(rows, 30)
        seen = Evidence(
            target="tutor", epoch=1, segment=1, slice_seconds=60, sealed=sealed, rows=rows
        )
        return weigh(step, seen)

    return _timed_figure("all gates on 10⁷ raw rows in packed columns, 30 looks", verdict, 150)


def _one_look(requests_per_second: float, *, bar_ms: float) -> Figure:
    """A look in the middle of a hold, 50/50: both laws, both watches."""
    dice = np.random.default_rng(SEED + 2)
    units = dice.poisson(requests_per_second * 30, (30, 2))
    bad = dice.binomial(units, 0.01)
    harm = HarmWatch(alpha=0.003, late=0.25, spending=Spending.OPEN, hold_seconds=1_800)
    proof = ProofWatch(beta=0.05, hold_seconds=900)
    times: list[float] = []
    for look, ((n_c, n_b), (x_c, x_b)) in enumerate(zip(units.tolist(), bad.tolist(), strict=True)):
        began = time.perf_counter()
        harm.look((look + 1) * 60, noncentral_hypergeometric(n_c, n_b, x_c + x_b, 1.1), x_c)
        law = noncentral_hypergeometric(n_c, n_b, x_c + x_b, 1.5)
        proof.look((look + 1) * 60, law, mute=False)
        times.append((time.perf_counter() - began) * 1e3)
    measured = statistics.median(times)
    return Figure(
        what=f"one gate's 60-s look from counts, {requests_per_second:,.0f} requests/s, 50/50",
        bar=f"< {bar_ms:g} ms",
        measured=f"{measured:.2f} ms",
        met=measured < bar_ms,
        runs=len(times),
        seed=SEED + 2,
    )


def _offline_files() -> Figure:
    """Two files of 14,400 cases: read, paired, and every part of the offline gate weighed."""
    dice = np.random.default_rng(SEED + 4)
    plan = OfflinePlan(clustered=True, slices=SlicesPlan(by=("tense", "person")))
    with TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.jsonl", Path(folder) / "new.jsonl"
        for path, right in ((old, 0.80), (new, 0.81)):
            path.write_text(_cases(dice, right), encoding="utf-8")

        def verdict() -> OfflineVerdict:
            paired = pair_evals(
                old,
                new,
                cluster="verb",
                slices=("tense", "person"),
                baseline_artifact="sha256:" + "a" * 64,
                candidate_artifact="sha256:" + "b" * 64,
                safety_baseline=None,
                safety_candidate=None,
            )
            return weigh_offline(plan, paired.cases)

        if verdict().headline is None:
            raise RuntimeError(f"the offline gate could not weigh its cases: {verdict().why}")
        return _timed_figure(
            "offline gate from two files of 14,400 cases", verdict, 2_000, rounds=3
        )


def _cases(dice: np.random.Generator, right: float) -> str:
    lines: list[str] = []
    for case, score in enumerate((dice.random(CASES) < right).astype(float).tolist()):
        labels = {"tense": f"tense {case % 12}", "person": f"person {case % 6}"}
        row = {"case_id": f"case-{case}", "score": score, "slices": labels}
        lines.append(json.dumps({**row, "verb": f"verb {case % 200}", "output": "would add"}))
    return "\n".join(lines) + "\n"


def _help() -> Figure:
    """What anybody waits for who only wants to know a verb."""
    command = [sys.executable, "-m", "clients.main", "--help"]

    def told() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return _timed_figure("rampway --help, a new process", told, 300, rounds=5)


def _fuzz(crew: Crew) -> Figure:
    """The first tables of `python -m tests.fuzz_gates`, which takes a million by itself."""
    tables = crew.runs(4_000, least=200)
    command = (sys.executable, "-m", "tests.fuzz_gates", str(tables))
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    return Figure(
        what=f"fuzz: random tables without a NaN or a PASS on invalid input ({' '.join(command[1:])})",
        bar="none of 10⁶ (own command)",
        measured="none" if ran.returncode == 0 else "FAILED",
        met=ran.returncode == 0,
        runs=tables,
        seed=0,
    )


def _timed_figure(
    what: str, work: Callable[[], object], bar_ms: float, *, rounds: int = ROUNDS
) -> Figure:
    work()
    # The best round: what the work takes when nothing else wants the core.
    measured = min(_timed(work) for _ in range(rounds)) * 1e3
    return Figure(
        what=what,
        bar=f"≤ {bar_ms:g} ms",
        measured=f"{measured:.0f} ms",
        met=measured <= bar_ms,
        runs=rounds,
        seed=SEED,
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ratios() -> str:
    step, evidence = _release(10)[1]
    text = evidence.model_dump_json()
    plan, cases = _offline()
    rows = [
        _ratio("weigh one 5 % step, 180 slices", lambda: weigh(step, evidence), _naive(evidence)),
        _ratio(
            "read one look's evidence from JSON",
            lambda: Evidence.model_validate_json(text),
            _naive(evidence),
        ),
        _ratio("offline headline, 14,400 cases", lambda: weigh_offline(plan, cases), _means(cases)),
    ]
    return table(("what", "ours, ms", "other, ms", "ratio", "beside"), rows)


def _ratio(what: str, ours: Callable[[], object], other: Callable[[], object]) -> Sequence[str]:
    ours()
    other()
    pairs = [(_timed(ours), _timed(other)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    mine, theirs = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    return (what, f"{mine:.2f}", f"{theirs:.2f}", f"{ratio:.1f}", other.__doc__ or "")


def _naive(evidence: Evidence) -> Callable[[], object]:
    tables = [np.array(rows)[:, 1:].tolist() for rows in evidence.rows.values()]

    def z_each_look() -> list[float]:
        """A two-proportion z at every slice, which cries wolf"""
        scores: list[float] = []
        for table_ in tables:
            n1 = x1 = n0 = x0 = 0
            for a, b, c, d in table_:
                n1, x1, n0, x0 = n1 + a, x1 + b, n0 + c, x0 + d
                p = (x1 + x0) / (n1 + n0)
                spread = math.sqrt(p * (1 - p) * (1 / n1 + 1 / n0)) or 1.0
                scores.append((x1 / n1 - x0 / n0) / spread)
        return scores

    return z_each_look


def _offline() -> tuple[OfflinePlan, PairedCases]:
    dice = np.random.default_rng(SEED + 3)
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


def _means(cases: PairedCases) -> Callable[[], object]:
    def means() -> float:
        """Two plain means, which say nothing about chance"""
        return statistics.fmean(cases.new) - statistics.fmean(cases.old)

    return means
