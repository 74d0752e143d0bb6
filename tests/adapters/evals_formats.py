"""Writes the same results in the shape of every eval tool, for tests."""

import csv
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard

from rampway.adapters.evals_files import PairedEvals, pair_evals

Document = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One answer to one case."""

    case: str
    passed: bool = True
    error: str | None = None
    tense: str = "past"
    verb: str = "add"
    expected: str = "added"
    output: str = "added"

    @property
    def question(self) -> str:
        """What the case asks."""
        return f"Conjugate {self.verb} in the {self.tense}, {self.case}."


TWELVE: tuple[Result, ...] = tuple(
    Result(
        case=f"{verb}/{tense}|{person}",
        tense=tense,
        verb=verb,
        expected=f"{verb} {tense}",
        output=f"{verb} {tense}",
    )
    for verb in ("add", "be", "go")
    for tense in ("past", "future")
    for person in ("1s", "3p")
)


def failing(results: Sequence[Result], *indices: int) -> list[Result]:
    """The results, with wrong answers at these positions."""
    return [
        replace(one, passed=False, output="wrong") if index in indices else one
        for index, one in enumerate(results)
    ]


def broken_off(results: Sequence[Result], *indices: int) -> list[Result]:
    """The results, with errors at these positions."""
    return [
        replace(one, passed=False, error="upstream 503", output="") if index in indices else one
        for index, one in enumerate(results)
    ]


def paired(baseline: Path, candidate: Path, **options: object) -> PairedEvals:
    """Two files, paired with as few wishes as there can be."""
    defaults: dict[str, Any] = {
        "cluster": None,
        "slices": [],
        "baseline_artifact": "sha256:old",
        "candidate_artifact": "sha256:new",
        "safety_baseline": None,
        "safety_candidate": None,
    }
    return pair_evals(baseline, candidate, **(defaults | options))


def write_json(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def write_lines(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain_rows(results: Iterable[Result]) -> list[Document]:
    return [
        {
            "case_id": one.case,
            "passed": one.passed,
            "tense": one.tense,
            "verb": one.verb,
            "question": one.question,
            "expected": one.expected,
            "output": one.output,
            "error": one.error,
        }
        for one in results
    ]


def promptfoo_row(one: Result, index: int = 0, **fields: object) -> Document:
    return {
        "id": f"uuid-{index}",
        "testIdx": index,
        "promptIdx": 0,
        "promptId": "p" * 64,
        "prompt": {"raw": one.question, "label": "Conjugate {{verb}}"},
        "provider": {"id": "file://tutor.py", "label": "tutor"},
        "vars": {"verb": one.verb, "tense": one.tense, "ask": one.question},
        "success": one.passed,
        "score": 1.0 if one.passed else 0.5,
        "namedScores": {} if one.error else {"right": float(one.passed), "fast": 1.0},
        "failureReason": 2 if one.error else int(not one.passed),
        "error": one.error or (None if one.passed else "Expected output to equal"),
        "gradingResult": None if one.error else {"pass": one.passed, "componentResults": []},
        "response": {"error": one.error} if one.error else {"output": one.output},
        "latencyMs": 120,
        "cost": 0.002,
        "testCase": {
            "description": one.case,
            "vars": {"verb": one.verb, "tense": one.tense, "ask": one.question},
            "metadata": {"case_id": one.case, "tense": one.tense, "_promptfooFileMetadata": {}},
            "assert": [
                {"type": "equals", "value": one.expected, "metric": "right"},
                {"type": "latency", "threshold": 2000, "metric": "fast"},
            ],
        },
        **fields,
    }


def promptfoo_v3(rows: Sequence[Document]) -> Document:
    return {
        "evalId": "eval-1",
        "results": {
            "version": 3,
            "prompts": [],
            "results": list(rows),
            "stats": {
                "successes": sum(row["failureReason"] == 0 for row in rows),
                "failures": sum(row["failureReason"] == 1 for row in rows),
                "errors": sum(row["failureReason"] == 2 for row in rows),
            },
        },
        "config": {"providers": [{"id": "file://tutor.py", "config": {"temperature": 0.7}}]},
        "metadata": {"promptfooVersion": "0.123.1"},
    }


def promptfoo_v2(results: Sequence[Result]) -> Document:
    names = ["verb", "tense", "ask"]
    body: list[Document] = []
    for one in results:
        row = promptfoo_row(one)
        output = {
            "pass": one.passed,
            "score": row["score"],
            "text": one.output,
            "gradingResult": row["gradingResult"],
            "namedScores": row["namedScores"],
            "latencyMs": 120,
            "cost": 0.002,
        }
        test = {name: row["testCase"][name] for name in ("description", "metadata", "assert")}
        values = [row["vars"][name] for name in names]
        body.append({"outputs": [output], "vars": values, "test": test})
    prompts = [{"raw": "Conjugate {{verb}}", "label": "Conjugate", "provider": "tutor"}]
    return {
        "results": {
            "version": 2,
            "results": [],
            "table": {"head": {"prompts": prompts, "vars": names}, "body": body},
            "stats": {"successes": len(results), "failures": 0},
        },
        "config": {},
    }


def write_promptfoo_csv(path: Path, arms: Mapping[str, Sequence[Result]]) -> Path:
    """One group of columns for each arm, as promptfoo exports several prompts and providers."""
    group = ("Status", "Score", "Named Scores", "Metric: right", "Grader Reason", "Comment")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["Description", "case_id", "tense", "verb", "ask"]
        writer.writerow([*header, *(cell for arm in arms for cell in (arm, *group))])
        for row in zip(*arms.values(), strict=True):
            one = row[0]
            cells = [one.case, one.case, one.tense, one.verb, one.question]
            for answer in row:
                status = "ERROR" if answer.error else "PASS" if answer.passed else "FAIL"
                right = "1.00" if answer.passed else "0.00"
                named = json.dumps({"right": float(answer.passed)})
                cells += [answer.error or answer.output, status, right, named, right, "said", ""]
            writer.writerow(cells)
    return path


def inspect_sample(one: Result, epoch: int = 1) -> Document:
    value = "C" if one.passed else "I"
    scored = {"conjugation": {"value": value, "answer": one.output, "explanation": "set"}}
    return {
        "id": one.case,
        "epoch": epoch,
        "uuid": f"{one.case}-{epoch}",
        "input": [{"id": f"new in each run {epoch}", "role": "user", "content": one.question}],
        "target": [one.expected],
        "output": {
            "choices": [{"message": {"content": one.output}, "stop_reason": "stop"}],
            "completion": one.output,
        },
        "scores": {} if one.error else scored,
        "error": {"message": one.error, "traceback": ""} if one.error else None,
        "metadata": {"tense": one.tense, "verb": one.verb},
        "model_usage": {"tutor": {"total_cost": 0.001}},
        "total_time": 0.5,
        "working_time": 0.25,
    }


def inspect_log(samples: Sequence[Document], **fields: object) -> Document:
    scored = [one for one in samples if one["error"] is None]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "task": "grammar",
            "task_version": 2,
            "model": "tutor",
            "dataset": {"name": "verbs", "samples": len(samples)},
            "config": {"epochs": 1},
            "packages": {"inspect_ai": "0.3.285"},
            "scorers": [{"name": "conjugation", "options": {}, "metrics": []}],
        },
        "plan": {"config": {"temperature": 0.7}},
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(scored),
            "scores": [
                {
                    "name": "conjugation",
                    "scorer": "conjugation",
                    "scored_samples": len(scored),
                    "metrics": {"stderr": {"value": float("nan")}},
                }
            ],
        },
        "stats": {},
        "invalidated": False,
        "samples": list(samples),
        **fields,
    }


def eval_members(log: Mapping[str, Any]) -> dict[str, bytes]:
    """The members of an `.eval` archive, under names that are no ids."""
    header = {name: value for name, value in log.items() if name != "samples"}
    members = {"_journal/start.json": b"{}", "header.json": json.dumps(header).encode()}
    for index, sample in enumerate(log["samples"]):
        members[f"samples/case-{index}_epoch_1.json"] = json.dumps(sample).encode()
    return members


def write_deflated(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def write_zstd(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip archive of method 93, which Python's zipfile cannot write."""
    out, central = io.BytesIO(), io.BytesIO()
    for name, body in members.items():
        packed, named = zstandard.ZstdCompressor().compress(body), name.encode()
        sizes = struct.pack("<III", zlib.crc32(body), len(packed), len(body))
        common = struct.pack("<HHHHH", 63, 0, 93, 0, 0x21) + sizes
        offset = out.tell()
        out.write(b"PK\x03\x04" + common + struct.pack("<HH", len(named), 0) + named + packed)
        central.write(b"PK\x01\x02" + struct.pack("<H", 63) + common)
        central.write(struct.pack("<HHHHHII", len(named), 0, 0, 0, 0, 0, offset) + named)
    size, begins, count = central.tell(), out.tell(), len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, size, begins, 0)
    path.write_bytes(out.getvalue() + central.getvalue() + b"PK\x05\x06" + end)
    return path


def lm_eval_samples(results: Sequence[Result], kept: str = "none") -> list[Document]:
    return [
        {
            "doc_id": index,
            "doc": {"tense": one.tense, "verb": one.verb, "input": one.question},
            "target": one.expected,
            "arguments": {"gen_args_0": {"arg_0": one.question}},
            "resps": [[one.output]],
            "filtered_resps": [one.output],
            "filter": kept,
            "metrics": ["conj_ok"],
            "doc_hash": hashlib.sha256(one.question.encode()).hexdigest(),
            "conj_ok": float(one.passed),
        }
        for index, one in enumerate(results)
    ]


def lm_eval_results(count: int, **fields: object) -> Document:
    return {
        "results": {
            "grammar": {"alias": "grammar", "conj_ok,none": 0.5, "conj_ok_stderr,none": 0.1}
        },
        "configs": {
            "grammar": {
                "process_results": "def process_results(doc, results): ...",
                "metric_list": [{"metric": "conj_ok", "higher_is_better": True}],
                "repeats": 1,
            }
        },
        "versions": {"grammar": 2.0},
        "n-shot": {"grammar": 0},
        "higher_is_better": {"grammar": {"conj_ok": True}},
        "n-samples": {"grammar": {"original": count, "effective": count}},
        "config": {"limit": None, "random_seed": 0},
        "lm_eval_version": "0.4.13",
        **fields,
    }


DATE = "2026-11-20T20-12-03.772019"


def write_lm_eval(folder: Path, results: Sequence[Result], **fields: object) -> Path:
    """A folder of one run."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"results_{DATE}.json", lm_eval_results(len(results), **fields))
    write_lines(folder / f"samples_grammar_{DATE}.jsonl", lm_eval_samples(results))
    return folder


def deepeval_case(one: Result, index: int = 0, **fields: object) -> Document:
    metric = {
        "name": "Conjugation",
        "threshold": 1.0,
        "success": one.passed,
        "score": None if one.error else float(one.passed),
        "error": one.error,
        "strictMode": False,
        "flaky": False,
        "evaluationModel": "exact-set-v1",
    }
    return {
        "name": one.case,
        "input": one.question,
        "actualOutput": one.output,
        "expectedOutput": one.expected,
        "success": one.passed,
        "metricsData": [metric],
        "completionTime": 0.5,
        "tokenCost": 0.001,
        "order": index,
        "metadata": {"tense": one.tense, "verb": one.verb},
        **fields,
    }


def deepeval_run(cases: Sequence[Document], **fields: object) -> Document:
    passed = sum(case["success"] is True for case in cases)
    return {
        "testCases": list(cases),
        "conversationalTestCases": [],
        "metricsScores": [],
        "hyperparameters": {"temperature": 0.7},
        "testPassed": passed,
        "testFailed": len(cases) - passed,
        **fields,
    }


def openai_spec(**run_config: object) -> Document:
    return {
        "spec": {
            "completion_fns": ["grammar/A"],
            "eval_name": "grammar.dev.v0",
            "run_id": "R1",
            "run_config": {
                "completion_fns": ["grammar/A"],
                "eval_spec": {
                    "cls": "evals.elsuite.basic.match:Match",
                    "args": {"samples_jsonl": "/somewhere/else.jsonl"},
                },
                "seed": 20220722,
                "max_samples": None,
                **run_config,
            },
        }
    }


def openai_events(results: Sequence[Result], *, shift: int = 0) -> list[Document]:
    """The events of a run whose dataset was turned round by `shift`."""
    events: list[Document] = []
    for index, one in enumerate(results):
        common = {"run_id": "R1", "sample_id": f"grammar.dev.{(index + shift) % len(results)}"}
        prompt = [{"role": "user", "content": one.question}]
        sampled: Document = {"prompt": prompt, "sampled": [one.output]}
        ended: Document = {"correct": one.passed, "expected": one.expected}
        kind = "match"
        if one.error:
            kind, ended = "error", {"message": one.error}
        events += [
            common | {"event_id": 2 * index, "type": "sampling", "data": sampled},
            common | {"event_id": 2 * index + 1, "type": kind, "data": ended},
        ]
    return events


def openai_record(results: Sequence[Result]) -> list[Document]:
    report = {"final_report": {"accuracy": 0.5, "boostrap_std": 0.1}, "run_id": "R1"}
    return [openai_spec(), report, *openai_events(results)]


def _write_plain_jsonl(folder: Path, results: Sequence[Result]) -> Path:
    return write_lines(folder / "plain.jsonl", plain_rows(results))


def _write_plain_csv(folder: Path, results: Sequence[Result]) -> Path:
    path = folder / "plain.csv"
    rows = plain_rows(results)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "passed": str(row["passed"]).lower()} for row in rows)
    return path


def _write_promptfoo_v3(folder: Path, results: Sequence[Result]) -> Path:
    rows = [promptfoo_row(one, index) for index, one in enumerate(results)]
    return write_json(folder / "v3.json", promptfoo_v3(rows))


def _write_inspect_json(folder: Path, results: Sequence[Result]) -> Path:
    return write_json(folder / "log.json", inspect_log([inspect_sample(one) for one in results]))


def _write_inspect_deflated(folder: Path, results: Sequence[Result]) -> Path:
    log = inspect_log([inspect_sample(one) for one in results])
    return write_deflated(folder / "deflated.eval", eval_members(log))


def _write_inspect_zstd(folder: Path, results: Sequence[Result]) -> Path:
    log = inspect_log([inspect_sample(one) for one in results])
    return write_zstd(folder / "zstd.eval", eval_members(log))


def _write_deepeval(folder: Path, results: Sequence[Result]) -> Path:
    cases = [deepeval_case(one, index) for index, one in enumerate(results)]
    return write_json(folder / "test_run.json", deepeval_run(cases))


WRITERS: dict[str, Callable[[Path, Sequence[Result]], Path]] = {
    "plain jsonl": _write_plain_jsonl,
    "plain csv": _write_plain_csv,
    "promptfoo v3": _write_promptfoo_v3,
    "promptfoo v2": lambda folder, results: write_json(folder / "v2.json", promptfoo_v2(results)),
    "promptfoo csv": lambda folder, results: write_promptfoo_csv(
        folder / "promptfoo.csv", {"[tutor] Conjugate": results}
    ),
    "inspect json": _write_inspect_json,
    "inspect eval, deflate": _write_inspect_deflated,
    "inspect eval, zstd": _write_inspect_zstd,
    "lm-eval": lambda folder, results: write_lm_eval(folder / "lm", results),
    "deepeval": _write_deepeval,
    "openai": lambda folder, results: write_lines(folder / "record.jsonl", openai_record(results)),
}
