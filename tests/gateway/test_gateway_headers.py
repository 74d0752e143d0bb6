"""What passes a proxy, what is set on the way, and what an answer says."""

import uuid

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from rampway.gateway.answers import Kept, failure, kind_of_status
from rampway.gateway.headers import passed_back, passed_on, trace_id_of, with_fields
from rampway.gateway.refusals import says_refused
from rampway.gateway.requestids import RequestIds
from rampway.gateway.terms import Serve


def proxied(*fields: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(fields))


def test_hop_by_hop_fields_and_those_that_connection_names_do_not_pass() -> None:
    told = proxied(
        ("Host", "caller.example"),
        ("Connection", "keep-alive, X-Secret"),
        ("X-Secret", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers"),
        ("Trailer", "X-End"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Content-Length", "7"),
        ("Expect", "100-continue"),
        ("X-Rampway-Shadow", "1"),
        ("Accept", "a"),
        ("accept", "b"),
    )

    assert list(passed_on(told).items()) == [("Accept", "a"), ("Accept", "b")]


def test_duplicates_and_their_order_pass_back_and_nothing_that_tells_the_arm() -> None:
    told = proxied(
        ("Set-Cookie", "a=1"),
        ("Connection", "close"),
        ("X", "1"),
        ("Set-Cookie", "b=2"),
        ("X-Rampway-Artifact", "sha256:1"),
        ("X-Rampway-Anything", "1"),
        ("x-digest", "sha256:1"),
        ("Content-Length", "3"),
    )

    assert list(passed_back(told, "X-Digest").items()) == [
        ("Set-Cookie", "a=1"),
        ("X", "1"),
        ("Set-Cookie", "b=2"),
        ("Content-Length", "3"),
    ]


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", None),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("nonsense", None),
    ],
)
def test_the_trace_id_is_that_of_a_well_formed_traceparent(
    traceparent: str, trace_id: str | None
) -> None:
    assert trace_id_of({"traceparent": traceparent}) == trace_id


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (b'{"model":"old","n":1}', b'{"model":"new","n":1,"seed":7}'),
        (b' {"n":1}', b'{"n":1,"model":"new","seed":7}'),
        (b"[1]", b"[1]"),
        (b"{broken", b"{broken"),
        (b"", b""),
        (b"\x1f\x8b packed", b"\x1f\x8b packed"),
    ],
)
def test_fields_are_set_at_the_top_of_a_json_object_and_nowhere_else(
    body: bytes, sent: bytes
) -> None:
    assert with_fields(body, {"model": "new", "seed": 7}) == sent


def test_without_fields_a_body_passes_byte_for_byte() -> None:
    body = b'{ "n": 1.10, "big": 123456789012345678901234567890 }'

    assert with_fields(body, {}) is body


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Connection": "close"}, "belongs to the gateway"),
        ({"X-Rampway-Shadow": "1"}, "belongs to the gateway"),
        ({"x-request-id": "1"}, "belongs to the gateway"),
        ({"bad name": "1"}, "not a header name"),
        ({"X": "1\r\nY: 2"}, "control character"),
    ],
)
def test_an_artifact_cannot_set_fields_of_the_gateway_or_split_a_header(
    headers: dict[str, str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Serve(upstream="a", headers=headers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (302, None),
        (404, None),
        (422, None),
        (429, "status_429"),
        (500, "status_500"),
        (503, "status_503"),
        (504, "other"),
        (599, "other"),
    ],
)
def test_server_errors_and_429_are_errors_and_other_4xx_are_the_callers(
    status: int, kind: str | None
) -> None:
    assert kind_of_status(status) == kind


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b'{"choices":[{"finish_reason":"stop"},{"finish_reason":"content_filter"}]}', True),
        (b'{"finish_reason":"content_filter"}', True),
        (b'{"refused":true}', True),
        (b'{"refused":"true"}', False),
        (b'{"refused":false}', False),
        (b'{"choices":[{"message":{"content":"\\"content_filter\\""}}]}', False),
        (b'{"choices":"content_filter"}', False),
        (b'["content_filter"]', False),
        (b'"refused" is no JSON', False),
    ],
)
def test_an_answer_is_a_refusal_only_where_its_fields_say_so(body: bytes, *, refused: bool) -> None:
    assert says_refused(body) is refused


def test_an_answer_is_kept_while_it_is_small_and_forgotten_when_it_is_not() -> None:
    kept = Kept(5)
    kept.add(b"123")
    assert kept.whole(5) == b"123"
    assert kept.whole(2) is None
    kept.add(b"456")

    assert kept.whole(100) is None
    assert kept.size_bytes == 6


def test_a_failure_never_tells_the_caller_which_upstream_it_was() -> None:
    kind, told = failure(OSError("http://candidate.internal:9999 reset"))

    assert kind == "reset"
    assert "candidate" not in told.why


def test_drawn_ids_are_random_uuids_and_never_the_same() -> None:
    ids = RequestIds()

    drawn = [uuid.UUID(ids.draw()) for _ in range(1_000)]

    assert {(one.version, one.variant) for one in drawn} == {(4, uuid.RFC_4122)}
    assert len(set(drawn)) == 1_000
