"""The `rampway` command: its verbs, loaded only when they are used."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from rampway import __version__

COMMANDS = {
    "demo": ("clients.commands.local", "Ship a good model, refuse a worse one, roll one back."),
    "dev": ("clients.commands.local", "Run a whole stack on this machine; Ctrl-C stops it."),
    "init": ("clients.commands.author", "Write a release.yaml to start from."),
    "validate": ("clients.commands.author", "Check release.yaml; every error at once."),
    "schema": ("clients.commands.author", "Print the JSON Schema of release.yaml for editors."),
    "artifact": ("clients.commands.author", "Digest of the artifact that a release.yaml names."),
    "plan": ("clients.commands.author", "Steps, holds, durations, and what they can decide."),
    "simulate": ("clients.commands.simulate", "Play a plan thousands of times, on made-up users."),
    "eval": ("clients.commands.evaluate", "The offline gate on two files of eval results."),
    "compare": ("clients.commands.compare", "Compare two arms on a log of their answers."),
    "lab": ("clients.commands.compare", "Make such a log on this machine, and compare it."),
    "target": ("clients.commands.operate", "Register targets and show them."),
    "start": ("clients.commands.steer", "Start a release; again is the same release."),
    "shadow": ("clients.commands.shadow", "Copy live requests to a candidate, and only report."),
    "status": ("clients.commands.steer", "Where a release is; without a name, the board."),
    "pause": ("clients.commands.steer", "Stop the climb; the watch goes on."),
    "resume": ("clients.commands.steer", "Let the climb go on."),
    "abort": ("clients.commands.steer", "Send all traffic back to the baseline, for good."),
    "override": ("clients.commands.steer", "Let one verdict through; counted."),
    "history": ("clients.commands.record", "What happened, event by event."),
    "explain": ("clients.commands.record", "Why it ended, or stands, as it does."),
    "report": ("clients.commands.record", "Write the release's report page."),
    "verify": ("clients.commands.record", "Recompute every verdict and check the chain."),
    "doctor": ("clients.commands.operate", "Check every part that a release needs."),
    "worker": ("clients.commands.operate", "Run a worker."),
    "gateway": ("clients.commands.operate", "Run the gateway, or end a split by hand."),
    "router": ("clients.commands.router", "Deal units to arms as the gateway would."),
    "judge": ("clients.commands.operate", "Run the judge."),
    "completion": ("clients.commands.operate", "Print the shell's completion script."),
    "exit-codes": ("clients.commands.operate", "What each exit code means."),
}
HERE = Path(__file__).resolve().parent.parent
OURS = ("workflows", "activities", "workers", "clients")


class LazyCommands(click.Group):
    """Lists every verb without importing it, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--home",
    type=click.Path(file_okay=False),
    help="Where Rampway keeps what it writes on this machine [.rampway, RAMPWAY_HOME].",
)
@click.version_option(__version__, "--version", message="rampway %(version)s")
def rampway(home: str | None) -> None:
    """Release prompts and models step by step, under statistical gates, or back by itself."""
    if home is not None:
        os.environ["RAMPWAY_HOME"] = str(Path(home).absolute())


def main() -> NoReturn:
    """The entry point: run, flush, and leave at once.

    The Temporal client's Rust threads may crash or hang a program that had succeeded while Python
    shuts down (temporalio/sdk-python issue 300), hence `os._exit`.
    """
    _check_packages_are_ours()
    code = 0
    try:
        code = int(rampway.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as left:
        code = left.exit_code
    except click.exceptions.Abort:
        click.echo("Interrupted. What was started runs on.", err=True)
        code = 130
    except click.ClickException as failed:
        failed.show()
        code = failed.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_packages_are_ours() -> None:
    """Name the culprit when another distribution installs a package called like one of ours."""
    for name in OURS:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or not Path(origin).resolve().is_relative_to(HERE):
            sys.stderr.write(
                f"The package {name} is not Rampway's: it comes from {origin}. Rampway needs an "
                "environment of its own. Next: pipx install rampway\n"
            )
            os._exit(1)


if __name__ == "__main__":
    main()
