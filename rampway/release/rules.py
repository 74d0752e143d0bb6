"""The rules between keys of `release.yaml`: what no single value can break alone."""

from collections.abc import Iterator

from rampway.gates.plans import Must
from rampway.release.scalars import (
    FULL_PERCENT,
    basis_points,
    duration_words,
    number_words,
    percent_words,
)
from rampway.release.sections import Canary, Gate, Gates, Shadow, Violation

LOOKS_PER_LEASE = 2  # one slow look must not end the split
ROUNDING = 1e-9  # ten budgets of 10 % are 100 %

STEPS = ("canary", "steps")


def broken_rules(
    *, canary: Canary, gates: Gates, shadow: Shadow | None, lease_seconds: float
) -> list[Violation]:
    """Every broken rule, with paths from the top of the file."""
    return [
        *_budgets(canary, gates),
        *_roles(canary, gates),
        *_shares(canary),
        *_times(canary, lease_seconds),
        *_shadow_times(shadow),
        *(v for name, gate in gates.asked().items() for v in _gate(canary, name, gate)),
    ]


def _budgets(canary: Canary, gates: Gates) -> Iterator[Violation]:
    asked = gates.asked()
    of_gates = sum(gate.budget for gate in asked.values())
    if of_gates > 1 + ROUNDING:
        yield Violation(
            f"the gates' budgets add up to {percent_words(round(of_gates, 6))}, over 100 %",
            path=("gates",),
            about=tuple(("gates", name, "budget") for name in asked),
        )
    of_steps = sum(canary.budget(i) for i in range(len(canary.steps)))
    if of_steps > 1 + ROUNDING:
        yield Violation(
            f"the steps' budgets add up to {percent_words(round(of_steps, 6))}, over 100 %",
            path=STEPS,
            about=(STEPS,),
        )


def _roles(canary: Canary, gates: Gates) -> Iterator[Violation]:
    last = len(canary.steps) - 1
    if canary.must(last) is Must.PROVE:
        yield Violation(
            f"the step at {FULL_PERCENT} % can only screen: its control is the "
            f"{percent_words(canary.holdback)} held back",
            path=(*STEPS, last, "must"),
            about=(STEPS,),
        )
    for i, step in enumerate(canary.steps):
        margins = step.margin.named()
        if margins and canary.must(i) is Must.SCREEN:
            yield Violation(
                f"{step.share} % only screens and rules nothing out; "
                "write must: PASS there, or remove the margin",
                path=(*STEPS, i, "margin"),
                about=(STEPS,),
            )
        for name in sorted(margins.keys() - gates.asked().keys()):
            yield Violation(
                f"the gate {name} is off", path=(*STEPS, i, "margin", name), about=(STEPS,)
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


def _times(canary: Canary, lease_seconds: float) -> Iterator[Violation]:
    if canary.look_every * LOOKS_PER_LEASE > lease_seconds:
        yield Violation(
            f"a look every {duration_words(canary.look_every)} renews a lease of "
            f"{duration_words(lease_seconds)} too seldom; at least {LOOKS_PER_LEASE} looks must fit",
            path=("canary", "look_every"),
            about=(("canary", "look_every"), ("lease",)),
        )
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


def _gate(canary: Canary, name: str, gate: Gate) -> Iterator[Violation]:
    proofs = canary.proofs
    path = ("gates", name, "margin")
    if gate.margin is not None and len(gate.margin) != len(proofs):
        places = ", ".join(f"{canary.steps[i].share} %" for i in proofs) or "none"
        yield Violation(
            f"needs one margin for each step that must PASS ({places}), got {len(gate.margin)}",
            path=path,
            about=(path, STEPS),
        )
        return
    for number, i in enumerate(proofs):
        margin = canary.steps[i].margin.named().get(name) or gate.margin_at(number, len(proofs))
        if gate.tolerance >= margin.odds:
            yield Violation(
                f"tolerates odds {number_words(gate.tolerance)}, but {canary.steps[i].share} % has "
                f"to rule out {number_words(margin.odds)}; the tolerance must be smaller",
                path=("gates", name, "tolerance"),
                about=(path, STEPS, ("gates", name, "tolerance")),
            )
