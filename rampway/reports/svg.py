"""Small SVG drawings: text is always escaped, every drawing has a title and a description."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from markupsafe import Markup

CHAR_PX = 6.7  # a generous width of one character at the page's 12 px chart type
_TICK_STEPS_SECONDS = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000),
)
_NICE = (1, 2, 5, 10)


class Point(NamedTuple):
    """A place in a drawing, in pixels from its upper left corner."""

    x: float
    y: float


@dataclass(frozen=True)
class Axis:
    """Maps values onto pixels, linearly."""

    low: float
    high: float
    start_px: float
    end_px: float

    def at(self, value: float) -> float:
        """The pixel of a value; an axis without extent puts everything at its start."""
        if self.high == self.low:
            return self.start_px
        part = (value - self.low) / (self.high - self.low)
        return self.start_px + part * (self.end_px - self.start_px)


@dataclass
class Drawing:
    """Collects shapes; colours come from the page's style sheet by class name."""

    key: str
    width: float
    height: float
    title: str
    description: str
    parts: list[Markup] = field(default_factory=list[Markup])

    def line(self, start: Point, end: Point, style: str) -> None:
        """A straight line."""
        self._add(
            '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>',
            *(*start, *end, style),
        )

    def path(self, points: Sequence[Point], style: str, *, closed: bool = False) -> None:
        """Straight lines through points."""
        if points:
            way = "M" + "L".join(f"{p.x:.1f} {p.y:.1f}" for p in points)
            self._add('<path d="{}{}" class="{}"/>', way, "Z" if closed else "", style)

    def box(self, corner: Point, width: float, height: float, style: str, hint: str = "") -> None:
        """A rectangle; the hint shows when a pointer rests on it."""
        self._add(
            '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3" class="{}">{}</rect>',
            *(corner.x, corner.y, max(0.0, width), height, style),
            Markup("<title>{}</title>").format(hint) if hint else "",
        )

    def dot(self, at: Point, radius: float, style: str) -> None:
        """A filled circle."""
        self._add('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}"/>', *at, radius, style)

    def text(self, at: Point, words: str, style: str = "", anchor: str = "start") -> None:
        """One line of text."""
        self._add(
            '<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>',
            *(*at, anchor, style, words),
        )

    def markup(self) -> Markup:
        """The whole drawing."""
        return Markup(
            '<svg viewBox="0 0 {:g} {:g}" role="img" aria-labelledby="{}-t {}-d">'
            '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
        ).format(
            *(self.width, self.height, self.key, self.key),
            *(self.key, self.title, self.key, self.description),
            Markup("").join(self.parts),
        )

    def _add(self, shape: str, *values: object) -> None:
        self.parts.append(Markup(shape).format(*values))  # noqa: S704 - our own shape, escaped values


def staircase(points: Sequence[Point], until_x: float) -> list[Point]:
    """A line that keeps each value until the next point, as a count or a share does."""
    steps: list[Point] = []
    for point in points:
        if steps:
            steps.append(Point(point.x, steps[-1].y))
        steps.append(point)
    if steps and until_x > steps[-1].x:
        steps.append(Point(until_x, steps[-1].y))
    return steps


def nice_ticks(high: float, most: int) -> list[float]:
    """Round values from 0 to `high`, in at most `most` steps of 1, 2 or 5 times a power of ten."""
    if high <= 0:
        return [0.0]
    least = max(1.0, high / most)
    size = 10.0 ** math.floor(math.log10(least))
    step = next(n * size for n in _NICE if n * size >= least * (1 - 1e-9))
    return [i * step for i in range(int(high / step + 1e-9) + 1)]


def duration_ticks(seconds: float, most: int) -> list[int]:
    """Round times since a beginning, in seconds."""
    step = next((s for s in _TICK_STEPS_SECONDS if seconds / s <= most), _TICK_STEPS_SECONDS[-1])
    return list(range(0, int(seconds) + 1, step))


def time_ticks(start: datetime, end: datetime, tz: tzinfo, most: int) -> list[datetime]:
    """Round times of day between two times, at most `most` of them."""
    seconds = (end - start).total_seconds()
    step = next((s for s in _TICK_STEPS_SECONDS if seconds / s <= most), _TICK_STEPS_SECONDS[-1])
    midnight = start.astimezone(tz).replace(hour=0, minute=0, second=0, microsecond=0)
    first = int((start - midnight).total_seconds() // step) + 1
    ticks = (midnight + timedelta(seconds=step * i) for i in range(first, first + most + 2))
    return [tick for tick in ticks if tick <= end]


def apart(wanted: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least `distance` apart, between `low` and `high`.

    They keep their order. If they cannot all fit, they are spread evenly.
    """
    if not wanted:
        return []
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    room = min(distance, (high - low) / max(1, len(wanted) - 1))
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(floor, wanted[i])
        floor = placed[i] + room
    ceiling = high
    for i in reversed(order):
        placed[i] = min(ceiling, placed[i])
        ceiling = placed[i] - room
    return placed
