"""Forest plots: a difference in right answers and its 95 % interval, one row per kind of case."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rampway.gates.comparison import BucketCompared, Reading
from rampway.gates.verdicts import SliceLoss, Verdict
from rampway.reports.svg import CHAR_PX, Axis, Drawing, Point
from rampway.reports.words import decimal, integer, interval_points, plain, points, shorten, signed

ROWS_MAX = 20
_ROW_PX = 26.0
_TOP_PX = 30.0
_BOTTOM_PX = 44.0
_MARGIN_PX = 10.0
_STEPS_PP = (1.0, 2.0, 5.0, 10.0, 20.0, 25.0, 50.0)
_FULL_PP = 100.0
_DOT_LEAST, _DOT_MOST = 3.0, 7.0
_WORSE = "interval-worse breach-dot"  # the style of the line, then of the dot
_OTHER = "interval-thin candidate-dot"


@dataclass(frozen=True)
class ForestSize:
    """A plot's width, the room for its labels and numbers, and how many ticks it bears."""

    name: str
    width: float
    labels: float
    numbers: float
    ticks: int


WIDE = ForestSize("wide", 1032, 190, 210, 10)
NARROW = ForestSize("narrow", 352, 96, 0, 4)


@dataclass(frozen=True)
class _Row:
    """One interval, in fractions; `reading` says what was made of it, `weight` how much is behind."""

    label: str
    difference: float
    low: float
    high: float
    weight: int
    reading: str
    style: str


def forest_figure(
    column: str, buckets: Sequence[BucketCompared], size: ForestSize, key: str
) -> Markup:
    """Draw the first ROWS_MAX buckets; a larger dot stands for more answers. Empty without one."""
    return _figure(column, [_of_bucket(b) for b in buckets if _is_measured(b)], size, key)


def slices_figure(column: str, slices: Sequence[SliceLoss], size: ForestSize, key: str) -> Markup:
    """Draw the first ROWS_MAX slices; a larger dot stands for more cases. Empty without one."""
    return _figure(column, [_of_slice(s) for s in slices if s.cases], size, key)


def _figure(column: str, found: Sequence[_Row], size: ForestSize, key: str) -> Markup:
    rows = found[:ROWS_MAX]
    if not rows:
        return Markup()
    floor = _TOP_PX + _ROW_PX * len(rows)
    canvas = Drawing(
        key=f"forest-{key}-{size.name}",
        width=size.width,
        height=floor + _BOTTOM_PX,
        title=f"Difference in right answers by {plain(column, 60)}, candidate less baseline",
        description=_description(rows),
    )
    reach = _reach(rows)
    axis = Axis(-reach, reach, size.labels + _MARGIN_PX, size.width - size.numbers - _MARGIN_PX)
    _scale(canvas, axis, reach, floor, size)
    most = max(row.weight for row in rows)
    for number, row in enumerate(rows):
        y = _TOP_PX + _ROW_PX * (number + 0.5)
        _draw_row(canvas, axis, row, y, size, part=row.weight / most)
    return canvas.markup()


def _is_measured(bucket: BucketCompared) -> bool:
    return bool(bucket.rate.baseline.units and bucket.rate.candidate.units)


def _of_bucket(bucket: BucketCompared) -> _Row:
    rate = bucket.rate
    return _Row(
        bucket.value,
        rate.difference,
        rate.low,
        rate.high,
        rate.baseline.units + rate.candidate.units,
        rate.reading.value,
        _WORSE if rate.reading is Reading.WORSE else _OTHER,
    )


def _of_slice(slice_: SliceLoss) -> _Row:
    return _Row(
        slice_.value,
        slice_.difference,
        slice_.low,
        slice_.high,
        slice_.cases,
        slice_.verdict.value,
        _WORSE if slice_.verdict is Verdict.BREACH else _OTHER,
    )


def _description(rows: Sequence[_Row]) -> str:
    told = [
        f"{plain(row.label, 40)} {points(row.difference)} "
        f"{interval_points(row.low, row.high)}, {row.reading}"
        for row in rows
    ]
    return f"With 95 % intervals: {'; '.join(told)}."


def _reach(rows: Sequence[_Row]) -> float:
    """How far the axis goes to each side, in percentage points."""
    furthest = max(max(abs(row.low), abs(row.high)) for row in rows)
    return min(_FULL_PP, max(1.0, 100 * furthest * 1.05))


def _scale(canvas: Drawing, axis: Axis, reach: float, floor: float, size: ForestSize) -> None:
    step = next((s for s in _STEPS_PP if 2 * reach / s <= size.ticks), _STEPS_PP[-1])
    canvas.line(Point(axis.start_px, floor), Point(axis.end_px, floor), "axis")
    count = int(reach / step + 1e-9)
    for i in range(-count, count + 1):
        x = axis.at(i * step)
        canvas.line(Point(x, _TOP_PX - 6), Point(x, floor), "axis" if i == 0 else "grid")
        words = signed(i * step, 0) if i else decimal(0, 0)
        canvas.text(Point(x, floor + 15), words, "soft", "middle")
    middle = (axis.start_px + axis.end_px) / 2
    canvas.text(Point(axis.start_px, 14), "worse", "soft")
    canvas.text(Point(axis.end_px, 14), "better", "soft", "end")
    canvas.text(Point(middle, floor + 34), "percentage points", "soft", "middle")


def _draw_row(
    canvas: Drawing, axis: Axis, row: _Row, y: float, size: ForestSize, *, part: float
) -> None:
    low, middle, high = (axis.at(100 * v) for v in (row.low, row.difference, row.high))
    line, dot = row.style.split()
    room = int((size.labels - 4) / CHAR_PX)
    canvas.text(Point(0, y + 4), shorten(plain(row.label, 60), room), "soft")
    canvas.line(Point(low, y), Point(high, y), line)
    radius = round(_DOT_LEAST + (_DOT_MOST - _DOT_LEAST) * part**0.5, 1)
    canvas.dot(Point(middle, y), radius, dot)
    if size.numbers:
        words = f"{points(row.difference)} {interval_points(row.low, row.high)}  n {integer(row.weight)}"
        canvas.text(Point(size.width, y + 4), words, "soft", "end")
