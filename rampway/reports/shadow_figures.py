"""How a shadow does right now, in figures and in one line; a warning here is never a verdict."""

from pydantic import BaseModel, ConfigDict, JsonValue

from rampway.reports.words import duration, integer, points, signed

_SECOND_MS = 1000


class Quantiles(BaseModel):
    """Of one arm's latencies, in milliseconds."""

    model_config = ConfigDict(frozen=True)

    p50: float
    p95: float


class ShadowFigures(BaseModel):
    """The pairs of the last `seconds`, as the judge tells them; differences are the candidate's less.

    `score_difference` is that of the mean scores, as a part of the whole scale.
    """

    model_config = ConfigDict(frozen=True)

    epoch: int | None
    seconds: float
    pairs: int
    scored: int
    score_difference: float | None
    baseline: Quantiles | None
    candidate: Quantiles | None

    @property
    def p50_difference_ms(self) -> float | None:
        if self.baseline is None or self.candidate is None:
            return None
        return self.candidate.p50 - self.baseline.p50

    @property
    def p95_difference_ms(self) -> float | None:
        if self.baseline is None or self.candidate is None:
            return None
        return self.candidate.p95 - self.baseline.p95

    def none_yet(self) -> "ShadowFigures":
        """The same before the first pair: what is told is of an earlier release."""
        empty = {"epoch": None, "pairs": 0, "scored": 0}
        gone = {"score_difference": None, "baseline": None, "candidate": None}
        return self.model_copy(update={**empty, **gone})


def warns(figures: ShadowFigures, warning_seconds: float | None) -> bool:
    """Is the candidate's p95 above the baseline's by more than the release wants to be told of?"""
    apart = figures.p95_difference_ms
    return (
        warning_seconds is not None and apart is not None and apart > warning_seconds * _SECOND_MS
    )


def shadow_line(figures: ShadowFigures, warning_seconds: float | None) -> str:
    """`shadow: 812 pairs, score -0.4 pp (last 5 min), latency p95 +38 ms (warns above +50 ms)`."""
    last = f"(last {duration(figures.seconds)})"
    if not figures.pairs:
        return f"shadow: no pairs {last}"
    pairs = f"{integer(figures.pairs)} pair{'' if figures.pairs == 1 else 's'}"
    parts = [f"shadow: {pairs}", f"{_score(figures)} {last}"]
    apart = figures.p95_difference_ms
    if apart is not None:
        parts.append(f"latency p95 {_ms(apart)}{_limit(figures, warning_seconds)}")
    return ", ".join(parts)


def shadow_facts(figures: ShadowFigures, warning_seconds: float | None) -> dict[str, JsonValue]:
    """The same for scripts."""
    facts: dict[str, JsonValue] = figures.model_dump(mode="json")
    return {
        **facts,
        "p50_difference_ms": figures.p50_difference_ms,
        "p95_difference_ms": figures.p95_difference_ms,
        "latency_warning_ms": None if warning_seconds is None else warning_seconds * _SECOND_MS,
        "warns": warns(figures, warning_seconds),
    }


def _score(figures: ShadowFigures) -> str:
    if figures.score_difference is None:
        return "no score"
    return f"score {points(figures.score_difference)}"


def _limit(figures: ShadowFigures, warning_seconds: float | None) -> str:
    if warning_seconds is None:
        return ""
    limit = _ms(warning_seconds * _SECOND_MS)
    return (
        f": WARNING, above {limit}"
        if warns(figures, warning_seconds)
        else f" (warns above {limit})"
    )


def _ms(milliseconds: float) -> str:
    return f"{signed(milliseconds, 0)} ms"
