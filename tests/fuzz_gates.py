# ruff: noqa: T201 - a command line prints
"""Weighs random plans on random tables, many of them broken: `python -m tests.fuzz_gates 1000000`.

Table n is made from seed n alone, so that a failure is repeated by `--first n` with one table.
"""

import argparse
import math
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import NamedTuple

from pydantic import JsonValue

from rampway.gates.evidence import Evidence
from rampway.gates.plans import (
    AbPlan,
    Arm,
    Must,
    ProbeGate,
    QualityGate,
    RateGate,
    Role,
    SampleRatioGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    Spending,
    StagePlan,
    StepPlan,
)
from rampway.gates.verdicts import StageVerdict, Verdict
from rampway.gates.weigh import Weigher, evidence_at, weigh

CHUNK = 250  # tables that a process weighs before it tells
SLICES_MAX = 10
SLICE_SECONDS = 10.0
LOST = 0.25  # part of the slices without a usable row that have no row at all
GROWN_EVERY = 8  # each so manieth table is also weighed slice by slice
BAD_CELLS: tuple[JsonValue, ...] = (
    math.nan, math.inf, -math.inf, -1, 1.0, 0.5, True, "3", None, 10**9 + 1, 2**70, {},
)  # fmt: skip


@dataclass
class Stream:
    """Rows of one stream, and what was broken of them: told by who broke it, not by the gates."""

    rows: list[JsonValue] = field(default_factory=list)
    sealed: int = 0
    usable: int = 0
    last_is_usable: bool = False
    units: Counter[Arm] = field(default_factory=Counter)


class Case(NamedTuple):
    """A plan, its streams, the names of those that decide, and of those whose arms must not be empty."""

    plan: StagePlan
    streams: dict[str, Stream]
    deciding: tuple[str, ...]
    compared: tuple[str, ...]

    @property
    def evidence(self) -> Evidence:
        # model_construct: a source may hand over what no valid JSON holds.
        return Evidence.model_construct(
            target="tutor",
            epoch=1,
            segment=1,
            slice_seconds=SLICE_SECONDS,
            sealed={name: stream.sealed for name, stream in self.streams.items()},
            rows={name: stream.rows for name, stream in self.streams.items()},
            sources={},
        )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("tables", type=int, nargs="?", default=100_000)
    asked.add_argument("--first", type=int, default=0, help="number of the first table")
    asked.add_argument("--processes", type=int, default=os.cpu_count())
    args = asked.parse_args()
    sys.exit(fuzz(args.first, args.tables, args.processes))


def fuzz(first: int, tables: int, processes: int) -> int:
    """Weigh `tables` random tables from number `first` on; the number of broken rules, at most 1."""
    began, done, seen, broken = time.monotonic(), 0, Counter[str](), list[str]()
    chunks = [(n, min(CHUNK, first + tables - n)) for n in range(first, first + tables, CHUNK)]
    with get_context("spawn").Pool(processes) as pool:
        for counts, found in pool.imap_unordered(weigh_chunk, chunks):
            done += counts.total()
            seen += counts
            broken += found
            rate = done / (time.monotonic() - began)
            left = duration_left((tables - done) / rate)
            print(
                f"\r{done:,} of {tables:,} tables, {rate:,.0f}/s, {left} ", end="", file=sys.stderr
            )
            if broken:
                break
    print(file=sys.stderr)
    verdicts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(seen.items()))
    print(f"{done:,} tables from {first:,} on: {verdicts}")
    for line in broken:
        print(line)
    print("BROKEN" if broken else "no NaN, no error, no PASS on invalid input")
    return 1 if broken else 0


def duration_left(seconds: float) -> str:
    return f"{seconds / 60:.0f} min to go" if seconds >= 120 else f"{seconds:.0f} s to go"


def weigh_chunk(chunk: tuple[int, int]) -> tuple[Counter[str], list[str]]:
    """The verdicts of some tables, and the rules that they broke."""
    warnings.simplefilter("error")
    seen: Counter[str] = Counter()
    broken: list[str] = []
    for number in range(chunk[0], chunk[0] + chunk[1]):
        case = random_case(number)
        try:
            verdict = weigh(case.plan, case.evidence)
            broken += [f"table {number}: {rule}" for rule in broken_rules(number, case, verdict)]
            seen[verdict.verdict.value] += 1
        except Exception as failed:  # noqa: BLE001 - any error is what is looked for
            broken.append(f"table {number}: {type(failed).__name__}: {failed}")
            seen["error"] += 1
    return seen, broken


def broken_rules(number: int, case: Case, verdict: StageVerdict) -> Iterator[str]:
    """The rules that a verdict breaks."""
    if type(verdict).model_validate_json(verdict.model_dump_json()) != verdict:
        yield "the verdict is another one after it was stored"
    if verdict.verdict is Verdict.PASS:
        yield from (f"PASS although {why}" for why in reasons_against(case))
    if number % GROWN_EVERY == 0:
        weigher = Weigher(case.plan)
        for look in range(SLICES_MAX + 1):
            grown = weigher.look(evidence_at(case.evidence, look))
        if grown != verdict:
            yield "slice by slice the verdict is another one"


def reasons_against(case: Case) -> Iterator[str]:
    """Why this evidence must not pass this plan."""
    plan = case.plan
    if not case.deciding:
        yield "no gate decides"
    for name in case.deciding:
        stream = case.streams[name]
        if not stream.last_is_usable:
            yield f"the last slice of {name} cannot be counted"
        if stream.usable < plan.coverage * stream.sealed - 1e-9:
            yield f"only {stream.usable} of {stream.sealed} slices of {name} can be counted"
        early = stream.sealed * SLICE_SECONDS < plan.hold_seconds * (1 - 1e-9)
        if early and not isinstance(plan, ShadowPlan):
            yield f"the hold is not over for {name}"
    arms = (Arm.CANDIDATE,) if isinstance(plan, SettlePlan | ShadowPlan) else tuple(Arm)
    for name in case.compared:
        empty = (arm for arm in arms if not case.streams[name].units[arm])
        yield from (f"{arm} has no unit in {name}" for arm in empty)


RATE_STREAMS = ("error", "late", "refusal")


def random_case(number: int) -> Case:
    """The plan and the evidence with this number, always the same."""
    dice = random.Random(number)
    make = dice.choice([_step, _step, _step, _ab, _shadow, _settle])
    return make(dice)


def _watched(dice: random.Random) -> dict[str, object]:
    hold = dice.randint(1, SLICES_MAX)
    return {
        "name": "stage",
        "hold_seconds": hold * SLICE_SECONDS * dice.choice([1, 1, 0.9]),
        "deadline_seconds": 3 * hold * SLICE_SECONDS,
        "slice_seconds": SLICE_SECONDS,
        "coverage": dice.choice([0.5, 0.75, 0.9, 1.0]),
        "blind_limit_seconds": dice.choice([20.0, 120.0]),
    }


def _step(dice: random.Random) -> Case:
    gates = [_rate_gate(dice, name) for name in dice.sample(RATE_STREAMS, dice.randint(0, 3))]
    streams = {gate.stream: _rates(dice) for gate in gates}
    roles = [(gate.stream, gate.role) for gate in gates]
    compared = list(roles)
    quality = probes = ratio = None
    if dice.random() < 0.3:
        quality = QualityGate(
            role=dice.choice(list(Role)),
            levels=dice.choice([2, 3, 5, 11]),
            alpha=_alpha(dice),
            margin_sd=dice.choice([None, 0.05, 0.5, 3.0]),
        )
        streams["quality"] = _quality(dice, quality.levels)
        roles.append(("quality", quality.role))
    if dice.random() < 0.3:
        probes = ProbeGate(role=dice.choice(list(Role)), alpha=_alpha(dice))
        streams["safety"] = _stream(dice, lambda: [_few(dice) for _ in range(4)] + [_rarely(dice)])
        roles.append(("safety", probes.role))
    if dice.random() < 0.3 and gates:
        ratio = SampleRatioGate(stream=gates[0].stream, role=dice.choice(list(Role)))
        roles.append((ratio.stream, ratio.role))
    plan = StepPlan.model_validate(
        _watched(dice)
        | {
            "share_bp": dice.choice([0, 100, 500, 2_500, 9_900, 10_000]),
            "must": dice.choice(list(Must)),
            "units": dice.choice([0, 0, 1, 300]),
            "units_arm": dice.choice(list(Arm)),
            "gates": tuple(gates),
            "quality": quality,
            "probes": probes,
            "sample_ratio": ratio,
        }
    )
    return Case(plan, streams, _deciding(roles), _deciding(compared))


def _ab(dice: random.Random) -> Case:
    gates = [_rate_gate(dice, name) for name in dice.sample(RATE_STREAMS, dice.randint(1, 3))]
    plan = AbPlan.model_validate(
        _watched(dice)
        | {
            "share_bp": dice.choice([500, 5_000]),
            "units": dice.choice([0, 0, 300]),
            "slices_per_look": dice.randint(1, 4),
            "gates": tuple(gates),
            "sample_ratio": SampleRatioGate(stream=gates[0].stream)
            if dice.random() < 0.3
            else None,
        }
    )
    streams = {gate.stream: _rates(dice) for gate in gates}
    roles = [(gate.stream, gate.role) for gate in gates]
    compared = list(roles)
    if plan.sample_ratio is not None:
        roles.append((plan.sample_ratio.stream, plan.sample_ratio.role))
    return Case(plan, streams, _deciding(roles), _deciding(compared))


def _shadow(dice: random.Random) -> Case:
    levels = dice.choice([2, 3, 5, 101])
    plan = ShadowPlan.model_validate(
        _watched(dice)
        | {
            "rate_bp": 500,
            "pairs": dice.choice([1, 100, 10**6]),
            "levels": levels,
            "alpha": _alpha(dice),
            "late": _late(dice),
            "spending": dice.choice(list(Spending)),
            "margin_sd": dice.choice([0.03, 0.5, 5.0]),
        }
    )
    stream = Stream()

    def row() -> list[JsonValue]:
        cells: list[JsonValue] = []
        for _ in range(dice.randint(0, 4)):
            pairs = _few(dice)
            stream.units[Arm.CANDIDATE] += pairs
            cells.append([dice.randrange(levels), dice.randrange(levels), pairs])
        return [cells, _few(dice)]

    return Case(plan, {"judge": _stream(dice, row, stream)}, ("judge",), ("judge",))


def _settle(dice: random.Random) -> Case:
    gates = tuple(
        SettleGate(
            name=name,
            stream=name,
            alpha=_alpha(dice),
            baseline_rate=dice.choice([None, 0.0, 1e-6, 0.01, 0.5, 1.0]),
        )
        for name in dice.sample(RATE_STREAMS, dice.randint(0, 3))
    )
    plan = SettlePlan.model_validate(_watched(dice) | {"gates": gates})
    streams = {gate.stream: _rates(dice) for gate in gates}
    return Case(plan, streams, tuple(streams), tuple(streams))


def _deciding(roles: list[tuple[str, Role]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stream for stream, role in roles if role is not Role.INFORM))


def _rate_gate(dice: random.Random, stream: str) -> RateGate:
    return RateGate(
        name=stream,
        stream=stream,
        role=dice.choice([Role.GUARD, Role.GUARD, *Role]),
        alpha=_alpha(dice),
        tolerance=dice.choice([1.0, 1.1, 2.0, 50.0]),
        late=_late(dice),
        spending=dice.choice(list(Spending)),
        beta=dice.choice([0.05, 0.3]),
        margin_odds=dice.choice([None, 1.01, 2.0, 15.0]),
        margin_abs=dice.choice([None, 0.005, 0.15, 0.99]),
        baseline_rate=dice.choice([None, 0.0, 1e-9, 0.01, 0.4, 1.0]),
        quantile=dice.choice([None, None, 0.95]),
        threshold_bucket=dice.choice([None, 393, -5]),
    )


def _alpha(dice: random.Random) -> float:
    return dice.choice([1e-6, 0.001, 0.05, 0.4])


def _late(dice: random.Random) -> float:
    return dice.choice([0.0, 0.25, 0.9])


def _rates(dice: random.Random) -> Stream:
    size = dice.choice([3, 40, 40, 3_000, 200_000 if dice.random() < 0.1 else 300])
    huge = dice.random() < 0.001
    shares = (dice.choice([0, 0.01, 0.5, 1]), dice.choice([0, 0.01, 0.5, 1]))
    stream = Stream()

    def row() -> list[JsonValue]:
        cells: list[JsonValue] = []
        for arm, rate in zip((Arm.CANDIDATE, Arm.BASELINE), shares, strict=True):
            units = (
                10**9 if huge else dice.choice([0, dice.randint(0, size), dice.randint(0, size)])
            )
            # 10**9 units with half of them bad would take a second each.
            bad = min(units, 1_000) if huge else round(units * rate * dice.random())
            stream.units[arm] += units
            cells += [units, bad]
        return cells

    return _stream(dice, row, stream)


def _quality(dice: random.Random, levels: int) -> Stream:
    def row() -> list[JsonValue]:
        cells: list[JsonValue] = [
            [dice.randrange(levels), _few(dice), _few(dice)] for _ in range(dice.randint(0, 4))
        ]
        return [cells, _rarely(dice), _rarely(dice)]

    return _stream(dice, row)


def _few(dice: random.Random) -> int:
    return dice.choice([0, 1, dice.randint(0, 60)])


def _rarely(dice: random.Random) -> int:
    return 1 if dice.random() < 0.02 else 0


def _stream(
    dice: random.Random, row: Callable[[], list[JsonValue]], stream: Stream | None = None
) -> Stream:
    """Slices in order; in half of the streams some are lost, broken, doubled or not sealed yet."""
    stream = stream or Stream()
    harm = dice.choice([0, 0, 0, 0.1, 0.5])
    last_usable = -1
    for index in range(dice.choice([SLICES_MAX, dice.randint(0, SLICES_MAX)])):
        units_before = stream.units.copy()
        fields: list[JsonValue] = [index, *row()]
        stream.sealed += 1
        stream.last_is_usable = dice.random() >= harm
        if stream.last_is_usable:
            stream.usable += 1
            last_usable = index
            stream.rows.append(fields)
            continue
        stream.units = units_before
        if dice.random() < LOST:
            continue
        stream.rows.append(_broken(dice, fields, last_usable))
    if dice.random() < harm:
        stream.rows.append([stream.sealed + dice.randint(0, 2), 0, 0, 0, 0])  # not sealed yet
    return stream


def _broken(dice: random.Random, fields: list[JsonValue], last_usable: int) -> list[JsonValue]:
    """A row that cannot be counted: a bad cell, too few or too many, or a time that does not advance."""
    match dice.randrange(4):
        case 0:
            cell = dice.randrange(len(fields))
            return [*fields[:cell], dice.choice(BAD_CELLS), *fields[cell + 1 :]]
        case 1:
            return fields[: dice.randrange(len(fields))]
        case 2:
            return [last_usable, *fields[1:]]
        case _:
            return [*fields, 0]


if __name__ == "__main__":
    main()
