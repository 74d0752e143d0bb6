"""The state directory while a gateway runs: held by one, its lines deleted when old, or when their unit asks."""

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import structlog

from rampway.gateway.clockwork import beside
from rampway.gateway.forgetting import Forgotten, Retention, forget, keys_of, subject
from rampway.gateway.settings import BadSettings, Settings
from rampway.gateway.terms import Clock

SWEEP_SECONDS: Final = 600.0
_log = structlog.get_logger("rampway.gateway")


def hold_directory(parts: AsyncExitStack, path: Path) -> Path:
    """Make it, and hold it until the stack ends: two gateways with one state would both be its authority.

    Raises BadSettings.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as failed:
        raise BadSettings(f"state_dir {path} cannot be made: {failed.strerror}.") from failed
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as held:
        os.close(descriptor)
        raise BadSettings(f"state_dir {path} is in use by another gateway.") from held
    parts.callback(os.close, descriptor)
    return path


def keep_clean(parts: AsyncExitStack, settings: Settings, clock: Clock) -> None:
    """Delete what was kept for its time, until the stack ends; in a thread, for the disk may be slow."""
    keep_seconds = settings.capture.keep_days * 86_400
    retention = Retention(settings.state_dir, keep_seconds, lambda: clock.now().wall)

    async def sweep() -> None:
        while True:
            try:
                await asyncio.to_thread(retention.sweep)
            except OSError as failed:
                _log.warning("retention.failed", why=str(failed))
            await asyncio.sleep(min(SWEEP_SECONDS, keep_seconds / 20))

    beside(parts, sweep())


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
