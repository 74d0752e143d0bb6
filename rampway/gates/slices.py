"""Which sealed slices can be counted: rows are checked here, and left out, never repaired."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import orjson
from pydantic import JsonValue

from rampway.gates.evidence import Evidence
from rampway.gates.phrases import counted, whole_percent
from rampway.gates.plans import Watched

COUNT_MAX = 10**9  # a slice with more is a broken counter, not traffic
PAIRS_MAX = 10**6  # judged pairs in one slice
_RATE_FIELDS = 5
_JUDGE_FIELDS = 3
_CELL_FIELDS = 3


class Row(Protocol):
    """A usable row of any stream."""

    @property
    def slice_index(self) -> int: ...


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


RowT = TypeVar("RowT", bound=Row)
RowT_co = TypeVar("RowT_co", bound=Row, covariant=True)


@dataclass(frozen=True, slots=True)
class Slices(Generic[RowT_co]):
    """The usable slices of one stream, and how much is missing between them.

    `missed_look` says why the last look has no data, None when the last sealed slice was counted.
    """

    stream: str
    rows: tuple[RowT_co, ...]
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

    def end_seconds(self, row: Row) -> float:
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


class Reading(NamedTuple, Generic[RowT]):
    """What a look finds in a stream: all that can be counted, and which of it is new.

    When `anew`, what was counted before no longer stands and `new` holds every row.
    """

    slices: Slices[RowT]
    new: tuple[RowT, ...]
    anew: bool


class SliceReader(Generic[RowT]):
    """Reads one stream look after look, checking each row once.

    The rows of the last look are compared byte for byte with those of this one; when one of them is
    no longer what it was, or fewer slices are sealed, everything is read anew. The slices are always
    those that a first reading of the same evidence would find.
    """

    def __init__(
        self, plan: Watched, stream: str, parse: Callable[[list[JsonValue]], RowT | None]
    ) -> None:
        self._plan = plan
        self._stream = stream
        self._parse = parse
        self._rows: list[RowT] = []
        self._sealed = 0
        self._checked = 0  # raw rows that need not be checked again
        self._print = b""  # of those
        self._refused_last = False
        self._begun = False  # so that the first look is one that starts anew

    def read(self, evidence: Evidence) -> Reading[RowT]:
        """The usable slices of this look."""
        why = _other_slices(self._plan, evidence)
        if why is not None:
            self._forget()
            return Reading(
                Slices(self._stream, (), 0, self._plan.slice_seconds, why), (), anew=True
            )
        raw = evidence.rows.get(self._stream, [])
        sealed = min(max(0, evidence.sealed.get(self._stream, 0)), COUNT_MAX)
        anew = not self._goes_on(raw, sealed)
        if anew:
            self._forget()
        known = len(self._rows)
        self._begun, self._sealed = True, sealed
        self._check(raw, sealed)
        rows = tuple(self._rows)
        missed = _missed_look(self._stream, sealed, rows, refused_last=self._refused_last)
        slices = Slices(self._stream, rows, sealed, self._plan.slice_seconds, missed)
        return Reading(slices, rows[known:], anew)

    def _goes_on(self, raw: list[JsonValue], sealed: int) -> bool:
        if not self._begun or sealed < self._sealed or len(raw) < self._checked:
            return False
        return _print_of(raw[: self._checked]) == self._print

    def _forget(self) -> None:
        self._rows, self._sealed, self._checked, self._print = [], 0, 0, b""
        self._refused_last = self._begun = False

    def _check(self, raw: list[JsonValue], sealed: int) -> None:
        began = self._checked
        skipped = False
        for position in range(began, len(raw)):
            fields = raw[position]
            index = _index(fields)
            if index is not None and index >= sealed:
                skipped = True
                continue  # not sealed yet: its counts may still grow
            if skipped:
                # Once the skipped row is sealed it comes first: the next look reads all anew.
                self._begun = False
            row = self._parse(fields) if isinstance(fields, list) else None
            in_order = not self._rows or (
                row is not None and row.slice_index > self._rows[-1].slice_index
            )
            self._refused_last = row is None or not in_order
            if row is not None and in_order:
                self._rows.append(row)
            self._checked = position + 1
        if self._checked > began:
            new = _print_of(raw[began : self._checked])
            self._print = self._print + b"," + new if began else new


def rate_reader(plan: Watched, stream: str) -> SliceReader[RateRow]:
    """Reads the units and bad units of both arms."""
    return SliceReader(plan, stream, _rate_row)


def judge_reader(plan: Watched, stream: str, *, levels: int) -> SliceReader[JudgeRow]:
    """Reads judged pairs with scores from 0 to `levels - 1`."""
    return SliceReader(plan, stream, lambda fields: _judge_row(fields, levels))


def counts_of(fields: JsonValue, size: int) -> list[int] | None:
    """The counts of a list of exactly `size`; None when one of them is no count."""
    if not isinstance(fields, list) or len(fields) != size:
        return None
    counts: list[int] = []
    for field in fields:
        count = count_of(field)
        if count is None:
            return None
        counts.append(count)
    return counts


def count_of(value: JsonValue) -> int | None:
    """An integer from 0 to COUNT_MAX; None for anything else."""
    # Not isinstance: True is an int to Python, and 3.0 is no count.
    if type(value) is not int:
        return None
    return value if 0 <= value <= COUNT_MAX else None


def _other_slices(plan: Watched, evidence: Evidence) -> str | None:
    if abs(evidence.slice_seconds - plan.slice_seconds) <= 1e-9 * plan.slice_seconds:
        return None
    return (
        f"the evidence has slices of {evidence.slice_seconds:g} s, "
        f"the plan asks for {plan.slice_seconds:g} s"
    )


def _print_of(raw: list[JsonValue]) -> bytes:
    """The rows as bytes that differ when the rows do: 1, 1.0 and true are equal to Python only."""
    try:
        # NaN is written as null here; a row with either is refused, so that they may be the same.
        return orjson.dumps(raw)[1:-1]
    except TypeError:  # an integer beyond 64 bits, or half a surrogate pair
        return repr(raw)[1:-1].encode(errors="backslashreplace")


def _missed_look(
    stream: str, sealed: int, rows: Sequence[Row], *, refused_last: bool
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
    return count_of(fields[0]) if isinstance(fields, list) and fields else None


def _rate_row(fields: list[JsonValue]) -> RateRow | None:
    counts = counts_of(fields, _RATE_FIELDS)
    if counts is None:
        return None
    row = RateRow(*counts)
    possible = row.candidate_bad <= row.candidate_units and row.baseline_bad <= row.baseline_units
    return row if possible else None


def _judge_row(fields: list[JsonValue], levels: int) -> JudgeRow | None:
    if len(fields) != _JUDGE_FIELDS:
        return None
    index, lost, table = count_of(fields[0]), count_of(fields[2]), fields[1]
    if index is None or lost is None or not isinstance(table, list):
        return None
    cells: list[tuple[int, int, int]] = []
    for cell in table:
        counts = counts_of(cell, _CELL_FIELDS)
        if counts is None or max(counts[:2]) >= levels:
            return None
        cells.append((counts[0], counts[1], counts[2]))
    if sum(pairs for _, _, pairs in cells) > PAIRS_MAX:
        return None
    return JudgeRow(index, tuple(cells), lost)
