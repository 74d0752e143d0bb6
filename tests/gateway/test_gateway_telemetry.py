"""Spans, log lines and metrics of the real process, with a real collector at the other end."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from aiohttp import web

from rampway.gateway.tracing import parent_of
from support.gateway_process import (
    BASELINE,
    CANDIDATE,
    DataPlane,
    Heard,
    accepted,
    data_plane,
    eventually,
    gateway_process,
    served,
    true,
)

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", exc_type=ImportError)
from support.otlp_receiver import Received, Receiver, otlp_receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
SERVER, CLIENT = 2, 3


def spans_to(endpoint: str, more: str = "") -> str:
    return f'[telemetry]\nspans = "otlp"\nendpoint = "{endpoint}"\nservice_name = "edge"\n{more}'


async def got(receiver: Receiver, spans: int) -> list[Received]:
    await eventually(lambda: true(len(receiver.spans) >= spans))
    assert len(receiver.spans) == spans
    return receiver.spans


async def ask(
    plane: DataPlane, unit: str, *, path: str = "/v1/chat/completions", **fields: str
) -> dict[str, Any]:
    headers = {"x-request-id": unit, **fields}
    async with plane.http.post(plane.url(path), json={"model": "m0"}, headers=headers) as answer:
        return {"status": answer.status, "headers": dict(answer.headers), **await answer.json()}


async def test_a_requests_span_continues_the_callers_trace_and_names_its_arm() -> None:
    with otlp_receiver() as receiver:
        async with data_plane(settings=spans_to(receiver.endpoint)) as plane:
            await plane.admin.register()
            token = await plane.admin.claim(
                candidate=served(CANDIDATE, "b", fields={"model": "m1"})
            )
            await plane.admin.share(token, 1, 5_000)
            for n in range(20):
                await ask(plane, f"u{n}", **CALLER)
            spans = await got(receiver, 20)

            lines = plane.gateway.lines("traffic-tutor.jsonl")
            heard = [*plane.a.heard, *plane.b.heard]

    assert set(receiver.paths) == {"/v1/traces"}
    by_request = {one.attributes["rampway.request.id"]: one for one in spans}
    assert {one.trace_id for one in spans} == {TRACE}
    assert {one.parent for one in spans} == {SPAN}
    assert {one.kind for one in spans} == {SERVER}
    assert {one.resource["service.name"] for one in spans} == {"edge"}
    for line in lines:
        told = by_request[line["request_id"]].attributes
        assert told["traffic.arm"] == line["traffic.arm"] == line["arm"]
        assert told["feature_flag.context.id"] == line["unit"]
        assert line["trace_id"] == TRACE
    for one in heard:
        span = by_request[one.headers["x-request-id"]]
        assert parent_of(one.headers["traceparent"]) == (TRACE, span.span_id, 1)
        assert one.headers["tracestate"] == "vendor=1"
    candidate = next(one for one in spans if one.attributes["traffic.arm"] == "candidate")
    assert {name: candidate.attributes[name] for name in sorted(candidate.attributes)} == {
        "feature_flag.context.id": candidate.attributes["feature_flag.context.id"],
        "feature_flag.key": "tutor",
        "feature_flag.provider.name": "rampway",
        "feature_flag.result.reason": "split",
        "feature_flag.result.variant": "candidate",
        "feature_flag.set.id": "r1",
        "feature_flag.version": "1.1",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m1",
        "http.request.method": "POST",
        "http.response.body.size": 11,
        "http.response.status_code": 200,
        "rampway.artifact.digest": CANDIDATE,
        "rampway.epoch": 1,
        "rampway.release.id": "r1",
        "rampway.request.id": candidate.attributes["rampway.request.id"],
        "rampway.segment": 1,
        "rampway.shadow": False,
        "rampway.share_bp": 5_000,
        "rampway.target": "tutor",
        "traffic.arm": "candidate",
    }
    baseline = next(one for one in spans if one.attributes["traffic.arm"] == "baseline")
    assert baseline.attributes["gen_ai.request.model"] == "m0"
    assert baseline.attributes["rampway.artifact.digest"] == BASELINE


async def test_a_copys_span_is_in_the_callers_trace_marked_as_shadow_and_the_answer_is_the_same() -> (
    None
):
    async def fails(_heard: Heard) -> web.StreamResponse:
        return web.json_response({"by": "b"}, status=500)

    with otlp_receiver() as receiver:
        async with data_plane(b=fails, settings=spans_to(receiver.endpoint)) as plane:
            await plane.admin.register()
            before = await ask(plane, "u0", **CALLER)
            token = await plane.admin.claim()
            await plane.admin.shadow(token, 1, 10_000)
            during = await ask(plane, "u0", **CALLER)
            spans = await got(receiver, 3)
            [heard] = plane.b.heard
            errors = await plane.admin.metric('copy_errors_total{target="tutor",kind="status_500"}')
            copies = await plane.admin.metric('copies_total{target="tutor"}')
            timed = await plane.admin.metric('copy_seconds_count{target="tutor"}')

    assert before.pop("headers").keys() == during.pop("headers").keys()
    assert before == during == {"status": 200, "by": "a"}
    [copied] = [one for one in spans if one.attributes["rampway.shadow"]]
    requests = {one.span_id: one for one in spans if not one.attributes["rampway.shadow"]}
    assert copied.trace_id == TRACE
    assert copied.parent in requests
    assert parent_of(heard.headers["traceparent"]) == (TRACE, copied.span_id, 1)
    assert (copied.kind, copied.name, copied.is_error) == (CLIENT, "copy tutor", True)
    assert copied.attributes["traffic.arm"] == "candidate"
    assert copied.attributes["rampway.artifact.digest"] == CANDIDATE
    assert copied.attributes["error.type"] == "status_500"
    assert not any(one.is_error for one in requests.values())
    assert (errors, copies, timed) == (1, 1, 1)


async def test_failed_refused_and_abandoned_requests_say_so() -> None:
    async def as_told(heard: Heard) -> web.StreamResponse:
        told = heard.headers["x-request-id"]
        if told == "leaves":
            await asyncio.sleep(20)
        return web.json_response(
            {"refused": told == "refuses"}, status=503 if told == "503" else 200
        )

    with otlp_receiver() as receiver:
        async with data_plane(a=as_told, settings=spans_to(receiver.endpoint)) as plane:
            await plane.admin.register()
            await ask(plane, "503")
            await ask(plane, "refuses")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await ask(plane, "leaves")
            spans = {one.attributes["rampway.request.id"]: one for one in await got(receiver, 3)}

    failed, refused, left = spans["503"], spans["refuses"], spans["leaves"]
    assert (failed.is_error, failed.attributes["error.type"]) == (True, "status_503")
    assert (refused.is_error, [name for name, _ in refused.events]) == (
        False,
        ["gen_ai.evaluation.result"],
    )
    assert (left.is_error, left.attributes["rampway.aborted"]) == (False, True)
    assert left.ended_ns - left.began_ns > 0.2e9
    assert {one.attributes["feature_flag.result.reason"] for one in spans.values()} == {"default"}


async def test_a_request_that_is_not_sampled_passes_with_the_callers_own_trace() -> None:
    with otlp_receiver() as receiver:
        settings = spans_to(receiver.endpoint, "sample = 1e-9\n")
        async with data_plane(settings=settings) as plane:
            await plane.admin.register()
            await ask(plane, "u1", **CALLER)
            await ask(plane, "u2")
            first, second = plane.a.heard

    assert first.headers["traceparent"] == CALLER["traceparent"]
    assert "traceparent" not in second.headers
    assert receiver.spans == []


async def test_a_collector_that_hangs_slows_no_request_and_what_it_does_not_take_is_counted() -> (
    None
):
    with socket.create_server(("127.0.0.1", 0)) as hung:  # accepts, and never answers
        endpoint = f"http://127.0.0.1:{hung.getsockname()[1]}"
        async with data_plane(settings=spans_to(endpoint)) as plane, data_plane() as plain:
            for one in (plane, plain):
                await one.admin.register()
            took: dict[bool, list[float]] = {True: [], False: []}
            for n in range(400):
                for one in (plane, plain):
                    began = time.perf_counter()
                    assert (await one.ask(f"u{n}"))["status"] == 200
                    took[one is plane].append(time.perf_counter() - began)

            async def dropped() -> bool:
                name = 'spans_dropped_total{reason="undelivered"}'
                return await plane.admin.metric(name) > 0

            await eventually(dropped, seconds=30)
            assert await plane.admin.metric("spans_delivered_total") == 0
            assert '"spans.undelivered"' in plane.gateway.log()
            began = time.monotonic()
            assert plane.gateway.stop() == 0
            assert time.monotonic() - began < 10

    # Relative, for a busy machine; whoever waited for the collector would have waited 2 s.
    assert median(took[True]) < 1.5 * median(took[False]) + 0.001
    assert max(took[True]) < 1.5


async def test_without_the_library_the_gateway_says_what_to_install(
    tmp_path: Path,
) -> None:
    hidden = tmp_path / "opentelemetry"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("")  # in front of the real ones: it has none of them

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with (
            pytest.raises(AssertionError, match=r"install rampway\[telemetry\]"),
            gateway_process({"a": "http://127.0.0.1:1"}, settings=spans_to("http://127.0.0.1:1")),
        ):
            pass


async def test_late_answers_are_counted_beside_errors() -> None:
    async def as_told(heard: Heard) -> web.StreamResponse:
        told = heard.headers["x-request-id"]
        if told == "late":
            await asyncio.sleep(0.4)
        return web.json_response({"by": "a"}, status=500 if told != "fine" else 200)

    async with data_plane(a=as_told) as plane:
        await plane.admin.register()
        for unit in ("fine", "early", "late"):
            await ask(plane, unit)

        of = '{target="tutor",arm="baseline"'
        assert await plane.admin.metric(f'errors_total{of},kind="status_500"}}') == 2
        assert await plane.admin.metric(f"late_total{of}}}") == 1


@pytest.mark.skipif(
    not shutil.which("promtool") and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"),
    reason="promtool is not installed",
)
async def test_the_metrics_page_follows_the_prometheus_conventions() -> None:
    async with data_plane(settings=spans_to("http://127.0.0.1:1")) as plane:
        await plane.admin.register()
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        await ask(plane, "u1")
        await eventually(lambda: plane.admin.metric('copies_total{target="tutor"}'))
        await plane.http.get(f"{plane.gateway.data_url}/nowhere/")
        accepted(await plane.admin.write("pin", token, 2, cause="abort"))
        async with plane.http.get(f"{plane.gateway.admin_url}/metrics") as answer:
            page = await answer.read()

    checked = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - wherever it is installed
        input=page,
        capture_output=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr.decode(), checked.stdout.decode()) == (0, "", "")
    told = page.decode()
    for name in ("ready 1", 'held{target="tutor"} 1', "spans_dropped_total{"):
        assert f"rampway_gateway_{name}" in told
    assert "process_open_fds" in told
    assert 'rampway_gateway_cpu_seconds_total{process="only"}' in told
    assert json.dumps(CANDIDATE) not in told


async def test_several_processes_have_one_page_that_tells_each_ones_use_and_all_their_spans() -> (
    None
):
    with otlp_receiver() as receiver:
        settings = f"processes = 2\n{spans_to(receiver.endpoint)}"
        async with data_plane(settings=settings) as plane:
            await plane.admin.register()
            for n in range(20):
                await ask(plane, f"u{n}", **CALLER, Connection="close")
            await got(receiver, 20)

            async def told() -> bool:
                return await plane.admin.metric("spans_delivered_total") == 20

            await eventually(told)
            for process in ("supervisor", "worker-0", "worker-1"):
                of = f'{{process="{process}"}}'
                assert await plane.admin.metric(f"cpu_seconds_total{of}") > 0
                assert await plane.admin.metric(f"resident_memory_bytes{of}") > 10e6
            assert await plane.admin.metric("ready") == 1
