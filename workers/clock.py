"""The real clock of a worker: monotonic, and asleep for real."""

import asyncio
import time


class SystemClock:
    """Elapsed seconds and waiting, by the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
