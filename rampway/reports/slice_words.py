"""How the slices of the offline gate are told: in one row of the gate, and in a table, worst first."""

from collections import Counter
from dataclasses import dataclass

from rampway.gates.verdicts import OfflineSlices, SliceLoss, Verdict
from rampway.reports.words import (
    decimal,
    integer,
    interval_points,
    p_value,
    percent,
    plain,
    plural,
    points,
)

SLICE_COLUMNS = (
    *("slice", "verdict", "cases", "baseline", "candidate"),
    *("difference", "95 % CI", "p (Holm)", "sigma"),
)
SCREEN_COLUMNS = ("slice", "verdict", "cases", "difference", "95 % CI", "p (Holm)", "sigma")
_ROOM = 74  # of a screen's row, behind its gate and its verdict
_ANSWER_ROOM = 92  # of a screen's line, behind `BREACH: `
_NAME_LEAST = 8


@dataclass(frozen=True)
class SliceTable:
    """A table of slices with the sentence above it."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    worse: str
    beyond: str
    left_out: str


def slices_cells(slices: OfflineSlices) -> list[str]:
    """The gate's row: verdict, and what was found after Holm beside what the plain rule counts."""
    if slices.verdict in {Verdict.NO_DATA, Verdict.INCOMPARABLE, Verdict.INCONCLUSIVE}:
        return [slices.verdict.value, plain(slices.why)]
    beyond = [slice_ for slice_ in slices.slices if slice_.sigmas > slices.sigma]
    told = f"{slices.worse} of {len(slices.slices)} after Holm"
    literal = f"; literal {slices.sigma:g} sigma: "
    if slices.worse:
        literal += str(slices.beyond_sigma)
        more = " ..." if slices.worse > 1 else ""
        room = _ROOM - len(told) - len(literal) - len(more) - 2
        return [slices.verdict.value, f"{told}: {_named(slices, 0, room)}{more}{literal}"]
    if len(beyond) != 1:
        return [slices.verdict.value, f"{told}{literal}{len(beyond)}"]
    room = _ROOM - len(told) - len(literal)
    at = slices.slices.index(beyond[0])
    return [slices.verdict.value, f"{told}{literal}{_named(slices, at, room)}"]


def slices_answer(slices: OfflineSlices, overall: str) -> str:
    """The first line where slices alone are in BREACH; `overall` is the headline's difference."""
    told = f"worse in {slices.worse} of {plural(len(slices.slices), 'slice')}: "
    end = f"{' ...' if slices.worse > 1 else ''}{overall}"
    room = _ANSWER_ROOM - len(told) - len(end)
    return f"{told}{_named(slices, 0, room)}{end}"


def slice_title(slice_: SliceLoss, limit: int = 60) -> str:
    """`tense: past simple`, with column and value bounded."""
    return f"{plain(slice_.by, limit // 2)}: {plain(slice_.value, limit)}"


def slice_rows(slices: OfflineSlices, most: int) -> list[list[str]]:
    """The worst slices, at most `most` of them (see SLICE_COLUMNS)."""
    return [_row(slice_) for slice_ in slices.slices[:most]]


def screen_rows(slices: OfflineSlices, most: int) -> list[list[str]]:
    """The same without the accuracies, for a screen (see SCREEN_COLUMNS)."""
    rows = slice_rows(slices, most)
    for row, slice_ in zip(rows, slices.slices, strict=False):
        row[0] = plain(slice_title(slice_), 30)
    return [[*row[:3], *row[5:]] for row in rows]


def slice_table(slices: OfflineSlices, most: int) -> SliceTable:
    """The worst slices for a page."""
    return SliceTable(
        columns=SLICE_COLUMNS,
        rows=slice_rows(slices, most),
        worse=f"{slices.worse} of {plural(len(slices.slices), 'slice')}",
        beyond=f"{slices.beyond_sigma} beyond {slices.sigma:g} sigma",
        left_out=slices_note(slices, most),
    )


def slices_note(slices: OfflineSlices, most: int) -> str:
    """What a table of `most` rows leaves out; empty if nothing."""
    left = len(slices.slices) - most
    return f"{plural(left, 'more slice')}, less likely to be worse." if left > 0 else ""


def slice_numbers(slice_: SliceLoss) -> str:
    """One slice in one line: difference, interval, cases, p and sigmas."""
    if not slice_.cases:
        return "no case that both artifacts answered"
    return (
        f"{points(slice_.difference)} {interval_points(slice_.low, slice_.high)}, "
        f"{percent(slice_.candidate_accuracy)} was {percent(slice_.baseline_accuracy)}, "
        f"{plural(slice_.cases, 'case')}, {p_value(slice_.p_holm)} after Holm, "
        f"{decimal(slice_.sigmas)} sigma"
    )


def _row(slice_: SliceLoss) -> list[str]:
    start = [slice_title(slice_), slice_.verdict.value, integer(slice_.cases)]
    if not slice_.cases:
        return [*start, "-", "-", "-", "-", "-", "-"]
    return [
        *start,
        percent(slice_.baseline_accuracy),
        percent(slice_.candidate_accuracy),
        points(slice_.difference),
        interval_points(slice_.low, slice_.high),
        p_value(slice_.p_holm).removeprefix("p ").removeprefix("= "),
        decimal(slice_.sigmas),
    ]


def _named(slices: OfflineSlices, at: int, room: int) -> str:
    """`past simple -9.8 pp (n 1,200)` in `room` characters; its column where values are not unique."""
    slice_ = slices.slices[at]
    values = Counter(other.value for other in slices.slices)
    name = slice_.value if values[slice_.value] == 1 else f"{slice_.by} {slice_.value}"
    numbers = f" {points(slice_.difference)} (n {integer(slice_.cases)})"
    return plain(name, max(_NAME_LEAST, room - len(numbers))) + numbers
