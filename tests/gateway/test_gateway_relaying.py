"""Answers of many pieces reach the caller byte for byte, however they are cut and however he reads."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import pytest

from support.gateway_process import eventually, true
from support.raw_plane import RawPlane
from support.raw_sockets import Answered, RawUpstream, connection, read_answer

BODY_BYTES: Final = 6_000_000
ASKED: Final = b"GET /raw/x HTTP/1.1\r\nHost: h\r\n\r\n"
ASKED_OLD: Final = b"GET /raw/x HTTP/1.0\r\nHost: h\r\n\r\n"

Framed = Callable[[bytes, random.Random], bytes]


def _in_chunks(body: bytes, dice: random.Random) -> bytes:
    chunks = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    while body:
        size = min(len(body), dice.choice((1, 40, 900, 50_000)))
        chunks.append(b"%x\r\n%b\r\n" % (size, body[:size]))
        body = body[size:]
    return b"".join([*chunks, b"0\r\n\r\n"])


def _with_a_length(body: bytes, _dice: random.Random) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _to_the_end(body: bytes, _dice: random.Random) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


async def _read_fitfully(plane: RawPlane, asked: bytes, *, pause_seconds: float) -> Answered | None:
    """The answer to a caller who takes a few hundred kilobytes, and then for a while nothing."""
    dice = random.Random(3)
    reader, taken = asyncio.StreamReader(limit=2**24), 0
    wire, writer = await asyncio.open_connection("127.0.0.1", plane.port, limit=2**14)
    writer.write(asked)

    async def take() -> None:
        nonlocal taken
        stops_at = 100_000
        while piece := await wire.read(30_000):
            reader.feed_data(piece)
            taken += len(piece)
            if taken > stops_at:
                stops_at = taken + dice.randrange(100_000, 600_000)
                await asyncio.sleep(pause_seconds)
        reader.feed_eof()

    taking = asyncio.create_task(take())
    try:
        return await read_answer(reader)
    finally:
        taking.cancel()
        writer.transport.abort()


@pytest.mark.parametrize("asked", [ASKED, ASKED_OLD], ids=["1.1", "1.0"])
@pytest.mark.parametrize(
    "framed", [_in_chunks, _with_a_length, _to_the_end], ids=lambda framed: framed.__name__
)
@pytest.mark.parametrize("pause_seconds", [0.0, 0.02], ids=["reads on", "stops at times"])
async def test_a_large_answer_cut_anywhere_arrives_whole(
    plane: RawPlane, framed: Framed, asked: bytes, pause_seconds: float
) -> None:
    dice = random.Random(2)
    body = dice.randbytes(BODY_BYTES)
    wire = framed(body, dice)

    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        at = 0
        while at < len(wire):
            size = dice.choice((3, 200, 30_000, 400_000))
            writer.write(wire[at : at + size])
            await writer.drain()
            at += size
            if dice.random() < 0.3:
                await asyncio.sleep(0)
        if framed is _to_the_end:
            writer.close()

    plane.upstream.script = script
    answer = await _read_fitfully(plane, asked, pause_seconds=pause_seconds)

    assert answer is not None
    assert (answer.status, answer.whole, answer.body == body) == (200, True, True)


async def test_answers_that_end_while_the_next_is_asked_for_do_not_mix(plane: RawPlane) -> None:
    """Kept connections go from answer to answer, and none hears what the next one brings."""
    answers = 200

    async def script(upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        number = upstream.heard[-1].split(b" ")[1].removeprefix(b"/")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (number, b"-", number):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    plane.upstream.script = script

    async def ask(first: int) -> None:
        async with connection(plane.port) as (reader, writer):
            for number in range(first, first + answers):
                writer.write(b"GET /raw/%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
                answer = await read_answer(reader)
                assert answer is not None
                assert answer.body == b"%d-%d" % (number, number)

    await asyncio.gather(*[ask(1_000 * caller) for caller in range(1, 5)])


async def test_a_caller_who_takes_no_answers_has_no_further_requests_sent(plane: RawPlane) -> None:
    body = b"x" * 60_000  # in one piece, and as much as the kernel holds for him is soon full
    asked = 1_000

    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    plane.upstream.script = script
    async with connection(plane.port) as (reader, writer):
        writer.write(ASKED * asked)
        heard = -1

        async def waits() -> bool:
            nonlocal heard
            before, heard = heard, len(plane.upstream.heard)
            return heard == before

        await eventually(waits)
        assert 0 < heard < asked / 2
        for _ in range(asked):
            answer = await read_answer(reader)
            assert answer is not None
            assert answer.body == body


async def test_a_caller_who_has_stopped_reading_and_leaves_lets_the_upstream_go(
    plane: RawPlane,
) -> None:
    left = asyncio.Event()

    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
                await writer.drain()
        except ConnectionError:
            left.set()
            raise

    plane.upstream.script = script
    async with connection(plane.port) as (reader, writer):
        writer.write(ASKED)
        assert await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(5):
        await left.wait()
    await plane.settled()


async def test_what_a_stream_told_before_it_failed_has_reached_the_caller(plane: RawPlane) -> None:
    """Also where the failure came with it."""

    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await writer.drain()
        await eventually(lambda: true(heard_one.is_set()))
        writer.write(b"3\r\ntwo\r\nno size\r\n")

    heard_one = asyncio.Event()
    plane.upstream.script = script
    async with connection(plane.port) as (reader, writer):
        writer.write(ASKED)
        head = await reader.readuntil(b"one\r\n")
        heard_one.set()
        rest = await reader.read()

    assert head.startswith(b"HTTP/1.1 200")
    assert rest == b"3\r\ntwo\r\n"


async def test_a_burst_reaches_the_caller_whole_though_nothing_follows_it(plane: RawPlane) -> None:
    """However much comes at once, no rest of it waits for the next piece."""
    bursts = (
        20_000,
        40_000,
        80_000,
    )  # of the smallest chunks there are: more than are read at once
    has_all = asyncio.Event()

    async def script(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        for chunks in bursts:
            await asyncio.wait_for(has_all.wait(), 5)
            has_all.clear()
            writer.write(b"1\r\nx\r\n" * chunks)
        await asyncio.wait_for(has_all.wait(), 5)
        writer.write(b"0\r\n\r\n")

    plane.upstream.script = script
    async with connection(plane.port) as (reader, writer):
        writer.write(ASKED)
        await reader.readuntil(b"1\r\nx\r\n")
        for chunks in bursts:
            has_all.set()
            left_bytes = chunks
            while left_bytes:
                left_bytes -= int(await asyncio.wait_for(reader.readuntil(b"\r\n"), 5), 16)
                await reader.readuntil(b"\r\n")
        has_all.set()
        assert await reader.readuntil(b"\r\n\r\n") == b"0\r\n\r\n"
