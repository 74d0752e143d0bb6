"""Evidence from the counts of the gateway and of the judge, merged per slice."""

from collections.abc import Mapping
from typing import TypeVar

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StagePlan, StepPlan
from rampway.ports import Unreachable

JUDGE_STREAM, ERROR_STREAM, FEEDBACK_STREAM = "judge", "error", "false_positive"
GRADER, JUDGE, FEEDBACK = "grader", "judge", "feedback"  # names of sources
M = TypeVar("M", bound=BaseModel)


class _FastArm(BaseModel):
    units: JsonValue = None
    error: JsonValue = None


class _FullArm(BaseModel):
    units: JsonValue = None
    late: JsonValue = None
    refusal: JsonValue = None
    latency: dict[int, int] = {}


class _FastRow(BaseModel):
    i: int
    baseline: _FastArm
    candidate: _FastArm


class _FullRow(BaseModel):
    i: int
    baseline: _FullArm
    candidate: _FullArm


class _Fast(BaseModel):
    sealed: int
    rows: list[_FastRow]


class _Full(BaseModel):
    sealed: int
    rows: list[_FullRow]


class _Slices(BaseModel):
    slice_seconds: float
    fast: _Fast
    full: _Full


class _Judged(BaseModel):
    slice_seconds: float | None  # None before the first slice
    grader: str
    sealed: int
    rows: list[dict[str, JsonValue]]


class _SampledArms(BaseModel):
    candidate: JsonValue = None
    baseline: JsonValue = None


class _SampledRow(BaseModel):
    i: int
    scores: JsonValue
    unjudged: _SampledArms


class _Sampled(BaseModel):
    grader: str
    sealed: int
    rows: list[_SampledRow]


class _MarkedArm(BaseModel):
    units: JsonValue = None
    wrong: JsonValue = None


class _MarkedRow(BaseModel):
    i: int
    baseline: _MarkedArm
    candidate: _MarkedArm


class _Marked(BaseModel):
    sealed: int
    rows: list[_MarkedRow]


class GatewayEvidence:
    """The evidence port over the gateway's admin API and the judge's counts, both by HTTP."""

    def __init__(self, gateway: httpx.AsyncClient, judge: httpx.AsyncClient) -> None:
        self._gateway = gateway
        self._judge = judge

    async def stage(self, *, target: str, epoch: int, segment: int, plan: StagePlan) -> Evidence:
        where = {"epoch": epoch, "segment": segment}
        if isinstance(plan, ShadowPlan):
            return await self._shadow(target, where, plan)
        if isinstance(plan, StepPlan) and plan.quality is not None:
            rates = await self._rates(target, where, plan)
            return await self._with_quality(rates, where, plan.quality.stream)
        return await self._rates(target, where, plan)

    async def baseline(self, *, target: str, last_units: int) -> BaselineCounts:
        answer = await _get(self._gateway, f"/v1/targets/{target}/baseline", {"last": last_units})
        return _read(BaselineCounts, answer)

    async def _shadow(self, target: str, where: dict[str, int], plan: ShadowPlan) -> Evidence:
        answer = await _get(self._judge, "/v1/counts", {"target": target, **where})
        judged = _read(_Judged, answer)
        return Evidence(
            target=target,
            epoch=where["epoch"],
            segment=where["segment"],
            slice_seconds=judged.slice_seconds or plan.slice_seconds,
            sealed={JUDGE_STREAM: judged.sealed},
            rows={
                JUDGE_STREAM: [
                    [row.get("i"), row.get("pairs"), row.get("lost")] for row in judged.rows
                ]
            },
            sources={GRADER: judged.grader},
        )

    async def _rates(
        self, target: str, where: dict[str, int], plan: StepPlan | AbPlan | SettlePlan
    ) -> Evidence:
        answer = await _get(self._gateway, f"/v1/targets/{target}/slices", where)
        slices = _read(_Slices, answer)
        sealed: dict[str, int] = {}
        rows: dict[str, list[JsonValue]] = {}
        streams = _streams(plan)
        feedback = FEEDBACK_STREAM in streams
        streams.pop(FEEDBACK_STREAM, None)
        for stream, threshold_bucket in streams.items():
            if stream == ERROR_STREAM:
                sealed[stream] = slices.fast.sealed
                rows[stream] = [_fast_row(row) for row in slices.fast.rows]
            else:
                sealed[stream] = slices.full.sealed
                rows[stream] = [
                    _full_row(row, stream, threshold_bucket) for row in slices.full.rows
                ]
        rates = Evidence(
            target=target,
            epoch=where["epoch"],
            segment=where["segment"],
            slice_seconds=slices.slice_seconds,
            sealed=sealed,
            rows=rows,
        )
        return await self._with_feedback(rates, where) if feedback else rates

    async def _with_feedback(self, rates: Evidence, where: dict[str, int]) -> Evidence:
        """The same with what users marked as wrong; left out, which is no data, where it is not told."""
        try:
            answer = await _get(self._gateway, f"/v1/targets/{rates.target}/feedback", where)
            marked = _read(_Marked, answer)
        except Unreachable as silent:
            return rates.model_copy(update={"sources": {**rates.sources, FEEDBACK: str(silent)}})
        return rates.model_copy(
            update={
                "sealed": {**rates.sealed, FEEDBACK_STREAM: marked.sealed},
                "rows": {**rates.rows, FEEDBACK_STREAM: [_marked_row(row) for row in marked.rows]},
            }
        )

    async def _with_quality(self, rates: Evidence, where: dict[str, int], stream: str) -> Evidence:
        """The same with the judge's counts of answers that users saw.

        A judge that is silent leaves its stream out, which is no data and never a PASS; what the rates
        show must still be seen meanwhile.
        """
        try:
            answer = await _get(self._judge, "/v1/quality", {"target": rates.target, **where})
            sampled = _read(_Sampled, answer)
        except Unreachable as silent:
            return rates.model_copy(update={"sources": {**rates.sources, JUDGE: str(silent)}})
        return rates.model_copy(
            update={
                "sealed": {**rates.sealed, stream: sampled.sealed},
                "rows": {**rates.rows, stream: [_quality_row(row) for row in sampled.rows]},
                "sources": {**rates.sources, GRADER: sampled.grader},
            }
        )


def _streams(plan: StepPlan | AbPlan | SettlePlan) -> dict[str, int | None]:
    """Every rate stream that the plan's gates read, with its latency threshold."""
    streams = {gate.stream: gate.threshold_bucket for gate in plan.gates}
    if isinstance(plan, StepPlan | AbPlan) and plan.sample_ratio is not None:
        streams.setdefault(plan.sample_ratio.stream, None)
    return streams


def _quality_row(row: _SampledRow) -> JsonValue:
    return [row.i, row.scores, row.unjudged.candidate, row.unjudged.baseline]


def _marked_row(row: _MarkedRow) -> JsonValue:
    new, old = row.candidate, row.baseline
    return [row.i, new.units, new.wrong, old.units, old.wrong]


def _fast_row(row: _FastRow) -> JsonValue:
    new, old = row.candidate, row.baseline
    return [row.i, new.units, new.error, old.units, old.error]


def _full_row(row: _FullRow, stream: str, threshold_bucket: int | None) -> JsonValue:
    new, old = row.candidate, row.baseline
    return [
        row.i,
        new.units,
        _bad(new, stream, threshold_bucket),
        old.units,
        _bad(old, stream, threshold_bucket),
    ]


def _bad(arm: _FullArm, stream: str, threshold_bucket: int | None) -> JsonValue:
    """Bad units of one arm; None, which the gates refuse, for what was not measured."""
    if stream == "late":
        return arm.late
    if stream == "refusal":
        return arm.refusal
    if threshold_bucket is None:
        return None
    return sum(count for bucket, count in arm.latency.items() if bucket > threshold_bucket)


async def _get(
    http: httpx.AsyncClient, path: str, params: Mapping[str, str | int]
) -> httpx.Response:
    try:
        answer = await http.get(path, params=dict(params))
    except httpx.HTTPError as failed:
        raise Unreachable(
            f"{http.base_url} does not answer ({type(failed).__name__}). Next: rampway doctor"
        ) from failed
    if not answer.is_success:
        raise Unreachable(f"{answer.url} answered {answer.status_code}: {answer.text[:200]}")
    return answer


def _read(model: type[M], answer: httpx.Response) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as wrong:
        raise Unreachable(f"{answer.url} answered something else: {wrong}") from wrong
