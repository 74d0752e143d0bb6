"""What answers to copies tell is read as live answers are, and is what the shadow's budget is charged."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from aiohttp import web
from shadowed_planes import missing, shadowing, spooled

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

CHAT = "/v1/chat/completions"
GOOD = {
    "model": "new-2026",
    "choices": [{"message": {"content": "went"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
}
EVENTS = (
    b'data: {"model":"new","choices":[{"delta":{"content":"went"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{},"finish_reason":"length"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":500,"completion_tokens":7}}\n\n'
)
DONE = b"data: [DONE]\n\n"
PRICES = "price_per_million_read = 1000000.0\nprice_per_million_written = 1000000.0\n"
SHADOW = f"[shadow]\ntimeout = 1.5\nbody_bytes = 20000\nspend_per_minute = 1e9\n{PRICES}"
# A table of an upstream follows those of the test's own settings.
PRICED = """
[upstreams.priced]
url = "{url}"
[upstreams.priced.models.new]
answers_as = ["new-2026"]
prompt_price = 2.0
completion_price = 10.0
"""


def whole(answer: object, status: int = 200, **headers: str) -> Answer:
    async def script(_heard: Heard) -> web.StreamResponse:
        return web.json_response(answer, status=status, headers=headers)

    return script


def streamed(*chunks: bytes, hangs_seconds: float = 0.0) -> Answer:
    async def script(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(heard.request)
        for chunk in chunks:
            await response.write(chunk)
        await asyncio.sleep(hangs_seconds)
        return response

    return script


def packed(answer: object) -> Answer:
    async def script(_heard: Heard) -> web.StreamResponse:
        body = gzip.compress(json.dumps(answer).encode())
        return web.Response(
            body=body, content_type="application/json", headers={"Content-Encoding": "gzip"}
        )

    return script


async def copied(plane: DataPlane, path: str = CHAT) -> dict[str, Any]:
    """One request that is copied; its copy's line of the traffic log."""
    async with plane.http.post(plane.url(path), json={"n": 1}) as answer:
        assert await answer.json() == {"by": "a"}

    async def told() -> list[dict[str, Any]]:
        lines = plane.gateway.lines(f"traffic-{plane.target}.jsonl")
        return [line for line in lines if line["shadow"]]

    return (await eventually(told))[0]


async def counted(plane: DataPlane, name: str, **labels: str) -> float:
    told = "".join(f',{label}="{value}"' for label, value in labels.items())
    return await plane.admin.metric(f'{name}{{target="{plane.target}"{told}}}')


@pytest.mark.parametrize("as_stream", [False, True])
async def test_tokens_and_finish_reasons_of_copies_are_counted_apart_from_the_arms(
    *, as_stream: bool
) -> None:
    script = streamed(EVENTS[:90], EVENTS[90:], DONE) if as_stream else whole(GOOD)
    read, written, reason = (500, 7, "length") if as_stream else (1_000, 100, "stop")
    async with data_plane(b=script, settings=SHADOW) as plane:
        await shadowing(plane)

        line = await copied(plane)

        assert (line["prompt_tokens"], line["completion_tokens"]) == (read, written)
        assert (line["finish_reason"], line["error"], line["refused"]) == (reason, None, False)
        assert await counted(plane, "copy_tokens_total", kind="prompt") == read
        assert await counted(plane, "copy_tokens_total", kind="completion") == written
        assert await counted(plane, "copy_finish_reasons_total", reason=reason) == 1
        assert await counted(plane, "shadow_tokens_total") == read + written
        assert await counted(plane, "tokens_total", arm="candidate", kind="prompt") == 0
        assert "Accept-Encoding" not in plane.b.copies[0].headers


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (whole({"error": {"message": "overloaded"}}), "answer_error"),
        (streamed(EVENTS), "stream_error"),
        (streamed(b'data: {"error":"lost"}\n\n', DONE), "stream_error"),
        (whole(GOOD, **{"x-rampway-artifact": BASELINE}), "wrong_artifact"),
    ],
    ids=["body", "no-end", "told-in-stream", "another-digest"],
)
async def test_an_error_behind_a_copys_good_status_is_an_error_and_the_candidate_answers(
    script: Answer, kind: str
) -> None:
    settings = SHADOW.replace("timeout = 1.5", "timeout = 1.5\nbreaker_failures = 1")
    async with data_plane(b=script, settings=settings) as plane:
        await shadowing(plane)

        line = await copied(plane)

        assert (line["status"], line["error"]) == (200, kind)
        assert await counted(plane, "copy_errors_total", kind=kind) == 1
        assert await counted(plane, "shadow_breaker_open") == 0
        [pair] = await eventually(lambda: pairs(plane))
        # What another artifact answered says nothing of this one; what fails in it does.
        assert pair["missing"] == ("other_artifact" if kind == "wrong_artifact" else None)


async def test_no_pair_holds_what_another_artifact_than_the_baseline_answered() -> None:
    async with data_plane(a=whole({"by": "a"}, **{"x-rampway-artifact": CANDIDATE})) as plane:
        await shadowing(plane)

        await copied(plane)

        [pair] = await eventually(lambda: pairs(plane))
        assert pair["missing"] == "other_artifact"


async def pairs(plane: DataPlane) -> list[dict[str, Any]]:
    return spooled(plane, "pair")


@pytest.mark.parametrize(
    "script",
    [
        whole({"choices": [{"message": {"refusal": "I cannot"}, "finish_reason": "stop"}]}),
        streamed(b'data: {"choices":[{"delta":{"refusal":"I cannot"}}]}\n\n', DONE),
        whole({"refused": True}),
        whole({}, **{"x-refused": "1"}),
    ],
    ids=["message", "stream", "body", "header"],
)
async def test_a_copy_that_is_refused_is_counted_however_it_is_told(script: Answer) -> None:
    async with data_plane(b=script, settings=SHADOW) as plane:
        await shadowing(plane)

        line = await copied(plane)

        assert line["refused"] is True
        assert await counted(plane, "copy_refusals_total") == 1


async def test_spend_is_reckoned_by_the_tariff_of_the_model_that_answered() -> None:
    async with data_plane() as other:
        other.b.script = whole(GOOD)
        settings = SHADOW + PRICED.format(url=other.b.url)
        async with data_plane(settings=settings) as plane:
            candidate = served(CANDIDATE, "priced", fields={"model": "new"})
            await shadowing(plane, candidate=candidate)

            line = await copied(plane)

            assert line["cost"] == pytest.approx(0.003)
            assert await counted(plane, "copy_cost_total") == pytest.approx(0.003)
            assert await counted(plane, "shadow_spend_total") == pytest.approx(0.003)
            assert await counted(plane, "copy_served_other_total") == 0


@pytest.mark.parametrize("path", [CHAT, "/v1/unknown"])
async def test_without_a_tariff_the_shadows_prices_hold_and_without_usage_the_length(
    path: str,
) -> None:
    async with data_plane(b=whole({"text": "x" * 90}), settings=SHADOW) as plane:
        await shadowing(plane)

        line = await copied(plane, path)

        tokens = (len(b'{"n": 1}') + line["bytes"]) / 4
        assert await counted(plane, "shadow_tokens_total") == tokens
        assert await counted(plane, "shadow_spend_total") == tokens


@pytest.mark.parametrize(
    ("script", "missed"),
    [
        (packed(GOOD), None),
        (whole({"usage": GOOD["usage"], "text": "x" * 30_000}), "too_large"),
        (streamed(*[EVENTS] * 100, DONE), "too_large"),
        (streamed(*[b"data:\n\n"] * 2_000, EVENTS, DONE), None),
    ],
    ids=["packed", "large", "long-stream", "many-events"],
)
async def test_copies_that_cannot_be_read_to_their_end_are_told_unread_and_cost_their_length(
    script: Answer, missed: str | None
) -> None:
    async with data_plane(b=script, settings=SHADOW) as plane:
        await shadowing(plane)

        line = await copied(plane)

        assert line["error"] is None
        assert await counted(plane, "copy_answers_unread_total") == 1
        assert await counted(plane, "shadow_tokens_total") > 0
        [pair] = await eventually(lambda: pairs(plane))
        assert pair["missing"] == missed


async def test_what_a_stream_told_before_its_time_ran_out_is_charged() -> None:
    script = streamed(EVENTS, hangs_seconds=30)
    async with data_plane(b=script, settings=SHADOW) as plane:
        await shadowing(plane)

        line = await copied(plane)

        assert line["error"] == "timeout"
        assert await missing(plane, "timeout") == 1
        assert await counted(plane, "shadow_tokens_total") == 507


async def test_a_candidate_that_floods_is_held_back_like_one_that_does_not_answer() -> None:
    settings = SHADOW.replace("timeout = 1.5", "timeout = 1.5\nbreaker_failures = 3")
    async with data_plane(b=whole({"text": "x" * 100_000}), settings=settings) as plane:
        await shadowing(plane)

        async def held_back() -> bool:
            await plane.ask()
            return await counted(plane, "shadow_breaker_open") == 1

        await eventually(held_back)
        sent = len(plane.b.copies)
        for _ in range(10):
            await plane.ask()

        assert await missing(plane, "too_large") >= 3
        assert await missing(plane, "breaker") >= 10
        assert len(plane.b.copies) <= sent + 3  # those on their way when it opened
