"""What the demo leaves on the screen: three outcomes, what decided each, and where to look."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clients.demo import Demo, Shown
from rampway.gates.verdicts import GateVerdict, OfflineVerdict
from rampway.release.phases import Phase
from rampway.reports.texts import columns
from rampway.reports.words import duration, integer, points

if TYPE_CHECKING:
    from pathlib import Path

HEADING = ["release", "outcome", "decided by", "detected", "to zero"]


def demo_table(played: Demo) -> str:
    """The table, then links and the next step."""
    right = sum(shown.as_it_must for shown in played.shown)
    count = len(played.shown)
    agrees = all(shown.verification.verified for shown in played.shown)
    agreement = "verify agrees" if agrees else "verify DISAGREES"
    return "\n".join(
        [
            "",
            *columns([HEADING, *map(_row, played.shown)]),
            f"{right} of {count} ended as they must; {agreement}. {played.seconds:.0f} s.",
            *_links(played),
        ]
    )


def _row(shown: Shown) -> list[str]:
    facts = shown.dossier.facts
    return [
        shown.outcome.name,
        _outcome(shown),
        _decided_by(shown),
        duration(facts.detected_seconds) if facts.detected_seconds is not None else "-",
        _to_zero(shown),
    ]


def _outcome(shown: Shown) -> str:
    stop = shown.dossier.stop
    if shown.outcome.phase is Phase.PROMOTED:
        return "FULL, promoted"
    if shown.outcome.phase is Phase.ROLLED_BACK and stop is not None:
        return f"ROLLED_BACK at {stop.step}"
    return shown.outcome.phase.value


def _decided_by(shown: Shown) -> str:
    gate, offline = shown.dossier.deciding_gate, shown.dossier.offline
    if shown.outcome.phase is Phase.ROLLED_BACK and gate is not None:
        return _gate(gate)
    if offline is None:
        return shown.outcome.reason
    if shown.outcome.phase is Phase.PROMOTED:
        return f"{_headline(offline)}; every step held"
    return f"{offline.verdict} headline {_headline(offline)}"


def _gate(gate: GateVerdict) -> str:
    new, old = gate.candidate, gate.baseline
    return (
        f"{gate.verdict} {gate.gate} {integer(new.bad)} of {integer(new.units)} "
        f"v {integer(old.bad)} of {integer(old.units)}"
    )


def _headline(offline: OfflineVerdict) -> str:
    head = offline.headline
    return f"{points(head.difference)}, {integer(head.cases)} cases" if head else offline.why


def _to_zero(shown: Shown) -> str:
    if shown.outcome.phase is Phase.REJECTED:
        return "no traffic"
    seconds = shown.dossier.facts.to_zero_seconds
    return f"{seconds:.2f} s" if seconds is not None else "-"


def _links(played: Demo) -> Sequence[str]:
    ui = played.stack.stack.ui_url if played.stack else ""
    lines = [
        f"{ui}/namespaces/default/workflows/{shown.workflow_id.replace('/', '%2F')}"
        for shown in played.shown
    ]
    reports = played.home / "reports"
    again = f"rampway --home {_short(played.home)} dev"
    return [
        f"Reports     {_short(reports)}/",
        "In the UI   " + "\n            ".join(lines),
        f"Look again  {again}   (the UI stays open)   Next: rampway init",
    ]


def _short(path: "Path") -> str:
    from pathlib import Path

    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
