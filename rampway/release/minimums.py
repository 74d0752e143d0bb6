"""What a target's owners demand at least: no author shortens the gates of his own release."""

from collections.abc import Iterator

from rampway.gates.facts import Fact
from rampway.gates.planning import tolerated_rate
from rampway.gates.plans import Role
from rampway.release.asks import Margin
from rampway.release.climb import Stage
from rampway.release.records import Minimums, Target, TargetKind
from rampway.release.scalars import duration_words, number_words, percent_words
from rampway.release.sections import OnPass, Path
from rampway.release.spec import Spec, StepTerms

# The times of a real target are never shorter than these, whatever its configuration says: seconds
# are for demo targets, whose screens and records all say so.
PRODUCTION_FLOOR = Minimums()
# Whatever a target's owners allow: a candidate that fails this often is never harmless in production.
HARMFUL_RATE = 0.15
USUAL_RATE = 0.01  # of a baseline
MARGIN_SD_MOST = 0.2  # of a judge's score; what 10/50/90 asks of little traffic


class Shortfall(Fact):
    """One value of the spec that its target does not accept; `path` is the key in release.yaml."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.message}"


class BelowMinimums(ValueError):
    """A spec that its target does not accept; raised where a plan would be made of it."""

    def __init__(self, shortfalls: list[Shortfall]) -> None:
        super().__init__("; ".join(map(str, shortfalls)))
        self.shortfalls = tuple(shortfalls)


def check_minimums(spec: Spec, target: Target) -> list[Shortfall]:
    """Every value below the target's minimums, in the order of release.yaml."""
    floor = in_force(target)
    found = [
        *_target(spec, target),
        *_budget(spec, floor, target),
        *_offline(spec, floor, target),
        *_shadow(spec, floor, target),
        *(s for i, step in enumerate(spec.steps) for s in _step(spec, i, step, floor, target)),
        *_ab(spec, floor, target),
        *_gates(spec, floor, target),
        *_lease(spec, floor, target),
    ]
    return list(dict.fromkeys(found))


def in_force(target: Target) -> Minimums:
    """The target's minimums, with times that no configuration of a production target shortens."""
    floor = target.minimums
    if target.kind is TargetKind.DEMO:
        return floor
    return floor.model_copy(
        update={
            "hold_seconds": max(floor.hold_seconds, PRODUCTION_FLOOR.hold_seconds),
            "shadow_seconds": max(floor.shadow_seconds, PRODUCTION_FLOOR.shadow_seconds),
            "lease_seconds": max(floor.lease_seconds, PRODUCTION_FLOOR.lease_seconds),
        }
    )


def _target(spec: Spec, target: Target) -> Iterator[Shortfall]:
    if spec.target != target.name:
        yield Shortfall(path=("target",), message=f"{spec.target} is not {target.name}")


def _budget(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    if spec.error_budget > floor.max_error_budget:
        yield _over(("error_budget",), spec.error_budget, floor.max_error_budget, target)


def _offline(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    offline = spec.offline
    if offline.headline.margin > floor.max_margin_abs:
        path = ("offline", "headline", "margin")
        yield _over(path, offline.headline.margin, floor.max_margin_abs, target)
    if offline.coverage < floor.coverage:
        yield _under_percent(("offline", "coverage"), offline.coverage, floor, target)


def _shadow(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    if spec.shadow is None or Stage.SHADOW not in spec.planned:
        # A release that only reports ends at the baseline: its A/B is what it is for.
        if floor.shadow_seconds > 0 and spec.on_pass is OnPass.PROMOTE:
            hour = duration_words(floor.shadow_seconds)
            off: Path = ("shadow",) if spec.shadow is None else ("stages",)
            message = f"off is not accepted; {target.name} demands {hour} of shadow"
            yield Shortfall(path=off, message=message)
        return
    until = spec.shadow.until_any
    if until.time < floor.shadow_seconds:
        path = ("shadow", "until_any", "time")
        yield _under_time(path, until.time, floor.shadow_seconds, target)
    if until.pairs < floor.shadow_pairs:
        path = ("shadow", "until_any", "pairs")
        yield _under_count(path, until.pairs, floor.shadow_pairs, target)
    margin_sd = spec.shadow.judge_mean.margin
    if target.kind is TargetKind.PRODUCTION and margin_sd > MARGIN_SD_MOST:
        yield _over_sd(("shadow", "judge_mean", "margin"), margin_sd, target)


def _step(
    spec: Spec, i: int, terms: StepTerms, floor: Minimums, target: Target
) -> Iterator[Shortfall]:
    own = spec.canary.steps[i]
    path: Path = ("canary", "steps", i)
    if terms.hold_seconds < floor.hold_seconds:
        held: Path = (*path, "hold") if own.hold is not None else ("canary", "hold")
        yield _under_time(held, terms.hold_seconds, floor.hold_seconds, target)
    if terms.units is not None and terms.units < floor.screen_units:
        yield _under_count((*path, "units"), terms.units, floor.screen_units, target)
    for gate, margin in terms.margins.items():
        listed: Path = ("gates", gate, "margin", spec.canary.proofs.index(i))
        where: Path = (*path, "margin", gate) if gate in own.margin.named() else listed
        if margin.odds > floor.max_margin_odds:
            yield _over_odds(where, margin.odds, floor, target)
        if margin.abs > floor.max_margin_abs:
            yield _over(where, margin.abs, floor.max_margin_abs, target)
        if target.kind is TargetKind.PRODUCTION and gate == "error":
            yield from _harmful(where, margin)


def _harmful(path: Path, margin: Margin) -> Iterator[Shortfall]:
    """Some owners allow wide margins; what no user would call harmless is refused all the same."""
    passes = max(tolerated_rate(USUAL_RATE, margin.odds), USUAL_RATE + margin.abs)
    if passes >= HARMFUL_RATE:
        yield Shortfall(
            path=path,
            message=f"refused [margin too wide]: {percent_words(round(passes, 3))} errors would PASS "
            f"against a baseline of {percent_words(USUAL_RATE)}. Next: rule out odds 3 or less, and "
            "2% or less",
        )


def _ab(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    if Stage.AB not in spec.planned:
        return
    if spec.ab.time < floor.hold_seconds:
        yield _under_time(("ab", "time"), spec.ab.time, floor.hold_seconds, target)
    if spec.ab.units is not None and spec.ab.units < floor.screen_units:
        yield _under_count(("ab", "units"), spec.ab.units, floor.screen_units, target)


def _gates(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    if spec.canary.coverage < floor.coverage:
        yield _under_percent(("canary", "coverage"), spec.canary.coverage, floor, target)
    asked = spec.gates.asked()
    for name, gate in asked.items():
        if gate.tolerance > floor.max_margin_odds:
            yield _over_odds(("gates", name, "tolerance"), gate.tolerance, floor, target)
    if target.kind is not TargetKind.PRODUCTION:
        return
    for name in ("latency", "refusal"):
        demanded = asked.get(name)
        if demanded is not None and demanded.role is not Role.INFORM:
            continue
        path: Path = ("gates", name) if demanded is None else ("gates", name, "role")
        word = "off" if demanded is None else "inform"
        message = f"{word} is for demo targets; {target.name} is a production target"
        yield Shortfall(path=path, message=message)
    quality = spec.gates.quality
    margins = quality.margin or () if quality is not None else ()
    for i, margin_sd in enumerate(margins):
        if margin_sd > MARGIN_SD_MOST:
            yield _over_sd(("gates", "quality", "margin", i), margin_sd, target)


def _lease(spec: Spec, floor: Minimums, target: Target) -> Iterator[Shortfall]:
    if spec.lease < floor.lease_seconds:
        short = _under_time(("lease",), spec.lease, floor.lease_seconds, target)
        message = f"{short.message}; one slow look would end the split"
        yield Shortfall(path=short.path, message=message)


def _under(path: Path, value: str, floor: str, target: Target) -> Shortfall:
    return Shortfall(path=path, message=f"{value} is under the floor {floor} of {target.name}")


def _under_time(path: Path, value: float, floor: float, target: Target) -> Shortfall:
    return _under(path, duration_words(value), duration_words(floor), target)


def _under_count(path: Path, value: int, floor: int, target: Target) -> Shortfall:
    return _under(path, number_words(value), number_words(floor), target)


def _under_percent(path: Path, value: float, floor: Minimums, target: Target) -> Shortfall:
    return _under(path, percent_words(value), percent_words(floor.coverage), target)


def _over(path: Path, value: float, limit: float, target: Target) -> Shortfall:
    message = f"{percent_words(value)} is over the limit {percent_words(limit)} of {target.name}"
    return Shortfall(path=path, message=message)


def _over_odds(path: Path, value: float, floor: Minimums, target: Target) -> Shortfall:
    limit = number_words(floor.max_margin_odds)
    message = f"odds {number_words(value)} are over the limit {limit} of {target.name}"
    return Shortfall(path=path, message=message)


def _over_sd(path: Path, value: float, target: Target) -> Shortfall:
    message = f"{number_words(value)} sd is over the limit {MARGIN_SD_MOST} sd of {target.name}"
    return Shortfall(path=path, message=message)
