"""What a gateway of several processes tells of itself: one page for all of them, and whether it is ready."""

import os
from collections.abc import Iterator

from rampway.gateway.census import Censuses, Copiers, Dropped, Spent
from rampway.gateway.crew import Crew
from rampway.gateway.deciding import Deciding
from rampway.gateway.gathering import Spools
from rampway.gateway.monitoring import Monitoring


class Overview:
    """Sums the workers' newest censuses up, and lets Monitoring write the page."""

    def __init__(
        self, deciding: Deciding, *, crew: Crew, censuses: Censuses, spools: Spools
    ) -> None:
        self._crew = crew
        self._censuses = censuses
        self._spools = spools
        self._monitoring = Monitoring(
            deciding,
            router=censuses,
            files=self,
            meters=censuses.meters,
            proxy=self,
            spans=censuses,
        )

    def not_ready(self) -> str | None:
        if not self._crew.serving():
            return "No worker serves."
        return self._monitoring.not_ready()

    def page(self) -> str:
        pids = {f"worker-{number}": self._crew.pid_of(number) for number in self._crew.serving()}
        return self._monitoring.page_of(
            {"supervisor": os.getpid(), **pids}, ready=self.not_ready() is None
        )

    @property
    def is_draining(self) -> bool:
        return self._crew.is_stopping

    @property
    def copiers(self) -> dict[str, tuple[int, Copiers]]:
        return self._censuses.copiers

    @property
    def budgets(self) -> dict[str, Spent]:
        return self._censuses.budgets

    def all(self) -> Iterator[Dropped]:
        """What workers did not hand over, and what the supervisor did not write of it."""
        yield from self._censuses.dropped()
        for file in self._spools.files.values():
            yield Dropped(file.path, file.dropped_full_total, file.dropped_disk_total)
