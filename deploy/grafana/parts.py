"""What a board is made of: rows of charts, and the queries in PromQL behind each."""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Grafana's names of the units that we use."""

    SHARE = "percentunit"
    SECONDS = "s"
    PER_SECOND = "reqps"
    BYTES = "bytes"
    NUMBER = "short"
    TRUTH = "bool_yes_no"


class Shape(StrEnum):
    """How a chart shows its queries: over time, or as one number each."""

    LINES = "timeseries"
    NUMBERS = "stat"


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and how its series are called (`{{label}}` is a label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Chart:
    """One panel. `told` says what a reader does with it."""

    title: str
    told: str
    unit: Unit
    queries: tuple[Query, ...]
    shape: Shape = Shape.LINES
    width: int = 8  # of 24
    height: int = 7


@dataclass(frozen=True)
class Row:
    """A heading and the charts under it."""

    title: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard: `uid` is also the name of its file."""

    uid: str
    title: str
    told: str
    rows: tuple[Row, ...]
    is_per_target: bool

    @property
    def queries(self) -> tuple[tuple[str, Query], ...]:
        """Every query, with the title of its chart."""
        return tuple(
            (chart.title, query)
            for row in self.rows
            for chart in row.charts
            for query in chart.queries
        )
