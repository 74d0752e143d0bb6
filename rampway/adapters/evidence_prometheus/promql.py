"""Reads a user's PromQL offline, and takes of it one thing only: the plain selector of one counter.

What is asked of Prometheus is written anew from the parsed names and values; no user text reaches a
query. The grammar is that of `promql-parser`, a port of Prometheus' own.
"""

import re
from dataclasses import dataclass
from typing import Final

import promql_parser

from rampway.adapters.evidence_prometheus.samples import SAFE_VALUE

COUNTER_ENDINGS: Final = ("_total", "_count")  # OpenMetrics 1.0, and the counts of histograms
SELECTOR_CHARACTERS_MAX: Final = 1_000
MATCHERS_MAX: Final = 20
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}", re.ASCII)
_METRIC: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}", re.ASCII)


class BadSelector(ValueError):
    """A selector that cannot be counted from; `next_step` says what to write instead."""

    def __init__(self, why: str, next_step: str) -> None:
        super().__init__(f"{why}; {next_step}")
        self.why = why
        self.next_step = next_step


@dataclass(frozen=True)
class CounterSelector:
    """One counter and its matchers: (label, operator, value), each of them checked."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]

    def render(self) -> str:
        """As PromQL. Nothing in it needs escaping: `read_selector` let nothing else in."""
        told = ",".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return f"{self.metric}{{{told}}}"


def read_selector(text: str, *, arm_label: str) -> CounterSelector:
    """The selector of one counter that has a series per arm. Raises BadSelector."""
    example = 'write a counter and its labels, such as answers_total{app="tutor"}'
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise BadSelector(f"is longer than {SELECTOR_CHARACTERS_MAX:,} characters", example)
    try:
        parsed = promql_parser.parse(text)
    except ValueError as wrong:
        raise BadSelector(f"is no PromQL: {str(wrong)[:100]}", example) from wrong
    if not isinstance(parsed, promql_parser.VectorSelector):
        raise BadSelector(
            "is no plain selector: slices are counted from raw samples, without functions, ranges or "
            "operators",
            example,
        )
    if parsed.offset is not None or parsed.at is not None:
        raise BadSelector("asks for another time", "remove offset and @")
    metric = parsed.name or ""
    if not _METRIC.fullmatch(metric):
        raise BadSelector("names no metric before its labels", example)
    if not metric.endswith(COUNTER_ENDINGS):
        raise BadSelector(
            f"{metric} is not named like a counter",
            f"only counters are counted from; did you mean {metric}_total?",
        )
    return CounterSelector(metric, _matchers(parsed, arm_label))


def _matchers(
    parsed: promql_parser.VectorSelector, arm_label: str
) -> tuple[tuple[str, str, str], ...]:
    if parsed.matchers.or_matchers:
        raise BadSelector("has `or` between labels", "name one value for each label")
    if len(parsed.matchers.matchers) > MATCHERS_MAX:
        raise BadSelector(f"has more than {MATCHERS_MAX} labels", "name fewer")
    found: list[tuple[str, str, str]] = []
    for matcher in parsed.matchers.matchers:
        label, operator = str(matcher.name), _operator(matcher.op)
        if operator is None:
            raise BadSelector(
                f"matches {label[:40]} by a regular expression", "only = and != can be read safely"
            )
        if label == arm_label:
            raise BadSelector(
                f"fixes the label {label}, which tells the arms apart", f"remove {label} from it"
            )
        if not LABEL.fullmatch(label) or label == "__name__":
            raise BadSelector(f"has the label {label[:40]!r}", "write the metric's name before {")
        if not SAFE_VALUE.fullmatch(str(matcher.value)):
            raise BadSelector(
                f"has a value of {label} with other characters than letters, digits and _.:/@-",
                "up to 200 of these are taken",
            )
        found.append((label, operator, str(matcher.value)))
    return tuple(found)


def _operator(op: promql_parser.MatchOp) -> str | None:
    if op == promql_parser.MatchOp.Equal:
        return "="
    return "!=" if op == promql_parser.MatchOp.NotEqual else None
