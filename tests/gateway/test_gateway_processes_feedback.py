"""Feedback on what any worker served is taken by the one admin port: by receipt, and only by receipt."""

import os
import signal
from collections import Counter
from typing import Any

import pytest
from worker_connections import callers_of_all

from rampway.gateway.receipts import HEADER, decoded
from support.gateway_process import DataPlane, accepted, data_plane, eventually, true

RECEIPTS = "processes = 2\n[feedback]\nreceipts = true\ndelay_seconds = 4.0\n"
UNITS = 20  # of each worker: that one arm gets none has a chance below 1e-11
ARMS = {"a": "baseline", "b": "candidate"}


async def split_open(plane: DataPlane) -> None:
    await plane.admin.register(slice_seconds=0.5, fast_seconds=0.2, timeout_seconds=0.4)
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, 5_000)


async def say(plane: DataPlane, **named: str) -> tuple[int, Any]:
    return await plane.admin.call("POST", "feedback", {**named, "mark": "wrong"})


async def sealed(plane: DataPlane, units: int) -> list[dict[str, Any]] | None:
    """The rows when they tell of so many units."""
    told = accepted(await plane.admin.call("GET", "feedback", epoch=1, segment=1))
    seen = sum(row[arm]["units"] for row in told["rows"] for arm in ARMS.values())
    return told["rows"] if seen == units else None


async def test_marks_count_for_the_arm_and_the_slice_whichever_worker_served_and_dies() -> None:
    async with data_plane(settings=RECEIPTS) as plane:
        await split_open(plane)
        receipts: dict[str, str] = {}
        wrong = Counter[tuple[int, str]]()
        async with callers_of_all(plane) as callers:
            for name, caller in callers.items():
                for unit in (f"{name}-{n}" for n in range(UNITS)):
                    answer = await caller.ask(unit)
                    receipts[unit] = answer.headers[HEADER]
                    read = decoded(receipts[unit])
                    assert read is not None
                    assert answer.by is not None
                    wrong[read[0].i, ARMS[answer.by]] += 1
            killed = callers["worker-1"].pid
            os.kill(killed, signal.SIGKILL)
        await eventually(lambda: true(killed not in plane.gateway.workers().values()))

        told = [await say(plane, unit=unit, receipt=receipts[unit]) for unit in receipts]
        again = accepted(await say(plane, unit="worker-0-0", receipt=receipts["worker-0-0"]))
        stolen, _ = await say(plane, unit="worker-0-1", receipt=receipts["worker-1-1"])
        rows = await eventually(lambda: sealed(plane, len(receipts)))

        assert all(accepted(one) == {"counted": True, "why": None} for one in told)
        assert again == {"counted": False, "why": "again"}
        assert stolen == 422
        assert {arm for _, arm in wrong} == set(ARMS.values())
        seen = {(row["i"], arm): row[arm]["wrong"] for row in rows for arm in ARMS.values()}
        assert {place: count for place, count in seen.items() if count} == wrong


@pytest.mark.parametrize(
    ("settings", "next_step"),
    [
        (RECEIPTS, "Next: send the answer's x-rampway-receipt as `receipt`"),
        ("processes = 2\n", "Next: set feedback.receipts = true, restart, and send"),
    ],
)
async def test_feedback_by_request_id_is_refused_and_the_next_step_is_named(
    settings: str, next_step: str
) -> None:
    async with data_plane(settings=settings) as plane:
        await split_open(plane)
        async with callers_of_all(plane) as callers:
            for caller in callers.values():
                await caller.ask("u1")

        for named in ({"request_id": "u1"}, {"unit": "u1"}):
            status, told = await say(plane, **named)

            assert (status, told["error"]) == (422, "bad_input")
            assert "several processes remembers no request ids" in told["why"]
            assert next_step in told["why"]
