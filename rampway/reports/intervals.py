"""The picture of the offline headline: the difference in accuracy with its 95 % interval."""

from markupsafe import Markup

from rampway.gates.plans import OfflinePlan
from rampway.gates.verdicts import Headline
from rampway.reports.shares import Size
from rampway.reports.svg import Axis, Drawing, Point
from rampway.reports.words import decimal, integer, interval_points, points, signed

WIDE = Size("wide", 1032, 122, 30, 30, 8)
NARROW = Size("narrow", 352, 122, 24, 24, 4)
_BAR_Y = 52.0
_AXIS_Y = 84.0
_STEPS_PP = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def interval_figure(head: Headline, plan: OfflinePlan | None, size: Size) -> Markup:
    """Draw the interval in percentage points, with 0 and the largest loss that a PASS allows."""
    margin = 100 * plan.margin if plan else None
    low, middle, high = (100 * v for v in (head.low, head.difference, head.high))
    canvas = Drawing(
        key=f"offline-{size.name}",
        width=size.width,
        height=size.height,
        title="Offline difference in accuracy, candidate less baseline",
        description=(
            f"{points(head.difference)}, 95 % interval {interval_points(head.low, head.high)}, "
            f"{integer(head.cases)} cases. The headline says {head.verdict}."
        ),
    )
    reach = max(abs(low), abs(high), margin or 0.0, 0.5) * 1.15
    axis = Axis(-reach, reach, size.left, size.width - size.right)
    _scale(canvas, axis, reach, size)
    if margin is not None:
        x = axis.at(-margin)
        canvas.line(Point(x, 22), Point(x, _AXIS_Y), "margin")
        words = f"must stay above {signed(-margin)} pp"
        canvas.text(Point(max(x, size.left + 62), 15), words, "soft", "middle")
    canvas.line(Point(axis.at(low), _BAR_Y), Point(axis.at(high), _BAR_Y), "interval")
    for end in (low, high):
        canvas.line(Point(axis.at(end), _BAR_Y - 7), Point(axis.at(end), _BAR_Y + 7), "interval")
    canvas.dot(Point(axis.at(middle), _BAR_Y), 6, "candidate-dot")
    canvas.text(
        Point(axis.at(middle), _BAR_Y - 14), points(head.difference), "candidate-word", "middle"
    )
    return canvas.markup()


def _scale(canvas: Drawing, axis: Axis, reach: float, size: Size) -> None:
    step = next((s for s in _STEPS_PP if 2 * reach / s <= size.ticks), _STEPS_PP[-1])
    canvas.line(Point(axis.start_px, _AXIS_Y), Point(axis.end_px, _AXIS_Y), "axis")
    count = int(reach / step)
    for i in range(-count, count + 1):
        x = axis.at(i * step)
        canvas.line(Point(x, 24), Point(x, _AXIS_Y), "axis" if i == 0 else "grid")
        digits = 1 if step < 1 else 0
        words = signed(i * step, digits) if i else decimal(0, 0)
        canvas.text(Point(x, _AXIS_Y + 15), words, "soft", "middle")
    canvas.text(Point(axis.start_px, size.height - 5), "worse", "soft")
    middle = (axis.start_px + axis.end_px) / 2
    canvas.text(Point(middle, size.height - 5), "percentage points", "soft", "middle")
    canvas.text(Point(axis.end_px, size.height - 5), "better", "soft", "end")
