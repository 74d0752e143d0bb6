"""What a target with this much traffic can decide: the steps, holds and margins that fit it."""

import math
from collections.abc import Mapping
from enum import StrEnum

from pydantic import JsonValue, ValidationError

from rampway.gates.facts import Fact
from rampway.gates.planning import seconds_to_find
from rampway.gates.plans import AbPlan, RateGate, Role, StepPlan
from rampway.release.climb import Stage
from rampway.release.forecast import Forecast, forecast
from rampway.release.minimums import BelowMinimums, in_force
from rampway.release.pace import Decidable
from rampway.release.plan import ReleasePlan, compile_plan
from rampway.release.records import Target, TargetKind
from rampway.release.rekeying import Keys, rewritten
from rampway.release.scalars import DAY, HOUR, MINUTE, duration_text
from rampway.release.spec import Spec

PLENTY = 20.0  # units per second from which 1 % is enough to see with
LITTLE = 0.5  # below, no number of days that anyone waits gives a statistical PASS
HOLD_LONGEST_SECONDS = 30.0 * DAY
ENOUGH_PAIRS_A_SECOND = 2.5  # what 5 % of 50 requests a second is
FULL_SHARE = 1.0
PAIRS_OF_A_PROOF = 14.5 / 0.03**2  # of judge scores whose differences spread like one score
OUTAGE_RATE = 1 - 1e-9
FIVE_PERCENT = 0.05
ODDS_WIDEST = 3.0  # what a production target's owners usually accept
ASSISTED_SHARE = "25%"
TIMES_OF_A_DEADLINE = 3
# Rounded up to what people write: up to so many seconds, in multiples of so many.
GRID = ((MINUTE, 1), (HOUR, 5 * MINUTE), (4 * HOUR, 10 * MINUTE), (DAY, 30 * MINUTE))


class Regime(StrEnum):
    """How a release can be decided at all, by the target's units per second."""

    CLIMB = "1/5/25/99"
    SHORT = "10/50/90"
    ASSISTED = "assisted"


def regime_of(units_per_second: float) -> Regime:
    """Detection costs units, not share: with fewer of them, fewer and larger steps."""
    if units_per_second >= PLENTY:
        return Regime.CLIMB
    return Regime.SHORT if units_per_second >= LITTLE else Regime.ASSISTED


class Found(Fact):
    """When the first step with candidate traffic finds gross harm, at even odds; None: not in time."""

    stage: str
    outage_seconds: float | None
    five_percent_seconds: float | None


class Proposal(Fact):
    """Keys to write into release.yaml, and what they would give.

    An `assisted` regime promises no PASS: its keys show the candidate to some users, and a person
    decides. `proves_odds` is the worst odds ratio of errors that a promoted candidate may have.
    """

    regime: Regime
    keys: Keys
    forecast: Forecast
    finds: Found | None
    proves_odds: float | None = None


def propose(
    spec: Spec,
    target: Target,
    *,
    units_per_second: float,
    baseline: Mapping[str, float],
    judge_sd: float | None = None,
) -> Proposal | None:
    """The plan that fits this traffic, with holds as long as its verdicts take; None when none does."""
    if units_per_second <= 0:
        return None
    regime = regime_of(units_per_second)
    weigh = _Weighing(spec, target, units_per_second, baseline, judge_sd)
    if regime is Regime.ASSISTED:
        return _assisted(weigh)
    if not spec.climbs:
        return _report(weigh, regime)
    return _climb(weigh, regime)


def find_gross_harm(
    plan: ReleasePlan, *, units_per_second: float, baseline: Mapping[str, float]
) -> Found | None:
    """When the first watch with candidate traffic finds an outage and 5 % errors, at even odds."""
    first = plan.steps[0] if plan.steps else plan.ab
    if first is None:
        return None
    gate = next(gate for gate in first.gates if gate.stream == "error")
    return Found(
        stage=first.name,
        outage_seconds=_median(first, gate, OUTAGE_RATE, units_per_second, baseline),
        five_percent_seconds=_median(first, gate, FIVE_PERCENT, units_per_second, baseline),
    )


def _median(
    stage: StepPlan | AbPlan,
    gate: RateGate,
    rate: float,
    units_per_second: float,
    baseline: Mapping[str, float],
) -> float | None:
    """Evidence time to the end of the slice in which half of such releases have their BREACH."""
    share = stage.share_bp / 10_000
    usual = baseline.get(gate.stream, 0.0)
    if usual >= rate:
        return None
    seconds = seconds_to_find(
        usual,
        rate,
        gate,
        units_per_second=units_per_second * share,
        ratio=(1 - share) / share,
        hold_seconds=stage.hold_seconds,
        limit_seconds=stage.deadline_seconds,
    )
    if seconds is None:
        return None
    look = stage.slice_seconds * (stage.slices_per_look if isinstance(stage, AbPlan) else 1)
    return math.ceil(seconds / look) * look


class _Weighing:
    """Tries changed keys against the target's minimums and its traffic."""

    def __init__(
        self,
        spec: Spec,
        target: Target,
        units_per_second: float,
        baseline: Mapping[str, float],
        judge_sd: float | None,
    ) -> None:
        self.spec = spec
        self.target = target
        self.units_per_second = units_per_second
        self.baseline = baseline
        self.judge_sd = judge_sd

    def plan(self, keys: Keys) -> ReleasePlan | None:
        """The plan with these keys merged in; None where a rule or a minimum refuses it."""
        try:
            return compile_plan(rewritten(self.spec, keys), self.target)
        except (BelowMinimums, ValidationError):
            return None

    def forecast(self, plan: ReleasePlan) -> Forecast:
        return forecast(
            plan,
            requests_per_second=self.units_per_second,
            baseline=self.baseline,
            judge_sd=self.judge_sd,
        )

    def proposal(self, regime: Regime, keys: Keys) -> Proposal | None:
        plan = self.plan(keys)
        if plan is None:
            return None
        told = self.forecast(plan)
        if told.decidable is Decidable.NEVER and regime is not Regime.ASSISTED:
            return None
        odds = [
            gate.margin_odds
            for step in plan.steps
            for gate in step.gates
            if gate.stream == "error" and gate.margin_odds is not None
        ]
        return Proposal(
            regime=regime,
            keys=keys,
            forecast=told,
            finds=find_gross_harm(
                plan, units_per_second=self.units_per_second, baseline=self.baseline
            ),
            proves_odds=min(odds, default=None),
        )

    def shadow_keys(self) -> Keys:
        """A shadow of as many copies as it takes, for as long as it takes."""
        if self.spec.shadow is None:
            return {}
        own = self.spec.shadow
        rate = min(FULL_SHARE, max(own.rate, ENOUGH_PAIRS_A_SECOND / self.units_per_second))
        rate = math.ceil(rate * 100 - 1e-9) / 100
        # By its deadline a shadow of scores that differ as much as one score spreads can have passed.
        takes = PAIRS_OF_A_PROOF * (self.judge_sd or 1.0) ** 2 / (self.units_per_second * rate)
        time = own.until_any.time
        demo = self.target.kind is TargetKind.DEMO
        if time < takes / TIMES_OF_A_DEADLINE and not demo:
            time = min(rounded_up(takes / TIMES_OF_A_DEADLINE), HOLD_LONGEST_SECONDS)
        return {
            "rate": f"{round(rate * 100)}%",
            "until_any": {"time": duration_text(time)},
            "deadline": f"{TIMES_OF_A_DEADLINE}x",
        }


def _climb(weigh: _Weighing, regime: Regime) -> Proposal | None:
    """First as long as it takes, to see how long that is; then with holds of that length."""
    floor = in_force(weigh.target).hold_seconds
    shares = (1, 5, 25, 100) if regime is Regime.CLIMB else (10, 50, 100)
    shape = _keys(weigh, regime, [_step(share, regime, floor, "100x") for share in shares])
    endless = weigh.plan(shape)
    if endless is None:
        return None
    stages = {stage.stage: stage for stage in weigh.forecast(endless).stages}
    holds: list[float] = []
    for step in endless.steps:
        takes = stages[step.name].seconds_needed
        if takes is None or takes > HOLD_LONGEST_SECONDS:
            return None
        holds.append(rounded_up(max(floor, takes)))
    steps = [_step(share, regime, hold) for share, hold in zip(shares, holds, strict=True)]
    return weigh.proposal(regime, _keys(weigh, regime, steps))


def _step(share: int, regime: Regime, hold_seconds: float, deadline: str | None = None) -> Keys:
    step: Keys = {"share": share}
    if regime is Regime.SHORT and share == 10:  # noqa: PLR2004 - its first step, which alone would screen
        step["must"] = "PASS"
    step["hold"] = duration_text(hold_seconds)
    if deadline is not None:
        step["deadline"] = deadline
    return step


def _keys(weigh: _Weighing, regime: Regime, steps: list[Keys]) -> Keys:
    holdback = "1%" if regime is Regime.CLIMB else "10%"
    keys: Keys = {}
    shadow = weigh.shadow_keys()
    if shadow and Stage.SHADOW in weigh.spec.planned:
        keys["shadow"] = shadow
    listed: list[JsonValue] = [*steps]
    keys["canary"] = {
        "steps": listed,
        "deadline": f"{TIMES_OF_A_DEADLINE}x",
        "holdback": holdback,
    }
    keys["gates"] = _margins(weigh.spec, regime)
    return keys


def _margins(spec: Spec, regime: Regime) -> Keys:
    """Odds 2 and 1.5 where traffic is plenty, 3 and 2 where it is not; above what is tolerated."""
    odds, sds = ((2.0, 1.5), (0.1, 0.05)) if regime is Regime.CLIMB else ((3.0, 2.0), (0.2, 0.1))
    gates: Keys = {}
    for name, gate in spec.gates.asked().items():
        if gate.role is not Role.WATCH:
            gates[name] = {
                "margin": [margin if margin > gate.tolerance else ODDS_WIDEST for margin in odds]
            }
    quality = spec.gates.quality
    if quality is not None and quality.role is not Role.WATCH:
        gates["quality"] = {"margin": [f"{margin}sd" for margin in sds]}
    return gates


def _report(weigh: _Weighing, regime: Regime) -> Proposal | None:
    """An experiment keeps its share; its time becomes what its arms take."""
    keys: Keys = {}
    if Stage.SHADOW in weigh.spec.planned:
        keys["shadow"] = weigh.shadow_keys()
    if Stage.AB in weigh.spec.planned:
        share = weigh.spec.ab_share
        plan = weigh.plan({})
        if plan is None or plan.ab is None:
            return None
        takes = plan.ab.units / (weigh.units_per_second * min(share, 1 - share))
        if takes > HOLD_LONGEST_SECONDS:
            return None
        time = max(weigh.spec.ab.time, rounded_up(takes))
        keys["ab"] = {"time": duration_text(time), "deadline": "2x"}
    return weigh.proposal(regime, keys)


def _assisted(weigh: _Weighing) -> Proposal | None:
    """Every request in shadow, then a quarter of users for a day, watched; a person decides."""
    keys: Keys = {
        "stages": ["shadow", "ab"] if weigh.spec.shadow is not None else ["ab"],
        "on_pass": "report",
        "shadow": {"rate": "100%", "until_any": {"time": "1d"}},
        "ab": {"share": ASSISTED_SHARE, "time": "3d"},
    }
    if weigh.spec.shadow is None:
        del keys["shadow"]
    if weigh.spec.gates.quality is not None:
        keys["gates"] = {"quality": "off"}  # only the steps of a canary judge live answers
    return weigh.proposal(Regime.ASSISTED, keys)


def rounded_up(seconds: float) -> float:
    """A time as people write one, not shorter than asked."""
    step = next((multiple for limit, multiple in GRID if seconds <= limit), HOUR)
    return float(math.ceil(seconds / step - 1e-9) * step)
