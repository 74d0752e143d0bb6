"""Line files that never hold up a request: bounded queues, one writer thread, drops counted.

A full queue drops the newest line; a full disk drops the batch. What is written is whole lines.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from rampway.gateway.durable import OWNER_ONLY

_BATCH_SECONDS: Final = 0.05
_BATCH_LINES: Final = 4_096
FLUSH_SECONDS_MAX: Final = 30.0
_log = structlog.get_logger("rampway.gateway")
R = TypeVar("R")


class LossyFile(Generic[R]):
    """One file's queue. `put` is for the event loop, `write` for the writer thread.

    `encode` turns a record into one line without its end, in the writer thread. At `file_bytes_max`
    the file is renamed to `.1`, replacing the one before; renamed or deleted by somebody else, it is
    begun anew. Each begins with `first_line`.
    """

    def __init__(
        self,
        path: Path,
        *,
        encode: Callable[[R], bytes],
        lines_max: int,
        pending_bytes_max: int,
        file_bytes_max: int,
        first_line: Callable[[], bytes] | None = None,
    ) -> None:
        self.path = path
        self._encode = encode
        self._lines_max = lines_max
        self._pending_bytes_max = pending_bytes_max
        self._file_bytes_max = file_bytes_max
        self._first_line = first_line
        self._queue: deque[tuple[R, int]] = deque()
        self._descriptor: int | None = None
        self._wake: Callable[[], None] = _asleep
        # Each of these has one writing thread, so that none needs a lock.
        self._put_bytes = 0
        self._taken_bytes = 0
        self.dropped_full_total = 0
        self.dropped_disk_total = 0
        self.written_total = 0

    def put(self, record: R, size_bytes: int) -> bool:
        """Queue a line; False, and counted, where the queue is full."""
        pending = self._put_bytes - self._taken_bytes
        if len(self._queue) >= self._lines_max or pending + size_bytes > self._pending_bytes_max:
            self.dropped_full_total += 1
            return False
        self._put_bytes += size_bytes
        self._queue.append((record, size_bytes))
        self._wake()
        return True

    def on_put(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def write(self) -> None:
        """Write all that is queued, in batches."""
        while self._queue:
            lines: list[bytes] = []
            while self._queue and len(lines) < _BATCH_LINES:
                record, size_bytes = self._queue.popleft()
                self._taken_bytes += size_bytes
                lines.append(self._encode(record) + b"\n")
            try:
                self._append(b"".join(lines))
            except OSError as failed:
                if self.dropped_disk_total == 0:
                    _log.warning("lines.dropped", path=str(self.path), why=str(failed))
                self.dropped_disk_total += len(lines)
                self.close()
            else:
                self.written_total += len(lines)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, lines: bytes) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        if size and size + len(lines) > self._file_bytes_max:
            self.close()
            with suppress(FileNotFoundError):  # its time had come
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            descriptor = self._opened()
            size = os.fstat(descriptor).st_size
        written = os.write(descriptor, lines)
        if written < len(lines):  # the disk is full: what is torn is taken back
            os.ftruncate(descriptor, size)
            raise OSError(f"only {written} of {len(lines)} bytes were written")

    def _opened(self) -> int:
        if self._descriptor is not None and not self._is_still_named(self._descriptor):
            self.close()
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self.path, flags, OWNER_ONLY)
            _cut_torn_line(self._descriptor)
            if self._first_line is not None and os.fstat(self._descriptor).st_size == 0:
                os.write(self._descriptor, self._first_line() + b"\n")
        return self._descriptor

    def _is_still_named(self, descriptor: int) -> bool:
        try:
            return self.path.stat().st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False


class LossyWriter:
    """The one thread that writes all lossy files; it sleeps while nothing is queued."""

    def __init__(self) -> None:
        self._files: list[LossyFile[object]] = []
        self._awake = threading.Event()
        self._stopped = threading.Event()
        self._round = threading.Condition()
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, name="rampway-lines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, file: LossyFile[R]) -> LossyFile[R]:
        file.on_put(self._wake)
        self._files.append(file)  # type: ignore[arg-type] # only written to, never put into
        return file

    def flush(self) -> None:
        """Wait until all that is queued now is written; not for the event loop."""
        if self._thread.is_alive():
            # The round that runs now may have passed a file already: only a whole one counts.
            for _ in range(2):
                with self._round:
                    rounds = self._rounds
                    self._awake.set()
                    self._round.wait_for(partial(self._has_passed, rounds), FLUSH_SECONDS_MAX)

    def close(self) -> None:
        """Write what is queued and stop."""
        self._stopped.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()
        for file in self._files:
            file.write()
            file.close()

    def _has_passed(self, rounds: int) -> bool:
        return self._rounds > rounds

    def _wake(self) -> None:
        if not self._awake.is_set():
            self._awake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._awake.wait()
            self._stopped.wait(_BATCH_SECONDS)
            self._awake.clear()
            for file in list(self._files):
                file.write()
            with self._round:
                self._rounds += 1
                self._round.notify_all()


def _asleep() -> None:
    """Nobody writes yet: lines wait in the queue."""


def _cut_torn_line(descriptor: int) -> None:
    """Take back a line whose end a crash has swallowed, as far as the last block shows."""
    size = os.fstat(descriptor).st_size
    block = os.pread(descriptor, min(size, 4 * 1024 * 1024), max(0, size - 4 * 1024 * 1024))
    if block and not block.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(block) + block.rfind(b"\n") + 1)
