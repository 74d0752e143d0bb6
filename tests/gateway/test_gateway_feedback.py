"""Late feedback counts once, for the arm and the slice that served, and cannot be made up."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.gates.plans import Must, RateGate, StepPlan
from rampway.gates.verdicts import Verdict
from rampway.gates.weigh import weigh
from rampway.gateway.assignment import Split, assign
from rampway.gateway.feedbackbook import FeedbackBook, Mark, Marks, Taken
from rampway.gateway.receipts import Place, Receipts, decoded
from rampway.gateway.terms import Arm
from support.gateway_process import NOBODY, DataPlane, accepted, data_plane, eventually

SLICE = {"slice_seconds": 0.5, "fast_seconds": 0.2, "timeout_seconds": 1.5}
RECEIPTS = "[feedback]\nreceipts = true\ndelay_seconds = 2.0\n"
PATIENT = "[feedback]\nreceipts = true\ndelay_seconds = 3600\n"
SALT = bytes(range(32))
place_of = st.builds(
    Place,
    epoch=st.integers(0, 2**63),
    segment=st.integers(-(2**62), 2**62),
    i=st.integers(0, 2**63),
)


async def split_open(plane: DataPlane, share_bp: int = 5_000) -> dict[str, Any]:
    await plane.admin.register(**SLICE)
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, share_bp)
    return token


async def served_by(plane: DataPlane, unit: str) -> tuple[str, str | None]:
    """Who answered a unit, and the receipt that came with it."""
    async with plane.http.get(plane.url(), headers={"x-request-id": unit}) as answer:
        return (await answer.json())["by"], answer.headers.get("x-rampway-receipt")


async def say(plane: DataPlane, mark: str = "wrong", **named: str | None) -> tuple[int, Any]:
    body = {key: value for key, value in named.items() if value is not None}
    return await plane.admin.call("POST", "feedback", {**body, "mark": mark})


async def marks(plane: DataPlane, epoch: int = 1, segment: int = 1) -> dict[str, Any]:
    return accepted(await plane.admin.call("GET", "feedback", epoch=epoch, segment=segment))


def total(stream: dict[str, Any], arm: str, what: str) -> int:
    return sum(row[arm][what] for row in stream["rows"])


async def until_sealed(plane: DataPlane, units: int) -> dict[str, Any]:
    """The stream when all of its units' slices are sealed."""

    async def sealed() -> dict[str, Any] | None:
        told = await marks(plane)
        seen = total(told, "baseline", "units") + total(told, "candidate", "units")
        return told if seen == units else None

    return await eventually(sealed)


@given(place=place_of, unit=st.binary(max_size=40), other=st.binary(max_size=40))
def test_a_receipt_tells_its_place_and_holds_for_its_unit_only(
    place: Place, unit: bytes, other: bytes
) -> None:
    receipts = Receipts(salt=SALT, release="r1")

    read = decoded(receipts.make(place, unit))

    assert read is not None
    told, raw = read
    assert told == place
    assert receipts.vouches(raw, unit)
    assert receipts.vouches(raw, other) == (other == unit)
    assert not Receipts(salt=SALT, release="r2").vouches(raw, unit)
    assert not Receipts(salt=SALT[::-1], release="r1").vouches(raw, unit)


@given(place=place_of, unit=st.binary(max_size=40), at=st.integers(0, 40), flip=st.integers(1, 255))
def test_a_receipt_with_one_byte_changed_is_nobodys(
    place: Place, unit: bytes, at: int, flip: int
) -> None:
    receipts = Receipts(salt=SALT, release="r1")
    raw = bytearray(base64.urlsafe_b64decode(receipts.make(place, unit)))
    raw[at] ^= flip

    read = decoded(base64.urlsafe_b64encode(raw).decode())

    assert read is None or not receipts.vouches(read[1], unit)


@given(st.text(max_size=80))
def test_any_other_text_is_no_receipt_or_not_ours(text: str) -> None:
    read = decoded(text)

    assert read is None or not Receipts(salt=SALT, release="r1").vouches(read[1], b"u")


def test_the_receipt_does_not_depend_on_the_arm() -> None:
    receipts = Receipts(salt=SALT, release="r1")
    split = Split(salt=SALT, release="r1", share_bp=5_000, shadow_bp=0)
    units = [b"u%d" % n for n in range(200)]

    heads = {receipts.make(Place(1, 2, 3), unit)[:32] for unit in units}

    assert {assign(unit, split) for unit in units} == set(Arm)
    assert len(heads) == 1  # version, epoch, segment and slice: the same for both arms


def test_marks_are_read_again_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    book = FeedbackBook(path, marks_max=3)
    assert book.mark(Place(1, 1, 0), Arm.CANDIDATE, "u1", Mark.WRONG) is Taken.COUNTED
    assert book.mark(Place(1, 1, 1), Arm.BASELINE, "u2", Mark.OK) is Taken.COUNTED
    assert book.mark(Place(1, 1, 0), Arm.CANDIDATE, "u1", Mark.OK) is Taken.AGAIN
    assert book.seal(1, 1, 1) == 1
    assert book.mark(Place(1, 1, 0), Arm.CANDIDATE, "u3", Mark.WRONG) is Taken.LATE
    assert book.mark(Place(1, -2, 0), Arm.BASELINE, "u1", Mark.WRONG) is Taken.COUNTED
    assert book.mark(Place(1, 1, 1), Arm.BASELINE, "u4", Mark.WRONG) is Taken.TOO_MANY
    book.close()
    with path.open("ab") as lines:
        lines.write(b'{"epoch":1,"segm')

    again = FeedbackBook(path, marks_max=3)

    assert again.marks(1, 1, 0, Arm.CANDIDATE) == Marks(wrong=1)
    assert again.marks(1, 1, 1, Arm.BASELINE) == Marks(ok=1)
    assert again.marks(1, -2, 0, Arm.BASELINE) == Marks(wrong=1)
    assert again.seal(1, 1, 0) == 1
    assert again.mark(Place(1, 1, 1), Arm.BASELINE, "u2", Mark.WRONG) is Taken.AGAIN
    assert again.mark(Place(1, 1, 1), Arm.BASELINE, "u4", Mark.WRONG) is Taken.TOO_MANY
    assert again.mark(Place(2, 1, 0), Arm.BASELINE, "u4", Mark.WRONG) is Taken.COUNTED
    assert again.marks(1, 1, 0, Arm.CANDIDATE) == Marks()
    again.close()
    assert path.with_name("feedback.jsonl.1").exists()
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize("marks_max", [2, 100])  # as it was, and with more room after a restart
def test_a_slice_that_a_mark_found_no_room_in_is_never_told(tmp_path: Path, marks_max: int) -> None:
    path = tmp_path / "feedback.jsonl"
    book = FeedbackBook(path, marks_max=2)
    for unit in ("u1", "u2"):
        book.mark(Place(1, 1, 0), Arm.BASELINE, unit, Mark.WRONG)
    book.seal(1, 1, 1)
    assert book.is_whole(1, 1, 5)

    for unit in ("u3", "u4"):
        assert book.mark(Place(1, 1, 1), Arm.CANDIDATE, unit, Mark.WRONG) is Taken.TOO_MANY
    book.seal(1, 1, 2)
    book.close()
    again = FeedbackBook(path, marks_max=marks_max)

    for one in (book, again):
        assert [one.is_whole(1, 1, i) for i in range(3)] == [True, False, False]
        assert not one.is_whole(1, 2, 0)
        assert one.is_whole(2, 1, 0)
    again.seal(1, 2, 3)
    assert not again.is_whole(1, 2, 0)
    again.mark(Place(2, 1, 0), Arm.BASELINE, "u1", Mark.OK)
    assert again.is_whole(2, 1, 0)
    again.close()
    assert path.with_name("feedback.jsonl.1").read_bytes().count(b"full") == 1


async def test_late_feedback_counts_for_the_arm_that_served_even_after_the_share_moved() -> None:
    async with data_plane(settings=RECEIPTS) as plane:
        token = await split_open(plane)
        by: dict[str, str] = {}
        receipts: dict[str, str | None] = {}
        for n in range(40):
            by[f"u{n}"], receipts[f"u{n}"] = await served_by(plane, f"u{n}")
        await asyncio.sleep(0.6)  # so that their slice is whole when the next write cuts

        await plane.admin.share(token, 2, 9_900)
        for unit in list(by)[:10]:
            told = accepted(await say(plane, unit=unit, receipt=receipts[unit]))
            assert told == {"counted": True, "why": None}
        accepted(await say(plane, "ok", unit="u11", receipt=receipts["u11"]))

        stream = await until_sealed(plane, 40)
        wrong = {
            arm: sum(by[f"u{n}"] == upstream for n in range(10))
            for arm, upstream in (("baseline", "a"), ("candidate", "b"))
        }
        assert set(by.values()) == {"a", "b"}
        assert {arm: total(stream, arm, "wrong") for arm in wrong} == wrong
        assert total(stream, "baseline", "ok") + total(stream, "candidate", "ok") == 1
        metric = 'feedback_total{target="tutor",arm="candidate",mark="wrong"}'
        assert await plane.admin.metric(metric) == wrong["candidate"]


async def test_a_mark_is_counted_once_and_an_answer_without_a_receipt_by_its_request_id() -> None:
    async with data_plane(settings="[feedback]\ndelay_seconds = 2.0\n") as plane:
        await split_open(plane)
        _, receipt = await served_by(plane, "u1")
        assert receipt is None

        first = accepted(await say(plane, request_id="u1"))
        second = accepted(await say(plane, unit="u1"))
        changed = accepted(await say(plane, "ok", request_id="u1"))
        status, told = await say(plane, request_id="never-asked")

        assert first == {"counted": True, "why": None}
        assert second == changed == {"counted": False, "why": "again"}
        assert (status, told["error"]) == (404, "unknown")
        stream = await until_sealed(plane, 1)
        assert total(stream, "baseline", "wrong") + total(stream, "candidate", "wrong") == 1


async def test_only_the_last_requests_are_remembered() -> None:
    async with data_plane(settings="[feedback]\nremembered_requests = 3\n") as plane:
        await split_open(plane)
        for n in range(5):
            await served_by(plane, f"u{n}")

        told = [(await say(plane, request_id=f"u{n}"))[0] for n in range(5)]

        assert told == [404, 404, 200, 200, 200]


async def test_a_forged_receipt_or_one_of_another_unit_or_target_is_refused() -> None:
    async with data_plane(settings=PATIENT) as plane:
        await split_open(plane)
        other = plane.on("other")
        await split_open(other)
        _, receipt = await served_by(plane, "u1")
        _, elsewhere = await served_by(other, "u1")
        assert receipt is not None
        raw = bytearray(base64.urlsafe_b64decode(receipt))
        raw[24] ^= 1  # another slice
        forged = base64.urlsafe_b64encode(raw).decode()

        for told in (forged, elsewhere, receipt[:-4], "none of ours", receipt.swapcase()):
            status, body = await say(plane, unit="u1", receipt=told)
            assert (status, body["error"]) == (422, "bad_input"), told
        status, body = await say(plane, unit="u2", receipt=receipt)
        assert (status, body["error"]) == (422, "bad_input")
        status, body = await say(plane, receipt=receipt)
        assert (status, body["error"]) == (422, "bad_input")

        assert accepted(await say(plane, unit="u1", receipt=receipt))["counted"]
        again = accepted(await say(plane, unit="u1", receipt=receipt))
        assert again == {"counted": False, "why": "again"}
        refused = 'feedback_not_counted_total{target="tutor",reason="bad_input"}'
        assert await plane.admin.metric(refused) == 6


async def test_a_flood_of_marks_is_bounded_counted_and_no_other_targets() -> None:
    async with data_plane(settings=f"{PATIENT}marks = 20\n") as plane:
        await split_open(plane)
        other = plane.on("other")
        await split_open(other)
        receipts = {unit: (await served_by(plane, unit))[1] for unit in map(str, range(60))}

        told = [
            accepted(await say(plane, unit=unit, receipt=receipt))
            for unit, receipt in receipts.items()
        ]
        again = accepted(await say(plane, unit="0", receipt=receipts["0"]))
        _, elsewhere = await served_by(other, "0")

        assert [one["counted"] for one in told] == [True] * 20 + [False] * 40
        assert {one["why"] for one in told[20:]} == {"too_many"}
        assert again == {"counted": False, "why": "again"}
        assert accepted(await say(other, unit="0", receipt=elsewhere))["counted"]
        lines = plane.gateway.lines("feedback-tutor.jsonl")
        assert ["mark" in line for line in lines] == [True] * 20 + [False]
        assert lines[-1] == {"epoch": 1, "full": True}
        lost = 'feedback_not_counted_total{target="tutor",reason="too_many"}'
        assert await plane.admin.metric(lost) == 40


async def test_a_flood_of_forged_feedback_writes_nothing_and_slows_no_caller() -> None:
    async with data_plane(settings=PATIENT) as plane:
        await split_open(plane)
        _, receipt = await served_by(plane, "u1")
        assert receipt is not None
        forged = receipt[:-6] + ("AAAAAA" if receipt[-6:] != "AAAAAA" else "BBBBBB")

        async def forges(number: int) -> int:
            return (await say(plane, unit=f"u{number}", receipt=forged))[0]

        told, *_ = await asyncio.gather(
            asyncio.gather(*(forges(number) for number in range(500))),
            *(served_by(plane, f"caller-{number}") for number in range(50)),
        )

        assert set(told) == {422}
        assert plane.gateway.lines("feedback-tutor.jsonl") == []
        refused = 'feedback_not_counted_total{target="tutor",reason="bad_input"}'
        assert await plane.admin.metric(refused) == 500
        assert await plane.admin.metric('errors_total{target="tutor",arm="baseline"}') == 0
        status, _ = await say(plane, unit="u" * 100_000, receipt=receipt)
        assert status == 422


async def test_after_a_rollback_feedback_still_counts_until_another_release_claims() -> None:
    async with data_plane(settings=PATIENT) as plane:
        token = await split_open(plane)
        receipts = [(await served_by(plane, f"u{n}"))[1] for n in range(3)]

        accepted(await plane.admin.write("end", token, 1, ending="rolled_back"))
        after = await say(plane, unit="u0", receipt=receipts[0])
        await plane.admin.claim("r2")
        status, body = await say(plane, unit="u1", receipt=receipts[1])

        assert accepted(after)["counted"]
        assert (status, body["error"]) == (409, "fenced")


async def test_no_receipt_comes_where_there_is_nothing_to_compare() -> None:
    async with data_plane(settings=PATIENT) as plane:
        await plane.admin.register(**SLICE)
        _, before = await served_by(plane, "u1")
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        _, shadowed = await served_by(plane, "u2")
        await plane.admin.share(token, 2, 5_000)
        _, first = await served_by(plane, "u3")
        _, again = await served_by(plane, "u3")

        assert (before, shadowed, again) == (None, None, None)
        assert first is not None


async def test_the_drawn_id_of_an_answer_comes_with_its_receipt() -> None:
    async with data_plane(settings=PATIENT) as plane:
        await split_open(plane)
        async with plane.http.get(plane.url()) as answer:
            receipt, unit = answer.headers["x-rampway-receipt"], answer.headers["x-request-id"]

        assert accepted(await say(plane, request_id=unit, receipt=receipt))["counted"]


async def test_what_comes_after_the_delay_is_late_and_rows_never_change() -> None:
    async with data_plane(settings="[feedback]\nreceipts = true\ndelay_seconds = 0.5\n") as plane:
        await split_open(plane)
        _, receipt = await served_by(plane, "u1")
        stream = await until_sealed(plane, 1)

        late = accepted(await say(plane, unit="u1", receipt=receipt))

        assert late == {"counted": False, "why": "late"}
        again = await marks(plane)
        assert again["rows"][: len(stream["rows"])] == stream["rows"]


async def test_marks_and_seals_survive_a_kill() -> None:
    async with data_plane(settings=RECEIPTS) as plane:
        await split_open(plane)
        _, marked = await served_by(plane, "u1")
        _, unmarked = await served_by(plane, "u2")
        assert accepted(await say(plane, unit="u1", receipt=marked))["counted"]

        plane.gateway.kill()
        plane.gateway.start()

        again = accepted(await say(plane, unit="u1", receipt=marked))
        first = accepted(await say(plane, unit="u2", receipt=unmarked))
        assert again == {"counted": False, "why": "again"}
        assert first["counted"]
        # Their slice ran in part in the earlier process: lost for both arms, as every count of it is.
        stream = await eventually(lambda: sealed_past(plane, 1))
        plane.gateway.kill()
        plane.gateway.start()
        after = await marks(plane)
        assert after["sealed"] >= stream["sealed"]
        assert after["rows"][: len(stream["rows"])] == stream["rows"]


async def sealed_past(plane: DataPlane, slices: int) -> dict[str, Any] | None:
    told = await marks(plane)
    return told if told["sealed"] > slices else None


async def test_the_false_positive_gate_reads_what_users_marked() -> None:
    async with data_plane(settings="[feedback]\nreceipts = true\ndelay_seconds = 1.0\n") as plane:
        await split_open(plane)
        bad = 0
        for n in range(120):
            by, receipt = await served_by(plane, f"u{n}")
            if by == "b":
                bad += 1
                assert accepted(await say(plane, unit=f"u{n}", receipt=receipt))["counted"]
        await until_sealed(plane, 120)
        plan = StepPlan(
            name="50 %",
            hold_seconds=60,
            deadline_seconds=180,
            slice_seconds=0.5,
            share_bp=5_000,
            must=Must.SCREEN,
            units=1,
            gates=(RateGate(name="false_positive", stream="false_positive", alpha=0.01),),
        )

        async with (
            httpx.AsyncClient(base_url=plane.gateway.admin_url) as gateway,
            httpx.AsyncClient(base_url=NOBODY) as judge,
        ):
            evidence = await GatewayEvidence(gateway, judge).stage(
                target="tutor", epoch=1, segment=1, plan=plan
            )

        verdict = weigh(plan, evidence)
        assert set(evidence.rows) == {"false_positive"}
        assert verdict.verdict is Verdict.BREACH
        rows = [row for row in evidence.rows["false_positive"] if isinstance(row, list)]
        assert [sum(int(str(row[field])) for row in rows) for field in (2, 4)] == [bad, 0]


async def test_a_gateway_without_feedback_is_no_data_and_what_else_is_counted_is_seen() -> None:
    """An older gateway answers 404; its rates must still be weighed."""

    async def older(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/feedback"):
            return httpx.Response(404, json={"error": "http", "why": "no"})
        arm: dict[str, Any] = {"units": 5, "error": 0, "late": 0, "refusal": 0, "latency": {}}
        row: dict[str, Any] = {"i": 0, "baseline": arm, "candidate": arm}
        stream: dict[str, Any] = {"sealed": 1, "rows": [row]}
        return httpx.Response(200, json={"slice_seconds": 10, "fast": stream, "full": stream})

    plan = StepPlan(
        name="1 %",
        hold_seconds=60,
        deadline_seconds=180,
        slice_seconds=10,
        share_bp=100,
        must=Must.SCREEN,
        units=1,
        gates=(
            RateGate(name="error", stream="error", alpha=0.01),
            RateGate(name="false_positive", stream="false_positive", alpha=0.01),
        ),
    )
    transport = httpx.MockTransport(older)
    async with httpx.AsyncClient(base_url="http://gateway", transport=transport) as http:
        evidence = await GatewayEvidence(http, http).stage(
            target="tutor", epoch=1, segment=1, plan=plan
        )

    assert set(evidence.rows) == {"error"}
    assert "404" in evidence.sources["feedback"]
    assert weigh(plan, evidence).gates[1].verdict is Verdict.NO_DATA
