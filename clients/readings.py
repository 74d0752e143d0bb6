"""What the lines of a log say on their own: fields and texts, waits, moments and seeds."""

from collections import Counter
from collections.abc import Sequence
from math import isfinite

from pydantic import JsonValue

from clients.units import Line
from rampway.adapters.answers_log import LiveAnswer
from rampway.gates.comparison import Percentiles
from rampway.gates.facts import canonical
from rampway.gates.ranks import percentile, sample_of
from rampway.reports.comparison import Moment, Waits

SEEDS_MAX = 50
TEXT_MAX = 300
MOMENTS = 24
NO_VALUE = "(none)"


def value_of(request: JsonValue, column: str) -> str:
    """The field of a request, dots leading into objects; a field that is not there has a name too."""
    value = request
    for part in column.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return NO_VALUE if value is None else text_of(value) or NO_VALUE


def text_of(value: JsonValue) -> str | None:
    """What a person reads of a body: its answer if it names one, else all of it, cut if long."""
    text = whole_text_of(value)
    return text if text is None or len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 3]}..."


def whole_text_of(value: JsonValue) -> str | None:
    """The same, never cut: what two answers are compared by."""
    if value is None:
        return None
    if isinstance(value, dict) and isinstance(value.get("answer"), str):
        value = value["answer"]
    return value if isinstance(value, str) else canonical(value).decode()


def waits_of(latencies_ms: Sequence[float]) -> Waits:
    sample = sample_of(latencies_ms)
    p50, p95, p99 = (percentile(sample, quantile) for quantile in (0.50, 0.95, 0.99))
    finite = tuple(ms for ms in latencies_ms if isfinite(ms))
    return Waits(
        latency_ms=finite,
        timeouts=len(latencies_ms) - len(finite),
        percentiles=Percentiles(
            units=len(latencies_ms),
            p50=p50 if isfinite(p50) else None,
            p95=p95 if isfinite(p95) else None,
            p99=p99 if isfinite(p99) else None,
        ),
    )


def moments_of(units: Sequence[LiveAnswer]) -> tuple[Moment, ...]:
    """The A/B's time in equal parts, with the units that began in each."""
    if not units:
        return ()
    began, ended = min(unit.ts for unit in units), max(unit.ts for unit in units)
    width = (ended - began) / MOMENTS or 1.0
    counts = Counter((min(MOMENTS - 1, int((unit.ts - began) / width)), unit.arm) for unit in units)
    return tuple(
        Moment(i * width, counts[i, "baseline"], counts[i, "candidate"]) for i in range(MOMENTS)
    )


def seeds_in(lines: Sequence[Line]) -> dict[str, JsonValue]:
    """The seeds that requests name to the model, as far as they are few enough to tell."""
    named = (line.request.get("seed") for line in lines if isinstance(line.request, dict))
    seeds = sorted({seed for seed in named if isinstance(seed, int)})
    if not seeds:
        return {}
    return {"requests": [*seeds] if len(seeds) <= SEEDS_MAX else f"{len(seeds)} different ones"}
