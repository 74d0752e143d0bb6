"""The worker processes of one supervisor: started, heard, started again when they end, and stopped.

A worker that ends is replaced at once, and after longer and longer waits if it keeps ending. One that gives
no sign of life for `SILENT_SECONDS_MAX` is killed, which replaces it too.
"""

import asyncio
import os
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog

from rampway.gateway.census import Censuses, decode
from rampway.gateway.courier import CENSUS, FLUSHED, message
from rampway.gateway.gathering import Gathering
from rampway.gateway.hands import Hands
from rampway.gateway.ports import DataPort
from rampway.gateway.settings import TOKEN_VARIABLE, BadSettings
from rampway.gateway.slots import SlotFile, Stage
from rampway.gateway.terms import Clock

if TYPE_CHECKING:
    from asyncio.subprocess import Process

START_SECONDS_MAX: Final = 30.0
SILENT_SECONDS_MAX: Final = 10.0
END_SECONDS_MAX: Final = 5.0  # beyond the drain, then it is killed
_RESTART_SECONDS_MIN: Final = 0.05
_RESTART_SECONDS_MAX: Final = 5.0
_STEADY_SECONDS: Final = 30.0  # after which an end is no longer counted with the ones before
_LOOK_SECONDS: Final = 0.01
_log = structlog.get_logger("rampway.gateway")


class Crew:
    """Keeps `size` workers, and tells them by `hands` what to do."""

    def __init__(
        self,
        size: int,
        *,
        hands: Hands,
        port: DataPort,
        slots: SlotFile,
        gathering: Gathering,
        censuses: Censuses,
        clock: Clock,
    ) -> None:
        self._size = size
        self._hands = hands
        self._port = port
        self._slots = slots
        self._gathering = gathering
        self._censuses = censuses
        self._clock = clock
        self._running: dict[int, Process] = {}
        self._keepers: dict[int, asyncio.Task[None]] = {}
        self.is_stopping = False
        self.restarts_total = 0

    async def start(self) -> None:
        """Returns when all workers serve. Raises BadSettings where one does not."""
        for slot in range(self._size):
            self._keepers[slot] = asyncio.create_task(self._keep(slot))
        until = self._clock.monotonic() + START_SECONDS_MAX
        while len(self.serving()) < self._size:
            if self.restarts_total or self._clock.monotonic() > until:
                raise BadSettings("a worker did not start; what it said stands above.")
            await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self, drain_seconds: float) -> None:
        """Let all workers finish what they have begun; kill those that take too long. Safe to repeat."""
        self.is_stopping = True
        self._port.stop()
        for process in self._running.values():
            process.terminate()
        try:
            async with asyncio.timeout(drain_seconds + END_SECONDS_MAX):
                while self._running:  # noqa: ASYNC110 - rare, and each has its own end
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            for process in self._running.values():
                process.kill()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    def serving(self) -> list[int]:
        """The slots of workers that take requests, or still answer some: those that must follow the table."""
        return [
            number
            for number, process in sorted(self._running.items())
            if self._slots[number].pid == process.pid
            and self._slots[number].stage is not Stage.EMPTY
        ]

    def pid_of(self, number: int) -> int:
        return self._slots[number].pid

    def kill_silent(self) -> None:
        now = self._clock.monotonic()
        for number in self.serving():
            silent = now - self._slots[number].heartbeat
            if silent > SILENT_SECONDS_MAX:
                _log.error("worker.silent", worker=number, seconds=round(silent, 1))
                self._running[number].kill()

    async def _keep(self, number: int) -> None:
        ended_early = 0
        while not self.is_stopping:
            began = self._clock.monotonic()
            served = False
            try:
                served = await self._run(number)
            except OSError as failed:
                _log.error("worker.not_started", worker=number, why=str(failed))
            if self.is_stopping:
                return
            self.restarts_total += 1
            steady = self._clock.monotonic() - began > _STEADY_SECONDS
            ended_early = 0 if steady else ended_early + 1
            if not served:  # nor may the next
                self._port.give_up(number)
            wait = _RESTART_SECONDS_MIN * 2.0**ended_early
            await asyncio.sleep(min(wait, _RESTART_SECONDS_MAX))

    async def _run(self, number: int) -> bool:
        """One worker's life, to its end and that of all it sent; answers whether it ever served."""
        ours, its = socket.socketpair()
        port = self._port.of(number)
        with its, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rampway.gateway.workerprocess",
                str(number),
                str(its.fileno()),
                str(port.fileno()),
                pass_fds=[its.fileno(), port.fileno()],
                env={name: told for name, told in os.environ.items() if name != TOKEN_VARIABLE},
            )
            unless_started.pop_all()
        self._running[number] = process
        if self.is_stopping:  # it was told meanwhile
            process.terminate()
        self._gathering.join(number, self._clock.monotonic())
        try:
            await self._hear(number, await self._hands.join(number, process, ours))
            code = await process.wait()
            if not self.is_stopping:
                _log.warning("worker.ended", worker=number, code=code)
            served = self._slots[number].stage is not Stage.EMPTY
            return self._hands.leave(number) or served
        finally:
            self._hands.leave(number)
            if process.returncode is None:  # never two workers in one slot
                process.kill()
                await process.wait()
            self._gathering.leave(number)
            self._censuses.end(number)
            self._slots[number].wipe()
            self._running.pop(number, None)

    async def _hear(self, number: int, reader: asyncio.StreamReader) -> None:
        """Take all that a worker sends, to its end."""
        while True:
            try:
                line = await reader.readline()
                if not line.endswith(b"\n"):  # a worker that is killed may leave half a line
                    return
                self._take(number, line.removesuffix(b"\n"))
            except ConnectionError:
                return
            except ValueError as wrong:  # too long, or torn
                _log.warning("worker.line_unreadable", worker=number, why=str(wrong))

    def _take(self, number: int, line: bytes) -> None:
        head, _, told = line.partition(b"\t")
        if head == CENSUS:
            self._censuses.take(number, decode(told))
        elif head == FLUSHED:
            self._hands.flushed(number, int(told))
        else:
            self._gathering.take(number, message(line))
