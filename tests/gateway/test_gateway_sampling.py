"""What the judge reads of live answers: drawn by the unit alone, bounded, and at nobody's expense."""

import json
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from rampway.gateway import spool as spooling
from rampway.gateway.assignment import Split, assign
from rampway.gateway.capture import Allowed
from rampway.gateway.counting import Outcome, SegmentCounter
from rampway.gateway.lossy import LossyFile
from rampway.gateway.sampling import (
    CANDIDATES_MAX,
    LINES_AT_ONCE,
    ArmTally,
    Draw,
    Sampling,
    candidates_per_slice,
)
from rampway.gateway.settings import BodyFields, JudgedSettings
from rampway.gateway.spool import Half, SpoolRecord
from rampway.gateway.terms import Arm, Timing
from support.gateway_process import DataPlane, Heard, data_plane, eventually, true

BEGAN = 1_000.0
TIMING = Timing(slice_seconds=1, fast_seconds=1, timeout_seconds=2)
GOOD = Half(200, 12.3456, b'{"answer": "went"}', "")
FAILED = Outcome(kind="status_500", answered=True, status=500)
LEFT = Outcome(aborted=True)
OUTCOMES = (FAILED, LEFT, Outcome(kind="reset"))
WHOLE = Allowed(BodyFields(request=("",), answer=("",)))


class Sampled:
    """A sampling of two candidates a second over a spool file."""

    def __init__(
        self,
        path: Path,
        *,
        lines_max: int = 1_000,
        held_bytes: int = 10_000,
        per_second: float = 2,
    ) -> None:
        self.counter = SegmentCounter(epoch=2, number=5, began=BEGAN, timing=TIMING)
        self.file = LossyFile[SpoolRecord](
            path,
            encode=partial(spooling.encode, allowed=WHOLE),
            lines_max=lines_max,
            pending_bytes_max=1_000_000,
            file_bytes_max=1_000_000,
        )
        self.totals = {arm: ArmTally() for arm in Arm}
        self.sampling = Sampling(
            JudgedSettings(per_second=per_second, baseline_per_candidate=4, held_bytes=held_bytes),
            target="tutor",
            release="r1",
            counter=self.counter,
            began_at=1_700_000_000.0,
            spool=self.file,
            totals=self.totals,
            pseudonym=bytes.decode,
        )

    def start(self, arm: Arm, point: int, seconds: float = 0.0) -> Draw | None:
        return self.sampling.draw(arm, point, b"u%d" % point, "t", BEGAN + seconds)

    def answer(self, draw: Draw, half: Half = GOOD, took_seconds: float = 0.1) -> None:
        self.sampling.take(draw, b'{"case": 1}', half)
        self.sampling.end(draw, Outcome(answered=True, status=200), took_seconds)

    def ask(self, arm: Arm, point: int, seconds: float = 0.0) -> None:
        draw = self.start(arm, point, seconds)
        if draw is not None:
            self.answer(draw)

    def lines(self, kind: str) -> list[dict[str, Any]]:
        self.file.write()
        path = self.file.path
        told = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, told) if line["kind"] == kind]


@pytest.fixture
def sampled(tmp_path: Path) -> Sampled:
    return Sampled(tmp_path / "spool-tutor.jsonl")


def drawn(sampling: Sampling, records: list[SpoolRecord]) -> set[str]:
    """The units that a slice's lines are of."""
    sampling.mark_due(BEGAN + 100)
    return {one.unit for one in records if isinstance(one, spooling.AnswerRecord)}


class Records(LossyFile[SpoolRecord]):
    """A spool that keeps its records as they are."""

    def __init__(self) -> None:
        super().__init__(
            Path("unwritten"),
            encode=orjson.dumps,
            lines_max=10_000,
            pending_bytes_max=1_000_000,
            file_bytes_max=1,
        )
        self.records: list[SpoolRecord] = []

    def put(self, record: SpoolRecord, size_bytes: int) -> bool:
        self.records.append(record)
        return super().put(record, size_bytes)


def sample(requests: list[tuple[Arm, int]], outcomes: list[Outcome]) -> set[str]:
    """What is drawn of these requests, which all start in one slice."""
    spool = Records()
    sampling = Sampling(
        JudgedSettings(per_second=2, baseline_per_candidate=4),
        target="tutor",
        release="r1",
        counter=SegmentCounter(epoch=2, number=5, began=BEGAN, timing=TIMING),
        began_at=0.0,
        spool=spool,
        totals={arm: ArmTally() for arm in Arm},
        pseudonym=bytes.decode,
    )
    for (arm, point), outcome in zip(requests, outcomes, strict=True):
        draw = sampling.draw(arm, point, b"%d" % point, "t", BEGAN)
        if draw is not None and outcome is not LEFT:
            sampling.take(draw, b"{}", GOOD)
            sampling.end(draw, outcome, 0.1)
    return drawn(sampling, spool.records)


requests = st.lists(
    st.tuples(st.sampled_from(Arm), st.integers(0, 2**64 - 1)),
    max_size=60,
    unique_by=lambda one: one[1],
)


def test_of_a_unit_that_is_forgotten_it_is_kept_only_that_it_was_drawn(sampled: Sampled) -> None:
    running = sampled.start(Arm.CANDIDATE, 1)
    assert running is not None
    sampled.ask(Arm.CANDIDATE, 2)
    sampled.ask(Arm.BASELINE, 3)

    sampled.sampling.forget(b"u1")
    sampled.sampling.forget(b"u2")
    sampled.answer(running)  # it was still under way
    sampled.sampling.mark_due(BEGAN + 100)

    marks = sampled.lines("drawn")
    told = {
        (line["unit"], line["trace"], line["missing"], bool(line["answer"]), bool(line["request"]))
        for line in sampled.lines("answer")
    }
    assert sum(mark["candidate"] + mark["baseline"] for mark in marks) == 3
    assert told == {("", "", "forgotten", False, False), ("u3", "t", None, True, True)}
    assert len(sampled.lines("answer")) == 3


@given(requests=requests, dice=st.randoms())
def test_the_units_with_the_lowest_points_are_drawn_in_whatever_order_they_come(
    requests: list[tuple[Arm, int]], dice: random.Random
) -> None:
    by_arm = {arm: sorted(point for one, point in requests if one is arm) for arm in Arm}
    shuffled = list(requests)
    dice.shuffle(shuffled)

    told = sample(shuffled, [Outcome(answered=True)] * len(requests))

    candidates = by_arm[Arm.CANDIDATE][:2]
    baselines = by_arm[Arm.BASELINE][: 4 * len(candidates)]
    assert told == {str(point) for point in (*candidates, *baselines)}


@given(requests=requests, data=st.data())
def test_how_a_request_ends_changes_nothing_about_who_is_drawn(
    requests: list[tuple[Arm, int]], data: st.DataObject
) -> None:
    good = [Outcome(answered=True)] * len(requests)
    ends = st.sampled_from((*OUTCOMES, good[0] if good else FAILED))
    worse = data.draw(st.lists(ends, min_size=len(requests), max_size=len(requests)))

    assert sample(requests, worse) == sample(requests, good)


def test_being_drawn_tells_nothing_of_the_arm_nor_of_being_copied() -> None:
    half = Split(salt=bytes(range(32)), release="r1", share_bp=5_000, shadow_bp=5_000)
    units = [b"%d" % i for i in range(20_000)]
    low = [unit for unit in units if half.draw_point(unit) < 2**63]

    candidates = sum(assign(unit, half) is Arm.CANDIDATE for unit in low)
    copied = sum(half.copies(unit) for unit in low)

    for n in (candidates, copied):
        least, most = binom.interval(0.999, len(low), 0.5)
        assert least <= n <= most
    least, most = binom.interval(0.999, len(units), 0.5)
    assert least <= len(low) <= most


@given(unit=st.binary(max_size=60), share_bp=st.integers(0, 10_000))
def test_a_units_point_is_the_same_at_every_share(unit: bytes, share_bp: int) -> None:
    here = Split(salt=b"\x07" * 32, release="r1", share_bp=share_bp, shadow_bp=0)
    there = Split(salt=b"\x07" * 32, release="r1", share_bp=0, shadow_bp=9_999)

    assert here.draw_point(unit) == there.draw_point(unit)


def test_a_drawn_answer_is_written_with_its_mark_when_its_slice_is_over(sampled: Sampled) -> None:
    sampled.ask(Arm.CANDIDATE, 7, seconds=0.5)
    sampled.sampling.mark_due(BEGAN + 0.999)
    assert sampled.lines("answer") == []

    sampled.sampling.mark_due(BEGAN + 1)

    of_slice = {"target": "tutor", "epoch": 2, "segment": 5, "i": 0}
    assert sampled.lines("drawn") == [
        {
            "kind": "drawn",
            **of_slice,
            "slice_seconds": 1.0,
            "ended_at": 1_700_000_001.0,
            "candidate": 1,
            "baseline": 0,
        }
    ]
    assert sampled.lines("answer") == [
        {
            "kind": "answer",
            **of_slice,
            "release": "r1",
            "arm": "candidate",
            "unit": "u7",
            "trace": "t",
            "request": {"case": 1},
            "answer": {"status": 200, "latency_ms": 12.346, "body": {"answer": "went"}},
            "failed": None,
            "missing": None,
        }
    ]


def test_an_answer_that_ends_after_its_slice_belongs_to_it(sampled: Sampled) -> None:
    draw = sampled.start(Arm.CANDIDATE, 1, seconds=0.9)
    assert draw is not None
    sampled.sampling.mark_due(BEGAN + 1.5)
    assert sampled.lines("answer") == []

    sampled.answer(draw, took_seconds=1.5)

    assert [(line["i"], line["failed"]) for line in sampled.lines("answer")] == [(0, None)]


@pytest.mark.parametrize(
    ("outcome", "took_seconds", "why"),
    [
        (FAILED, 0.1, "error"),
        (Outcome(kind="mid_stream", status=200), 0.1, "error"),
        (LEFT, 0.1, "client"),
        (Outcome(answered=True, status=200), 2.001, "timeout"),
    ],
)
def test_a_request_that_failed_has_no_answer_to_judge_and_says_why(
    sampled: Sampled, outcome: Outcome, took_seconds: float, why: str
) -> None:
    draw = sampled.start(Arm.CANDIDATE, 1)
    assert draw is not None
    sampled.sampling.take(draw, b"{}", GOOD)

    sampled.sampling.end(draw, outcome, took_seconds)
    sampled.sampling.mark_due(BEGAN + 1)

    [line] = sampled.lines("answer")
    assert (line["failed"], line["missing"], line["answer"]) == (why, None, None)
    assert sampled.totals[Arm.CANDIDATE].missing == {why: 1}


def test_what_is_unfinished_a_timeout_after_its_slice_timed_out(sampled: Sampled) -> None:
    draw = sampled.start(Arm.BASELINE, 1)
    candidate = sampled.start(Arm.CANDIDATE, 2)
    assert draw is not None
    assert candidate is not None
    sampled.sampling.mark_due(BEGAN + 2.999)
    assert sampled.lines("answer") == []

    sampled.sampling.mark_due(BEGAN + 3)
    before = sampled.lines("answer")
    sampled.answer(draw, took_seconds=9)

    assert {line["failed"] for line in before} == {"timeout"}
    assert len(before) == 2
    assert sampled.lines("answer") == before


def test_every_whole_slice_gets_a_mark_in_order_and_the_cut_one_nothing(sampled: Sampled) -> None:
    for seconds in (2.5, 3.2):
        sampled.ask(Arm.CANDIDATE, 1, seconds)
    sampled.counter.close(BEGAN + 3.6)

    sampled.sampling.mark_due(BEGAN + 100)

    marks = [(mark["i"], mark["candidate"]) for mark in sampled.lines("drawn")]
    assert marks == [(0, 0), (1, 0), (2, 1)]
    assert len(sampled.lines("answer")) == 1
    assert sampled.sampling.is_over


def test_an_answer_still_awaited_has_the_room_of_those_that_were_cut(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path / "spool.jsonl", held_bytes=29)
    awaited = sampled.start(Arm.CANDIDATE, 1, seconds=0.9)
    assert awaited is not None
    sampled.ask(Arm.CANDIDATE, 2, seconds=1.1)
    sampled.counter.close(BEGAN + 1.5)
    sampled.sampling.mark_due(BEGAN + 1.5)

    sampled.answer(awaited, took_seconds=0.7)

    assert [(line["unit"], line["missing"]) for line in sampled.lines("answer")] == [("u1", None)]


def test_the_lines_of_a_slice_are_written_a_few_at_a_time(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path / "spool.jsonl", per_second=100)
    for point in range(100):
        sampled.ask(Arm.CANDIDATE, point)

    written: list[int] = []
    while sampled.sampling.next_due() <= BEGAN + 1:
        sampled.sampling.mark_due(BEGAN + 1)
        written.append(len(sampled.lines("answer")))

    assert written == [LINES_AT_ONCE, 2 * LINES_AT_ONCE, 3 * LINES_AT_ONCE, 100]


def test_bodies_that_do_not_fit_are_missing_and_counted_for_their_arm(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path / "spool.jsonl", held_bytes=40)
    for arm, point in ((Arm.CANDIDATE, 1), (Arm.BASELINE, 2)):
        sampled.ask(arm, point)
    large = sampled.start(Arm.CANDIDATE, 3)
    assert large is not None
    sampled.sampling.take(large, b"{}", None)
    sampled.sampling.end(large, Outcome(answered=True, status=200), 0.1)

    sampled.sampling.mark_due(BEGAN + 1)

    missing = {line["unit"]: line["missing"] for line in sampled.lines("answer")}
    assert missing == {"u1": None, "u2": "too_many", "u3": "too_large"}
    assert sampled.totals[Arm.BASELINE].missing == {"too_many": 1}


def test_who_is_pushed_out_leaves_his_room_to_others(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path / "spool.jsonl", held_bytes=2 * 29)
    for point in (9, 8, 7, 6, 5):
        sampled.ask(Arm.CANDIDATE, point)

    sampled.sampling.mark_due(BEGAN + 1)

    assert {(line["unit"], line["missing"]) for line in sampled.lines("answer")} == {
        ("u5", None),
        ("u6", None),
    }


def test_a_full_spool_is_counted_per_arm(tmp_path: Path) -> None:
    sampled = Sampled(tmp_path / "spool.jsonl", lines_max=2)
    for arm, point in ((Arm.CANDIDATE, 1), (Arm.BASELINE, 2), (Arm.BASELINE, 3)):
        sampled.ask(arm, point)

    sampled.sampling.mark_due(BEGAN + 1)

    assert (len(sampled.lines("drawn")), len(sampled.lines("answer"))) == (1, 1)
    assert sampled.totals[Arm.CANDIDATE].missing == {}
    assert sampled.totals[Arm.BASELINE].missing == {"spool": 2}


@pytest.mark.parametrize(
    ("half", "body", "missing"),
    [
        (Half(200, 1.0, b"null", ""), None, None),
        (Half(200, 1.0, b"\x01", "br"), None, "unreadable"),
        (Half(200, 1.0, b"", ""), "", None),
    ],
)
def test_an_answer_that_cannot_be_unpacked_is_not_taken_for_an_empty_one(
    sampled: Sampled, half: Half, body: str | None, missing: str | None
) -> None:
    draw = sampled.start(Arm.CANDIDATE, 1)
    assert draw is not None
    sampled.answer(draw, half)

    sampled.sampling.mark_due(BEGAN + 1)

    [line] = sampled.lines("answer")
    assert (line["answer"]["body"], line["missing"]) == (body, missing)


@pytest.mark.parametrize(
    ("slice_seconds", "per_second", "most"),
    [(10.0, 5.0, 50), (1.0, 5.0, 5), (0.1, 5.0, 1), (3_600.0, 5.0, CANDIDATES_MAX)],
)
def test_a_slice_has_a_bounded_number_of_candidates(
    slice_seconds: float, per_second: float, most: int
) -> None:
    timing = Timing(slice_seconds=slice_seconds, fast_seconds=1, timeout_seconds=1)

    assert candidates_per_slice(JudgedSettings(per_second=per_second), timing) == most


JUDGED = "[judged]\nper_second = 20\nbaseline_per_candidate = 4\n"


def spooled(plane: DataPlane, kind: str) -> list[dict[str, Any]]:
    return [line for line in plane.gateway.lines("spool-tutor.jsonl") if line["kind"] == kind]


async def canary(plane: DataPlane, share_bp: int = 5_000) -> dict[str, Any]:
    await plane.admin.register(slice_seconds=0.5, timeout_seconds=2.0)
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, share_bp)
    return token


async def counted(plane: DataPlane, units: int) -> list[dict[str, Any]]:
    """The full rows, once so many units are in them, and the next slice is marked too."""

    async def seen() -> list[dict[str, Any]] | None:
        rows = (await plane.admin.slices(1, 1))["full"]["rows"]
        full = sum(row[arm]["units"] for row in rows for arm in Arm) == units
        return rows if full and rows[-1]["baseline"]["units"] == 0 else None

    return await eventually(seen)


async def total(plane: DataPlane, what: str, arm: Arm, reason: str = "") -> float:
    labels = f'target="tutor",arm="{arm}"' + (f',reason="{reason}"' if reason else "")
    return await plane.admin.metric(f"judged_{what}_total{{{labels}}}")


async def test_live_answers_of_both_arms_are_spooled_once_per_request_id() -> None:
    async with data_plane(settings=JUDGED) as plane:
        await canary(plane)
        for n in range(60):
            await plane.ask(f"u{n % 30}", n=n)

        await counted(plane, 30)
        totals = {arm: await total(plane, "drawn", arm) for arm in Arm}
        await eventually(lambda: true(len(spooled(plane, "answer")) == sum(totals.values())))
        marks = spooled(plane, "drawn")
        lines = spooled(plane, "answer")
        assert max(Counter(line["unit"] for line in lines).values()) == 1
        assert {line["arm"] for line in lines} == {"baseline", "candidate"}
        for line in lines:
            assert line["answer"]["body"] == {
                "by": {"baseline": "a", "candidate": "b"}[line["arm"]]
            }
            assert line["request"]["n"] == int(line["trace"][1:])
        assert [mark["i"] for mark in marks] == list(range(len(marks)))
        assert all(mark["candidate"] <= 10 for mark in marks)
        assert all(mark["baseline"] <= 4 * mark["candidate"] for mark in marks)
        for arm in Arm:
            assert totals[arm] == sum(line["arm"] == arm for line in lines) > 0
            assert totals[arm] == sum(mark[arm] for mark in marks)


@pytest.mark.parametrize(
    ("settings", "share_bp"),
    [
        ("[judged]\nper_second = 0\n", 5_000),
        ('[capture.bodies.other]\nrequest = [""]\n', 5_000),
        (JUDGED, 10_000),
    ],
)
async def test_nothing_is_drawn_where_there_is_nothing_to_judge_or_to_compare(
    settings: str, share_bp: int
) -> None:
    async with data_plane(settings=settings) as plane:
        await canary(plane, share_bp)
        for n in range(10):
            await plane.ask(f"u{n}")

        async def sealed() -> bool:
            return (await plane.admin.slices(1, 1))["full"]["sealed"] > 0

        await eventually(sealed)
        assert plane.gateway.lines("spool-tutor.jsonl") == []


async def test_a_full_spool_changes_no_answer_and_no_count() -> None:
    async def fails_some(heard: Heard) -> web.StreamResponse:
        fails = int(heard.headers["x-request-id"][1:]) % 5 == 0
        return web.json_response({"by": "b"}, status=500 if fails else 200)

    async with data_plane(
        b=fails_some, settings=f"{JUDGED}[capture]\nspool_pending_bytes = 1\n"
    ) as plane:
        await canary(plane)
        told = [(n, await plane.ask(f"u{n}")) for n in range(60)]

        rows = await counted(plane, 60)
        for n, one in told:
            assert one["status"] == (500 if one["by"] == "b" and n % 5 == 0 else 200)
        assert sum(row["candidate"]["kinds"].get("status_500", 0) for row in rows) == sum(
            one["status"] == 500 for _, one in told
        )
        for arm in Arm:
            assert (
                await total(plane, "missing", arm, "spool") == await total(plane, "drawn", arm) > 0
            )
        assert plane.gateway.lines("spool-tutor.jsonl") == []
