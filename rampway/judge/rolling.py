"""How a shadow does right now: the last pairs of one target, their scores and their latencies.

For people who watch. It is kept in memory, begins anew with each release and with each start, and no
verdict reads it.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

WINDOW_SECONDS: Final = 300.0
PAIRS_MAX: Final = 5_000


class Seen(NamedTuple):
    """A pair when it was read. Scores are None for a request of no known case, latencies if not told."""

    at: float
    old: int | None
    new: int | None
    old_ms: float | None
    new_ms: float | None


@dataclass(frozen=True)
class Quantiles:
    """Of one arm's latencies, in milliseconds."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Figures:
    """The pairs of the last `seconds`; differences are the candidate's less the baseline's.

    `score_difference` is that of the mean scores, as a part of the whole scale. Latencies are of pairs
    that have both, so that both arms' quantiles are of the same requests.
    """

    epoch: int | None
    seconds: float
    pairs: int
    scored: int
    score_difference: float | None
    baseline: Quantiles | None
    candidate: Quantiles | None


class Rolling:
    """The last PAIRS_MAX pairs of the newest epoch, none older than WINDOW_SECONDS."""

    def __init__(self, *, levels: int) -> None:
        self._levels = levels
        self._epoch: int | None = None
        self._pairs: deque[Seen] = deque(maxlen=PAIRS_MAX)

    def add(self, epoch: int, seen: Seen) -> None:
        if self._epoch is None or epoch > self._epoch:
            self._epoch = epoch
            self._pairs.clear()
        if epoch == self._epoch:
            self._pairs.append(seen)

    def figures(self, now: float) -> Figures:
        while self._pairs and self._pairs[0].at <= now - WINDOW_SECONDS:
            self._pairs.popleft()
        gains = [
            one.new - one.old for one in self._pairs if one.new is not None and one.old is not None
        ]
        both = [
            (one.old_ms, one.new_ms)
            for one in self._pairs
            if one.old_ms is not None and one.new_ms is not None
        ]
        return Figures(
            epoch=self._epoch,
            seconds=WINDOW_SECONDS,
            pairs=len(self._pairs),
            scored=len(gains),
            score_difference=(
                sum(gains) / len(gains) / max(1, self._levels - 1) if gains else None
            ),
            baseline=_quantiles([old for old, _ in both]),
            candidate=_quantiles([new for _, new in both]),
        )


def _quantiles(latencies_ms: Sequence[float]) -> Quantiles | None:
    if not latencies_ms:
        return None
    ordered = sorted(latencies_ms)
    return Quantiles(p50=_at(ordered, 0.5), p95=_at(ordered, 0.95))


def _at(ordered: Sequence[float], part: float) -> float:
    """The smallest value that at least this part does not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered) - 1e-9) - 1)]
