"""Reads a file of results, whichever of the known tools wrote it."""

from pathlib import Path

from rampway.adapters.evals_files import (
    deepeval,
    inspect_ai,
    lm_eval,
    openai_evals,
    plain,
    promptfoo,
    promptfoo_csv,
)
from rampway.adapters.evals_files.files import EvalFileError
from rampway.adapters.evals_files.recognise import Format, Recognised, recognise
from rampway.adapters.evals_files.results import Results, Wanted
from rampway.adapters.evals_files.rows import csv_rows, json_rows
from rampway.gates.facts import digest_of


def read_results(path: Path, wanted: Wanted) -> Results:
    """The results of one file, or of a folder of lm-evaluation-harness.

    Raises EvalFileError at the first broken rule, and for a content that no importer knows.
    """
    try:
        results = _read(path, recognise(path), wanted)
    except RecursionError as error:
        raise EvalFileError(path, 0, "nested too deeply to be read.") from error
    try:
        digest_of(results.grader)
    except ValueError as error:
        raise EvalFileError(path, 0, f"grader cannot be fingerprinted ({error}).") from error
    return results


def _read(  # noqa: PLR0911 - one answer per format
    path: Path, seen: Recognised, wanted: Wanted
) -> Results:
    match seen.format:
        case Format.PLAIN_JSONL:
            return plain.read_plain(path, seen.format, json_rows(path), wanted)
        case Format.PLAIN_CSV:
            return plain.read_plain(path, seen.format, csv_rows(path), wanted)
        case Format.PROMPTFOO:
            return promptfoo.read_promptfoo(path, seen.document, wanted)
        case Format.PROMPTFOO_CSV:
            return promptfoo_csv.read_promptfoo_csv(path, wanted)
        case Format.INSPECT:
            return inspect_ai.read_inspect_json(path, seen.document, wanted)
        case Format.INSPECT_EVAL:
            return inspect_ai.read_inspect_eval(path, wanted)
        case Format.LM_EVAL_RESULTS | Format.LM_EVAL_SAMPLES | Format.LM_EVAL_FOLDER:
            return lm_eval.read_lm_eval(path, wanted)
        case Format.DEEPEVAL:
            return deepeval.read_deepeval(path, seen.document, wanted)
        case Format.OPENAI_EVALS:
            return openai_evals.read_openai_evals(path, wanted)
