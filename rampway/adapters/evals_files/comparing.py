"""Whether two files measure the same thing, and the fingerprints that say so."""

from collections.abc import Sequence
from os.path import commonprefix

from pydantic import JsonValue

from rampway.adapters.evals_files.results import NO_GRADER, Case, Results
from rampway.adapters.evals_files.rows import text_of
from rampway.gates.facts import digest_of

SHOWN = 160  # characters of a text in a message
BEFORE = 40  # of them before the place where two texts part


class Incomparable(Exception):
    """The two files do not measure the same thing, so no difference between them means anything."""

    def __init__(self, field: str, baseline: str, candidate: str) -> None:
        super().__init__(
            f"The files cannot be compared, {field} differs: baseline {baseline}, candidate"
            f" {candidate}. Next: run both arms with the same {field}"
        )
        self.field = field
        self.baseline = baseline
        self.candidate = candidate


def check_comparable(old: Results, new: Results) -> None:
    """Raise Incomparable if the files as a whole differ in what decides their scores."""
    if old.harness != new.harness:
        raise Incomparable("harness", old.harness or "unstated", new.harness or "unstated")
    # An arm without one graded row has failed in all of them: that is a result, a very bad one.
    if old.graded and new.graded and old.fingerprint != new.fingerprint:
        raise Incomparable("grader", *_told_apart(old.grader, new.grader))
    if old.scored_by and new.scored_by and old.scored_by != new.scored_by:
        raise Incomparable("score column", old.scored_by, new.scored_by)
    if old.paired_by != new.paired_by:
        raise Incomparable("pairing key", old.paired_by, new.paired_by)


def _told_apart(old: JsonValue, new: JsonValue) -> tuple[str, str]:
    """Two graders in words: of objects only what differs, for a grader may be a page of code."""
    if isinstance(old, dict) and isinstance(new, dict):
        parting = [
            (name, *_parting(_named(old.get(name)), _named(new.get(name))))
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        return (
            ", ".join(f"{name} {left}" for name, left, _ in parting),
            ", ".join(f"{name} {right}" for name, _, right in parting),
        )
    return _parting(_named(old), _named(new))


def _named(grader: JsonValue) -> str:
    return text_of(grader) or NO_GRADER


def check_cases(old: Results, new: Results, cases: Sequence[str]) -> None:
    """Raise Incomparable if a case asks, accepts or grades something else in the other file."""
    if not cases and new.cases:
        raise Incomparable("dataset", dataset_of(old), dataset_of(new))
    for name in cases:
        before, after = old.cases[name], new.cases[name]
        for field, told, left, right in (
            ("dataset", "asks", before.question, after.question),
            ("dataset", "accepts", before.expected, after.expected),
            ("grader", "is graded by", before.graded_by, after.graded_by),
        ):
            # A file that does not say is not a file that says otherwise.
            if left != right and left is not None and right is not None:
                shown = _parting(left, right)
                raise Incomparable(field, f"case {name} {told} {shown[0]}", f"{told} {shown[1]}")


def dataset_of(results: Results) -> str:
    """Digest of the case ids, with their questions and accepted answers where the file has them."""
    cases: list[JsonValue] = []
    told = False
    for name, case in sorted(results.cases.items()):
        told = told or case.question is not None or case.expected is not None
        cases.append([name, case.question, case.expected])
    return digest_of(cases if told else sorted(results.cases))


def grader_of(old: Results, new: Results, cases: Sequence[str]) -> str:
    """Fingerprint of what grades the paired cases, the same for both arms."""
    known = old if old.graded else new
    by_case = {_graded_by(old.cases[case], new.cases[case]) for case in cases} - {None}
    if not by_case:
        return known.fingerprint
    each = sorted(str(text) for text in by_case)
    return digest_of({"file": known.grader, "cases": each})


def _graded_by(before: Case, after: Case) -> str | None:
    return after.graded_by if before.graded_by is None else before.graded_by


def _parting(left: str, right: str) -> tuple[str, str]:
    """Two texts, cut to where they begin to differ."""
    shared = len(commonprefix((left, right)))  # noqa: RUF071 - by character is what is meant
    begins = max(0, shared - BEFORE)
    return _cut(left, begins), _cut(right, begins)


def _cut(text: str, begins: int) -> str:
    if len(text) <= SHOWN:
        return repr(text)
    ends = begins + SHOWN
    return repr(f"{'…' if begins else ''}{text[begins:ends]}{'…' if ends < len(text) else ''}")
