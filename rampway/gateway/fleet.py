"""What is decided reaches the workers: counted, written to the table, and waited for until they say so."""

import asyncio
from typing import Final

import structlog

from rampway.gateway.crew import Crew
from rampway.gateway.gathering import Gathering
from rampway.gateway.instances import Reach
from rampway.gateway.sharedcounts import SegmentFiles, SummedCounts
from rampway.gateway.slots import SlotFile
from rampway.gateway.splits import TargetSplit
from rampway.gateway.table import TableWriter
from rampway.gateway.terms import Clock

PROPAGATION_SECONDS_MAX: Final = 0.5  # a write is answered then, whoever has not taken it up
HEARTBEAT_SECONDS_MAX: Final = 1.0  # a worker that was silent for longer may route by anything
_POLL_SECONDS: Final = 0.002
_HEAL_SECONDS: Final = 1.0  # between two writes of a table that a worker cannot read
_log = structlog.get_logger("rampway.gateway")


class Fleet:
    """All workers, as those that route by what the authority decides."""

    def __init__(
        self,
        table: TableWriter,
        slots: SlotFile,
        crew: Crew,
        *,
        segments: SegmentFiles,
        counts: SummedCounts,
        gathering: Gathering,
        clock: Clock,
    ) -> None:
        self._table = table
        self._slots = slots
        self._crew = crew
        self._segments = segments
        self._counts = counts
        self._gathering = gathering
        self._clock = clock
        self._is_published = False
        self._healed_at = 0.0

    def check(self, split: TargetSplit) -> None:
        """Raises BadInput where the segment's counts or the table would be too large."""
        self._segments.check(split.timing)
        self._table.check(split)

    def change(self, split: TargetSplit) -> None:
        """Route by this split: each worker, from its next request on."""
        self._gathering.follow(split, self._counts.segment_for(split))
        self._table.put(split)
        if self._is_published:
            self._table.publish()

    def publish(self) -> None:
        """All that was loaded is known: from now on each change is told at once."""
        self._is_published = True
        self._table.publish()

    async def applied(self, target: str) -> None:
        until = self._clock.monotonic() + PROPAGATION_SECONDS_MAX
        # Other processes write what is looked at here: there is nothing to be awaited.
        while self.reach(target).laggards and self._clock.monotonic() < until:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_POLL_SECONDS)

    def reach(self, target: str) -> Reach:
        """Who routes: every worker that was started and not yet seen to end, silent ones too."""
        wanted, now = self._table.generations.get(target, 0), self._clock.monotonic()
        serving = self._crew.serving()
        laggards = tuple(
            f"worker-{number}"
            for number in serving
            if self._slots[number].applied < wanted
            or self._slots[number].is_blind
            or now - self._slots[number].heartbeat > HEARTBEAT_SECONDS_MAX
        )
        return Reach(len(serving), laggards)

    def look(self) -> None:
        """Replace who is silent; write the table anew for who cannot read it."""
        self._crew.kill_silent()
        now = self._clock.monotonic()
        blind = [number for number in self._crew.serving() if self._slots[number].is_blind]
        if blind and now - self._healed_at > _HEAL_SECONDS:
            self._healed_at = now
            _log.error("table.written_anew", workers=blind)
            self._table.publish()
