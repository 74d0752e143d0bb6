"""Pages on a terminal: one plain line per page, for a person who is watching."""

import asyncio
from typing import TextIO

from rampway.ports import Unreachable
from rampway.release.records import Page

MAX_KEYS = 10_000


class ConsolePager:
    """`ports.Pager` that prints to a stream such as standard error.

    It remembers the last MAX_KEYS keys while it lives; what must outlast the process is FilePager's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._delivered: dict[str, None] = {}
        self._one_at_a_time = asyncio.Lock()

    async def page(self, page: Page) -> str:
        """Print a new page; return its delivery id. Raises Unreachable when nobody can read it."""
        async with self._one_at_a_time:
            if page.key not in self._delivered:
                await asyncio.to_thread(self._print, page)
                self._remember(page.key)
        return f"console:{page.key}"

    def _print(self, page: Page) -> None:
        line = f"PAGE {page.severity} {page.release}: {page.summary} [{page.key}]"
        try:
            self._stream.write(f"{_plain(line)}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            raise Unreachable(
                f"The console takes no page ({error}). Next: page to a file as well, it is sent again"
            ) from error

    def _remember(self, key: str) -> None:
        if len(self._delivered) >= MAX_KEYS:
            del self._delivered[next(iter(self._delivered))]
        self._delivered[key] = None


def _plain(line: str) -> str:
    """One line without control characters: what an artifact caused must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in line)
