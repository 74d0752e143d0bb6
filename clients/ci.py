"""What a CI job is told beside the exit code: outputs, a summary, and remarks on its pull request."""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from rampway.reports.words import plain

# GitHub drops a step's summary whole when it is longer ("upload aborted, supports content up to a
# size of 1024k").
SUMMARY_BYTES_MAX = 1024 * 1000
MESSAGE_MAX = 1000


def is_github() -> bool:
    """Whether this runs in a job of GitHub Actions, whose log is read for commands."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def write_outputs(outputs: Mapping[str, str | None]) -> None:
    """Append `name=value` lines to $GITHUB_OUTPUT; nothing outside GitHub Actions."""
    lines = [f"{name}={plain(value)}\n" for name, value in outputs.items() if value is not None]
    _append("GITHUB_OUTPUT", "".join(lines))


def write_summary(markdown: str) -> None:
    """Append Markdown to $GITHUB_STEP_SUMMARY; nothing outside GitHub Actions."""
    if len(markdown.encode()) < SUMMARY_BYTES_MAX:
        _append("GITHUB_STEP_SUMMARY", markdown + "\n")


def annotate(level: str, title: str, message: str, *, on_stderr: bool) -> None:
    """Print one annotation as a workflow command; the runner reads both streams of a step.

    Source: GitHub's "Workflow commands", `::error title={title}::{message}`; the message escapes `%`,
    CR and LF, a property also `:` and `,`.
    """
    head = _escaped(plain(title, 200)).replace(":", "%3A").replace(",", "%2C")
    click.echo(f"::{level} title={head}::{_escaped(plain(message, MESSAGE_MAX))}", err=on_stderr)


def disarmed(text: str) -> str:
    """Text with someone else's words in it, without what a GitHub runner would take for a command.

    The runner obeys `::name::` at the start of a line, and the older `##[name]` anywhere in one.
    """
    lines = [
        line.replace("##[", "## [").replace("::", ": :", 1)
        if line.lstrip().startswith("::")
        else line.replace("##[", "## [")
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
