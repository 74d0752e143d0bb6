"""How a gateway is spoken to beside its requests: the admin listener, SIGHUP, and the file that tells where."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Protocol

import orjson
import structlog
from aiohttp import web

from rampway.gateway.admin import Admin
from rampway.gateway.admintls import admin_context
from rampway.gateway.deciding import Deciding
from rampway.gateway.durable import replace_file
from rampway.gateway.listening import bind
from rampway.gateway.reloading import Reload
from rampway.gateway.settings import Settings
from rampway.gateway.storage import forget_unit

ADDRESS_FILE: Final = "gateway.json"
Address = dict[str, str | int]
_log = structlog.get_logger("rampway.gateway")


class Health(Protocol):
    """What a gateway tells of itself."""

    def page(self) -> str: ...

    def not_ready(self) -> str | None: ...


class Telling:
    """Answers whoever administers. `written` is as `storage.forget_unit` needs it."""

    def __init__(
        self,
        settings: Settings,
        deciding: Deciding,
        *,
        health: Health,
        read_again: Callable[[], Settings] | None,
        apply: Callable[[Settings], Awaitable[None]],
        written: Callable[[str, bytes | None], Awaitable[None]],
        propagation_seconds: float,
    ) -> None:
        self._settings = settings
        self._deciding = deciding
        self._reads_again = read_again is not None
        self._reload = Reload(settings, read=read_again, authority=deciding.authority, apply=apply)
        self._admin = Admin(
            authority=deciding.authority,
            counts=deciding.counts,
            feedback=deciding.feedback,
            reload=self._reload,
            metrics=health.page,
            not_ready=health.not_ready,
            forget=partial(forget_unit, settings.state_dir, written),
            token=settings.admin_token,
            propagation_seconds=propagation_seconds,
        )

    async def listen(self, parts: AsyncExitStack) -> int:
        """Answer until the stack ends; the port. Raises BadSettings where it is taken."""
        settings = self._settings
        if self._reads_again:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self._reload.by_signal)
            parts.callback(loop.remove_signal_handler, signal.SIGHUP)
        tls = admin_context(settings.admin_tls) if settings.admin_tls else None
        runner = web.AppRunner(
            self._admin.application(), access_log=None, shutdown_timeout=1.0, logger=_silent()
        )
        await runner.setup()
        parts.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, settings.admin_host, settings.admin_port, ssl_context=tls)
        return await bind(site)

    def announce(self, *, admin_port: int, data_port: int) -> Address:
        """Write down where the gateway listens: it is whole from now on."""
        settings, authority = self._settings, self._deciding.authority
        address: Address = {
            "admin_host": settings.admin_host,
            "admin_port": admin_port,
            "data_host": settings.data_host,
            "data_port": data_port,
            "pid": os.getpid(),
        }
        replace_file(settings.state_dir / ADDRESS_FILE, orjson.dumps(address))
        if authority.unreadable:
            _log.error(
                "state.unreadable", why=authority.unreadable, next="register the targets again"
            )
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        return address


def _silent() -> logging.Logger:
    """A logger for nobody: aiohttp logs each malformed request with its trace: anybody could fill the log."""
    logger = logging.getLogger("rampway.gateway.malformed")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger
