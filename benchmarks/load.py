"""Callers over raw sockets, as a process of their own: `python -m benchmarks.load KIND URL SECONDS RATE`.

`total` counts the warm-up too. `closed` keeps 32 connections busy, `open` sends at RATE per second at random moments (Poisson) and
counts from when a request was due, `exact` is the same and counts an answer as failed whose bytes are not all
the model server's, `streams` keeps 8 streams open. Prints one line of JSON: how many,
how many failed, and milliseconds at the median and at the 99th percentile (of streams, to the first
byte).
"""

import asyncio
import ctypes
import os
import random
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

import orjson
import uvloop

from benchmarks.origin import ANSWER, ASKED, ASKED_STREAM, content_length

BUSY_CONNECTIONS: Final = 32
OPEN_STREAMS: Final = 8
WARM_UP_SECONDS: Final = 0.5  # not counted
_PATIENCE_SECONDS: Final = 5.0


class Tally:
    """What was measured once the warm-up was over."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.failed = 0
        self.total = 0
        self._counts = False

    def count(self) -> None:
        """From now on."""
        self._counts = True

    def note(self, seconds: float, *, good: bool) -> None:
        self.total += 1
        if self._counts:
            self.taken.append(seconds)
            self.failed += not good

    def line(self) -> bytes:
        ordered = sorted(self.taken) or [float("nan")]
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99)]
        return orjson.dumps(
            {
                "total": self.total,
                "failed": self.failed,
                "p50": at[0] * 1e3,
                "p99": at[1] * 1e3,
            }
        )


class Alarm:
    """Rings at a moment, to some microseconds (timerfd_create(2)).

    The loop's own timers count in milliseconds, and what is sent half of one late is counted as slower.
    """

    _MONOTONIC: Final = 1
    _NONBLOCK: Final = 0o4000
    _ABSOLUTE: Final = 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.timerfd_create(self._MONOTONIC, self._NONBLOCK)
        self._rung = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._ring)

    async def wait_until(self, due: float) -> None:
        """Until this moment by `time.perf_counter`, which is the monotonic clock here."""
        seconds, part = divmod(due, 1.0)
        once = struct.pack("llll", 0, 0, int(seconds), int(part * 1e9))
        self._rung.clear()
        if self._libc.timerfd_settime(self._descriptor, self._ABSOLUTE, once, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        await self._rung.wait()

    def _ring(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)
        self._rung.set()


class Wire(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._held = bytearray()
        self._due: float | None = None
        self._needs: int | None = None
        self._first = 0.0
        self._body_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, due: float) -> None:
        self._due, self._needs, self._first = due, None, 0.0
        self._held.clear()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        held = self._held
        held += data
        if self._first == 0.0:
            self._first = self._load.now()
        if self._needs is None:
            end = held.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = content_length(bytes(held[:end]))
            self._needs = end + length if length is not None else 0
            self._body_at = end
        if self._needs and len(held) >= self._needs:
            good = held.startswith(b"HTTP/1.1 200") and held.endswith(self._load.ends)
            if self._load.is_exact:
                good = good and held[self._body_at :] == ANSWER
            self._end(good=good)
        elif not self._needs and held.endswith(b"0\r\n\r\n"):
            self._end(good=held.startswith(b"HTTP/1.1 200") and self._load.ends in held)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._due is not None:
            self._end(good=False)
        self._load.lost(self)

    def _end(self, *, good: bool) -> None:
        due, self._due = self._due, None
        if due is not None:
            until = self._first if self._load.is_streams else self._load.now()
            self._load.tally.note(until - due, good=good)
            self._load.done(self)


class Load:
    """All connections of one run."""

    def __init__(self, kind: str, url: str, seconds: float, rate: float) -> None:
        self.is_exact = kind == "exact"
        self.kind = "open" if self.is_exact else kind
        self.tally = Tally()
        self.is_streams = kind == "streams"
        body, self.ends = (
            (ASKED_STREAM, b"data: [DONE]") if self.is_streams else (ASKED, ANSWER[-30:])
        )
        self._at = urlsplit(url)
        self.request = (
            f"POST {self._at.path} HTTP/1.1\r\nHost: {self._at.netloc}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        self._seconds = seconds
        self._rate = rate
        self._free: deque[Wire] = deque()
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._busy = 0
        self._idle = asyncio.Event()

    def now(self) -> float:
        """Not the loop's clock, which counts in milliseconds."""
        return time.perf_counter()

    async def run(self) -> bytes:
        began = self.now()
        self._loop.call_later(WARM_UP_SECONDS, self.tally.count)
        if self.kind == "open":
            await self._open_loop(began + WARM_UP_SECONDS + self._seconds)
        else:
            wires = OPEN_STREAMS if self.is_streams else BUSY_CONNECTIONS
            for _ in range(wires):
                (await self._wire()).send(self.now())
            await asyncio.sleep(WARM_UP_SECONDS + self._seconds)
        return self.tally.line()

    def done(self, wire: Wire) -> None:
        self._busy -= 1
        if self._busy == 0:
            self._idle.set()
        if self.kind == "open":
            self._free.append(wire)
        elif not self._over:
            wire.send(self.now())

    def lost(self, wire: Wire) -> None:
        if wire in self._free:
            self._free.remove(wire)

    async def _open_loop(self, until: float) -> None:
        dice, alarm = random.Random(7), Alarm()
        due = self.now()
        for _ in range(BUSY_CONNECTIONS):
            self._free.append(await self._wire())
        while due < until:
            due += dice.expovariate(self._rate)
            if due > self.now():
                await alarm.wait_until(due)
            wire = self._free.popleft() if self._free else await self._wire()
            self._busy += 1
            self._idle.clear()
            wire.send(due)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._idle.wait()
        self.tally.failed += max(0, self._busy)  # never answered

    async def _wire(self) -> Wire:
        _, wire = await self._loop.create_connection(
            lambda: Wire(self), self._at.hostname, self._at.port
        )
        return wire


async def _main(kind: str, url: str, seconds: str, rate: str) -> None:
    print((await Load(kind, url, float(seconds), float(rate)).run()).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:5]))
