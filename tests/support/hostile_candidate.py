"""A candidate in a process of its own that misbehaves as it is told, on a socket and not by an HTTP library.

`python hostile_candidate.py READY_FILE`; the mode is the path's last part, so that one process plays all.
"""

import asyncio
import gzip
import sys
import zlib
from contextlib import suppress
from pathlib import Path

BLOCK = b"x" * 65_536
# It plays one answer per connection and says so: another copy on it would be lost by chance.
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
EVENTS_HEAD = HEAD.replace(b"application/json", b"text/event-stream")
GZIP_BOMB = gzip.compress(b"\x00" * (64 * 1024 * 1024), 1)  # some 300 kB


async def _raises(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _hangs(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3_600)


async def _drips(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _endless(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(BLOCK)
        await writer.drain()


async def _one_endless_header(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"X-Flood: ")
    while True:
        writer.write(BLOCK)
        await writer.drain()


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while True:
        writer.write(b"".join(b"X-Flood-%d: %s\r\n" % (n, b"y" * 1_000) for n in range(64)))
        await writer.drain()


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff\xfe SSH-2.0-OpenSSH_9.2\r\n\r\n" + bytes(range(256)) * 16)
    await writer.drain()


async def _bad_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nhello\r\n-5\r\n\r\n")
    await writer.drain()


async def _huge_chunk(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n")
    while True:
        writer.write(BLOCK)
        await writer.drain()


async def _two_lengths(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}")
    await writer.drain()


async def _cut_short(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 5000\r\n\r\n{}")
    await writer.drain()


async def _gzip_bomb(writer: asyncio.StreamWriter) -> None:
    told = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIP_BOMB)
    writer.write(HEAD + told + GZIP_BOMB)
    await writer.drain()


async def _lies_about_encoding(writer: asyncio.StreamWriter) -> None:
    packed = zlib.compress(b"x" * 100)[:-3]
    told = b"Content-Encoding: br, gzip, made-up\r\nContent-Length: %d\r\n\r\n" % len(packed)
    writer.write(HEAD + told + packed)
    await writer.drain()


async def _deep_json(writer: asyncio.StreamWriter) -> None:
    body = b'{"usage":' + b"[" * 100_000
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _many_objects(writer: asyncio.StreamWriter) -> None:
    body = b'{"choices":[' + b"{}," * 80_000 + b"1]}"
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _many_events(writer: asyncio.StreamWriter) -> None:
    body = b"data:{}\n\n" * 20_000 + b"data:\n\n" * 5_000 + b"\n" * 40_000
    writer.write(EVENTS_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _endless_events(writer: asyncio.StreamWriter) -> None:
    writer.write(EVENTS_HEAD + b"\r\n")
    while True:
        writer.write(b'data:{"error":0}\n\n' * 4_096)
        await writer.drain()


async def _no_text(writer: asyncio.StreamWriter) -> None:
    body = bytes(range(256)) * 4
    writer.write(HEAD + b"X-Odd: \xff\xfe\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _upgrades(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
    await writer.drain()


async def _informs_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)
        await writer.drain()


async def _behaves(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 10\r\n\r\n" + b'{"by":"b"}')
    await writer.drain()


MODES = {
    "raises": _raises,
    "hangs": _hangs,
    "drips": _drips,
    "endless": _endless,
    "one-endless-header": _one_endless_header,
    "endless-headers": _endless_headers,
    "no-http": _no_http,
    "bad-chunks": _bad_chunks,
    "huge-chunk": _huge_chunk,
    "two-lengths": _two_lengths,
    "cut-short": _cut_short,
    "gzip-bomb": _gzip_bomb,
    "lies-about-encoding": _lies_about_encoding,
    "deep-json": _deep_json,
    "many-objects": _many_objects,
    "many-events": _many_events,
    "endless-events": _endless_events,
    "no-text": _no_text,
    "upgrades": _upgrades,
    "informs-for-ever": _informs_for_ever,
    "behaves": _behaves,
}


async def _play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        mode = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
        await MODES[mode](writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def main(ready: Path) -> None:
    """Listen on a free port, say so, and serve until killed."""
    server = await asyncio.start_server(_play, "127.0.0.1", 0)
    written = ready.with_suffix(".part")
    written.write_text(str(server.sockets[0].getsockname()[1]))
    written.replace(ready)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
