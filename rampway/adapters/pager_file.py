"""Pages in a file: one JSON line per page, on disk before it counts as delivered."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rampway.ports import Unreachable
from rampway.release.records import Page

LOCK_SECONDS = 5.0
RETRY_SECONDS = 0.02


class FilePager:
    """`ports.Pager` over a file of JSON lines, mode 0600, that any number of processes may share.

    A key has one line, whoever delivers it and however often. A last line that was torn by a crash
    was never acknowledged, so its page comes again; the fragment stays, as `{"torn": "…"}`.
    """

    def __init__(self, path: Path, *, lock_seconds: float = LOCK_SECONDS) -> None:
        self._path = path
        self._lock_seconds = lock_seconds

    async def page(self, page: Page) -> str:
        """Write a new page; return its delivery id. Raises Unreachable, saying what to do about it."""
        try:
            await asyncio.to_thread(self._deliver, page)
        except OSError as error:
            raise Unreachable(
                f"No page can be written to {self._path} ({error.strerror}); it is sent again."
                " Next: free space, or give this user the right to write there"
            ) from error
        return f"file:{page.key}"

    def _deliver(self, page: Page) -> None:
        with self._locked() as file:
            whole = _mended(file)
            if page.key not in _keys(whole):
                line = json.dumps(page.model_dump(mode="json"), ensure_ascii=False).encode()
                _write_at(file, len(whole), line + b"\n")
            # Also for a line that is there: its writer may have died before it was on the disk.
            os.fsync(file)

    @contextmanager
    def _locked(self) -> Generator[int]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # NOFOLLOW: a page quotes what users see; no link may carry it elsewhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self._path, flags, 0o600)
        try:
            os.fchmod(file, 0o600)
            self._lock(file)
            _sync_folder(self._path.parent)
            yield file
        finally:
            os.close(file)  # gives up the lock

    def _lock(self, file: int) -> None:
        until = time.monotonic() + self._lock_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise Unreachable(
                        f"Another process holds {self._path}; the page is sent again."
                        " Next: end that process"
                    ) from None
                time.sleep(RETRY_SECONDS)
            else:
                return


def _mended(file: int) -> bytes:
    """The file's whole lines, after making one of what a crash left at its end."""
    body = os.pread(file, os.fstat(file).st_size, 0)
    whole, _, rest = body.rpartition(b"\n")
    whole += b"\n" if len(rest) < len(body) else b""
    if not rest:
        return whole
    if _key(rest) is None:
        rest = json.dumps({"torn": rest.decode(errors="replace")}, ensure_ascii=False).encode()
    _write_at(file, len(whole), rest + b"\n")
    return whole + rest + b"\n"


def _write_at(file: int, offset: int, line: bytes) -> None:
    """Write all of a line durably; what a full disk took of it is taken back."""
    length_before = os.fstat(file).st_size
    try:
        written = 0
        while written < len(line):
            written += os.pwrite(file, line[written:], offset + written)
        os.fsync(file)
    except OSError:
        os.ftruncate(file, length_before)
        raise


def _keys(lines: bytes) -> set[str]:
    return {key for line in lines.split(b"\n") if (key := _key(line)) is not None}


def _key(line: bytes) -> str | None:
    """The key of a whole line; None for a fragment."""
    try:
        return Page.model_validate_json(line).key
    except ValueError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make the file's name as durable as its lines."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
