"""Inspect's traps: logs of runs that broke off, accuracy that hides errors, and zstd."""

import sys
from pathlib import Path
from typing import Any

import pytest
from evals_formats import (
    TWELVE,
    broken_off,
    eval_members,
    failing,
    inspect_log,
    inspect_sample,
    paired,
    write_deflated,
    write_json,
    write_zstd,
)

from rampway.adapters.evals_files import EvalFileError, Incomparable
from rampway.gates.plans import Arm

SAMPLES = [inspect_sample(one) for one in TWELVE]


def write(folder: Path, samples: list[Any], name: str = "log.json", **fields: object) -> Path:
    return write_json(folder / name, inspect_log(samples) | fields)


def valued(*values: object) -> list[dict[str, Any]]:
    """Samples with these scores."""
    return [
        inspect_sample(one) | {"scores": {"conjugation": {"value": value}}}
        for one, value in zip(TWELVE, values, strict=False)
    ]


@pytest.mark.parametrize("status", ["error", "cancelled", "started"])
def test_a_run_that_did_not_succeed_is_refused(tmp_path: Path, status: str) -> None:
    log = inspect_log(SAMPLES) | {"status": status, "results": None}
    log["error"] = {"message": "no more quota", "traceback": ""}

    for path in (
        write_json(tmp_path / "log.json", log),
        write_deflated(tmp_path / "log.eval", eval_members(log)),
    ):
        with pytest.raises(
            EvalFileError, match=rf"status is '{status}'.*no more quota.*eval-retry"
        ):
            paired(path, path)


def test_an_invalidated_log_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLES, invalidated=True)

    with pytest.raises(EvalFileError, match="marked invalidated"):
        paired(path, path)


def test_a_log_that_was_never_scored_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, SAMPLES, results=None)

    with pytest.raises(EvalFileError, match=r"nothing was scored.*inspect score"):
        paired(path, path)


def test_errors_that_accuracy_over_the_completed_would_hide_are_counted(tmp_path: Path) -> None:
    results = broken_off(failing(TWELVE, 0, 1, 2), 9, 10, 11)
    old = write(tmp_path, SAMPLES)
    new = write(tmp_path, [inspect_sample(one) for one in results], "new.json")

    cases = paired(old, new).cases

    assert sum(cases.new) / 12 == 0.5, "not 6 of 9, as Inspect's own accuracy says"
    assert cases.errors == {"baseline": 0, "candidate": 3}


def test_an_error_counts_even_where_the_sample_was_scored_after_it(tmp_path: Path) -> None:
    scored = inspect_sample(TWELVE[0]) | {"error": {"message": "sandbox died"}}
    path = write(tmp_path, [scored, *SAMPLES[1:]])

    assert paired(path, path).cases.errors["candidate"] == 1


@pytest.mark.parametrize(
    ("value", "score"),
    [
        ("C", 1), ("I", 0), ("P", 0.5), ("N", 0), (True, 1), (False, 0), (1, 1), (0.25, 0.25),
        ("0.5", 0.5), ("yes", 1), ("No", 0), ("TRUE", 1), ("false", 0),
    ],
)  # fmt: skip
def test_every_kind_of_value_is_read(tmp_path: Path, value: object, score: float) -> None:
    path = write(tmp_path, valued(value))

    assert paired(path, path).cases.old == [score]


@pytest.mark.parametrize(
    "value", ["X", "", 1.5, -1, float("nan"), float("inf"), None, [1, 0], 10**400, "1e999"]
)
def test_a_value_that_is_no_score_is_refused(tmp_path: Path, value: object) -> None:
    path = write(tmp_path, valued("C", value))

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    assert f"sample {TWELVE[1].case}: conjugation gives" in refused.value.message


def test_a_value_of_several_scores_needs_a_choice(tmp_path: Path) -> None:
    path = write(tmp_path, valued({"form": 1, "tone": 0.5}, {"form": 0, "tone": 0.5}))

    with pytest.raises(
        EvalFileError, match=r"several scores: form, tone.*such as conjugation\.form"
    ):
        paired(path, path)
    assert sorted(paired(path, path, scorer="conjugation.form").cases.old) == [0, 1]
    assert paired(path, path, scorer="tone").cases.old == [0.5, 0.5]


def test_several_scorers_need_a_choice(tmp_path: Path) -> None:
    scores = {"exact": {"value": "C"}, "model_graded_qa": {"value": "P"}}
    log = inspect_log([one | {"scores": scores} for one in SAMPLES])
    log["results"]["scores"] = [{"name": name, "scorer": name} for name in scores]
    log["eval"]["scorers"] = [{"name": f"mine/{name}", "options": {}} for name in scores]
    path = write_json(tmp_path / "two.json", log)

    with pytest.raises(EvalFileError, match=r"2 scorers.*: exact; model_graded_qa"):
        paired(path, path)
    exact, graded = (paired(path, path, scorer=name).cases for name in ("exact", "graded"))
    assert (set(exact.old), set(graded.old)) == ({1.0}, {0.5})
    assert exact.grader != graded.grader


def test_a_sample_with_neither_score_nor_error_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [*SAMPLES[:3], SAMPLES[3] | {"scores": {}}])

    with pytest.raises(EvalFileError, match="no score by conjugation, and no error either"):
        paired(path, path)


def test_member_names_are_never_ids(tmp_path: Path) -> None:
    log = inspect_log(SAMPLES)
    members = eval_members(log)
    swapped = dict(members)
    first, second = "samples/case-0_epoch_1.json", "samples/case-1_epoch_1.json"
    swapped[first], swapped[second] = members[second], members[first]

    cases = paired(
        write_deflated(tmp_path / "a.eval", members), write_zstd(tmp_path / "b.eval", swapped)
    ).cases

    assert cases.cases == sorted(one.case for one in TWELVE)


def test_json_and_eval_of_one_run_say_the_same(tmp_path: Path) -> None:
    log = inspect_log(SAMPLES)
    as_json = write_json(tmp_path / "log.json", log)
    as_zstd = write_zstd(tmp_path / "log.eval", eval_members(log))

    assert paired(as_json, as_zstd).cases == paired(as_zstd, as_json).cases


def test_epochs_are_repeats_of_their_sample(tmp_path: Path) -> None:
    epochs = [
        inspect_sample(one, epoch)
        for epoch in (1, 2)
        for one in (TWELVE if epoch == 1 else failing(TWELVE, 0))
    ]
    path = write(tmp_path, epochs)

    cases = paired(path, path).cases

    assert cases.old[cases.cases.index(TWELVE[0].case)] == 0.5
    assert "repeats 2" in cases.seeds


def test_an_epoch_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, [*SAMPLES, SAMPLES[0]])

    with pytest.raises(EvalFileError, match="epoch 1 stands twice"):
        paired(path, path)


def test_samples_that_the_log_counts_and_does_not_hold_are_missing(tmp_path: Path) -> None:
    log = inspect_log(SAMPLES)
    log["results"]["total_samples"] = 40
    path = write_json(tmp_path / "log.json", log)

    assert paired(path, path).cases.missing == 28


@pytest.mark.parametrize(
    ("path_to", "value", "field"),
    [
        (("packages", "inspect_ai"), "0.3.300", "harness"),
        (("task_version",), 3, "harness"),
        (("scorers",), [{"name": "conjugation", "options": {"loose": True}}], "grader"),
        (("model_roles",), {"grader": {"model": "openai/gpt-9"}}, "grader"),
    ],
)
def test_what_decides_the_scores_must_be_the_same(
    tmp_path: Path, path_to: tuple[str, ...], value: object, field: str
) -> None:
    log = inspect_log(SAMPLES)
    holder = log["eval"]
    for name in path_to[:-1]:
        holder = holder[name]
    holder[path_to[-1]] = value
    changed = write_json(tmp_path / "new.json", log)

    with pytest.raises(Incomparable) as refused:
        paired(write(tmp_path, SAMPLES), changed)

    assert refused.value.field == field


def test_a_changed_target_is_another_dataset(tmp_path: Path) -> None:
    changed = [SAMPLES[0] | {"target": "something else"}, *SAMPLES[1:]]

    with pytest.raises(Incomparable, match="something else") as refused:
        paired(write(tmp_path, SAMPLES), write(tmp_path, changed, "new.json"))

    assert refused.value.field == "dataset"


def test_message_ids_that_are_new_in_each_run_change_no_question(tmp_path: Path) -> None:
    again = [inspect_sample(one, epoch=2) | {"epoch": 1} for one in TWELVE]
    old, new = write(tmp_path, SAMPLES), write(tmp_path, again, "new.json")

    assert paired(old, new).cases.dataset == paired(new, old).cases.dataset


def test_content_filters_time_and_cost_are_counted(tmp_path: Path) -> None:
    samples = [inspect_sample(one) for one in TWELVE]
    samples[0]["output"]["choices"][0]["stop_reason"] = "content_filter"
    path = write(tmp_path, samples)

    totals = paired(path, path).totals[Arm.BASELINE]

    assert totals.refused == 1
    assert totals.latency_ms_p95 == 250
    assert totals.cost_usd == pytest.approx(0.012)


def test_a_log_without_samples_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "log.json", inspect_log([]))

    with pytest.raises(EvalFileError, match=r"no samples.*--log-samples"):
        paired(path, path)


def test_an_archive_of_a_run_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    running = write_deflated(tmp_path / "running.eval", {"_journal/start.json": b"{}"})
    other = write_deflated(tmp_path / "other.zip", {"readme.txt": b"hello"})

    with pytest.raises(EvalFileError, match="the run has not ended"):
        paired(running, running)
    with pytest.raises(EvalFileError, match=r"not a known format: a zip archive without Inspect's"):
        paired(other, other)


def test_without_zstandard_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zstd(tmp_path / "log.eval", eval_members(inspect_log(SAMPLES)))
    monkeypatch.setitem(sys.modules, "zstandard", None)

    with pytest.raises(EvalFileError) as refused:
        paired(path, path)

    assert "pip install 'rampway[evals]'" in refused.value.message
    assert "inspect log convert --to json" in refused.value.message
