"""The picture of both arms' latencies: how the answers spread over time, and three percentiles each."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from rampway.reports.comparison import Waits
from rampway.reports.comparison_words import milliseconds
from rampway.reports.shares import Size
from rampway.reports.svg import Axis, Drawing, Point
from rampway.reports.words import integer

WIDE = Size("wide", 1032, 300, 84, 16, 10)
NARROW = Size("narrow", 352, 280, 76, 8, 4)
_BINS = 36
_TOP_PX = 16.0
_LANES_PX = 104.0  # the percentile bars and the scale, under the curves
_LANE_PX = 30.0
_SPREAD_LEAST = 1.5  # an axis never shows less than this ratio of slowest to fastest
_FASTEST_MS = 0.01
_NICE = (1, 2, 5)


def latency_figure(baseline: Waits, candidate: Waits, size: Size) -> Markup:
    """Draw both arms on one logarithmic scale; empty when an arm has no full answer."""
    if not baseline.latency_ms or not candidate.latency_ms:
        return Markup()
    canvas = Drawing(
        key=f"latency-{size.name}",
        width=size.width,
        height=size.height,
        title="Latency of both arms",
        description=f"Baseline {_told(baseline)}. Candidate {_told(candidate)}.",
    )
    low, high = _ends(baseline, candidate)
    axis = Axis(math.log(low), math.log(high), size.left, size.width - size.right)
    floor = size.height - _LANES_PX
    _scale(canvas, axis, floor, size)
    heights = [_heights(waits.latency_ms, low, high) for waits in (baseline, candidate)]
    tops = Axis(0, max(max(one) for one in heights), floor, _TOP_PX)
    for parts, style in zip(heights, ("baseline", "candidate"), strict=True):
        _curve(canvas, parts, axis, tops, style)
    canvas.text(Point(size.left - 8, _TOP_PX + 12), "answers", "soft", "end")
    for lane, (name, waits) in enumerate((("baseline", baseline), ("candidate", candidate))):
        _percentiles(canvas, name, waits, axis, floor + 20 + lane * _LANE_PX)
    return canvas.markup()


def _told(waits: Waits) -> str:
    found = waits.percentiles
    words = (
        f"{integer(found.units)} units: p50 {milliseconds(found.p50)}, "
        f"p95 {milliseconds(found.p95)}, p99 {milliseconds(found.p99)}"
    )
    return f"{words}, {integer(waits.timeouts)} without a full answer" if waits.timeouts else words


def _ends(*arms: Waits) -> tuple[float, float]:
    """The fastest and the slowest answer, at least _SPREAD_LEAST apart."""
    every = [max(_FASTEST_MS, ms) for waits in arms for ms in waits.latency_ms]
    low, high = min(every), max(every)
    if high / low >= _SPREAD_LEAST:
        return low, high
    middle = math.sqrt(low * high)
    return middle / math.sqrt(_SPREAD_LEAST), middle * math.sqrt(_SPREAD_LEAST)


def _heights(latencies_ms: Sequence[float], low: float, high: float) -> list[float]:
    """The part of the arm's full answers in each of the bins, which are even in the logarithm."""
    counts = [0] * _BINS
    width = (math.log(high) - math.log(low)) / _BINS
    for ms in latencies_ms:
        place = int((math.log(max(_FASTEST_MS, ms)) - math.log(low)) / width)
        counts[min(_BINS - 1, max(0, place))] += 1
    return [count / len(latencies_ms) for count in counts]


def _curve(canvas: Drawing, parts: Sequence[float], axis: Axis, tops: Axis, style: str) -> None:
    step = (axis.end_px - axis.start_px) / _BINS
    stairs: list[Point] = []
    for i, part in enumerate(parts):
        left, y = axis.start_px + i * step, tops.at(part)
        stairs += [Point(left, y), Point(left + step, y)]
    floor = tops.start_px
    outline = [Point(axis.start_px, floor), *stairs, Point(axis.end_px, floor)]
    if style == "candidate":
        canvas.path(outline, "area", closed=True)
    canvas.path(outline, style)


def _percentiles(canvas: Drawing, name: str, waits: Waits, axis: Axis, y: float) -> None:
    """A bar from p50 to p99 with a dot at p95; it runs off the scale where an end is no answer."""
    found = waits.percentiles
    canvas.text(Point(axis.start_px - 8, y + 4), name, f"{name}-word", "end")
    start, dot, end = (
        axis.end_px if value is None else axis.at(math.log(max(_FASTEST_MS, value)))
        for value in (found.p50, found.p95, found.p99)
    )
    canvas.line(Point(start, y), Point(end, y), f"bar-{name}")
    for x in (start, end):
        canvas.line(Point(x, y - 6), Point(x, y + 6), f"bar-{name}")
    canvas.dot(Point(dot, y), 5, f"{name}-dot")


def _scale(canvas: Drawing, axis: Axis, floor: float, size: Size) -> None:
    bottom = size.height - 26
    canvas.line(Point(axis.start_px, floor), Point(axis.end_px, floor), "axis")
    for ms in _ticks(math.exp(axis.low), math.exp(axis.high), size.ticks):
        x = axis.at(math.log(ms))
        canvas.line(Point(x, _TOP_PX), Point(x, bottom), "grid")
        if size.left + 14 <= x <= size.width - size.right - 14:
            canvas.text(Point(x, bottom + 16), _tick_words(ms), "soft", "middle")
    canvas.text(Point(4, bottom + 16), "p50-p95-p99", "soft")


def _ticks(low: float, high: float, most: int) -> list[float]:
    """1, 2 and 5 times powers of ten; only the powers where there is no room for more."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [n * 10.0**power for power in powers for n in _NICE]
    shown = [ms for ms in every if low <= ms <= high]
    if len(shown) <= most:
        return shown
    return [ms for ms in shown if math.log10(ms).is_integer()]


def _tick_words(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"  # noqa: PLR2004 - ms in a second
