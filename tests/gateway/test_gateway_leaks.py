"""Not one byte of the candidate reaches a caller while it shadows: whatever either does, and whenever.

Callers read raw bytes; the candidate says a marker in every line of all that it sends. Copying is
switched on, off and to another release all the while.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from support.gateway_process import CANDIDATE, AdminClient, accepted, gateway_process, served
from support.raw_sockets import RawUpstream, connection, raw_upstream, read_answer, reset

MARKER = b"only-b-says-this"
CALLERS = 12
SETTINGS = """
[timeouts]
connect = 1.0
between_chunks = 0.3
[shadow]
timeout = 0.3
connections = 16
queued_copies = 16
breaker_failures = 50
breaker_open = 0.1
"""
# What a caller asks for, and how often: the baseline does as the path says.
KINDS = {
    "plain": 60,
    "stream": 15,
    "fails": 8,
    "cancelled": 6,
    "left": 6,
    "dies": 2,
    "breaks": 2,
    "hangs": 1,
}
CHUNK = b"6\r\ndata:a\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Play:
    """One run: what callers got, what the candidate was asked, how often copying was switched."""

    wanted: int
    dice: random.Random = field(default_factory=lambda: random.Random(8))
    answered: Counter[str] = field(default_factory=Counter[str])
    copies: Counter[str] = field(default_factory=Counter[str])
    switches: int = 0
    leaked: list[bytes] = field(default_factory=list[bytes])

    @property
    def is_over(self) -> bool:
        return self.answered.total() >= self.wanted

    def note(self, kind: str, got: bytes) -> None:
        self.answered[kind] += 1
        if MARKER in got.lower():
            self.leaked.append(got)

    async def baseline(self, upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
        kind = upstream.heard.pop().split(b" ")[1][1:].decode()
        if kind in {"stream", "cancelled", "breaks"}:
            wire.write(STREAM + CHUNK)
            await wire.drain()
            await asyncio.sleep(0.002)
            if kind == "breaks":
                wire.close()
                return
            wire.write(CHUNK * 3 + b"0\r\n\r\n")
        elif kind == "fails":
            wire.write(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\na!")
        elif kind == "dies":
            reset(wire)
        elif kind == "hangs":
            await asyncio.sleep(1.0)
            wire.close()
        else:
            wire.write(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"by":"a"}')

    async def candidate(self, upstream: RawUpstream, wire: asyncio.StreamWriter) -> None:
        kind = upstream.heard.pop().split(b" ")[1][1:].decode()
        self.copies[kind] += 1
        head = b"HTTP/1.1 418 %b\r\nX-%b: %b\r\nSet-Cookie: %b=1\r\n" % ((MARKER,) * 4)
        match self.dice.randrange(8):
            case 0:  # a stream that floods, and breaks off
                wire.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(20):
                    wire.write(b"%x\r\n%b\r\n" % (len(MARKER) * 50, MARKER * 50))
                    await wire.drain()
                reset(wire)
            case 1:  # slower than copies may be
                await asyncio.sleep(0.4)
                wire.write(head + b"Content-Length: 0\r\n\r\n")
            case 2:  # more than was asked for
                wire.write((head + b"Content-Length: 16\r\n\r\n" + MARKER) * 2)
            case 3:  # garbage
                wire.write(MARKER * 10 + b"\r\n\r\n")
                wire.close()
            case _:
                wire.write(head + b"Content-Length: 160\r\n\r\n" + MARKER * 10)

    async def calls(self, port: int) -> None:
        """One caller after the other, each keeping his connection until something ends it."""
        while not self.is_over:
            async with connection(port) as (reader, writer):
                while not self.is_over and await self.asks(reader, writer):
                    pass

    async def asks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection is still good for another."""
        [kind] = self.dice.choices(list(KINDS), list(KINDS.values()))
        writer.write(
            b"POST /tutor/%b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}" % kind.encode()
        )
        if kind == "left":  # before the answer
            await asyncio.sleep(self.dice.random() * 0.003)
            self.note(kind, await _what_came(reader))
            return False
        if kind == "cancelled":  # in the middle of it
            self.note(kind, await reader.read(200))
            return False
        answer = await read_answer(reader)
        self.note(kind, answer.head + answer.body if answer else b"")
        return answer is not None and answer.whole and b"onnection: close" not in answer.head

    async def switches_all_the_while(self, admin: AdminClient) -> None:
        """Claim, copies on, off, on at another rate, pinned or ended: and the next release."""
        while not self.is_over:
            token = await admin.claim(f"r{self.switches}", candidate=served(CANDIDATE, "b"))
            for sequence, rate_bp in enumerate((10_000, 0, 10_000, 5_000, 10_000), start=1):
                await admin.shadow(token, sequence, rate_bp)
                self.switches += 1
                await asyncio.sleep(self.dice.random() * 0.05)
            if self.dice.random() < 0.5:
                accepted(await admin.write("pin", token, 5, cause="abort"))
                await asyncio.sleep(self.dice.random() * 0.02)
            accepted(await admin.write("end", token, 6, ending="rolled_back"))


@asynccontextmanager
async def played(play: Play) -> AsyncGenerator[AdminClient]:
    async with raw_upstream() as a, raw_upstream() as b, aiohttp.ClientSession() as http:
        a.script, b.script = play.baseline, play.candidate
        with gateway_process({"a": a.url, "b": b.url}, settings=SETTINGS) as gateway:
            admin = AdminClient(http, gateway)
            await admin.register(timeout_seconds=0.5)
            callers = [asyncio.create_task(play.calls(gateway.data_port)) for _ in range(CALLERS)]
            switching = asyncio.create_task(play.switches_all_the_while(admin))
            await asyncio.gather(*callers, switching)
            yield admin


async def _what_came(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(10_000), 0.001)
    except TimeoutError:
        return b""


async def check(responses: int) -> None:
    play = Play(responses)

    async with played(play) as admin:
        assert play.leaked == []
        assert play.answered.total() >= responses
        assert all(play.answered[kind] > 0 for kind in KINDS)
        assert all(play.copies[kind] > 0 for kind in KINDS)
        assert play.switches > responses / 250
        assert await admin.metric('requests_total{target="tutor",arm="candidate"}') == 0


async def test_no_byte_of_the_candidate_reaches_a_caller() -> None:
    await check(5_000)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_no_byte_of_the_candidate_reaches_a_caller_in_a_hundred_thousand_answers() -> None:
    await check(100_000)


async def test_the_marker_would_be_found_if_it_leaked() -> None:
    play = Play(1)

    play.note("plain", b"HTTP/1.1 200 OK\r\nX: Only-B-Says-This\r\n\r\n")

    assert len(play.leaked) == 1
