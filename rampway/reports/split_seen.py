"""The picture of the split as the log shows it: the candidate's part of the units over time."""

from collections.abc import Sequence

from markupsafe import Markup

from rampway.reports.comparison import Moment
from rampway.reports.shares import Size
from rampway.reports.svg import Axis, Drawing, Point, duration_ticks
from rampway.reports.words import duration, integer, percent, share

WIDE = Size("wide", 1032, 200, 52, 14, 10)
NARROW = Size("narrow", 352, 190, 44, 8, 4)
_TOP_PX = 14.0
_BOTTOM_PX = 34.0
_RUNGS = (0.0, 0.25, 0.5, 0.75, 1.0)


def split_figure(moments: Sequence[Moment], share_bp: int, seconds: float, size: Size) -> Markup:
    """Draw the candidate's part of the units per moment, and the share that was set (dashed).

    A moment without units is a gap.
    """
    if not any(moment.share is not None for moment in moments):
        return Markup()
    canvas = Drawing(
        key=f"split-{size.name}",
        width=size.width,
        height=size.height,
        title="The candidate's part of the units over the A/B's time",
        description=_description(moments, share_bp, seconds),
    )
    time = Axis(0, max(seconds, 1e-9), size.left, size.width - size.right)
    heights = Axis(0, 1, size.height - _BOTTOM_PX, _TOP_PX)
    for rung in _RUNGS:
        y = heights.at(rung)
        canvas.line(Point(time.start_px, y), Point(time.end_px, y), "grid")
        canvas.text(Point(size.left - 6, y + 4), percent(rung, 0), "soft", "end")
    ticks = [float(tick) for tick in duration_ticks(seconds, size.ticks)]
    for tick in ticks if len(ticks) > 1 else [0.0, seconds]:
        x = time.at(tick)
        anchor = "end" if x > time.end_px - 20 else "middle" if tick else "start"
        canvas.line(Point(x, heights.start_px), Point(x, heights.start_px + 5), "axis")
        canvas.text(Point(x, size.height - 10), duration(tick), "soft", anchor)
    wanted = heights.at(share_bp / 10_000)
    canvas.line(Point(time.start_px, wanted), Point(time.end_px, wanted), "expected")
    width = (time.end_px - time.start_px) / len(moments)
    for part in _unbroken_parts(moments):
        stairs: list[Point] = []
        for i in part:
            left, y = time.start_px + i * width, heights.at(moments[i].share or 0.0)
            stairs += [Point(left, y), Point(left + width, y)]
        canvas.path(stairs, "candidate")
    return canvas.markup()


def _description(moments: Sequence[Moment], share_bp: int, seconds: float) -> str:
    candidate = sum(moment.candidate for moment in moments)
    units = candidate + sum(moment.baseline for moment in moments)
    seen = [moment.share for moment in moments if moment.share is not None]
    return (
        f"{integer(candidate)} of {integer(units)} units, {percent(candidate / units)}, were the "
        f"candidate's in {duration(seconds)}; the share was set to {share(share_bp)}. Parts of the time "
        f"had from {percent(min(seen), 0)} to {percent(max(seen), 0)}."
    )


def _unbroken_parts(moments: Sequence[Moment]) -> list[list[int]]:
    """Runs of moments that have units, by their index."""
    parts: list[list[int]] = [[]]
    for i, moment in enumerate(moments):
        if moment.share is not None:
            parts[-1].append(i)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]
