"""What the judge tells of itself: what became of lines, the scores by arm, and how far it is behind."""

import time
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rampway.judge.judging import Judge
from rampway.judge.scores import ScoreSum
from rampway.judge.store import Store

CAUGHT_UP: Final = "caught_up"
OUTCOMES: Final = (CAUGHT_UP, "backlog", "failed")


class Progress:
    """How the looks at one target's spool ended, and when the last one reached its end."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.looks: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self._caught_up_at = time.monotonic()

    def looked(self, outcome: str) -> None:
        self.looks[outcome] += 1
        if outcome == CAUGHT_UP:
            self._caught_up_at = time.monotonic()

    @property
    def behind_seconds(self) -> float:
        return time.monotonic() - self._caught_up_at


class Page(Collector):
    """The store's tallies, which survive a restart, and how the looks go, as Prometheus families."""

    def __init__(self, progress: Mapping[str, Progress], store: Store) -> None:
        self._progress = progress
        self._store = store

    def collect(self) -> Iterator[Metric]:
        yield _findings({target: self._store.tallies(target) for target in self._progress})
        yield from _scores({target: self._store.scores(target) for target in self._progress})
        yield from self._levels()
        yield from self._looks()

    def _levels(self) -> Iterator[Metric]:
        levels = GaugeMetricFamily(
            "rampway_judge_score_levels",
            "How many levels the target's grader has: the best score is one less.",
            labels=["target"],
        )
        for target, progress in self._progress.items():
            levels.add_metric([target], progress.judge.docket.grader.levels)
        yield levels

    def _looks(self) -> Iterator[Metric]:
        looks = CounterMetricFamily(
            "rampway_judge_looks", "Looks at a spool, by outcome.", labels=["target", "outcome"]
        )
        behind = GaugeMetricFamily(
            "rampway_judge_behind_seconds",
            "Since a look last reached the end of the spool: nothing is sealed meanwhile.",
            labels=["target"],
        )
        unread = GaugeMetricFamily(
            "rampway_judge_backlog_bytes",
            "Bytes of the spool that have not been read.",
            labels=["target"],
        )
        for target, progress in self._progress.items():
            for outcome, n in progress.looks.items():
                looks.add_metric([target, outcome], n)
            behind.add_metric([target], progress.behind_seconds)
            try:
                unread.add_metric([target], progress.judge.unread_bytes())
            except OSError:
                continue  # the looks tell of it: a number would say that there is a spool
        yield from (looks, behind, unread)


def _findings(tallies: Mapping[str, Mapping[str, int]]) -> Metric:
    findings = CounterMetricFamily(
        "rampway_judge_findings",
        "What the lines of a spool came to, and slices sealed.",
        labels=["target", "finding"],
    )
    for target, told in tallies.items():
        for name, n in told.items():
            findings.add_metric([target, name], n)
    return findings


def _scores(sums: Mapping[str, list[ScoreSum]]) -> Iterator[Metric]:
    labels = ["target", "sample", "arm"]
    answers = CounterMetricFamily(
        "rampway_judge_answers_scored",
        "Answers that got a score: seen by a user, or one of a pair.",
        labels=labels,
    )
    points = CounterMetricFamily(
        "rampway_judge_score_points", "The scores of these answers, summed.", labels=labels
    )
    for target, scored in sums.items():
        for one in scored:
            answers.add_metric([target, one.sample, one.arm], one.answers)
            points.add_metric([target, one.sample, one.arm], one.points)
    yield from (answers, points)
