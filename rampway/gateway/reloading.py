"""Reads the settings file again while the gateway serves: upstreams, limits and time-outs may change.

All or nothing: a file that cannot be used changes nothing, nor does one that takes an upstream away
from a split that uses it. What only a start can change is named.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypedDict

import structlog

from rampway.gateway.applying import AT_START, changed_keys, difference, is_live
from rampway.gateway.authority import Authority
from rampway.gateway.settings import BadSettings, Part, Settings
from rampway.gateway.terms import BadInput

_log = structlog.get_logger("rampway.gateway")


class Reloaded(TypedDict):
    """What changed, by name; `needs_restart` is what the file says and the process does not do."""

    added: list[str]
    replaced: list[str]
    removed: list[str]
    applied: list[str]
    needs_restart: list[str]


class Reload:
    """One at a time. Raises BadInput with the reason, and then all is as it was.

    `apply` returns when every process serves by the settings that it is given.
    """

    def __init__(
        self,
        running: Settings,
        *,
        read: Callable[[], Settings] | None,
        authority: Authority,
        apply: Callable[[Settings], Awaitable[None]],
    ) -> None:
        self._started = running
        self._running = running
        self._read = read
        self._authority = authority
        self._apply = apply
        self._lock = asyncio.Lock()
        self._by_signal: asyncio.Task[None] | None = None

    async def __call__(self) -> Reloaded:
        async with self._lock:
            told = await self._asked()
            before, after = self._running, _live_part(self._running, told)

            async def change() -> None:
                if after != before:
                    await self._apply(after)
                self._running = after

            await self._authority.change_upstreams(frozenset(after.upstreams), change)
            reloaded = _reloaded(before, after, self._needs_restart(told))
        _log.info("settings.reloaded", **reloaded)
        return reloaded

    def by_signal(self) -> None:
        """On SIGHUP there is nobody to answer: the log tells."""
        self._by_signal = asyncio.create_task(self._logged())

    async def _logged(self) -> None:
        try:
            await self()
        except BadInput as no:
            _log.error("settings.not_reloaded", why=str(no))

    async def _asked(self) -> Settings:
        if self._read is None:
            raise BadInput(
                "This gateway was not started from a file, so there is none to read again."
            )
        try:
            return await asyncio.to_thread(self._read)
        except BadSettings as wrong:
            raise BadInput(f"Nothing was changed: {wrong}") from wrong

    def _needs_restart(self, told: Settings) -> list[str]:
        return [key for key in changed_keys(self._started, told) if not is_live(key)]


def _live_part(running: Settings, told: Settings) -> Settings:
    """The running settings, with all that the file says of what a running process can change."""
    return running.model_copy(
        update={
            "upstreams": told.upstreams,
            "limits": _taken(running.limits, told.limits, "limits."),
            "timeouts": _taken(running.timeouts, told.timeouts, "timeouts."),
        }
    )


def _taken(running: Part, told: Part, table: str) -> Part:
    """The table as the file has it now, but for what only a start can change."""
    kept = {key.removeprefix(table) for key in AT_START if key.startswith(table)}
    return told.model_copy(update={key: getattr(running, key) for key in kept})


def _reloaded(before: Settings, after: Settings, needs_restart: list[str]) -> Reloaded:
    added, replaced, removed, applied = difference(before, after)
    return {
        "added": added,
        "replaced": replaced,
        "removed": removed,
        "applied": applied,
        "needs_restart": needs_restart,
    }
