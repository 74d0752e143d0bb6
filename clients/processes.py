"""Programs that a stack starts: each with a log file, a readiness condition and an orderly end."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

READY_POLL_SECONDS = 0.05
STOP_SECONDS = 15.0
LOG_TAIL_LINES = 15
PR_SET_PDEATHSIG = 1  # prctl(2): the kernel signals the child when its parent dies


class DidNotStart(Exception):
    """A program of the stack ended early or did not become ready; its last lines are in the text."""


@dataclass
class Program:
    """One child process."""

    name: str
    argv: Sequence[str]
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    process: asyncio.subprocess.Process | None = None

    async def start(
        self, ready: Callable[[], Awaitable[object]] | None = None, *, seconds: float = 30
    ) -> None:
        """Start, and wait until `ready` answers something true. Raises DidNotStart."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environ},
                start_new_session=True,  # Ctrl-C reaches us only: we end them in order
                preexec_fn=_end_with_parent,
            )
        if ready is not None:
            await self._wait_until(ready, seconds)

    async def _wait_until(self, ready: Callable[[], Awaitable[object]], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await ready():
                    if self.process is not None and self.process.returncode is not None:
                        raise DidNotStart(f"{self.name} ended at once.\n{self.last_lines()}")
                    await asyncio.sleep(READY_POLL_SECONDS)
        except TimeoutError:
            raise DidNotStart(
                f"{self.name} was not ready in {seconds:g} s.\n{self.last_lines()}"
            ) from None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.returncode is None

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        if self.process is None:
            raise DidNotStart(f"{self.name} was never started.")
        return await self.process.wait()

    async def stop(self) -> None:
        """Ask it to end, wait, then make sure; only ever the process we started."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def last_lines(self) -> str:
        """The end of its log, for an error message."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def _end_with_parent() -> None:
    """Have the kernel end this child if the parent is killed: nothing may be left behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
