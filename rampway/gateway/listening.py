"""What the gateway's listeners have in common."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from aiohttp import web

from rampway.gateway.listener import DataServer
from rampway.gateway.settings import BadSettings

BACKLOG: Final = 1_024


async def bind(site: web.TCPSite) -> int:
    """Listen; answers the port. Raises BadSettings where it is taken."""
    try:
        await site.start()
    except OSError as taken:
        raise BadSettings(f"{site.name} cannot be listened on: {taken.strerror}.") from taken
    return site.port


async def stop_listening(
    site: web.TCPSite | web.SockSite, server: DataServer, bound: socket.socket | None
) -> None:
    """Take no more connections.

    What waits in the queue of a socket that is closed would be reset, though others listen on the port
    too: of a socket of ours, `bound`, it is taken before.
    """
    waiting: list[socket.socket] = []
    if bound is not None:
        with suppress(BlockingIOError):
            while True:
                waiting.append(bound.accept()[0])
    await site.stop()
    loop = asyncio.get_running_loop()
    for connection in waiting:
        with suppress(OSError):  # its caller has left
            await loop.connect_accepted_socket(server, connection)
