"""HTTP by hand on both sides: an upstream that answers with given bytes, a caller that sends them."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PATIENCE_SECONDS = 5.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = Callable[["RawUpstream", asyncio.StreamWriter], Awaitable[None]]


async def says_ok(upstream: "RawUpstream", writer: asyncio.StreamWriter) -> None:
    writer.write(OK[:-2] if upstream.heard[-1].startswith(b"HEAD ") else OK)


@dataclass
class RawUpstream:
    """Remembers each request byte for byte, and plays `script`."""

    script: Script = says_ok
    url: str = ""
    heard: list[bytes] = field(default_factory=list[bytes])
    wire: asyncio.StreamWriter | None = None  # of the last request

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.wire = writer
                self.heard.append(head + await reader.readexactly(_length(head)))
                await self.script(self, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw_upstream() -> AsyncGenerator[RawUpstream]:
    upstream = RawUpstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, limit=2**20)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield upstream
        server.close()


@dataclass(frozen=True)
class Answered:
    """One answer as it stood on the wire. `whole` says whether it came to its framed end."""

    status: int
    head: bytes
    body: bytes
    whole: bool

    def values(self, name: str) -> list[bytes]:
        """What a field's lines say, in their order."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return [value.strip() for field, _, value in lines if field.lower() == name.encode()]


@asynccontextmanager
async def connection(port: int) -> AsyncGenerator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def send(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Each piece in a segment of its own, as far as a loopback allows to say so."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.005)


async def read_answer(reader: asyncio.StreamReader, *, to_head: bool = False) -> Answered | None:
    """The next answer; None where the connection ended without one."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        status = int(head[9:12])
        lengths = [
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ]
        if to_head or status in {204, 304} or status < 200:
            return Answered(status, head, b"", whole=True)
        if b"transfer-encoding: chunked" in head.lower():
            return Answered(status, head, *await _chunks(reader))
        if lengths:
            return Answered(status, head, *await _exactly(reader, lengths[0]))
        return Answered(status, head, *await _rest(reader))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Does the connection end, with nothing more on it?"""
    async with asyncio.timeout(PATIENCE_SECONDS):
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset instead of an orderly close."""
    held: socket.socket = writer.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def _exactly(reader: asyncio.StreamReader, size: int) -> tuple[bytes, bool]:
    try:
        return await reader.readexactly(size), True
    except asyncio.IncompleteReadError as short:
        return short.partial, False
    except ConnectionError:
        return b"", False


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    body = b""
    try:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return body, False
    return body, True


async def _rest(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Until the end of the connection, which is the end of the answer unless it is a reset."""
    body = b""
    try:
        while chunk := await reader.read(65_536):
            body += chunk
    except ConnectionError:
        return body, False
    return body, True
