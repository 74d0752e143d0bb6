"""Reads raw samples of the gateways' sealed totals as scrapes: everything one page told at one moment.

Prometheus gives all samples of one scrape the same time, and the gateway raises its totals in one go, so
what stands together here was true together. What is no count is kept out; a structure that is not
Prometheus' own, or a gateway that is told twice, is refused as a whole.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, cast

from rampway.ports import Unreachable

PREFIX: Final = "rampway_gateway_"
CLOCK: Final = f"{PREFIX}clock_seconds"
UNITS: Final = f"{PREFIX}sealed_units_total"
BAD: Final = f"{PREFIX}sealed_bad_total"
LATENCY: Final = f"{PREFIX}sealed_latency_total"
SLICES: Final = f"{PREFIX}sealed_slices"
LOST: Final = f"{PREFIX}sealed_lost_slices"
SLICE_SECONDS: Final = f"{PREFIX}sealed_slice_seconds"
BEGAN: Final = f"{PREFIX}sealed_began_seconds"
INFO: Final = f"{PREFIX}sealed_info"
FAMILIES: Final = (UNITS, BAD, SLICES, LOST, SLICE_SECONDS, BEGAN, INFO)
OURS: Final = frozenset(
    {
        "__name__",
        "gateway",
        "target",
        "epoch",
        "segment",
        "arm",
        "stream",
        "bucket",
        "baseline",
        "baseline_arm",
    }
)
GATEWAYS_MAX: Final = 256
TIME_MAX: Final = 1e11  # Unix seconds; two thousand years from now
SAFE_VALUE: Final = re.compile(r"[a-zA-Z0-9_.:/@-]{1,200}")
# Fifteen digits: what the double that carries it still holds exactly.
_COUNT: Final = re.compile(r"[0-9]{1,15}(\.0{1,20})?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]+)?(e[+-][0-9]{1,3})?", re.ASCII)
_NUMBER_CHARACTERS: Final = 40

Labels = Mapping[str, str]
Name = tuple[str, str, str]  # family, arm (or empty), stream or bucket (or empty)
SegmentKey = tuple[int, int]  # epoch, segment


class Series(NamedTuple):
    """One series: its labels, and (Unix time, value as text) in order of time."""

    labels: Labels
    samples: list[tuple[float, str]]


@dataclass
class Scrape:
    """What one gateway's page told of one segment at `at` (Unix time by Prometheus' clock).

    `counts` has None for what is no count; `clock` is the gateway's own.
    """

    at: float
    counts: dict[Name, int | None] = field(default_factory=dict[Name, "int | None"])
    slice_seconds: float | None = None
    began: float | None = None
    clock: float | None = None
    baseline: tuple[str, str] | None = None  # artifact label, arm


class Told(NamedTuple):
    """All scrapes of an answer, in order of time, by gateway and segment."""

    scrapes: dict[tuple[str, SegmentKey], list[Scrape]]


def selector(
    target: str, *, latency: bool, epoch: int | None = None, segment: int | None = None
) -> str:
    """The one query that is asked: every family of a target, and the clocks, which name no target.

    In one query, so that all is of the same moment. Raises ValueError for a target that is no name.
    """
    if not SAFE_VALUE.fullmatch(target):
        raise ValueError(f"{target!r} is no target's name")
    families = "|".join((CLOCK, *FAMILIES, *((LATENCY,) if latency else ())))
    matchers = [f'__name__=~"{families}"', f'target=~"|{_literal(target)}"']
    if epoch is not None and segment is not None:
        matchers += [f'epoch=~"|{epoch:d}"', f'segment=~"|{segment:d}"']
    return "{" + ",".join(matchers) + "}"


def read_series(answer: object) -> list[Series]:
    """The series of a matrix. Raises Unreachable where it is not what Prometheus answers."""
    if not isinstance(answer, list):
        raise _strange("no list of series")
    return [_one_series(told) for told in cast("list[object]", answer)]


def read_scrapes(series: list[Series]) -> Told:
    """The scrapes in these series. Raises Unreachable for a gateway that is scraped twice."""
    found: dict[tuple[str, SegmentKey], dict[float, Scrape]] = {}
    _refuse_twice(series)
    for one in series:
        if _name(one) == CLOCK:
            continue
        scrapes = found.setdefault((_gateway(one), _segment(one.labels)), {})
        for at, value in one.samples:
            _note(scrapes.setdefault(at, Scrape(at)), one.labels, value)
    if len({gateway for gateway, _ in found}) > GATEWAYS_MAX:
        raise _strange(f"more than {GATEWAYS_MAX} gateways")
    clocks = _clocks(series)
    for (gateway, _), scrapes in found.items():
        for at, scrape in scrapes.items():
            scrape.clock = clocks.get(gateway, {}).get(at)
    return Told({key: _in_order(scrapes) for key, scrapes in found.items() if scrapes})


def read_clocks(series: list[Series]) -> dict[str, list[Scrape]]:
    """The scrapes of each gateway, of which only the clock is known. Raises Unreachable, as above."""
    _refuse_twice(series)
    return {
        gateway: [Scrape(at, clock=clock) for at, clock in sorted(told.items())]
        for gateway, told in _clocks(series).items()
        if told
    }


def _clocks(series: list[Series]) -> dict[str, dict[float, float | None]]:
    """Gateway -> time of the scrape -> what its clock said then; None where that is no time."""
    found: dict[str, dict[float, float | None]] = {}
    for one in series:
        if _name(one) == CLOCK:
            told = found.setdefault(_gateway(one), {})
            told.update((at, _number(value)) for at, value in one.samples)
    return found


def _name(one: Series) -> str:
    return one.labels.get("__name__", "")


def _gateway(one: Series) -> str:
    gateway = one.labels.get("gateway", "")
    if not gateway:
        raise _strange(f"{_name(one) or 'a series'} without the label gateway")
    return gateway


def _in_order(scrapes: Mapping[float, Scrape]) -> list[Scrape]:
    return [scrapes[at] for at in sorted(scrapes)]


def _note(scrape: Scrape, labels: Labels, value: str) -> None:
    match labels.get("__name__", ""):
        case name if name in {UNITS, BAD, SLICES, LOST}:
            key = (name, labels.get("arm", ""), labels.get("stream", ""))
            scrape.counts[key] = read_count(value)
        case name if name == LATENCY:
            key = (name, labels.get("arm", ""), labels.get("bucket", ""))
            scrape.counts[key] = read_count(value)
        case name if name == SLICE_SECONDS:
            scrape.slice_seconds = _number(value)
        case name if name == BEGAN:
            scrape.began = _number(value)
        case name if name == INFO:
            scrape.baseline = labels.get("baseline", ""), labels.get("baseline_arm", "")
        case name:
            raise _strange(f"{name}, which was not asked for")


def _refuse_twice(series: list[Series]) -> None:
    """The same page scraped by two jobs, or under two names, would count everybody twice."""
    spans: dict[tuple[tuple[str, str], ...], list[tuple[float, float, str]]] = {}
    for one in series:
        if one.samples:
            own = tuple(sorted((k, v) for k, v in one.labels.items() if k in OURS))
            others = ", ".join(f"{k}={v}" for k, v in sorted(one.labels.items()) if k not in OURS)
            spans.setdefault(own, []).append((one.samples[0][0], one.samples[-1][0], others))
    for own, found in spans.items():
        found.sort()
        for (_, end, first), (begin, _, second) in pairwise(found):
            if begin <= end:
                gateway = dict(own).get("gateway", "")
                raise Unreachable(
                    f"Prometheus has gateway {gateway[:12]} twice at the same time, as {{{first}}} and "
                    f"as {{{second}}}: its counts cannot be added up. "
                    "Next: scrape each gateway once, or ask a Prometheus that deduplicates"
                )


def _one_series(told: object) -> Series:
    if not isinstance(told, dict):
        raise _strange("a series that is no object")
    series = cast("dict[str, object]", told)
    labels, values = series.get("metric"), series.get("values")
    if not isinstance(labels, dict) or not isinstance(values, list):
        raise _strange("a series without labels or values")
    names = cast("dict[object, object]", labels)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in names.items()):
        raise _strange("a label that is no text")
    return Series(cast("Labels", names), list(_values(cast("list[object]", values))))


def _values(told: list[object]) -> Iterator[tuple[float, str]]:
    last: float = -1
    for sample in told:
        pair = cast("list[object]", sample) if isinstance(sample, list) else []
        match pair:
            case [int() | float() as at, str() as value] if not isinstance(at, bool):
                if not last < at < TIME_MAX:  # before it is a float, which a huge one cannot be
                    raise _strange("samples whose times do not advance")
                last = float(at)
                yield last, value
            case _:
                raise _strange("a sample that is no pair of time and text")


def _segment(labels: Labels) -> SegmentKey:
    try:
        return int(labels.get("epoch", "")), int(labels.get("segment", ""))
    except ValueError as wrong:
        raise _strange("an epoch or a segment that is no number") from wrong


def read_count(value: str) -> int | None:
    """A whole number; None for NaN, Inf, what is negative or broken, and all that is no count."""
    if not _COUNT.fullmatch(value):
        return None
    return int(value.partition(".")[0])


def _number(value: str) -> float | None:
    """A finite number from 0; None for anything else."""
    if len(value) > _NUMBER_CHARACTERS or not _NUMBER.fullmatch(value):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _literal(value: str) -> str:
    """As a regular expression (RE2) in a PromQL string, where `.` is the one special character left."""
    return value.replace(".", "[.]")


def _strange(what: str) -> Unreachable:
    return Unreachable(f"Prometheus answered {what}. Next: rampway doctor")
