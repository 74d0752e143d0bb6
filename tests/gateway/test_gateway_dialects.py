"""What answers tell, route by route: one row per answer, with what is found in it."""

import json
from typing import Any

import pytest

from rampway.gateway.dialects import Dialects, value_at
from rampway.gateway.findings import Finding
from rampway.gateway.inspection import StreamReading, read_body
from rampway.gateway.settings import ModelSettings, RouteSettings
from rampway.gateway.tariffs import Tariff

DIALECTS = Dialects(
    {
        "*/generate": RouteSettings.model_validate(
            {
                "error": "/problem",
                "refusal": ["/stop", "/blocked"],
                "refusal_is": ["refusal", "safety"],
                "finish_reason": "/stop",
                "model": "/meta/0/name",
                "prompt_tokens": ["/message/usage/in", "/usage/in"],
                "completion_tokens": "/usage/out",
                "stream_end": "bye",
            }
        ),
        "/odd/responses": RouteSettings.model_validate({"kind": "chat"}),
    }
)
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
NOTHING = {
    "refused": False,
    "failed": False,
    "model": None,
    "finish_reason": None,
    "prompt_tokens": None,
    "completion_tokens": None,
}


def facts(finding: Finding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in NOTHING}


def choice(reason: str | None = "stop", **message: object) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        (
            CHAT,
            {
                "model": "m-1",
                "choices": [choice(content="hello", refusal=None)],
                "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
            },
            {
                "model": "m-1",
                "finish_reason": "stop",
                "prompt_tokens": 5,
                "completion_tokens": 7,
            },
        ),
        (
            CHAT,
            {"choices": [choice(refusal="I cannot")]},
            {"refused": True, "finish_reason": "stop"},
        ),
        (
            CHAT,
            {"choices": [choice("stop"), choice("content_filter")]},
            {"refused": True, "finish_reason": "content_filter"},
        ),
        (
            CHAT,
            {"choices": [choice(content='"finish_reason":"content_filter"')]},
            {"finish_reason": "stop"},
        ),
        (CHAT, {"error": {"message": "overloaded", "code": 529}}, {"failed": True}),
        (CHAT, {"error": "overloaded"}, {"failed": True}),
        (CHAT, {"error": None, "choices": []}, {}),
        (CHAT, {"error": {"code": "content_filter"}}, {"refused": True}),
        (CHAT, {"usage": {"prompt_tokens": True, "completion_tokens": -1}}, {}),
        (CHAT, {"usage": [], "choices": {"a": 1}, "model": 7}, {}),
        (
            "/openai/deployments/d/completions?api-version=1",
            {"choices": [{"text": "x", "finish_reason": "length"}]},
            {"finish_reason": "length"},
        ),
        (
            "/v1/embeddings",
            {"model": "e", "data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 9}},
            {"model": "e", "prompt_tokens": 9, "completion_tokens": 0},
        ),
        (
            RESPONSES,
            {
                "object": "response",
                "status": "completed",
                "error": None,
                "model": "r",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
                "usage": {"input_tokens": 1, "output_tokens": 2},
            },
            {"model": "r", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 2},
        ),
        (
            RESPONSES,
            {
                "status": "completed",
                "output": [{"content": [{"type": "refusal", "refusal": "no"}]}],
            },
            {"refused": True, "finish_reason": "stop"},
        ),
        (
            RESPONSES,
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            {"refused": True, "finish_reason": "content_filter"},
        ),
        (
            RESPONSES,
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            {"finish_reason": "length"},
        ),
        (RESPONSES, {"status": "failed", "error": {"code": "server_error"}}, {"failed": True}),
        (RESPONSES, {"status": "failed", "error": None}, {"failed": True}),
        ("/x/generate", {"problem": "it broke"}, {"failed": True}),
        ("/x/generate", {"problem": {}}, {}),
        ("/x/generate", {"blocked": "safety"}, {"refused": True}),
        ("/x/generate", {"blocked": "no"}, {}),
        (
            "/x/generate",
            {"stop": "refusal", "meta": [{"name": "g"}], "usage": {"in": 1, "out": 2}},
            {
                "refused": True,
                "finish_reason": "refusal",
                "model": "g",
                "prompt_tokens": 1,
                "completion_tokens": 2,
            },
        ),
        ("/x/generate", {"stop": ["refusal"]}, {}),
        ("/odd/responses", {"choices": [choice("length")]}, {"finish_reason": "length"}),
    ],
)
def test_a_whole_answer_tells(path: str, answer: object, told: dict[str, object]) -> None:
    dialect = DIALECTS.of(path)

    assert dialect is not None
    assert facts(read_body(dialect, json.dumps(answer).encode())) == NOTHING | told


def test_what_is_no_json_object_tells_nothing() -> None:
    dialect = DIALECTS.of(CHAT)
    assert dialect is not None

    for body in (b"", b"[1]", b'{"error":', b"<html>error</html>"):
        assert facts(read_body(dialect, body)) == NOTHING


@pytest.mark.parametrize("part", [b"{}", b"[]"])
def test_a_body_of_more_parts_than_an_answer_has_is_left_unread(part: bytes) -> None:
    dialect = DIALECTS.of(CHAT)
    assert dialect is not None

    def told(parts: int) -> Finding:
        return read_body(dialect, b'{"a":[' + (part + b",") * parts + b'1],"model":"m"}')

    assert (told(8_000).model, told(8_000).unread) == ("m", False)
    assert (told(9_000).model, told(9_000).unread) == (None, True)


@pytest.mark.parametrize("chunk_events", [1, 7, 100])
def test_no_more_events_than_agreed_are_looked_into(chunk_events: int) -> None:
    dialect = DIALECTS.of(CHAT)
    assert dialect is not None
    looked: list[object] = []
    counting = dialect._replace(read=lambda told, _finding: looked.append(told))
    reading = StreamReading(counting, 65_536, events_max=70)

    for _ in range(0, 700, chunk_events):
        reading.feed(b"data: {}\n\n" * chunk_events)

    assert reading.end() is None  # nobody can say that its end was missing
    assert reading.finding.unread
    assert len(looked) <= 70


DONE = "[DONE]"
DELTA = {
    "model": "m",
    "choices": [{"delta": {"content": "a"}, "finish_reason": None}],
    "usage": None,
}
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


@pytest.mark.parametrize(
    ("path", "events", "kind", "told"),
    [
        (
            CHAT,
            [DELTA, {"choices": [{"finish_reason": "stop"}]}, USAGE, DONE],
            None,
            {"model": "m", "finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 2},
        ),
        (
            CHAT,
            [DELTA, {"choices": [{"finish_reason": "stop"}]}],
            "stream_error",
            {"model": "m", "finish_reason": "stop"},
        ),
        (
            CHAT,
            [DELTA, {"error": {"message": "x"}}],
            "stream_error",
            {"model": "m", "failed": True},
        ),
        (
            CHAT,
            [DELTA, {"error": {"message": "x"}}, DONE],
            "stream_error",
            {"model": "m", "failed": True},
        ),
        (CHAT, [], "stream_error", {}),
        (
            CHAT,
            [DELTA, {"choices": [{"delta": {"refusal": "I"}}]}, DONE],
            None,
            {"model": "m", "refused": True},
        ),
        (CHAT, [{"error": {"code": "content_filter"}}], None, {"refused": True}),
        (CHAT, [("error", {"detail": "x"}), DONE], "stream_error", {"failed": True}),
        (
            RESPONSES,
            [
                (
                    "response.created",
                    {
                        "type": "response.created",
                        "response": {"model": "r", "error": None, "status": "in_progress"},
                    },
                ),
                (
                    "response.output_text.delta",
                    {"type": "response.output_text.delta", "delta": "x"},
                ),
                (
                    "response.completed",
                    {
                        "type": "response.completed",
                        "response": {
                            "status": "completed",
                            "usage": {"input_tokens": 4, "output_tokens": 5},
                        },
                    },
                ),
            ],
            None,
            {"model": "r", "finish_reason": "stop", "prompt_tokens": 4, "completion_tokens": 5},
        ),
        (
            RESPONSES,
            [{"type": "response.completed", "response": {"status": "completed"}}],
            None,
            {"finish_reason": "stop"},
        ),
        (RESPONSES, [{"type": "response.output_text.delta"}], "stream_error", {}),
        (
            RESPONSES,
            [{"type": "response.failed", "response": {"status": "failed"}}],
            "stream_error",
            {"failed": True},
        ),
        (RESPONSES, [{"type": "error", "message": "x"}], "stream_error", {"failed": True}),
        (
            RESPONSES,
            [{"type": "response.refusal.delta", "delta": "I"}, {"type": "response.completed"}],
            None,
            {"refused": True},
        ),
        (
            "/y/generate",
            [
                {"message": {"usage": {"in": 6}}, "meta": [{"name": "g"}]},
                {"usage": {"out": 1}},
                {"usage": {"out": 8}, "stop": "end"},
                ("bye", {}),
            ],
            None,
            {"model": "g", "finish_reason": "end", "prompt_tokens": 6, "completion_tokens": 8},
        ),
        ("/y/generate", [{}], "stream_error", {}),
        ("/v1/embeddings", [{}], None, {}),
    ],
)
def test_a_stream_tells(
    path: str, events: list[Any], kind: str | None, told: dict[str, object]
) -> None:
    dialect = DIALECTS.of(path)
    assert dialect is not None
    reading = StreamReading(dialect, 65_536)

    for event in events:
        name, data = event if isinstance(event, tuple) else ("", event)
        text = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        reading.feed(f"{head}data: {text}\n\n".encode())

    assert reading.end() == kind
    assert facts(reading.finding) == NOTHING | told


@pytest.mark.parametrize(
    "path", ["/v1/chat", "/v1/models", "/", "/generate/x", "/v1/responses/r_1"]
)
def test_other_paths_are_not_understood(path: str) -> None:
    assert DIALECTS.of(path) is None


def test_a_path_of_any_length_is_looked_up() -> None:
    assert DIALECTS.of("/x" * 5_000 + CHAT) is DIALECTS.of(CHAT)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/a/b", 1),
        ("/a/x", None),
        ("/l/1", 3),
        ("/l/2", None),
        ("/l/-", None),
        ("/l/01", None),
        ("/l/" + "9" * 60, None),
        ("/s~1t~0", 4),
        ("/a/b/c", None),
        ("/l/²", None),
    ],
)
def test_json_pointers_are_those_of_the_standard(pointer: str, value: object) -> None:
    assert value_at({"a": {"b": 1}, "l": [2, 3], "s/t~": 4}, pointer) == value


TARIFF = Tariff(
    {
        "big": ModelSettings(answers_as=("big-2026",), prompt_price=2.0, completion_price=10.0),
        "small": ModelSettings(),
        "*": ModelSettings(prompt_price=1.0),
    }
)


@pytest.mark.parametrize(
    ("asked", "told", "served_other", "cost"),
    [
        ("big", "big", False, 12.0),
        ("big", "big-2026", False, 12.0),
        ("big", "small", True, None),
        ("big", "huge", True, 12.0),
        ("big", None, False, 12.0),
        ("new", "newer", True, 1.0),
        (None, "big-2026", False, 12.0),
        (None, "huge", False, 1.0),
        ({"a": 1}, "huge", False, 1.0),
        (None, None, False, 1.0),
    ],
)
def test_the_model_told_is_checked_and_its_tokens_are_priced(
    asked: object, told: str | None, cost: float | None, *, served_other: bool
) -> None:
    finding = Finding()
    finding.take_model(told)
    finding.take_prompt_tokens(1_000_000)
    finding.take_completion_tokens(1_000_000)

    TARIFF.settle(finding, asked)

    assert (finding.served_other, finding.cost) == (served_other, cost)


def test_without_tokens_there_is_no_cost() -> None:
    finding = Finding()

    TARIFF.settle(finding, "big")

    assert finding.cost is None


def test_a_caller_of_any_model_is_checked_only_against_a_list() -> None:
    finding = Finding()
    finding.take_model("c")

    Tariff({"*": ModelSettings(answers_as=("a", "b"))}).settle(finding, None)

    assert finding.served_other


def test_finish_reasons_are_few_as_labels() -> None:
    finding = Finding()
    finding.take_finish_reason("a reason of 2031")

    assert finding.finish_reason == "a reason of 2031"
    assert finding.reason_label == "other"
