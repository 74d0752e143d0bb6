"""Reads promptfoo's JSON: version 3, and the older version 2 with its table.

promptfoo has no case id of its own: `id` is new in each run, `testIdx` counts repeats as tests. A
case is known by `metadata.case_id` (or `metadata.id`, `vars.case_id`), by its description where that
names one test only, or by its vars. The hash of vars leaves out prompt and provider on purpose: they
are what the arms differ in. Format: promptfoo's src/types/schemas/import.ts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.keys import hash_of, own_id, shared_key, without
from rampway.adapters.evals_files.recognise import Format
from rampway.adapters.evals_files.results import (
    Answer,
    Results,
    Wanted,
    choose,
    labels_of,
)
from rampway.adapters.evals_files.rows import EMPTY, Row, shown, text_of

ERROR = 2  # ResultFailureReason: NONE 0, ASSERT 1, ERROR 2
SUCCESS = "success"
NOT_OF_THE_CASE = frozenset({"_promptfooFileMetadata", "_conversation", "sessionId"})
# What these assertions hold in `value` is how to grade; others hold what is accepted.
RUBRICS = frozenset(
    {
        "agent-rubric",
        "g-eval",
        "llm-rubric",
        "model-graded-closedqa",
        "pi",
        "search-rubric",
        "select-best",
    }
)
PROMPT_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """One test answered by one provider for one prompt, in the shape of version 3."""

    part: str
    row: Row


def read_promptfoo(path: Path, document: JsonValue, wanted: Wanted) -> Results:
    """The results of one prompt and provider. Raises EvalFileError at the first broken rule."""
    whole = Row(path, 0, document if isinstance(document, dict) else EMPTY)
    summary = whole.part("results")
    if isinstance(summary.columns.get("table"), dict):
        cells = _cells_of_table(summary.part("table"))
    elif summary.columns.get("version") == 3:  # noqa: PLR2004 - the version this reads
        cells = _cells_of_rows(summary)
    else:
        raise EvalFileError(
            path,
            0,
            f"promptfoo results of version {shown(summary.columns.get('version'))}; versions 2 and 3"
            " are known. Next: export it again with a current promptfoo",
        )
    results = Results(path, Format.PROMPTFOO, wanted)
    version = whole.part("metadata").text("promptfooVersion")
    results.harness = f"promptfoo {version}" if version else "promptfoo"
    chosen = add_cells(results, cells)
    results.lost = max(0, _stated(summary) - len(cells))
    results.seeds = _seeds(whole, chosen)
    return results.checked()


def add_cells(results: Results, cells: list[Cell]) -> Row:
    """Count the cells of the wanted prompt and provider; return the last one's row."""
    if not cells:
        results.checked()
    part = choose(
        results.path, "prompt-provider pair", (cell.part for cell in cells), results.wanted.part
    )
    rows = [cell.row for cell in cells if cell.part == part]
    tests = [_test(row) for row in rows]
    keys = [_keys(test) for test in tests]
    questions = [json.dumps(_variables(test), sort_keys=True) for test in tests]
    results.paired_by = shared_key(keys, questions)
    results.scored_by = _scored_by(results, rows)
    for row, test, key in zip(rows, tests, keys, strict=True):
        _add(results, row, test, str(key[results.paired_by]))
    results.graded = True
    return rows[-1]


def _cells_of_rows(summary: Row) -> list[Cell]:
    return [Cell(_part(row), row) for row in summary.parts("results")]


def _cells_of_table(table: Row) -> list[Cell]:
    """Version 2 keeps one row per test, with one output per prompt and provider."""
    head = table.part("head")
    prompts = head.parts("prompts")
    names = head.columns.get("vars")
    cells: list[Cell] = []
    for body in table.parts("body"):
        values = body.columns.get("vars")
        if not isinstance(names, list) or not isinstance(values, list) or len(names) != len(values):
            raise body.broken("its vars are not as many as head.vars names.")
        outputs = body.parts("outputs")
        if len(outputs) != len(prompts):
            raise body.broken(f"{len(outputs)} outputs, but head has {len(prompts)} prompts.")
        variables: JsonValue = dict(zip(map(str, names), values, strict=True))
        test: JsonValue = {"vars": variables, **body.part("test").columns}
        for index, (output, prompt) in enumerate(zip(outputs, prompts, strict=True)):
            columns: dict[str, JsonValue] = {
                **output.columns,
                "success": output.columns.get("pass"),
                "testCase": test,
                "promptIdx": index,
                "prompt": dict(prompt.columns),
                "provider": prompt.columns.get("provider") or output.columns.get("provider"),
                "response": {"output": output.columns.get("text")},
            }
            row = Row(table.path, 0, columns, output.place)
            cells.append(Cell(_part(row), row))
    return cells


def _part(row: Row) -> str:
    provider = row.columns.get("provider")
    named = provider if isinstance(provider, dict) else {"id": provider}
    prompt = row.part("prompt")
    label = prompt.columns.get("label") or prompt.columns.get("raw") or ""
    index = row.columns.get("promptIdx")
    position = index + 1 if isinstance(index, int) else "?"
    name = named.get("label") or named.get("id") or "unnamed provider"
    return f"{name}, prompt {position}: {' '.join(str(label).split())[:PROMPT_SHOWN]}"


def _test(row: Row) -> Row:
    """The test case, with its vars and metadata wherever this version keeps them."""
    test = row.part("testCase")
    columns = dict(test.columns)
    columns.setdefault("vars", row.columns.get("vars"))
    if "testCase" not in row.columns:
        # The row's own metadata may hold what the provider answered, so it is the last resort.
        columns.setdefault("metadata", row.columns.get("metadata"))
    return Row(row.path, row.line, columns, row.place)


def _variables(test: Row) -> dict[str, JsonValue]:
    return without(test.part("vars").columns, NOT_OF_THE_CASE)


def _keys(test: Row) -> dict[str, str | None]:
    metadata = test.part("metadata").columns
    variables = _variables(test)
    return {
        "metadata.case_id": own_id(metadata, "case_id"),
        "metadata.id": own_id(metadata, "id"),
        "vars.case_id": own_id(variables, "case_id"),
        "description": own_id(test.columns, "description"),
        "hash of vars": hash_of(variables),
    }


def _scored_by(results: Results, rows: Iterable[Row]) -> str:
    if results.wanted.scorer is None:
        return SUCCESS
    named = {name: None for row in rows for name in row.part("namedScores").columns}
    return choose(results.path, "scorer", [*named, "score", SUCCESS], results.wanted.scorer)


def _add(results: Results, row: Row, test: Row, case_id: str) -> None:
    metadata = without(test.part("metadata").columns, NOT_OF_THE_CASE)
    variables = _variables(test)
    response = row.part("response")
    expected, graded_by = _graded(row, test)
    failed = _failed(row)
    hard = metadata.get("hard")
    cached = response.columns.get("cached") is True
    results.add(
        row,
        Answer(
            case_id,
            0.0 if failed else _score(results.scored_by, row),
            failed,
            labels_of(results.wanted, metadata, variables),
            hard if isinstance(hard, bool) else None,
            _question(variables),
            expected,
            graded_by,
            None if failed else text_of(response.columns.get("output")),
            _refused(response),
            None if cached else row.measure("latencyMs"),
            row.measure("cost"),
        ),
    )


def _failed(row: Row) -> bool:
    """Whether there was no answer to grade: `error` is also filled for a failed assertion."""
    reason = row.columns.get("failureReason")
    if reason is not None:
        if not isinstance(reason, int) or reason not in {0, 1, ERROR}:
            raise row.broken(f"failureReason {shown(reason)} is not 0, 1 or 2.")
        return reason == ERROR
    return row.columns.get("success") is not True and row.columns.get("gradingResult") is None


def _score(scored_by: str, row: Row) -> float:
    if scored_by == SUCCESS:
        success = row.truth(SUCCESS)
        if success is None:
            raise row.broken("no success. Next: export it again")
        return float(success)
    if scored_by == "score" and "score" not in row.part("namedScores").columns:
        return row.score("score")
    return row.part("namedScores").score(scored_by)


def _graded(row: Row, test: Row) -> tuple[str | None, str | None]:
    """What the case's assertions accept, and how they grade."""
    assertions = list(_flat(test.parts("assert")))
    if not assertions:
        components = row.part("gradingResult").parts("componentResults")
        assertions = [one.part("assertion") for one in components if one.columns.get("assertion")]
    accepted: list[JsonValue] = []
    how: list[JsonValue] = []
    for assertion in assertions:
        columns = assertion.columns
        kind = str(columns.get("type"))
        value = columns.get("value")
        rubric = kind.removeprefix("not-") in RUBRICS
        if value is not None and not rubric:
            accepted.append(value)
        settings = without(columns, {"value", "config"})
        how.append({**settings, "value": value} if rubric else settings)
    if not assertions:
        return None, None
    # Their order says nothing: a test's own assertions may come before or after the defaults.
    texts = sorted(json.dumps(one, sort_keys=True, ensure_ascii=False) for one in how)
    return text_of(accepted) if accepted else None, "[" + ", ".join(texts) + "]"


def _flat(assertions: Iterable[Row]) -> Iterable[Row]:
    for assertion in assertions:
        if assertion.columns.get("type") == "assert-set":
            yield from _flat(assertion.parts("assert"))
        else:
            yield assertion


def _question(variables: Mapping[str, JsonValue]) -> str | None:
    asked = {name: text_of(value) for name, value in variables.items() if name != "case_id"}
    if len(asked) == 1:
        return next(iter(asked.values()))
    return "; ".join(f"{name}: {value}" for name, value in sorted(asked.items())) or None


def _refused(response: Row) -> bool:
    guardrails = response.columns.get("guardrails")
    flagged = isinstance(guardrails, dict) and guardrails.get("flagged") is True
    finished = response.columns.get("finishReason")
    return response.columns.get("isRefusal") is True or finished == "content_filter" or flagged


def _stated(summary: Row) -> int:
    """How many results the file says it holds, over all prompts and providers."""
    stats = summary.part("stats").columns
    counts = [stats.get(name) for name in ("successes", "failures", "errors")]
    return sum(count for count in counts if isinstance(count, int))


def _seeds(whole: Row, chosen: Row) -> dict[str, JsonValue]:
    provider = chosen.columns.get("provider")
    names = set(map(str, provider.values())) if isinstance(provider, dict) else {str(provider)}
    listed = whole.part("config").columns.get("providers")
    for one in listed if isinstance(listed, list) else []:
        settings = one.get("config") if isinstance(one, dict) else None
        if (
            isinstance(one, dict)
            and isinstance(settings, dict)
            and names & {str(one.get("id")), str(one.get("label"))}
        ):
            return {name: settings.get(name) for name in ("seed", "temperature")}
    return {}
