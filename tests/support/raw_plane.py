"""The real gateway between two raw sockets, with time-outs short enough to wait for."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from support.gateway_process import (
    BASELINE,
    AdminClient,
    GatewayProcess,
    eventually,
    gateway_process,
    served,
)
from support.raw_sockets import RawUpstream, connection, raw_upstream, read_answer, says_ok

TARGET = "raw"
SETTINGS = """
[timeouts]
connect = 1.0
between_chunks = 0.5
client_headers = 0.4
request_body = 0.5
client_keep_alive = 2.0
"""
GET = b"GET /raw/x HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass
class RawPlane:
    """The gateway, what it speaks to, and its counts."""

    gateway: GatewayProcess
    upstream: RawUpstream
    admin: AdminClient

    @property
    def port(self) -> int:
        return self.gateway.data_port

    async def counted(self, name: str, **labels: str) -> float:
        """A counter of the one arm."""
        more = "".join(f',{label}="{value}"' for label, value in labels.items())
        return await self.admin.metric(f'{name}{{target="{TARGET}",arm="baseline"{more}}}')

    async def settled(self) -> None:
        """Wait until nothing is in flight."""

        async def idle() -> bool:
            return await self.admin.metric("in_flight") == 0

        await eventually(idle)

    async def refresh(self) -> None:
        """Use up what an earlier case left of an upstream connection, and forget what was heard."""
        self.upstream.script = says_ok
        async with connection(self.port) as (reader, writer):
            writer.write(GET)
            assert (await read_answer(reader)) is not None
        self.upstream.heard.clear()


@asynccontextmanager
async def raw_plane() -> AsyncGenerator[RawPlane]:
    async with raw_upstream() as upstream, aiohttp.ClientSession() as http:
        with gateway_process({"a": upstream.url}, settings=SETTINGS) as gateway:
            admin = AdminClient(http, gateway, TARGET)
            await admin.register(baseline=served(BASELINE, "a"), timeout_seconds=2.0)
            yield RawPlane(gateway, upstream, admin)
