"""One gateway's parts, put together: load, keep time, listen; and taken apart in the reverse order."""

import asyncio
import fcntl
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import orjson
import structlog
from aiohttp import web

from rampway.gateway.admin import Admin
from rampway.gateway.admintls import admin_context
from rampway.gateway.applying import Applying
from rampway.gateway.authority import Authority
from rampway.gateway.clockwork import keep_doing
from rampway.gateway.counts import Counts
from rampway.gateway.durable import replace_file
from rampway.gateway.feedback import Feedback
from rampway.gateway.fieldbytes import keep_bytes_of_fields
from rampway.gateway.forgetting import Forgotten, Retention, forget, keys_of, subject
from rampway.gateway.handouts import Handouts
from rampway.gateway.listener import DataServer
from rampway.gateway.lossy import LossyWriter
from rampway.gateway.metrics import Meters
from rampway.gateway.monitoring import Monitoring
from rampway.gateway.proxy import Proxy
from rampway.gateway.reloading import Reload
from rampway.gateway.routing import Router
from rampway.gateway.runs import retire_runs
from rampway.gateway.settings import BadSettings, Settings
from rampway.gateway.spans import SpanQueue
from rampway.gateway.state import StateFile, boot_id
from rampway.gateway.terms import Clock, Instant, NotStored
from rampway.gateway.tracing import Tracing
from rampway.gateway.trafficlog import TrafficFiles
from rampway.gateway.truth import Truth
from rampway.gateway.upstreams import Upstreams

ADDRESS_FILE: Final = "gateway.json"
SWEEP_SECONDS: Final = 600.0
_BACKLOG: Final = 1_024
_log = structlog.get_logger("rampway.gateway")


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time())


@asynccontextmanager
async def gateway(
    settings: Settings, *, read_again: Callable[[], Settings] | None = None
) -> AsyncGenerator[dict[str, str | int]]:
    """A gateway that serves while the context lasts; gives what it wrote to `gateway.json`.

    `read_again` reads the settings as they are by then, on SIGHUP and when the admin API asks.
    Raises BadSettings where its directory or a port is not to be had.
    """
    keep_bytes_of_fields()
    clock, meters = SystemClock(), Meters()
    async with AsyncExitStack() as parts:
        directory = state_directory(settings.state_dir)
        parts.callback(os.close, only_one(directory))
        await retire_runs(directory)
        upstreams = await parts.enter_async_context(Upstreams(settings))
        writer = LossyWriter()
        parts.callback(writer.close)
        files = TrafficFiles(directory, settings.capture, writer)
        counts = Counts(directory, clock=clock, units_remembered=settings.limits.units_remembered)
        parts.callback(counts.close)
        router = Router(clock=clock, counts=counts, meters=meters, files=files, settings=settings)
        authority = _authority(parts, settings, clock=clock, router=router)
        handouts = Handouts(settings.feedback)
        spans = open_spans(parts, settings)
        proxy = Proxy(
            settings,
            router=router,
            upstreams=upstreams.by_name,
            meters=meters,
            clock=clock,
            handouts=handouts,
            tracing=Tracing(spans.put, part=settings.telemetry.sample) if spans else None,
        )
        parts.push_async_callback(proxy.close)
        feedback = Feedback(
            directory,
            settings.feedback,
            counts=counts,
            split_of=authority.split,
            handouts=handouts,
            clock=clock,
        )
        parts.callback(feedback.close)
        monitoring = Monitoring(
            authority=authority,
            counts=counts,
            router=router,
            files=files,
            meters=meters,
            proxy=proxy,
            feedback=feedback,
            clock=clock,
            spans=spans,
        )
        applying = Applying(settings, upstreams=upstreams, proxy=proxy)

        async def apply(told: Settings) -> None:
            applying.take(told)

        reload = Reload(settings, read=read_again, authority=authority, apply=apply)
        if read_again is not None:
            reload_on_signal(parts, reload)

        async def written(target: str, unit: bytes | None) -> None:
            if unit is not None:
                router.forget(target, unit)
            await asyncio.to_thread(files.flush)

        admin = Admin(
            authority=authority,
            counts=counts,
            feedback=feedback,
            reload=reload,
            metrics=monitoring.page,
            not_ready=monitoring.not_ready,
            forget=partial(forget_unit, directory, written),
            token=settings.admin_token,
        )
        writer.start()
        _keep_time(parts, authority=authority, counts=counts, router=router, clock=clock)
        parts.push_async_callback(end_task, asyncio.create_task(proxy.load.keep_time()))
        parts.push_async_callback(end_task, asyncio.create_task(keep_clean(settings, clock)))
        address: dict[str, str | int] = {
            "admin_host": settings.admin_host,
            "admin_port": await listen_admin(parts, settings, admin),
            "data_host": settings.data_host,
            "data_port": await listen_data(parts, settings, proxy, meters),
            "pid": os.getpid(),
        }
        replace_file(directory / ADDRESS_FILE, orjson.dumps(address))
        warn(authority)
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        yield address


def reload_on_signal(parts: AsyncExitStack, reload: Reload) -> None:
    """Reload on SIGHUP, until the stack ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload.by_signal)
    parts.callback(loop.remove_signal_handler, signal.SIGHUP)


def open_spans(parts: AsyncExitStack, settings: Settings) -> SpanQueue | None:
    """The queue of spans, if they are on. Raises BadSettings where the libraries are not installed."""
    if settings.telemetry.spans == "off":
        return None
    try:
        from rampway.gateway.otlp import OtlpDelivery  # noqa: PLC0415 - comes with an extra
    except ImportError as missing:
        raise BadSettings(
            f'telemetry.spans = "otlp" needs {missing.name}: install rampway[telemetry].'
        ) from missing
    spans = SpanQueue(OtlpDelivery(settings.telemetry))
    spans.start()
    parts.callback(spans.close)
    return spans


def _authority(
    parts: AsyncExitStack, settings: Settings, *, clock: Clock, router: Router
) -> Authority:
    """The authority, loaded: leases that have passed are down before anybody can connect."""
    boot = boot_id()
    authority = Authority(
        state=StateFile(settings.state_dir, boot_id=boot),
        truth=Truth(settings.state_dir),
        clock=clock,
        upstreams=frozenset(settings.upstreams),
        boot_id=boot,
        changed=router.change,
    )
    parts.callback(authority.close)
    router.lapse = authority.lapse
    authority.load()
    return authority


async def forget_unit(
    directory: Path,
    written: Callable[[str, bytes | None], Awaitable[None]],
    target: str,
    unit: bytes,
    keys: set[tuple[str, str]],
    dry_run: bool,  # noqa: FBT001 - what the order says
) -> Forgotten:
    """Erase a unit's lines. Raises OSError or NotStored.

    `written` waits for those that are still to be written; of a unit, if it is told one, nothing is held.
    """
    await written(target, None if dry_run else unit)

    def erase() -> Forgotten:
        who = subject(unit, keys | keys_of(directory, target))
        return forget(directory, target, who, dry_run=dry_run)

    return await asyncio.to_thread(erase)


async def keep_clean(settings: Settings, clock: Clock) -> None:
    """Delete what was kept for its time, in a thread: the disk may be slow."""
    keep_seconds = settings.capture.keep_days * 86_400
    retention = Retention(settings.state_dir, keep_seconds, lambda: clock.now().wall)
    while True:
        try:
            await asyncio.to_thread(retention.sweep)
        except OSError as failed:
            _log.warning("retention.failed", why=str(failed))
        await asyncio.sleep(min(SWEEP_SECONDS, keep_seconds / 20))


def _keep_time(
    parts: AsyncExitStack, *, authority: Authority, counts: Counts, router: Router, clock: Clock
) -> None:
    """Three tasks, so that a disk that hangs under one does not hold up the others."""

    async def expire() -> None:
        authority.lapse_due()
        await authority.record()

    async def mark() -> None:
        router.mark_due()

    for work in (
        keep_doing(expire, next_due=authority.next_expiry, clock=clock),
        keep_doing(counts.seal_due, next_due=counts.next_seal, clock=clock),
        keep_doing(mark, next_due=router.next_mark, clock=clock),
    ):
        parts.push_async_callback(end_task, asyncio.create_task(work))


async def end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, NotStored):
        await task


async def listen_admin(parts: AsyncExitStack, settings: Settings, admin: Admin) -> int:
    tls = admin_context(settings.admin_tls) if settings.admin_tls else None
    runner = web.AppRunner(
        admin.application(), access_log=None, shutdown_timeout=1.0, logger=_silent()
    )
    await runner.setup()
    parts.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, settings.admin_host, settings.admin_port, ssl_context=tls)
    return await _bind(site)


async def listen_data(
    parts: AsyncExitStack,
    settings: Settings,
    proxy: Proxy,
    meters: Meters,
    *,
    bound: socket.socket | None = None,
) -> int:
    """Take requests until the stack ends, on a socket that is bound already, if one is given."""
    server = DataServer(
        proxy.handle,
        headers_seconds=settings.timeouts.client_headers,
        keep_alive_seconds=settings.timeouts.client_keep_alive,
        count=meters.reject,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    parts.push_async_callback(runner.cleanup)
    site: web.TCPSite | web.SockSite
    if bound is None:
        site = web.TCPSite(runner, settings.data_host, settings.data_port, backlog=_BACKLOG)
        port = await _bind(site)
    else:
        site, port = web.SockSite(runner, bound, backlog=_BACKLOG), settings.data_port
        await site.start()

    async def drain() -> None:
        """Stop accepting; kept connections are served once more, until nothing is in flight."""
        await site.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.timeouts.drain):
                await proxy.drained()

    parts.push_async_callback(drain)
    return port


async def _bind(site: web.TCPSite) -> int:
    try:
        await site.start()
    except OSError as taken:
        raise BadSettings(f"{site.name} cannot be listened on: {taken.strerror}.") from taken
    return site.port


def state_directory(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as failed:
        raise BadSettings(f"state_dir {path} cannot be made: {failed.strerror}.") from failed
    return path


def only_one(directory: Path) -> int:
    """Hold the directory: two gateways with one state would both be its authority."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        os.close(descriptor)
        raise BadSettings(f"state_dir {directory} is in use by another gateway.") from held
    return descriptor


def _silent() -> logging.Logger:
    """A logger for nobody: aiohttp logs each malformed request with its trace: anybody could fill the log."""
    logger = logging.getLogger("rampway.gateway.malformed")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return logger


def warn(authority: Authority) -> None:
    if authority.unreadable:
        _log.error("state.unreadable", why=authority.unreadable, next="register the targets again")
