"""Which sealed slices can be counted: rows are checked here, and left out, never repaired."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from pydantic import JsonValue

from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted, whole_percent
from rampway.gates.plans import Arm, Watched

COUNT_MAX = 10**9  # a slice with more is a broken counter, not traffic
PAIRS_MAX = 10**6  # judged pairs in one slice
_RATE_FIELDS = 5
_JUDGE_FIELDS = 3
_CELL_FIELDS = 3


class RateRow(NamedTuple):
    """What both arms did in one slice."""

    slice_index: int
    candidate_units: int
    candidate_bad: int
    baseline_units: int
    baseline_bad: int


class JudgeRow(NamedTuple):
    """The judged pairs of one slice: `(old score, new score, pairs)`, and the pairs that were lost."""

    slice_index: int
    cells: tuple[tuple[int, int, int], ...]
    lost: int


RowT = TypeVar("RowT", RateRow, JudgeRow)


@dataclass(frozen=True, slots=True)
class Slices(Generic[RowT]):
    """The usable slices of one stream, and how much is missing between them.

    `missed_look` says why the last look has no data, None when the last sealed slice was counted.
    """

    stream: str
    rows: tuple[RowT, ...]
    sealed: int
    slice_seconds: float
    missed_look: str | None

    @property
    def seconds(self) -> float:
        """The evidence time that is sealed."""
        return self.sealed * self.slice_seconds

    @property
    def counted_seconds(self) -> float:
        """The evidence time that was counted."""
        return len(self.rows) * self.slice_seconds

    @property
    def blind_seconds(self) -> float:
        """The time since the last usable slice."""
        return self.seconds - (self.end_seconds(self.rows[-1]) if self.rows else 0.0)

    def end_seconds(self, row: RowT) -> float:
        """When a slice ended, since the stage began."""
        return (row.slice_index + 1) * self.slice_seconds

    def gap(self, coverage: float) -> str | None:
        """Why too few slices could be counted for a PASS; None when they are enough."""
        # 1e-9: 0.9 * 10 slices is nine slices, whatever the float says.
        if self.sealed and len(self.rows) >= coverage * self.sealed - 1e-9:
            return None
        return (
            f"{len(self.rows):,} of {counted(self.sealed, 'slice')} of {self.stream} could be "
            f"counted, PASS needs {whole_percent(coverage)}"
        )


def rate_slices(plan: Watched, evidence: Evidence, stream: str) -> Slices[RateRow]:
    """The usable slices of a rate stream."""
    return _slices(plan, evidence, stream, _rate_row)


def judge_slices(
    plan: Watched, evidence: Evidence, stream: str, *, levels: int
) -> Slices[JudgeRow]:
    """The usable slices of judged pairs with scores from 0 to `levels - 1`."""
    return _slices(plan, evidence, stream, lambda fields: _judge_row(fields, levels))


def units_of(rows: tuple[RateRow, ...], arm: Arm) -> int:
    """All units of an arm in these slices."""
    if arm is Arm.CANDIDATE:
        return sum(row.candidate_units for row in rows)
    return sum(row.baseline_units for row in rows)


def _slices(
    plan: Watched,
    evidence: Evidence,
    stream: str,
    parse: Callable[[list[JsonValue]], RowT | None],
) -> Slices[RowT]:
    if abs(evidence.slice_seconds - plan.slice_seconds) > 1e-9 * plan.slice_seconds:
        why = (
            f"the evidence has slices of {evidence.slice_seconds:g} s, "
            f"the plan asks for {plan.slice_seconds:g} s"
        )
        return Slices(stream, (), 0, plan.slice_seconds, why)
    sealed = min(max(0, evidence.sealed.get(stream, 0)), COUNT_MAX)
    rows: list[RowT] = []
    refused_last = False
    for fields in evidence.rows.get(stream, []):
        index = _index(fields)
        if index is not None and index >= sealed:
            continue  # not sealed yet: its counts may still grow
        row = parse(fields) if isinstance(fields, list) else None
        refused_last = row is None or (bool(rows) and row.slice_index <= rows[-1].slice_index)
        if row is not None and not refused_last:
            rows.append(row)
    missed = _missed_look(stream, sealed, rows, refused_last=refused_last)
    return Slices(stream, tuple(rows), sealed, plan.slice_seconds, missed)


def _missed_look(
    stream: str, sealed: int, rows: Sequence[RateRow | JudgeRow], *, refused_last: bool
) -> str | None:
    if not sealed:
        return f"no slice of {stream} is sealed yet"
    if refused_last:
        return (
            f"the last row of {stream} cannot be counted: it is no valid slice after the one before"
        )
    if not rows or rows[-1].slice_index != sealed - 1:
        return f"the last slice of {stream} was lost or cannot be counted"
    return None


def _index(fields: JsonValue) -> int | None:
    return _count(fields[0]) if isinstance(fields, list) and fields else None


def _rate_row(fields: list[JsonValue]) -> RateRow | None:
    counts = _counts(fields, _RATE_FIELDS)
    if counts is None:
        return None
    row = RateRow(*counts)
    possible = row.candidate_bad <= row.candidate_units and row.baseline_bad <= row.baseline_units
    return row if possible else None


def _judge_row(fields: list[JsonValue], levels: int) -> JudgeRow | None:
    if len(fields) != _JUDGE_FIELDS:
        return None
    index, lost, table = _count(fields[0]), _count(fields[2]), fields[1]
    if index is None or lost is None or not isinstance(table, list):
        return None
    cells: list[tuple[int, int, int]] = []
    for cell in table:
        counts = _counts(cell, _CELL_FIELDS)
        if counts is None or max(counts[:2]) >= levels:
            return None
        cells.append((counts[0], counts[1], counts[2]))
    if sum(pairs for _, _, pairs in cells) > PAIRS_MAX:
        return None
    return JudgeRow(index, tuple(cells), lost)


def _counts(fields: JsonValue, size: int) -> list[int] | None:
    if not isinstance(fields, list) or len(fields) != size:
        return None
    counts: list[int] = []
    for field in fields:
        count = _count(field)
        if count is None:
            return None
        counts.append(count)
    return counts


def _count(value: JsonValue) -> int | None:
    # Not isinstance: True is an int to Python, and 3.0 is no count.
    if type(value) is not int:
        return None
    return value if 0 <= value <= COUNT_MAX else None
