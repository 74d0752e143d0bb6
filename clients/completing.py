"""Completes names on the command line: what the shell offers after a verb and a tab."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from clients.exits import Failure

NAMES_MAX = 50


def complete_release(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The newest releases whose name begins like this, open ones first; nothing without a record."""
    return [CompletionItem(name) for name in _release_names() if name.startswith(incomplete)]


def complete_target(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The registered targets whose name begins like this."""
    return [CompletionItem(name) for name in _target_names() if name.startswith(incomplete)]


def _release_names() -> list[str]:
    from clients.opening import open_registry, run

    async def read() -> list[str]:
        async with open_registry() as registry:
            records = await registry.releases()
        newest = sorted(records, key=lambda record: record.phase.ended)
        return [record.header.name for record in newest[:NAMES_MAX]]

    return _read_or_nothing(lambda: run(read()))


def _target_names() -> list[str]:
    from clients.opening import open_registry, run

    async def read() -> list[str]:
        async with open_registry() as registry:
            return [standing.target.name for standing in await registry.targets()]

    return _read_or_nothing(lambda: run(read()))


def _read_or_nothing(read: Callable[[], list[str]]) -> list[str]:
    try:
        return read()
    except Failure:
        return []  # a shell that waits for names is no place for an error
