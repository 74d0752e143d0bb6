"""`rampway simulate`: thousands of virtual releases of one plan on all cores, seeded, with progress."""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from clients.output import tell
from rampway.release.plan import ReleasePlan
from rampway.release.scenarios import Quantiles, Simulated, scenarios, sum_up
from rampway.release.simulation import Played, World, play
from rampway.reports.words import duration, integer, percent

RUNS_PER_TASK = 10
BAR_CHARS = 30
PLANNED_RATES = {"error": 0.01, "late": 0.0, "refusal": 0.02, "false_positive": 0.004}


@dataclass(frozen=True)
class Asked:
    """How often, in which traffic, from which seed."""

    runs: int
    units_per_second: float
    baseline: Mapping[str, float]
    seed: int


def simulate(plan: ReleasePlan, asked: Asked) -> tuple[Simulated, ...]:
    """Play the plan `runs` times in each world; the same seed gives the same figures on any machine."""
    quality = any(step.quality is not None for step in plan.steps)
    worlds = scenarios(asked.baseline, asked.units_per_second, quality=quality)
    results: list[list[Played]] = [[] for _ in worlds]
    done, total = 0, len(worlds) * asked.runs
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=os.cpu_count() or 1, mp_context=context) as pool:
        tasks: dict[Future[list[Played]], int] = {
            pool.submit(_play_some, plan, world, asked.seed, w, first, count): w
            for w, world in enumerate(worlds)
            for first, count in _pieces(asked.runs)
        }
        for task in as_completed(tasks):
            played = task.result()
            results[tasks[task]] += played
            done += len(played)
            _progress(done, total)
    return tuple(sum_up(world, played) for world, played in zip(worlds, results, strict=True))


def baseline_rates(plan: ReleasePlan, given: Mapping[str, float]) -> dict[str, float]:
    """The baseline's rate of each stream that the plan counts: given, by definition, or planned."""
    rates: dict[str, float] = {}
    for stage in plan.watched:
        for gate in getattr(stage, "gates", ()):
            if gate.quantile is not None:
                rates[gate.stream] = 1 - gate.quantile
            else:
                rates[gate.stream] = given.get(gate.stream, PLANNED_RATES.get(gate.stream, 0.01))
    return rates


def simulated_text(plan: ReleasePlan, asked: Asked, results: Sequence[Simulated]) -> str:
    """The table of `rampway simulate`."""
    harmless = results[0]
    stopped = 1 - harmless.promoted_rate
    error = 100 * harmless.standard_error
    answer = (
        f"A harmless release is stopped {percent(stopped)} of the time "
        f"(SE {error:.1f} %, {integer(harmless.runs)} runs; error budget "
        f"{percent(plan.error_budget)}, the rest are deadlines)."
    )
    lines = [
        answer,
        f"{'world':32} {'promoted':>9} {'found, median':>14} {'p95':>10} {'exposed p95':>12}  ends",
    ]
    lines += [_row(result) for result in results]
    rates = ", ".join(
        f"{stream} {percent(rate)}"
        for stream, rate in asked.baseline.items()
        if not stream.startswith("latency")
    )
    lines.append(
        f"{asked.units_per_second:g} units per second; baseline {rates}; seed {asked.seed}. "
        "Times run from the first share of users."
    )
    return "\n".join(lines)


def _row(result: Simulated) -> str:
    where = ", ".join(
        f"{stage} {integer(count)}"
        for stage, count in sorted(result.stages.items(), key=lambda item: -item[1])[:3]
    )
    return (
        f"{result.world.name:32} {percent(result.promoted_rate):>9} "
        f"{_time(result.detection.median):>14} {_time(result.detection.p95):>10} "
        f"{_units(result.exposed):>12}  {where}"
    ).rstrip()


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _units(exposed: Quantiles) -> str:
    return "-" if exposed.p95 is None else integer(round(exposed.p95))


def _pieces(runs: int) -> Iterator[tuple[int, int]]:
    for first in range(0, runs, RUNS_PER_TASK):
        yield first, min(RUNS_PER_TASK, runs - first)


def _play_some(
    plan: ReleasePlan, world: World, seed: int, number: int, first: int, count: int
) -> list[Played]:
    """Some plays of one world; each run has dice of its own, so that pieces can be cut anywhere."""
    return [
        play(plan.watched, world, np.random.default_rng((seed, number, run)))
        for run in range(first, first + count)
    ]


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        filled = BAR_CHARS * done // total
        bar = "#" * filled + "." * (BAR_CHARS - filled)
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{bar} {done:,} of {total:,} releases{end}")
        sys.stderr.flush()
    elif done * 10 // total > (done - RUNS_PER_TASK) * 10 // total:
        tell(f"{done:,} of {total:,} releases")
