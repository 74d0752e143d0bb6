"""The evidence port over Prometheus: the gateways' sealed slices by index, the judge's from where they are."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from pydantic import JsonValue

from rampway.adapters.evidence_prometheus.baselines import read_baseline
from rampway.adapters.evidence_prometheus.samples import selector
from rampway.adapters.evidence_prometheus.segments import Limits, Segment
from rampway.adapters.evidence_prometheus.session import Prometheus
from rampway.adapters.evidence_prometheus.timelines import (
    Block,
    Stream,
    Totals,
    blocks,
    pooled_slices,
    rows,
    sealed,
    tail_field,
)
from rampway.adapters.evidence_prometheus.usercounts import Grid, UserCounts
from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import (
    AbPlan,
    CountPair,
    MetricGate,
    SettlePlan,
    ShadowPlan,
    StagePlan,
    StepPlan,
)
from rampway.ports import EvidenceSource, Unreachable

SEGMENTS_KEPT: Final = 512  # as many as a worker watches at a time
GATEWAYS, JUDGE = "gateways", "judge"  # names of sources
RatePlan = StepPlan | AbPlan | SettlePlan


class PrometheusEvidence:
    """Rates from Prometheus; what the judge counted from `judged`, which has it from the judge itself.

    `now` is Unix time by this machine's clock. Every answer is of sealed slices alone and says the same
    as the gateways' own, see `timelines` for what is pooled or left out. Raises Unreachable where
    Prometheus is silent, slow, unsure or stale, or clocks differ.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        judged: EvidenceSource,
        *,
        limits: Limits,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._prometheus = prometheus
        self._judged = judged
        self._limits = limits
        self._now = now
        self._segments: OrderedDict[_Key, _Kept] = OrderedDict()

    async def stage(self, *, target: str, epoch: int, segment: int, plan: StagePlan) -> Evidence:
        if isinstance(plan, ShadowPlan):
            return await self._judged.stage(target=target, epoch=epoch, segment=segment, plan=plan)
        rates = await self._rates(target, epoch, segment, plan)
        if isinstance(plan, StepPlan) and plan.quality is not None:
            return await self._with_quality(rates, plan, plan.quality.stream)
        return rates

    async def baseline(self, *, target: str, last_units: int) -> BaselineCounts:
        reading = partial(
            read_baseline, self._prometheus, target, last_units, self._limits, self._now
        )
        return await asyncio.to_thread(reading)

    async def _rates(self, target: str, epoch: int, segment: int, plan: RatePlan) -> Evidence:
        streams = _streams(plan)
        thresholds = tuple(sorted({bucket for bucket in streams.values() if bucket is not None}))
        kept = self._kept((target, epoch, segment, thresholds))
        async with kept.lock:
            await asyncio.to_thread(kept.segment.refresh, self._prometheus, self._now)
            # Here, not in the thread: what the thread reads must not change under it.
            rates = _evidence(target, epoch, segment, kept.segment, streams)
            for gate in () if isinstance(plan, SettlePlan) else plan.metrics:
                rates = await self._with_metric(rates, kept, gate)
            return rates

    async def _with_metric(self, rates: Evidence, kept: "_Kept", gate: MetricGate) -> Evidence:
        """The same with a user's own counts; without them where they cannot be read, as for the judge."""
        counts = kept.metrics.get(gate.pair)
        if counts is None:
            grid = Grid(kept.segment.began, kept.segment.slice_seconds)
            counts = kept.metrics[gate.pair] = UserCounts(gate.pair, grid, self._limits)
        try:
            sealed, rows = await asyncio.to_thread(counts.refresh, self._prometheus, self._now)
        except Unreachable as silent:
            return rates.model_copy(update={"sources": {**rates.sources, gate.stream: str(silent)}})
        return rates.model_copy(
            update={
                "sealed": {**rates.sealed, gate.stream: sealed},
                "rows": {**rates.rows, gate.stream: rows},
            }
        )

    async def _with_quality(self, rates: Evidence, plan: StepPlan, stream: str) -> Evidence:
        """The same with the judge's stream; without it where the judge is silent, which never passes."""
        asked = plan.model_copy(update={"gates": (), "sample_ratio": None})
        try:
            scores = await self._judged.stage(
                target=rates.target, epoch=rates.epoch, segment=rates.segment, plan=asked
            )
        except Unreachable as silent:
            return rates.model_copy(update={"sources": {**rates.sources, JUDGE: str(silent)}})
        told = rates.model_copy(update={"sources": {**rates.sources, **scores.sources}})
        if stream not in scores.sealed:
            return told
        return told.model_copy(
            update={
                "sealed": {**rates.sealed, stream: scores.sealed[stream]},
                "rows": {**rates.rows, stream: scores.rows.get(stream, [])},
            }
        )

    def _kept(self, key: "_Key") -> "_Kept":
        kept = self._segments.get(key)
        if kept is None:
            kept = self._segments[key] = _Kept(key, self._limits)
            while len(self._segments) > SEGMENTS_KEPT:
                self._segments.popitem(last=False)
        self._segments.move_to_end(key)
        return kept


_Key = tuple[str, int, int, tuple[int, ...]]  # target, epoch, segment, latency thresholds


class _Kept:
    """A segment that is read on with each look, by one look at a time."""

    def __init__(self, key: _Key, limits: Limits) -> None:
        target, epoch, segment, thresholds = key
        self.lock = asyncio.Lock()
        self.metrics: dict[CountPair, UserCounts] = {}
        self.segment = Segment(
            told=f"{target}, epoch {epoch}, segment {segment}",
            query=selector(target, latency=bool(thresholds), epoch=epoch, segment=segment),
            buckets=thresholds,
            limits=limits,
        )


def _streams(plan: RatePlan) -> dict[str, int | None]:
    """Every rate stream that the plan's gates read, with its latency threshold."""
    streams = {gate.stream: gate.threshold_bucket for gate in plan.gates}
    if isinstance(plan, StepPlan | AbPlan) and plan.sample_ratio is not None:
        streams.setdefault(plan.sample_ratio.stream, None)
    return streams


def _evidence(
    target: str, epoch: int, segment: int, found: Segment, streams: dict[str, int | None]
) -> Evidence:
    gateways = [found.gateways[name] for name in sorted(found.gateways)]
    if not found.slice_seconds > 0:
        raise Unreachable(f"No gateway tells how long the slices of {target} are")
    cut = {stream: blocks(gateways, stream) for stream in Stream}
    told = {name: _stream_of(name, bucket) for name, bucket in streams.items()}
    return Evidence(
        target=target,
        epoch=epoch,
        segment=segment,
        slice_seconds=found.slice_seconds,
        sealed={name: sealed(cut[stream]) for name, stream in told.items()},
        rows={name: _rows(cut, stream, name, streams[name]) for name, stream in told.items()},
        sources={GATEWAYS: ",".join(sorted(found.gateways))},
    )


def _stream_of(name: str, threshold_bucket: int | None) -> Stream:
    if name == "error":
        return Stream.FAST
    return Stream.FULL if threshold_bucket is None else Stream.LATENCY


def _rows(
    cut: dict[Stream, list[Block]], stream: Stream, name: str, threshold_bucket: int | None
) -> list[JsonValue]:
    pooled = pooled_slices(cut[Stream.FAST])
    return [
        [
            index,
            totals.get(("candidate", "units"), 0),
            _bad(totals, "candidate", name, threshold_bucket),
            totals.get(("baseline", "units"), 0),
            _bad(totals, "baseline", name, threshold_bucket),
        ]
        for index, totals in rows(cut[stream], pooled)
    ]


def _bad(totals: Totals, arm: str, name: str, threshold_bucket: int | None) -> JsonValue:
    """Bad units of one arm; None, which the gates refuse, for what is not measured here."""
    if threshold_bucket is not None:
        return totals.get(tail_field(arm, threshold_bucket), 0)
    if name in {"error", "late", "refusal"}:
        return totals.get((arm, name), 0)
    return None
