"""Files that survive a SIGKILL at any byte: replaced as a whole, or appended by whole lines.

Every function here blocks on the disk; the event loop calls them in a thread.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

OWNER_ONLY = 0o600
_READ_BLOCK_BYTES = 64 * 1024


def replace_file(path: Path, content: bytes) -> None:
    """Give `path` this content: the old or the new one is found after a crash, never a mixture.

    Temporary file, fsync, rename, fsync of the directory. Raises OSError.
    """
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a created or renamed name in this directory last."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableLines:
    """An append-only file of whole lines; what `append` returned from is on the disk.

    A torn last line, left by a crash, is cut off when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
        self.size_bytes = _end_of_last_line(self._descriptor)
        if self.size_bytes < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, self.size_bytes)
        sync_directory(path.parent)

    def append(self, lines: bytes) -> None:
        """Write whole lines and wait for the disk. Raises OSError, and then none of them is there."""
        try:
            _write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes += len(lines)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _end_of_last_line(descriptor: int) -> int:
    """The offset behind the last line end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        begin = max(0, end - _READ_BLOCK_BYTES)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
