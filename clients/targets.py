"""Registers targets with the record and the gateway alike, and reads them back."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from clients.exits import Exit, Failure
from clients.releasing import read_text
from rampway.release.artifact import Artifact
from rampway.release.json_values import resolve_json
from rampway.release.records import Standing, Target
from rampway.release.splits import Observed, Served
from rampway.release.yamltree import Unreadable, read_yaml
from rampway.reports.texts import columns
from rampway.reports.words import demo_mark, duration, plain, share, short

if TYPE_CHECKING:
    from rampway.ports import Registry, Traffic


async def read_target(path: Path, name: str) -> Target:
    """Read a target's configuration: the fields of `Target`, but for its name. Raises Failure."""
    text = await read_text(path)
    try:
        document = read_yaml(text)
    except Unreadable as wrong:
        place = wrong.place
        raise Failure(
            f"{path.name}:{place.line}:{place.column}: {wrong.why}", Exit.USAGE
        ) from wrong
    content = resolve_json(document.tree)
    if document.problems or not isinstance(content, dict):
        told = document.problems[0].message if document.problems else "needs keys such as kind"
        raise Failure(f"{path.name}: {told}", Exit.USAGE)
    return checked({"name": name, **content}, str(path))


def checked(content: dict[str, JsonValue], where: str) -> Target:
    """A target of these fields. Raises Failure (usage) with every error at once."""
    try:
        return Target.model_validate(content)
    except ValidationError as wrong:
        told = [
            f"{where}: {'.'.join(map(str, error['loc'])) or 'the file'}: {error['msg']}"
            for error in wrong.errors(include_url=False)
        ]
        raise Failure("\n".join(told), Exit.USAGE) from wrong


async def check_new(registry: "Registry", target: Target, baseline: Served) -> None:
    """Refuse to move a known target's baseline. Raises Failure before anything is written."""
    from rampway.ports import NotFound

    try:
        standing = await registry.target(target.name)
    except NotFound:
        return
    if standing.baseline != baseline:
        raise Failure(
            f"refused [baseline moved]: {target.name} serves {short(standing.baseline.artifact)} by "
            f"the record, not {short(baseline.artifact)} served like this; only a release moves it. "
            f"Next: rampway target show {target.name}"
        )


async def register(
    registry: "Registry", traffic: "Traffic", target: Target, baseline: Served, content: Artifact
) -> None:
    """Write a target to gateway and record; repeated, it is one registration.

    The gateway first: it alone can refuse an upstream that it does not know, and a baseline once
    recorded is never changed.
    """
    await check_new(registry, target, baseline)
    await traffic.add_target(target, baseline)
    await registry.add_artifact(baseline.artifact, content.content)
    await registry.set_target(target, baseline)


def list_text(standings: list[Standing]) -> str:
    """All targets, one a line."""
    if not standings:
        return "No target is registered. Next: rampway target add"
    rows = [["target", "kind", "team", "baseline", "upstream"]]
    rows += [
        [
            s.target.name,
            s.target.kind.value,
            plain(s.target.team, 30) or "-",
            short(s.baseline.artifact),
            s.baseline.serve.upstream,
        ]
        for s in standings
    ]
    return "\n".join(columns(rows))


def show_text(standing: Standing, observed: Observed | None, silence: str) -> str:
    """One target: what it is, what it demands, and what the gateway does with it now."""
    target, floor = standing.target, standing.target.minimums
    counting = (
        f"slices of {duration(target.slice_seconds)}, sealed after {duration(target.seal_seconds)}; "
        f"judge within {duration(target.judge_seconds)}, {target.judge_levels} levels"
    )
    minimums = (
        f"hold {duration(floor.hold_seconds)}, shadow {duration(floor.shadow_seconds)} and "
        f"{floor.shadow_pairs:,} pairs, lease {duration(floor.lease_seconds)}"
    )
    rows = [
        ["baseline", f"{standing.baseline.artifact}, upstream {standing.baseline.serve.upstream}"],
        ["team", plain(target.team, 60) or "-"],
        ["counting", counting],
        ["minimums", minimums],
        ["gateway", _now(observed) if observed else plain(silence)],
    ]
    title = f"{demo_mark(target)}{target.name}, {target.kind} target"
    return "\n".join([title, *columns(rows)])


def _now(observed: Observed) -> str:
    if observed.release is None or observed.ended is not None:
        return f"all traffic on {short(observed.baseline)}; nobody holds it"
    lease = observed.lease_seconds
    left = f", lease {duration(lease)}" if lease is not None else ""
    return f"release {observed.release[:6]} holds it at {share(observed.share_bp)}{left}"
