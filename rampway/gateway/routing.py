"""Each request's way through: which arm serves it, where it is counted, and how it ended; no HTTP here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rampway.gateway.answerlog import LINE_BYTES, CopiedRecord, LiveRecord, SplitFacts
from rampway.gateway.assignment import Split, assign
from rampway.gateway.pairing import BASELINE_FAILED, CLIENT, Pairing, TargetTally
from rampway.gateway.receipts import Receipts
from rampway.gateway.sampling import ArmTally, Sampling
from rampway.gateway.terms import ALL_BP, Arm, Clock, Ending, Reason, Served
from rampway.gateway.trafficlog import Entry, TrafficFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from rampway.gateway.callers import Caller
    from rampway.gateway.counting import Cell, Outcome, SegmentCounter
    from rampway.gateway.metrics import ArmMeter, Meters
    from rampway.gateway.pairing import Pair
    from rampway.gateway.sampling import Draw
    from rampway.gateway.settings import Settings
    from rampway.gateway.splits import Claim, TargetSplit
    from rampway.gateway.spool import Half, PairRecord
    from rampway.gateway.terms import Timing
    from rampway.gateway.tracing import OpenSpan

FOREVER = float("inf")


class Segments(Protocol):
    """Knows what counts each target's segment in force."""

    def segment_for(self, split: TargetSplit) -> SegmentCounter: ...


class Route:
    """What is in force on one target, laid out for one look per request. Replaced, never changed."""

    __slots__ = (
        "baseline",
        "candidate",
        "copies",
        "counter",
        "epoch",
        "lease_until",
        "meters",
        "pairing",
        "pinned_meters",
        "pins",
        "reason",
        "receipts",
        "release",
        "sampling",
        "segment",
        "share_bp",
        "split",
        "target",
        "timeout_seconds",
    )

    def __init__(
        self,
        split: TargetSplit,
        *,
        counter: SegmentCounter,
        meters: Meters,
        pairing: Pairing | None,
        sampling: Sampling | None,
    ) -> None:
        claim = split.claim
        open_claim = None if claim is None or claim.ended is Ending.ROLLED_BACK else claim
        self.target = split.target
        self.epoch = split.epoch
        self.segment = split.segment.number
        self.release = claim.release if claim else None
        self.baseline = open_claim.baseline if open_claim else split.baseline
        self.candidate: Served | None = open_claim.candidate if open_claim else None
        self.share_bp = open_claim.share_bp if open_claim else 0
        until = open_claim.lease_until if open_claim else None
        self.lease_until = FOREVER if until is None else until
        self.timeout_seconds = split.segment.timing.timeout_seconds
        self.counter = counter
        self.pairing = pairing
        self.sampling = sampling
        self.meters: dict[Arm, ArmMeter] = {arm: meters.of(split.target, arm) for arm in Arm}
        self.pinned_meters = {arm: meters.pinned(split.target, arm) for arm in Arm}
        self.copies: ArmMeter | None = meters.copies_of(split.target) if pairing else None
        # Once promoted, the candidate is the baseline: there is nothing to be pinned away from.
        self.pins = self.share_bp > 0 and claim is not None and claim.ended is None
        self.reason = _reason(claim)
        self.split = None if claim is None else _split_of(claim)
        self.receipts: Receipts | None = None
        if claim is not None:
            self.receipts = Receipts(salt=bytes.fromhex(claim.salt), release=claim.release)


class Passage:
    """One request that was given an arm. It is finished exactly once."""

    __slots__ = (
        "answer",
        "arm",
        "asked",
        "began",
        "cell",
        "draw",
        "pair",
        "pin",
        "reason",
        "request_id",
        "route",
        "served",
        "span",
        "trace_id",
        "unit",
        "wall",
    )

    def __init__(
        self,
        route: Route,
        served: tuple[Arm, Served, Reason],
        caller: Caller,
        trace_id: str,
    ) -> None:
        self.route = route
        self.arm, self.served, self.reason = served
        self.unit = caller.unit
        self.pin = caller.pin
        self.request_id = caller.request_id
        self.trace_id = trace_id
        self.began = 0.0
        self.wall = 0.0
        self.cell: Cell | None = None
        self.pair: Pair | None = None
        self.draw: Draw | None = None
        self.span: OpenSpan | None = None  # where it is traced
        self.asked: bytes | None = None  # the body, where answers are kept
        self.answer: Half | None = None  # same; a pair keeps its own


class Router:
    """Gives each request its arm and counts its end; the lease is looked at for every request."""

    def __init__(
        self,
        *,
        clock: Clock,
        counts: Segments,
        meters: Meters,
        files: TrafficFiles,
        settings: Settings,
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._meters = meters
        self._files = files
        self._settings = settings
        self._routes: dict[str, Route] = {}
        self._pairings: dict[str, list[Pairing]] = {}  # per target, until all slices are marked
        self._samplings: dict[str, list[Sampling]] = {}  # same, and until all lines are written
        self.copied_total: dict[str, TargetTally] = {}
        self.drawn_total: dict[str, dict[Arm, ArmTally]] = {}
        self.lapse: Callable[[str], None] = _never_lapses

    def change(self, split: TargetSplit) -> None:
        """Route by this split from this moment on."""
        counter = self._counts.segment_for(split)
        if split.claim is not None:
            self._files.note_key(split.target, split.claim.release, split.claim.salt)
        self._routes[split.target] = Route(
            split,
            counter=counter,
            meters=self._meters,
            pairing=self._pairing_for(split, counter),
            sampling=self._sampling_for(split, counter),
        )

    def knows(self, target: str) -> bool:
        return target in self._routes

    def admit(self, target: str, caller: Caller, trace_id: str) -> Passage | None:
        """Give the request its arm; None for a target that is not registered.

        A pinned tenant is not dealt an arm: counted with those who are, it would shift one arm's
        figures and the sample ratio; copied or judged, it would see the candidate after all.
        """
        route = self._routes.get(target)
        if route is None:
            return None
        now = self._clock.now()
        if now.monotonic >= route.lease_until:
            self.lapse(target)
            route = self._routes[target]
        unit, passage = caller.unit, Passage(route, _served(route, caller), caller, trace_id)
        passage.began, passage.wall = now
        if caller.pin is not None:
            return passage
        hashed = route.counter.hash_unit(unit)
        passage.cell = route.counter.start(passage.arm, hashed, now.monotonic)
        if route.pairing and route.split and route.split.copies(unit):
            told = route.split.pseudonym(unit)
            note = self._log_pair(passage) if self._files.keeps_answers else None
            passage.pair = route.pairing.open(told, trace_id, now.monotonic, note)
        if route.sampling and route.split and passage.cell is not None:
            point = route.split.draw_point(unit)
            passage.draw = route.sampling.draw(passage.arm, point, unit, trace_id, now.monotonic)
        return passage

    def finish(self, passage: Passage, outcome: Outcome) -> float:
        """Count how it ended; answers how many seconds it took."""
        took = self._clock.monotonic() - passage.began
        route = passage.route
        if passage.cell is not None:
            passage.cell.finish(took, outcome, route.counter.timing)
        meters = route.meters if passage.pin is None else route.pinned_meters
        _count(meters[passage.arm], outcome, took, route.counter.timing)
        if passage.pair is not None and route.pairing is not None:
            if outcome.aborted:
                route.pairing.miss(passage.pair, CLIENT)
            elif not outcome.answered:
                route.pairing.miss(passage.pair, BASELINE_FAILED)
        if passage.draw is not None and route.sampling is not None:
            route.sampling.end(passage.draw, outcome, took)
        entry = _entry(passage, outcome, took)
        self._files.log(entry)
        if self._files.keeps_answers and passage.pair is None and passage.pin is None:
            self._log_answer(passage, entry)
        if passage.span is not None:
            passage.span.end(passage, outcome, passage.wall, took)
        return took

    def note_copy(
        self, passage: Passage, outcome: Outcome, took_seconds: float, span: OpenSpan | None
    ) -> None:
        """A copy's line in the traffic log, its counts and its span."""
        route = passage.route
        if route.copies is not None:
            _count(route.copies, outcome, took_seconds, route.counter.timing)
        self._files.log(_entry(passage, outcome, took_seconds, shadow=Arm.CANDIDATE))
        if span is not None:
            ended_at = self._clock.now().wall
            span.end(passage, outcome, ended_at - took_seconds, took_seconds)

    def _log_answer(self, passage: Passage, entry: Entry) -> None:
        """What one arm answered, while an open split may give a request to either."""
        facts = _split_facts(passage.route)
        if facts is None or not facts.share_bp:
            return
        answer = passage.answer
        record = LiveRecord(
            ts=entry.ts,
            request_id=entry.request_id,
            unit=entry.unit,
            facts=facts,
            arm=entry.arm,
            status=entry.status,
            latency_ms=entry.latency_ms,
            error=entry.error,
            request=passage.asked,
            answer=answer,
        )
        held = len(passage.asked or b"") + len((answer and answer.body) or b"")
        self._files.log_answer(record, LINE_BYTES + held)

    def _log_pair(self, passage: Passage) -> Callable[[PairRecord], None] | None:
        """What writes a copied request's line when both answers are in, or one never will be."""
        facts = _split_facts(passage.route)
        if facts is None:
            return None

        def note(pair: PairRecord) -> None:
            record = CopiedRecord(passage.wall, passage.request_id, passage.unit, facts, pair)
            bodies = (
                pair.request,
                pair.baseline and pair.baseline.body,
                pair.candidate and pair.candidate.body,
            )
            self._files.log_answer(record, LINE_BYTES + sum(len(body or b"") for body in bodies))

        return note

    def is_shadowing(self, pairing: Pairing) -> bool:
        """Are copies of this segment still wanted?"""
        route = self._routes.get(pairing.target)
        if route is None or route.pairing is not pairing:
            return False
        return self._clock.monotonic() < route.lease_until

    def forget(self, target: str, unit: bytes) -> None:
        """Hold nothing of a unit's answers for the judge; what is in flight is not held yet."""
        for sampling in self._samplings.get(target, ()):
            sampling.forget(unit)

    def next_mark(self) -> float | None:
        due = [one.next_mark() for all_of in self._pairings.values() for one in all_of]
        due += [one.next_due() for all_of in self._samplings.values() for one in all_of]
        return min(due, default=None)

    def mark_due(self) -> None:
        """Mark the slices of all segments with copies or a judged sample that are over."""
        now = self._clock.monotonic()
        for target, pairings in self._pairings.items():
            for pairing in pairings:
                pairing.mark_due(now)
            self._pairings[target] = [pairing for pairing in pairings if not pairing.is_marked]
        for target, samplings in self._samplings.items():
            for sampling in samplings:
                sampling.mark_due(now)
            self._samplings[target] = [one for one in samplings if not one.is_over]

    def _pairing_for(self, split: TargetSplit, counter: SegmentCounter) -> Pairing | None:
        claim = split.claim
        if claim is None or claim.shadow_bp == 0 or claim.share_bp > 0:
            return None
        mine = self._pairings.setdefault(split.target, [])
        if mine and mine[-1].counter is counter:
            return mine[-1]
        mine.append(
            Pairing(
                target=split.target,
                release=claim.release,
                counter=counter,
                began_at=split.segment.began_at,
                timeout_seconds=min(
                    self._settings.shadow.timeout, split.segment.timing.timeout_seconds
                ),
                pairs_max=self._settings.shadow.open_pairs,
                bytes_max=self._settings.shadow.pair_bytes,
                spool=self._files.spool(split.target),
                total=self.copied_total.setdefault(split.target, TargetTally()),
            )
        )
        return mine[-1]

    def _sampling_for(self, split: TargetSplit, counter: SegmentCounter) -> Sampling | None:
        """The judged sample of a split in force; none where one arm has all the traffic."""
        claim, settings = split.claim, self._settings
        if claim is None or not 0 < claim.share_bp < ALL_BP:
            return None
        if settings.judged.per_second == 0 or not self._files.keeps_bodies(split.target):
            return None
        mine = self._samplings.setdefault(split.target, [])
        if mine and mine[-1].counter is counter:
            return mine[-1]
        totals = self.drawn_total.setdefault(split.target, {arm: ArmTally() for arm in Arm})
        mine.append(
            Sampling(
                settings.judged,
                target=split.target,
                release=claim.release,
                counter=counter,
                began_at=split.segment.began_at,
                spool=self._files.spool(split.target),
                totals=totals,
                pseudonym=_split_of(claim).pseudonym,
            )
        )
        return mine[-1]


def _split_of(claim: Claim) -> Split:
    return Split(
        salt=bytes.fromhex(claim.salt),
        release=claim.release,
        share_bp=claim.share_bp,
        shadow_bp=claim.shadow_bp,
    )


def _served(route: Route, caller: Caller) -> tuple[Arm, Served, Reason]:
    if not route.share_bp or route.split is None or route.candidate is None:
        return Arm.BASELINE, route.baseline, route.reason
    if caller.pin is not None and route.pins:
        arm, reason = caller.pin, Reason.TARGETING_MATCH
    else:
        arm, reason = assign(caller.unit, route.split), route.reason
    return arm, route.candidate if arm is Arm.CANDIDATE else route.baseline, reason


def _reason(claim: Claim | None) -> Reason:
    """Why whoever is not pinned has his arm."""
    if claim is None:
        return Reason.DEFAULT
    if claim.ended is Ending.ROLLED_BACK or claim.pinned_by is not None:
        return Reason.DISABLED
    if claim.share_bp == 0:
        return Reason.DEFAULT
    return Reason.SPLIT if claim.share_bp < ALL_BP else Reason.STATIC


def _count(meter: ArmMeter, outcome: Outcome, took_seconds: float, timing: Timing) -> None:
    meter.note(took_seconds, outcome.finding)
    failed = outcome.kind is not None or took_seconds > timing.timeout_seconds
    if failed and took_seconds > timing.fast_seconds and not timing.one_stream:
        meter.late += 1
    if outcome.kind is not None:
        meter.note_error(outcome.kind)
    elif outcome.aborted:
        meter.aborted += 1
    elif outcome.refused:
        meter.refusals += 1


def _entry(
    passage: Passage, outcome: Outcome, took_seconds: float, shadow: Arm | None = None
) -> Entry:
    route = passage.route
    return Entry(
        ts=passage.wall,
        request_id=passage.request_id,
        trace_id=passage.trace_id,
        target=route.target,
        release=route.release,
        epoch=route.epoch,
        segment=route.segment,
        arm=shadow or passage.arm,
        reason=passage.reason,
        shadow=shadow is not None,
        status=outcome.status,
        latency_ms=took_seconds * 1_000,
        size_bytes=outcome.size_bytes,
        error="aborted" if outcome.aborted else outcome.kind,
        unit=passage.unit,
        split=route.split,
        finding=outcome.finding,
    )


def _split_facts(route: Route) -> SplitFacts | None:
    """None while no split is open: there is nothing to compare."""
    if route.split is None or route.candidate is None:
        return None
    return SplitFacts(
        target=route.target,
        release=route.release,
        epoch=route.epoch,
        segment=route.segment,
        share_bp=route.share_bp,
        baseline=route.baseline.artifact,
        candidate=route.candidate.artifact,
        split=route.split,
    )


def _never_lapses(target: str) -> None:
    raise RuntimeError(f"the lease of {target} ran out before anybody was told to take it down")
