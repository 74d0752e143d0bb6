"""From a log of answers to the facts of its report: graded, each unit once, nothing lost in silence."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError

from clients.grading import Grade, GraderSpec, Marking, make_marking
from clients.readings import moments_of, seeds_in, text_of, value_of, waits_of, whole_text_of
from clients.units import (
    ALL_BP,
    ARMS,
    Arm,
    Line,
    first_per_unit,
    in_both_arms,
    is_chosen,
    refuse_mixed,
)
from rampway.adapters.answers_log import AnswersLog, LiveAnswer, PairedAnswers, read_answers
from rampway.gates.advice import PairsCompared, PairScored, advise, compare_pairs
from rampway.gates.comparison import ArmResults, ArmsCompared, Portion, compare_arms
from rampway.gates.evidence import Disagreement
from rampway.gates.facts import canonical, digest_of, digest_of_bytes
from rampway.reports.comparison import (
    BadLine,
    Change,
    Changed,
    LogFacts,
    Subject,
    TrafficReport,
    Waits,
)

COPIED = "the same request, copied in shadow"
ASKED_TWICE = "the same question, asked once in each arm"
EXAMPLES_EACH = 5


class GraderChanged(Exception):
    """The baseline's manifest names another grader: its figures and these cannot be compared."""


@dataclass(frozen=True)
class Question:
    """What `rampway compare` was asked.

    `by` are fields of the request that cut the answers into buckets; `price` is what one request
    costs, per arm, in any one currency; `epoch` and `segment` choose lines of a log of several.
    """

    log: Path
    grader: GraderSpec
    by: tuple[str, ...] = ()
    price: Mapping[str, float] = field(default_factory=dict[str, float])
    seeds: Mapping[str, str] = field(default_factory=dict[str, str])
    epoch: int | None = None
    segment: int | None = None


def compare_log(question: Question) -> TrafficReport:
    """Read, grade and compare. Raises LogUnreadable, LogMixed, UnknownGrader or GoldUnusable."""
    marking = make_marking(question.grader)
    log = read_answers(question.log)
    live = [
        line for line in log.live if is_chosen(line, epoch=question.epoch, segment=question.segment)
    ]
    pairs = [
        line
        for line in log.pairs
        if is_chosen(line, epoch=question.epoch, segment=question.segment)
    ]
    refuse_mixed([*live, *pairs], marking.fingerprint)
    return _Comparison(question, marking, log, live, pairs).report()


def refuse_another_grader(manifest: Path, fingerprint: str) -> None:
    """Raise GraderChanged when the baseline's manifest names another grader, or none."""
    try:
        known = _ManifestRead.model_validate_json(manifest.read_bytes())
    except OSError as failed:
        raise GraderChanged(f"{manifest} cannot be read: {failed.strerror}.") from failed
    except ValidationError as wrong:
        raise GraderChanged(f"{manifest} is no manifest: it names no grader.") from wrong
    if known.grader != fingerprint:
        raise GraderChanged(
            f"The grader is {fingerprint}, the baseline's manifest {manifest} names {known.grader}. "
            "Scores of two graders cannot be compared. Next: grade both logs with one of them"
        )


class _ManifestRead(BaseModel):
    grader: str


@dataclass
class _Arm:
    """One arm's first answers, and what they come to."""

    lines: list[LiveAnswer]
    grades: list[Grade]
    lost: Counter[str]

    @property
    def graded(self) -> list[tuple[LiveAnswer, Grade]]:
        return [
            (line, grade)
            for line, grade in zip(self.lines, self.grades, strict=True)
            if grade.score is not None
        ]


@dataclass(frozen=True)
class _Both:
    """Both answers to one request."""

    request_id: str
    request: JsonValue
    old_body: JsonValue
    new_body: JsonValue
    old: Grade
    new: Grade


class _Comparison:
    """One log on its way to a report."""

    def __init__(
        self,
        question: Question,
        marking: Marking,
        log: AnswersLog,
        live: list[LiveAnswer],
        pairs: list[PairedAnswers],
    ) -> None:
        self.question = question
        self.marking = marking
        self.log = log
        self.live = live
        self.pairs = pairs
        self.crossed = in_both_arms(live)
        kept = [line for line in live if line.request_id not in self.crossed]
        self.units = first_per_unit(kept)
        self.copied = first_per_unit(pairs)
        self.repeated = len(kept) - len(self.units) + len(pairs) - len(self.copied)

    def report(self) -> TrafficReport:
        """Grade and compare what was read."""
        arms: dict[Arm, _Arm] = {arm: self._graded(arm) for arm in ARMS}
        compared = self._arms_compared(arms) if self.units else None
        unpaired = Counter[str]()
        both = self._copied_pairs(unpaired)
        paired_by = COPIED
        if not both:
            both, paired_by = self._asked_twice(arms), ASKED_TWICE
        pairs = _pairs_compared(both, paired_by)
        return TrafficReport(
            subject=self._subject(),
            read=self._facts(arms, unpaired),
            advice=advise(compared, pairs, crossed=len(self.crossed)),
            arms=compared,
            pairs=pairs,
            waits=self._waits(arms),
            changes=self._changes(both),
            moments=moments_of(self.units),
            one_armed=self._values(arms)[1],
        )

    def _graded(self, arm: Arm) -> _Arm:
        lines = [line for line in self.units if line.arm == arm]
        grades = [
            self.marking.grade(line.request, _full_status(line), line.body, line.error)
            for line in lines
        ]
        return _Arm(lines, grades, Counter(grade.lost for grade in grades if grade.lost))

    def _arms_compared(self, arms: Mapping[Arm, _Arm]) -> ArmsCompared:
        share = self.units[0].share_bp / ALL_BP
        old, new = (self._results(arm, arms[arm], self._values(arms)[0]) for arm in ARMS)
        return compare_arms(old, new, candidate_share=share)

    def _values(self, arms: Mapping[Arm, _Arm]) -> tuple[dict[str, set[str]], dict[str, int]]:
        """Per column the values that both arms have graded answers for, and how many only one has.

        What cannot be compared is no test: counted among them, it would only hide the others.
        """
        both: dict[str, set[str]] = {}
        one: dict[str, int] = {}
        for column in self.question.by:
            old, new = (
                {value_of(line.request, column) for line, _ in arms[arm].graded} for arm in ARMS
            )
            both[column], one[column] = old & new, len(old ^ new)
        return both, one

    def _results(self, name: Arm, arm: _Arm, values: Mapping[str, set[str]]) -> ArmResults:
        waits = waits_of([line.full_latency_ms for line in arm.lines])
        price = self.question.price.get(name)
        return ArmResults(
            artifact=getattr(self.live[0].artifacts, name),
            grader=self.marking.fingerprint,
            units=len(arm.lines),
            correct=_portion(grade for _, grade in arm.graded),
            bad={"error": sum(line.error not in {None, "aborted"} for line in arm.lines)},
            by={column: _by_value(arm, column, values[column]) for column in self.question.by},
            latency_ms=waits.latency_ms,
            timeouts=waits.timeouts,
            cost=None if price is None else price * len(arm.lines),
        )

    def _copied_pairs(self, unpaired: Counter[str]) -> list[_Both]:
        both: list[_Both] = []
        for pair in self.copied:
            if pair.missing is not None:
                unpaired[pair.missing] += 1
                continue
            old = self.marking.grade(pair.request, pair.baseline.status, pair.baseline.body)
            new = self.marking.grade(pair.request, pair.candidate.status, pair.candidate.body)
            if lost := old.lost or new.lost:
                unpaired[lost] += 1
                continue
            both.append(
                _Both(
                    request_id=pair.request_id,
                    request=pair.request,
                    old_body=pair.baseline.body,
                    new_body=pair.candidate.body,
                    old=old,
                    new=new,
                )
            )
        return both

    def _asked_twice(self, arms: Mapping[Arm, _Arm]) -> list[_Both]:
        """Without copies: questions that both arms happened to get, each question once."""
        asked: dict[Arm, dict[bytes, tuple[LiveAnswer, Grade]]] = {}
        for arm in ARMS:
            asked[arm] = {}
            for line, grade in arms[arm].graded:
                asked[arm].setdefault(canonical(line.request), (line, grade))
        old, new = asked["baseline"], asked["candidate"]
        return [
            _Both(
                request_id=old[request][0].request_id,
                request=old[request][0].request,
                old_body=old[request][0].body,
                new_body=new[request][0].body,
                old=old[request][1],
                new=new[request][1],
            )
            for request in old
            if request in new
        ]

    def _changes(self, both: Sequence[_Both]) -> tuple[Change, ...]:
        """Examples of each kind, by request id, so that the same log shows the same ones."""
        by_kind: dict[Changed, list[Change]] = defaultdict(list)
        for pair in sorted(both, key=attrgetter("request_id")):
            changed = _changed(pair)
            if changed is not None and len(by_kind[changed]) < EXAMPLES_EACH:
                by_kind[changed].append(Change(changed, self._disagreement(pair)))
        return tuple(change for kind in Changed for change in by_kind[kind])

    def _disagreement(self, pair: _Both) -> Disagreement:
        return Disagreement(
            case=pair.request_id,
            old=pair.old.score or 0.0,
            new=pair.new.score or 0.0,
            question=text_of(pair.request),
            expected=self.marking.expected(pair.request),
            old_answer=text_of(pair.old_body),
            new_answer=text_of(pair.new_body),
            slices={column: value_of(pair.request, column) for column in self.question.by},
        )

    def _waits(self, arms: Mapping[Arm, _Arm]) -> tuple[Waits, Waits] | None:
        if self.units:
            old, new = ([line.full_latency_ms for line in arms[arm].lines] for arm in ARMS)
        else:
            whole = [pair for pair in self.copied if pair.missing is None]
            old = [pair.baseline.full_latency_ms for pair in whole]
            new = [pair.candidate.full_latency_ms for pair in whole]
        return (waits_of(old), waits_of(new)) if old and new else None

    def _subject(self) -> Subject:
        lines: list[Line] = [*self.units, *self.copied]
        if not lines:
            lines = list(self.live)  # every unit was in both arms
        first = lines[0]
        times = [line.ts for line in lines]
        return Subject(
            target=first.target,
            releases=tuple(sorted({line.release for line in lines})),
            epoch=first.epoch,
            segments=tuple(sorted({line.segment for line in lines})),
            share_bp=self.live[0].share_bp if self.live else None,
            began_at=min(times),
            ended_at=max(times),
            baseline=first.artifacts.baseline,
            candidate=first.artifacts.candidate,
            grader=self.marking.fingerprint,
            dataset=digest_of(sorted(digest_of(line.request) for line in lines)),
            requests=len(lines),
            log=digest_of_bytes(self.question.log.read_bytes()),
            by=self.question.by,
            price=dict(self.question.price),
            seeds={**self.question.seeds, **seeds_in(lines)},
        )

    def _facts(self, arms: Mapping[Arm, _Arm], unpaired: Counter[str]) -> LogFacts:
        log = self.log
        used = len(self.live) + len(self.pairs)
        return LogFacts(
            lines=log.lines,
            live=len(self.live),
            pairs=len(self.pairs),
            outside=len(log.live) + len(log.pairs) - used,
            bad=tuple(BadLine(line.number, line.why) for line in log.bad),
            other=dict(log.other),
            repeated=self.repeated,
            crossed=tuple(sorted(self.crossed)),
            ungraded={arm: dict(found.lost) for arm, found in arms.items() if found.lost},
            unpaired=dict(unpaired),
        )


def _full_status(line: LiveAnswer) -> int | None:
    return line.status if line.is_full else None


def _portion(grades: Iterable[Grade]) -> Portion:
    found = list(grades)
    return Portion(hits=sum(grade.right for grade in found), units=len(found))


def _by_value(arm: _Arm, column: str, values: set[str]) -> dict[str, Portion]:
    found: dict[str, list[Grade]] = defaultdict(list)
    for line, grade in arm.graded:
        found[value_of(line.request, column)].append(grade)
    return {value: _portion(found[value]) for value in sorted(values)}


def _pairs_compared(both: Sequence[_Both], paired_by: str) -> PairsCompared | None:
    if not both:
        return None
    scored = [
        PairScored(pair.old.score or 0.0, pair.new.score or 0.0, _same(pair)) for pair in both
    ]
    return compare_pairs(scored, paired_by)


def _same(pair: _Both) -> bool:
    return whole_text_of(pair.old_body) == whole_text_of(pair.new_body)


def _changed(pair: _Both) -> Changed | None:
    if pair.old.score == pair.new.score:
        return None if _same(pair) else Changed.NEUTRAL
    return Changed.IMPROVED if (pair.new.score or 0) > (pair.old.score or 0) else Changed.REGRESSED
