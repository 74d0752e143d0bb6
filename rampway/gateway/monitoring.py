"""What the process tells of itself: the metrics page, and whether it is ready."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from rampway.gateway.deciding import Deciding
from rampway.gateway.metrics import Meters, Page, Sample
from rampway.gateway.pairing import TargetTally
from rampway.gateway.sampling import ArmTally
from rampway.gateway.terms import Arm
from rampway.gateway.vitals import vitals_of


class Tallies(Protocol):
    """What was sampled: a router's, or that of all processes."""

    @property
    def copied_total(self) -> Mapping[str, TargetTally]: ...

    @property
    def drawn_total(self) -> Mapping[str, Mapping[Arm, ArmTally]]: ...


class Lines(Protocol):
    """A file, and what it did not take."""

    @property
    def path(self) -> Path: ...

    @property
    def dropped_full_total(self) -> int: ...

    @property
    def dropped_disk_total(self) -> int: ...


class LineFiles(Protocol):
    """All such files of the gateway."""

    def all(self) -> Iterable[Lines]: ...


class Breaking(Protocol):
    def is_open(self) -> bool: ...


class Copying(Protocol):
    """Who copies for a claim."""

    @property
    def breaker(self) -> Breaking: ...


class Spending(Protocol):
    """What a target's copies cost."""

    @property
    def tokens_total(self) -> float: ...

    @property
    def spend_total(self) -> float: ...


class Traced(Protocol):
    """What became of spans."""

    @property
    def delivered_total(self) -> int: ...

    @property
    def dropped_full_total(self) -> int: ...

    @property
    def dropped_undelivered_total(self) -> int: ...


class Answering(Protocol):
    """Who answers requests: a proxy, or several."""

    @property
    def is_draining(self) -> bool: ...

    @property
    def copiers(self) -> Mapping[str, tuple[int, Copying]]: ...

    @property
    def budgets(self) -> Mapping[str, Spending]: ...


class Monitoring:
    """Gathers from every part; changes nothing."""

    def __init__(
        self,
        deciding: Deciding,
        *,
        router: Tallies,
        files: LineFiles,
        meters: Callable[[], Meters],
        proxy: Answering,
        spans: Traced | None,
    ) -> None:
        self._authority = deciding.authority
        self._counts = deciding.counts
        self._feedback = deciding.feedback
        self._clock = deciding.clock
        self._router = router
        self._files = files
        self._meters = meters
        self._proxy = proxy
        self._spans = spans
        self._process = CollectorRegistry()
        self._process.register(ProcessCollector(registry=None))

    def not_ready(self) -> str | None:
        """Why no traffic should be sent here; None where it may."""
        if self._authority.unreadable and not self._authority.targets():
            return f"{self._authority.unreadable} No target is known: register them again."
        if self._proxy.is_draining:
            return "The gateway is stopping."
        return None

    def page(self) -> str:
        """Of a gateway that is one process."""
        return self.page_of({"only": os.getpid()}, ready=self.not_ready() is None)

    def page_of(self, pids: Mapping[str, int], *, ready: bool) -> str:
        """`pids` names the processes of which `ready` is said."""
        page, meters = Page(), self._meters()
        page.arms(meters)
        page.copies(meters)
        self._processes(page, pids)
        self._parts(page, ready=ready)
        page.family(
            "own_answers_total",
            "counter",
            "Requests that the gateway answered itself, by reason.",
            [({"reason": why}, count) for why, count in sorted(meters.rejected.items())],
        )
        page.family("in_flight", "gauge", "Requests now.", [({}, meters.in_flight)])
        self._splits(page)
        self._shadow(page)
        self._judged(page)
        self._marks(page)
        page.family(
            "lines_dropped_total",
            "counter",
            "Lines that were not written, by file and reason.",
            self._dropped(),
        )
        targets = sorted(self._counts.targets.items())
        page.family(
            "slice_rows_lost_total",
            "counter",
            "Sealed slices that the disk did not take.",
            [({"target": target}, counts.rows_lost) for target, counts in targets],
        )
        page.family(
            "units_forgotten_total",
            "counter",
            "Units that would be counted again if they came again.",
            [({"target": target}, counts.forgotten) for target, counts in targets],
        )
        self._sealed(page)
        page.add(generate_latest(self._process).decode())
        return page.text()

    def _processes(self, page: Page, pids: Mapping[str, int]) -> None:
        used = vitals_of(pids)
        page.family(
            "cpu_seconds_total",
            "counter",
            "CPU that each process has used, system and user.",
            [({"process": name}, one.cpu_seconds) for name, one in used.items()],
        )
        page.family(
            "resident_memory_bytes",
            "gauge",
            "Resident memory of each process.",
            [({"process": name}, one.memory_bytes) for name, one in used.items()],
        )

    def _parts(self, page: Page, *, ready: bool) -> None:
        """What the gateway as a whole is doing."""
        page.family(
            "ready",
            "gauge",
            "1 while traffic may be sent here, as told by /readyz.",
            [({}, int(ready))],
        )
        if self._spans is None:
            return
        page.family(
            "spans_delivered_total",
            "counter",
            "Spans that the collector took.",
            [({}, self._spans.delivered_total)],
        )
        page.family(
            "spans_dropped_total",
            "counter",
            "Spans that no collector has, by reason.",
            [
                ({"reason": "queue"}, self._spans.dropped_full_total),
                ({"reason": "undelivered"}, self._spans.dropped_undelivered_total),
            ],
        )

    def _sealed(self, page: Page) -> None:
        at, gateway = self._clock.now(), self._counts.totals.gateway
        page.family(
            "clock_seconds",
            "gauge",
            "Unix time by the gateway's clock as this page was written.",
            [({"gateway": gateway}, at.wall)],
        )
        for family in self._counts.totals.families(at.monotonic):
            page.family(*family)

    def _splits(self, page: Page) -> None:
        seen = [self._authority.observe(target) for target in self._authority.targets()]
        for name, told in (
            ("share_bp", "Share of the candidate, in basis points."),
            ("shadow_bp", "Rate of copies, in basis points."),
            ("epoch", "Epoch of the last claim."),
            ("lease_seconds", "What is left of the lease."),
        ):
            samples = [({"target": one.target}, getattr(one, name)) for one in seen]
            told_samples = [sample for sample in samples if sample[1] is not None]
            page.family(name, "gauge", told, told_samples)
        page.family(
            "applied_by_every_instance",
            "gauge",
            "1 while every instance applies what is in force.",
            [({"target": one.target}, int(one.applied_by_every_instance)) for one in seen],
        )
        page.family(
            "held",
            "gauge",
            "1 while a release holds the target: its claim is open and its lease runs.",
            [({"target": one.target}, int(bool(one.lease_seconds))) for one in seen],
        )
        authority = self._authority
        page.family(
            "writes_total", "counter", "Accepted traffic writes.", [({}, authority.accepted_total)]
        )
        page.family(
            "refused_writes_total",
            "counter",
            "Refused traffic writes by code.",
            [({"code": code}, count) for code, count in sorted(authority.refused_total.items())],
        )
        page.family(
            "leases_expired_total",
            "counter",
            "Leases that ran out.",
            [({}, authority.leases_expired_total)],
        )

    def _shadow(self, page: Page) -> None:
        copied = sorted(self._router.copied_total.items())
        page.family(
            "shadow_sampled_total",
            "counter",
            "Requests sampled for the shadow.",
            [({"target": target}, tally.sampled) for target, tally in copied],
        )
        page.family(
            "shadow_missing_total",
            "counter",
            "Sampled requests without a pair of answers, by reason.",
            [
                ({"target": target, "reason": reason}, count)
                for target, tally in copied
                for reason, count in sorted(tally.missing.items())
            ],
        )
        page.family(
            "shadow_breaker_open",
            "gauge",
            "1 while copies are held back because the candidate does not answer.",
            [
                ({"target": target}, int(copier.breaker.is_open()))
                for target, (epoch, copier) in sorted(self._proxy.copiers.items())
                if epoch == self._shadowing_epoch(target)
            ],
        )

        budgets = sorted(self._proxy.budgets.items())
        page.family(
            "shadow_tokens_total",
            "counter",
            "Tokens of copies, as told or estimated.",
            [({"target": target}, budget.tokens_total) for target, budget in budgets],
        )
        page.family(
            "shadow_spend_total",
            "counter",
            "What copies cost, at the prices of the settings.",
            [({"target": target}, budget.spend_total) for target, budget in budgets],
        )

    def _judged(self, page: Page) -> None:
        drawn = [
            ({"target": target, "arm": arm}, tally)
            for target, arms in sorted(self._router.drawn_total.items())
            for arm, tally in sorted(arms.items())
        ]
        page.family(
            "judged_drawn_total",
            "counter",
            "Requests drawn for the judge from what users saw.",
            [(labels, tally.drawn) for labels, tally in drawn],
        )
        page.family(
            "judged_missing_total",
            "counter",
            "Drawn requests without an answer for the judge, by reason.",
            [
                ({**labels, "reason": reason}, count)
                for labels, tally in drawn
                for reason, count in sorted(tally.missing.items())
            ],
        )

    def _marks(self, page: Page) -> None:
        page.family(
            "feedback_total",
            "counter",
            "What users said of answers, by the arm that served.",
            [
                ({"target": target, "arm": arm, "mark": mark}, count)
                for (target, arm, mark), count in sorted(self._feedback.counted_total.items())
            ],
        )
        page.family(
            "feedback_not_counted_total",
            "counter",
            "Feedback that was not counted, by reason.",
            [
                ({"target": target, "reason": reason}, count)
                for (target, reason), count in sorted(self._feedback.not_counted_total.items())
            ],
        )

    def _shadowing_epoch(self, target: str) -> int | None:
        """The epoch in which copies are made now; None where none are."""
        seen = self._authority.observe(target)
        return seen.epoch if seen.shadow_bp else None

    def _dropped(self) -> Iterator[Sample]:
        for file in self._files.all():
            yield {"file": file.path.name, "reason": "queue"}, file.dropped_full_total
            yield {"file": file.path.name, "reason": "disk"}, file.dropped_disk_total
