"""The rules between keys of `release.yaml`: what no single value can break alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rampway.gates.plans import Must, Role
from rampway.release.asks import Asked, Gate
from rampway.release.climb import Canary, Stage
from rampway.release.scalars import (
    FULL_PERCENT,
    basis_points,
    duration_words,
    number_words,
    percent_words,
)
from rampway.release.sections import OnPass, Path, Shadow, Violation

if TYPE_CHECKING:
    from rampway.release.spec import Spec

LOOKS_PER_LEASE = 2  # one slow look must not end the split
ROUNDING = 1e-9  # ten budgets of 10 % are 100 %

STEPS: Path = ("canary", "steps")
STAGES: Path = ("stages",)


def broken_rules(spec: "Spec") -> list[Violation]:
    """Every broken rule, with paths from the top of the file."""
    return [
        *_stages(spec),
        *_cases(spec),
        *_gate_budgets(spec),
        *_step_budgets(spec),
        *(_roles(spec) if spec.climbs else ()),
        *(_shares(spec.canary) if spec.climbs else ()),
        *_looks(spec.canary, spec.lease),
        *(_times(spec.canary) if spec.climbs else ()),
        *_shadow_times(spec.shadow),
        *(_ab(spec) if Stage.AB in spec.planned else ()),
        *_margins(spec),
        *_judging(spec),
    ]


def _stages(spec: "Spec") -> Iterator[Violation]:
    if spec.shadow is None and Stage.SHADOW in spec.planned:
        yield Violation(
            "names shadow, which is off; remove one of both",
            path=STAGES,
            about=(STAGES, ("shadow",)),
        )
    if spec.climbs is (spec.on_pass is OnPass.PROMOTE):
        return
    named = ", ".join(spec.planned)
    yield Violation(
        f"report forbids a canary, which ends at 100 %; the stages are {named}"
        if spec.climbs
        else f"promote needs a canary among the stages ({named}); write on_pass: report",
        path=("on_pass",),
        about=(STAGES, ("on_pass",), ("shadow",)),
    )


def _cases(spec: "Spec") -> Iterator[Violation]:
    if spec.offline.cases is None and spec.exposes:
        yield Violation(
            "is missing: the offline gate weighs paired results of these cases. Only a shadow that "
            "reports goes without",
            path=("offline", "cases"),
            at=("offline",),
            about=(("offline",), STAGES),
        )


def _gate_budgets(spec: "Spec") -> Iterator[Violation]:
    spending = {name: gate for name, gate in spec.gates.budgeted().items() if gate.spends}
    total = sum(gate.budget for gate in spending.values())
    if total > 1 + ROUNDING:
        yield Violation(
            f"the gates' budgets add up to {percent_words(round(total, 6))}, over 100 %",
            path=("gates",),
            about=tuple(("gates", *name.split("."), "budget") for name in spending),
        )


def _step_budgets(spec: "Spec") -> Iterator[Violation]:
    steps = range(len(spec.canary.steps)) if spec.climbs else ()
    total = sum(spec.canary.budget(i, spec.parts) for i in steps)
    watches = "steps'"
    if Stage.AB in spec.planned:
        total += spec.ab_budget
        watches = "steps' and the A/B's"
    if total > 1 + ROUNDING:
        yield Violation(
            f"the {watches} budgets add up to {percent_words(round(total, 6))}, over 100 %",
            path=STEPS if spec.climbs else ("ab", "budget"),
            about=(STEPS, STAGES, ("ab", "budget")),
        )


def _roles(spec: "Spec") -> Iterator[Violation]:
    canary = spec.canary
    last = len(canary.steps) - 1
    if canary.must(last) is Must.PROVE:
        yield Violation(
            f"the step at {FULL_PERCENT} % can only screen: its control is the "
            f"{percent_words(canary.holdback)} held back",
            path=(*STEPS, last, "must"),
            about=(STEPS,),
        )
    asked = spec.gates.asked()
    for i, step in enumerate(canary.steps):
        margins = step.margin.named()
        if margins and canary.must(i) is Must.SCREEN:
            yield Violation(
                f"{step.share} % only screens and rules nothing out; "
                "write must: PASS there, or remove the margin",
                path=(*STEPS, i, "margin"),
                about=(STEPS,),
            )
        for name in sorted(margins):
            path = (*STEPS, i, "margin", name)
            if name not in asked:
                yield Violation(f"the gate {name} is off", path=path, about=(STEPS,))
            elif asked[name].role is Role.WATCH:
                yield _watches(name, path)


def _watches(name: str, path: Path) -> Violation:
    return Violation(
        f"the gate {name} only watches and proves nothing; write role: guard, or remove the margin",
        path=path,
        about=(path, ("gates", name, "role"), STEPS),
    )


def _shares(canary: Canary) -> Iterator[Violation]:
    full_bp = 10_000 - basis_points(canary.holdback)
    for i, step in enumerate(canary.steps[:-1]):
        if step.share * 100 >= full_bp:
            yield Violation(
                f"{step.share} % is not below the {percent_words(full_bp / 10_000)} of the last "
                f"step, which holds {percent_words(canary.holdback)} back",
                path=STEPS,
                about=(STEPS, ("canary", "holdback")),
                at=(*STEPS, i),
            )


def _looks(canary: Canary, lease_seconds: float) -> Iterator[Violation]:
    if canary.look_every * LOOKS_PER_LEASE > lease_seconds:
        yield Violation(
            f"a look every {duration_words(canary.look_every)} renews a lease of "
            f"{duration_words(lease_seconds)} too seldom; at least {LOOKS_PER_LEASE} looks must fit",
            path=("canary", "look_every"),
            about=(("canary", "look_every"), ("lease",)),
        )


def _times(canary: Canary) -> Iterator[Violation]:
    for i, step in enumerate(canary.steps):
        hold = step.hold or canary.hold
        deadline = (step.deadline or canary.deadline).of(hold)
        if deadline < hold:
            where = (*STEPS, i, "deadline") if step.deadline else ("canary", "deadline")
            yield Violation(
                f"{duration_words(deadline)} is before the end of the hold of {step.share} %, "
                f"{duration_words(hold)}",
                path=where,
                about=(STEPS, ("canary", "hold"), ("canary", "deadline")),
            )


def _shadow_times(shadow: Shadow | None) -> Iterator[Violation]:
    if shadow is None:
        return
    deadline = shadow.deadline.of(shadow.until_any.time)
    if deadline < shadow.until_any.time:
        yield Violation(
            f"{duration_words(deadline)} is before until_any.time, "
            f"{duration_words(shadow.until_any.time)}",
            path=("shadow", "deadline"),
            about=(("shadow", "deadline"), ("shadow", "until_any")),
        )


def _ab(spec: "Spec") -> Iterator[Violation]:
    ab = spec.ab
    deadline = ab.deadline.of(ab.time)
    if deadline < ab.time:
        yield Violation(
            f"{duration_words(deadline)} is before the end of the A/B, {duration_words(ab.time)}",
            path=("ab", "deadline"),
            about=(("ab", "deadline"), ("ab", "time")),
        )
    if not spec.climbs:
        return
    about = (STEPS, STAGES, ("ab", "share"), ("canary", "holdback"))
    last = 1 - spec.canary.holdback
    if spec.ab_share < spec.share_before_ab:
        yield Violation(
            f"{percent_words(spec.ab_share)} is below the {percent_words(spec.share_before_ab)} of the "
            "step before; a share that was raised never falls but to the baseline",
            path=("ab", "share"),
            about=about,
        )
    elif basis_points(spec.ab_share) >= basis_points(last):
        yield Violation(
            f"{percent_words(spec.ab_share)} is not below the {percent_words(round(last, 6))} of "
            "the last step, which follows",
            path=("ab", "share"),
            about=about,
        )


def _margins(spec: "Spec") -> Iterator[Violation]:
    proofs = spec.canary.proofs if spec.climbs else ()
    for name, gate in spec.gates.asked().items():
        yield from _margin_list(spec, name, gate, gate.margin, proofs)
        if gate.role is not Role.WATCH and _fits(gate.margin, proofs):
            yield from _tolerance(spec, name, gate, proofs)
    quality = spec.gates.quality
    if quality is not None:
        yield from _margin_list(spec, "quality", quality, quality.margin, proofs)


def _fits(margins: tuple[object, ...] | None, proofs: tuple[int, ...]) -> bool:
    return margins is None or len(margins) == len(proofs)


def _margin_list(
    spec: "Spec",
    name: str,
    gate: Asked,
    margins: tuple[object, ...] | None,
    proofs: tuple[int, ...],
) -> Iterator[Violation]:
    path: Path = ("gates", name, "margin")
    if margins is None:
        return
    if gate.role is Role.WATCH:
        yield _watches(name, path)
    elif not _fits(margins, proofs):
        places = ", ".join(f"{spec.canary.steps[i].share} %" for i in proofs) or "none"
        yield Violation(
            f"needs one margin for each step that must PASS ({places}), got {len(margins)}",
            path=path,
            about=(path, STEPS, STAGES),
        )


def _tolerance(spec: "Spec", name: str, gate: Gate, proofs: tuple[int, ...]) -> Iterator[Violation]:
    for number, i in enumerate(proofs):
        step = spec.canary.steps[i]
        margin = step.margin.named().get(name) or gate.margin_at(number, len(proofs))
        if gate.tolerance >= margin.odds:
            yield Violation(
                f"tolerates odds {number_words(gate.tolerance)}, but {step.share} % has "
                f"to rule out {number_words(margin.odds)}; the tolerance must be smaller",
                path=("gates", name, "tolerance"),
                about=(("gates", name, "margin"), STEPS, ("gates", name, "tolerance")),
            )


def _judging(spec: "Spec") -> Iterator[Violation]:
    about = (("gates", "quality"), ("canary", "judged_units"), STAGES)
    if spec.gates.quality is None:
        if spec.canary.judged_units is not None:
            yield Violation(
                "no gate reads judged answers; add gates.quality, or remove the key",
                path=("canary", "judged_units"),
                about=about,
            )
    elif not spec.climbs:
        yield Violation(
            "only the steps of a canary judge live answers, and the stages have none; remove the key",
            path=("gates", "quality"),
            about=about,
        )
