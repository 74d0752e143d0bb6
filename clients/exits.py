"""What an exit code means, and how a failure becomes one sentence and one code."""

from enum import IntEnum
from typing import NoReturn

import click


class Exit(IntEnum):
    """Exit codes of the rampway command; scripts may rely on them."""

    OK = 0  # promoted, or done
    ERROR = 1
    USAGE = 2
    STOPPED = 3  # gate failed, rolled back, aborted
    IDENTITY = 4  # refused for who you are
    INCONCLUSIVE = 5
    RUNNING = 8  # still running, or the outcome is unknown
    INTERRUPTED = 130


class Failure(click.ClickException):
    """A failure that a person reads: what is wrong, then the rule or the next step."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """What click leaves with."""
        return int(self.code)

    def show(self, file: object = None) -> None:
        """Print the sentence as it is, on stderr; stdout stays data."""
        del file
        click.echo(self.message, err=True)


def leave(code: Exit) -> NoReturn:
    """End the command with a code."""
    raise click.exceptions.Exit(int(code))
