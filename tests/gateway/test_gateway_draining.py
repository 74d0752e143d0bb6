"""Who has connected before a gateway stops is served, even if it had not looked at him yet."""

import asyncio
import socket
from collections.abc import Sequence

from aiohttp import web

from rampway.gateway.listener import DataServer
from rampway.gateway.listening import stop_listening
from support.gateway_process import data_plane, eventually, true

REQUEST = b"GET /tutor/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
KEPT = REQUEST.replace(b"Connection: close\r\n", b"")
CALLERS = 20


async def answers(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="served")


def read_all(callers: Sequence[socket.socket]) -> list[bytes]:
    """What each was answered until the connection's end, or the reset."""
    told: list[bytes] = []
    for caller in callers:
        caller.settimeout(5.0)
        with caller, caller.makefile("rb") as file:
            told.append(file.read())
    return told


async def test_connections_in_the_queue_of_a_socket_are_served_when_it_is_closed() -> None:
    server = DataServer(answers, headers_seconds=5, keep_alive_seconds=5, count=lambda _code: None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    site = web.SockSite(runner, bound, backlog=CALLERS)
    await site.start()

    # The loop does not run meanwhile, so that nobody takes them.
    callers = [socket.create_connection(bound.getsockname()) for _ in range(CALLERS)]
    await stop_listening(site, server, bound)
    for caller in callers:
        caller.sendall(REQUEST)
    told = await asyncio.to_thread(read_all, callers)

    assert len([answer for answer in told if answer.endswith(b"served")]) == CALLERS
    await runner.cleanup()


async def test_a_connection_without_a_request_yet_has_a_moment_for_it() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        caller = socket.create_connection(("127.0.0.1", plane.gateway.data_port))
        await plane.ask("u1")  # the one that came before was taken too

        plane.gateway.process.terminate()
        await eventually(lambda: true("gateway.draining" in plane.gateway.log()))
        await asyncio.sleep(0.25)  # the caller's own pause
        caller.sendall(KEPT)
        [told] = await asyncio.to_thread(read_all, [caller])

        assert told.startswith(b"HTTP/1.1 200")
        assert b"\r\nConnection: close\r\n" in told


async def test_connections_that_never_have_a_request_hold_nobody_up() -> None:
    async with data_plane() as plane:
        await plane.admin.register()
        with socket.create_connection(("127.0.0.1", plane.gateway.data_port)):
            await plane.ask("u1")

            plane.gateway.process.terminate()

            assert await asyncio.to_thread(plane.gateway.process.wait, 10.0) == 0
