"""What an upstream may do with a request before it answers it."""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest

from support.gateway_process import BASELINE, AdminClient, gateway_process, served
from support.raw_plane import RawPlane
from support.raw_sockets import RawUpstream, connection, read_answer

LARGE = b"y" * 8_000_000
HASTY = "hasty"  # a target of the same upstream whose callers wait for less long
HASTY_SECONDS = 1.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Connections:
    """An upstream that reads no more than heads, and remembers on which connection each came."""

    serve_one: Serve
    heads: list[int] = field(default_factory=list[int])
    opened: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        number = self.opened
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.heads.append(number)
                await self.serve_one(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asked(upstream: Connections) -> AsyncGenerator[tuple[aiohttp.ClientSession, str]]:
    """A caller, and the address at which the gateway passes on to this upstream."""
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, aiohttp.ClientSession() as http:
        with gateway_process({"a": url}) as gateway:
            admin = AdminClient(http, gateway, "raw")
            await admin.register(baseline=served(BASELINE, "a"), timeout_seconds=30.0)
            hasty = AdminClient(http, gateway, HASTY)
            await hasty.register(baseline=served(BASELINE, "a"), timeout_seconds=HASTY_SECONDS)
            yield http, f"{gateway.data_url}/raw/x"
        server.close()


async def test_an_answer_before_the_body_was_read_is_passed_on_and_ends_its_connection() -> None:
    """What is left of the body would be taken for the next request."""

    async def answers_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        if len(upstream.heads) == 1:
            await over.wait()  # it reads no more, and does not hang up either

    over = asyncio.Event()
    upstream = Connections(answers_at_once)
    async with asked(upstream) as (http, url):
        for body in (LARGE, b"small"):
            async with http.post(url, data=io.BytesIO(body)) as answer:
                assert (answer.status, await answer.read()) == (200, b"ok")
        over.set()

    assert upstream.heads == [1, 2]


async def test_a_large_body_reaches_an_upstream_that_reads_it_slowly_and_whole() -> None:
    read = bytearray()

    async def reads_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(read) < len(LARGE):
            read.extend(await reader.read(300_000))
            await asyncio.sleep(0)
        writer.write(OK)

    upstream = Connections(reads_slowly)
    async with asked(upstream) as (http, url):
        for _ in range(2):
            read.clear()
            async with http.post(url, data=io.BytesIO(LARGE)) as answer:
                assert answer.status == 200
            assert read == LARGE

    assert upstream.heads == [1, 1]


async def test_each_request_has_its_own_time_on_a_connection_that_many_use() -> None:
    """Whatever was asked before on it, and however long that might have taken."""
    takes_seconds = 0.0
    over = asyncio.Event()

    async def takes_its_time(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), takes_seconds)
        writer.write(OK)

    async def ask(target: str) -> int:
        async with http.get(url.replace("/raw/", f"/{target}/")) as answer:
            return answer.status

    upstream = Connections(takes_its_time)
    async with asked(upstream) as (http, url):
        assert [await ask("raw"), await ask(HASTY)] == [200, 200]
        await asyncio.sleep(0.6 * HASTY_SECONDS)
        takes_seconds = 0.6 * HASTY_SECONDS
        assert await ask(HASTY) == 200  # when the time of the one before has run out, not its own
        takes_seconds = 1.5 * HASTY_SECONDS
        assert await ask("raw") == 200
        takes_seconds = 60.0
        began = time.monotonic()
        assert await ask(HASTY) == 504
        assert 0.9 * HASTY_SECONDS < time.monotonic() - began < 4 * HASTY_SECONDS
        over.set()

    assert upstream.heads == [1] * 5


@pytest.mark.parametrize(("hints", "status"), [(0, 200), (8, 200), (9, 502), (100_000, 502)])
async def test_few_informational_answers_are_read_past_and_many_are_no_answer(
    plane: RawPlane, hints: int, status: int
) -> None:
    async def hints_first(_upstream: RawUpstream, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * hints + OK)

    plane.upstream.script = hints_first
    async with connection(plane.port) as (reader, writer):
        writer.write(b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}")
        answer = await read_answer(reader)

    assert answer is not None
    assert answer.status == status
    assert len(plane.upstream.heard) == 1


async def test_the_upstreams_own_host_comes_first(plane: RawPlane) -> None:
    async with connection(plane.port) as (reader, writer):
        writer.write(b"GET /raw/x HTTP/1.1\r\nAccept: a/b\r\nHost: callers.example\r\n\r\n")
        assert await read_answer(reader)

    host = plane.upstream.url.removeprefix("http://").encode()
    first, *fields = plane.upstream.heard[0].split(b"\r\n")
    assert first == b"GET /x HTTP/1.1"
    assert fields[:2] == [b"Host: " + host, b"Accept: a/b"]
    assert b"callers.example" not in plane.upstream.heard[0]
