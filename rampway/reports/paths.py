"""How the gates' counts went toward their boundaries: one look after the other, and the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from rampway.gates.evidence import Evidence
from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import GateVerdict, StageVerdict, Verdict
from rampway.gates.weigh import path_of
from rampway.reports.dossier import Decision
from rampway.reports.sentences import counted_by, gate_title
from rampway.reports.shares import Size
from rampway.reports.svg import (
    CHAR_PX,
    Axis,
    Drawing,
    Point,
    apart,
    duration_ticks,
    nice_ticks,
    staircase,
)
from rampway.reports.words import decimal, duration, integer

LOOKS_MAX = 60
WIDE = Size("wide", 1032, 320, 48, 14, 8)
NARROW = Size("narrow", 352, 250, 40, 8, 4)
CARD = Size("card", 380, 220, 40, 8, 4)
_TOP_PX = 12.0
_BOTTOM_PX = 40.0
_LABEL_PX = 17.0
_LABEL_GAP_PX = 9.0
_LABEL_CHAR_PX = 7.3  # bold
_MINUTES_FROM_SECONDS = 180
_HOURS_FROM_SECONDS = 10_800


@dataclass(frozen=True)
class Look:
    """One gate after a slice: `seconds` is when the slice ended, since the stage began."""

    seconds: float
    gate: GateVerdict


@dataclass(frozen=True)
class Looks:
    """A stage weighed again, slice by slice; whether the last look is the recorded verdict."""

    stages: tuple[tuple[float, StageVerdict], ...]
    agrees: bool

    def of(self, gate: str) -> list[Look]:
        """One gate's looks, up to the one at which it crossed."""
        looks: list[Look] = []
        for seconds, stage in self.stages:
            found = next((g for g in stage.gates if g.gate == gate), None)
            if found is None:
                continue
            looks.append(Look(found.crossed_at_seconds or seconds, found))
            if found.crossed_at_seconds is not None:
                break
        return looks


def looks_of(decision: Decision) -> Looks | None:
    """Weigh the evidence again, cut after slice k, for k up to all; None where facts are missing.

    The same function that gave the verdict gives every point, so nothing is computed in a second
    way. At most LOOKS_MAX points, always the last and those at which a gate crossed.
    """
    plan, evidence, recorded = decision.plan, decision.evidence, decision.verdict
    if not isinstance(plan, StepPlan | ShadowPlan | AbPlan | SettlePlan):
        return None
    if not isinstance(evidence, Evidence) or not isinstance(recorded, StageVerdict):
        return None
    total = max(evidence.sealed.values(), default=0)
    shown = _slices_shown(total, recorded, evidence.slice_seconds)
    seconds = [k * evidence.slice_seconds for k in shown]
    stages = tuple(zip(seconds, path_of(plan, evidence, shown), strict=True))
    return Looks(stages=stages, agrees=bool(stages) and stages[-1][1] == recorded)


def path_figure(looks: Sequence[Look], size: Size, *, key: str, step: str) -> Markup:
    """Draw a gate's count, what a harmless candidate would have, and where BREACH begins."""
    last = looks[-1]
    canvas = Drawing(
        key=f"path-{key}-{size.name}",
        width=size.width,
        height=size.height,
        title=f"{gate_title(last.gate.gate)} at {step}: count and boundary",
        description=_description(last, step),
    )
    labels = _labels(last.gate)
    words_px = max(len(label.words) for label in labels) * _LABEL_CHAR_PX
    counts = Axis(0, _highest(looks), size.height - _BOTTOM_PX, _TOP_PX)
    left = max(size.left, len(integer(int(counts.high))) * _LABEL_CHAR_PX + _LABEL_GAP_PX)
    time = Axis(0, last.seconds, left, size.width - size.right - _LABEL_GAP_PX - words_px)
    boundary = _edges(looks, [look.gate.breach_at for look in looks], time, counts)
    proof = _edges(looks, [look.gate.pass_at for look in looks], time, counts)
    for edge in boundary:
        _region(canvas, edge, counts)
    _axes(canvas, time, counts, size, step)
    for edge in boundary:
        canvas.path(edge, "boundary")
    for edge in proof:
        canvas.path(edge, "proof")
    if boundary:
        _region_word(canvas, max(boundary, key=len), counts)
    _lines(canvas, looks, time, counts)
    _write(canvas, labels, time, counts)
    return canvas.markup()


def _slices_shown(total: int, recorded: StageVerdict, slice_seconds: float) -> list[int]:
    crossed = [
        round(gate.crossed_at_seconds / slice_seconds)
        for gate in recorded.gates
        if gate.crossed_at_seconds is not None
    ]
    count = min(total, LOOKS_MAX - len(crossed))
    spread = {round(total * (i + 1) / count) for i in range(count)}
    return sorted(spread | {k for k in crossed if 0 < k <= total})


def _description(last: Look, step: str) -> str:
    gate = last.gate
    boundary = (
        "no BREACH boundary yet" if gate.breach_at is None else f"BREACH from {gate.breach_at} on"
    )
    return (
        f"{duration(last.seconds)} after {step} began the candidate has {integer(counted_by(gate))} "
        f"of {integer(gate.candidate.units)}; {decimal(gate.expected)} expected if harmless; "
        f"{boundary}. The gate says {gate.verdict}."
    )


def _highest(looks: Sequence[Look]) -> float:
    values = [max(counted_by(look.gate), look.gate.breach_at or 0) for look in looks]
    return max(4.0, max(values) * 1.12, looks[-1].gate.expected)


def _edges(
    looks: Sequence[Look], at: Sequence[int | None], time: Axis, counts: Axis
) -> list[list[Point]]:
    """A boundary in pieces: each look's holds for the time since the look before, that it judges.

    It is interrupted at looks at which no count can reach it yet.
    """
    edges: list[list[Point]] = []
    before, reachable = 0.0, False
    for look, count in zip(looks, at, strict=True):
        if count is not None:
            if not reachable:
                edges.append([])
            y = counts.at(count)
            edges[-1] += [Point(time.at(before), y), Point(time.at(look.seconds), y)]
        before, reachable = look.seconds, count is not None
    return edges


def _region(canvas: Drawing, edge: Sequence[Point], counts: Axis) -> None:
    first, last = edge[0].x, edge[-1].x
    area = [Point(first, counts.end_px), *edge, Point(last, counts.end_px)]
    canvas.path(area, "region", closed=True)


def _region_word(canvas: Drawing, edge: Sequence[Point], counts: Axis) -> None:
    if edge[-1].x - edge[0].x > len("BREACH") * CHAR_PX:
        middle = (edge[0].x + edge[-1].x) / 2
        canvas.text(Point(middle, counts.end_px + 16), "BREACH", "breach-word", "middle")


def _axes(canvas: Drawing, time: Axis, counts: Axis, size: Size, step: str) -> None:
    for tick in nice_ticks(counts.high, size.ticks):
        y = counts.at(tick)
        canvas.line(Point(time.start_px, y), Point(time.end_px, y), "grid")
        canvas.text(Point(time.start_px - 6, y + 4), integer(int(tick)), "soft", "end")
    unit, seconds = _time_unit(time.high)
    for tick in duration_ticks(time.high, size.ticks):
        words = f"{tick / seconds:g}"
        canvas.text(Point(time.at(tick), counts.start_px + 16), words, "soft", "middle")
    began = f"{unit} since {step} began"
    canvas.text(Point((time.start_px + time.end_px) / 2, size.height - 6), began, "soft", "middle")
    canvas.line(Point(time.start_px, counts.start_px), Point(time.end_px, counts.start_px), "axis")


def _time_unit(seconds: float) -> tuple[str, int]:
    if seconds <= _MINUTES_FROM_SECONDS:
        return "seconds", 1
    return ("minutes", 60) if seconds <= _HOURS_FROM_SECONDS else ("hours", 3600)


def _lines(canvas: Drawing, looks: Sequence[Look], time: Axis, counts: Axis) -> None:
    start = Point(time.start_px, counts.start_px)
    expected = [Point(time.at(k.seconds), counts.at(k.gate.expected)) for k in looks]
    seen = [Point(time.at(k.seconds), counts.at(counted_by(k.gate))) for k in looks]
    canvas.path([start, *expected], "expected")
    canvas.path(staircase([start, *seen], time.end_px), "candidate")
    crossed = looks[-1].gate.verdict is Verdict.BREACH
    canvas.dot(seen[-1], 4.5, "breach-dot" if crossed else "candidate-dot")


class _Label(NamedTuple):
    """The name of a line, to be written where the line ends."""

    value: float
    words: str
    style: str


def _labels(gate: GateVerdict) -> list[_Label]:
    labels = [
        _Label(counted_by(gate), f"candidate {integer(counted_by(gate))}", "candidate-word"),
        _Label(gate.expected, f"expected {decimal(gate.expected)}", "soft"),
    ]
    if gate.breach_at is not None:
        words = f"BREACH at {integer(gate.breach_at)}"
        labels.append(_Label(gate.breach_at, words, "breach-word"))
    if gate.pass_at is not None:
        labels.append(_Label(gate.pass_at, f"PASS to {integer(gate.pass_at)}", "pass-word"))
    return labels


def _write(canvas: Drawing, labels: Sequence[_Label], time: Axis, counts: Axis) -> None:
    """Name each line where it ends, moved apart where they end close to each other."""
    wanted = [counts.at(label.value) + 4 for label in labels]
    places = apart(wanted, _LABEL_PX, _TOP_PX + 8, counts.start_px)
    for label, y in zip(labels, places, strict=True):
        canvas.text(Point(time.end_px + _LABEL_GAP_PX, y), label.words, label.style)
