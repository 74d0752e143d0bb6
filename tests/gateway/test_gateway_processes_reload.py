"""Settings are read again by all processes as by one: when it is answered, no worker is left behind."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from settings_files import reload, urls_of, write_settings
from worker_connections import answered_by_all, callers_of_all

from rampway.gateway.hands import OBEY_SECONDS_MAX
from rampway.gateway.slots import SlotFile
from support.gateway_process import (
    CANDIDATE,
    DataPlane,
    accepted,
    data_plane,
    eventually,
    scripted_upstream,
    served,
    true,
)

PROCESSES = "processes = 2"
SLACK_SECONDS = 1.0  # of a machine that others use too
WORKERS = {"worker-0", "worker-1"}


@asynccontextmanager
async def two_workers() -> AsyncGenerator[DataPlane]:
    async with data_plane(settings=PROCESSES) as plane:
        yield plane


def all_by(name: str) -> dict[str, str]:
    return dict.fromkeys(WORKERS, name)


async def test_an_added_upstream_can_be_used_by_every_worker_when_it_is_answered() -> None:
    async with two_workers() as plane, scripted_upstream("c") as c:
        await plane.admin.register()
        candidate = served(CANDIDATE, "c")
        before, _ = await plane.admin.try_claim(candidate=candidate)
        async with callers_of_all(plane) as callers:
            write_settings(plane, urls_of(plane, c=c.url), more=PROCESSES)
            told = accepted(await reload(plane))
            token = await plane.admin.claim(candidate=candidate)
            await plane.admin.share(token, 1, 10_000)

            assert before == 422
            assert told == {
                "added": ["c"],
                "replaced": [],
                "removed": [],
                "applied": [],
                "needs_restart": [],
            }
            assert {n: (await one.ask()).by for n, one in callers.items()} == all_by("c")
            assert {name: one.pid for name, one in callers.items()} == plane.gateway.workers()


async def test_a_signal_reloads_all_workers_and_limits_hold_in_each() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        more = f"{PROCESSES}\n[limits]\nrequest_body_bytes = 5\n[shadow]\nconnections = 3\n"

        async with callers_of_all(plane) as callers:
            write_settings(plane, urls_of(plane, a=new.url), more=more)
            os.kill(plane.gateway.pid, signal.SIGHUP)
            await eventually(lambda: true("settings.reloaded" in plane.gateway.log()))

            assert {n: (await one.ask()).by for n, one in callers.items()} == all_by("new")
            assert {(await one.ask(body=b"123456")).status for one in callers.values()} == {413}
        told = accepted(await reload(plane))
        assert (told["applied"], told["replaced"]) == ([], [])
        assert told["needs_restart"] == ["shadow.connections"]


async def test_a_signal_to_the_whole_process_group_ends_no_worker() -> None:
    async with two_workers() as plane:
        await plane.admin.register()
        workers = plane.gateway.workers()

        for pid in (*workers.values(), plane.gateway.pid):
            os.kill(pid, signal.SIGHUP)
        await eventually(lambda: true("settings.reloaded" in plane.gateway.log()))

        assert await answered_by_all(plane) == all_by("a")
        assert plane.gateway.workers() == workers


async def test_under_load_no_request_fails_while_settings_are_reloaded() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        workers = plane.gateway.workers()
        told = Counter[str]()

        async def load(caller: int) -> None:
            n = 0
            while True:
                n += 1
                fields = {"x-request-id": f"{caller}-{n}"}
                if n % 2:
                    fields["connection"] = "close"
                async with plane.http.post(plane.url(), json={}, headers=fields) as answer:
                    told[f"{answer.status} {(await answer.json()).get('by')}"] += 1

        tasks = [asyncio.create_task(load(caller)) for caller in range(8)]
        for n in range(10):
            before = told.total()
            url = new.url if n % 2 == 0 else plane.a.url
            write_settings(plane, urls_of(plane, a=url), more=PROCESSES)
            assert accepted(await reload(plane))["replaced"] == ["a"]
            await eventually(lambda least=before: true(told.total() > least + 50))
        for task in tasks:
            assert not task.done(), task.exception()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        assert told.keys() == {"200 a", "200 b", "200 new"}
        assert plane.gateway.workers() == workers


async def test_a_worker_that_stands_still_is_replaced_by_one_with_the_new_settings() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        workers = plane.gateway.workers()
        os.kill(workers["worker-1"], signal.SIGSTOP)
        write_settings(plane, urls_of(plane, a=new.url), more=PROCESSES)
        began = time.monotonic()

        told = accepted(await reload(plane))
        took = time.monotonic() - began

        assert told["replaced"] == ["a"]
        assert OBEY_SECONDS_MAX <= took < OBEY_SECONDS_MAX + SLACK_SECONDS
        assert "worker.disobeyed" in plane.gateway.log()
        assert await answered_by_all(plane) == all_by("new")
        assert plane.gateway.workers()["worker-0"] == workers["worker-0"]
        assert plane.gateway.workers()["worker-1"] != workers["worker-1"]


async def test_a_lowering_acts_while_a_reload_waits_for_a_worker() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)
        async with callers_of_all(plane) as callers:
            caller = callers["worker-0"]
            os.kill(callers["worker-1"].pid, signal.SIGSTOP)
            write_settings(plane, urls_of(plane, a=new.url), more=PROCESSES)
            reloading = asyncio.create_task(reload(plane))
            await eventually(lambda: in_the_middle(plane))
            before = (await caller.ask()).by

            pinning = asyncio.create_task(plane.admin.write("pin", token, 1, cause="breach"))

            async def is_down() -> bool:
                return (await caller.ask()).by == "new"

            await eventually(is_down)
            assert not reloading.done()
            assert before == "b"
            accepted(await reloading)
            assert accepted(await pinning)["share_bp"] == 0


async def test_a_worker_that_is_killed_in_the_middle_holds_nobody_up() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        pid = plane.gateway.workers()["worker-1"]
        os.kill(pid, signal.SIGSTOP)  # so that it is not done before it is killed
        write_settings(plane, urls_of(plane, a=new.url), more=PROCESSES)
        began = time.monotonic()
        reloading = asyncio.create_task(reload(plane))
        await eventually(lambda: in_the_middle(plane))

        os.kill(pid, signal.SIGKILL)
        told = accepted(await reloading)

        assert told["replaced"] == ["a"]
        assert time.monotonic() - began < OBEY_SECONDS_MAX
        assert "worker.disobeyed" not in plane.gateway.log()
        assert await answered_by_all(plane) == all_by("new")


async def test_a_worker_that_starts_meanwhile_serves_nobody_by_the_old_settings() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        write_settings(plane, urls_of(plane, a=new.url), more=PROCESSES)
        before = plane.gateway.workers()["worker-1"]

        os.kill(before, signal.SIGKILL)

        async def has_begun() -> bool:
            return begun(plane, "worker-1") not in {None, before}

        await eventually(has_begun)
        assert "worker-1" not in plane.gateway.workers()  # it has its first order, and is not ready
        accepted(await reload(plane))

        assert await answered_by_all(plane) == all_by("new")
        assert '"code": 1' not in plane.gateway.log()  # no order was misread


async def test_a_worker_that_is_started_later_has_the_new_settings() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        more = f"{PROCESSES}\n[limits]\nrequest_body_bytes = 5\nunits_remembered = 9\n"
        write_settings(plane, urls_of(plane, a=new.url), more=more)
        told = accepted(await reload(plane))
        before = plane.gateway.workers()

        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: true(not set(before.values()) & all_pids(plane)))

        assert told["needs_restart"] == ["limits.units_remembered"]
        async with callers_of_all(plane) as callers:
            assert {n: (await one.ask()).by for n, one in callers.items()} == all_by("new")
            assert {(await one.ask(body=b"123456")).status for one in callers.values()} == {413}


async def test_a_file_that_is_wrong_changes_nothing_in_any_worker() -> None:
    async with two_workers() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        before = plane.gateway.workers()

        write_settings(plane, urls_of(plane, a=new.url), more=f"{PROCESSES}\nno_such_key = 1")
        status, told = await reload(plane)
        by_all = await answered_by_all(plane)
        os.kill(before["worker-1"], signal.SIGKILL)
        await eventually(lambda: true(before["worker-1"] not in all_pids(plane)))

        assert (status, told["error"]) == (422, "bad_input")
        assert "no_such_key" in told["why"]
        assert by_all == all_by("a")
        assert await answered_by_all(plane) == all_by("a")


async def test_an_upstream_in_use_is_not_removed_and_one_that_is_gone_cannot_be_claimed() -> None:
    async with two_workers() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 10_000)
        without_b = {name: url for name, url in urls_of(plane).items() if name != "b"}

        write_settings(plane, without_b, more=PROCESSES)
        refused = await reload(plane)
        still = await answered_by_all(plane)
        accepted(await plane.admin.write("end", token, 1, ending="rolled_back"))
        told = accepted(await reload(plane))
        claimed = await plane.admin.try_claim("r2")

        assert refused[0] == 422
        assert "'b' serves tutor" in refused[1]["why"]
        assert still == all_by("b")
        assert told["removed"] == ["b"]
        assert (claimed[0], claimed[1]["error"]) == (422, "unknown")
        assert await answered_by_all(plane) == all_by("a")


def all_pids(plane: DataPlane) -> set[int]:
    return set(plane.gateway.workers().values())


async def in_the_middle(plane: DataPlane) -> bool:
    """Has worker-0 taken up the second order?"""
    [run] = plane.gateway.state_dir.glob("runs/*/slots")
    return SlotFile(run)[0].order == 2


def begun(plane: DataPlane, worker: str) -> int | None:
    """The process of a worker, however far it has come (proc(5))."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            parent = (path.parent / "stat").read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        is_ours = b"rampway.gateway.workerprocess" in words and int(parent) == plane.gateway.pid
        if is_ours and words[3] == worker.removeprefix("worker-").encode():
            return int(path.parent.name)
    return None
