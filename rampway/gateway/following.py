"""A worker's routing: by the table's newest generation, which is looked at for each request."""

from typing import TYPE_CHECKING, Final

import structlog

from rampway.gateway.callers import Caller
from rampway.gateway.metrics import Meters
from rampway.gateway.routing import Passage, Router, Segments
from rampway.gateway.settings import Settings
from rampway.gateway.splits import TargetSplit, expire, lowered
from rampway.gateway.table import Snapshot, TableReader, Torn, decode, target_of
from rampway.gateway.terms import Clock
from rampway.gateway.trafficlog import TrafficFiles

if TYPE_CHECKING:
    from collections.abc import Callable

_NOTHING: Final = -1  # no generation
_log = structlog.get_logger("rampway.gateway")


class FollowingRouter(Router):
    """Routes by the table.

    Nothing goes to a candidate while the table cannot be read, is of another boot, or is no longer its
    supervisor's, nor when a lease has passed.
    """

    def __init__(
        self,
        table: TableReader,
        *,
        boot_id: str,
        clock: Clock,
        counts: Segments,
        meters: Meters,
        files: TrafficFiles,
        settings: Settings,
    ) -> None:
        super().__init__(clock=clock, counts=counts, meters=meters, files=files, settings=settings)
        self._table = table
        self._boot_id = boot_id.encode()
        self._seen = _NOTHING
        self._splits: dict[str, TargetSplit] = {}
        self._lines: dict[bytes, bytes] = {}
        self.applied = 0
        self.is_blind = False
        self.acknowledge: Callable[[], None] = _nobody_waits
        self.lapse = self._lapse

    def knows(self, target: str) -> bool:
        self.follow()
        return super().knows(target)

    def admit(self, target: str, caller: Caller, trace_id: str) -> Passage | None:
        # Again, after `knows`: the request's body may have taken its time.
        if self._table.generation != self._seen:
            self.follow()
        return super().admit(target, caller, trace_id)

    def follow(self) -> None:
        """Route by what the table holds now. One comparison where nothing has changed."""
        generation = self._table.generation
        if generation == self._seen and not self.is_blind:
            return
        if self._table.is_retired:
            self._take_down("retired", generation)
            return
        try:
            snapshot = self._table.read()
        except Torn as torn:
            if not self.is_blind:
                _log.error("table.torn", why=str(torn))
            self.is_blind = True
            self._take_down("torn", generation)
            return
        if (
            snapshot is not None
        ):  # else it is being written: what is in force is in force until it is
            self._apply(snapshot)

    @property
    def is_retired(self) -> bool:
        return self._table.is_retired

    def leases_end(self) -> float:
        """When the last lease that this worker routes by runs out, in monotonic seconds; 0 without one."""
        leases = [s.claim.lease_until or 0.0 for s in self._splits.values() if s.claim]
        return max(leases, default=0.0)

    def _apply(self, snapshot: Snapshot) -> None:
        same_boot = snapshot.boot_id == self._boot_id
        for line in snapshot.lines:
            name = target_of(line)
            if self._lines.get(name) == line and not self.is_blind:
                continue
            split = decode(line)
            self._lines[name] = line
            self._route(split if same_boot else self._lowered(split))
        self._seen = self.applied = snapshot.generation
        self.is_blind = False
        self.acknowledge()

    def _take_down(self, why: str, generation: int) -> None:
        """Nothing to any candidate; what is known of the table is forgotten."""
        if self._lines or self._seen == _NOTHING:
            _log.warning("splits.taken_down", why=why)
        for split in self._splits.values():
            self._route(self._lowered(split))
        self._lines.clear()
        self._seen = generation

    def _lapse(self, target: str) -> None:
        """Down here and now; that it is recorded is the supervisor's, who keeps the same time."""
        self._route(expire(self._splits[target], self._clock.now()))

    def _lowered(self, split: TargetSplit) -> TargetSplit:
        claim = split.claim
        if claim is None or claim.ended is not None:  # the candidate is the baseline now, or gone
            return split
        return lowered(split, claim, claim.sequence, self._clock.now())

    def _route(self, split: TargetSplit) -> None:
        before = self._splits.get(split.target)
        self._splits[split.target] = split
        if before != split:
            self.change(split)


def _nobody_waits() -> None:
    """The worker has not begun to serve."""
