"""Copies live requests to a candidate without a release.yaml: shadow on, shadow off."""

from typing import TYPE_CHECKING

import click

from clients.completing import complete_target
from clients.exits import leave
from clients.opening import open_registry, run
from clients.output import Form, dry_run_option, output_option, show, show_json, tell

if TYPE_CHECKING:
    from pydantic import JsonValue

    from clients.finding import Found
    from clients.shadowing import Wanted
    from clients.starting import Begun


@click.group()
def shadow() -> None:
    """Copy live requests to a candidate; nobody is exposed, and it ends with a report."""


@shadow.command()
@click.argument("target", shell_complete=complete_target)
@click.option("--baseline", required=True, metavar="DIGEST", help="What serves now, or: current.")
@click.option(
    "--candidate",
    required=True,
    metavar="DIGEST|FILE",
    help="A recorded artifact, or a file of prompt, model, parameters, tools.",
)
@click.option("--upstream", help="The gateway's name for what serves it [as last time].")
@click.option("--rate", default="5%", show_default=True, help="Part of the requests to copy.")
@click.option("--time", "length", default="1h", show_default=True, help="How long, at most.")
@click.option(
    "--pairs", type=click.IntRange(min=1), help="Enough; it may pass at the first of both."
)
@click.option("--latency-warning", metavar="TIME", help="Told by status above it, such as 50ms.")
@click.option("--wait", is_flag=True, help="Follow it to its end; the exit code tells which.")
@dry_run_option
@output_option
def on(
    target: str,
    baseline: str,
    candidate: str,
    upstream: str | None,
    rate: str,
    length: str,
    pairs: int | None,
    latency_warning: str | None,
    form: Form,
    *,
    wait: bool,
    dry_run: bool,
) -> None:
    """Copy TARGET's live requests to a candidate, beside the baseline that goes on serving."""
    from clients.shadowing import Wanted
    from clients.starting import follow_to_end

    wanted = Wanted(
        target=target,
        baseline=baseline,
        candidate=candidate,
        upstream=upstream,
        rate=rate,
        time=length,
        pairs=pairs,
        latency_warning=latency_warning,
    )
    if dry_run:
        facts, text = run(_rehearse(wanted))
        show_json(facts) if form is Form.JSON else show(text)
        return
    begun = run(_begin(wanted))
    text = f"{begun.text.splitlines()[0]}\n{_next(begun.found)}"
    if not wait:
        show_json(begun.facts) if form is Form.JSON else show(text)
        return
    tell(text)
    ended = run(follow_to_end(begun.found, None))
    show_json(ended.facts) if form is Form.JSON else show(ended.text)
    leave(ended.code)


@shadow.command()
@click.argument("target", shell_complete=complete_target)
@click.option("--reason", default="", help="Why; it is recorded.")
@dry_run_option
@output_option
def off(target: str, reason: str, form: Form, *, dry_run: bool) -> None:
    """End TARGET's shadow with what it has seen; a planned end, so nobody is paged."""
    from clients.commands.steer import steer
    from rampway.release.controls import Verb

    steer(run(_find(target)).name, Verb.ABORT, reason, form, dry_run=dry_run)


async def _begin(wanted: "Wanted") -> "Begun":
    from clients.shadowing import draft_shadow, next_attempt
    from clients.starting import launch

    async with open_registry() as registry:
        draft = await draft_shadow(wanted, registry)
        return await launch(draft, None, registry, await next_attempt(draft, registry))


async def _rehearse(wanted: "Wanted") -> "tuple[dict[str, JsonValue], str]":
    from clients.shadowing import draft_shadow, next_attempt, words
    from rampway.release.identity import release_name

    async with open_registry() as registry:
        draft = await draft_shadow(wanted, registry)
        identity = draft.identity(await next_attempt(draft, registry))
    name = release_name(wanted.target, identity)
    facts: dict[str, JsonValue] = {
        "release": name,
        "id": identity,
        "dry_run": True,
        "baseline": draft.standing.baseline.artifact,
        "candidate": draft.artifact_digest,
        "rate_bp": draft.plan.shadow.rate_bp if draft.plan.shadow else 0,
        "seconds": draft.plan.shadow.hold_seconds if draft.plan.shadow else 0,
    }
    return facts, words(draft, name)


async def _find(target: str) -> "Found":
    from clients.shadowing import find_shadow

    async with open_registry() as registry:
        return await find_shadow(target, registry)


def _next(found: "Found") -> str:
    return f"watch rampway status -w {found.name}    end rampway shadow off {found.target}"
