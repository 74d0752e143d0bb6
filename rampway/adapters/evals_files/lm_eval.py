"""Reads lm-evaluation-harness: the samples of one task, with the results file that vouches for them.

`doc_id` is a position; a case is known by `doc_hash`. Only the results file says whether --limit cut
the task short, and which code grades it, so neither file is read without the other. Format:
lm_eval's loggers/evaluation_tracker.py.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import EvalFileError, read_document
from rampway.adapters.evals_files.recognise import Format, recognise
from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    choose,
    labels_of,
)
from rampway.adapters.evals_files.rows import EMPTY, Row, json_rows, shown, text_of

MAX_FILES_LOOKED_AT = 1_000
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[^_]*)\.jsonl")
_RESULTS = re.compile(r"results_(?P<date>.+)\.json")
_QUESTIONS = ("question", "input", "query", "prompt")


@dataclass(frozen=True, slots=True)
class Files:
    """What one task of one run was written to."""

    task: str
    samples: Path
    results: Row


def read_lm_eval(path: Path, wanted: Wanted) -> Results:
    """The results of one task, given its folder, results file or samples file.

    Raises EvalFileError at the first broken rule, for a run with --limit, and where the partner of
    the file is not beside it or is not the only one.
    """
    files = _find(path, wanted)
    _refuse_limit(files)
    rows = json_rows(files.samples)
    first = next(rows, None)
    if first is None:
        raise EvalFileError(files.samples, 0, "no results. An empty eval proves nothing.")
    scorer = choose(files.samples, "scorer", _scorers(files, first), wanted.scorer)
    metric, _, kept = scorer.partition(",")
    results = Results(files.samples, Format.LM_EVAL_SAMPLES, wanted, paired_by="doc_hash")
    for row in _all(first, rows):
        if str(row.columns.get("filter")) == kept:
            _add(results, row, metric)
    results.scored_by, results.graded = scorer, True
    results.grader = _grader(files, metric, kept)
    results.harness = _harness(files)
    results.seeds = _seeds(files)
    counted = files.results.part("n-samples").part(files.task).columns.get("effective")
    results.lost = max(0, counted - results.generations) if isinstance(counted, int) else 0
    return results.checked()


def _all(first: Row, others: Iterable[Row]) -> Generator[Row]:
    yield first
    yield from others


def _find(path: Path, wanted: Wanted) -> Files:
    """The files of one task, from any one of them."""
    if path.is_dir():
        listed = [p for p in _listed(path, "*.json", "*/*.json") if _RESULTS.fullmatch(p.name)]
        path = _only(path, "results_*.json of lm-evaluation-harness", listed)
        return _from_results(path, wanted)
    if recognise(path).format is Format.LM_EVAL_RESULTS:
        return _from_results(path, wanted)
    return _from_samples(path, wanted)


def _from_results(path: Path, wanted: Wanted) -> Files:
    results = _document(path)
    task = choose(path, "task", _tasks(results), wanted.part)
    named = _RESULTS.fullmatch(path.name)
    samples = path.with_name(f"samples_{task}_{named['date']}.jsonl") if named else path
    if not named or not samples.is_file():
        beside = _beside(path, "*samples*.jsonl", Format.LM_EVAL_SAMPLES)
        others = [p for p in beside if (m := _SAMPLES.fullmatch(p.name)) and m["task"] != task]
        samples = _only(
            path,
            "samples file of this run (--log_samples writes one)",
            [p for p in beside if p not in others],
        )
    return Files(task, samples, results)


def _from_samples(path: Path, wanted: Wanted) -> Files:
    named = _SAMPLES.fullmatch(path.name)
    found = path.with_name(f"results_{named['date']}.json") if named else path
    if not named or not found.is_file():
        found = _only(
            path,
            "results file of this run, without which nobody knows whether --limit cut it short,",
            _beside(path, "*results*.json", Format.LM_EVAL_RESULTS),
        )
    results = _document(found)
    tasks = _tasks(results)
    if named and named["task"] in tasks:
        tasks = [named["task"]]
    return Files(choose(found, "task", tasks, wanted.part), path, results)


def _listed(folder: Path, *patterns: str) -> list[Path]:
    found = (path for pattern in patterns for path in folder.glob(pattern))
    return sorted(islice(found, MAX_FILES_LOOKED_AT))


def _beside(path: Path, pattern: str, kind: Format) -> list[Path]:
    found: list[Path] = []
    for other in _listed(path.parent, pattern):
        try:
            if other.is_file() and recognise(other).format is kind:
                found.append(other)
        except EvalFileError:
            continue  # another file in the folder; only one that fits is looked for
    return found


def _only(path: Path, what: str, found: list[Path]) -> Path:
    """The one file found. The latest of several is never taken for the one that was meant."""
    if len(found) == 1:
        return found[0]
    if not found:
        where = "in it" if path.is_dir() else "beside it"
        told = "not a regular file; as a folder it" if path.is_dir() else "it"
        raise EvalFileError(path, 0, f"{told} cannot be read: there is no {what} {where}.")
    names = ", ".join(p.name for p in found[:10])
    raise EvalFileError(
        path, 0, f"there are {len(found)} of: {what} {names}. Next: give the samples file itself"
    )


def _document(path: Path) -> Row:
    document = read_document(path)
    return Row(path, 0, document if isinstance(document, dict) else EMPTY)


def _tasks(results: Row) -> list[str]:
    counted = results.part("n-samples").columns or results.part("configs").columns
    return list(counted)


def _refuse_limit(files: Files) -> None:
    counts = files.results.part("n-samples").part(files.task)
    original, effective = counts.columns.get("original"), counts.columns.get("effective")
    limit = files.results.part("config").columns.get("limit")
    cut = isinstance(original, int) and isinstance(effective, int) and effective < original
    if cut or limit is not None:
        raise files.results.broken(
            f"task {files.task} ran with --limit ({shown(effective)} of {shown(original)} cases): a"
            " part, chosen by position, is no full eval. Next: run it without --limit"
        )


def _scorers(files: Files, first: Row) -> list[str]:
    """The scores that each sample has, as the results file names them: `metric,filter`."""
    listed = first.columns.get("metrics")
    per_sample = listed if isinstance(listed, list) else list(first.columns)
    scored = files.results.part("results").part(files.task).columns
    found = [name for name in scored if name.partition(",")[0] in per_sample and "," in name]
    return found or [f"{metric},{first.columns.get('filter')}" for metric in per_sample]


def _add(results: Results, row: Row, metric: str) -> None:
    case_id = row.text("doc_hash")
    if not case_id:
        raise row.broken(
            "no doc_hash, and doc_id is only a position. Next: run it with lm-eval 0.4.3 or later"
        )
    doc = row.part("doc").columns
    hard = doc.get("hard")
    value = row.columns.get(metric)
    results.add(
        row,
        Answer(
            case_id,
            float(value) if isinstance(value, bool) else row.score(metric),
            labels=labels_of(results.wanted, doc),
            hard=hard if isinstance(hard, bool) else None,
            question=_question(doc),
            expected=text_of(row.columns.get("target")),
            text=_text(row.columns.get("filtered_resps")),
        ),
    )


def _question(doc: Mapping[str, JsonValue]) -> str | None:
    """From the doc, not from the prompt: the prompt may be what the arms differ in."""
    asked = next((doc[name] for name in _QUESTIONS if isinstance(doc.get(name), str)), None)
    return text_of(dict(doc)) if asked is None else text_of(asked)


def _text(value: JsonValue) -> str | None:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return text_of(value)


def _grader(files: Files, metric: str, kept: str) -> JsonValue:
    config = files.results.part("configs").part(files.task)
    higher = files.results.part("higher_is_better").part(files.task).columns.get(metric)
    if higher is False:
        raise files.results.broken(f"{metric} is better when lower: it is no score from 0 to 1.")
    return {
        "metric": metric,
        "filter": kept,
        "metric_list": _named(config, "metric_list", "metric", metric),
        "filter_list": _named(config, "filter_list", "name", kept),
        "process_results": config.columns.get("process_results"),
        "doc_to_target": config.columns.get("doc_to_target"),
    }


def _named(config: Row, listed: str, key: str, name: str) -> JsonValue:
    return [dict(one.columns) for one in config.parts(listed) if one.columns.get(key) == name]


def _harness(files: Files) -> str:
    whole = files.results
    version = whole.part("versions").columns.get(files.task)
    shots = whole.part("n-shot").columns.get(files.task)
    return (
        f"lm_eval {whole.columns.get('lm_eval_version') or 'unstated'}, task {files.task}"
        f" version {version}, {shots}-shot"
    )


def _seeds(files: Files) -> dict[str, JsonValue]:
    run = files.results.part("config").columns
    config = files.results.part("configs").part(files.task)
    repeats = config.columns.get("repeats")
    seeds: dict[str, JsonValue] = {
        name: run.get(name) for name in ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed")
    }
    seeds["temperature"] = config.part("generation_kwargs").columns.get("temperature")
    return seeds | {"repeats": None if repeats == 1 else repeats}
