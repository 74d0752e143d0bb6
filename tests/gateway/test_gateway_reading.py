"""What answers tell is counted per arm, whole and streamed, and no byte of them is changed or held back."""

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import web

from support.gateway_process import (
    BASELINE,
    CANDIDATE,
    Answer,
    DataPlane,
    Heard,
    data_plane,
    eventually,
    served,
)

SETTINGS = """
[limits]
examined_answer_bytes = 4000
examined_event_bytes = 500
[routes."/generate"]
error = "/problem"
refusal = "/blocked"
prompt_tokens = "/usage/in"
stream_end = "bye"
"""
# Tables of the upstreams follow these of the test's own settings.
MODELS = """
[upstreams.priced]
url = "{url}"
artifact_header = "x-digest"
[upstreams.priced.models.new]
answers_as = ["new-2026"]
prompt_price = 2.0
completion_price = 10.0
"""
CHAT = "/v1/chat/completions"
GOOD = {
    "model": "new-2026",
    "choices": [{"message": {"content": "went"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
}
STREAMED = [
    b'data: {"model":"new","choices":[{"delta":{"content":"we',
    b'nt"},"finish_reason":null}]}\r\n\r',
    b'\ndata: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":500,"completion_tokens":7}}\n\ndata: [DO',
    b"NE]\n\n",
]


@pytest.fixture(scope="module", name="running")
async def _running() -> AsyncGenerator[DataPlane]:
    async with data_plane(settings=SETTINGS) as plane:
        yield plane


@pytest.fixture
async def plane(running: DataPlane, request: pytest.FixtureRequest) -> DataPlane:
    """A target of its own for each test: its counts begin at zero."""
    mine = running.on("t" + str(abs(hash(request.node.name))))
    await mine.admin.register(
        baseline=served(BASELINE, "a", fields={"model": "new"}),
        slice_seconds=60,
        timeout_seconds=60,
    )
    return mine


def whole(answer: object, status: int = 200, **headers: str) -> Answer:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.json_response(answer, status=status, headers=headers)

    return script


def streamed(*chunks: bytes, **headers: str) -> Answer:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(heard.request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        return response

    return script


async def ask(plane: DataPlane, path: str = CHAT) -> bytes:
    async with plane.http.post(plane.url(path), json={"model": "any"}) as answer:
        return await answer.read()


async def counted(plane: DataPlane, name: str, **labels: str) -> float:
    told = "".join(f',{label}="{value}"' for label, value in labels.items())
    return await plane.admin.metric(f'{name}{{target="{plane.target}",arm="baseline"{told}}}')


async def errors(plane: DataPlane) -> dict[str, float]:
    kinds = ("answer_error", "stream_error", "wrong_artifact", "mid_stream")
    return {kind: n for kind in kinds if (n := await counted(plane, "errors_total", kind=kind))}


async def line(plane: DataPlane) -> dict[str, Any]:
    async def told() -> list[dict[str, Any]]:
        return plane.gateway.lines(f"traffic-{plane.target}.jsonl")

    return (await eventually(told))[0]


async def test_tokens_and_finish_reasons_of_whole_and_streamed_answers_are_counted(
    plane: DataPlane,
) -> None:
    plane.a.script = whole(GOOD)
    assert json.loads(await ask(plane)) == GOOD
    plane.a.script = streamed(*STREAMED)
    assert await ask(plane) == b"".join(STREAMED)

    assert await counted(plane, "tokens_total", kind="prompt") == 1_500
    assert await counted(plane, "tokens_total", kind="completion") == 107
    assert await counted(plane, "finish_reasons_total", reason="stop") == 1
    assert await counted(plane, "finish_reasons_total", reason="length") == 1
    assert (
        await counted(plane, "served_other_total") == 1
    )  # `new-2026`, for which nothing is configured
    assert await errors(plane) == {}


async def test_an_error_inside_a_good_answer_is_an_error(plane: DataPlane) -> None:
    plane.a.script = whole({"error": {"message": "overloaded"}})

    await ask(plane)

    assert await errors(plane) == {"answer_error": 1}


async def test_an_error_inside_an_answer_that_failed_already_says_nothing_new(
    plane: DataPlane,
) -> None:
    plane.a.script = whole({"error": {"message": "wrong field"}}, status=422)

    await ask(plane)

    assert await errors(plane) == {}


@pytest.mark.parametrize(
    "chunks",
    [STREAMED[:3], [b'data: {"error":{"message":"lost"}}\n\n', b"data: [DONE]\n\n"], []],
    ids=["no-end", "told", "empty"],
)
async def test_a_stream_with_an_error_or_without_its_end_is_an_error(
    plane: DataPlane, chunks: list[bytes]
) -> None:
    plane.a.script = streamed(*chunks)

    assert await ask(plane) == b"".join(chunks)

    assert await errors(plane) == {"stream_error": 1}


async def test_a_caller_who_leaves_upon_a_streamed_error_does_not_hide_it(plane: DataPlane) -> None:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        await response.write(b'data: {"error":{"message":"lost"}}\n\n')
        await asyncio.sleep(30)
        return response

    plane.a.script = script

    async with plane.http.post(plane.url(CHAT)) as answer:
        await answer.content.readany()
        answer.close()

    async def told() -> bool:
        return await errors(plane) == {"stream_error": 1}

    await eventually(told)
    assert await counted(plane, "aborted_total") == 0


@pytest.mark.parametrize("as_stream", [False, True])
async def test_refusals_are_counted_in_messages_and_in_streams(
    plane: DataPlane, *, as_stream: bool
) -> None:
    part = "delta" if as_stream else "message"
    told = {"choices": [{part: {"refusal": "I cannot"}, "finish_reason": "stop"}]}
    if as_stream:
        plane.a.script = streamed(b"data: " + json.dumps(told).encode(), b"\n\ndata: [DONE]\n\n")
    else:
        plane.a.script = whole(told)

    await ask(plane)

    assert await counted(plane, "refusals_total") == 1
    assert (await line(plane))["refused"] is True


async def test_an_upstream_that_tells_another_digest_is_an_error_and_tells_the_caller_nothing(
    plane: DataPlane,
) -> None:
    for digest in (BASELINE, CANDIDATE):
        plane.a.script = whole(GOOD, **{"X-Rampway-Artifact": digest})
        async with plane.http.post(plane.url(CHAT)) as answer:
            assert answer.status == 200
            assert not [name for name in answer.headers if "rampway" in name.lower()]

    assert await errors(plane) == {"wrong_artifact": 1}


async def test_a_configured_route_is_read_by_its_pointers(plane: DataPlane) -> None:
    plane.a.script = whole({"problem": "no model", "usage": {"in": 3}})
    await ask(plane, "/generate")
    plane.a.script = whole({"blocked": True})
    await ask(plane, "/generate?x=1")
    plane.a.script = streamed(b'event: bye\ndata: {"usage":{"in":4}}\n\n')
    await ask(plane, "/generate")

    assert await errors(plane) == {"answer_error": 1}
    assert await counted(plane, "refusals_total") == 1
    assert await counted(plane, "tokens_total", kind="prompt") == 7


@pytest.mark.parametrize("what", ["packed", "large", "large-event"])
async def test_what_is_not_looked_into_is_counted_and_passes_untouched(
    plane: DataPlane, what: str
) -> None:
    large = b'{"error":"' + b"x" * 5_000 + b'"}'
    body = gzip.compress(large) if what == "packed" else large

    async def script(_heard: Heard) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip"} if what == "packed" else {}
        return web.Response(body=body, content_type="application/json", headers=headers)

    plane.a.script = script
    if what == "large-event":
        body = b"data: " + large + b"\n\n"
        plane.a.script = streamed(body)

    async with plane.http.post(plane.url(CHAT), auto_decompress=False) as answer:
        assert await answer.read() == body

    assert await counted(plane, "answers_unread_total") == 1
    assert await errors(plane) == {}


async def test_the_log_tells_what_an_answer_told(plane: DataPlane) -> None:
    plane.a.script = whole(GOOD)

    await ask(plane)

    told = await line(plane)
    assert {name: told[name] for name in ("model", "finish_reason", "served_other", "refused")} == {
        "model": "new-2026",
        "finish_reason": "stop",
        "served_other": True,
        "refused": False,
    }
    assert (told["prompt_tokens"], told["completion_tokens"], told["cost"]) == (1_000, 100, None)


async def test_cost_is_reckoned_from_the_prices_of_the_model_that_answered() -> None:
    async with data_plane() as other:
        settings = MODELS.format(url=other.a.url)
        other.a.script = whole(GOOD, **{"X-Digest": CANDIDATE})
        async with data_plane(settings=settings) as plane:
            await plane.admin.register(baseline=served(BASELINE, "priced", fields={"model": "new"}))

            async with plane.http.post(plane.url(CHAT), json={}) as answer:
                assert "X-Digest" not in answer.headers

            assert await counted(plane, "cost_total") == pytest.approx(0.003)
            assert await counted(plane, "served_other_total") == 0
            assert await errors(plane) == {"wrong_artifact": 1}
            assert (await line(plane))["cost"] == pytest.approx(0.003)


async def test_errors_in_answers_and_streams_are_in_the_sealed_slices() -> None:
    async with data_plane() as plane:
        await plane.admin.register(slice_seconds=0.5, timeout_seconds=2.0)
        for script in (whole({"error": "x"}), streamed(b"data: {}\n\n")):
            plane.a.script = script
            await ask(plane)

        async def sealed() -> dict[str, int]:
            kinds: dict[str, int] = {}
            for row in (await plane.admin.slices(0, 0))["full"]["rows"]:
                for kind, count in row["baseline"]["kinds"].items():
                    kinds[kind] = kinds.get(kind, 0) + count
            return kinds if len(kinds) == 2 else {}

        assert await eventually(sealed) == {"answer_error": 1, "stream_error": 1}
