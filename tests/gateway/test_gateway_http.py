"""The HTTP rules of the data listener, against the real process."""

import asyncio
import gzip
import io
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from support.gateway_process import (
    BASELINE,
    Answer,
    DataPlane,
    Heard,
    data_plane,
    eventually,
    served,
    true,
)

SETTINGS = """
[timeouts]
connect = 0.5
between_chunks = 0.5
[limits]
request_body_bytes = 200000
"""
PACKED = gzip.compress(b'{"packed": true}')


@pytest.fixture(scope="module", name="running")
async def _running() -> AsyncGenerator[DataPlane]:
    async with data_plane(settings=SETTINGS) as plane:
        await plane.admin.register(timeout_seconds=0.5)
        yield plane


@pytest.fixture
def plane(running: DataPlane) -> DataPlane:
    async def says_its_name(_heard: Heard) -> web.StreamResponse:
        return web.json_response({"by": "a"})

    running.a.script = says_its_name
    running.a.heard.clear()
    running.a.left = 0
    return running


def streaming(*chunks: bytes, pause_seconds: float = 0, after: float = 0) -> Answer:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause_seconds)
        await asyncio.sleep(after)
        return response

    return script


async def raw(plane: DataPlane, request: bytes, *, until: bytes = b"") -> bytes:
    """What the data listener answers to these very bytes, until it closes or says `until`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.gateway.data_port)
    writer.write(request)
    answer = b""
    try:
        async with asyncio.timeout(5):
            while not until or until not in answer:
                chunk = await reader.read(65_536)
                if not chunk:
                    break
                answer += chunk
    finally:
        writer.close()
    return answer


def head(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: caller.example", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def test_method_raw_path_query_and_body_reach_the_upstream_untouched(
    plane: DataPlane,
) -> None:
    target = "/tutor/v1/a%2Fb/../c/%7E;x?q=%20&&r=1&r=2"

    await raw(
        plane, head(target, "Content-Length: 3", "Connection: close", method="PUT") + b"a\x00b"
    )

    [heard] = plane.a.heard
    assert heard.path == "/v1/a%2Fb/../c/%7E;x?q=%20&&r=1&r=2"
    assert (heard.request.method, heard.body) == ("PUT", b"a\x00b")


@pytest.mark.parametrize(
    ("target", "rest"),
    [("/tutor", "/"), ("/tutor?x=1", "/?x=1"), ("/tutor/", "/"), ("/tutor//x", "//x")],
)
async def test_the_path_behind_the_target_is_the_upstreams(
    plane: DataPlane, target: str, rest: str
) -> None:
    await raw(plane, head(target, "Connection: close"))

    assert plane.a.heard[0].path == rest


async def test_end_to_end_fields_pass_and_the_gateway_adds_only_the_request_id(
    plane: DataPlane,
) -> None:
    await raw(
        plane,
        head(
            "/tutor/x",
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "X-Dup: 1",
            "X-Dup: 2",
            "X-Rampway-Shadow: 1",
        ),
    )

    fields = [(name.lower(), value) for name, value in plane.a.heard[0].headers.items()]
    names = [name for name, _ in fields]
    assert [value for name, value in fields if name == "x-dup"] == ["1", "2"]
    assert set(names) == {"host", "x-dup", "x-request-id"}
    assert dict(fields)["host"] == plane.a.url.removeprefix("http://")


async def test_a_request_without_an_id_gets_one_and_a_given_one_is_kept(plane: DataPlane) -> None:
    await plane.ask()
    await plane.ask("mine-7")

    drawn, given = (heard.headers["x-request-id"] for heard in plane.a.heard)
    assert uuid.UUID(drawn).version == 4
    assert given == "mine-7"


async def test_an_answers_status_fields_and_body_come_back_with_no_word_of_the_arm(
    plane: DataPlane,
) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        response = web.Response(status=418, reason="Short And Stout", body=b"tea")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        response.headers["Server"] = "pot"
        return response

    plane.a.script = script

    answer = await raw(plane, head("/tutor/x", "Connection: close"))

    top, _, body = answer.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 418 Short And Stout"
    assert [line for line in lines if line.startswith("Set-Cookie")] == [
        "Set-Cookie: a=1",
        "Set-Cookie: b=2",
    ]
    names = [line.split(":")[0].lower() for line in lines[1:]]
    assert names.count("date") == names.count("server") == 1
    assert body == b"tea"
    assert b"rampway" not in answer.lower()
    assert b"baseline" not in answer


async def test_packed_bodies_pass_both_ways_as_they_are(plane: DataPlane) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.Response(body=PACKED, headers={"Content-Encoding": "gzip"})

    plane.a.script = script
    fields = {"Content-Encoding": "gzip"}

    async with plane.http.post(plane.url(), data=PACKED, headers=fields) as answer:
        assert await answer.json(content_type=None) == {"packed": True}

    assert plane.a.heard[0].body == PACKED
    assert plane.a.heard[0].headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_a_body_sent_in_chunks_arrives_whole_and_measured(
    plane: DataPlane, size: int
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, size, 9_000):
            yield b"x" * min(9_000, size - begin)

    async with plane.http.post(plane.url(), data=chunks()) as answer:
        assert answer.status == 200

    [heard] = plane.a.heard
    assert len(heard.body) == size
    assert "Transfer-Encoding" not in heard.headers


async def test_a_body_beyond_the_limit_is_refused_before_it_reaches_an_upstream(
    plane: DataPlane,
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 9_000

    declared = await raw(
        plane, head("/tutor/x", "Content-Length: 200001", method="POST"), until=b"}"
    )

    assert declared.startswith(b"HTTP/1.1 413")
    async with plane.http.post(plane.url(), data=chunks()) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"] == "body_too_large"
    async with plane.http.post(plane.url(), data=b"x" * 200_000) as answer:
        assert answer.status == 200
    assert len(plane.a.heard) == 1


async def test_a_large_body_is_sent_to_the_upstream_whole() -> None:
    body = b"y" * (3 * 1024 * 1024)
    async with data_plane() as plane:
        await plane.admin.register()

        async with plane.http.post(plane.url(), data=io.BytesIO(body)) as answer:
            assert answer.status == 200

        assert plane.a.heard[0].body == body


async def test_expect_100_continue_is_answered_by_the_gateway(plane: DataPlane) -> None:
    request = head("/tutor/x", "Content-Length: 2", "Expect: 100-continue", method="POST")

    reader, writer = await asyncio.open_connection("127.0.0.1", plane.gateway.data_port)
    writer.write(request)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert plane.a.heard[0].body == b"ok"
    assert "Expect" not in plane.a.heard[0].headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("/tutor/x", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST")
        + b"0\r\n\r\n",
        head("/tutor/x", "Content-Length: 3", "Content-Length: 4", method="POST") + b"abcd",
        head("/tutor/x", "Content-Length : 3", method="POST") + b"abc",
        head("/tutor/x", "X: a\rb"),
        head("/tutor/x", "Transfer-Encoding: identity, chunked, chunked", method="POST"),
        b"GET /tutor/x HTTP/9.9\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=[
        "length-and-chunked",
        "two-lengths",
        "space-before-colon",
        "bare-cr",
        "chunked-twice",
        "version",
        "no-http",
    ],
)
async def test_ambiguous_framing_is_refused_and_reaches_no_upstream(
    plane: DataPlane, request_bytes: bytes
) -> None:
    answer = await raw(plane, request_bytes)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert plane.a.heard == []


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body_have_none(plane: DataPlane, status: int) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.Response(status=status, headers={"ETag": '"x"'})

    plane.a.script = script

    answer = await raw(plane, head("/tutor/x", "Connection: close"))

    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert answer.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in answer.lower()


async def test_the_answer_to_head_has_the_length_and_no_body(plane: DataPlane) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.Response(body=b"seven b")

    plane.a.script = script

    answer = await raw(plane, head("/tutor/x", "Connection: close", method="HEAD"))

    assert b"Content-Length: 7" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_redirects_are_the_callers_to_follow(plane: DataPlane) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    plane.a.script = script

    async with plane.http.get(plane.url(), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")
    assert len(plane.a.heard) == 1


async def test_a_stream_passes_chunk_by_chunk_with_its_header_first(plane: DataPlane) -> None:
    go_on = asyncio.Event()

    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        await asyncio.wait_for(go_on.wait(), 0.4)
        go_on.clear()
        await response.write(b"data: 1\n\n")
        await asyncio.wait_for(go_on.wait(), 0.4)
        await response.write(b"data: 2\n\n")
        return response

    plane.a.script = script

    async with plane.http.get(plane.url()) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        go_on.set()
        assert await answer.content.readany() == b"data: 1\n\n"
        go_on.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_stream_may_last_longer_than_the_first_byte_timeout(plane: DataPlane) -> None:
    plane.a.script = streaming(*[b"x"] * 8, pause_seconds=0.1)

    async with plane.http.get(plane.url()) as answer:
        assert await answer.read() == b"x" * 8


async def test_a_slow_reader_slows_the_upstream_and_memory_stays_bounded(
    plane: DataPlane,
) -> None:
    written = 0

    async def script(heard: Heard) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(heard.request)
        for _ in range(1_200):
            await response.write(b"z" * 100_000)
            written += 100_000
        return response

    plane.a.script = script
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", plane.gateway.data_port, limit=2**16
    )
    writer.write(head("/tutor/x", "Connection: close"))
    await reader.readuntil(b"\r\n\r\n")

    seen = -1
    while seen != written:
        seen = written
        await asyncio.sleep(0.2)

    assert written < 60_000_000  # half of it: what the kernel's buffers take, and no more
    writer.close()
    await eventually(lambda: true(plane.a.left == 1))


async def test_a_caller_who_leaves_before_the_answer_cancels_the_upstream(
    plane: DataPlane,
) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    plane.a.script = script

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await plane.ask("left-before")

    await eventually(lambda: true(plane.a.left == 1))
    await eventually(lambda: _logged(plane, "left-before", error="aborted"))


async def test_a_caller_who_leaves_a_stream_cancels_the_upstream(plane: DataPlane) -> None:
    plane.a.script = streaming(b"data: 1\n\n", after=30)
    fields = {"x-request-id": "left-stream"}

    async with plane.http.get(plane.url(), headers=fields) as answer:
        await answer.content.readany()
        answer.close()

    await eventually(lambda: true(plane.a.left == 1))
    await eventually(lambda: _logged(plane, "left-stream", error="aborted"))


async def _logged(plane: DataPlane, request_id: str, **told: object) -> bool:
    lines = plane.gateway.lines("traffic-tutor.jsonl")
    return any(line["request_id"] == request_id and told.items() <= line.items() for line in lines)


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_an_upstream_that_dies_mid_stream_breaks_the_callers_answer_off(
    plane: DataPlane, framing: str
) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse()
        if framing == "length":
            response.content_length = 1_000
        await response.prepare(heard.request)
        await response.write(b"half")
        await asyncio.sleep(0.05)
        assert heard.request.transport is not None
        heard.request.transport.abort()
        return response

    plane.a.script = script
    fields = {"x-request-id": f"dies-{framing}"}

    async with plane.http.get(plane.url(), headers=fields) as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()

    await eventually(lambda: _logged(plane, f"dies-{framing}", error="mid_stream", status=200))


async def test_an_http_1_0_caller_is_not_left_with_half_an_answer_as_a_whole_one(
    plane: DataPlane,
) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(heard.request)
        await response.write(b"half")
        await asyncio.sleep(0.05)
        assert heard.request.transport is not None
        heard.request.transport.abort()
        return response

    plane.a.script = script

    with pytest.raises(ConnectionResetError):
        await raw(plane, head("/tutor/x", version="1.0"))


async def test_a_stream_that_falls_silent_is_broken_off(plane: DataPlane) -> None:
    plane.a.script = streaming(b"data: 1\n\n", after=30)
    began = time.monotonic()

    async with plane.http.get(plane.url()) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()

    assert 0.4 < time.monotonic() - began < 5


async def test_only_silence_breaks_a_stream_off_however_long_it_goes_on(plane: DataPlane) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(heard.request)
        for _ in range(12):  # 1.2 s, where 0.5 s of silence are too many
            await response.write(b"data: 1\n\n")
            await asyncio.sleep(0.1)
        await asyncio.sleep(30)
        return response

    plane.a.script = script

    async with plane.http.get(plane.url()) as answer:
        told = [await answer.content.readexactly(9) for _ in range(12)]
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()

    assert told == [b"data: 1\n\n"] * 12


async def test_no_answer_in_time_is_504_and_the_upstream_is_let_go(plane: DataPlane) -> None:
    async def script(_heard: Heard) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    plane.a.script = script

    told = await plane.ask()

    assert (told["status"], told["error"]) == (504, "upstream_timeout")
    await eventually(lambda: true(plane.a.left == 1))


@pytest.mark.parametrize(("method", "tries"), [("POST", 1), ("GET", 2)])
async def test_a_request_whose_bytes_were_sent_is_repeated_only_if_that_is_harmless(
    plane: DataPlane, method: str, tries: int
) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        assert heard.request.transport is not None
        heard.request.transport.abort()
        return web.Response()

    plane.a.script = script

    async with plane.http.request(method, plane.url()) as answer:
        told = await answer.json()

    assert (answer.status, told["error"]) == (502, "upstream_reset")
    assert len(plane.a.heard) == tries


async def test_an_upstream_that_takes_no_connection_is_502_and_the_other_arm_is_not_asked(
    plane: DataPlane,
) -> None:
    closed = plane.on("closed")
    await closed.admin.register(baseline=served(BASELINE, "gone"))

    told = await closed.ask()

    assert (told["status"], told["error"]) == (502, "upstream_unreachable")
    assert plane.a.heard == plane.b.heard == []


async def test_an_answer_that_is_no_http_is_502(plane: DataPlane) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        assert heard.request.transport is not None
        heard.request.transport.write(b"220 smtp.example ESMTP\r\n")
        heard.request.transport.close()
        return web.Response()

    plane.a.script = script

    told = await plane.ask()

    assert (told["status"], told["error"]) == (502, "upstream_invalid")


async def test_an_unknown_target_is_404_as_json(plane: DataPlane) -> None:
    async with plane.http.get(plane.on("nowhere").url()) as answer:
        told = await answer.json()

    assert (answer.status, told["error"]) == (404, "unknown")


async def test_fields_and_headers_of_the_artifact_are_set_on_the_request(
    plane: DataPlane,
) -> None:
    dressed = plane.on("dressed")
    await dressed.admin.register(
        baseline=served(BASELINE, "a", fields={"model": "new"}, headers={"X-Prompt": "p7"})
    )
    fields = {"x-prompt": "the caller's"}

    async with plane.http.post(
        dressed.url(), json={"model": "old", "n": 1}, headers=fields
    ) as answer:
        assert answer.status == 200

    [heard] = plane.a.heard
    assert heard.json() == {"model": "new", "n": 1}
    assert heard.headers.getall("X-Prompt") == ["p7"]


async def test_a_kept_connection_serves_request_after_request(plane: DataPlane) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.gateway.data_port)
    for _ in range(3):
        writer.write(head("/tutor/x"))
        await reader.readuntil(b"\r\n\r\n")
        assert json.loads(await reader.readexactly(11)) == {"by": "a"}
    writer.close()


async def test_a_request_id_that_is_no_utf8_is_logged_readably(plane: DataPlane) -> None:
    await raw(
        plane,
        b"GET /tutor/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: \xff\xfe\r\nConnection: close\r\n\r\n",
    )

    await eventually(lambda: _logged(plane, "\ufffd\ufffd", status=200))


async def test_the_log_tells_the_trace_of_the_request(plane: DataPlane) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    fields = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "x-request-id": "traced"}

    async with plane.http.get(plane.url(), headers=fields) as answer:
        assert answer.status == 200

    await eventually(lambda: _logged(plane, "traced", trace_id=trace, arm="baseline", bytes=11))
    assert plane.a.heard[0].headers["traceparent"] == fields["traceparent"]
