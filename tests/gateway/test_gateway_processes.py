"""Several processes are one gateway: one share, one count of each unit, whoever of them is stopped or killed."""

import asyncio
import json
import mmap
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rampway.gateway.assignment import Split
from support.gateway_process import (
    BASELINE,
    TARGET,
    Answer,
    DataPlane,
    Heard,
    accepted,
    data_plane,
    eventually,
    served,
    true,
)

WORKERS = 2
CONNECTIONS = 40  # over two workers: that one of them gets none has a chance below 1e-11
PROPAGATION_SECONDS = 0.5
SLACK_SECONDS = 1.0  # of a machine that others use too


@asynccontextmanager
async def processes(*, settings: str = "", a: Answer | None = None) -> AsyncGenerator[DataPlane]:
    async with data_plane(settings=f"processes = {WORKERS}\n{settings}", a=a) as plane:
        yield plane


async def ask_anew(plane: DataPlane, unit: str, **fields: object) -> str:
    """Who answers a request on a connection of its own, so that any worker may get it."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(plane.url(), json=fields, headers={"x-request-id": unit}) as answer,
    ):
        return str((await answer.json())["by"])


async def ask_all(plane: DataPlane, *units: str) -> Counter[str]:
    """Who answers each unit over so many connections that all workers are asked.

    First once, for two workers that meet a new unit in the same microsecond may both count it.
    """
    first = [await ask_anew(plane, unit) for unit in units]
    asked = (ask_anew(plane, unit) for unit in units for _ in range(CONNECTIONS - 1))
    return Counter([*first, *await asyncio.gather(*asked)])


@asynccontextmanager
async def kept_connections() -> AsyncGenerator[list[aiohttp.ClientSession]]:
    """Connections that stay with their worker, to all workers."""
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(aiohttp.ClientSession()) for _ in range(CONNECTIONS)
        ]
        yield sessions


async def ask_kept(plane: DataPlane, sessions: list[aiohttp.ClientSession]) -> Counter[str]:
    async def ask(http: aiohttp.ClientSession) -> str:
        async with http.post(plane.url(), headers={"x-request-id": "u"}) as answer:
            return str((await answer.json())["by"])

    return Counter(await asyncio.gather(*map(ask, sessions)))


async def sealed_units(plane: DataPlane, epoch: int, segment: int, *, past: float) -> int:
    """The units of all sealed slices, when those that ran at wall time `past` are sealed too."""

    async def sealed() -> dict[str, Any] | None:
        told: dict[str, Any] = await plane.admin.slices(epoch, segment)
        end = told["began_at"] + told["full"]["sealed"] * told["slice_seconds"]
        return told if end > past else None

    rows = (await eventually(sealed))["full"]["rows"]
    assert [row["i"] for row in rows] == list(range(len(rows)))
    for row in rows:
        for arm in ("baseline", "candidate"):
            assert sum(row[arm]["latency"].values()) == row[arm]["units"]
    return sum(row[arm]["units"] for row in rows for arm in ("baseline", "candidate"))


def stop_worker(plane: DataPlane, name: str) -> int:
    pid = plane.gateway.workers()[name]
    os.kill(pid, signal.SIGSTOP)
    return pid


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_write_is_in_force_in_all_workers_when_it_is_answered() -> None:
    async with processes() as plane, kept_connections() as sessions:
        await plane.admin.register()
        token = await plane.admin.claim()
        assert await ask_kept(plane, sessions) == {"a": CONNECTIONS}

        for sequence in range(1, 6):
            raised = await plane.admin.share(token, sequence * 2, 10_000)
            assert await ask_kept(plane, sessions) == {"b": CONNECTIONS}
            lowered = await plane.admin.share(token, sequence * 2 + 1, 0)
            assert await ask_kept(plane, sessions) == {"a": CONNECTIONS}

            for seen in (raised, lowered):
                assert (seen["applied_by_every_instance"], seen["laggards"]) == (True, [])
                assert seen["instances"] == WORKERS


async def test_a_worker_that_stands_still_is_named_until_it_goes_on() -> None:
    async with processes() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 100)
        pid = stop_worker(plane, "worker-1")

        began = time.monotonic()
        seen = accepted(await plane.admin.write("pin", token, 1, cause="breach"))
        took = time.monotonic() - began

        assert (seen["applied_by_every_instance"], seen["laggards"]) == (False, ["worker-1"])
        assert seen["share_bp"] == 0
        assert PROPAGATION_SECONDS <= took < PROPAGATION_SECONDS + SLACK_SECONDS
        assert not (await plane.admin.observe())["applied_by_every_instance"]
        os.kill(pid, signal.SIGCONT)

        async def applied() -> bool:
            return bool((await plane.admin.observe())["applied_by_every_instance"])

        await eventually(applied)
        assert (await plane.admin.observe())["laggards"] == []


async def test_a_silent_worker_makes_the_answer_false_until_it_is_replaced() -> None:
    async with processes() as plane:
        await plane.admin.register()
        pid = stop_worker(plane, "worker-0")

        async def silent() -> bool:
            return (await plane.admin.observe())["laggards"] == ["worker-0"]

        await eventually(silent)  # though nothing was written
        os.kill(pid, signal.SIGKILL)

        async def replaced() -> bool:
            seen = await plane.admin.observe()
            return (seen["applied_by_every_instance"], seen["instances"]) == (True, WORKERS)

        await eventually(replaced)
        assert plane.gateway.workers()["worker-0"] != pid


async def test_a_kill_of_workers_under_load_fails_no_new_connection_and_loses_no_count() -> None:
    async with processes() as plane:
        await plane.admin.register(slice_seconds=0.5, timeout_seconds=0.5)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        ended = Counter[str]()

        async def load(caller: int) -> None:
            n = 0
            while True:
                n += 1
                try:
                    await ask_anew(plane, f"{caller}-{n}")
                except aiohttp.ClientConnectorError:
                    ended["refused"] += 1
                except (aiohttp.ClientError, OSError):
                    ended["broken"] += 1
                else:
                    ended["answered"] += 1

        tasks = [asyncio.create_task(load(caller)) for caller in range(6)]
        for _ in range(3):
            before = ended["answered"]
            await eventually(lambda least=before: true(ended["answered"] > least + 50))
            workers = plane.gateway.workers()
            os.kill(workers["worker-1"], signal.SIGKILL)

            async def replaced(pid: int = workers["worker-1"]) -> bool:
                return plane.gateway.workers().get("worker-1", pid) != pid

            await eventually(replaced)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        asked = ended["answered"] + ended["broken"] + len(tasks)  # the last of each was given up

        units = await sealed_units(plane, 1, 1, past=time.time())
        assert ended["refused"] == 0
        assert ended["answered"] <= units <= asked
        assert ended["broken"] <= 3 * len(tasks)


async def test_what_a_killed_worker_had_begun_counts_as_unfinished() -> None:
    async def hangs(_heard: Heard) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async with processes(a=hangs) as plane:
        await plane.admin.register(slice_seconds=0.5, fast_seconds=0.2, timeout_seconds=1.0)
        asked = [asyncio.create_task(ask_anew(plane, f"u{n}")) for n in range(CONNECTIONS)]
        await eventually(lambda: true(len(plane.a.heard) == CONNECTIONS))

        for pid in plane.gateway.workers().values():
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*asked, return_exceptions=True)

        assert await sealed_units(plane, 0, 0, past=time.time()) == CONNECTIONS
        rows = (await plane.admin.slices(0, 0))["full"]["rows"]
        assert sum(row["baseline"]["late"] for row in rows) == CONNECTIONS
        assert sum(row["baseline"]["kinds"].get("timeout", 0) for row in rows) == CONNECTIONS


async def test_without_a_supervisor_workers_go_back_to_the_baseline_when_the_lease_ends() -> None:
    async with processes(settings=f"data_port = {free_port()}") as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        ttl = {"ttl_seconds": 2.0}
        accepted(await plane.admin.write("share", token, 1, share_bp=10_000, **ttl))
        written = time.monotonic()

        plane.gateway.kill()

        assert await ask_all(plane, "u") == {"b": CONNECTIONS}
        assert time.monotonic() < written + 2.0, "the machine is too slow for this test"
        await asyncio.sleep(max(0.0, written + 2.0 - time.monotonic()))
        assert await ask_all(plane, "u") == {"a": CONNECTIONS}

        plane.gateway.start()

        seen = await plane.admin.observe()
        assert (seen["share_bp"], seen["pinned_by"]["cause"]) == (0, "lease_expired")
        assert await ask_all(plane, "u") == {"a": CONNECTIONS}


async def test_a_new_supervisor_takes_over_without_refusing_anybody_and_the_old_workers_end() -> (
    None
):
    async with processes(settings=f"data_port = {free_port()}") as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        old = plane.gateway.workers().values()
        units = [f"u{n}" for n in range(20)]
        before = {unit: await ask_anew(plane, unit) for unit in units}
        arms = {unit: {arm} for unit, arm in before.items()}

        async def keep_asking() -> None:
            while True:
                for unit in units:
                    arms[unit].add(await ask_anew(plane, unit))

        asking = asyncio.create_task(keep_asking())
        plane.gateway.kill()
        await asyncio.to_thread(plane.gateway.start)
        seen = await plane.admin.observe()
        await eventually(lambda: true(not any(is_running(pid) for pid in old)))

        assert not asking.done(), asking.exception()
        asking.cancel()
        assert (seen["share_bp"], seen["instances"]) == (5_000, WORKERS)
        assert seen["applied_by_every_instance"]
        assert all(arms[unit] <= {arm, "a"} for unit, arm in before.items())
        assert {unit: await ask_anew(plane, unit) for unit in units} == before
        assert len(list(plane.gateway.state_dir.glob("runs/*"))) == 1


async def test_workers_end_when_the_directory_is_gone_that_a_new_supervisor_would_look_into() -> (
    None
):
    async with processes() as plane:
        await plane.admin.register()
        workers = plane.gateway.workers().values()
        plane.gateway.kill()

        for run in plane.gateway.state_dir.glob("runs/*/table"):
            run.unlink()

        await eventually(lambda: true(not any(is_running(pid) for pid in workers)))


async def test_a_gateway_of_one_process_ends_the_workers_of_one_of_several() -> None:
    async with processes(settings=f"data_port = {free_port()}") as plane:
        await plane.admin.register()
        old = plane.gateway.workers().values()
        plane.gateway.kill()
        config = plane.gateway.directory / "gateway.toml"
        config.write_text(config.read_text().replace(f"processes = {WORKERS}", "processes = 1"))

        plane.gateway.start()

        assert await ask_all(plane, "u") == {"a": CONNECTIONS}
        await eventually(lambda: true(not any(is_running(pid) for pid in old)))
        assert (await plane.admin.observe())["instances"] == 1


async def test_nobody_is_served_by_a_candidate_beyond_the_share_that_was_approved() -> None:
    async with processes() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        approved = 0
        beyond: list[tuple[str, int, int]] = []
        stored = (plane.gateway.state_dir / "state.json").read_bytes().partition(b"\n")[2]
        salt = json.loads(stored)["targets"][TARGET]["claim"]["salt"]
        split = Split(salt=bytes.fromhex(salt), release="r1", share_bp=0, shadow_bp=0)
        asked = Counter[str]()

        async def load(caller: int) -> None:
            n = 0
            while True:
                n += 1
                unit, at_most = f"{caller}-{n}", approved
                with suppress(aiohttp.ClientError, OSError):
                    by = await ask_anew(plane, unit)
                    asked[by] += 1
                    point = split.point_bp(unit.encode())
                    if by == "b" and point >= max(at_most, approved):
                        beyond.append((unit, point, at_most))

        tasks = [asyncio.create_task(load(caller)) for caller in range(4)]
        for sequence, share_bp in enumerate((2_000, 5_000, 1_000, 9_000, 500), 1):
            raising = share_bp > approved
            approved = share_bp if raising else approved
            await plane.admin.share(token, sequence, share_bp)
            approved = share_bp
            before = asked.total()
            os.kill(plane.gateway.workers()["worker-0"], signal.SIGKILL)
            await eventually(lambda least=before: true(asked.total() > least + 60))
            await eventually(lambda: true(len(plane.gateway.workers()) == WORKERS))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert beyond == []
        assert min(asked["a"], asked["b"]) > 0


async def test_a_unit_has_one_arm_on_all_workers_and_counts_once() -> None:
    async with processes() as plane:
        await plane.admin.register(slice_seconds=0.5, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        units = [f"u{n}" for n in range(10)]

        for unit in units:
            first = await ask_anew(plane, unit)  # two that come at once may both be counted
            assert await ask_all(plane, unit) == {first: CONNECTIONS}

        assert await sealed_units(plane, 1, 1, past=time.time()) == len(units)


async def test_a_table_that_is_garbage_sends_everybody_to_the_baseline_until_it_is_written_anew() -> (
    None
):
    async with processes() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)
        assert await ask_all(plane, "u") == {"b": CONNECTIONS}

        os.kill(plane.gateway.pid, signal.SIGSTOP)
        [path] = plane.gateway.state_dir.glob("runs/*/table")
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as table:
            table[4_200:4_300] = b"\xff" * 100
            table[8:16] = (int.from_bytes(table[8:16], "little") + 2).to_bytes(8, "little")
        garbled = await ask_all(plane, "u")
        os.kill(plane.gateway.pid, signal.SIGCONT)

        assert garbled == {"a": CONNECTIONS}

        async def healed() -> bool:
            return await ask_all(plane, "u") == {"b": CONNECTIONS}

        await eventually(healed)
        assert "table.torn" in plane.gateway.log()


async def test_a_lease_ends_on_all_workers_without_a_request_and_is_recorded_once() -> None:
    async with processes() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        accepted(await plane.admin.write("share", token, 1, share_bp=10_000, ttl_seconds=0.5))

        async def expired() -> list[dict[str, Any]]:
            lines = plane.gateway.lines("splits.jsonl")
            return [line for line in lines if line["cause"] == "lease_expired"]

        assert len(await eventually(expired)) == 1
        assert await ask_all(plane, "u") == {"a": CONNECTIONS}
        seen = await plane.admin.observe()
        assert (seen["share_bp"], seen["applied_by_every_instance"]) == (0, True)
        assert await ask_all(plane, "v") == {"a": CONNECTIONS}
        units = await sealed_units(plane, 1, -2, past=time.time())
        assert units == 2


async def test_workers_let_go_of_a_segment_that_is_over_though_its_callers_stay() -> None:
    """Whoever keeps a connection open, to the gateway or from it, holds nothing of what went over it."""

    def segments() -> set[str]:
        maps = [Path(f"/proc/{pid}/maps") for pid in plane.gateway.workers().values()]
        lines = [line for told in maps for line in told.read_text().splitlines()]
        return {line.split()[5] for line in lines if "/segments/" in line}

    async with processes() as plane, kept_connections() as early, kept_connections() as late:
        await plane.admin.register()
        token = await plane.admin.claim()
        for sequence, sessions in enumerate([early, early, late], start=1):
            share_bp = 5_000 + sequence
            accepted(await plane.admin.write("share", token, sequence, share_bp=share_bp))
            for session in sessions:
                async with session.post(plane.url(), json={}) as answer:
                    await answer.read()

        await eventually(lambda: true(len(segments()) == 1))


async def test_a_target_whose_counts_would_not_fit_is_refused_with_the_rule() -> None:
    async with processes() as plane:
        body = {
            "slice_seconds": 0.1,
            "fast_seconds": 0.1,
            "timeout_seconds": 600.0,
            "baseline": served(BASELINE, "a"),
        }
        status, told = await plane.admin.call("PUT", body=body)

        assert (status, told["error"]) == (422, "bad_input")
        assert "Choose longer slices" in told["why"]


async def test_sigterm_lets_workers_finish_and_leaves_nothing_behind() -> None:
    async def slow(_heard: Heard) -> web.StreamResponse:
        await asyncio.sleep(0.7)
        return web.json_response({"by": "a"})

    async with processes(a=slow) as plane:
        await plane.admin.register(timeout_seconds=5.0)
        workers = plane.gateway.workers().values()
        asked = [asyncio.create_task(ask_anew(plane, f"u{n}")) for n in range(CONNECTIONS)]
        await eventually(lambda: true(len(plane.a.heard) == CONNECTIONS))

        assert await asyncio.to_thread(plane.gateway.stop) == 0

        assert Counter(await asyncio.gather(*asked)) == {"a": CONNECTIONS}
        assert not any(is_running(pid) for pid in workers)
        assert list(plane.gateway.state_dir.glob("runs/*")) == []


async def test_metrics_sum_all_workers_up_and_never_fall_when_one_is_killed() -> None:
    async with processes() as plane:
        await plane.admin.register()
        await ask_all(plane, "u")
        sample = f'requests_total{{target="{TARGET}",arm="baseline"}}'

        async def told() -> bool:
            return await plane.admin.metric(sample) == CONNECTIONS

        await eventually(told)
        os.kill(plane.gateway.workers()["worker-1"], signal.SIGKILL)
        await eventually(lambda: true("worker.ended" in plane.gateway.log()))

        assert await told()


@pytest.mark.parametrize("count", [0, 65])
def test_a_number_of_processes_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(AssertionError, match="processes"):
        asyncio.run(_start_with(count))


async def _start_with(count: int) -> None:
    async with data_plane(settings=f"processes = {count}"):
        pass
