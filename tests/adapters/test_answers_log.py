"""Reading a log of answers: every line is used, named or counted; none is lost in silence."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rampway.adapters.answers_log import LINE_BYTES_MAX, LogUnreadable, read_answers
from support.answer_lines import live, pair, write_log

GOOD = (live(0, "baseline"), live(1, "candidate"), pair(2))


def test_live_answers_and_pairs_are_read_as_the_gateway_writes_them(tmp_path: Path) -> None:
    log = read_answers(write_log(tmp_path / "log", GOOD))

    assert [line.arm for line in log.live] == ["baseline", "candidate"]
    assert log.pairs[0].candidate.body == {"answer": "walk"}
    assert (log.lines, log.bad) == (3, [])


def test_a_line_that_was_cut_off_is_named_with_its_number(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", GOOD)
    path.write_bytes(path.read_bytes()[:-40])

    log = read_answers(path)

    assert [line.number for line in log.bad] == [3]
    assert log.bad[0].why.startswith("is cut off before its end: ")
    assert (len(log.live), len(log.pairs)) == (2, 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json", "is not JSON: not json"),
        ("[1]", "is not a JSON object: [1]"),
        ('{"kind": "live"}', "ts: Field required"),
        (json.dumps(live(0, "control")), "arm: Input should be 'baseline' or 'candidate'"),
        (
            json.dumps(live(0, "baseline", latency_ms=-1)),
            "latency_ms: Input should be greater than",
        ),
        (json.dumps(live(0, "baseline", epoch="1")), "epoch: Input should be a valid integer"),
        ('{"kind": "answer"}', "Input tag 'answer' found using 'kind' does not match"),
    ],
)
def test_a_broken_line_says_what_is_wrong_with_it(tmp_path: Path, line: str, why: str) -> None:
    log = read_answers(write_log(tmp_path / "log", [GOOD[0], line, GOOD[1]]))

    assert [bad.number for bad in log.bad] == [2]
    assert log.bad[0].why.startswith(why)
    assert len(log.live) == 2


def test_marks_and_lines_without_answers_are_counted_by_kind(tmp_path: Path) -> None:
    log = read_answers(
        write_log(tmp_path / "log", [*GOOD, '{"kind": "mark"}', '{"arm": "baseline"}'])
    )

    assert log.other == {"mark": 1, "traffic line without an answer": 1}
    assert log.bad == []


def test_a_traffic_log_without_bodies_says_how_to_get_them(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", ['{"arm": "baseline", "shadow": false}'])

    with pytest.raises(LogUnreadable, match="answers = true"):
        read_answers(path)


def test_a_log_without_answers_or_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="cannot be read"):
        read_answers(tmp_path / "none")
    with pytest.raises(LogUnreadable, match="line 1 is not JSON"):
        read_answers(write_log(tmp_path / "log", ["nothing"]))


def test_a_line_too_long_to_be_one_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", ["x" * (LINE_BYTES_MAX + 5), GOOD[0]])

    log = read_answers(path)

    assert [bad.number for bad in log.bad] == [1]
    assert len(log.live) == 1


def test_no_full_answer_is_slower_than_any_and_a_caller_who_left_waited_as_long_as_he_did(
    tmp_path: Path,
) -> None:
    lines = [
        live(0, "baseline", error="timeout", status=504),
        live(1, "baseline", error="aborted", status=None, latency_ms=7.0),
        live(2, "baseline", error="status_500", status=500, latency_ms=8.0),
    ]

    log = read_answers(write_log(tmp_path / "log", lines))

    assert [line.full_latency_ms for line in log.live] == [math.inf, 7.0, 8.0]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from([json.dumps(line) for line in GOOD]),
            st.sampled_from(['{"kind": "mark"}', '{"arm": "x"}', "{", '"', "{}", "null"]),
            st.text(st.characters(exclude_characters="\r\n\x85\u2028\u2029"), max_size=20),
        ),
        max_size=12,
    )
)
def test_every_line_goes_somewhere(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "log"
    written = [json.dumps(GOOD[0]), *lines]
    path.write_bytes(b"".join(line.encode(errors="replace") + b"\n" for line in written))

    log = read_answers(path)

    blank = sum(not line.encode(errors="replace").strip() for line in written)
    assert log.lines == len(written) - blank
    assert log.lines == len(log.live) + len(log.pairs) + len(log.bad) + log.other.total()
