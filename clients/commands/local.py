"""The verbs that run everything on this machine: demo and dev."""

import asyncio
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import click

from clients.exits import Exit, Failure, leave
from clients.settings import home

if TYPE_CHECKING:
    from pathlib import Path

    from clients.demo import Demo
    from clients.dev import GatewayConfig
    from rampway.release.orders import Progress

UNTIL_CTRL_C = "Ctrl-C stops everything."


@click.command()
@click.option("--keep", is_flag=True, help="Keep the stack and its UI open until Ctrl-C.")
@click.option(
    "--evidence",
    type=click.Choice(["gateway", "prometheus"]),
    default="gateway",
    show_default=True,
    help="Where the counts are read; prometheus: from a gateway of two processes, as it is scraped.",
)
def demo(evidence: str, *, keep: bool) -> None:
    """Ship a good model, refuse a worse one offline, roll a harmful one back; then look at it."""
    from clients.demo import Demo, DemoFailed
    from clients.dev import MissingPart
    from clients.processes import DidNotStart
    from clients.tutor.lexicon import LexiconMissing
    from workers.settings import EvidenceFrom

    click.echo("DEMO target: holds are seconds here (the floor of a real target is 30 min).")
    played = Demo(home(), _Lines().change, click.echo, evidence=EvidenceFrom(evidence))
    try:
        asyncio.run(_play(played, keep=keep))
    except ExceptionGroup as several:
        raise Failure(str(several.exceptions[0])) from several
    except (DemoFailed, DidNotStart, MissingPart, LexiconMissing) as failed:
        raise Failure(str(failed)) from failed
    if not played.all_as_they_must:
        leave(Exit.ERROR)


async def _play(played: "Demo", *, keep: bool) -> None:
    """Play, show the table while the stack is still open, and stop all in order."""
    stop = _stop_event()
    async with played.open():
        playing = asyncio.create_task(played.play())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([playing, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            playing.cancel()
            raise click.Abort
        playing.result()
        from clients.demo_table import demo_table

        click.echo(demo_table(played))
        if keep and played.stack is not None:
            click.echo(f"Kept open: {played.stack.stack.ui_url}   {UNTIL_CTRL_C}")
            await stopped
        stopped.cancel()


class _Lines:
    """One line per release on a terminal, redrawn in place; one line per change elsewhere."""

    def __init__(self) -> None:
        self._open = ""

    def change(self, name: str, progress: "Progress") -> None:
        """Show where a release is now, on stderr."""
        text = f"{name}  {progress.line}"
        if not sys.stderr.isatty():
            click.echo(text, err=True)
            return
        width = shutil.get_terminal_size((100, 24)).columns - 1
        fresh = "\n" if self._open not in {"", name} else ""
        click.echo(f"{fresh}\r\x1b[2K{text[:width]}", err=True, nl=progress.phase.ended)
        self._open = "" if progress.phase.ended else name


@click.command()
@click.option("--environment", default="dev", show_default=True, help="Its name in pages.")
@click.option(
    "--upstream", "upstreams", multiple=True, metavar="NAME=URL", help="An upstream; repeatable."
)
@click.option(
    "--gold",
    "golds",
    multiple=True,
    metavar="TARGET=FILE",
    help="Accepted answers for the judge; repeatable.",
)
def dev(environment: str, upstreams: tuple[str, ...], golds: tuple[str, ...]) -> None:
    """Run Temporal with its UI, gateway, judge and worker here; a restart resumes the releases."""
    from clients.dev import MissingPart, kept_config
    from clients.processes import DidNotStart

    directory = home()
    config = kept_config(directory, _pairs("--upstream", upstreams), _pairs("--gold", golds))
    try:
        asyncio.run(_dev(directory, config, environment))
    except (DidNotStart, MissingPart) as failed:
        raise Failure(str(failed)) from failed


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise Failure(f"{option} {text}: write it as NAME=VALUE", Exit.USAGE)
        pairs[name] = value
    return pairs


async def _dev(directory: "Path", config: "GatewayConfig", environment: str) -> None:
    from clients.dev import local_stack

    stop = _stop_event()
    async with local_stack(directory, config, environment=environment) as local:
        stack = local.stack
        click.echo(f"Temporal  {stack.temporal}   UI {stack.ui_url}")
        click.echo(f"gateway   {stack.gateway_data_url}/TARGET/…   admin {stack.gateway_url}")
        click.echo(f"judge     {stack.judge_url}   files in {directory}")
        click.echo(f"{UNTIL_CTRL_C} Next: rampway target add, rampway init")
        ended = asyncio.create_task(local.first_ended())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended.done():
            program = ended.result()
            raise Failure(f"{program.name} ended by itself.\n{program.last_lines()}")
        ended.cancel()
        click.echo("Stopping. Releases resume with the next rampway dev.", err=True)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
