"""One measured figure beside its bar, and the page that shows them all."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

_NO_BAR: Final = frozenset({"", "none"})


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured. `met` is None for a row only there to compare, and where its bar cannot be judged."""

    what: str
    bar: str
    measured: str
    met: bool | None
    runs: int
    seed: int | None = None
    error: float | None = None  # standard error of the figure, where it is a share
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.met is None:
            return "" if self.bar in _NO_BAR else "not judged"
        return "met" if self.met else "**NOT MET**"


@dataclass(frozen=True, slots=True)
class Section:
    """Figures of one group, and the table of the rules that a user would pick instead."""

    title: str
    figures: tuple[Figure, ...]
    beside: str = ""


def page(sections: Sequence[Section], *, command: str, minutes: float) -> str:
    """Markdown with every figure; a bar that is not met says so in its row."""
    figures = [figure for section in sections for figure in section.figures]
    missed = [figure.what for figure in figures if figure.met is False]
    open_bars = sum(figure.verdict == "not judged" for figure in figures)
    barred = sum(figure.met is not None for figure in figures)
    lines = [
        "# What the gates were measured to do",
        "",
        f"Written by `{command}` in {minutes:.0f} min on {machine()}.",
        f"{barred - len(missed)} of {barred} bars met."
        + (f" NOT MET: {'; '.join(missed)}." if missed else "")
        + (f" {open_bars} could not be judged: their rows say why." if open_bars else ""),
        "",
        "Traffic is simulated: Poisson, 50 requests/s, 1 % of them candidate, a hold of 30 minutes, 1 %",
        "errors in the baseline, unless a row says otherwise. Budgets are spent in proportion to time",
        "(power spending), without tolerance and without late windows, unless a row says otherwise. A",
        "median counts a hold that found nothing as never. SE is the standard error of a share.",
        "",
    ]
    for section in sections:
        lines += [f"## {section.title}", ""]
        if section.figures:
            lines += [
                "| what | bar | measured | | SE | runs | seed |",
                "|---|---|---|---|---|---|---|",
            ]
            lines += [_row(figure) for figure in section.figures]
            lines.append("")
        if section.beside:
            lines += [section.beside, ""]
    return "\n".join(lines).rstrip() + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def share(value: float) -> str:
    """`.0466`: a part of all runs."""
    return f"{value:.4f}".removeprefix("0") if value < 1 else f"{value:.3f}"


def standard_error(value: float, runs: int) -> float:
    """That of a share of independent runs."""
    return float(np.sqrt(value * (1 - value) / runs))


def machine() -> str:
    """Processor and libraries, nothing that names the machine."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, Python {platform.python_version()}, numpy {np.__version__}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _row(figure: Figure) -> str:
    what = f"{figure.what} ({figure.note})" if figure.note else figure.what
    error = "" if figure.error is None else f"{figure.error:.4f}".removeprefix("0")
    seed = "" if figure.seed is None else str(figure.seed)
    cells = (what, figure.bar, figure.measured, figure.verdict, error, f"{figure.runs:,}", seed)
    return "| " + " | ".join(cells) + " |"
