"""Asks a person before what cannot be taken back; where nobody can be asked, no question is put."""

import click

from clients.exits import Failure
from clients.output import can_ask, tell
from rampway.release.controls import OverrideCommand
from rampway.release.orders import Progress
from rampway.reports.words import counted, plain, short, where


def confirm_abort(name: str, progress: Progress | None, *, yes: bool) -> None:
    """Ask before an abort, on a terminal only: in an emergency the command itself is the answer."""
    if yes or not can_ask():
        return
    place = where(progress.step, progress.phase) if progress else name
    if not click.confirm(f"{place} goes to 0 % now; it cannot resume. Abort?", err=True):
        raise Failure("Not aborted; nothing changed.")


def confirm_override(
    name: str, command: OverrideCommand, progress: Progress | None, *, yes: bool
) -> None:
    """Show the one verdict that is let through, and have the release's name typed."""
    if progress is None:
        raise Failure(
            f"No worker answers for {name}, so nobody can say which verdict this would let "
            "through; nothing was sent. Next: rampway doctor"
        )
    tell(override_question(command, progress))
    if yes:
        return
    if not can_ask():
        raise click.UsageError("There is no terminal to confirm on. Next: give --yes")
    if click.prompt(f"Type {name} to confirm", err=True) != name:
        raise Failure("Not confirmed; nothing was sent.")


def override_question(command: OverrideCommand, progress: Progress) -> str:
    """What a person is about to let through, before anybody types its name."""
    verdict = progress.verdict
    gate = next((g for g in verdict.gates if g.gate == command.gate), None) if verdict else None
    said = gate.verdict if gate else (verdict.verdict if verdict else "NO_DATA")
    seen = f", evidence {short(progress.evidence)}" if progress.evidence else ""
    place = where(progress.step, progress.phase)
    lines = [f"Lets ONE verdict through: {plain(command.gate, 40)}, {place}, {said}{seen}"]
    if gate is not None:
        wait = f"; or wait {gate.units_needed:,} units" if gate.units_needed else ""
        arms = f"candidate {counted(gate.candidate)}, baseline {counted(gate.baseline)}"
        lines.append(f"  {arms}{wait}")
    lines.append(
        f"Owner {plain(progress.owner, 40)}, approver {plain(command.actor, 40)}, ends in 1 h, "
        "counted and published monthly."
    )
    return "\n".join(lines)
