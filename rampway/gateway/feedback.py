"""Late feedback: what users say of answers, counted for the arm and the slice that served them.

The arm is not taken from who tells: it is found again from the unit, the claim's salt and the share
that the segment had.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, Self, TypedDict, TypeVar

import structlog
from pydantic import Field, model_validator

from rampway.gateway.assignment import Split, assign
from rampway.gateway.counting import FullRow
from rampway.gateway.counts import Counts
from rampway.gateway.feedbackbook import FeedbackBook, Mark, Taken
from rampway.gateway.handouts import Handouts
from rampway.gateway.journal import Key
from rampway.gateway.receipts import HEADER, Place, Receipts, decoded
from rampway.gateway.settings import FeedbackSettings
from rampway.gateway.splits import Claim, TargetSplit
from rampway.gateway.terms import Arm, BadInput, Clock, Fact, NotStored, RefusalCode, Refused

WAITING_MAX: Final = 1_000  # marks that wait for the disk
_EARLY: Final = 1e-9  # of a slice: absorbs rounding
_log = structlog.get_logger("rampway.gateway")
_Text = Annotated[str, Field(min_length=1, max_length=1_000)]
T = TypeVar("T")


class FeedbackOrder(Fact):
    """POST feedback. `unit` as the unit header told it; without one, the request's id is the unit."""

    unit: _Text | None = None
    request_id: _Text | None = None
    receipt: _Text | None = None
    mark: Mark

    @model_validator(mode="after")
    def _names_an_answer(self) -> Self:
        if self.unit is None and self.request_id is None:
            raise ValueError("feedback needs a unit or a request_id")
        return self


class Answered(TypedDict):
    """Whether a mark counts, and why not; never for which arm."""

    counted: bool
    why: str | None


class ArmRow(TypedDict):
    """One arm's units that were served in a slice, and how many of them were marked."""

    units: int
    wrong: int
    ok: int


class FeedbackRow(TypedDict):
    """Slice `i` of the stream."""

    i: int
    baseline: ArmRow
    candidate: ArmRow


class FeedbackStream(TypedDict):
    """How many slices are sealed, and the rows of those that were not lost and had room for all marks."""

    target: str
    epoch: int
    segment: int
    slice_seconds: float
    delay_seconds: float
    sealed: int
    rows: list[FeedbackRow]


class Feedback:
    """Marks of all targets. One thread owns their books.

    Without `handouts` no request is remembered where it is marked: only receipts are proof.
    """

    def __init__(
        self,
        directory: Path,
        settings: FeedbackSettings,
        *,
        counts: Counts,
        split_of: Callable[[str], TargetSplit],
        handouts: Handouts | None,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._counts = counts
        self._split_of = split_of
        self._handouts = handouts
        self._clock = clock
        self._books: dict[str, FeedbackBook] = {}
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="rampway-feedback")
        self._waiting = 0
        self.counted_total: Counter[tuple[str, str, str]] = Counter()  # target, arm, mark
        self.not_counted_total: Counter[tuple[str, str]] = Counter()  # target, why

    async def mark(self, target: str, order: FeedbackOrder) -> Answered:
        """Count a mark. Raises Refused, BadInput for a receipt that is not ours, NotStored."""
        split = self._split_of(target)
        try:
            place, unit, claim = self._located(split, order)
            facts = await self._counts.facts(target, (place.epoch, place.segment))
        except (Refused, BadInput) as no:
            why = no.code.value if isinstance(no, Refused) else "bad_input"
            self.not_counted_total[target, why] += 1
            raise
        held = Split(
            salt=bytes.fromhex(claim.salt),
            release=claim.release,
            share_bp=facts["share_bp"],
            shadow_bp=0,
        )
        arm = assign(unit, held)
        width, began_at = facts["slice_seconds"], facts["began_at"]
        taken = Taken.LATE
        if place.i >= self._due(width, began_at):
            name = held.pseudonym(unit)
            taken = await self._stored(target, lambda book: book.mark(place, arm, name, order.mark))
        if taken is Taken.COUNTED:
            self.counted_total[target, arm.value, order.mark.value] += 1
            return {"counted": True, "why": None}
        self.not_counted_total[target, taken.value] += 1
        return {"counted": False, "why": taken.value}

    async def sealed(self, target: str, key: Key) -> FeedbackStream:
        """All sealed rows of a segment; what is answered once never changes. Raises Refused, NotStored."""
        split, (epoch, segment) = self._split_of(target), key
        slices = await self._counts.slices(target, key)
        full = slices["full"]
        due = self._due(slices["slice_seconds"], slices["began_at"])

        def seal(book: FeedbackBook) -> tuple[int, list[FeedbackRow]]:
            if epoch not in {split.epoch, book.epoch}:
                raise Refused(
                    RefusalCode.UNKNOWN, f"{target} keeps no feedback of epoch {epoch} any more."
                )
            sealed = book.seal(epoch, segment, min(due, full["sealed"]))
            whole = (r for r in full["rows"] if r["i"] < sealed and book.is_whole(*key, r["i"]))
            return sealed, [_row(book, key, row) for row in whole]

        sealed, rows = await self._stored(target, seal)
        return {
            "target": target,
            "epoch": epoch,
            "segment": segment,
            "slice_seconds": slices["slice_seconds"],
            "delay_seconds": self._settings.delay_seconds,
            "sealed": sealed,
            "rows": rows,
        }

    def close(self) -> None:
        self._disk.shutdown()
        for book in self._books.values():
            book.close()

    def _located(self, split: TargetSplit, order: FeedbackOrder) -> tuple[Place, bytes, Claim]:
        """The slice that served the unit, by a receipt that is proved or by what is remembered."""
        told = order.unit or order.request_id or ""
        unit = told.encode("utf-8", "surrogateescape")
        if order.receipt is None:
            place, unit = self._remembered(split.target, order)
            return place, unit, _claim_of(split, place)
        read = decoded(order.receipt)
        if read is None:
            raise BadInput("That is not a receipt of this gateway.")
        place, raw = read
        claim = _claim_of(split, place)
        if not Receipts(salt=bytes.fromhex(claim.salt), release=claim.release).vouches(raw, unit):
            raise BadInput("The receipt was not given for this unit and target.")
        return place, unit, claim

    def _remembered(self, target: str, order: FeedbackOrder) -> tuple[Place, bytes]:
        request_id = order.request_id or order.unit or ""
        if self._handouts is None:
            raise BadInput(self._needs_receipt())
        known = self._handouts.remembered(target, request_id)
        if known is None:
            raise Refused(
                RefusalCode.UNKNOWN,
                f"No request {request_id!r} of an open split is remembered here "
                f"({self._settings.remembered_requests} are). Send the answer's receipt with it.",
            )
        named = order.unit
        if named is not None and named.encode("utf-8", "surrogateescape") != known.unit:
            raise BadInput(f"Request {request_id!r} was of another unit.")
        return known

    def _needs_receipt(self) -> str:
        on = "" if self._settings.receipts else "set feedback.receipts = true, restart, and "
        return (
            "A gateway of several processes remembers no request ids. "
            f"Next: {on}send the answer's {HEADER} as `receipt` with its unit or request id."
        )

    def _due(self, slice_seconds: float, began_at: float) -> int:
        """How many slices have had their time for feedback."""
        over = self._clock.now().wall - began_at - self._settings.delay_seconds
        return max(0, math.floor(over / slice_seconds + _EARLY))

    async def _stored(self, target: str, work: Callable[[FeedbackBook], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise NotStored(f"{WAITING_MAX} marks wait for the disk: send it again later.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._disk, lambda: work(self._book(target)))
        except OSError as failed:
            _log.exception("feedback.not_stored", target=target)
            raise NotStored(f"The feedback cannot be written: {failed}") from failed
        finally:
            self._waiting -= 1

    def _book(self, target: str) -> FeedbackBook:
        """In the thread only."""
        book = self._books.get(target)
        if book is None:
            path = self._directory / f"feedback-{target}.jsonl"
            book = self._books[target] = FeedbackBook(path, marks_max=self._settings.marks)
        return book


def _claim_of(split: TargetSplit, place: Place) -> Claim:
    """The claim whose salt proves the place; it is forgotten with the next claim."""
    if split.claim is None or place.epoch != split.epoch:
        raise Refused(
            RefusalCode.FENCED,
            f"The answer was served in epoch {place.epoch}; {split.target} is in epoch {split.epoch}, "
            "and nobody counts for that one any more.",
        )
    return split.claim


def _row(book: FeedbackBook, key: Key, row: FullRow) -> FeedbackRow:
    def of(arm: Arm, units: int) -> ArmRow:
        marks = book.marks(*key, row["i"], arm)
        return {"units": units, "wrong": marks.wrong, "ok": marks.ok}

    return {
        "i": row["i"],
        "baseline": of(Arm.BASELINE, row["baseline"]["units"]),
        "candidate": of(Arm.CANDIDATE, row["candidate"]["units"]),
    }
