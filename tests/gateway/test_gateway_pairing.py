"""Every sampled request leaves one line, and every slice one mark, in order, when all is settled."""

import gzip
import hashlib
import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from rampway.gateway import spool as spooling
from rampway.gateway.breaker import Breaker
from rampway.gateway.capture import Allowed
from rampway.gateway.counting import SegmentCounter
from rampway.gateway.lossy import LossyFile
from rampway.gateway.pairing import CLIENT, SPOOL, TOO_MANY, Pairing, TargetTally
from rampway.gateway.settings import BodyFields
from rampway.gateway.spool import Half, PairRecord, SpoolRecord, readable
from rampway.gateway.terms import Timing

WHOLE = Allowed(BodyFields(request=("",), answer=("",)))

BEGAN = 1_000.0
TIMING = Timing(slice_seconds=1, fast_seconds=1, timeout_seconds=1)
OLD = Half(200, 12.3456, b'{"answer": "went"}', "")
NEW = Half(500, 7.0, b"it broke", "")


class Spooled:
    """A pairing over a real spool file."""

    def __init__(self, directory: Path, *, pairs_max: int = 100, lines_max: int = 1_000) -> None:
        self.counter = SegmentCounter(epoch=2, number=5, began=BEGAN, timing=TIMING)
        self.file = LossyFile[SpoolRecord](
            directory / "spool-tutor.jsonl",
            encode=partial(spooling.encode, allowed=WHOLE),
            lines_max=lines_max,
            pending_bytes_max=1_000_000,
            file_bytes_max=1_000_000,
        )
        self.total = TargetTally()
        self.pairing = Pairing(
            target="tutor",
            release="r1",
            counter=self.counter,
            began_at=1_700_000_000.0,
            timeout_seconds=1.0,
            pairs_max=pairs_max,
            bytes_max=10_000,
            spool=self.file,
            total=self.total,
        )

    def lines(self) -> list[dict[str, Any]]:
        self.file.write()
        path = self.file.path
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def marks(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["kind"] == "mark"]

    def pair(self, seconds: float) -> None:
        pair = self.pairing.open("u", "t", BEGAN + seconds)
        self.pairing.take_request(pair, b'{"case": 1}')
        self.pairing.take_candidate(pair, NEW)
        self.pairing.take_baseline(pair, OLD)


@pytest.fixture
def spooled(tmp_path: Path) -> Spooled:
    return Spooled(tmp_path)


def test_a_pair_is_written_when_both_answers_are_in(spooled: Spooled) -> None:
    spooled.pair(0.5)

    [line] = spooled.lines()

    assert line == {
        "kind": "pair",
        "target": "tutor",
        "release": "r1",
        "epoch": 2,
        "segment": 5,
        "i": 0,
        "unit": "u",
        "trace": "t",
        "request": {"case": 1},
        "baseline": {"status": 200, "latency_ms": 12.346, "body": {"answer": "went"}},
        "candidate": {"status": 500, "latency_ms": 7.0, "body": "it broke"},
        "missing": None,
    }


def test_of_a_pair_that_is_none_no_body_is_kept(spooled: Spooled) -> None:
    pair = spooled.pairing.open("u", "t", BEGAN)
    spooled.pairing.take_request(pair, b'{"case": 1}')
    spooled.pairing.take_baseline(pair, OLD)
    spooled.pairing.miss(pair, CLIENT)

    [line] = spooled.lines()

    assert (line["request"], line["missing"]) == (None, CLIENT)
    assert line["baseline"] == {"status": 200, "latency_ms": 12.346, "body": None}
    assert line["candidate"] == {"status": None, "latency_ms": None, "body": None}


def test_a_slice_is_marked_when_it_is_over_and_all_its_pairs_are_settled(spooled: Spooled) -> None:
    spooled.pair(0.5)
    waiting = spooled.pairing.open("u", "t", BEGAN + 0.9)

    spooled.pairing.mark_due(BEGAN + 1.5)
    assert spooled.marks() == []
    spooled.pairing.miss(waiting, CLIENT)
    spooled.pairing.mark_due(BEGAN + 1.5)

    assert spooled.marks() == [
        {
            "kind": "mark",
            "target": "tutor",
            "epoch": 2,
            "segment": 5,
            "i": 0,
            "slice_seconds": 1.0,
            "ended_at": 1_700_000_001.0,
            "copied": 2,
            "missing": {CLIENT: 1},
        }
    ]


def test_what_is_not_settled_a_timeout_and_a_second_after_the_slice_is_missing(
    spooled: Spooled,
) -> None:
    spooled.pairing.take_baseline(spooled.pairing.open("u1", "t", BEGAN), OLD)
    spooled.pairing.take_candidate(spooled.pairing.open("u2", "t", BEGAN), NEW)

    spooled.pairing.mark_due(BEGAN + 2.999)
    assert spooled.marks() == []
    spooled.pairing.mark_due(BEGAN + 3)

    mark = spooled.marks()[0]
    assert mark["missing"] == {"timeout": 1, "baseline_late": 1}
    assert [line["missing"] for line in spooled.lines()[:2]] in (
        ["timeout", "baseline_late"],
        ["baseline_late", "timeout"],
    )


def test_an_answer_that_comes_after_its_mark_changes_nothing(spooled: Spooled) -> None:
    pair = spooled.pairing.open("u", "t", BEGAN)
    spooled.pairing.take_baseline(pair, OLD)
    spooled.pairing.mark_due(BEGAN + 10)
    before = spooled.lines()

    spooled.pairing.take_candidate(pair, NEW)
    spooled.pairing.miss(pair, CLIENT)

    assert spooled.lines() == before


def test_every_whole_slice_gets_a_mark_in_order_and_the_cut_one_none(spooled: Spooled) -> None:
    spooled.pair(2.5)
    spooled.pair(3.2)
    spooled.counter.close(BEGAN + 3.6)

    spooled.pairing.mark_due(BEGAN + 100)

    assert [(mark["i"], mark["copied"]) for mark in spooled.marks()] == [(0, 0), (1, 0), (2, 1)]
    assert spooled.pairing.is_marked


def test_slices_of_an_earlier_process_get_no_mark(tmp_path: Path) -> None:
    spooled = Spooled(tmp_path)
    spooled.counter.resume(BEGAN + 2.5)
    resumed = Pairing(
        target="tutor",
        release="r1",
        counter=spooled.counter,
        began_at=0.0,
        timeout_seconds=1.0,
        pairs_max=10,
        bytes_max=100,
        spool=spooled.file,
        total=TargetTally(),
    )

    resumed.mark_due(BEGAN + 4)

    assert [mark["i"] for mark in spooled.marks()] == [3]


def test_pairs_beyond_the_bound_are_missing_and_counted(tmp_path: Path) -> None:
    spooled = Spooled(tmp_path, pairs_max=2)
    for _ in range(3):
        spooled.pairing.open("u", "t", BEGAN)

    spooled.pairing.mark_due(BEGAN + 9)

    assert spooled.marks()[0]["copied"] == 3
    assert spooled.total.missing == {TOO_MANY: 1, "timeout": 2}


def test_bodies_beyond_the_bound_are_given_up_and_their_room_is_free_again(
    spooled: Spooled,
) -> None:
    large = OLD._replace(body=b"x" * 6_000)
    first, second = (spooled.pairing.open("u", "t", BEGAN) for _ in range(2))

    spooled.pairing.take_baseline(first, large)
    spooled.pairing.take_baseline(second, large)
    spooled.pairing.take_candidate(first, NEW)
    third = spooled.pairing.open("u", "t", BEGAN)
    spooled.pairing.take_baseline(third, large)

    assert (second.missing, third.missing) == (TOO_MANY, None)


def test_a_line_that_the_spool_does_not_take_is_counted_as_missing(tmp_path: Path) -> None:
    spooled = Spooled(tmp_path, lines_max=1)
    spooled.pair(0.1)
    spooled.pair(0.2)
    spooled.file.write()

    spooled.pairing.mark_due(BEGAN + 1)

    assert spooled.marks()[0]["missing"] == {SPOOL: 1}


@pytest.mark.parametrize(
    ("body", "encoding", "told"),
    [
        (b'{"a": 1}', "", {"a": 1}),
        (b"plain", "identity", "plain"),
        (b"\xff\xfe", "", "\ufffd\ufffd"),
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip", {"a": 1}),
        (zlib.compress(b"deflated"), "deflate", "deflated"),
        (gzip.compress(b"torn", mtime=0)[:-4], "gzip", None),
        (gzip.compress(b"0" * 10_000_000, mtime=0), "gzip", None),
        (b"\x01\x02", "br", None),
    ],
)
def test_a_body_is_told_as_json_or_text_where_it_can_be_unpacked(
    body: bytes, encoding: str, told: object
) -> None:
    assert readable(body, encoding) == told


def test_without_capture_no_body_is_written() -> None:
    record = PairRecord("tutor", "r1", 2, 5, 0, "u", "t", b"{}", OLD, NEW, None)

    told = orjson.loads(spooling.encode(record, Allowed()))

    assert (told["request"], told["baseline"]["body"], told["candidate"]["body"]) == (
        None,
        None,
        None,
    )
    assert told["candidate"]["status"] == 500
    assert told["request_sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert told["baseline"]["sha256"] == hashlib.sha256(OLD.body or b"").hexdigest()


def test_the_breaker_opens_after_failures_in_a_row_then_lets_one_probe_through() -> None:
    breaker = Breaker(failures_max=3, open_seconds=5)
    for now in (0, 1):
        breaker.failed(now)
    breaker.answered()
    for now in (2, 3, 4):
        assert breaker.allows(now)
        breaker.failed(now)

    assert not breaker.allows(8.9)
    assert breaker.allows(9)
    assert not breaker.allows(9)
    breaker.failed(9.5)
    assert not breaker.allows(14.4)
    assert breaker.allows(14.5)
    breaker.answered()
    assert breaker.allows(14.6)
    assert not breaker.is_open()
