"""How a worker's lines reach its supervisor: one socket, one line for each message, in the order they were put.

`<kind> <target> <epoch> <segment> <slice>`, a tab and JSON is a line of the spool, or the mark behind a slice's
lines; `census`, a tab and JSON is what the worker's meters show; `flushed`, a tab and a number says that all that
was put before the flush of this number has come. The other way go `order`, a tab and JSON, with which a worker
begins, and `flush`, a tab and JSON.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from rampway.gateway.capture import Allowed, allowed
from rampway.gateway.census import Tree
from rampway.gateway.census import encode as encode_census
from rampway.gateway.lossy import LossyFile, LossyWriter
from rampway.gateway.settings import CaptureSettings
from rampway.gateway.spool import (
    AnswerRecord,
    DrawnRecord,
    MarkRecord,
    PairRecord,
    SpoolRecord,
    encode,
)
from rampway.gateway.trafficlog import TrafficFiles

ORDER_BYTES_MAX: Final = 16 * 1024 * 1024
MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
CENSUS: Final = b"census"
FLUSHED: Final = b"flushed"
ORDER: Final = b"order"
FLUSH: Final = b"flush"
_SEND_SECONDS_MAX: Final = 5.0
_CENSUS_BYTES: Final = 16 * 1024  # what a waiting one is reckoned to hold
_READ_BYTES: Final = 64 * 1024
_FLUSHES_MAX: Final = 1_000  # answers that wait to be sent
_KINDS: Final[dict[type[SpoolRecord], bytes]] = {
    PairRecord: b"pair",
    AnswerRecord: b"answer",
    MarkRecord: b"mark",
    DrawnRecord: b"drawn",
}
R = TypeVar("R")


class Message(NamedTuple):
    """A line of the spool, and which slice it is of. `kind` is that of the line."""

    kind: str
    target: str
    epoch: int
    segment: int
    i: int
    line: bytes


class Channel:
    """A worker's end of the socket. `send` is for the thread that writes lines."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._is_broken = False
        self._listening: asyncio.StreamWriter | None = None

    def receive_order(self) -> bytes:
        """The first line, and not a byte behind it. Raises OSError where none comes."""
        line = bytearray()
        while not line.endswith(b"\n"):
            waiting = self._connection.recv(_READ_BYTES, socket.MSG_PEEK)
            if not waiting or len(line) > ORDER_BYTES_MAX:
                raise OSError("The supervisor gave no order.")
            line += self._connection.recv(waiting.find(b"\n") + 1 or len(waiting))
        self._connection.settimeout(_SEND_SECONDS_MAX)
        head, _, order = bytes(line).partition(b"\t")
        if head != ORDER:
            raise OSError("The supervisor gave no order.")
        return order

    async def listen(self) -> asyncio.StreamReader:
        """What the supervisor says after its first order, on the event loop; close ends it."""
        apart = self._connection.dup()
        apart.settimeout(0)
        reader, self._listening = await asyncio.open_unix_connection(
            sock=apart, limit=ORDER_BYTES_MAX
        )
        return reader

    def send(self, lines: bytes) -> None:
        """Raises OSError, and then for ever: what comes after half a line would be misread."""
        if self._is_broken:
            raise OSError("The supervisor takes no more lines.")
        try:
            self._connection.sendall(lines)
        except OSError:
            self._is_broken = True
            # Not close: the event loop listens on a copy, which would keep it open.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            raise

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
        self._connection.close()


class CourierFile(LossyFile[R]):
    """A queue of lines as any, but they go to the supervisor. `path` only names them."""

    def __init__(
        self,
        channel: Channel,
        path: Path,
        *,
        encode: Callable[[R], bytes],
        lines_max: int,
        pending_bytes_max: int,
    ) -> None:
        super().__init__(
            path,
            encode=encode,
            lines_max=lines_max,
            pending_bytes_max=pending_bytes_max,
            file_bytes_max=0,
        )
        self._channel = channel

    def _append(self, lines: bytes) -> None:
        self._channel.send(lines)


class WorkerFiles(TrafficFiles):
    """A worker's files: logs of its own, told by its slot, and a spool that its supervisor writes."""

    def __init__(
        self,
        directory: Path,
        capture: CaptureSettings,
        writer: LossyWriter,
        *,
        channel: Channel,
        slot: int,
    ) -> None:
        # A target's name holds no `@`, so that no file of another target has this name.
        super().__init__(directory, capture, writer, suffix=f"@{slot}")
        self._channel = channel
        self._censuses = writer.add(
            CourierFile[Tree](
                channel,
                directory / "census",
                encode=lambda census: CENSUS + b"\t" + encode_census(census),
                lines_max=4,
                pending_bytes_max=4 * _CENSUS_BYTES,
            )
        )
        self._flushes = writer.add(
            CourierFile[int](
                channel,
                directory / "flushes",
                encode=lambda number: FLUSHED + b"\t%d" % number,
                lines_max=_FLUSHES_MAX,
                pending_bytes_max=_FLUSHES_MAX,
            )
        )

    def tell(self, census: Tree) -> None:
        """What the meters show; dropped where the supervisor has not taken the ones before."""
        self._censuses.put(census, _CENSUS_BYTES)

    def tell_flushed(self, number: int) -> None:
        """All that was put before the flush of this number was asked for is written or sent."""
        self._flushes.put(number, 1)

    def _spool_of(self, target: str) -> LossyFile[SpoolRecord]:
        capture = self._capture
        return self._writer.add(
            CourierFile[SpoolRecord](
                self._channel,
                self._directory / f"spool-{target}.jsonl",
                encode=partial(with_head, allowed=allowed(capture, target)),
                lines_max=capture.traffic_log_lines,
                pending_bytes_max=capture.spool_pending_bytes,
            )
        )


def with_head(record: SpoolRecord, allowed: Allowed) -> bytes:
    return _head(record) + encode(record, allowed)


def told(head: bytes, what: bytes) -> bytes:
    """A line from the supervisor, with its end."""
    return b"%s\t%s\n" % (head, what)


def message(line: bytes) -> Message:
    """What `with_head` wrote. Raises ValueError for anything else."""
    head, _, told = line.partition(b"\t")
    kind, target, epoch, segment, i = head.decode().split(" ")
    return Message(kind, target, int(epoch), int(segment), int(i), told)


def _head(record: SpoolRecord) -> bytes:
    place = f"{record.target} {record.epoch} {record.segment} {record.i}"
    return b"%s %s\t" % (_KINDS[type(record)], place.encode())
