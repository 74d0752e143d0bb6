"""Events are found alike however the stream is cut, whatever ends its lines, in bounded memory."""

import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rampway.gateway.dialects import Dialects
from rampway.gateway.findings import Finding
from rampway.gateway.inspection import StreamReading
from rampway.gateway.sse import EventStream, event_of

CHAT = Dialects({}).of("/v1/chat/completions")
EVENT_BYTES_MAX = 120

pieces = st.sampled_from(
    [
        b"data: {}",
        b"data:x",
        b"data",
        b"event: error",
        b": comment",
        b"id: 7",
        b"\xef\xbb\xbf",
        b"\xff\x00",
        b"y" * 60,
        b'data: {"model":"m","choices":[{"finish_reason":"stop"}]}',
        b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4}}',
        b'data: {"error":{"message":"no"}}',
        b'data: {"choices":[{"delta":{"refusal":"I',
        b'data: {"model":"m","choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}\n\n',
        b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"length"}],"usage":null}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":null}}\n\n',
        b"data: [DONE]",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
    ]
)
streams = st.lists(pieces, max_size=40).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def found(chunks: list[bytes], event_bytes_max: int = EVENT_BYTES_MAX) -> tuple[object, ...]:
    assert CHAT is not None
    reading = StreamReading(CHAT, event_bytes_max)
    for chunk in chunks:
        reading.feed(chunk)
    kind = reading.end()
    told: Finding = reading.finding
    return (kind, *(getattr(told, name) for name in Finding.__slots__))


def blocks(chunks: list[bytes]) -> tuple[list[bytes], int]:
    stream = EventStream(EVENT_BYTES_MAX)
    cut_out = [block for chunk in chunks for block in stream.feed(chunk)]
    return [*cut_out, *stream.rest()], stream.unread


@given(streams, st.lists(st.integers(0, 2_000), max_size=30))
def test_any_cutting_into_chunks_gives_the_same_finding(stream: bytes, places: list[int]) -> None:
    chunks = cut(stream, places)

    assert blocks(chunks) == blocks([stream])
    assert found(chunks) == found([stream])


@given(st.lists(pieces.filter(lambda piece: piece.endswith(b"\n\n")), max_size=12))
def test_whole_events_that_tell_nothing_are_left_out_without_a_difference(
    events: list[bytes],
) -> None:
    stream = b"".join(events)

    assert found(events) == found([stream[at : at + 1] for at in range(len(stream))])


@given(streams)
def test_byte_by_byte_gives_the_same_finding(stream: bytes) -> None:
    single = [stream[at : at + 1] for at in range(len(stream))]

    assert found(single) == found([stream])


@given(streams)
def test_event_by_event_gives_the_same_finding(stream: bytes) -> None:
    events = [event + b"\n\n" for event in stream.split(b"\n\n")]

    assert found(events) == found([b"".join(events)])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_whatsoever_break_the_reading(stream: bytes, place: int) -> None:
    assert found(cut(stream, [place])) == found([stream])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "error",
                        "model",
                        "choices",
                        "delta",
                        "message",
                        "usage",
                        "finish_reason",
                        "refusal",
                        "prompt_tokens",
                        "type",
                        "response",
                        "output",
                        "content",
                        "incomplete_details",
                        "status",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_whatsoever_breaks_the_reading(told: object) -> None:
    event = b"data: " + json.dumps(told).encode() + b"\n\n"

    for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings"):
        dialect = Dialects({}).of(path)
        assert dialect is not None
        reading = StreamReading(dialect, 100_000)
        reading.feed(event)
        assert reading.end() in {None, "stream_error"}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_each_line_end_of_the_standard_cuts_events(line_end: bytes) -> None:
    stream = line_end.join(
        [b"event: a", b"data: 1", b"data: 2", b"", b": note", b"data:3", b"", b""]
    )

    told, unread = blocks([stream])

    assert [event_of(block) for block in told if block.strip()] == [(b"a", b"1\n2"), (b"", b"3")]
    assert unread == 0


def test_a_byte_order_mark_is_no_part_of_the_first_event() -> None:
    assert [event_of(block).data for block in blocks([b"\xef\xbb", b"\xbfdata: 1\n\n"])[0]] == [
        b"1"
    ]


def test_an_event_above_the_bound_is_skipped_counted_and_never_held() -> None:
    stream = EventStream(1_000)
    dice = random.Random(1)

    for _ in range(300):
        assert stream.feed(b"data: " + b"z" * dice.randrange(2_000)) == []
        assert len(stream._held) <= 1_001
    assert stream.feed(b"\n\ndata: after\n\n") == [b"data: after"]

    assert stream.unread == 1


def test_a_stream_whose_end_could_be_in_an_unread_event_is_no_error() -> None:
    kind, *_ = found([b'data: {"model":"' + b"m" * 200 + b'"}\n\n'])

    assert kind is None


def test_a_last_event_without_its_blank_line_was_told_all_the_same() -> None:
    kind, *_ = found([b"data: {}\n\ndata: [DONE]"])

    assert kind is None


STRANGE = [b'","finish_reason":"stop","x":"', b'"}}],"usage":{"prompt_tokens":3},"x":[{"y":{"z":"']
WORDS = [
    b"word",
    b" ",
    b"error",
    b"\xff",
    b'"',
    b"\\",
    b'\\"',
    b"\\\\",
    b"\\n",
    b"\n",
    b"\r",
    b"\n\n",
]
texts = st.lists(st.sampled_from([*WORDS, *STRANGE, b"y" * 60]), max_size=5).map(b"".join)
begun = st.sampled_from([b'data: {"error":{"message":"no"}}\n', b": comment\n", b"data: {", b"\r"])


@given(
    st.lists(texts | begun.map(lambda piece: (piece,)), min_size=1, max_size=12),
    st.sampled_from([b'"content":"', b'"text":"', b'"content": "']),
    st.integers(60, 200),
)
@example([b"y" * 120], b'"content":"', 100)
@example([(b'data: {"error":{"message":"no"}}\n',), b"b"], b'"content":"', 100)
def test_events_that_differ_in_their_text_alone_are_left_out_without_a_difference(
    told: list[bytes | tuple[bytes]], key: bytes, event_bytes_max: int
) -> None:
    begin = b'data: {"model":"m","choices":[{"delta":{' + key
    chunks = [
        part[0] if isinstance(part, tuple) else begin + part + b'"},"finish_reason":null}]}\n\n'
        for part in [b"", b"a", *told]
    ]

    assert found(chunks, event_bytes_max) == found([b"".join(chunks)], event_bytes_max)


def test_an_event_that_is_like_the_last_is_not_parsed() -> None:
    assert CHAT is not None
    parsed: list[bytes] = []

    def idle(events: bytes) -> bool:
        parsed.append(events)
        return CHAT.is_idle(events)

    reading = StreamReading(CHAT._replace(is_idle=idle), 65_536)
    words = [b"one", b"two", b'an \\"error\\"\\n', b"", b"\xc3\xa4"]
    for word in words:
        reading.feed(b'data: {"model":"m","choices":[{"delta":{"content":"%b"}}]}\n\n' % word)

    assert parsed == [b'data: {"model":"m","choices":[{"delta":{"content":"two"}}]}\n\n']
