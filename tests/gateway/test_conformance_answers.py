"""What upstreams send, to the letter and broken, and what the caller then gets: one row per case.

Then what takes two tries or time: stale connections, callers who trickle, leave or pipeline.
"""

import asyncio
import time
from dataclasses import dataclass

import pytest

from support.gateway_process import eventually
from support.raw_plane import GET, RawPlane, raw_plane
from support.raw_sockets import (
    OK,
    RawUpstream,
    connection,
    is_closed,
    read_answer,
    reset,
    says_ok,
    send,
)

STAYS, CLOSES, RESETS = "stays", "closes", "resets"
POST = b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
HEAD = b"HEAD /raw/x HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /raw/x HTTP/1.0\r\n\r\n"
LAST = b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def told(*fields: str, status: str = "200 OK", body: bytes = b"") -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body


@dataclass(frozen=True)
class Row:
    """What the upstream sends and how it ends, and what the caller gets.

    `whole` is whether the caller can take what he got for a whole answer; `later` is sent when the
    rest was read.
    """

    name: str
    sent: bytes
    status: int
    body: bytes = b""
    whole: bool = True
    ends: str = STAYS
    asked: bytes = GET
    later: bytes = b""
    answered: tuple[bytes, ...] = ()
    not_answered: tuple[bytes, ...] = (b"aiohttp",)


def broken(
    name: str,
    sent: bytes,
    body: bytes,
    ends: str = CLOSES,
    asked: bytes = GET,
    later: bytes = b"",
) -> Row:
    return Row(name, sent, 200, body, whole=False, ends=ends, asked=asked, later=later)


def invalid(name: str, sent: bytes, ends: str = STAYS) -> Row:
    return Row(name, sent, 502, ends=ends, asked=POST)


ABC = b"3\r\nabc\r\n"
CHUNKED = "Transfer-Encoding: chunked"
ROWS = [
    Row("length", told("Content-Length: 3", body=b"abc"), 200, b"abc"),
    Row("chunks", told(CHUNKED, body=b"2\r\nab\r\n1;e=f\r\nc\r\n0\r\n\r\n"), 200, b"abc"),
    Row(
        "trailers are dropped",
        told(CHUNKED, "Trailer: X-End", body=b"3\r\nabc\r\n0\r\nX-End: 1\r\n\r\n"),
        200,
        b"abc",
        not_answered=(b"X-End", b"railer"),
    ),
    Row("until it closes", told(body=b"abc"), 200, b"abc", ends=CLOSES),
    Row(
        "until it closes, to HTTP/1.0",
        told(body=b"abc"),
        200,
        b"abc",
        ends=CLOSES,
        asked=OLD,
        not_answered=(b"chunked",),
    ),
    Row(
        "chunks, to HTTP/1.0",
        told(CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
        200,
        b"abc",
        asked=OLD,
        not_answered=(b"chunked",),
    ),
    Row(
        "HTTP/1.0 upstream",
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        200,
        b"abc",
        ends=CLOSES,
        answered=(b"HTTP/1.1 200",),
    ),
    Row(
        "a body without a type",
        told("Content-Length: 3", body=b"abc"),
        200,
        b"abc",
        answered=(b"Content-Type: application/octet-stream\r\n",),
    ),
    Row(
        "to a caller's last request",
        told("Content-Length: 3", body=b"abc"),
        200,
        b"abc",
        asked=LAST,
        answered=(b"Connection: close\r\n",),
    ),
    Row("no body at all", told("Content-Length: 0"), 200, not_answered=(b"ontent-T",)),
    Row("empty chunks", told(CHUNKED, body=b"0\r\n\r\n"), 200),
    Row("204", told(status="204 No Content"), 204, not_answered=(b"ransfer-", b"ontent-L")),
    Row(
        "204 that tells a length",
        told("Content-Length: 0", status="204 No Content"),
        204,
        not_answered=(b"ontent-L",),
    ),
    Row("304 bare", told(status="304 Not Modified"), 304, not_answered=(b"ontent-L", b"ransfer-")),
    Row(
        "304 with its length",
        told("Content-Length: 9", 'ETag: "e"', status="304 Not Modified"),
        304,
        answered=(b'tag: "e"', b"Content-Length: 9"),
    ),
    Row(
        "HEAD with a length",
        told("Content-Length: 9"),
        200,
        asked=HEAD,
        answered=(b"Content-Length: 9",),
    ),
    Row("HEAD with chunks", told(CHUNKED), 200, asked=HEAD),
    Row("100 before the answer", told(status="100 Continue") + OK, 200, b"ok"),
    Row("103 before the answer", told("Link: </s>", status="103 Early Hints") + OK, 200, b"ok"),
    Row("reason missing", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200),
    Row(
        "reason of its own",
        told("Content-Length: 0", status="418 Short And Stout"),
        418,
        answered=(b"418 Short And Stout\r\n",),
    ),
    Row(
        "reason that is no UTF-8",
        told("Content-Length: 0", status="200 \udcff"),
        200,
        answered=(b"200 \xff\r\n",),
    ),
    Row("unusual status", told("Content-Length: 0", status="799 Odd"), 799),
    Row(
        "redirect",
        told("Location: /y", "Content-Length: 0", status="307 T"),
        307,
        answered=(b"Location: /y",),
    ),
    Row(
        "cookies",
        told("Set-Cookie: a=1", "X: y", "set-cookie: b=2", "Content-Length: 0"),
        200,
        answered=(b"Set-Cookie: a=1\r\n", b"Set-Cookie: b=2\r\n"),
    ),
    Row(
        "own server and date",
        told("Server: pot", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Length: 0"),
        200,
        answered=(b"Server: pot\r\n", b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        not_answered=(b"rampway",),
    ),
    Row(
        "hop-by-hop fields",
        told(
            "Connection: X-Hop, keep-alive",
            "X-Hop: 1",
            "Keep-Alive: 2",
            "Proxy-Authenticate: 3",
            "Upgrade: h2c",
            "Content-Length: 0",
        ),
        200,
        not_answered=(b"Hop", b"Alive", b"Proxy", b"pgrade", b"Connection"),
    ),
    Row(
        "bytes that are no UTF-8",
        told("X: \udcff\udcfe", "Content-Length: 0"),
        200,
        answered=(b"X: \xff\xfe\r\n",),
    ),
    Row("line ends of LF only", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", 200, b"abc"),
    Row(
        "junk behind the answer",
        told("Content-Length: 3", body=b"abcHTTP/1.1 200 OK\r\n\r\nevil"),
        200,
        b"abc",
    ),
    Row(
        "a second answer that nobody asked for",
        told("Content-Length: 3", body=b"abc") + told("Content-Length: 4", body=b"evil"),
        200,
        b"abc",
    ),
    Row(
        "space before the colon (RFC 9112 5.1: to be taken away)",
        told("Content-Length : 3", body=b"abc"),
        200,
        b"abc",
        answered=(b"Content-Length: 3\r\n",),
        not_answered=(b" :",),
    ),
    Row(
        "folded field (RFC 9112 5.2: to be unfolded)",
        told("X: a\r\n b", "Content-Length: 0"),
        200,
        answered=(b"X: a b\r\n",),
    ),
    broken("body shorter than its length", told("Content-Length: 9", body=b"abc"), b"abc"),
    broken("no last chunk", told(CHUNKED, body=b"3\r\nabc\r\n"), b"abc"),
    broken("no last chunk, reset", told(CHUNKED, body=b"3\r\nabc\r\n"), b"abc", RESETS),
    broken("until it closes, reset", told(body=b"abc"), b"abc", RESETS),
    broken("until it closes, reset, to HTTP/1.0", told(body=b"abc"), b"", RESETS, OLD),
    broken("bad chunk size", told(CHUNKED, body=ABC), b"abc", STAYS, later=b"xyz\r\n"),
    broken("chunk longer than its size", told(CHUNKED, body=ABC), b"abcd", STAYS, later=b"1\r\nde"),
    broken("silence in the middle", told("Content-Length: 9", body=b"abc"), b"abc", STAYS),
    invalid(
        "length and chunked", told("Content-Length: 3", CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n")
    ),
    invalid("two unequal lengths", told("Content-Length: 3", "Content-Length: 4", body=b"abcd")),
    invalid("length that is none", told("Content-Length: three", body=b"abc")),
    invalid("length below zero", told("Content-Length: -3", body=b"abc")),
    invalid(
        "101 that nobody asked for",
        told("Upgrade: x", "Connection: upgrade", status="101 Switching"),
    ),
    invalid("no HTTP", b"220 mail.example ESMTP\r\n"),
    invalid("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\r\n\r\n"),
    invalid("no status", b"HTTP/1.1 OK\r\n\r\n"),
    invalid("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    invalid("204 with a body", told("Content-Length: 4", status="204 No Content", body=b"evil")),
    invalid("304 with a body", told("Content-Length: 4", status="304 Not Modified", body=b"evil")),
    invalid("two equal lengths", told("Content-Length: 3", "Content-Length: 3", body=b"abc")),
    invalid("coding that is not undone", told("Transfer-Encoding: gzip, chunked", body=ABC)),
    invalid("NUL in a value", told("X: a\x00b", "Content-Length: 0")),
    invalid("control in a value", told("X: a\x01b", "Content-Length: 0")),
    invalid("bare CR in a value", told("X: a\rSet-Cookie: b", "Content-Length: 0")),
    invalid("field of 40 KB", told("X: " + "a" * 40_000, "Content-Length: 0")),
    invalid("thousand fields", told(*(f"X-{n}: a" for n in range(1_000)), "Content-Length: 0")),
    invalid("closed in the header", b"HTTP/1.1 200 OK\r\nContent-", CLOSES),
    invalid("closed at once", b"", CLOSES),
    invalid("reset at once", b"", RESETS),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_each_answer_of_an_upstream_reaches_the_caller_so(plane: RawPlane, row: Row) -> None:
    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(row.sent)
        await writer.drain()
        if row.ends == RESETS or row.later:
            await asyncio.sleep(0.05)  # what was sent has to be read first
        if row.later:
            writer.write(row.later)
        if row.ends == RESETS:
            reset(writer)
        elif row.ends == CLOSES:
            writer.close()

    plane.upstream.script = script

    async with connection(plane.port) as (reader, writer):
        writer.write(row.asked)
        answer = await read_answer(reader, to_head=row.asked == HEAD)

        if row.asked == OLD and not row.whole:
            assert answer is None or not answer.whole
            return
        assert answer is not None
        assert (answer.status, answer.whole) == (row.status, row.whole), answer
        assert row.status == 502 or answer.body == row.body
        assert all(part in answer.head for part in row.answered), answer
        assert not any(part in answer.head for part in (*row.not_answered, b"evil")), answer
        assert len(answer.values("server")) == len(answer.values("date")) == 1
        if not row.whole:
            assert await is_closed(reader)
    assert len(plane.upstream.heard) == 1
    plane.upstream.script = says_ok
    async with connection(plane.port) as (reader, writer):
        writer.write(GET + GET)
        for _ in range(2):
            again = await read_answer(reader)
            assert again is not None
            assert (again.status, again.body) == (200, b"ok")


async def test_a_second_answer_on_a_kept_connection_answers_nobody(plane: RawPlane) -> None:
    async with connection(plane.port) as (reader, writer):
        writer.write(GET)
        assert (await read_answer(reader)) is not None

        async def pushes(_upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
            wire.write(OK)
            await asyncio.sleep(0.05)
            wire.write(told("Content-Length: 4", body=b"evil"))

        plane.upstream.script = pushes
        writer.write(GET)
        assert (await read_answer(reader)) is not None
        await asyncio.sleep(0.1)
        plane.upstream.script = says_ok
        writer.write(GET)
        answer = await read_answer(reader)

        assert answer is not None
        assert answer.body == b"ok"


@pytest.mark.parametrize(("asked", "status", "times"), [(POST, 502, 1), (GET, 200, 2)])
async def test_on_a_stale_connection_only_what_is_harmless_is_sent_again(
    asked: bytes, status: int, times: int
) -> None:
    async with raw_plane() as plane:
        await plane.refresh()
        stale = plane.upstream.wire

        async def dies_when_reused(_upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
            if wire is stale:
                wire.close()
            else:
                wire.write(OK)

        plane.upstream.script = dies_when_reused
        async with connection(plane.port) as (reader, writer):
            writer.write(asked)
            answer = await read_answer(reader)

        assert answer is not None
        assert answer.status == status
        assert (b"upstream_reset" in answer.body) is (status == 502)
        assert len(plane.upstream.heard) == times


async def test_an_idempotent_request_is_sent_again_once_and_no_more(plane: RawPlane) -> None:
    async def dies(_upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
        wire.close()

    plane.upstream.script = dies
    async with connection(plane.port) as (reader, writer):
        writer.write(GET)
        answer = await read_answer(reader)

    assert answer is not None
    assert answer.status == 502
    assert len(plane.upstream.heard) == 2


async def test_pipelined_requests_are_answered_in_their_order(plane: RawPlane) -> None:
    async def says_the_path(upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
        path = upstream.heard[-1].split(b" ")[1]
        wire.write(told(f"Content-Length: {len(path)}", body=path))

    plane.upstream.script = says_the_path
    async with connection(plane.port) as (reader, writer):
        paths = [b"/%d" % n for n in range(40)]
        writer.write(b"".join(b"GET /raw%s HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in paths))
        told_back = [await read_answer(reader) for _ in paths]

    assert [answer and answer.body for answer in told_back] == paths


async def test_bytes_behind_a_refused_upgrade_are_the_next_request(plane: RawPlane) -> None:
    upgrade = b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

    async with connection(plane.port) as (reader, writer):
        writer.write(upgrade + GET)
        told_back = [await read_answer(reader), await read_answer(reader)]

    assert [answer and answer.status for answer in told_back] == [200, 200]


async def test_the_gateway_asks_for_a_body_that_waits_to_be_asked_for(plane: RawPlane) -> None:
    async with connection(plane.port) as (reader, writer):
        writer.write(POST[:-7] + b"\r\nExpect: 100-continue\r\n\r\n")
        asked = await read_answer(reader)
        assert asked is not None
        assert asked.status == 100
        assert plane.upstream.heard == []
        writer.write(b"abc")
        answer = await read_answer(reader)

    assert answer is not None
    assert answer.status == 200
    assert b"xpect" not in plane.upstream.heard[0]


@pytest.mark.parametrize(
    "pieces",
    [[b"G"], [GET[:-1]], [GET, GET[:20]], [b"\r\n"], *[[GET[:at]] for at in (5, 18, 24)]],
    ids=["letter", "last-byte", "second", "line-end", "target", "version", "field"],
)
async def test_a_header_that_does_not_come_in_time_is_408_and_the_connection_is_closed(
    plane: RawPlane, pieces: list[bytes]
) -> None:
    async with connection(plane.port) as (reader, writer):
        for piece in pieces[:-1]:
            writer.write(piece)
            assert (await read_answer(reader)) is not None
        began = time.monotonic()
        writer.write(pieces[-1])
        answer = await read_answer(reader)

        assert answer is not None
        assert answer.status == 408
        assert await is_closed(reader)
        assert 0.3 < time.monotonic() - began < 1.5


async def test_a_header_that_trickles_buys_no_time(plane: RawPlane) -> None:
    began = time.monotonic()
    closed = 0.0

    async with connection(plane.port) as (reader, writer):
        answering = asyncio.create_task(read_answer(reader))
        while not answering.done():
            writer.write(b"X" if closed else b"GET /raw/x HTTP/1.1\r\nX")
            closed = 1.0
            await asyncio.sleep(0.05)
        answer = answering.result()

    assert answer is not None
    assert answer.status == 408
    assert time.monotonic() - began < 1.5


async def test_a_body_that_breaks_its_framing_later_is_refused_at_once(plane: RawPlane) -> None:
    began = time.monotonic()

    async with connection(plane.port) as (reader, writer):
        head = b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        await send(writer, [head + ABC, b"xyz\r\n"])
        answer = await read_answer(reader)

    assert answer is not None
    assert answer.status == 400
    assert time.monotonic() - began < 0.4
    assert plane.upstream.heard == []


@pytest.mark.parametrize("asked", [GET, POST], ids=["GET", "POST"])
async def test_a_connection_without_a_request_is_kept_as_long_as_is_configured(
    plane: RawPlane, asked: bytes
) -> None:
    async with connection(plane.port) as (reader, writer):
        await asyncio.sleep(0.8)  # longer than a header may take
        writer.write(asked)
        answer = await read_answer(reader)
        began = time.monotonic()

        assert answer is not None
        assert await is_closed(reader)
        assert 1.5 < time.monotonic() - began < 3.5


@pytest.mark.parametrize("sent", [POST[:-1], POST[:30], GET[:9]], ids=["body", "fields", "line"])
@pytest.mark.parametrize("how", [CLOSES, RESETS])
async def test_a_caller_who_leaves_in_his_request_reaches_no_upstream(
    plane: RawPlane, sent: bytes, how: str
) -> None:
    async with connection(plane.port) as (_reader, writer):
        await send(writer, [sent])
        if how == RESETS:
            reset(writer)

    await plane.settled()
    assert plane.upstream.heard == []


@pytest.mark.parametrize("how", [CLOSES, RESETS])
async def test_a_caller_who_leaves_in_his_answer_ends_the_upstreams_and_is_no_error(
    plane: RawPlane, how: str
) -> None:
    gone = asyncio.Event()

    async def streams(_upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
        wire.write(told(CHUNKED))
        try:
            while True:
                wire.write(ABC)
                await wire.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    plane.upstream.script = streams
    aborted = await plane.counted("aborted_total")
    async with connection(plane.port) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"abc")
        if how == RESETS:
            reset(writer)

    async with asyncio.timeout(5):
        await gone.wait()

    async def counted() -> bool:
        return await plane.counted("aborted_total") == aborted + 1

    await eventually(counted)
