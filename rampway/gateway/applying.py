"""New settings in a process that serves: taken up in one moment of its event loop, so no request sees a part."""

from typing import Final, NamedTuple

from rampway.gateway.proxy import Proxy
from rampway.gateway.settings import Part, Settings
from rampway.gateway.upstreams import Upstreams

# Of these tables the other keys are read anew for each request.
AT_START: Final = frozenset(
    {"limits.units_remembered", "timeouts.client_keep_alive", "timeouts.drain"}
)
_LIVE: Final = ("limits.", "timeouts.")
_POOLS: Final = frozenset({"limits.upstream_connections", "timeouts.upstream_keep_alive"})


class Difference(NamedTuple):
    """What a process does differently under other settings: upstreams, and the keys of live tables."""

    added: list[str]
    replaced: list[str]
    removed: list[str]
    applied: list[str]


class Applying:
    """The parts of a serving process that can take up other settings."""

    def __init__(self, running: Settings, *, upstreams: Upstreams, proxy: Proxy) -> None:
        self._running = running
        self._upstreams = upstreams
        self._proxy = proxy

    def take(self, settings: Settings) -> None:
        """Serve by these from now on; what only a start can change must be as it was."""
        found = difference(self._running, settings)
        self._running = settings
        self._upstreams.change(
            settings, opened=[*found.added, *found.replaced], closed=found.removed
        )
        self._proxy.take(settings)


def difference(running: Settings, told: Settings) -> Difference:
    applied = [key for key in changed_keys(running, told) if is_live(key)]
    before, after = running.upstreams, told.upstreams
    replaced = [
        name
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name] or _POOLS & set(applied)
    ]
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    return Difference(added, replaced, removed, applied)


def is_live(key: str) -> bool:
    """Can a process that runs take this key up? Upstreams aside, which it always can."""
    return key.startswith(_LIVE) and key not in AT_START


def changed_keys(before: Settings, after: Settings) -> list[str]:
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
