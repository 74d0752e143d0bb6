"""Passes an answer on piece by piece as it comes, and holds no more of it than a slow caller makes it.

A stream of tokens is thousands of small pieces. While the caller takes them, each goes from the
upstream's connection to his in the very call that read it; waking a task for it would cost as much again.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

import aiohttp
from aiohttp import web

from rampway.gateway.asking import Answer
from rampway.gateway.upstreamconnections import UpstreamConnection

_CHUNKED: Final = "chunked"


class BrokenOff(Exception):
    """The upstream died, or fell silent, in the middle of its answer."""


async def relay(
    answer: Answer,
    request: web.BaseRequest,
    response: web.StreamResponse,
    *,
    passed: Callable[[bytes], None],
) -> None:
    """Pass on all of an answer, telling `passed` of each piece behind it.

    Raises ConnectionError where the caller has left, and BrokenOff.
    """
    await response.prepare(request)
    connection = answer.connection
    while piece := await _next_piece(answer):
        await response.write(piece)
        passed(piece)
        if connection is not None:
            await _Lane(answer.content, connection, request, response, passed).run()
            await request.writer.drain()


def break_off(request: web.BaseRequest) -> None:
    """End the caller's connection so that he cannot take what he has for a whole answer."""
    transport = request.transport
    if transport is None:
        return
    if request.version >= aiohttp.HttpVersion11:
        transport.close()  # the last chunk, or the rest of the declared length, never comes
        return
    # To an HTTP/1.0 caller the end of the connection is the end of the answer: only a reset is not.
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


async def _next_piece(answer: Answer) -> bytes:
    """What has come next; empty at the end. Raises BrokenOff where the upstream failed."""
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, OSError) as failed:
        raise BrokenOff from failed


class _Lane:
    """The way past the task, for an answer whose header is on its way already.

    It ends with the answer, with either connection, and where the caller is slow; what that means
    is seen by who reads next.
    """

    __slots__ = (
        "_caller",
        "_connection",
        "_content",
        "_in_chunks",
        "_over",
        "_passed",
        "_transport",
    )

    def __init__(
        self,
        content: aiohttp.StreamReader,
        connection: UpstreamConnection,
        request: web.BaseRequest,
        response: web.StreamResponse,
        passed: Callable[[bytes], None],
    ) -> None:
        self._content = content
        self._connection = connection
        self._caller = request.protocol
        self._transport = request.transport
        self._in_chunks = response.headers.get("Transfer-Encoding") == _CHUNKED
        self._passed = passed
        self._over = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Returns when somebody has to look. Nothing is left behind where it is cancelled."""
        if not self._goes_on():
            return
        self._connection.heard = self._hear
        try:
            await self._over
        finally:
            # Behind its end the answer's connection may have another's lane already.
            if not self._over.done() or self._over.cancelled():
                self._connection.heard = None

    def _goes_on(self) -> bool:
        content, transport = self._content, self._transport
        return not (
            transport is None
            or transport.is_closing()
            or self._caller.writing_paused
            or content.is_eof()
            or content.exception() is not None
        )

    def _hear(self) -> None:
        """Something has come on the upstream's connection, or it was lost."""
        content, transport = self._content, self._transport
        if (
            content.exception() is None
            and transport is not None
            and not transport.is_closing()
            and (piece := content.read_nowait())
        ):
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._in_chunks else piece)
            self._passed(piece)
        if not self._goes_on():
            self._connection.heard = None
            if not self._over.done():
                self._over.set_result(None)
