"""How often each rule stops a harmless candidate, and how soon it finds a harmful one."""

import math
from functools import partial

import numpy as np

from benchmarks import rivals
from benchmarks.crews import Crew
from benchmarks.figures import Figure, Section, share, standard_error, table
from benchmarks.traffic import Floats, Traffic, Watch, first_breaches, simulated

ALPHAS = (0.05, 0.01, 0.0025)
HOLDS = 60_000
SEED = 101

INCIDENT = np.where(np.arange(30) < 15, 0.01, 0.03)
HARMLESS = Traffic()
CASES = (
    ("harmless", HARMLESS),
    ("incident in both arms", Traffic(candidate_bad=INCIDENT, baseline_bad=INCIDENT)),
    ("1 → 2 %", Traffic(candidate_bad=0.02)),
    ("1 → 5 %", Traffic(candidate_bad=0.05)),
    ("1 → 10 %", Traffic(candidate_bad=0.10)),
    ("outage", Traffic(candidate_bad=1.0)),
)


def measure(crew: Crew) -> Section:
    """The false breaches of the engine at each level, and every rule on the same six cases."""
    figures = [_false_breaches(crew, alpha) for alpha in ALPHAS]
    return Section("False alarms and detection", tuple(figures), beside=_beside(crew))


def _false_breaches(crew: Crew, alpha: float) -> Figure:
    holds = crew.runs(HOLDS, least=400)
    seed = SEED + ALPHAS.index(alpha)
    task = partial(simulated, HARMLESS, Watch(alpha))
    found = crew.spread(f"false breaches at {alpha}", task, holds, seed)
    measured = float(np.isfinite(found).mean())
    error = standard_error(alpha, holds)
    return Figure(
        what=f"false breach at alpha = {alpha}, looks each minute",
        bar="≤ alpha + 3 SE",
        measured=share(measured),
        met=measured <= alpha + 3 * error,
        runs=holds,
        seed=seed,
        error=standard_error(measured, holds),
    )


def _beside(crew: Crew) -> str:
    holds = crew.runs(8_000, least=200)
    head = ["rule, at alpha = .05 where it has a level", *(name for name, _ in CASES)]
    columns = [
        crew.spread(f"every rule, {name}", partial(_every_rule, traffic), holds, SEED + 10 + index)
        for index, (name, traffic) in enumerate(CASES)
    ]
    names = ["**the engine**", *((rule.__doc__ or "").split(" (")[0] for rule in rivals.RULES)]
    rows: list[list[str]] = []
    for place, name in enumerate(names):
        cells = [np.array([times[place] for times in column]) for column in columns]
        rows.append([name, *map(_alarm_words, cells[:2]), *map(_found_words, cells[2:])])
    sources = "; ".join(f"{rule.__doc__}" for rule in rivals.RULES)
    return (
        f"The same {holds:,} holds for every rule, looks each minute (seeds {SEED + 10} and on). First "
        "two columns: part of harmless holds with an alarm. Others: part found, median minute (∞: more "
        f"than half are never found).\n\n{table(head, rows)}\n\n"
        f"The rules, as in `benchmarks/rivals.py`: {sources}. The last three have no level; Kayenta "
        "compares ranks of per-minute rates and would want a baseline as small as the candidate."
    )


def _every_rule(traffic: Traffic, dice: np.random.Generator, holds: int) -> list[list[float]]:
    """For each hold, the first alarm of the engine and of each rival."""
    tables = traffic.tables(dice, holds)

    alarms = [np.array(first_breaches(traffic, Watch(0.05), tables))]
    alarms += [rule(tables, 0.05) for rule in rivals.RULES]
    times: list[list[float]] = np.stack(alarms, axis=1).tolist()
    return times


def _alarm_words(times: Floats) -> str:
    return f"{np.isfinite(times).mean():.3f}"


def _found_words(times: Floats) -> str:
    median = float(np.median(times))
    return f"{np.isfinite(times).mean():.2f}, {'∞' if math.isinf(median) else f'{median:.0f}'}"
