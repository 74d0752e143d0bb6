"""Which lines of a log may be compared, and which of them are one unit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Literal, TypeVar

from rampway.adapters.answers_log import LiveAnswer, PairedAnswers

Arm = Literal["baseline", "candidate"]
Line = LiveAnswer | PairedAnswers
OneOf = TypeVar("OneOf", LiveAnswer, PairedAnswers)

ARMS: tuple[Arm, Arm] = ("baseline", "candidate")
ALL_BP = 10_000


class LogMixed(Exception):
    """The log holds answers that may not be pooled: of several epochs, shares, artifacts or graders."""


def is_chosen(line: Line, *, epoch: int | None, segment: int | None) -> bool:
    """Whether a line is of the epoch and segment that were asked for; None asks for any.

    Copies are of their own segment, before anybody is exposed: only the epoch chooses them.
    """
    if epoch not in {None, line.epoch}:
        return False
    if isinstance(line, PairedAnswers):
        return True
    # With all traffic on one arm nothing is split: there is no other arm at that time.
    return segment in {None, line.segment} and 0 < line.share_bp < ALL_BP


def refuse_mixed(lines: Sequence[Line], fingerprint: str) -> None:
    """Raise LogMixed, naming what differs and how to choose."""
    if not lines:
        raise LogMixed(
            "No line of the log is of an open split. Next: drop --epoch and --segment, or "
            "see which the log has"
        )
    # Pooled over shares, a base rate that moved between them looks like a difference between the
    # arms (Simpson 1951).
    segment_of = {line.share_bp: line.segment for line in lines if isinstance(line, LiveAnswer)}
    shares = {f"{bp / 100:g} % (segment {segment})" for bp, segment in segment_of.items()}
    told: tuple[tuple[str, set[str], str], ...] = (
        ("targets", {line.target for line in lines}, "one log per target"),
        ("epochs", {str(line.epoch) for line in lines}, "choose one with --epoch"),
        ("baseline artifacts", {line.artifacts.baseline for line in lines}, "one log per pair"),
        ("candidate artifacts", {line.artifacts.candidate for line in lines}, "one log per pair"),
        ("shares", shares, "choose one with --segment"),
    )
    for what, found, rule in told:
        if len(found) > 1:
            raise LogMixed(f"The log mixes {what}: {', '.join(sorted(found))}. Next: {rule}")
    graders = {line.grader for line in lines if line.grader is not None}
    if graders - {fingerprint}:
        raise LogMixed(
            f"The log mixes graders: its lines were scored by {', '.join(sorted(graders))}, now it "
            f"would be by {fingerprint}. Next: compare with that grader, or drop its scores"
        )


def in_both_arms(live: Sequence[LiveAnswer]) -> set[str]:
    """Ids of the requests whose id, or whose unit, had answers from both arms."""
    by_id: dict[str, set[str]] = defaultdict(set)
    by_unit: dict[str, set[str]] = defaultdict(set)
    for line in live:
        by_id[line.request_id].add(line.arm)
        by_unit[line.unit].add(line.arm)
    return {
        line.request_id
        for line in live
        if len(by_id[line.request_id]) > 1 or len(by_unit[line.unit]) > 1
    }


def first_per_unit(lines: Iterable[OneOf]) -> list[OneOf]:
    """Each unit's first answer: a user who asks again, or a retry, is not another coin thrown."""
    first: dict[str, OneOf] = {}
    for line in sorted(lines, key=attrgetter("ts")):
        first.setdefault(line.unit, line)
    return list(first.values())
