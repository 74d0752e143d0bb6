"""Files that are broken, hostile or absurd: each is refused in a sentence, and none brings us down."""

import copy
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from evals_formats import (
    TWELVE,
    WRITERS,
    deepeval_case,
    deepeval_run,
    eval_members,
    inspect_log,
    inspect_sample,
    lm_eval_results,
    openai_record,
    paired,
    plain_rows,
    promptfoo_row,
    promptfoo_v2,
    promptfoo_v3,
    write_deflated,
    write_json,
    write_lines,
    write_lm_eval,
    write_zstd,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rampway.adapters.evals_files import EvalFileError, Incomparable, files, zipped

LOG = inspect_log([inspect_sample(one) for one in TWELVE])
MEMBERS = eval_members(LOG)


def refused(path: Path) -> EvalFileError:
    with pytest.raises(EvalFileError) as error:
        paired(path, path, slices=None)
    return error.value


@pytest.mark.parametrize("write", [write_deflated, write_zstd])
def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path: Path, write: Any) -> None:  # noqa: ANN401
    bomb = b'{"id": "' + b"0" * (40 * 2**20) + b'"}'
    path = write(tmp_path / "bomb.eval", MEMBERS | {"samples/bomb.json": bomb})

    assert "a zip bomb, the limit is 500 to 1" in refused(path).message


@pytest.mark.parametrize("write", [write_deflated, write_zstd])
def test_a_member_beyond_the_limit_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Any,  # noqa: ANN401
) -> None:
    path = write(tmp_path / "log.eval", MEMBERS)
    monkeypatch.setattr(zipped, "MAX_MEMBER_BYTES", 100)

    assert "are left of the limit" in refused(path).message


def test_members_that_are_too_much_in_all_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_deflated(tmp_path / "log.eval", MEMBERS)
    whole = sum(len(body) for name, body in MEMBERS.items() if not name.startswith("_journal"))
    monkeypatch.setattr(zipped, "MAX_TOTAL_BYTES", whole - 1)

    assert "are left of the limit" in refused(path).message
    monkeypatch.setattr(zipped, "MAX_TOTAL_BYTES", whole)
    assert len(paired(path, path).cases.cases) == 12


@pytest.mark.parametrize("write", [write_deflated, write_zstd])
def test_a_member_larger_than_the_archive_says_is_refused(
    tmp_path: Path,
    write: Any,  # noqa: ANN401
) -> None:
    path = write(tmp_path / "log.eval", {"header.json": b"{}" * 500})
    body = path.read_bytes()
    path.write_bytes(body.replace((1_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))

    assert "header.json" in refused(path).message


def test_an_encrypted_or_doubled_member_is_refused(tmp_path: Path) -> None:
    encrypted = write_zstd(tmp_path / "a.eval", {"header.json": b"{}"})
    body = bytearray(encrypted.read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    encrypted.write_bytes(body)
    doubled = write_zstd(tmp_path / "b.eval", {"header.json": b"{}", "headex.json": b"{}"})
    doubled.write_bytes(doubled.read_bytes().replace(b"headex", b"header"))

    assert "is encrypted" in refused(encrypted).message
    assert "two members of one name" in refused(doubled).message


def test_paths_in_an_archive_are_names_and_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("untouched")
    members = MEMBERS | {
        "samples/../../outside.json": MEMBERS["samples/case-0_epoch_1.json"].replace(
            TWELVE[0].case.encode(), b"thirteenth"
        ),
        "/etc/passwd": b"{}",
    }
    path = write_zstd(tmp_path / "log.eval", members)

    assert len(paired(path, path).cases.cases) == 13
    assert outside.read_text() == "untouched"


@pytest.mark.parametrize("write", [write_deflated, write_zstd])
def test_an_archive_with_any_byte_cut_or_changed_is_read_or_refused(
    tmp_path: Path,
    write: Any,  # noqa: ANN401
) -> None:
    path = write(tmp_path / "log.eval", MEMBERS)
    whole = path.read_bytes()
    dice = random.Random(20261121)
    for _ in range(300):
        body = bytearray(whole)
        at = dice.randrange(len(body))
        if dice.random() < 0.3:
            del body[at:]
        else:
            body[at] ^= 1 << dice.randrange(8)
        path.write_bytes(body)

        try:
            found = len(paired(path, path).cases.cases)
        except EvalFileError:
            continue
        assert found <= 12


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        (b'{"testCases": [], "testCases": []}', 0, "a key stands twice in one object"),
        (b'{"testCases": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 0, "nested too deeply"),
        (b'{\n"testCases": [\n{"name": "a",}]}', 3, "not JSON"),
        (b'{\n"testCases": [\n{"name": "\xff"}]}', 3, "not UTF-8"),
        (b'{\n"testCases": [{"name": "\\ud800"}]}', 0, "not JSON that can be trusted"),
        (b'{\n"testCases": [{"name": ' + b"9" * 5_000 + b"}]}", 0, "not JSON that can be trusted"),
        (b'{\n"testCases": "none"}', 0, "testCases is not a list"),
        (b'{\n"testCases": [7]}', 0, "testCases[0] is not an object"),
        (b'{\n"testCases": []}', 0, "no results"),
        (b'{"version": 3, "status": "success", "eval": {}}', 0, "log of version 3"),
    ],
    ids=range(10),
)
def test_a_broken_document_is_refused_with_the_line_where_there_is_one(
    tmp_path: Path, body: bytes, line: int, message: str
) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(body)

    error = refused(path)

    assert message in error.message
    assert error.line == line


def test_a_document_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = deepeval_run([deepeval_case(one) for one in TWELVE])
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document, indent=1))
    monkeypatch.setattr(files, "MAX_DOCUMENT_BYTES", 100)

    assert "the limit is 100" in refused(path).message


@pytest.mark.parametrize("kind", ["plain jsonl", "plain csv", "promptfoo v3", "promptfoo csv", "deepeval", "openai"])  # fmt: skip
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path, TWELVE)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    assert len(paired(path, path).cases.cases) == 12


@pytest.mark.parametrize("kind", ["plain jsonl", "plain csv", "promptfoo v3", "openai"])
def test_a_file_in_another_encoding_is_refused(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path, TWELVE)
    text = path.read_text().replace("past", "passé", 1)

    for encoding, message in (("latin-1", "not UTF-8"), ("utf-16", "UTF-16"), ("utf-32", "UTF-")):
        path.write_bytes(text.encode(encoding))
        assert message in refused(path).message


def test_a_number_too_large_for_any_machine_is_no_measure(tmp_path: Path) -> None:
    case = deepeval_case(TWELVE[0], completionTime=10**400)
    path = write_json(tmp_path / "run.json", deepeval_run([case]))

    assert "completionTime 1" in refused(path).message
    assert "is not a number from 0 up" in refused(path).message


def test_nan_in_a_figure_that_nobody_uses_is_let_in(tmp_path: Path) -> None:
    path = write_json(tmp_path / "log.json", LOG)  # its stderr is NaN, as Inspect writes it

    assert "NaN" in path.read_text()
    assert len(paired(path, path).cases.cases) == 12


def test_a_path_that_no_file_can_have_is_refused() -> None:
    assert "cannot be read" in refused(Path("a\0b.jsonl")).message
    assert "cannot be read" in refused(Path("x" * 5_000)).message


def documents() -> dict[str, Any]:
    return {
        "promptfoo v3": promptfoo_v3([promptfoo_row(one) for one in TWELVE[:3]]),
        "promptfoo v2": promptfoo_v2(TWELVE[:3]),
        "inspect": inspect_log([inspect_sample(one) for one in TWELVE[:3]]),
        "deepeval": deepeval_run([deepeval_case(one) for one in TWELVE[:3]]),
        "lm-eval": lm_eval_results(3),
        "openai": openai_record(TWELVE[:3]),
        "plain": plain_rows(TWELVE[:3]),
    }


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["", "C", "error", "match", "case_id", "\ud800", "a,b\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("value"), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("kind", list(documents()))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_field_replaced_by_anything_is_read_or_refused(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    document = documents()[kind]
    original = copy.deepcopy(document)
    holder: Any = document
    while True:
        key = data.draw(
            st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
        )
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 5)) == 0:
            break
        holder = inner
    holder[key] = data.draw(JSON)
    write = write_lines if isinstance(document, list) else write_json
    folder = write_lm_eval(tmp_path, TWELVE[:3]) if kind == "lm-eval" else tmp_path
    changed = write(folder / "results_2026-11-20T20-12-03.772019.json", document)
    whole = changed
    if kind != "lm-eval":
        whole = write(tmp_path / "whole.json", original)

    try:
        cases = paired(whole, changed, slices=None).cases
    except (EvalFileError, Incomparable):
        return
    assert len(cases.old) == len(cases.new) == len(cases.cases) > 0
    assert all(0 <= score <= 1 for score in (*cases.old, *cases.new))


def test_what_python_itself_writes_as_a_zip_is_read(tmp_path: Path) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        for name, body in MEMBERS.items():
            archive.writestr(name, body)
    path = tmp_path / "stored.eval"
    path.write_bytes(stored.getvalue())

    assert len(paired(path, path).cases.cases) == 12
