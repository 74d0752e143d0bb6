"""The screen of `rampway plan`: can this traffic decide, when, at what cost, and if not, what would."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rampway.gates.evidence import Evidence
from rampway.gates.plans import Arm, Must
from rampway.ports import Unreachable
from rampway.release.forecast import Decidable, Forecast, StageForecast, forecast
from rampway.release.minimums import BelowMinimums
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.records import Target
from rampway.release.spec import Spec
from rampway.release.splits import Refused
from rampway.reports.texts import columns
from rampway.reports.words import (
    WIDTH,
    demo_mark,
    demo_sentence,
    duration,
    integer,
    percent,
    plain,
    shorten,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from rampway.ports import EvidenceSource, Traffic

ASSUMED_RATES = {"error": 0.01, "late": 0.001, "refusal": 0.01}
SHOWN_GATES = {"error": "errors", "latency p95": "over p95"}
SLICES_MIN = 6
SLICES_MAX = 60  # ten minutes of ten-second slices: the rate of now, not of last night
DIFF_LINES = 20
SURE = 0.99  # from here a digit after the point matters
ALMOST_SURE = 0.999
SUGGESTED_STEPS = ((5, 25, 100), (10, 50, 100))  # each with a step that must PASS
SUGGESTED_HOLDS = ("30m", "1h", "2h", "4h", "12h", "1d", "3d", "7d")
SUGGESTED_DEADLINE = "6x"
SUGGESTED_HOLDBACKS = ("1%", "10%")


@dataclass(frozen=True)
class Load:
    """What is known of a target's traffic: requests per second, and the baseline's bad units."""

    requests_per_second: float | None
    rates: Mapping[str, float]
    words: str


async def measure_load(plan: ReleasePlan, traffic: "Traffic", evidence: "EvidenceSource") -> Load:
    """Read the load and the baseline's rates from the gateway's counts, as far as it has them."""
    try:
        observed = await traffic.observe(plan.target)
        counts = await evidence.baseline(target=plan.target, last_units=plan.baseline_units)
        slices = await evidence.stage(
            target=plan.target, epoch=observed.epoch, segment=observed.segment, plan=plan.steps[0]
        )
    except (Refused, Unreachable) as silent:
        return Load(None, ASSUMED_RATES, f"baseline assumed, not read: {silent}")
    if counts.units == 0:
        return Load(None, ASSUMED_RATES, "baseline assumed, not read: it has served nothing yet")
    rates = {**ASSUMED_RATES, **{name: bad / counts.units for name, bad in counts.bad.items()}}
    told = ", ".join(f"{name} {percent(rates[name])}" for name in sorted(counts.bad))
    return Load(
        _per_second(slices),
        rates,
        f"baseline live, {integer(counts.units)} units: {told}",
    )


def _per_second(slices: Evidence) -> float | None:
    """Requests per second over the newest sealed slices; None from too few, or from silence.

    A row is `[i, candidate units, bad, baseline units, bad]`.
    """
    sealed = slices.sealed.get("error", 0)
    first = max(0, sealed - SLICES_MAX)
    if sealed - first < SLICES_MIN:
        return None
    units = 0
    for row in slices.rows.get("error", []):
        match row:
            case [int(i), int(candidate), _, int(baseline), _] if i >= first:
                units += candidate + baseline
            case _:
                continue  # an older slice, or one that was not counted
    return units / ((sealed - first) * slices.slice_seconds) or None


def can_decide(told: Forecast) -> bool:
    """Whether every stage reaches its verdict by its deadline."""
    return told.decidable is not Decidable.NEVER


def forecast_text(
    plan: ReleasePlan,
    told: Forecast,
    load: Load,
    *,
    target: Target,
    change: Sequence[str] = (),
    diff: Sequence[str] = (),
) -> str:
    """What the traffic can decide; `change` is what would let it decide, `diff` what is released."""
    lines = list(_table(plan, told)) if can_decide(told) else list(_refusal(told, change))
    first, *rest = lines
    changes = [f"{'' if i else 'changes':<10}{plain(line)}" for i, line in enumerate(diff)]
    at = f"at {told.requests_per_second:.3g} requests per second; {load.words}"
    lines = [f"{demo_mark(target)}{first}", *rest, at, *changes, demo_sentence(target)]
    return "\n".join(shorten(line, WIDTH) for line in lines if line)


def _table(plan: ReleasePlan, told: Forecast) -> Iterator[str]:
    cost = f", cost about {told.cost.total:,.0f} {told.cost.currency}" if told.cost.total else ""
    yield (
        f"This traffic can decide. Expected {duration(told.expected_seconds)}, "
        f"worst {duration(told.worst_seconds)}{cost}."
    )
    sees = f"sees, power .80 ({' / '.join(SHOWN_GATES.values())})"
    rows = [["", "units", sees, "role", "harmless PASS"]]
    rows += [_row(plan, stage) for stage in told.stages]
    yield from columns(rows)
    yield from _cost(told)


def _row(plan: ReleasePlan, stage: StageForecast) -> list[str]:
    passes = "-" if stage.pass_chance is None else _chance(stage.pass_chance)
    if stage.kind == "step" and stage.must is Must.SCREEN:
        units = next(step.units for step in plan.steps if step.name == stage.stage)
        noun = "control units" if stage.units_arm is Arm.BASELINE else "units"
        passes = f"no BREACH, {integer(units)} {noun}"
    role = "screen" if stage.must is Must.SCREEN else "must PASS"
    return [stage.stage, _whole(stage.units), _sees(stage), role, passes]


def _sees(stage: StageForecast) -> str:
    if stage.kind == "shadow":
        return "nothing" if stage.finds_mean is None else f"judge mean -{stage.finds_mean:.3f} sd"
    shown = [gate for gate in stage.gates if gate.gate in SHOWN_GATES]
    return " / ".join(_finds(gate.baseline_rate, gate.finds_rate) for gate in shown)


def _finds(rate: float, found: float | None) -> str:
    """`1.0 to 2.5 %`: from the baseline's rate to the smallest one that is found."""
    low = f"{100 * rate:.1f}"
    return f"{low} to {100 * found:.1f} %" if found is not None else "nothing"


def _chance(chance: float) -> str:
    if chance > ALMOST_SURE:
        return f"over {percent(ALMOST_SURE)}"
    return percent(chance, 0 if chance < SURE else 1)


def _whole(units: float) -> str:
    return integer(round(units))


def _cost(told: Forecast) -> Iterator[str]:
    cost = told.cost
    if not cost.shadow_calls:
        return
    parts = [
        f"{name} {_whole(calls)} calls{f' {price:,.2f} {cost.currency}' if price else ''}"
        for name, calls, price in (
            ("shadow", cost.shadow_calls, cost.shadow_cost),
            ("judge", cost.judge_calls, cost.judge_cost),
        )
    ]
    yield f"cost      {'; '.join(parts)}"


def _refusal(told: Forecast, change: Sequence[str]) -> Iterator[str]:
    yield f"refused [cannot decide]: {told.why}."
    rows = [
        [
            stage.stage,
            f"{_whole(stage.units)} {_noun(stage)}",
            f"sees {_error(stage)}; {_needs(stage)}",
        ]
        for stage in told.stages
    ]
    yield from columns(rows)
    yield from change
    or_else = 'rampway plan --accept-underpowered --reason "…"   (recorded)'
    yield f"{'Or      ' if change else 'Next: '}{or_else}"


def _error(stage: StageForecast) -> str:
    found = next((gate for gate in stage.gates if gate.gate == "error"), None)
    if found is None or found.finds_rate is None:
        return _sees(stage) if found is None else "nothing"
    return f"{_finds(found.baseline_rate, found.finds_rate)} errors"


def _noun(stage: StageForecast) -> str:
    if stage.kind == "shadow":
        return "pairs"
    return "control" if stage.units_arm is Arm.BASELINE else "units"


def _needs(stage: StageForecast) -> str:
    if stage.seconds_needed is None:
        return "never decided"
    if stage.decidable is Decidable.BY_HOLD:
        return "decided by the hold's end"
    return f"its verdict needs {duration(stage.seconds_needed)}"


def suggest(spec: Spec, target: Target, load: Load, requests_per_second: float) -> tuple[str, ...]:
    """The first of a few slower plans that this traffic can decide, in lines; none when none can.

    Tried in the order in which they cost time: steps and holds first, then a larger control.
    """
    for hold in SUGGESTED_HOLDS:
        for holdback in SUGGESTED_HOLDBACKS:
            for steps in SUGGESTED_STEPS:
                told = _tried(spec, target, load, requests_per_second, steps, hold, holdback)
                if told is not None:
                    keys = f"steps: {list(steps)}, hold: {hold}, deadline: {SUGGESTED_DEADLINE}"
                    times = (
                        f"{duration(told.expected_seconds)}, worst {duration(told.worst_seconds)}"
                    )
                    return (
                        f"Change  canary: {{{keys}, holdback: {holdback}}}, shadow: {{rate: 100%}}",
                        f"Then    expected {times}",
                    )
    return ()


def _tried(
    spec: Spec,
    target: Target,
    load: Load,
    requests_per_second: float,
    steps: tuple[int, ...],
    hold: str,
    holdback: str,
) -> Forecast | None:
    content = spec.model_dump(mode="json", exclude_none=True)
    content["canary"] |= {
        "steps": list(steps),
        "hold": hold,
        "deadline": SUGGESTED_DEADLINE,
        "holdback": holdback,
    }
    gates: dict[str, dict[str, JsonValue] | str] = content["gates"]
    for gate in gates.values():
        if isinstance(gate, dict):
            gate.pop("margin", None)  # one for each step that must PASS: other steps, other margins
    if "shadow" in content:
        content["shadow"] |= {"rate": "100%"}
    try:
        plan = compile_plan(Spec.model_validate(content), target)
    except (BelowMinimums, ValueError):
        return None
    told = forecast(plan, requests_per_second=requests_per_second, baseline=load.rates)
    return told if can_decide(told) else None
