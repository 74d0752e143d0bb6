"""Builds whole release records with their blobs, weighed by the real gates; tests change one fact."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from rampway.gates.evidence import Column, Evidence, PairedCases
from rampway.gates.facts import Fact, canonical, digest_of, digest_of_bytes
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import (
    Arm,
    Must,
    OfflinePlan,
    RateGate,
    SettleGate,
    SettlePlan,
    ShadowPlan,
    StepPlan,
)
from rampway.gates.verdicts import OfflineVerdict, StageVerdict, Verdict
from rampway.gates.weigh import weigh
from rampway.release.events import Event, EventKind, Ledger
from rampway.release.phases import Phase, Trigger, move
from rampway.release.records import Header, Record, Target, TargetKind
from rampway.release.splits import Serve, Served

START = datetime(2026, 11, 20, 0, 19, 8, tzinfo=UTC)
SLICE_SECONDS = 10.0
RPS = 50
OFFLINE = OfflinePlan(clustered=True)
BASE_RATES = {
    "error": 0.01,
    "latency p95": 0.05,
    "refusal": 0.02,
    "quality": 0.12,
    "false_positive": 0.004,
}
_WORKFLOW = "workflow"
_LATENCY_BUCKET = 392  # about 2.4 s
_SETTLE_ALPHA = 0.0025


@dataclass(frozen=True)
class Kept:
    """A record and what the registry stores for it."""

    record: Record
    blobs: dict[str, bytes]


def target_of(kind: TargetKind = TargetKind.PRODUCTION, name: str = "grammar-tutor") -> Target:
    return Target(name=name, kind=kind, team="tutor", judge_levels=5)


def header_of(
    target: Target | None = None,
    *,
    owner: str = "tutor-dev",
    links: dict[str, str] | None = None,
    started_at: datetime = START,
) -> Header:
    target = target or target_of()
    release = digest_of([target.name, owner, started_at.isoformat()]).removeprefix("sha256:")
    name = f"{target.name}-{release[:6]}"
    return Header(
        release=release,
        name=name,
        target=target,
        owner=owner,
        team=target.team,
        actor="ci",
        merged_at=started_at - timedelta(minutes=3),
        started_at=started_at,
        baseline=Served(artifact=digest_of("old prompt"), serve=Serve(upstream="provider-v4")),
        candidate=Served(artifact=digest_of("new prompt"), serve=Serve(upstream="provider-v5")),
        spec=digest_of("spec"),
        plan=digest_of({"unit": "request"}),
        workflow_id=f"release/{target.name}/{release}",
        links={"Change": "https://git.example/tutor/pull/318"} if links is None else links,
    )


@dataclass
class Teller:
    """Writes the events that the workflow would write, at a clock that the story moves."""

    header: Header = field(default_factory=header_of)
    rates: dict[str, float] = field(default_factory=lambda: dict(BASE_RATES))
    seed: int = 318

    def __post_init__(self) -> None:
        self.now = self.header.started_at
        self.phase = Phase.PROPOSED
        self.share_bp = 0
        self.step: str | None = None
        self.ledger = Ledger(self.header.release)
        self.blobs: dict[str, bytes] = {self.header.plan: canonical({"unit": "request"})}
        self.dice = random.Random(self.seed)

    def kept(self) -> Kept:
        record = Record(header=self.header, events=tuple(self.ledger.events))
        return Kept(record, dict(self.blobs))

    def later(self, **delta: float) -> "Teller":
        self.now += timedelta(**delta)
        return self

    def keep(self, fact: Fact) -> str:
        body = canonical(fact.model_dump(mode="json"))
        digest = digest_of_bytes(body)
        self.blobs[digest] = body
        return digest

    def tell(
        self,
        kind: EventKind,
        reason: str = "",
        *,
        trigger: Trigger | None = None,
        share_bp: int | None = None,
        actor: str = _WORKFLOW,
        step: str | None = None,
        facts: tuple[Fact, Fact, Fact] | None = None,
        plan: Fact | None = None,
        data: dict[str, JsonValue] | None = None,
    ) -> Event:
        """Write one event; `facts` are plan, evidence and verdict of a judgement."""
        if trigger is not None:
            self.phase = move(self.phase, trigger)
        if share_bp is not None:
            self.share_bp = share_bp
        stored = tuple(map(self.keep, facts)) if facts else None
        return self.ledger.write(
            kind,
            at=self.now,
            phase=self.phase,
            share_bp=self.share_bp,
            actor=actor,
            reason=reason,
            trigger=trigger,
            step=step,
            plan=stored[0] if stored else (self.keep(plan) if plan else None),
            evidence=stored[1] if stored else None,
            verdict=stored[2] if stored else None,
            data=data,
        )

    def start(self, cases: PairedCases | None = None) -> "Teller":
        """From the start to the offline gate's answer, and the claim if it passed."""
        header = self.header
        self.tell(
            EventKind.STARTED,
            f"started by {header.actor}",
            trigger=Trigger.STARTED,
            actor=header.actor,
            data={"workflow_id": header.workflow_id, "attempt": header.attempt},
        )
        self.later(seconds=41)
        cases = cases or paired_cases(improved=402, regressed=128)
        verdict = weigh_offline(OFFLINE, cases)
        self.tell(
            EventKind.JUDGED,
            f"{verdict.verdict}: {verdict.why}",
            trigger=Trigger.OFFLINE_PASSED if verdict.verdict is Verdict.PASS else None,
            step="offline",
            facts=(OFFLINE, cases, verdict),
            data={"verdict": verdict.verdict.value},
        )
        if verdict.verdict is not Verdict.PASS:
            self.reject(Trigger.GATE_FAILED, f"offline gate {verdict.verdict}: {verdict.why}")
            return self
        self.later(seconds=2)
        self.tell(EventKind.CLAIMED, f"holds {header.target.name}", data={"epoch": 7})
        return self

    def reject(self, trigger: Trigger, why: str, actor: str = _WORKFLOW) -> "Teller":
        self.later(seconds=1)
        self.tell(EventKind.REJECTED, why, trigger=trigger, actor=actor)
        return self

    def shadow(self, worse: float = 0.0) -> "Teller":
        """An hour of copies; `worse` is the chance that a copy's score is a level lower."""
        plan = shadow_plan()
        self.step = plan.name
        self.tell(
            EventKind.SHADOWED,
            "offline PASS",
            trigger=Trigger.SHADOW_BEGAN,
            step=plan.name,
            plan=plan,
            data={"rate_bp": plan.rate_bp},
        )
        evidence = judge_counts(self.dice, slices=360, pairs=25, worse=worse)
        verdict = weigh(plan, evidence)
        if verdict.verdict is Verdict.BREACH:
            return self.breach(plan, evidence, verdict)
        self.later(minutes=60, seconds=130)
        return self.decide(plan, evidence, verdict)

    def climb(
        self, step: str, share_bp: int, minutes: float = 30, *, trigger: Trigger | None = None
    ) -> "Teller":
        """Raise the share, hold it, and decide; a BREACH on the way pins at its slice."""
        plan = self.raised(step, share_bp, trigger=trigger)
        evidence = self.counted(plan, share_bp, minutes)
        verdict = weigh(plan, evidence)
        if verdict.verdict is Verdict.BREACH:
            return self.breach(plan, evidence, verdict)
        self.later(minutes=minutes, seconds=70)
        return self.decide(plan, evidence, verdict)

    def raised(self, step: str, share_bp: int, *, trigger: Trigger | None = None) -> StepPlan:
        plan = step_plan(step, share_bp)
        self.step = step
        self.tell(
            EventKind.RAISED,
            "the stage before passed",
            trigger=trigger,
            share_bp=share_bp,
            step=step,
            plan=plan,
        )
        return plan

    def counted(self, plan: StepPlan, share_bp: int, minutes: float) -> Evidence:
        slices = round(minutes * 60 / SLICE_SECONDS)
        return rate_counts(self.dice, plan, slices, share_bp, self.rates)

    def decide(
        self, plan: StepPlan | ShadowPlan, evidence: Evidence, verdict: StageVerdict
    ) -> "Teller":
        self.tell(
            EventKind.DECIDED,
            f"{verdict.verdict}: {verdict.why}",
            step=plan.name,
            facts=(plan, evidence, verdict),
            data={"verdict": verdict.verdict.value},
        )
        return self

    def breach(
        self, plan: StepPlan | ShadowPlan | SettlePlan, evidence: Evidence, verdict: StageVerdict
    ) -> "Teller":
        """Pin at the slice that crossed, on the evidence that was sealed by then."""
        gate = next(g for g in verdict.gates if g.verdict is Verdict.BREACH)
        crossed = gate.crossed_at_seconds or 0.0
        slices = round(crossed / SLICE_SECONDS)
        cut = evidence.model_copy(
            update={
                "sealed": {s: min(n, slices) for s, n in evidence.sealed.items()},
                "rows": {s: rows[:slices] for s, rows in evidence.rows.items()},
            }
        )
        self.later(seconds=crossed)
        verdict = weigh(plan, cut)
        return self.roll_back(
            Trigger.BREACH,
            verdict.why,
            facts=(plan, cut, verdict),
            data={"gate": gate.gate, "detected_seconds": crossed},
        )

    def roll_back(
        self,
        trigger: Trigger,
        why: str,
        *,
        actor: str = _WORKFLOW,
        facts: tuple[Fact, Fact, Fact] | None = None,
        data: dict[str, JsonValue] | None = None,
        confirmed: bool = True,
    ) -> "Teller":
        known: dict[str, JsonValue] = {"cause": trigger.value, "to_zero_seconds": 0.9}
        self.tell(
            EventKind.PINNED,
            why,
            trigger=trigger,
            share_bp=0,
            actor=actor,
            step=self.step,
            facts=facts,
            data=known | (data or {}),
        )
        self.tell(EventKind.ROLLING_BACK, why, trigger=Trigger.UNDO_BEGAN, actor=actor)
        self.later(seconds=1)
        self.tell(
            EventKind.PAGED,
            f"{self.header.name} was rolled back",
            data={"key": f"rampway/production/{self.header.name}", "delivery": "P-7TQ2"},
        )
        if not confirmed:
            self.later(minutes=10)
            self.tell(EventKind.STRANDED, "the undo is not confirmed", trigger=Trigger.UNDO_STUCK)
            return self
        self.later(seconds=6)
        self.tell(
            EventKind.ROLLED_BACK,
            why,
            trigger=Trigger.UNDONE,
            actor=actor,
            data={"confirmed": "3 of 3 gateways", "undo_seconds": 0.9},
        )
        return self

    def pause(self, minutes: float, *, reason: str = "unrelated alert") -> "Teller":
        self.tell(EventKind.PAUSED, reason, actor="sre-oncall", step=self.step)
        self.later(minutes=minutes)
        self.tell(EventKind.RESUMED, "alert closed", actor="sre-oncall", step=self.step)
        return self

    def promote(self, settle_minutes: float = 360) -> "Teller":
        self.tell(EventKind.PROMOTING, "100 % passed", step="100 %")
        self.later(seconds=1)
        self.tell(
            EventKind.PROMOTED, "every stage passed", trigger=Trigger.PROMOTED, share_bp=10_000
        )
        self.step = "settling"
        self.later(minutes=settle_minutes)
        self.tell(EventKind.SETTLED, "no gross harm", trigger=Trigger.SETTLED)
        return self


def promoted() -> Kept:
    """Every stage passed."""
    teller = Teller().start().shadow()
    teller.climb("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    teller.climb("5 %", 500, 31).climb("25 %", 2500)
    teller.climb("100 %", 9900, trigger=Trigger.FULL_BEGAN)
    return teller.promote().kept()


def rolled_back_by_error(target: Target | None = None, owner: str = "tutor-dev") -> Kept:
    """At 5 % the candidate fails 2.5 times as often; a person had paused it at 1 %."""
    teller = Teller(header_of(target, owner=owner)).start().shadow()
    plan = teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    teller.later(minutes=11, seconds=34).pause(minutes=7.5)
    evidence = teller.counted(plan, 100, 30)
    teller.later(minutes=12)
    teller.decide(plan, evidence, weigh(plan, evidence))
    teller.rates = teller.rates | {"candidate error": 0.027}
    return teller.climb("5 %", 500).kept()


def rolled_back_by_latency() -> Kept:
    teller = Teller(rates=BASE_RATES | {"candidate latency p95": 0.13}).start().shadow()
    teller.climb("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    return teller.climb("5 %", 500).kept() if teller.phase is Phase.CANARY else teller.kept()


def rolled_back_in_shadow() -> Kept:
    """The judge scores the copies lower; nobody is ever exposed."""
    return Teller().start().shadow(worse=0.08).kept()


def rejected_offline() -> Kept:
    return Teller().start(paired_cases(improved=130, regressed=720)).kept()


def aborted(reason: str = "provider incident") -> Kept:
    """A person aborts at 25 %."""
    teller = Teller().start().shadow()
    teller.climb("1 %", 100, trigger=Trigger.CANARY_BEGAN).climb("5 %", 500, 31)
    teller.raised("25 %", 2500)
    teller.later(minutes=9)
    why = f"aborted by sre-oncall: {reason}"
    return teller.roll_back(Trigger.ABORT, why, actor="sre-oncall").kept()


def overridden() -> Kept:
    """A small hold cannot prove the 5 % step; a person lets the open gates through."""
    teller = Teller().start().shadow()
    teller.climb("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    plan = teller.raised("5 %", 500).model_copy(update={"hold_seconds": 300.0})
    evidence = teller.counted(plan, 500, 5)
    verdict = weigh(plan, evidence)
    teller.later(minutes=6).decide(plan, evidence, verdict)
    data: dict[str, JsonValue] = {"seconds": 300, "why": verdict.why}
    teller.tell(EventKind.EXTENDED, verdict.why, step="5 %", data=data)
    waiting = [g for g in verdict.gates if g.verdict is not Verdict.PASS]
    for gate in waiting:
        data = {"gate": gate.gate, "verdict": gate.verdict.value, "verb": "override"}
        teller.later(seconds=20)
        teller.tell(
            EventKind.OVERRIDE_GRANTED,
            "template change",
            actor="search-dev",
            step="5 %",
            data=data,
        )
        reason = "template change (REL-2210)"
        teller.tell(EventKind.OVERRIDE_USED, reason, actor="search-dev", step="5 %", data=data)
    teller.climb("25 %", 2500)
    teller.climb("100 %", 9900, trigger=Trigger.FULL_BEGAN)
    return teller.promote().kept()


def missed_deadline() -> Kept:
    """At 5 % there is too little evidence until the deadline."""
    teller = Teller().start().shadow()
    teller.climb("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    plan = teller.raised("5 %", 500).model_copy(update={"hold_seconds": 300.0})
    evidence = teller.counted(plan, 500, 5)
    verdict = weigh(plan, evidence)
    teller.later(minutes=90).decide(plan, evidence, verdict)
    why = f"5 % did not pass by its deadline: {verdict.why}"
    return teller.roll_back(Trigger.DEADLINE, why, facts=(plan, evidence, verdict)).kept()


def lost_control() -> Kept:
    teller = Teller().start().shadow()
    teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    teller.later(minutes=4)
    why = "the lease could not be renewed and has run out"
    return teller.roll_back(Trigger.CONTROL_LOST, why).kept()


def stranded() -> Kept:
    teller = Teller(rates=BASE_RATES | {"candidate error": 0.3}).start()
    plan = teller.raised("5 %", 500, trigger=Trigger.CANARY_BEGAN)
    evidence = teller.counted(plan, 500, 10)
    verdict = weigh(plan, evidence)
    gate = next(g for g in verdict.gates if g.verdict is Verdict.BREACH)
    teller.later(seconds=gate.crossed_at_seconds or 10)
    facts = (plan, evidence, verdict)
    data: dict[str, JsonValue] = {"gate": gate.gate}
    teller.roll_back(Trigger.BREACH, verdict.why, facts=facts, data=data, confirmed=False)
    return teller.kept()


def undone_after_promotion() -> Kept:
    """A gross harm while settling: the old baseline comes back."""
    teller = Teller().start()
    teller.climb("100 %", 9900, trigger=Trigger.FULL_BEGAN)
    teller.tell(EventKind.PROMOTED, "every stage passed", trigger=Trigger.PROMOTED, share_bp=10_000)
    teller.step = "settling"
    plan = settle_plan()
    rates = BASE_RATES | {"candidate error": 0.09}
    evidence = rate_counts(teller.dice, plan, 60, 10_000, rates)
    return teller.breach(plan, evidence, weigh(plan, evidence)).kept()


def running_paused(minutes_ago: float = 42) -> Kept:
    """Paused at 1 % by a person, still open."""
    teller = Teller().start().shadow()
    teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    teller.later(minutes=minutes_ago)
    teller.tell(EventKind.PAUSED, "unrelated alert", actor="sre-oncall", step="1 %")
    return teller.kept()


def step_plan(name: str, share_bp: int) -> StepPlan:
    proves = name in {"5 %", "25 %"}
    margin = {"5 %": 2.0, "25 %": 1.5}.get(name)
    return StepPlan(
        name=name,
        hold_seconds=1800,
        deadline_seconds=5400,
        slice_seconds=SLICE_SECONDS,
        share_bp=share_bp,
        must=Must.PROVE if proves else Must.SCREEN,
        units=500,
        units_arm=Arm.BASELINE if share_bp > 5000 else Arm.CANDIDATE,
        gates=tuple(
            RateGate(
                name=gate,
                stream=gate.split()[0],
                alpha=alpha,
                margin_odds=margin,
                margin_abs=0.005 if margin else None,
                baseline_rate=BASE_RATES[gate],
                quantile=0.95 if gate.startswith("latency") else None,
                threshold_bucket=_LATENCY_BUCKET if gate.startswith("latency") else None,
            )
            for gate, alpha in {
                "error": 0.0025,
                "latency p95": 0.0009,
                "refusal": 0.001,
                "quality": 0.0015,
                "false_positive": 0.001,
            }.items()
        ),
    )


def shadow_plan() -> ShadowPlan:
    return ShadowPlan(
        name="shadow",
        hold_seconds=3600,
        deadline_seconds=10_800,
        slice_seconds=SLICE_SECONDS,
        rate_bp=500,
        pairs=10_000,
        levels=5,
    )


def settle_plan() -> SettlePlan:
    gate = SettleGate(name="error", stream="error", alpha=_SETTLE_ALPHA, baseline_rate=0.01)
    return SettlePlan(
        name="settling",
        hold_seconds=21_600,
        deadline_seconds=64_800,
        slice_seconds=SLICE_SECONDS,
        gates=(gate,),
    )


def rate_counts(
    dice: random.Random,
    plan: StepPlan | SettlePlan,
    slices: int,
    share_bp: int,
    rates: dict[str, float],
) -> Evidence:
    """Both arms at `rates`, a candidate's own under `candidate <gate>`."""
    units = round(RPS * plan.slice_seconds)
    candidate = round(units * share_bp / 10_000)
    rows: dict[str, list[JsonValue]] = {}
    for gate in plan.gates:
        base = rates[gate.name]
        own = rates.get(f"candidate {gate.name}", base)
        rows[gate.stream] = [
            [
                i,
                candidate,
                _bad(dice, candidate, own),
                units - candidate,
                _bad(dice, units - candidate, base),
            ]
            for i in range(slices)
        ]
    return _evidence(plan.slice_seconds, rows, slices)


def judge_counts(
    dice: random.Random, *, slices: int, pairs: int, worse: float = 0.0, better: float = 0.03
) -> Evidence:
    rows: list[JsonValue] = []
    for i in range(slices):
        down = _bad(dice, pairs, 0.03 + worse)
        up = _bad(dice, pairs - down, better)
        low = 4 if pairs > down + up + 4 else 0
        cells: list[JsonValue] = [[3, 2, down], [3, 4, up], [2, 2, low]]
        rows.append([i, [*cells, [4, 4, pairs - down - up - low]], 0])
    return _evidence(SLICE_SECONDS, {"judge": rows}, slices)


def paired_cases(*, improved: int, regressed: int, cases: int = 14_400) -> PairedCases:
    """Cases of which the baseline solved 79 %; the changed ones are spread over 200 clusters."""
    solved = round(cases * 0.79)
    old = [1.0] * solved + [0.0] * (cases - solved)
    new = list(old)
    for i in range(regressed):
        new[i * solved // regressed] = 0.0
    for i in range(improved):
        new[solved + i * (cases - solved) // improved] = 1.0
    codes = [i * 37 % 200 for i in range(cases)]
    return PairedCases(
        baseline=digest_of("old prompt"),
        candidate=digest_of("new prompt"),
        dataset=digest_of("verbs"),
        grader="exact-match",
        cases=[f"verb-{i}" for i in range(cases)],
        old=old,
        new=new,
        clusters=Column(values=[f"cluster-{i}" for i in range(200)], codes=codes),
        errors={"baseline": 0, "candidate": 12},
    )


def offline_verdict(*, improved: int, regressed: int) -> OfflineVerdict:
    return weigh_offline(OFFLINE, paired_cases(improved=improved, regressed=regressed))


def _evidence(slice_seconds: float, rows: dict[str, list[JsonValue]], slices: int) -> Evidence:
    return Evidence(
        target="grammar-tutor",
        epoch=7,
        segment=12,
        slice_seconds=slice_seconds,
        sealed=dict.fromkeys(rows, slices),
        rows=rows,
        sources={"gateway": "0.1.0"},
    )


def _bad(dice: random.Random, units: int, rate: float) -> int:
    return sum(dice.random() < rate for _ in range(units))
