"""Reads the settings file again while the gateway serves: upstreams, limits and time-outs may change.

All or nothing: a file that cannot be used changes nothing, nor does one that takes an upstream away
from a split that uses it. What only a start can change is named.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypedDict

import structlog

from rampway.gateway.authority import Authority
from rampway.gateway.proxy import Proxy
from rampway.gateway.settings import BadSettings, Part, Settings
from rampway.gateway.terms import BadInput
from rampway.gateway.upstreams import Upstreams

# Of these tables the other keys are read anew for each request.
_AT_START: Final = frozenset(
    {"limits.units_remembered", "timeouts.client_keep_alive", "timeouts.drain"}
)
_LIVE: Final = ("limits.", "timeouts.")
_POOLS: Final = frozenset({"limits.upstream_connections", "timeouts.upstream_keep_alive"})
_log = structlog.get_logger("rampway.gateway")


class Reloaded(TypedDict):
    """What changed, by name; `needs_restart` is what the file says and the process does not do."""

    added: list[str]
    replaced: list[str]
    removed: list[str]
    applied: list[str]
    needs_restart: list[str]


class Reload:
    """One at a time. Raises BadInput with the reason, and then all is as it was."""

    def __init__(
        self,
        running: Settings,
        *,
        read: Callable[[], Settings] | None,
        authority: Authority,
        upstreams: Upstreams,
        proxy: Proxy,
    ) -> None:
        self._started = running
        self._running = running
        self._read = read
        self._authority = authority
        self._upstreams = upstreams
        self._proxy = proxy
        self._lock = asyncio.Lock()
        self._by_signal: asyncio.Task[None] | None = None

    async def __call__(self) -> Reloaded:
        async with self._lock:
            told = await self._asked()
            reloaded = await self._authority.change_upstreams(
                frozenset(told.upstreams), lambda: self._apply(told)
            )
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

    def _apply(self, told: Settings) -> Reloaded:
        """In one moment of the event loop: no request sees a part of it."""
        changed = _changed(self._running, told)
        applied = [key for key in changed if key.startswith(_LIVE) and key not in _AT_START]
        before, after = self._running.upstreams, told.upstreams
        replaced = [
            name
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name] or _POOLS & set(applied)
        ]
        added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
        self._running = self._running.model_copy(
            update={
                "upstreams": after,
                "limits": _taken(self._running.limits, told.limits, "limits."),
                "timeouts": _taken(self._running.timeouts, told.timeouts, "timeouts."),
            }
        )
        self._upstreams.change(self._running, opened=[*added, *replaced], closed=removed)
        self._proxy.take(self._running)
        started = _changed(self._started, told)
        return {
            "added": added,
            "replaced": replaced,
            "removed": removed,
            "applied": applied,
            "needs_restart": [k for k in started if not k.startswith(_LIVE) or k in _AT_START],
        }


def _taken(running: Part, told: Part, table: str) -> Part:
    """The table as the file has it now, but for what only a start can change."""
    kept = {key.removeprefix(table) for key in _AT_START if key.startswith(table)}
    return told.model_copy(update={key: getattr(running, key) for key in kept})


def _changed(before: Settings, after: Settings) -> list[str]:
    """The keys that differ, upstreams aside, with their table: `data_port`, `limits.units_remembered`."""
    changed: list[str] = []
    for name in Settings.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if name == "upstreams" or old == new:
            continue
        if isinstance(old, Part):
            tables = type(old).model_fields
            changed += [f"{name}.{k}" for k in tables if getattr(old, k) != getattr(new, k)]
        else:
            changed.append(name)
    return changed
