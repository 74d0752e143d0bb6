"""Pairs the results of both arms case by case; no row and no case is passed over in silence."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rampway.adapters.evals_files.results import Case, Results, read_results
from rampway.adapters.evals_files.rows import EvalFileError
from rampway.gates.evidence import Column, PairedCases
from rampway.gates.facts import digest_of
from rampway.gates.plans import Arm


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


def pair_evals(
    baseline: Path,
    candidate: Path,
    *,
    cluster: str | None,
    slices: Sequence[str],
    baseline_artifact: str,
    candidate_artifact: str,
    safety_baseline: Path | None,
    safety_candidate: Path | None,
) -> PairedCases:
    """Pair the results of both arms by case id, sorted by it.

    Repeats of a case are averaged per arm. An error counts 0 for its arm and is counted in `errors`,
    by generations. `missing` counts the cases that only one file has: neither arm may choose its
    cases. `cluster` names a column (or slice), with the column `cluster` in its place where there is
    none of that name; clusters and `slices` are read from the baseline's file, and must agree with the
    candidate's wherever that has them. A safety case for which the candidate has no row failed.

    `dataset` is a digest of the case ids alone: these files do not hold the accepted answers.
    `refused`, `latency_ms` and `cost_usd` are checked and go no further.

    Raises EvalFileError at the first broken rule, and Incomparable when the graders, the kind of score
    or all the cases differ.
    """
    names = frozenset(slices) | ({cluster, "cluster"} if cluster else set[str]())
    old, new = read_results(baseline, names), read_results(candidate, names)
    _check_comparable(old, new)
    cases = sorted(old.cases.keys() & new.cases.keys())
    if not cases:
        raise Incomparable("dataset", _dataset(old.cases), _dataset(new.cases))
    errors = {Arm.BASELINE: old.errors, Arm.CANDIDATE: new.errors}
    safety = _pair_safety(safety_baseline, safety_candidate, errors)
    return PairedCases(
        baseline=baseline_artifact,
        candidate=candidate_artifact,
        dataset=_dataset(old.cases),
        grader=(old if old.graded else new).fingerprint,
        cases=cases,
        old=[old.cases[case].score for case in cases],
        new=[new.cases[case].score for case in cases],
        clusters=_column(old, new, (cluster, "cluster"), cases) if cluster else None,
        slices={name: _column(old, new, (name,), cases) for name in slices},
        errors={arm.value: count for arm, count in errors.items()},
        missing=len(old.cases.keys() ^ new.cases.keys()),
        safety=safety,
    )


def _check_comparable(old: Results, new: Results) -> None:
    # An arm without one graded row has failed in all of them: that is a result, a very bad one.
    if old.graded and new.graded and old.fingerprint != new.fingerprint:
        raise Incomparable("grader", old.grader_name, new.grader_name)
    if {old.scored_by, new.scored_by} == {"score", "passed"}:
        raise Incomparable("score column", old.scored_by, new.scored_by)


def _column(old: Results, new: Results, names: Sequence[str], cases: Iterable[str]) -> Column:
    """The cases' labels under the first of `names` that a case has."""
    codes: dict[str, int] = {}
    encoded: list[int] = []
    for case in cases:
        before, after = old.cases[case], new.cases[case]
        label, seen = _label(before, names), _label(after, names)
        if label is None:
            raise EvalFileError(
                old.path,
                before.line,
                f"case {case} has no slice or column {' or '.join(names)}."
                " Next: add it, or take it out of the spec",
            )
        if seen not in {None, label}:
            raise EvalFileError(
                new.path,
                after.line,
                f"case {case} has {names[0]} {seen!r} here and {label!r} in {old.path}. A case has the"
                " same slices for both arms. Next: take them from one case file",
            )
        encoded.append(codes.setdefault(label, len(codes)))
    return Column(values=list(codes), codes=encoded)


def _label(case: Case, names: Iterable[str]) -> str | None:
    return next((case.labels[name] for name in names if name in case.labels), None)


def _pair_safety(
    baseline: Path | None, candidate: Path | None, errors: dict[Arm, int]
) -> list[tuple[str, bool, int, int, int]]:
    """Passes per safety case and arm. Adds to `errors` the generations that failed."""
    if baseline is None or candidate is None:
        given = baseline or candidate
        if given is not None:
            raise EvalFileError(
                given, 0, "safety results of one arm only. Next: give both arms' files"
            )
        return []
    old, new = read_results(baseline, frozenset[str]()), read_results(candidate, frozenset[str]())
    _check_comparable(old, new)
    for case in sorted(new.cases.keys() - old.cases.keys()):
        raise EvalFileError(
            new.path,
            new.cases[case].line,
            f"safety case {case} is not in {old.path}: nobody knows whether the baseline passes it."
            " Next: run the baseline on it",
        )
    errors[Arm.BASELINE] += old.errors
    errors[Arm.CANDIDATE] += new.errors
    rows: list[tuple[str, bool, int, int, int]] = []
    for case, before in sorted(old.cases.items()):
        after = new.cases.get(case)
        if after is None:
            errors[Arm.CANDIDATE] += len(before.scores)
        rows.append(_safety_row(old, new, case, before, after))
    return rows


def _safety_row(
    old: Results, new: Results, case: str, before: Case, after: Case | None
) -> tuple[str, bool, int, int, int]:
    generations = len(before.scores)
    passes = _passes(old.path, case, before)
    if before.hard is None:
        raise EvalFileError(
            old.path,
            before.line,
            f"safety case {case} has no column hard (true: one flip from pass to fail blocks)."
            " Next: add it to every row",
        )
    if after is None:
        return case, before.hard, passes, 0, generations
    if after.hard not in {None, before.hard}:
        raise EvalFileError(
            new.path, after.line, f"safety case {case} is hard={before.hard} in {old.path} only."
        )
    if len(after.scores) != generations:
        raise EvalFileError(
            new.path,
            after.line,
            f"safety case {case} has {len(after.scores)} generations, in {old.path} {generations}."
            " Both arms get the same number of tries. Next: run both with the same generations",
        )
    return case, before.hard, passes, _passes(new.path, case, after), generations


def _passes(path: Path, case: str, results: Case) -> int:
    if not set(results.scores) <= {0.0, 1.0}:
        raise EvalFileError(
            path,
            results.line,
            f"safety case {case} has a score between 0 and 1; a safety answer passes or fails."
            " Next: write passed",
        )
    return round(sum(results.scores))


def _dataset(cases: Iterable[str]) -> str:
    return digest_of(sorted(cases))
