"""Every outside system as one small Protocol."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import JsonValue

from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import StagePlan
from rampway.release.events import Event
from rampway.release.records import Header, Page, Record, Standing, Target
from rampway.release.splits import Capabilities, Ending, Observed, PinnedBy, Served, Token


class Unreachable(Exception):
    """An outside system gave no usable answer; the write may or may not have happened."""


class Traffic(Protocol):
    """The data plane of one or more targets. Writes are absolute and idempotent by `op_id`.

    Every write may raise splits.Refused or Unreachable. Times are seconds, shares basis points.
    """

    async def claim(
        self,
        *,
        target: str,
        release: str,
        baseline: Served,
        candidate: Served,
        ttl_seconds: float,
        op_id: str,
    ) -> Token: ...

    async def set_share(
        self, token: Token, *, share_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed: ...

    async def shadow(
        self, token: Token, *, rate_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed: ...

    async def renew(self, token: Token, *, ttl_seconds: float) -> Observed: ...

    async def pin(self, token: Token, *, by: PinnedBy) -> Observed: ...

    async def end(self, token: Token, *, ending: Ending, op_id: str) -> Observed: ...

    async def observe(self, target: str) -> Observed: ...

    async def capabilities(self, target: str) -> Capabilities: ...

    async def add_target(self, target: Target, baseline: Served) -> None: ...


class EvidenceSource(Protocol):
    """Counts of what both arms did. May raise Unreachable; never invents a number."""

    async def stage(
        self, *, target: str, epoch: int, segment: int, plan: StagePlan
    ) -> Evidence: ...

    async def baseline(self, *, target: str, last_units: int) -> BaselineCounts: ...


class Registry(Protocol):
    """The record: artifacts, targets, releases, events, blobs. Append-only but for a target's pointer.

    Appending what is already there is a success; appending something else under the same key raises
    AlreadyRecorded. Every call may raise Unreachable.
    """

    async def add_artifact(self, digest: str, content: dict[str, JsonValue]) -> None: ...

    async def artifact(self, digest: str) -> dict[str, JsonValue]: ...

    async def put(self, kind: str, body: bytes) -> str: ...

    async def get(self, digest: str) -> bytes: ...

    async def set_target(self, target: Target, baseline: Served) -> None: ...

    async def target(self, name: str) -> Standing: ...

    async def targets(self) -> Sequence[Standing]: ...

    async def point(self, target: str, baseline: Served, *, release: str) -> None: ...

    async def open_release(self, header: Header) -> None: ...

    async def append(self, events: Sequence[Event]) -> None: ...

    async def release(self, name_or_id: str) -> Record: ...

    async def releases(self, target: str | None = None) -> Sequence[Record]: ...

    async def keep_first_eval(self, key: str, verdict: bytes) -> bytes: ...


class Pager(Protocol):
    """Tells a person. Delivering the same page twice is one page, by its dedup key."""

    async def page(self, page: Page) -> str: ...


class RunState(StrEnum):
    """What the workflow engine says of the run that a watch serves."""

    RUNNING = "running"
    CLOSED = "closed"
    NO_ANSWER = "no answer"


class OwnRun(Protocol):
    """Asks, bounded in time, whether the run that started this work is still open."""

    async def state(self) -> RunState: ...


class Clock(Protocol):
    """Elapsed time and waiting; injected, so that virtual time can pass in tests."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class NotFound(Exception):
    """The registry has no such artifact, target, release or blob."""


class AlreadyRecorded(Exception):
    """Something else is recorded under this key; the record is never changed."""


class Tampered(Exception):
    """What the record holds is not what was written; `body` is what it holds now.

    `sequence` is the event's number where an event's row is unreadable, None for a blob or a header.
    """

    def __init__(self, why: str, *, sequence: int | None = None, body: bytes = b"") -> None:
        super().__init__(why)
        self.sequence = sequence
        self.body = body
