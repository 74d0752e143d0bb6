"""What one file says of one arm, whichever tool wrote it: its cases with their generations."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.rows import Row, shown
from rampway.gates.facts import digest_of

NO_GRADER = "unstated"
MAX_ROWS = 2_000_000
MAX_TEXT = 500  # characters of an answer that are kept, for people to read
MAX_LABEL = 200  # a longer text is a text, not a slice


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reader of a file asks of it.

    `names` are the labels that cases are grouped by; `every_label` keeps all that might be slices.
    `part` chooses one of several prompts, providers or tasks, `scorer` one of several scores.
    """

    names: frozenset[str] = frozenset()
    every_label: bool = False
    part: str | None = None
    scorer: str | None = None


@dataclass(slots=True)
class Answer:
    """One generation, as an importer understood it; `failed` is an error, and scores 0."""

    case: str
    score: float = 0.0
    failed: bool = False
    labels: dict[str, str] = field(default_factory=dict[str, str])
    hard: bool | None = None
    question: str | None = None
    expected: str | None = None
    graded_by: str | None = None
    text: str | None = None
    refused: bool = False
    latency_ms: float | None = None
    cost_usd: float | None = None


@dataclass(slots=True)
class Case:
    """All generations of one case in one file.

    `line` is where it stands first. `expected` holds the accepted answers, `graded_by` what grades
    this case where that is not the same for the whole file. `best` and `worst` are the answers of
    the highest and the lowest score, cut to MAX_TEXT.
    """

    line: int
    where: str
    labels: dict[str, str]
    hard: bool | None
    question: str | None
    expected: str | None
    graded_by: str | None
    best: str | None
    worst: str | None
    scores: list[float] = field(default_factory=list[float])

    @property
    def score(self) -> float:
        """The mean over the generations, in [0, 1]."""
        if len(self.scores) == 1:
            return self.scores[0]
        return math.fsum(self.scores) / len(self.scores)


@dataclass(slots=True)
class Results:
    """One file. `errors` counts generations that failed, each scored 0.

    `scored_by` is the column that scores, `grader` what the file says of its grader; both are
    unknown while no row is graded. `harness` names what ran the eval, `seeds` what a rerun would
    repeat, `paired_by` what identifies a case. `lost` counts the results that the file says it
    holds and does not.
    """

    path: Path
    tool: str
    wanted: Wanted
    paired_by: str = "case_id"
    harness: str = ""
    seeds: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    cases: dict[str, Case] = field(default_factory=dict[str, Case])
    generations: int = 0
    errors: int = 0
    refused: int = 0
    lost: int = 0
    latencies_ms: list[float] = field(default_factory=list[float])
    costs_usd: list[float] = field(default_factory=list[float])
    scored_by: str = ""
    grader: JsonValue = None
    graded: bool = False

    @property
    def fingerprint(self) -> str:
        """What identifies the grader."""
        return NO_GRADER if self.grader is None else digest_of(self.grader)

    @property
    def seeds_text(self) -> str:
        """What a rerun would have to repeat, in one line; empty where the file says nothing."""
        repeats = max((len(case.scores) for case in self.cases.values()), default=1)
        named: dict[str, JsonValue] = {"repeats": repeats} if repeats > 1 else {}
        named |= {name: value for name, value in self.seeds.items() if value is not None}
        return ", ".join(f"{name} {_plain(value)}" for name, value in sorted(named.items()))

    def add(self, row: Row, answer: Answer) -> None:
        """Count one generation. Raises EvalFileError where it contradicts an earlier one."""
        self.generations += 1
        if self.generations > MAX_ROWS:
            raise row.broken(f"more than {MAX_ROWS:,} rows. Next: split the eval")
        text = answer.text if answer.text is None else cut(answer.text)
        score = 0.0 if answer.failed else answer.score
        case = self.cases.get(answer.case)
        if case is None:
            case = self.cases[answer.case] = Case(
                row.line,
                row.where,
                answer.labels,
                answer.hard,
                answer.question,
                answer.expected,
                answer.graded_by,
                text,
                text,
            )
        else:
            self._repeat(row, case, answer)
            if score > max(case.scores):
                case.best = text
            if score < min(case.scores):
                case.worst = text
        case.scores.append(score)
        self.errors += answer.failed
        self.refused += answer.refused
        if answer.latency_ms is not None:
            self.latencies_ms.append(answer.latency_ms)
        if answer.cost_usd is not None:
            self.costs_usd.append(answer.cost_usd)

    def _repeat(self, row: Row, case: Case, answer: Answer) -> None:
        names = self.wanted.names
        if case.hard != answer.hard or _picked(case.labels, names) != _picked(answer.labels, names):
            raise row.broken(
                f"case {answer.case} differs in its slices, cluster or hardness from {case.where}."
                " Repeats of a case share them. Next: give another case another case_id"
            )
        for name in ("question", "expected", "graded_by"):
            if getattr(case, name) != getattr(answer, name):
                raise row.broken(
                    f"case {answer.case} differs in its {name} from {case.where}."
                    " Repeats of a case share it. Next: give another case another case_id"
                )
        if case.labels != answer.labels:
            # Nobody asked for these: what differs between repeats is no slice of the case.
            case.labels = {k: v for k, v in case.labels.items() if answer.labels.get(k) == v}

    def note_grader(self, row: Row, grader: JsonValue) -> None:
        """Learn the grader. Raises EvalFileError for another one than before."""
        if self.graded and grader != self.grader:
            raise row.broken("another grader than in the rows before. Next: one grader per file")
        if not self.graded:
            self.grader, self.graded = grader, True
            try:
                digest_of(grader)
            except ValueError as error:
                raise row.broken(f"grader cannot be fingerprinted ({error}).") from error

    def checked(self) -> "Results":
        """These results, if there are any. Raises EvalFileError."""
        if not self.cases:
            raise EvalFileError(
                self.path, 0, "no results. An empty eval proves nothing. Next: run it again"
            )
        return self


def labels_of(wanted: Wanted, *sources: Mapping[str, JsonValue]) -> dict[str, str]:
    """The labels asked for, or all that are short; an earlier source wins over a later one."""
    labels: dict[str, str] = {}
    for source in sources:
        for name in source if wanted.every_label else wanted.names & source.keys():
            if name not in labels and (label := label_of(source[name])) is not None:
                labels[name] = label
    return labels


def label_of(value: JsonValue) -> str | None:
    """A label, or None for what is none: an object, a list, a long text, nothing."""
    if isinstance(value, str):
        return value if len(value) <= MAX_LABEL else None
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return None


def cut(text: str) -> str:
    """A text short enough to be shown."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def choose(path: Path, kind: str, options: Iterable[str], wanted: str | None) -> str:
    """One of several: the one named `wanted`, or whose name alone has `wanted` in it.

    Raises EvalFileError that lists the options where none or several fit: a file with several
    arms in it is never averaged, and the first one is never taken for the one that was meant.
    """
    listed = list(dict.fromkeys(options))
    fitting = listed if wanted is None else [name for name in listed if wanted in name]
    if wanted in listed:
        return str(wanted)
    if len(fitting) == 1:
        return fitting[0]
    found = "; ".join(listed[:20]) or "none"
    if wanted is None:
        told = f"holds {len(listed)} {kind}s, and only one can be compared: {found}"
    else:
        fits = "several fit" if fitting else "none fits"
        told = f"{kind} {shown(wanted)}: {fits} of: {found}"
    raise EvalFileError(
        path, 0, f"{told}. Next: choose one by its name or by a part of it that only it has"
    )


def refuse_choice(path: Path, tool: str, wanted: Wanted) -> None:
    """Raise EvalFileError if a choice was made in a file that offers none."""
    for kind, chosen in (("part", wanted.part), ("scorer", wanted.scorer)):
        if chosen is not None:
            raise EvalFileError(
                path, 0, f"{kind} {shown(chosen)} was chosen, but {tool} offers no choice of it."
            )


def _picked(labels: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: labels[name] for name in names if name in labels}


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
