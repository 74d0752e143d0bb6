"""Pairs the results of both arms case by case; no row and no case is passed over in silence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rampway.adapters.evals_files.comparing import (
    check_cases,
    check_comparable,
    dataset_of,
    grader_of,
)
from rampway.adapters.evals_files.disagreeing import disagreements_of
from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.reading import read_results
from rampway.adapters.evals_files.results import Case, Results, Wanted
from rampway.gates.evidence import Column, Disagreement, PairedCases
from rampway.gates.plans import Arm

MIN_SLICE_VALUES = 2
MAX_SLICE_VALUES = 50


@dataclass(frozen=True, slots=True)
class ArmTotals:
    """What one arm's file says in all. Latency and cost are None where the file has none."""

    tool: str
    generations: int
    errors: int
    refused: int
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class PairedEvals:
    """Two files of results, paired; `totals` are of the headline files, not of the safety files."""

    cases: PairedCases
    disagreements: tuple[Disagreement, ...]
    totals: dict[Arm, ArmTotals]


def pair_evals(
    baseline: Path,
    candidate: Path,
    *,
    cluster: str | None,
    slices: Sequence[str] | None,
    baseline_artifact: str,
    candidate_artifact: str,
    safety_baseline: Path | None,
    safety_candidate: Path | None,
    baseline_part: str | None = None,
    candidate_part: str | None = None,
    scorer: str | None = None,
) -> PairedEvals:
    """Pair the results of both arms by what identifies a case in their format, sorted by it.

    Repeats of a case are averaged per arm. An error counts 0 for its arm and is counted in `errors`,
    by generations. `missing` counts the cases that only one file has, since neither arm may choose
    its cases, and the results that a file says it holds and does not. `cluster` names a column (or
    slice), with the column `cluster` in its place where there is none of that name; clusters and
    `slices` are read from the baseline's file, and must agree with the candidate's wherever that has
    them. Slices None stand for every label that all cases of the baseline's file have, with between
    2 and 50 distinct values and fewer of them than cases, and that the candidate's file does not
    contradict. A safety case for which the candidate has no row failed.

    `baseline_part` and `candidate_part` choose one prompt, provider or task of a file with several
    (which may be the same file for both arms), `scorer` one of several scores: each the full name,
    or a part of it that only one has.

    `dataset` is a digest of the baseline's case ids and, where the file has them, the questions and
    accepted answers.

    Raises EvalFileError at the first broken rule, and Incomparable when harness, pairing key, grader,
    kind of score, or a case's question or accepted answers differ, or all the cases do.
    """
    names = frozenset(slices or ()) | ({cluster, "cluster"} if cluster else set[str]())
    old = read_results(baseline, Wanted(names, slices is None, baseline_part, scorer))
    new = read_results(candidate, Wanted(names, slices is None, candidate_part, scorer))
    check_comparable(old, new)
    cases = sorted(old.cases.keys() & new.cases.keys())
    check_cases(old, new, cases)
    errors = {Arm.BASELINE: old.errors, Arm.CANDIDATE: new.errors}
    safety = _pair_safety(
        (safety_baseline, Wanted(part=baseline_part, scorer=scorer)),
        (safety_candidate, Wanted(part=candidate_part, scorer=scorer)),
        errors,
    )
    sliced = _slice_names(old, new, cases, {cluster, "cluster"}) if slices is None else slices
    paired = PairedCases(
        baseline=baseline_artifact,
        candidate=candidate_artifact,
        dataset=dataset_of(old),
        grader=grader_of(old, new, cases),
        harness=old.harness,
        seeds=_seeds(old, new),
        paired_by=old.paired_by,
        cases=cases,
        old=[old.cases[case].score for case in cases],
        new=[new.cases[case].score for case in cases],
        clusters=_column(old, new, (cluster, "cluster"), cases) if cluster else None,
        slices={name: _column(old, new, (name,), cases) for name in sliced},
        errors={arm.value: count for arm, count in errors.items()},
        missing=len(old.cases.keys() ^ new.cases.keys()) + max(old.lost, new.lost),
        safety=safety,
    )
    return PairedEvals(
        paired,
        disagreements_of(old, new, cases, sliced),
        {Arm.BASELINE: _totals(old), Arm.CANDIDATE: _totals(new)},
    )


def _seeds(old: Results, new: Results) -> str:
    before, after = old.seeds_text, new.seeds_text
    return before if before == after else f"baseline {before or '-'}; candidate {after or '-'}"


def _slice_names(
    old: Results, new: Results, cases: Sequence[str], clusters: set[str | None]
) -> list[str]:
    """The labels that may be slices, where nobody said which."""
    everywhere = set(old.cases[cases[0]].labels) - clusters
    for case in old.cases.values():
        everywhere &= case.labels.keys()
    most = min(MAX_SLICE_VALUES, len(cases) - 1)
    return [
        name
        for name in sorted(everywhere)
        if MIN_SLICE_VALUES <= len({case.labels[name] for case in old.cases.values()}) <= most
        and all(_agree(old.cases[case].labels, new.cases[case].labels, name) for case in cases)
    ]


def _agree(before: Mapping[str, str], after: Mapping[str, str], name: str) -> bool:
    return name not in after or before[name] == after[name]


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
        if seen is not None and seen != label:
            raise EvalFileError(
                new.path,
                after.line,
                f"case {case} has {names[0]} {seen!r} here and {label!r} in {old.path}. A case has the"
                " same slices for both arms. Next: take them from one case file",
            )
        encoded.append(codes.setdefault(label, len(codes)))
    return Column(values=list(codes), codes=encoded)


def _label(case: Case, names: Iterable[str]) -> str | None:
    for name in names:
        if name in case.labels:
            return case.labels[name]
    return None


def _totals(results: Results) -> ArmTotals:
    latencies = sorted(results.latencies_ms)
    return ArmTotals(
        tool=results.tool,
        generations=results.generations,
        errors=results.errors,
        refused=results.refused,
        latency_ms_p50=_nearest_rank(latencies, 50),
        latency_ms_p95=_nearest_rank(latencies, 95),
        cost_usd=sum(results.costs_usd) if results.costs_usd else None,
    )


def _nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def _pair_safety(
    baseline: tuple[Path | None, Wanted],
    candidate: tuple[Path | None, Wanted],
    errors: dict[Arm, int],
) -> list[tuple[str, bool, int, int, int]]:
    """Passes per safety case and arm. Adds to `errors` the generations that failed."""
    if baseline[0] is None or candidate[0] is None:
        given = baseline[0] or candidate[0]
        if given is not None:
            raise EvalFileError(
                given, 0, "safety results of one arm only. Next: give both arms' files"
            )
        return []
    old, new = read_results(baseline[0], baseline[1]), read_results(candidate[0], candidate[1])
    check_comparable(old, new)
    for case in sorted(new.cases.keys() - old.cases.keys()):
        raise EvalFileError(
            new.path,
            new.cases[case].line,
            f"safety case {case} is not in {old.path}: nobody knows whether the baseline passes it."
            " Next: run the baseline on it",
        )
    check_cases(old, new, sorted(new.cases))
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
