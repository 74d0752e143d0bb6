"""Every line of a spool is handed out once, whatever happens to the file between two looks."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rampway.judge import spool
from rampway.judge.lines import Malformed, read_line
from rampway.judge.spool import Position, spool_path, unread_blocks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return spool_path(tmp_path, "tutor")


def read_on(path: Path, position: Position | None) -> tuple[list[bytes], Position | None]:
    lines: list[bytes] = []
    for block in unread_blocks(path, position):
        lines += block.lines
        position = block.after
    return lines, position


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_a_spool_that_is_not_there_yet_has_no_lines(path: Path) -> None:
    assert read_on(path, None) == ([], None)


def test_a_torn_last_line_is_read_when_it_is_whole(path: Path) -> None:
    append(path, b"one\ntw")
    first, position = read_on(path, None)
    append(path, b"o\n")

    second, _ = read_on(path, position)

    assert (first, second) == ([b"one"], [b"two"])


def test_nothing_new_moves_nothing(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)

    assert read_on(path, position) == ([], position)


def test_a_renamed_spool_is_read_to_its_end_before_the_next(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)
    append(path, b"two\n")
    path.rename(path.with_name(path.name + ".1"))

    before_the_next, position = read_on(path, position)
    append(path, b"three\n")
    after, _ = read_on(path, position)

    assert (before_the_next, after) == ([b"two"], [b"three"])


def test_a_spool_renamed_more_than_once_between_two_looks_is_read_in_order(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)
    append(path, b"two\n")
    for number, content in [(1, b"three\n"), (2, b"four\n"), (3, b"five\n")]:
        path.rename(path.with_name(f"{path.name}.{number}"))
        append(path, content)
        later = path.stat().st_mtime_ns + number * 1_000_000
        os.utime(path, ns=(later, later))

    lines, position = read_on(path, position)

    assert lines == [b"two", b"three", b"four", b"five"]
    assert read_on(path, position) == ([], position)


def test_a_judge_that_is_new_begins_with_the_oldest_file(path: Path) -> None:
    append(path, b"one\n")
    path.rename(path.with_name(path.name + ".1"))
    append(path, b"two\n")

    assert read_on(path, None)[0] == [b"one", b"two"]


def test_what_does_not_follow_the_spools_name_is_not_its_predecessor(path: Path) -> None:
    append(path.with_name(path.name + ".gz"), b"zero\n")
    append(path, b"one\n")

    assert read_on(path, None)[0] == [b"one"]


def test_the_torn_end_of_a_finished_file_is_handed_out_as_it_is(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)
    append(path, b"two\nthr")
    path.rename(path.with_name(path.name + ".1"))
    append(path, b"four\n")

    lines, _ = read_on(path, position)

    assert lines == [b"two", b"thr", b"four"]


def test_a_renamed_spool_that_was_deleted_is_noticed(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)
    path.unlink()
    append(path, b"two\n")

    blocks = list(unread_blocks(path, position))

    assert [block.lines for block in blocks] == [(), (b"two",)]
    assert [block.follows for block in blocks] == [False, True]


def test_a_spool_begun_anew_in_place_is_read_from_its_beginning(path: Path) -> None:
    append(path, b"one\ntwo\n")
    _, position = read_on(path, None)
    path.write_bytes(b"six\n")

    lines, position = read_on(path, position)
    append(path, b"seven\n")

    assert lines == [b"six"]
    assert read_on(path, position)[0] == [b"seven"]


def test_lines_that_a_full_disk_took_back_are_not_read_twice(path: Path) -> None:
    append(path, b"x" * spool.HEAD_BYTES + b"\none\ntwo\n")
    _, position = read_on(path, None)
    os.truncate(path, path.stat().st_size - len(b"two\n"))

    between, position = read_on(path, position)
    append(path, b"three\n")

    assert between == []
    assert read_on(path, position)[0] == [b"three"]


def test_a_spool_begun_anew_and_grown_past_our_place_is_another_file(path: Path) -> None:
    append(path, b"one\n")
    _, position = read_on(path, None)
    path.write_bytes(b"six\nseven\n")

    assert read_on(path, position)[0] == [b"six", b"seven"]


def test_a_line_longer_than_any_pair_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BLOCK_BYTES", 8)
    append(path, b"one\n" + b"x" * 30 + b"\ntwo\n")

    lines, position = read_on(path, None)

    assert lines[0] == b"one"
    assert lines[-1] == b"two"
    assert position is not None
    assert position.offset == path.stat().st_size


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=20),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_every_line_comes_once_however_it_is_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], data: st.DataObject
) -> None:
    path = spool_path(tmp_path_factory.mktemp("spool"), "tutor")
    content = b"".join(line + b"\n" for line in written)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    read: list[bytes] = []
    position: Position | None = None

    for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        append(path, content[begin:end])
        lines, position = read_on(path, position)
        read += lines

    assert read == written


PAIR = {"kind": "pair", "target": "tutor", "epoch": 1, "segment": 0, "i": 0}
MARK = PAIR | {"kind": "mark", "slice_seconds": 1.0, "ended_at": 5.0, "copied": 1}


@pytest.mark.parametrize("line", [PAIR, MARK, PAIR | {"a field of tomorrow": 1}])
def test_what_a_gateway_writes_is_read(line: dict[str, object]) -> None:
    assert read_line(json.dumps(line).encode(), target="tutor").i == 0


@pytest.mark.parametrize("line", [b"", b"{", b"7", b"[]", b'{"kind":"pair"}'])
def test_a_line_that_is_no_pair_or_mark_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        read_line(line, target="tutor")


@pytest.mark.parametrize(
    "line",
    [
        PAIR | {"kind": "rumour"},
        PAIR | {"target": "another"},
        PAIR | {"i": None},
        PAIR | {"i": -1},
        PAIR | {"i": "3"},
        PAIR | {"i": 10**20},
        PAIR | {"baseline": "went"},
        MARK | {"slice_seconds": 0},
        MARK | {"copied": True},
        MARK | {"copied": -1},
        MARK | {"ended_at": float("nan")},
        MARK | {"missing": {"drop": 0.5}},
    ],
)
def test_a_field_that_no_gateway_writes_makes_a_line_malformed(line: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read_line(json.dumps(line).encode(), target="tutor")


def test_the_unread_bytes_are_those_behind_the_position_in_this_file_and_the_newer_ones(
    path: Path,
) -> None:
    assert spool.unread_bytes(path, None) == 0
    append(path, b"one\ntwo\n")
    assert spool.unread_bytes(path, None) == 8
    _, position = read_on(path, None)
    assert spool.unread_bytes(path, position) == 0

    append(path, b"three\n")
    path.rename(f"{path}.1")
    append(path, b"four\n")

    assert spool.unread_bytes(path, position) == 11
