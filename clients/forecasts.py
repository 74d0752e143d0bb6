"""The screen of `rampway plan`: can this traffic decide, when, at what cost, and if not, what would."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clients.loads import Load
from clients.proposing import change_lines, found_line
from rampway.gates.plans import Arm, Must
from rampway.release.costs import CostForecast
from rampway.release.forecast import Forecast, StageForecast, forecast
from rampway.release.pace import Decidable
from rampway.release.plan import ReleasePlan
from rampway.release.proposals import Found, Proposal, Regime, find_gross_harm, propose
from rampway.release.records import Target
from rampway.release.sections import Unit
from rampway.release.spec import Spec
from rampway.release.volumes import Volume, volumes
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

SHOWN_GATES = {"error": "errors", "latency p95": "over p95"}
DIFF_LINES = 20
SURE = 0.99  # from here a digit after the point matters
ALMOST_SURE = 0.999


@dataclass(frozen=True)
class Outlook:
    """Everything that `rampway plan` tells: the plan, its traffic, and what both lead to."""

    plan: ReleasePlan
    target: Target
    load: Load
    told: Forecast
    finds: Found | None
    proposal: Proposal | None
    volumes: tuple[Volume, ...]

    @property
    def decides(self) -> bool:
        """Whether every stage reaches its verdict by its deadline."""
        return self.told.decidable is not Decidable.NEVER


def look_ahead(
    plan: ReleasePlan,
    spec: Spec,
    target: Target,
    load: Load,
    *,
    requests_per_second: float,
    judge_sd: float | None = None,
) -> Outlook:
    """Weigh a plan against its traffic and, where that cannot decide it, look for one that it can."""
    told = forecast(
        plan, requests_per_second=requests_per_second, baseline=load.rates, judge_sd=judge_sd
    )
    fits = told.decidable is not Decidable.NEVER
    return Outlook(
        plan=plan,
        target=target,
        load=load,
        told=told,
        finds=find_gross_harm(plan, units_per_second=requests_per_second, baseline=load.rates),
        proposal=None
        if fits
        else propose(
            spec,
            target,
            units_per_second=requests_per_second,
            baseline=load.rates,
            judge_sd=judge_sd,
        ),
        volumes=volumes(plan, spec, target, baseline=load.rates, judge_sd=judge_sd),
    )


def outlook_text(outlook: Outlook, *, diff: Sequence[str] = ()) -> str:
    """What the traffic can decide; `diff` is what the release changes."""
    told, plan = outlook.told, outlook.plan
    lines = list(_table(outlook)) if outlook.decides else list(_refusal(outlook))
    first, *rest = lines
    changes = [f"{'' if i else 'changes':<10}{plain(line)}" for i, line in enumerate(diff)]
    what = "requests" if plan.unit is Unit.REQUEST else f"new {plan.unit}s"
    at = f"at {told.requests_per_second:.3g} {what} a second; {outlook.load.words}"
    mark = demo_mark(outlook.target)
    lines = [f"{mark}{first}", *rest, at, *changes, demo_sentence(outlook.target)]
    return "\n".join(shorten(line, WIDTH) for line in lines if line)


def _table(outlook: Outlook) -> Iterator[str]:
    told = outlook.told
    cost = f", cost about {told.cost.total:,.0f} {told.cost.currency}" if told.cost.total else ""
    yield (
        f"This traffic can decide. Expected {duration(told.expected_seconds)}, "
        f"worst {duration(told.worst_seconds)}{cost}."
    )
    shown = [*SHOWN_GATES.values(), *(["quality"] if _judges(told) else [])]
    rows = [["", "units", f"sees, power .80 ({' / '.join(shown)})", "role", "harmless PASS"]]
    rows += [_row(outlook.plan, stage) for stage in told.stages]
    yield from columns(rows)
    yield from _facts(outlook)
    yield from _costs(outlook)


def _judges(told: Forecast) -> bool:
    return any(stage.quality is not None for stage in told.stages)


def _row(plan: ReleasePlan, stage: StageForecast) -> list[str]:
    passes = "-" if stage.pass_chance is None else _chance(stage.pass_chance)
    role = "screen" if stage.must is Must.SCREEN else "must PASS"
    if stage.kind == "step" and stage.must is Must.SCREEN:
        units = next(step.units for step in plan.steps if step.name == stage.stage)
        noun = "control" if stage.units_arm is Arm.BASELINE else "units"
        passes = f"no BREACH, {integer(units)} {noun}"
    if stage.kind == "ab":
        role, passes = "compare", f"no BREACH, {_whole(stage.units_needed or 0)} an arm"
    return [stage.stage, _whole(stage.units), _sees(stage), role, passes]


def _sees(stage: StageForecast) -> str:
    if stage.kind == "shadow":
        return "nothing" if stage.finds_mean is None else f"judge mean -{stage.finds_mean:.3f} sd"
    shown = [gate for gate in stage.gates if gate.gate in SHOWN_GATES]
    seen = [_finds(gate.baseline_rate, gate.finds_rate) for gate in shown]
    if stage.quality is not None:
        mean = stage.quality.finds_mean
        seen.append("nothing" if mean is None else f"-{mean:.2f} sd")
    return " / ".join(seen)


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


def _facts(outlook: Outlook) -> Iterator[str]:
    told = outlook.told
    if outlook.plan.steps:
        yield (
            f"harmless  promoted unaided in at least {percent(told.harmless_passes)}; rolled back by "
            f"mistake in at most {percent(told.false_rollback)}"
        )
    else:
        yield (
            f"harmless  ended early by mistake in at most {percent(told.false_rollback)}; "
            "nothing is promoted"
        )
    found = found_line(outlook.finds)
    if found:
        yield f"harmful   {found}"
    for stage in told.stages:
        if stage.finds_difference is not None and stage.finds_mean is not None:
            yield (
                f"compares  {stage.stage}: differences from {100 * stage.finds_difference:.2g} pp of "
                f"errors, {stage.finds_mean:.2g} sd of a score (power .80, 95 % interval)"
            )


def _costs(outlook: Outlook) -> Iterator[str]:
    cost = outlook.told.cost
    if cost.shadow_calls or cost.judge_calls:
        yield f"cost      in all: {_calls(cost)}"
    a_day = outlook.told.cost_per_day
    if outlook.plan.shadow is not None and a_day.shadow_calls:
        rate = percent(outlook.plan.shadow.rate_bp / 10_000, 0)
        yield f"          a day at {rate}: {_calls(a_day)}"
    rows = [["requests a day", "shadow", "judge", "the whole release"]]
    rows += [_volume(volume) for volume in outlook.volumes]
    yield from columns(rows)


def _calls(cost: CostForecast) -> str:
    shadow = _priced(cost.shadow_calls, cost.shadow_cost, cost.currency)
    judge = _priced(cost.judge_calls, cost.judge_cost, cost.currency)
    live = f", {_whole(cost.judge_calls_live)} of them live" if cost.judge_calls_live else ""
    return f"shadow {shadow}; judge {judge}{live}"


def _priced(calls: float, price: float | None, currency: str | None) -> str:
    if not calls:
        return "none"
    return f"{_whole(calls)} calls{f' {price:,.2f} {currency}' if price is not None else ''}"


def _volume(volume: Volume) -> list[str]:
    cost = volume.cost_per_day
    if volume.expected_seconds is None:
        takes = Regime.ASSISTED.value
    else:
        by = "this plan" if volume.as_planned else volume.regime.value
        takes = f"{duration(volume.expected_seconds)} by {by}"
    return [
        integer(volume.requests_per_day),
        _priced(cost.shadow_calls, cost.shadow_cost, cost.currency),
        _priced(cost.judge_calls, cost.judge_cost, cost.currency),
        takes,
    ]


def _refusal(outlook: Outlook) -> Iterator[str]:
    told = outlook.told
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
    found = found_line(outlook.finds)
    if found:
        yield f"as it is  {found}"
    yield from _costs(outlook)
    change = change_lines(outlook.proposal, told)
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
    if stage.kind == "ab":
        return "units an arm"
    return "control" if stage.units_arm is Arm.BASELINE else "units"


def _needs(stage: StageForecast) -> str:
    if stage.seconds_needed is None:
        return "never decided"
    if stage.decidable is Decidable.BY_HOLD:
        return "decided by the hold's end"
    return f"its verdict needs {duration(stage.seconds_needed)}"
