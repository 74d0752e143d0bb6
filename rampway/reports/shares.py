"""The picture of a release over time: the candidate's share, its phases, pauses and turning points."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum

from markupsafe import Markup

from rampway.release.events import Event, EventKind
from rampway.release.phases import Phase, Trigger
from rampway.reports.dossier import Dossier
from rampway.reports.sentences import headline
from rampway.reports.svg import CHAR_PX, Axis, Drawing, Point, staircase, time_ticks
from rampway.reports.texts import event_why, moment
from rampway.reports.words import clock, plain, share, where

_QUIET = frozenset(
    {
        EventKind.JUDGED,
        EventKind.QUEUED,
        EventKind.CLAIMED,
        EventKind.DECIDED,
        EventKind.PROMOTING,
        EventKind.ROLLING_BACK,
    }
)
_LISTED_MAX = 40
_FULL_BP = 10_000
_NEARLY_FULL_BP = 9_900
_TOP_PX = 34.0
_FLAT_PX = 170.0
_BAND_PX = 26.0
_TICKS_PX = 24.0


class Passed(StrEnum):
    """How a part of the release went; the page colours it by this word."""

    PASSED = "passed"
    STOPPED = "stopped"
    BREACHED = "breached"
    OPEN = "open"
    QUIET = "quiet"


@dataclass(frozen=True)
class Span:
    """A part of the release in one phase and step."""

    label: str
    start: datetime
    end: datetime
    passed: Passed


@dataclass(frozen=True)
class Turn:
    """An event that a person wants to see in the picture, with its number there."""

    number: int
    event: Event
    time: str
    what: str
    why: str


@dataclass(frozen=True)
class Size:
    """A drawing's size in pixels; small ones are for narrow windows."""

    name: str
    width: float
    height: float
    left: float
    right: float
    ticks: int


WIDE = Size("wide", 1032, 300, 52, 14, 10)
NARROW = Size("narrow", 352, 270, 44, 8, 4)


def turns(dossier: Dossier, tz: tzinfo) -> list[Turn]:
    """The turning points, numbered; the last ones if there are very many."""
    decided = {d.event.sequence: d for d in dossier.decisions}
    events = [e for e in dossier.record.events if e.kind not in _QUIET][-_LISTED_MAX:]
    return [
        Turn(
            number=number,
            event=event,
            time=moment(event.at, dossier, tz),
            what=_what(event),
            why=_who_and_why(event, event_why(event, decided.get(event.sequence))),
        )
        for number, event in enumerate(events, start=1)
    ]


def spans(dossier: Dossier) -> list[Span]:
    """The release cut at every change of phase or step."""
    events = dossier.record.events
    cuts: list[tuple[str, Event]] = []
    step: str | None = None
    for i, event in enumerate(events):
        began = i == 0 or event.phase is not events[i - 1].phase
        step = event.step if began or event.step is not None else step
        label = _span_label(event.phase, step)
        if not cuts or cuts[-1][0] != label:
            cuts.append((label, event))
    return [
        Span(
            label=label,
            start=event.at,
            end=following.at if following else events[-1].at,
            passed=_passed(event.phase, following),
        )
        for (label, event), following in zip(cuts, [*[e for _, e in cuts[1:]], None], strict=False)
    ]


def shares_figure(dossier: Dossier, tz: tzinfo, size: Size) -> Markup:
    """Draw the share over time; rungs are evenly spaced, so that 1 % can be seen beside 100 %."""
    if not any(point.share_bp for point in dossier.shares):
        size = replace(size, height=_FLAT_PX)
    canvas = Drawing(
        key=f"shares-{size.name}",
        width=size.width,
        height=size.height,
        title="The candidate's share of traffic over time",
        description=_description(dossier, tz),
    )
    time = _time_axis(dossier, size)
    rungs = _rungs(dossier)
    floor = size.height - _BAND_PX - _TICKS_PX - 8
    heights = Axis(0, len(rungs) - 1, floor, _TOP_PX + 12)
    _grid(canvas, rungs, heights, size)
    _times(canvas, dossier, tz, time, size)
    _copies(canvas, dossier, time, floor)
    line = _climb(dossier, time, heights, rungs)
    if line:
        area = [Point(line[0].x, floor), *line, Point(line[-1].x, floor)]
        canvas.path(area, "area", closed=True)
    _pauses(canvas, dossier, time, heights)
    canvas.path(line, "candidate")
    _band(canvas, dossier, time, floor + 8)
    _marks(canvas, turns(dossier, tz), time, floor)
    return canvas.markup()


def _what(event: Event) -> str:
    match event.kind:
        case EventKind.RAISED:
            return f"raised to {share(event.share_bp)}"
        case EventKind.PINNED:
            return f"pinned, {share(event.share_bp)}"
        case EventKind.SHADOWED:
            return "shadow on"
        case _:
            return event.kind.value.replace("_", " ")


def _who_and_why(event: Event, why: str) -> str:
    actor = plain(event.actor, 40)
    if actor in why:
        return why
    return f"{actor}: {why}" if why else actor


def _span_label(phase: Phase, step: str | None) -> str:
    if phase is Phase.CANARY and step is not None:
        return plain(step)
    return where(step if phase is Phase.FULL else None, phase)


def _passed(phase: Phase, following: Event | None) -> Passed:
    if phase.ended or not (phase.exposed or phase is Phase.OFFLINE_GATE):
        return Passed.QUIET
    if following is None:
        return Passed.OPEN
    if following.trigger is Trigger.BREACH:
        return Passed.BREACHED
    if following.phase in {Phase.PINNED, Phase.REJECTED}:
        return Passed.STOPPED
    return Passed.PASSED


def _description(dossier: Dossier, tz: tzinfo) -> str:
    points = [p for i, p in enumerate(dossier.shares) if _changed(dossier, i)]
    climbs = [f"{share(p.share_bp)} from {clock(p.at, tz)}" for p in points]
    return f"{headline(dossier)} Shares: {', '.join(climbs) or 'none'}."


def _changed(dossier: Dossier, i: int) -> bool:
    return i == 0 or dossier.shares[i].share_bp != dossier.shares[i - 1].share_bp


def _time_axis(dossier: Dossier, size: Size) -> Axis:
    low, high = _ends(dossier)
    return Axis(low.timestamp(), high.timestamp(), size.left, size.width - size.right)


def _ends(dossier: Dossier) -> tuple[datetime, datetime]:
    started = dossier.facts.started_at
    times = [point.at for point in dossier.shares] or [started]
    return times[0], max(times[-1], times[0] + timedelta(seconds=1))


def _rungs(dossier: Dossier) -> list[int]:
    """The shares to draw as evenly spaced rungs, always from 0 to 100 %."""
    shares = {0, *(point.share_bp for point in dossier.shares)}
    if max(shares) < _NEARLY_FULL_BP:
        shares.add(_FULL_BP)
    return sorted(shares)


def _grid(canvas: Drawing, rungs: Sequence[int], heights: Axis, size: Size) -> None:
    for i, rung in enumerate(rungs):
        y = heights.at(i)
        canvas.line(Point(size.left, y), Point(size.width - size.right, y), "grid")
        canvas.text(Point(size.left - 6, y + 4), share(rung), "soft", "end")


def _times(canvas: Drawing, dossier: Dossier, tz: tzinfo, time: Axis, size: Size) -> None:
    start, end = _ends(dossier)
    ticks = time_ticks(start, end, tz, size.ticks)
    seconds = len(ticks) > 1 and (ticks[1] - ticks[0]).total_seconds() < 60  # noqa: PLR2004
    for tick in ticks:
        x = time.at(tick.timestamp())
        if size.left + 14 <= x <= size.width - size.right - 14:
            words = tick.astimezone(tz).strftime("%H:%M:%S" if seconds else "%H:%M")
            canvas.line(Point(x, size.height - _TICKS_PX), Point(x, size.height - 19), "axis")
            canvas.text(Point(x, size.height - 6), words, "soft", "middle")


def _pauses(canvas: Drawing, dossier: Dossier, time: Axis, heights: Axis) -> None:
    since: Event | None = None
    for event in dossier.record.events:
        if event.kind is EventKind.PAUSED and since is None:
            since = event
        elif since and (event.kind is EventKind.RESUMED or event.phase is Phase.PINNED):
            _pause(canvas, time, heights, since.at, event.at)
            since = None
    if since:
        _pause(canvas, time, heights, since.at, _ends(dossier)[1])


def _pause(canvas: Drawing, time: Axis, heights: Axis, start: datetime, end: datetime) -> None:
    x, until = time.at(start.timestamp()), time.at(end.timestamp())
    top = heights.end_px
    canvas.box(Point(x, top), until - x, heights.start_px - top, "pause", "paused, watch on")
    if until - x > len("paused, watch on") * CHAR_PX:
        canvas.text(Point((x + until) / 2, top + 14), "paused, watch on", "warn", "middle")


def _copies(canvas: Drawing, dossier: Dossier, time: Axis, floor: float) -> None:
    points = dossier.shares
    for point, following in itertools.pairwise(points):
        if point.copied_bp:
            x, until = time.at(point.at.timestamp()), time.at(following.at.timestamp())
            canvas.box(Point(x, floor - 9), until - x, 9, "copies", "shadow copies")
            words = f"copies of {share(point.copied_bp)}, nobody served"
            if until - x > len(words) * CHAR_PX:
                canvas.text(Point((x + until) / 2, floor - 14), words, "soft", "middle")


def _climb(dossier: Dossier, time: Axis, heights: Axis, rungs: Sequence[int]) -> list[Point]:
    stairs = [
        Point(time.at(p.at.timestamp()), heights.at(rungs.index(p.share_bp)))
        for i, p in enumerate(dossier.shares)
        if _changed(dossier, i)
    ]
    return staircase(stairs, time.end_px)


def _band(canvas: Drawing, dossier: Dossier, time: Axis, top: float) -> None:
    for part in spans(dossier):
        x, until = time.at(part.start.timestamp()), time.at(part.end.timestamp())
        width = max(1.5, until - x - 1)
        canvas.box(Point(x, top), width, _BAND_PX - 4, f"span {part.passed}", part.label)
        if width > len(part.label) * CHAR_PX + 6:
            style = f"span-word {part.passed}"
            canvas.text(Point(x + width / 2, top + 15), part.label, style, "middle")


def _marks(canvas: Drawing, points: Sequence[Turn], time: Axis, floor: float) -> None:
    """Number the turning points above the plot; those too close to tell apart share one mark."""
    groups: list[list[Turn]] = []
    for turn in points:
        x = time.at(turn.event.at.timestamp())
        if groups and x - _place(groups[-1], time) < _mark_width(groups[-1]) / 2 + 14:
            groups[-1].append(turn)
        else:
            groups.append([turn])
    for group in groups:
        x = _place(group, time)
        width = _mark_width(group)
        left = min(max(1.0, x - width / 2), canvas.width - width - 1)
        hint = "; ".join(f"{turn.number} {turn.what}" for turn in group)
        canvas.line(Point(x, 22), Point(x, floor), "mark-line")
        canvas.box(Point(left, 4), width, 18, "mark", hint)
        canvas.text(Point(left + width / 2, 17), _mark_words(group), "mark-word", "middle")


def _place(group: Sequence[Turn], time: Axis) -> float:
    return time.at(group[0].event.at.timestamp())


def _mark_words(group: Sequence[Turn]) -> str:
    first, last = group[0].number, group[-1].number
    return str(first) if first == last else f"{first}-{last}"


def _mark_width(group: Sequence[Turn]) -> float:
    return max(18.0, len(_mark_words(group)) * 8 + 8)
