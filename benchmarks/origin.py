"""A model server that costs next to nothing: fixed answers over raw sockets, as a process of its own.

`python -m benchmarks.origin MANNER` prints its port. A body with `"stream":true` is answered by fifty
events, anything else by 1 KB of a chat completion: after MANNER seconds, or never where it is `hangs`;
where it is `floods`, by a completion without an end.
"""

import asyncio
import sys
from typing import Final, cast

import orjson
import uvloop

EVENTS: Final = 50
EVENT_SECONDS: Final = 0.002
HANGS, FLOODS = "hangs", "floods"
ANSWER: Final = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * 150},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350},
    }
)
ASKED: Final = orjson.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "word " * 190}]}
)
ASKED_STREAM: Final = orjson.dumps(
    {"model": "m", "stream": True, "messages": [{"role": "user", "content": "go"}]}
)
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(number: int) -> bytes:
    told = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None}],
    }
    return b"data: " + orjson.dumps(told) + b"\n\n"


_CHUNKS: Final = [_chunk(_event(number)) for number in range(EVENTS - 1)]
_FLOOD_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER[:-1]
_FLOOD: Final = b',"more":"' + b"x" * 65_000 + b'"'
_LAST: Final = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class _Origin(asyncio.Protocol):
    """One connection; requests come with a length, one after the other."""

    def __init__(self, manner: str) -> None:
        self._manner = manner
        self._held = b""
        self._may_write = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n") + 4) > 3:
            length = content_length(self._held[:end]) or 0
            if len(self._held) < end + length:
                return
            body, self._held = self._held[end : end + length], self._held[end + length :]
            if self._manner == FLOODS:
                self._transport.write(_FLOOD_HEAD)
                self._flood()
            elif self._manner != HANGS:
                delay_seconds = float(self._manner)
                if delay_seconds:
                    self._loop.call_later(delay_seconds, self._answer, body)
                else:
                    self._answer(body)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._flood()

    def _flood(self) -> None:
        while self._may_write and not self._transport.is_closing():
            self._transport.write(_FLOOD)

    def _answer(self, body: bytes) -> None:
        if self._transport.is_closing():
            return
        if b'"stream":true' in body or b'"stream": true' in body:
            self._transport.write(_STREAM_HEAD + _CHUNKS[0])
            self._loop.call_later(EVENT_SECONDS, self._go_on, 1)
        else:
            self._transport.write(_HEAD + ANSWER)

    def _go_on(self, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == len(_CHUNKS):
            self._transport.write(_LAST)
            return
        self._transport.write(_CHUNKS[number])
        self._loop.call_later(EVENT_SECONDS, self._go_on, number + 1)


def content_length(head: bytes) -> int | None:
    """The declared length, where there is one."""
    low = head.lower()
    begins = low.find(b"content-length:")
    if begins < 0:
        return None
    return int(low[begins + 15 : low.find(b"\r\n", begins)])


async def _serve(manner: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Origin(manner), "127.0.0.1", 0, backlog=1_024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
