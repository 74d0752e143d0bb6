"""How a command prints: data on stdout as text or JSON, words on stderr, colour on terminals only."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

if TYPE_CHECKING:
    from pydantic import JsonValue

LOCAL_ZONE = Path("/etc/localtime")
VERDICT_COLOURS = {
    "PASS": "green",
    "INCONCLUSIVE": "yellow",
    "NO_DATA": "bright_black",
    "INCOMPARABLE": "bright_black",
    "BREACH": "red",
}
# "no BREACH", "BREACH at" and "PASS needs" are no verdicts.
VERDICT_WORDS = re.compile(
    r"(?<!no )\b(PASS|INCONCLUSIVE|NO_DATA|INCOMPARABLE|BREACH)\b(?! (?:at|needs|above|when))"
)

Command = TypeVar("Command", bound=Callable[..., object])


class Form(StrEnum):
    """What stdout carries."""

    TABLE = "table"
    JSON = "json"


def output_option(command: Command) -> Command:
    """Give a command `--output table|json`, handed to it as `form`."""
    return click.option(
        "--output",
        "form",
        type=click.Choice([form.value for form in Form]),
        default=Form.TABLE.value,
        show_default=True,
        callback=_form,
        help="What stdout carries.",
    )(command)


def _form(_context: click.Context, _option: click.Parameter, value: str) -> Form:
    return Form(value)


def dry_run_option(command: Command) -> Command:
    """Give a command `--dry-run`: it says what it would do and writes nothing."""
    return click.option(
        "--dry-run", is_flag=True, help="Check and say what would be done; write nothing."
    )(command)


def show(text: str) -> None:
    """Print a screen on stdout; colour only repeats the verdict words."""
    click.echo(coloured(text) if wants_colour(sys.stdout) else text)


def show_json(value: "JsonValue | Mapping[str, object]") -> None:
    """Print one JSON document on stdout."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def tell(text: str) -> None:
    """Say something about the work itself: on stderr, so that stdout stays data."""
    click.echo(text, err=True)


def coloured(text: str) -> str:
    """The text with its verdict words in their colours."""
    return VERDICT_WORDS.sub(lambda word: click.style(word[0], fg=VERDICT_COLOURS[word[0]]), text)


def wants_colour(stream: TextIO) -> bool:
    """Whether colour reaches a person: a terminal, and no NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_terminal() -> bool:
    """Whether somebody looks at stdout while it is written."""
    return sys.stdout.isatty()


def can_ask() -> bool:
    """Whether somebody can be asked: both ends of the question are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def now() -> datetime:
    """This moment, in UTC; the one clock of the screens."""
    return datetime.now(UTC)  # noqa: TID251 - the edge: what a person sees is drawn now


def reader_zone() -> tzinfo:
    """The reader's zone on a terminal; UTC in a pipe, whose reader may be anywhere."""
    if not is_terminal():
        return UTC
    zone = _configured_zone()
    return UTC if zone.utcoffset(now()) == UTC.utcoffset(None) else zone


def _configured_zone() -> tzinfo:
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with LOCAL_ZONE.open("rb") as zone:
            return ZoneInfo.from_file(zone)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return now().astimezone().tzinfo or UTC
