"""Which spans there are, and what they say: pure, but for the real SDK that makes them."""

import time
from collections.abc import Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from span_builders import SPAN, TRACE, record

from rampway.gateway.callers import Caller
from rampway.gateway.counting import Outcome
from rampway.gateway.findings import Finding
from rampway.gateway.requestlog import ABOUT, About, about_request
from rampway.gateway.routing import Passage
from rampway.gateway.spans import BATCH_MAX, SpanQueue
from rampway.gateway.terms import Arm, Reason
from rampway.gateway.tracing import (
    OpenSpan,
    Parent,
    SpanRecord,
    Tracing,
    asked_for,
    attributes_of,
    parent_of,
)
from support.gateway_process import eventually, true

HEX = st.text("0123456789abcdef", min_size=1)


class Collector:
    """Remembers what was sent; answers, hangs or raises as it is told."""

    def __init__(self, answer: bool | Exception = True) -> None:  # noqa: FBT001, FBT002 - an answer
        self.answer = answer
        self.got: list[SpanRecord] = []

    def send(self, batch: Sequence[SpanRecord]) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.got += batch
        return self.answer

    def stop(self) -> None:
        self.answer = False


def test_a_valid_traceparent_is_the_parent() -> None:
    assert parent_of(f"00-{TRACE}-{SPAN}-01") == Parent(TRACE, SPAN, 1)
    assert parent_of(f"cc-{TRACE}-{SPAN}-03-what.the-future-adds") == Parent(TRACE, SPAN, 3)


@pytest.mark.parametrize(
    "told",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_traceparent_has_no_parent(told: str | None) -> None:
    assert parent_of(told) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_a_traceparent(told: str) -> None:
    parent = parent_of(told)

    assert parent is None or f"{parent.trace_id}-{parent.span_id}" in told


def test_a_request_is_a_child_of_its_caller_and_its_upstreams_parent() -> None:
    span = Tracing([].append, part=1.0).begin({"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert span is not None
    headers = {"tracestate": "vendor=1"}
    span.carry(headers)
    assert span.parent == Parent(TRACE, SPAN, 1)
    assert headers == {"tracestate": "vendor=1", "traceparent": f"00-{TRACE}-{span.span_id}-01"}


def test_a_request_without_a_trace_begins_one_and_drops_a_state_that_belongs_to_none() -> None:
    span = Tracing([].append, part=1.0).begin({"traceparent": "broken"})

    assert span is not None
    headers = {"traceparent": "broken", "tracestate": "vendor=1"}
    span.carry(headers)
    assert parent_of(headers["traceparent"]) == Parent(span.trace_id, span.span_id, 3)
    assert "tracestate" not in headers


def test_a_caller_who_does_not_sample_is_not_traced() -> None:
    tracing = Tracing([].append, part=1.0)

    assert tracing.begin({"traceparent": f"00-{TRACE}-{SPAN}-00"}) is None


def test_the_part_is_taken_by_the_trace_id_so_that_all_processes_take_the_same() -> None:
    tracings = [Tracing([].append, part=0.1) for _ in range(2)]
    headers = [
        {"traceparent": f"00-{'a' * 18}{n * 2**56 // 1_000:014x}-{SPAN}-01"} for n in range(1_000)
    ]

    taken = [[tracing.begin(one) is not None for one in headers] for tracing in tracings]

    assert taken[0] == taken[1]
    assert sum(taken[0]) == 100
    assert all(taken[0][900:])


def test_the_part_holds_for_requests_without_a_trace_too() -> None:
    tracing = Tracing([].append, part=0.25)

    taken = sum(tracing.begin({}) is not None for _ in range(20_000))

    assert 4_600 < taken < 5_400  # 6.5 standard errors


def test_a_copys_span_is_a_child_of_the_requests_span() -> None:
    span = OpenSpan([].append, trace_id=TRACE, parent=None, flags=3)

    copied = span.copy()

    assert copied.parent == Parent(TRACE, span.span_id, 3)
    assert (copied.is_copy, copied.span_id == span.span_id) == (True, False)


@pytest.mark.parametrize(
    ("rest", "body", "fields", "named"),
    [
        ("/v1/chat/completions", b'{"model": "m1"}', {}, ("chat", "m1")),
        ("/v1/chat/completions?x=1", b'{"model": "m1"}', {"model": "m2"}, ("chat", "m2")),
        ("/v1/completions/", b'{"model": 7}', {}, ("text_completion", None)),
        ("/v1/embeddings", b'{"model": "e', {}, ("embeddings", None)),
        ("/conjugate", b'["model"]', {}, (None, None)),
        ("/x", b'{"a":{"model":"m1"}}', {}, (None, None)),
        ("/x", b'{"a":{"model":"m1","b":1},"c":2}', {}, (None, None)),
        (
            "/x",
            b'{"a":"\\"model\\":\\"m1\\"","model":"m2","b":true,"c":-1e3,"d":"e"}',
            {},
            (None, "m2"),
        ),
        ("/x", b'{"model":"m\\u0031","a":1}', {}, (None, "m1")),
        ("/x", b'{"a":1,"model":"m1","tools":[{"model":"m2"}]}', {}, (None, "m1")),
        ("/conjugate", b'{"model": "m1", "pad": "' + b"x" * 70_000 + b'"}', {}, (None, None)),
    ],
)
def test_operation_and_model_are_told_by_their_genai_names(
    rest: str, body: bytes, fields: dict[str, Any], named: tuple[str | None, str | None]
) -> None:
    asked = asked_for("POST", rest, body, fields)

    assert (asked.get("gen_ai.operation.name"), asked.get("gen_ai.request.model")) == named
    assert asked["http.request.method"] == "POST"


async def delivered(queue: SpanQueue, spans: int) -> None:
    await eventually(lambda: true(queue.delivered_total + queue.dropped_undelivered_total >= spans))


async def test_a_full_batch_is_delivered_at_once() -> None:
    collector = Collector()
    queue = SpanQueue(collector)
    queue.start()
    began = time.monotonic()

    for n in range(BATCH_MAX):
        queue.put(record(f"{n}"))
    await delivered(queue, BATCH_MAX)

    assert time.monotonic() - began < 0.9  # of the second that a small batch waits
    assert [one.request_id for one in collector.got] == [f"{n}" for n in range(BATCH_MAX)]
    queue.close()


def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    collector = Collector()
    queue = SpanQueue(collector, queued_max=3)

    for n in range(5):
        queue.put(record(f"{n}"))
    queue.start()
    queue.close()

    assert [one.request_id for one in collector.got] == ["0", "1", "2"]
    assert (queue.dropped_full_total, queue.delivered_total) == (2, 3)


@pytest.mark.parametrize("answer", [False, OSError("no route to the collector")])
async def test_what_a_collector_does_not_take_is_counted_and_the_thread_goes_on(
    answer: bool | Exception,  # noqa: FBT001 - an answer
) -> None:
    collector = Collector(answer)
    queue = SpanQueue(collector)
    queue.start()
    for _ in range(BATCH_MAX):
        queue.put(record())
    await delivered(queue, BATCH_MAX)

    collector.answer = True
    for _ in range(BATCH_MAX):
        queue.put(record())
    await delivered(queue, 2 * BATCH_MAX)

    assert (queue.dropped_undelivered_total, queue.delivered_total) == (BATCH_MAX, BATCH_MAX)
    queue.close()


def test_the_sdks_span_has_the_ids_times_and_words_of_the_record() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", exc_type=ImportError)
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: PLC0415 - optional
        InMemorySpanExporter,
    )

    from rampway.gateway.otlp import OtlpDelivery  # noqa: PLC0415 - optional
    from rampway.gateway.settings import TelemetrySettings  # noqa: PLC0415 - beside it

    kept = InMemorySpanExporter()
    delivery = OtlpDelivery(TelemetrySettings(service_name="edge"), kept)
    refused = record(outcome=Outcome(status=503, kind="status_503", refused=True))

    assert delivery.send([refused, record(is_copy=True)])

    first, second = kept.get_finished_spans()
    assert first.context is not None
    assert first.parent is not None
    assert f"{first.context.trace_id:032x}" == TRACE
    assert f"{first.context.span_id:016x}" == refused.span.span_id
    assert (f"{first.parent.span_id:016x}", first.parent.is_remote) == (SPAN, True)
    assert first.start_time == 1_790_000_000_250_000_000
    assert first.end_time == 1_790_000_000_750_000_000
    assert (first.name, first.kind.name) == ("route tutor", "SERVER")
    assert dict(first.attributes or {}) == attributes_of(refused)
    assert [one.name for one in first.events] == ["gen_ai.evaluation.result"]
    assert first.status.status_code.name == "ERROR"
    assert first.resource.attributes["service.name"] == "edge"
    assert (second.name, second.kind.name, list(second.events)) == ("copy tutor", "CLIENT", [])


def test_a_span_tells_what_the_answer_told_and_nothing_that_it_did_not() -> None:
    outcome = Outcome(status=200, answered=True)
    outcome.finding = Finding()
    outcome.finding.model, outcome.finding.finish_reason = "m1-2026", "stop"
    outcome.finding.prompt_tokens = 12

    told = attributes_of(record(outcome=outcome))

    named = ("gen_ai.response", "gen_ai.usage", "rampway.cost", "gen_ai.request")
    assert {name: value for name, value in told.items() if name.startswith(named)} == {
        "gen_ai.request.model": "m1",
        "gen_ai.response.model": "m1-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
    }


def test_a_spans_unit_is_the_pseudonym_of_the_traffic_log_and_long_texts_are_cut() -> None:
    long = record("u" * 5_000)

    told = attributes_of(long)

    assert long.route.split is not None
    assert told["feature_flag.context.id"] == long.route.split.pseudonym(b"user-1")
    assert "user-1" not in str(told)
    assert len(str(told["rampway.request.id"])) == 200


def test_a_log_line_about_a_request_names_its_arm_and_ids_and_others_do_not() -> None:
    def line() -> dict[str, object]:
        return dict(about_request(None, "info", {"event": "x"}))

    assert line() == {"event": "x"}
    kept = record()
    caller = Caller("u1", b"user-1", is_trusted=True)
    passage = Passage(kept.route, (Arm.BASELINE, kept.served, Reason.SPLIT), caller, TRACE)
    about: dict[str, object] = {
        "event": "x",
        "target": "tutor",
        "release": "r1",
        "segment": 3,
        "trace_id": TRACE,
        "request_id": "u1",
    }

    with_request = copy_context()
    with_request.run(ABOUT.set, request := About(passage))
    with_copy = copy_context()
    with_copy.run(ABOUT.set, About(passage, is_copy=True))

    assert with_request.run(line) == {
        **about,
        "traffic.arm": "baseline",
        "rampway.shadow": False,
    }
    assert with_copy.run(line) == {**about, "traffic.arm": "candidate", "rampway.shadow": True}

    request.over()
    assert with_request.run(line) == {"event": "x"}


def test_no_span_library_is_loaded_while_spans_are_off(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - this test's own
    import sys  # noqa: PLC0415 - same

    script = tmp_path / "loads.py"
    script.write_text(
        "import sys, rampway.gateway.main\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))\n"
    )

    assert subprocess.run([sys.executable, str(script)], check=False).returncode == 0
