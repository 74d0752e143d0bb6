"""Colour, questions and zones belong to a terminal; a pipe gets plain text in UTC."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from cli_builders import Cli

from clients import output
from support.record_builders import rolled_back_by_error


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self, *, tty: bool = True) -> None:
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


def test_a_pipe_gets_no_colour(cli: Cli) -> None:
    cli.keep(rolled_back_by_error())

    result = cli("status")

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("cli")
def test_colour_needs_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    assert output.wants_colour(Terminal())  # type: ignore[arg-type]
    assert not output.wants_colour(Terminal(tty=False))  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.wants_colour(Terminal())  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.wants_colour(Terminal())  # type: ignore[arg-type]


def test_colour_only_repeats_verdict_words() -> None:
    assert output.coloured("error BREACH") == "error \x1b[31mBREACH\x1b[0m"
    assert output.coloured("no BREACH; PASS needs more; BREACH at 22") == (
        "no BREACH; PASS needs more; BREACH at 22"
    )


@pytest.mark.usefixtures("on_a_terminal")
def test_a_reader_at_a_terminal_sees_his_own_zone_and_a_pipe_utc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert output.reader_zone() == ZoneInfo("Europe/Berlin")

    monkeypatch.setattr(output, "is_terminal", lambda: False)
    assert output.reader_zone() is UTC


@pytest.mark.usefixtures("on_a_terminal")
def test_a_zone_that_nobody_knows_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Nowhere/At_All")

    assert output.reader_zone().utcoffset(output.now()) is not None
