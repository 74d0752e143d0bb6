"""When it is answered that a unit is forgotten, no worker holds a line of it that is still to be written."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest
from worker_connections import callers_of_all

from rampway.gateway.assignment import Split
from support.gateway_process import TARGET, DataPlane, accepted, data_plane, eventually, true

KEEP = '[units]\nheaders = ["x-user-id"]\n[capture]\nanswers = true\n'
# A body that is too large to be copied leaves its line in the spool at once.
NO_COPIES = "[shadow]\nbody_bytes = 1\n"
SEVERAL = f"processes = 2\n{KEEP}{NO_COPIES}"
BODY = b'{"kept": "by name"}'
ASKED = 45


async def shadowed(plane: DataPlane) -> None:
    await plane.admin.register()
    token = await plane.admin.claim()
    await plane.admin.shadow(token, 1, 10_000)


async def forget(plane: DataPlane, unit: str = "alice") -> int:
    """How many lines were erased."""
    return int(accepted(await plane.admin.call("POST", "forget", {"unit": unit}))["lines"])


def pseudonym(plane: DataPlane, unit: str) -> bytes:
    stored = (plane.gateway.state_dir / "state.json").read_bytes().partition(b"\n")[2]
    salt = json.loads(stored)["targets"][TARGET]["claim"]["salt"]
    split = Split(salt=bytes.fromhex(salt), release="r1", share_bp=0, shadow_bp=0)
    return split.pseudonym(unit.encode()).encode()


def written(plane: DataPlane) -> bytes:
    """All that is in the files of the gateway."""
    return b"".join(p.read_bytes() for p in plane.gateway.state_dir.glob("*.jsonl*"))


def lines(plane: DataPlane, kind: str) -> list[dict[str, Any]]:
    return [x for x in plane.gateway.lines(f"spool-{TARGET}.jsonl") if x["kind"] == kind]


async def test_nothing_of_a_unit_is_left_that_every_worker_has_just_served() -> None:
    async with data_plane(settings=SEVERAL) as plane:
        await shadowed(plane)
        async with callers_of_all(plane) as callers:
            for caller in callers.values():
                for user in ("alice", "bob"):
                    await caller.ask(f"{user} {caller.pid}", x_user_id=user, body=BODY)

            erased = await forget(plane)

            left = written(plane)
            assert pseudonym(plane, "alice") not in left
            assert erased == 3 * len(callers)  # of traffic, answers and spool
            assert left.count(pseudonym(plane, "bob")) == 3 * len(callers)
            assert await forget(plane) == 0


async def test_a_worker_that_has_just_begun_is_asked_too() -> None:
    async with data_plane(settings=SEVERAL) as plane:
        await shadowed(plane)
        before = set(plane.gateway.workers().values())
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: true(not before & set(plane.gateway.workers().values())))

        async with callers_of_all(plane) as callers:
            for caller in callers.values():
                await caller.ask(x_user_id="alice", body=BODY)
            erased = await forget(plane)

        assert erased == 3 * len(callers)
        assert pseudonym(plane, "alice") not in written(plane)


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
async def test_it_is_not_answered_while_a_worker_that_stands_still_may_hold_lines(
    end: signal.Signals,
) -> None:
    async with data_plane(settings=SEVERAL) as plane:
        await shadowed(plane)
        async with callers_of_all(plane) as callers:
            stopped = callers["worker-1"]
            await stopped.ask(x_user_id="alice", body=BODY)
            os.kill(stopped.pid, signal.SIGSTOP)
            await callers["worker-0"].ask(x_user_id="alice", body=BODY)

            forgetting = asyncio.create_task(forget(plane))
            await eventually(lambda: true(written(plane).count(pseudonym(plane, "alice")) >= 3))
            assert not forgetting.done()
            os.kill(stopped.pid, end)

            erased = await forgetting
            # Lines that a killed worker had not written are gone with it.
            assert erased == 6 if end is signal.SIGCONT else erased in {3, 4, 5, 6}
        assert pseudonym(plane, "alice") not in written(plane)
        assert await forget(plane) == 0


@pytest.mark.parametrize("processes", [1, 2])
async def test_answers_that_are_held_for_the_judge_are_forgotten_before_they_are_written(
    processes: int,
) -> None:
    settings = f"processes = {processes}\n{KEEP}[judged]\nper_second = 1000.0\n"
    async with data_plane(settings=settings) as plane:
        await plane.admin.register(slice_seconds=3.0, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)

        async def ask(unit: str) -> str:
            fields = {"x-user-id": unit, "connection": "close"}
            async with plane.http.post(plane.url(), json={"said": unit}, headers=fields) as answer:
                return str((await answer.json())["by"])

        units = [f"user-{n}" for n in range(ASKED)]
        by = dict(zip(units, await asyncio.gather(*map(ask, units)), strict=True))
        exposed = [unit for unit in units if by[unit] == "b"]
        who, other = exposed[:2]
        assert not lines(plane, "drawn"), "the machine is too slow for this test"
        await forget(plane, who)

        async def all_judged() -> list[dict[str, Any]] | None:
            marks, answers = lines(plane, "drawn"), lines(plane, "answer")
            drawn = sum(mark["candidate"] + mark["baseline"] for mark in marks)
            return answers if drawn and len(answers) == drawn else None

        answers = await eventually(all_judged)
        left = written(plane)
        assert pseudonym(plane, who) not in left
        assert f'"{who}"'.encode() not in left
        assert pseudonym(plane, other) in left
        [forgotten] = [line for line in answers if line["missing"] == "forgotten"]
        assert (forgotten["arm"], forgotten["answer"]) == ("candidate", None)
        assert sum(line["arm"] == "candidate" for line in answers) == len(exposed)
        assert await forget(plane, who) == 0
