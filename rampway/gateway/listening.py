"""What the gateway's listeners have in common."""

from typing import Final

from aiohttp import web

from rampway.gateway.settings import BadSettings

BACKLOG: Final = 1_024


async def bind(site: web.TCPSite) -> int:
    """Listen; answers the port. Raises BadSettings where it is taken."""
    try:
        await site.start()
    except OSError as taken:
        raise BadSettings(f"{site.name} cannot be listened on: {taken.strerror}.") from taken
    return site.port
