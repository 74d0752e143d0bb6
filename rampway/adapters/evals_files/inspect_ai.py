"""Reads Inspect's logs, `.json` and `.eval`.

A case is known by its sample id, across epochs; the member names of an `.eval` archive are no ids.
Inspect's own accuracy is over the samples that completed: here a sample with an error counts, as a
failure. Format: inspect_ai's log/_log.py, log version 2.
"""

import json
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import (
    EvalFileError,
    finite_number,
    parse_document,
)
from rampway.adapters.evals_files.keys import own_id
from rampway.adapters.evals_files.recognise import Format, unknown
from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    choose,
    labels_of,
    refuse_choice,
)
from rampway.adapters.evals_files.rows import EMPTY, Row, shown, text_of
from rampway.adapters.evals_files.zipped import Archive, opened_archive

HEADER = "header.json"
VERSION = 2
# Inspect's value_to_float: correct, partial, incorrect, no answer, and the usual words.
VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def read_inspect_json(path: Path, document: JsonValue, wanted: Wanted) -> Results:
    """The results of a `.json` log. Raises EvalFileError at the first broken rule."""
    log = Row(path, 0, document if isinstance(document, dict) else EMPTY)
    _check_log(log)
    return _read(log, log.parts("samples"), wanted)


def read_inspect_eval(path: Path, wanted: Wanted) -> Results:
    """The results of an `.eval` log. Raises EvalFileError at the first broken rule."""
    with opened_archive(path) as archive:
        if HEADER not in archive.names:
            if any(name.startswith("_journal/") for name in archive.names):
                raise EvalFileError(
                    path,
                    0,
                    f"an Inspect log without {HEADER}: the run has not ended. Next: run it"
                    " to its end",
                )
            raise unknown(path, 0, f"a zip archive without Inspect's {HEADER}")
        header = parse_document(path, archive.read(HEADER), HEADER)
        log = Row(path, 0, header if isinstance(header, dict) else EMPTY)
        _check_log(log)
        return _read(log, _members(archive), wanted)


def _members(archive: Archive) -> Generator[Row]:
    for name in archive.names:
        if name.startswith("samples/") and name.endswith(".json"):
            sample = parse_document(archive.path, archive.read(name), name)
            if not isinstance(sample, dict):
                raise EvalFileError(archive.path, 0, f"{name} is not a JSON object.")
            yield Row(archive.path, 0, sample, name)


def _check_log(log: Row) -> None:
    """Refuse what is no whole run: Inspect writes logs of runs that broke off, too."""
    version, status = log.columns.get("version"), log.columns.get("status")
    if version != VERSION:
        raise log.broken(f"an Inspect log of version {shown(version)}; version {VERSION} is known.")
    if status != "success":
        why = log.part("error").columns.get("message")
        told = f" ({shown(why)})" if why else ""
        raise log.broken(
            f"its status is {shown(status)}, not 'success'{told}: the samples that it holds are those"
            " that got so far. Next: inspect eval-retry"
        )
    if log.columns.get("invalidated"):
        raise log.broken("the log is marked invalidated. Next: run it again")
    if not isinstance(log.columns.get("results"), dict):
        raise log.broken("no results: nothing was scored. Next: inspect score")


def _read(log: Row, samples: Iterable[Row], wanted: Wanted) -> Results:
    run = log.part("eval")
    if wanted.part is not None:
        refuse_choice(log.path, "an Inspect log", Wanted(part=wanted.part))
    results = Results(log.path, Format.INSPECT, wanted, paired_by="sample id")
    version = run.part("packages").columns.get("inspect_ai")
    results.harness = (
        f"inspect_ai {version or 'unstated'}, task {run.columns.get('task')}"
        f" version {run.columns.get('task_version')}"
    )
    results.seeds = _seeds(log, run)
    seen: set[tuple[str, str]] = set()
    chosen = _stated_scorer(log, wanted)
    for sample in samples:
        if not chosen and not _failed(sample):
            chosen = _choose_scorer(sample, wanted)
        _add(results, sample, chosen, seen)
    results.scored_by = chosen
    results.grader, results.graded = _grader(log, run, chosen), bool(chosen)
    total = log.part("results").columns.get("total_samples")
    results.lost = max(0, total - results.generations) if isinstance(total, int) else 0
    if not results.cases:
        raise log.broken("it holds no samples. Next: run it with --log-samples")
    return results


def _stated_scorer(log: Row, wanted: Wanted) -> str:
    """The scorer, where the header names just one; else the first scored sample must tell."""
    if wanted.scorer is not None:
        return ""
    scores = log.part("results").parts("scores")
    named = {(str(one.columns.get("name")), str(one.columns.get("scorer"))) for one in scores}
    if len(named) != 1:
        return ""
    name, scorer = named.pop()
    return name if name == scorer else ""


def _choose_scorer(sample: Row, wanted: Wanted) -> str:
    scores = sample.part("scores")
    options: list[str] = []
    for name in scores.columns:
        value = scores.part(name).columns.get("value")
        options += [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]
    return choose(sample.path, "scorer", options, wanted.scorer)


def _add(results: Results, sample: Row, scorer: str, seen: set[tuple[str, str]]) -> None:
    case_id = own_id(sample.columns, "id")
    if case_id is None:
        raise sample.broken("no id. Samples are paired by it.")
    named = Row(sample.path, 0, sample.columns, f"sample {case_id}")
    epoch = str(sample.columns.get("epoch", 1))
    if (case_id, epoch) in seen:
        raise named.broken(f"epoch {epoch} stands twice.")
    seen.add((case_id, epoch))
    failed = _failed(named)
    score, answer = (0.0, None) if failed else _score(named, scorer)
    metadata = named.part("metadata").columns
    hard = metadata.get("hard")
    results.add(
        named,
        Answer(
            case_id,
            score,
            failed,
            labels_of(results.wanted, metadata),
            hard if isinstance(hard, bool) else None,
            _asked(named.columns.get("input")),
            text_of(named.columns.get("target")),
            None,
            None if failed else _answered(named, answer),
            _stop_reason(named) == "content_filter",
            _latency_ms(named),
            _cost_usd(named),
        ),
    )


def _failed(sample: Row) -> bool:
    return sample.columns.get("error") is not None


def _score(sample: Row, scorer: str) -> tuple[float, str | None]:
    """The score in [0, 1], and the answer as the scorer understood it."""
    name, _, key = scorer.partition(".")
    scores = sample.part("scores")
    if scorer in scores.columns:
        name, key = scorer, ""
    if name not in scores.columns:
        raise sample.broken(
            f"no score by {scorer}, and no error either. Next: score the log again (inspect score)"
        )
    scored = scores.part(name)
    value = scored.columns.get("value")
    if key and isinstance(value, dict):
        value = value.get(key)
    return _number(sample, scorer, value), text_of(scored.columns.get("answer"))


def _number(sample: Row, scorer: str, value: JsonValue) -> float:
    if isinstance(value, str):
        number = VALUES.get(value, WORDS.get(value.lower()))
        if number is None:
            try:
                number = finite_number(float(value))
            except ValueError:
                number = None
    elif isinstance(value, bool):
        number = float(value)
    else:
        number = finite_number(value)
    if number is not None and 0 <= number <= 1:
        return number
    if isinstance(value, dict):
        raise sample.broken(
            f"{scorer} gives several scores: {', '.join(value)}."
            f" Next: choose one, such as {scorer}.{next(iter(value), 'name')}"
        )
    raise sample.broken(
        f"{scorer} gives {shown(value)}, which is none of C, I, P, N, a truth value or a number from"
        " 0 to 1."
    )


def _asked(value: JsonValue) -> str | None:
    """The sample's input. Messages have ids that are new in each run: only what they say counts."""
    if not isinstance(value, list):
        return text_of(value)
    return "\n".join(
        f"{message.get('role')}: {_content(message.get('content'))}"
        for message in value
        if isinstance(message, dict)
    )


def _content(value: JsonValue) -> str:
    if not isinstance(value, list):
        return text_of(value) or ""
    parts = [
        {name: item for name, item in part.items() if name not in {"id", "internal"}}
        if isinstance(part, dict)
        else part
        for part in value
    ]
    texts = [str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part]
    return " ".join(texts) if len(texts) == len(parts) else json.dumps(parts, sort_keys=True)


def _answered(sample: Row, scored: str | None) -> str | None:
    completion = sample.part("output").columns.get("completion")
    if isinstance(completion, str):
        return completion
    message = _first_choice(sample).get("message")
    content = _content(message.get("content")) if isinstance(message, dict) else None
    return content or scored


def _stop_reason(sample: Row) -> JsonValue:
    return _first_choice(sample).get("stop_reason")


def _first_choice(sample: Row) -> Mapping[str, JsonValue]:
    choices = sample.part("output").parts("choices")
    return choices[0].columns if choices else EMPTY


def _latency_ms(sample: Row) -> float | None:
    """The time at work, which leaves out waiting for a rate limit, where the log knows it."""
    name = "total_time" if sample.columns.get("working_time") is None else "working_time"
    seconds = sample.measure(name)
    return None if seconds is None else seconds * 1_000


def _cost_usd(sample: Row) -> float | None:
    usage = sample.part("model_usage")
    costs = [usage.part(model).measure("total_cost") for model in usage.columns]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def _grader(log: Row, run: Row, chosen: str) -> JsonValue:
    """The scorer with its options, and the model that grades where a role says so."""
    name = chosen.partition(".")[0]
    listed = run.parts("scorers") or log.part("results").parts("scores")
    scorers: list[JsonValue] = [
        {
            "name": named,
            "options": one.columns.get("options", one.columns.get("params")),
        }
        for one in listed
        if (named := str(one.columns.get("name") or one.columns.get("scorer"))) in {name, chosen}
        or named.endswith(f"/{name}")
        or one.columns.get("scorer") == name
    ]
    return {
        "scorer": chosen,
        "scorers": scorers,
        "model": run.part("model_roles").part("grader").columns.get("model"),
    }


def _seeds(log: Row, run: Row) -> dict[str, JsonValue]:
    config = run.part("config")
    plan = log.part("plan").part("config").columns
    model = run.part("model_generate_config").columns
    return {
        "epochs": config.columns.get("epochs"),
        "limit": config.columns.get("limit"),
        "seed": plan.get("seed", model.get("seed")),
        "temperature": plan.get("temperature", model.get("temperature")),
    }
