"""The lines that tell what would fit: keys to write into release.yaml, and what they would give."""

from collections.abc import Iterator

from pydantic import JsonValue

from rampway.release.forecast import Forecast
from rampway.release.pace import Decidable
from rampway.release.proposals import Found, Proposal, Regime
from rampway.reports.words import duration, listed

INDENT = 8
FLOW_WIDTH = 88


def change_lines(proposal: Proposal | None, now: Forecast) -> tuple[str, ...]:
    """`Change` with the keys as they are written, and `Then` with what they would give."""
    if proposal is None:
        return ()
    keys = list(_yaml(proposal.keys))
    lines = [f"{'' if i else 'Change':<{INDENT}}{line}" for i, line in enumerate(keys)]
    return (*lines, *_then(proposal, now))


def _then(proposal: Proposal, now: Forecast) -> Iterator[str]:
    told = proposal.forecast
    if proposal.regime is Regime.ASSISTED:
        yield "Then    assisted: so little traffic gives no statistical PASS, and none is promised;"
        found = _found(proposal.finds)
        yield f"        {found + '; ' if found else ''}a person decides from the report"
        return
    takes = _takes(now)
    instead = f", instead of {duration(takes)}" if takes is not None else ""
    stages = " + ".join(
        duration(stage.expected_seconds) for stage in told.stages if stage.kind != "shadow"
    )
    yield (
        f"Then    expected {duration(told.expected_seconds)}, worst "
        f"{duration(told.worst_seconds)}{instead}"
    )
    if stages:
        yield f"        {proposal.regime} in {stages}"
    found = _found(proposal.finds)
    if found:
        yield f"        {found}"
    if proposal.proves_odds is not None:
        yield f"        a PASS rules out errors at odds of {proposal.proves_odds:g} and more"


def _takes(now: Forecast) -> float | None:
    """How long the plan as it is would take if no deadline ended it."""
    seconds = [stage.seconds_needed for stage in now.stages]
    if now.decidable is not Decidable.NEVER or None in seconds:
        return None
    return sum(
        max(stage.hold_seconds, stage.seconds_needed or 0.0)
        if stage.kind != "shadow"
        else (stage.seconds_needed or 0.0)
        for stage in now.stages
    )


def found_line(found: Found | None) -> str:
    """When gross harm is found, in half of such releases."""
    told = _found(found)
    return f"{told}, in half of such releases" if found is not None and told else ""


def _found(found: Found | None) -> str:
    if found is None:
        return ""
    parts = [
        f"{what} in {duration(seconds)}"
        for what, seconds in (
            ("an outage", found.outage_seconds),
            ("5 % errors", found.five_percent_seconds),
        )
        if seconds is not None
    ]
    return f"{found.stage} finds {listed(parts)}" if parts else ""


def _yaml(keys: dict[str, JsonValue]) -> Iterator[str]:
    """Keys as YAML: on one line each where that fits, steps one a line."""
    for key, value in keys.items():
        flow = f"{key}: {_flow(value)}"
        if len(flow) <= FLOW_WIDTH or not isinstance(value, dict):
            yield flow
            continue
        yield f"{key}:"
        for inner, item in value.items():
            if isinstance(item, list) and len(item) > 1 and isinstance(item[0], dict):
                yield f"  {inner}:"
                yield from (f"    - {_flow(one)}" for one in item)
            else:
                yield f"  {inner}: {_flow(item)}"


def _flow(value: JsonValue) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
