"""Is this process at its limit? Then copies, which nobody waits for, are the first to go."""

import asyncio
from typing import Final

from rampway.gateway.metrics import Meters
from rampway.gateway.settings import ShadowSettings
from rampway.gateway.terms import Clock

TICK_SECONDS: Final = 0.05


class Load:
    """Watches how many requests are in flight, and how late the event loop comes to what is due."""

    def __init__(self, settings: ShadowSettings, *, meters: Meters, clock: Clock) -> None:
        self._in_flight_max = settings.load_in_flight
        self._lag_max = settings.load_lag
        self._meters = meters
        self._clock = clock
        self._due: float | None = None  # None: nobody keeps time
        self._lag = 0.0
        self._lag_before = 0.0

    def is_high(self, now: float) -> bool:
        """Too much at this moment?

        One late tick is a pause, or another process's turn; a loop that has too much to do is late twice.
        """
        if self._meters.in_flight > self._in_flight_max:
            return True
        late_now = 0.0 if self._due is None else now - self._due
        return max(min(late_now, self._lag), min(self._lag, self._lag_before)) > self._lag_max

    def tick(self, now: float) -> None:
        """The loop came to its next tick."""
        if self._due is not None:
            self._lag, self._lag_before = max(0.0, now - self._due), self._lag
        self._due = now + TICK_SECONDS

    async def keep_time(self) -> None:
        """Tick, for ever."""
        while True:
            self.tick(self._clock.monotonic())
            await asyncio.sleep(TICK_SECONDS)
