"""A whole world for releases in virtual time: traffic, evidence and pages that read one clock.

Traffic runs the gateway's own pure moves, so a write means here what it means in production. The
evidence is drawn from seeded dice per slice, so that every attempt sees the same counts.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
from pydantic import JsonValue

from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import ShadowPlan, StagePlan, StepPlan
from rampway.gateway import moves, terms
from rampway.gateway import splits as gateway_splits
from rampway.ports import RunState, Unreachable
from rampway.release.records import Page, Target
from rampway.release.splits import (
    Capabilities,
    Ending,
    Observed,
    PinnedBy,
    RefusalCode,
    Refused,
    Served,
    Token,
)

SALT = "00" * 32
JUDGED_A_SLICE = 20  # answers of each arm


class VirtualClock:
    """Integer microseconds: a float of epoch size would never reach the end of a chunk."""

    def __init__(self) -> None:
        self.now_us = 0
        self.start_us = 0

    def monotonic(self) -> float:
        return (self.now_us - self.start_us) / 1e6

    def follow(self, when: datetime) -> None:
        """Never go back: the server's time of an activity may be behind a watch that ran ahead."""
        self.now_us = max(self.now_us, int(when.timestamp() * 1e6))
        self.start_us = self.start_us or self.now_us

    async def sleep(self, seconds: float) -> None:
        self.now_us += max(1, round(seconds * 1e6))
        await asyncio.sleep(0)


@dataclasses.dataclass
class Behaviour:
    """What users would see: requests per second and each arm's bad rates, and the judge's pairs."""

    requests_per_second: float = 50.0
    baseline: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"error": 0.01, "late": 0.0, "refusal": 0.01}
    )
    candidate: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"error": 0.01, "late": 0.0, "refusal": 0.01}
    )
    over_p95: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"baseline": 0.05, "candidate": 0.05}
    )
    pairs: Mapping[tuple[int, int], float] = dataclasses.field(
        default_factory=lambda: {(1, 1): 0.78, (0, 0): 0.18, (0, 1): 0.02, (1, 0): 0.02}
    )
    judged_wrong: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"baseline": 0.2, "candidate": 0.2}
    )
    seed: int = 1


@dataclasses.dataclass
class SegmentLife:
    """When one write was in force, and with which share."""

    share_bp: int
    shadow_bp: int
    promoted: bool
    began: float
    ended: float = float("inf")


class VirtualTraffic:
    """The gateway's moves over a virtual clock; `deeds` is the ground truth of every share."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.targets: dict[str, gateway_splits.TargetSplit] = {}
        self.lives: dict[tuple[str, int, int], SegmentLife] = {}
        self.deeds: list[tuple[float, str, int]] = []
        self.cut_off = False
        self.on_pin: Callable[[], Awaitable[object]] | None = None

    async def add_target(self, target: Target, baseline: Served) -> None:
        timing = terms.Timing(
            slice_seconds=target.slice_seconds,
            fast_seconds=target.fast_seconds,
            timeout_seconds=target.timeout_seconds,
            judge_seconds=target.judge_seconds,
        )
        self._set(moves.register(target.name, timing, _theirs(baseline), epoch=0, at=self._at()))

    async def claim(
        self,
        *,
        target: str,
        release: str,
        baseline: Served,
        candidate: Served,
        ttl_seconds: float,
        op_id: str,
    ) -> Token:
        order = gateway_splits.ClaimOrder(
            release=release,
            baseline=_theirs(baseline),
            candidate=_theirs(candidate),
            ttl_seconds=ttl_seconds,
            op_id=op_id,
        )
        self._move(target, lambda s, at: moves.claim(s, order, salt=SALT, at=at))
        return Token(target=target, epoch=self.targets[target].epoch, sequence=0)

    async def set_share(
        self, token: Token, *, share_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        return self._move(
            token.target,
            lambda s, at: moves.set_share(
                s, _token(token), share_bp=share_bp, ttl_seconds=ttl_seconds, op_id=op_id, at=at
            ),
        )

    async def shadow(
        self, token: Token, *, rate_bp: int, ttl_seconds: float, op_id: str
    ) -> Observed:
        return self._move(
            token.target,
            lambda s, at: moves.shadow(
                s, _token(token), rate_bp=rate_bp, ttl_seconds=ttl_seconds, op_id=op_id, at=at
            ),
        )

    async def renew(self, token: Token, *, ttl_seconds: float) -> Observed:
        return self._move(
            token.target,
            lambda s, at: moves.renew(s, _token(token), ttl_seconds=ttl_seconds, at=at),
        )

    async def pin(self, token: Token, *, by: PinnedBy) -> Observed:
        theirs = terms.PinnedBy.model_validate_json(by.model_dump_json())
        pinned = self._move(token.target, lambda s, at: moves.pin(s, _token(token), theirs, at))
        if self.on_pin is not None:
            told, self.on_pin = self.on_pin, None
            await told()
        return pinned

    async def end(self, token: Token, *, ending: Ending, op_id: str) -> Observed:
        theirs = terms.Ending(ending.value)
        return self._move(
            token.target,
            lambda s, at: moves.end(s, _token(token), ending=theirs, op_id=op_id, at=at),
        )

    async def observe(self, target: str) -> Observed:
        self._reach()
        return self._seen(target)

    async def capabilities(self, target: str) -> Capabilities:
        del target
        return Capabilities(granularity_bp=1, sticky=True, mirror=True, propagation_seconds=0)

    def expire(self) -> None:
        """Let passed leases decay, as every request would find them."""
        for split in list(self.targets.values()):
            self._set(gateway_splits.expire(split, self._at()))

    @property
    def held(self) -> bool:
        """A release has a target now, and may have to renew its lease."""
        claims = [split.claim for split in self.targets.values()]
        return any(claim is not None and claim.ended is None for claim in claims)

    def share_bp(self, target: str) -> int:
        """The candidate's share now, leases considered."""
        self.expire()
        return self._seen(target).share_bp

    def _move(
        self,
        target: str,
        change: Callable[[gateway_splits.TargetSplit, terms.Instant], gateway_splits.TargetSplit],
    ) -> Observed:
        self._reach()
        self.expire()
        try:
            self._set(change(self.targets[target], self._at()))
        except terms.Refused as refused:
            raise Refused(RefusalCode(refused.code.value), refused.why) from refused
        return self._seen(target)

    def _reach(self) -> None:
        if self.cut_off:
            raise Unreachable("the gateway is cut off")

    def _set(self, split: gateway_splits.TargetSplit) -> None:
        known = self.targets.get(split.target)
        self.targets[split.target] = split
        if known is not None and known.segment == split.segment:
            return
        now = self.clock.monotonic()
        for key, life in self.lives.items():
            if key[0] == split.target:
                life.ended = min(life.ended, now)
        claim = split.claim
        share = claim.share_bp if claim else 0
        self.lives[split.target, split.epoch, split.segment.number] = SegmentLife(
            share_bp=share,
            shadow_bp=claim.shadow_bp if claim else 0,
            promoted=claim is not None and claim.ended is terms.Ending.PROMOTED,
            began=now,
        )
        self.deeds.append((now, split.target, share))

    def _seen(self, target: str) -> Observed:
        seen = gateway_splits.observe(self.targets[target], self.clock.monotonic())
        return Observed.model_validate_json(seen.model_dump_json())

    def _at(self) -> terms.Instant:
        return terms.Instant(self.clock.monotonic(), self.clock.now_us / 1e6)


class VirtualEvidence:
    """Counts of what users would have seen in the segments that the traffic lived through."""

    def __init__(self, traffic: VirtualTraffic, target: Target, behaviour: Behaviour) -> None:
        self.traffic = traffic
        self.target = target
        self.behaviour = behaviour
        self.down = False
        self.after_promotion: Mapping[str, float] | None = (
            None  # the candidate's rates from then on
        )
        self.silent_at: str | None = None  # the stage in which the source says nothing
        self.routed = 1.0  # of the units that the split promises to the candidate
        # Since when, the candidate's rates from then on.
        self.harm: tuple[float, Mapping[str, float]] | None = None
        self._rows: dict[tuple[str, int, int, int], JsonValue] = {}

    def harm_from_now(self, rates: Mapping[str, float]) -> None:
        """From this moment on the candidate's requests fail at these rates."""
        self.harm = (self.traffic.clock.monotonic(), rates)

    async def stage(self, *, target: str, epoch: int, segment: int, plan: StagePlan) -> Evidence:
        if self.down or plan.name == self.silent_at:
            raise Unreachable("the evidence source is down")
        life = self.traffic.lives.get((target, epoch, segment))
        rows: dict[str, list[JsonValue]] = {}
        sealed: dict[str, int] = {}
        if isinstance(plan, ShadowPlan):
            sealed["judge"] = self._sealed(life, self.target.judge_seconds)
            rows["judge"] = [self._pairs(life, epoch, segment, i) for i in range(sealed["judge"])]
        else:
            for gate in plan.gates:
                fast = gate.stream == "error"
                delay = self.target.fast_seconds if fast else self.target.timeout_seconds
                sealed[gate.stream] = self._sealed(life, delay)
                rows[gate.stream] = [
                    self._rates(life, gate.stream, epoch, segment, i)
                    for i in range(sealed[gate.stream])
                ]
            if isinstance(plan, StepPlan) and plan.quality is not None:
                seen = sealed["quality"] = self._sealed(life, self.target.judge_seconds)
                rows["quality"] = [self._judged(epoch, segment, i) for i in range(seen)]
        return Evidence(
            target=target,
            epoch=epoch,
            segment=segment,
            slice_seconds=self.target.slice_seconds,
            sealed=sealed,
            rows=rows,
        )

    async def baseline(self, *, target: str, last_units: int) -> BaselineCounts:
        del target
        if self.down:
            raise Unreachable("the evidence source is down")
        rates = self.behaviour.baseline
        slow = round(last_units * 0.05)
        return BaselineCounts(
            units=last_units,
            bad={stream: round(last_units * rate) for stream, rate in rates.items()},
            latency={230: last_units - slow, 260: slow},
        )

    def _sealed(self, life: SegmentLife | None, delay_seconds: float) -> int:
        if life is None:
            return 0
        seconds = min(self.traffic.clock.monotonic() - delay_seconds, life.ended) - life.began
        return max(0, int(seconds // self.target.slice_seconds))

    def _dice(self, epoch: int, segment: int, i: int) -> np.random.Generator:
        return np.random.default_rng((self.behaviour.seed, epoch, max(segment, 0), i))

    def _rates(
        self, life: SegmentLife | None, stream: str, epoch: int, segment: int, i: int
    ) -> JsonValue:
        key = (stream, epoch, segment, i)
        if key not in self._rows:
            assert life is not None
            self._rows[key] = self._drawn(life, stream, epoch, segment, i)
        return self._rows[key]

    def _drawn(self, life: SegmentLife, stream: str, epoch: int, segment: int, i: int) -> JsonValue:
        dice = self._dice(epoch, segment, i)
        units = int(dice.poisson(self.behaviour.requests_per_second * self.target.slice_seconds))
        share = 1.0 if life.promoted else life.share_bp / 10_000
        new = int(dice.binomial(units, share * self.routed))
        bad_new, bad_old = self._bad_rate(stream, "candidate"), self._bad_rate(stream, "baseline")
        if life.promoted and self.after_promotion is not None:
            bad_new = self.after_promotion.get(stream, 0.0)
        if self.harm is not None and life.began + i * self.target.slice_seconds >= self.harm[0]:
            bad_new = self.harm[1].get(stream, 0.0)
        stream_dice = np.random.default_rng((*_key(stream), epoch, max(segment, 0), i))
        return [
            i,
            new,
            int(stream_dice.binomial(new, bad_new)),
            units - new,
            int(stream_dice.binomial(units - new, bad_old)),
        ]

    def _bad_rate(self, stream: str, arm: str) -> float:
        if stream.startswith("latency"):
            return self.behaviour.over_p95[arm]
        rates = self.behaviour.candidate if arm == "candidate" else self.behaviour.baseline
        return rates.get(stream, 0.0)

    def _judged(self, epoch: int, segment: int, i: int) -> JsonValue:
        dice = self._dice(epoch, segment, i)
        wrong = self.behaviour.judged_wrong
        new = int(dice.binomial(JUDGED_A_SLICE, wrong["candidate"]))
        old = int(dice.binomial(JUDGED_A_SLICE, wrong["baseline"]))
        return [i, [[1, JUDGED_A_SLICE - new, JUDGED_A_SLICE - old], [0, new, old]], 0, 0]

    def _pairs(self, life: SegmentLife | None, epoch: int, segment: int, i: int) -> JsonValue:
        assert life is not None
        dice = self._dice(epoch, segment, i)
        mean = (
            self.behaviour.requests_per_second * self.target.slice_seconds * life.shadow_bp / 10_000
        )
        counts = dice.multinomial(int(dice.poisson(mean)), list(self.behaviour.pairs.values()))
        joint: list[JsonValue] = [
            [old, new, int(n)]
            for (old, new), n in zip(self.behaviour.pairs, counts, strict=True)
            if n
        ]
        return [i, joint, 0]


class PageBook:
    """A pager that remembers; the same key is one incident."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.deliveries = 0
        self.down = False

    async def page(self, page: Page) -> str:
        if self.down:
            raise Unreachable("the pager is down")
        self.deliveries += 1
        self.pages.setdefault(page.key, page)
        return f"page-{len(self.pages)}"


class SwitchedRegistry:
    """A real registry that can be switched off: every write then fails as a full disk does."""

    def __init__(self, registry: Any) -> None:  # noqa: ANN401 - any registry
        self._registry = registry
        self.down = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of the registry
        call = getattr(self._registry, name)
        if name not in {"put", "append", "point", "open_release"}:
            return call

        async def write(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method's
            if self.down:
                raise Unreachable("Registry is read-only (disk full). Next: free space")
            return await call(*args, **kwargs)

        return write


class AskedRun:
    """An own run that answers what the test says."""

    def __init__(self) -> None:
        self.answer = RunState.RUNNING

    async def state(self) -> RunState:
        return self.answer


def _theirs(served: Served) -> terms.Served:
    return terms.Served.model_validate_json(served.model_dump_json())


def _token(token: Token) -> terms.Token:
    return terms.Token.model_validate_json(token.model_dump_json())


def _key(stream: str) -> tuple[Any, ...]:
    return tuple(stream.encode())
