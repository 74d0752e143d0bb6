"""Draws the state machine from its table, for the documentation."""

from rampway.release.phases import ENDED, EXPOSED, MOVES, Phase

INTRODUCTION = """\
# The state machine

Drawn from `MOVES` in `rampway/release/phases.py`; a test compares this file with the table. The workflow
decides *when* a move is made, the table *whether* it may be, and the registry refuses what it forbids.
"""


def states_markdown() -> str:
    """The diagram as Mermaid, and every move as a table."""
    return "\n".join([INTRODUCTION, "```mermaid", *_diagram(), "```", "", *_table()]) + "\n"


def _diagram() -> list[str]:
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, trigger), then in MOVES.items():
        arrows.setdefault((phase, then), []).append(trigger.value)
    return [
        "stateDiagram-v2",
        f"    [*] --> {Phase.PROPOSED}",
        *(
            f"    {phase} --> {then}: {', '.join(triggers)}"
            for (phase, then), triggers in arrows.items()
        ),
        *(f"    {phase} --> [*]" for phase in sorted(ENDED)),
    ]


def _table() -> list[str]:
    rows = [
        f"| {phase} | {trigger} | {then} | {'watched' if then in EXPOSED else ''} |"
        for (phase, trigger), then in MOVES.items()
    ]
    return ["| in | on | goes to | there the harm watch runs |", "|---|---|---|---|", *rows]
