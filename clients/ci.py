"""What a CI job is told beside the exit code: outputs and a summary, where it offers files for them."""

import os
from collections.abc import Mapping
from pathlib import Path

from rampway.reports.words import plain

# GitHub drops a step's summary whole when it is longer ("upload aborted, supports content up to a
# size of 1024k").
SUMMARY_BYTES_MAX = 1024 * 1000


def write_outputs(outputs: Mapping[str, str | None]) -> None:
    """Append `name=value` lines to $GITHUB_OUTPUT; nothing outside GitHub Actions."""
    lines = [f"{name}={plain(value)}\n" for name, value in outputs.items() if value is not None]
    _append("GITHUB_OUTPUT", "".join(lines))


def write_summary(markdown: str) -> None:
    """Append Markdown to $GITHUB_STEP_SUMMARY; nothing outside GitHub Actions."""
    if len(markdown.encode()) < SUMMARY_BYTES_MAX:
        _append("GITHUB_STEP_SUMMARY", markdown + "\n")


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
