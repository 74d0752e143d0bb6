"""What a pull request's checks point at: the worst slices of the offline gate, and gates that block."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rampway.gates.verdicts import OfflineSlices, OfflineVerdict, SliceLoss, Verdict
from rampway.reports.slice_words import slice_numbers, slice_title
from rampway.reports.texts import offline_answer, offline_rows

# GitHub shows ten errors and ten warnings of a step, and drops the rest in silence.
PER_LEVEL_MAX = 10
SLICES_MAX = 10
_LEVELS = {Verdict.BREACH: "error", Verdict.INCOMPARABLE: "error"}


class Level(StrEnum):
    """How loud an annotation is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Annotation:
    """One remark beside a job, in plain words."""

    level: Level
    title: str
    message: str


def offline_annotations(verdict: OfflineVerdict) -> tuple[Annotation, ...]:
    """Of the ten worst slices those that lost, then the gates that did not pass; ten of each level."""
    found = [*(_slices(verdict.slices) if verdict.slices else ()), *_gates(verdict)]
    kept: list[Annotation] = []
    for level in Level:
        kept += [one for one in found if one.level is level][:PER_LEVEL_MAX]
    return tuple(kept)


def _slices(slices: OfflineSlices) -> Iterator[Annotation]:
    for slice_ in slices.slices[:SLICES_MAX]:
        if slice_.verdict is not Verdict.PASS or slice_.sigmas > slices.sigma:
            level = _level(slice_.verdict)
            if level is Level.ERROR or _lost(slice_):
                title = f"Offline gate: {slice_.verdict} in {slice_title(slice_)}"
                yield Annotation(level, title, slice_numbers(slice_))


def _lost(slice_: SliceLoss) -> bool:
    return slice_.difference < 0 or not slice_.cases


def _gates(verdict: OfflineVerdict) -> Iterator[Annotation]:
    if verdict.headline is None:
        yield Annotation(_level(verdict.verdict), "Offline gate", offline_answer(verdict))
    for gate, word, numbers in offline_rows(verdict):
        if word != Verdict.PASS:
            yield Annotation(_level(Verdict(word)), f"Offline gate: {gate} {word}", numbers)


def _level(verdict: Verdict) -> Level:
    return Level(_LEVELS.get(verdict, Level.WARNING))
