"""Settings are read again while the gateway serves: whole or not at all, and nobody in flight is cut off."""

import asyncio
import os
import signal

from aiohttp import web
from settings_files import reload, urls_of, write_settings

from support.gateway_process import (
    CANDIDATE,
    Heard,
    accepted,
    data_plane,
    eventually,
    scripted_upstream,
    served,
    true,
)


async def test_requests_go_to_the_new_address_and_those_in_flight_end_at_the_old() -> None:
    held = asyncio.Event()

    async def waits(_heard: Heard) -> web.StreamResponse:
        await held.wait()
        return web.json_response({"by": "a"})

    async with data_plane(a=waits) as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        before = asyncio.create_task(plane.ask("u1"))
        await eventually(lambda: true(plane.a.heard))

        write_settings(plane, urls_of(plane, a=new.url))
        told = accepted(await reload(plane))
        after = await plane.ask("u2")
        held.set()

        assert told["replaced"] == ["a"]
        assert (told["added"], told["removed"], told["needs_restart"]) == ([], [], [])
        assert after == {"status": 200, "by": "new"}
        assert await before == {"status": 200, "by": "a"}


async def test_new_credentials_are_sent_from_then_on_and_a_signal_reloads_too() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        await plane.ask("u1")

        header = 'headers = { Authorization = "Bearer new" }'
        write_settings(plane, urls_of(plane), headers=header)
        os.kill(plane.gateway.pid, signal.SIGHUP)

        async def sent() -> bool:
            await plane.ask("u2")
            return plane.a.heard[-1].headers.get("Authorization") == "Bearer new"

        await eventually(sent)
        assert "Authorization" not in plane.a.heard[0].headers


async def test_a_file_that_is_wrong_changes_nothing_and_says_what_is_wrong() -> None:
    async with data_plane() as plane, scripted_upstream("new") as new:
        await plane.admin.register()

        write_settings(plane, urls_of(plane, a=new.url), more="no_such_key = 1")
        status, told = await reload(plane)
        os.kill(plane.gateway.pid, signal.SIGHUP)
        await eventually(lambda: true("settings.not_reloaded" in plane.gateway.log()))
        (plane.gateway.directory / "gateway.toml").write_text("= broken")
        broken, _ = await reload(plane)

        assert (status, broken) == (422, 422)
        assert told["error"] == "bad_input"
        assert "no_such_key" in told["why"]
        assert await plane.ask("u1") == {"status": 200, "by": "a"}


async def test_an_upstream_that_a_split_uses_is_not_removed() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        without_b = {name: url for name, url in urls_of(plane).items() if name != "b"}

        write_settings(plane, without_b)
        refused = await reload(plane)
        accepted(await plane.admin.write("end", token, 1, ending="rolled_back"))
        told = accepted(await reload(plane))
        claimed = await plane.admin.try_claim("r2")
        write_settings(plane, {name: url for name, url in without_b.items() if name != "a"})
        baseline = await reload(plane)

        assert refused[0] == baseline[0] == 422
        assert "'b' serves tutor" in refused[1]["why"]
        assert "'a' serves tutor" in baseline[1]["why"]
        assert told["removed"] == ["b"]
        assert (claimed[0], claimed[1]["error"]) == (422, "unknown")


async def test_an_added_upstream_can_be_claimed_at_once() -> None:
    async with data_plane() as plane, scripted_upstream("c") as c:
        await plane.admin.register()
        candidate = served(CANDIDATE, "c")
        before, _ = await plane.admin.try_claim(candidate=candidate)

        write_settings(plane, urls_of(plane, c=c.url))
        told = accepted(await reload(plane))
        token = await plane.admin.claim(candidate=candidate)
        await plane.admin.share(token, 1, 10_000)

        assert before == 422
        assert told["added"] == ["c"]
        assert (await plane.ask("u1"))["by"] == "c"


async def test_limits_apply_at_once_and_what_needs_a_restart_is_named() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        more = "[units]\nheaders = ['x-user']\n"
        more += "[limits]\nrequest_body_bytes = 5\nunits_remembered = 9\n"

        write_settings(plane, urls_of(plane), more=f"{more}[shadow]\nconnections = 3\n")
        told = accepted(await reload(plane))
        again = accepted(await reload(plane))
        async with plane.http.post(plane.url(), data=b"123456") as answer:
            status = answer.status

        assert told["applied"] == ["limits.request_body_bytes"]
        assert told["needs_restart"] == [
            "units.headers",
            "limits.units_remembered",
            "shadow.connections",
        ]
        assert (again["applied"], again["needs_restart"]) == ([], told["needs_restart"])
        assert status == 413


async def test_copies_go_on_to_a_candidate_whose_address_changed() -> None:
    async with data_plane() as plane, scripted_upstream("new") as new:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        await plane.ask("u1")
        await eventually(lambda: true(plane.b.copies))

        write_settings(plane, urls_of(plane, b=new.url))
        accepted(await reload(plane))
        await plane.ask("u2")

        await eventually(lambda: true(new.copies))
        assert len(plane.b.copies) == 1
        assert "copy.failed" not in plane.gateway.log()
