"""What would fail open: releases that parse, and that would let harm through without an answer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rampway.gates.plans import Role
from rampway.release.asks import Switch
from rampway.release.scalars import percent_words
from rampway.release.sections import Path, Unit, Violation

if TYPE_CHECKING:
    from rampway.release.spec import Spec

COVERAGE_LEAST = 0.5  # on less than half of the slices nobody watched most of the time
BUDGET_LEAST = 0.01  # a gate with less of the error budget sees only what everyone would see

STEPS: Path = ("canary", "steps")
STAGES: Path = ("stages",)


def failing_open(spec: "Spec") -> list[Violation]:
    """Every way in which harm would pass unseen: `refused [rule]: fact. Next: what to do`."""
    return [
        *_error_informs(spec),
        *_proves_nothing(spec),
        *_nobody_decides(spec),
        *_blind(spec),
        *_thin_budgets(spec),
        *_uncounted_split(spec),
    ]


def _refusal(
    rule: str, fact: str, next_step: str, *, path: Path, about: tuple[Path, ...]
) -> Violation:
    return Violation(f"refused [{rule}]: {fact}. Next: {next_step}", path=path, about=about)


def _error_informs(spec: "Spec") -> Iterator[Violation]:
    if spec.gates.error.role is Role.INFORM:
        path: Path = ("gates", "error", "role")
        yield _refusal(
            "errors decide",
            "an error gate that only informs would promote a candidate that answers nothing",
            "write role: guard",
            path=path,
            about=(path,),
        )


def _proves_nothing(spec: "Spec") -> Iterator[Violation]:
    if spec.climbs and not spec.canary.proofs:
        yield _refusal(
            "proves nothing",
            "every step only screens, so a candidate that no step had to prove harmless would be "
            "promoted",
            "write must: PASS at a step below 100 %, as in {share: 10, must: PASS}",
            path=STEPS,
            about=(STEPS, STAGES),
        )


def _nobody_decides(spec: "Spec") -> Iterator[Violation]:
    gates = spec.gates.budgeted()
    if spec.climbs and not any(gate.role is Role.GUARD for gate in gates.values()):
        roles = ", ".join(f"{name} {gate.role}" for name, gate in gates.items())
        yield _refusal(
            "nobody decides",
            f"no gate has to PASS anywhere ({roles})",
            "write role: guard at gates.error",
            path=("gates",),
            about=tuple(gate_path(name) for name in gates),
        )


def _blind(spec: "Spec") -> Iterator[Violation]:
    coverage = spec.canary.coverage
    if coverage < COVERAGE_LEAST:
        path: Path = ("canary", "coverage")
        yield _refusal(
            "blind",
            f"with {percent_words(coverage)} of its slices a step could PASS that was not watched "
            "most of the time",
            f"ask for {percent_words(COVERAGE_LEAST)} or more; 90% is the default",
            path=path,
            about=(path,),
        )


def _thin_budgets(spec: "Spec") -> Iterator[Violation]:
    for name, gate in spec.gates.budgeted().items():
        if gate.spends and gate.budget < BUDGET_LEAST:
            path: Path = (*gate_path(name), "budget")
            yield _refusal(
                "thin budget",
                f"{percent_words(gate.budget)} of the error budget lets this gate see only what "
                "nobody could miss",
                f"give it {percent_words(BUDGET_LEAST)} or more, or write role: inform",
                path=path,
                about=(path,),
            )


def gate_path(name: str) -> Path:
    """Where a gate stands in the file, by its dotted key."""
    return ("gates", *name.split("."))


def _uncounted_split(spec: "Spec") -> Iterator[Violation]:
    if spec.gates.sample_ratio is Switch.OFF and spec.unit is not Unit.REQUEST:
        path: Path = ("gates", "sample_ratio")
        yield _refusal(
            "uncounted split",
            f"with {spec.unit}s that stay in their arm, one arm can lose the units it fails, and "
            "nothing would tell",
            "remove the key, or count requests",
            path=path,
            about=(path, ("unit",)),
        )
