"""The admin API as callers in any language see it, against the real process."""

import itertools
import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import rampway
from rampway.release.splits import Capabilities, Observed, Token
from support.gateway_process import (
    BASELINE,
    CANDIDATE,
    FAST,
    DataPlane,
    accepted,
    data_plane,
    eventually,
    gateway_process,
    served,
    true,
)

NUMBERS = itertools.count(1)
TOKEN = "a token of sixteen or more"


@pytest.fixture(scope="module", name="running", params=[1, 2], ids=["one-process", "two-processes"])
async def _running(request: pytest.FixtureRequest) -> AsyncGenerator[DataPlane]:
    async with data_plane(settings=f"processes = {request.param}") as plane:
        yield plane


@pytest.fixture
async def plane(running: DataPlane) -> DataPlane:
    """A registered target of its own for each test."""
    mine = running.on(f"target-{next(NUMBERS)}")
    await mine.admin.register()
    return mine


def refused(answer: tuple[int, Any], status: int, code: str) -> str:
    assert (answer[0], answer[1]["error"]) == (status, code), answer
    assert set(answer[1]) == {"error", "why"}
    assert answer[1]["why"]
    return str(answer[1]["why"])


async def test_every_answer_is_a_fact_of_the_traffic_port(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    written = [
        await plane.admin.shadow(token, 1, 3_000),
        await plane.admin.share(token, 2, 100),
        accepted(await plane.admin.write("renew", token, 2)),
        accepted(await plane.admin.write("pin", token, 2, cause="breach", why="errors")),
        accepted(await plane.admin.write("end", token, 3, ending="rolled_back")),
        await plane.admin.observe(),
    ]

    assert Token.model_validate(token).epoch == 1
    seen = [Observed.model_validate(one) for one in written]
    assert [(one.share_bp, one.shadow_bp, one.segment) for one in seen] == [
        (0, 3_000, 1),
        (100, 0, 2),
        (100, 0, 2),
        (0, 0, 2),
        (0, 0, 3),
        (0, 0, 3),
    ]
    assert all(one.applied_by_every_instance for one in seen)
    can = accepted(await plane.admin.call("GET", "capabilities"))
    assert Capabilities.model_validate(can).granularity_bp == 1
    assert plane.target in [
        one["target"] for one in accepted(await plane.admin.call("GET", "/v1/targets"))
    ]


@pytest.mark.parametrize("verb", ["share", "shadow", "renew", "pin", "end"])
async def test_a_write_of_an_epoch_that_is_over_is_409_fenced(plane: DataPlane, verb: str) -> None:
    fields: dict[str, dict[str, object]] = {
        "share": {"share_bp": 1},
        "shadow": {"rate_bp": 1},
        "renew": {},
        "pin": {"cause": "abort"},
        "end": {"ending": "rolled_back"},
    }
    first = await plane.admin.claim()
    accepted(await plane.admin.write("end", first, 1, ending="rolled_back"))
    await plane.admin.claim("r2")

    refused(await plane.admin.write(verb, first, 99, **fields[verb]), 409, "fenced")


async def test_busy_moved_pinned_and_unknown_are_told_apart(plane: DataPlane) -> None:
    token = await plane.admin.claim()

    assert "r1" in refused(await plane.admin.try_claim("r2"), 409, "busy")
    refused(
        await plane.admin.call("PUT", body={**FAST, "baseline": served(CANDIDATE, "b")}),
        409,
        "busy",
    )
    accepted(await plane.admin.write("pin", token, 0, cause="breach"))
    refused(await plane.admin.write("share", token, 5, share_bp=1), 409, "pinned")
    refused(await plane.admin.write("renew", token, 0), 409, "pinned")
    accepted(await plane.admin.write("end", token, 5, ending="rolled_back"))
    moved = await plane.admin.try_claim("r3", baseline=served(CANDIDATE, "b"))
    assert BASELINE in refused(moved, 409, "baseline_moved")
    nowhere = await plane.admin.try_claim("r3", candidate=served(CANDIDATE, "nowhere"))
    assert "a, b, gone" in refused(nowhere, 422, "unknown")
    other = plane.on("never-registered").admin
    for method, path in (("GET", ""), ("GET", "capabilities"), ("GET", "baseline")):
        refused(await other.call(method, path, last=1), 404, "unknown")
    refused(await other.try_claim(), 404, "unknown")
    refused(await plane.admin.call("GET", "slices", epoch=77, segment=0), 404, "unknown")


async def test_a_repeated_claim_and_a_repeated_write_get_the_same_answer(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    once = await plane.admin.share(token, 1, 100)

    assert await plane.admin.claim() == token
    again = await plane.admin.share(token, 1, 100)
    assert {**again, "lease_seconds": 0} == {**once, "lease_seconds": 0}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "baseline: Field required"),
        ({**FAST, "baseline": served(BASELINE, "a"), "colour": 1}, "colour: Extra inputs"),
        ({**FAST, "slice_seconds": "1", "baseline": served(BASELINE, "a")}, "slice_seconds"),
        ({**FAST, "slice_seconds": 0, "baseline": served(BASELINE, "a")}, "slice_seconds"),
        ([1], "body: Input should be"),
    ],
    ids=["empty", "unknown-key", "text-for-number", "zero", "list"],
)
async def test_bad_input_is_422_and_names_the_field(
    plane: DataPlane, body: object, told: str
) -> None:
    assert told in refused(await plane.admin.call("PUT", body=body), 422, "bad_input")


async def test_numbers_out_of_range_are_422(plane: DataPlane) -> None:
    token = await plane.admin.claim()

    for share_bp in (-1, 10_001, 1.5, None):
        answer = await plane.admin.write("share", token, 1, share_bp=share_bp)
        assert "share_bp" in refused(answer, 422, "bad_input")
    for ttl_seconds in (0, -1, 1e9):
        answer = await plane.admin.write("share", token, 1, share_bp=1, ttl_seconds=ttl_seconds)
        assert "ttl_seconds" in refused(answer, 422, "bad_input")
    for last in (0, -5):
        refused(await plane.admin.call("GET", "baseline", last=last), 422, "bad_input")
    elsewhere = {**token, "target": "elsewhere"}
    body = {"token": elsewhere, "share_bp": 1, "ttl_seconds": 1, "op_id": "x"}
    assert "the path for" in refused(
        await plane.admin.call("POST", "share", body), 422, "bad_input"
    )
    await plane.admin.share(token, 1, 100)
    stolen = await plane.admin.write("share", token, 2, share_bp=200, op_id="share/1")
    assert "already did" in refused(stolen, 422, "bad_input")


@pytest.mark.parametrize("name", ["-x", ".", "..", "a b", "x" * 65, "a%2Fb"])
async def test_a_name_that_is_no_target_name_is_not_registered(plane: DataPlane, name: str) -> None:
    body = {**FAST, "baseline": served(BASELINE, "a")}

    status, told = await plane.admin.call("PUT", f"/v1/targets/{name}", body)

    assert status in {404, 405, 422}, told


async def test_what_no_route_serves_is_json_too(plane: DataPlane) -> None:
    refused(await plane.admin.call("GET", "/nowhere"), 404, "http")
    refused(await plane.admin.call("DELETE"), 405, "http")


async def test_promotion_moves_the_baseline_and_may_be_undone_until_the_next_claim(
    plane: DataPlane,
) -> None:
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, 9_900)

    promoted = accepted(await plane.admin.write("end", token, 2, ending="promoted"))
    after = [(await plane.ask(f"p{n}"))["by"] for n in range(20)]
    undone = accepted(await plane.admin.write("end", token, 3, ending="rolled_back"))

    assert (promoted["baseline"], promoted["ended"]) == (CANDIDATE, "promoted")
    assert promoted["lease_seconds"] is None
    assert set(after) == {"b"}
    assert (undone["baseline"], undone["share_bp"]) == (BASELINE, 0)
    assert (await plane.ask("p0"))["by"] == "a"


async def test_a_pin_is_in_force_for_the_very_next_request(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, 10_000)
    assert (await plane.ask("u"))["by"] == "b"

    accepted(await plane.admin.write("pin", token, 1, cause="breach"))

    assert (await plane.ask("u"))["by"] == "a"


async def test_units_stay_with_the_candidate_while_the_share_climbs(plane: DataPlane) -> None:
    token, exposed = await plane.admin.claim(), set[int]()

    for sequence, share_bp in enumerate((100, 2_500, 5_000, 9_900), 1):
        await plane.admin.share(token, sequence, share_bp)
        now = {n for n in range(60) if (await plane.ask(f"unit-{n}"))["by"] == "b"}
        assert exposed <= now
        exposed = now

    assert len(exposed) > 50


async def test_a_lease_that_nobody_renews_decays_with_the_process_alone(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    accepted(await plane.admin.write("share", token, 1, share_bp=10_000, ttl_seconds=0.6))
    assert (await plane.ask())["by"] == "b"

    await eventually(lambda: true(_expired(plane)))

    assert (await plane.ask())["by"] == "a"
    seen = await plane.admin.observe()
    assert (seen["share_bp"], seen["pinned_by"]["cause"]) == (0, "lease_expired")
    refused(await plane.admin.write("share", token, 2, share_bp=1), 409, "lease_lost")
    refused(await plane.admin.write("renew", token, 1), 409, "lease_lost")
    accepted(await plane.admin.write("end", token, 2, ending="rolled_back"))


def _expired(plane: DataPlane) -> list[dict[str, Any]]:
    lines = plane.gateway.lines("splits.jsonl")
    return [
        line
        for line in lines
        if line["target"] == plane.target and line["cause"] == "lease_expired"
    ]


async def test_no_salt_leaves_the_gateway(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    told = [str(token), str(await plane.admin.share(token, 1, 100)), str(await plane.ask())]
    directory = plane.gateway.state_dir

    stored = (directory / "state.json").read_bytes().partition(b"\n")[2]
    salt = json.loads(stored)["targets"][plane.target]["claim"]["salt"]

    told += [
        one.read_text()
        for one in directory.iterdir()
        if one.is_file() and one.name != "state.json" and not one.name.startswith("salts-")
    ]  # those two need it themselves; mode 0600
    assert len(salt) == 64
    assert not any(salt in one for one in told)


async def test_metrics_tell_of_requests_writes_and_leases(plane: DataPlane) -> None:
    token = await plane.admin.claim()
    await plane.admin.share(token, 1, 10_000)
    for _ in range(3):
        await plane.ask()
    name = plane.target

    async def told() -> bool:
        sample = f'requests_total{{target="{name}",arm="candidate"}}'
        return await plane.admin.metric(sample) == 3

    await eventually(told)  # workers tell theirs once a second
    assert await plane.admin.metric(f'share_bp{{target="{name}"}}') == 10_000
    assert 0 < await plane.admin.metric(f'lease_seconds{{target="{name}"}}') <= 60
    assert await plane.admin.metric("writes_total") > 0


async def test_health_and_readiness_are_told(plane: DataPlane) -> None:
    assert await plane.admin.call("GET", "/healthz") == (200, {"ok": True})
    assert await plane.admin.call("GET", "/readyz") == (200, {"ready": True})


async def test_with_a_token_everything_but_healthz_needs_it() -> None:
    with gateway_process({"a": "http://127.0.0.1:1"}, token=TOKEN) as gateway:
        async with aiohttp.ClientSession() as http:
            for method, path in (
                ("GET", "/v1/targets"),
                ("PUT", "/v1/targets/t"),
                ("POST", "/v1/targets/t/pin"),
                ("GET", "/metrics"),
                ("GET", "/readyz"),
                ("GET", "/nowhere"),
            ):
                for header in ("", "Bearer wrong", "Basic " + TOKEN, "Bearer \u00ff"):
                    url = gateway.admin_url + path
                    async with http.request(
                        method, url, headers={"Authorization": header}
                    ) as answer:
                        assert answer.status == 401, (path, header)
            async with http.get(gateway.admin_url + "/healthz") as answer:
                assert answer.status == 200
            allowed = {"Authorization": f"Bearer {TOKEN}"}
            async with http.get(gateway.admin_url + "/v1/targets", headers=allowed) as answer:
                assert (answer.status, await answer.json()) == (200, [])
        assert TOKEN not in gateway.log()


def test_two_gateways_never_share_a_state_directory() -> None:
    with gateway_process({"a": "http://127.0.0.1:1"}) as gateway:
        second = subprocess.run(
            [sys.executable, "-m", "rampway.gateway"],
            env={
                "RAMPWAY_GATEWAY_CONFIG": str(gateway.directory / "gateway.toml"),
                "PYTHONPATH": str(Path(rampway.__file__).parents[1]),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    assert second.returncode == 2
    assert "in use by another gateway" in second.stderr
    assert "Traceback" not in second.stderr
