"""A release as a registry has it: real plans and counts, verdicts that they give, a chain of events."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from rampway.gates.evidence import Column, Evidence, PairedCases
from rampway.gates.facts import Fact, canonical, digest_of_bytes
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import Must, OfflinePlan, RateGate, ShadowPlan, StagePlan, StepPlan
from rampway.gates.weigh import weigh
from rampway.release.events import EventKind, Ledger
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Header, Record, Target
from rampway.release.splits import Serve, Served

T0 = datetime(2026, 11, 20, 1, 19, 8, tzinfo=UTC)
RELEASE = "c0ffee" + "0" * 58


class JudgedRelease:
    """Offline PASS, shadow, 1 % twice decided, BREACH on errors at 5 %, rolled back."""

    def __init__(self, slices: int = 20) -> None:
        self.blobs: dict[str, bytes] = {}
        self.slices = slices
        self.dice = random.Random(41)
        spec, plan = self.store({"target": "grammar-tutor"}), self.store({"steps": [1, 5]})
        offline, cases = OfflinePlan(), _cases()
        target = Target(name="grammar-tutor", team="tutor")
        self.header = Header(
            release=RELEASE,
            name="grammar-tutor-c0ffee",
            target=target,
            owner="tutor-dev",
            team="tutor",
            actor="ci",
            started_at=T0,
            baseline=Served(artifact="sha256:old", serve=Serve(upstream="v4")),
            candidate=Served(artifact="sha256:new", serve=Serve(upstream="v5")),
            spec=spec,
            plan=plan,
            offline_evidence=self.store(cases),
            workflow_id=f"release/grammar-tutor/{RELEASE}",
        )
        self.ledger = Ledger(RELEASE)
        self.tell(
            EventKind.STARTED,
            Phase.OFFLINE_GATE,
            Trigger.STARTED,
            data={"header": self.header.digest, "attempt": 1},
        )
        self.tell(
            EventKind.JUDGED,
            Phase.QUEUED,
            Trigger.OFFLINE_PASSED,
            plan=self.store(offline),
            evidence=self.store(cases),
            verdict=self.store(weigh_offline(offline, cases)),
        )
        self.tell(EventKind.CLAIMED, Phase.QUEUED)
        self.tell(EventKind.SHADOWED, Phase.SHADOW, Trigger.SHADOW_BEGAN)
        self.decide(EventKind.DECIDED, Phase.SHADOW, None, 0, shadow_plan(), self.pairs(4))
        self.tell(EventKind.RAISED, Phase.CANARY, Trigger.CANARY_BEGAN, share_bp=100)
        harmless = self.counts(6, bad_rate=0.01)
        half = harmless.model_copy(update={"sealed": {"error": slices // 2}})
        self.decide(EventKind.EXTENDED, Phase.CANARY, None, 100, step_plan("1 %", 100), half)
        self.decide(EventKind.DECIDED, Phase.CANARY, None, 100, step_plan("1 %", 100), harmless)
        self.tell(EventKind.RAISED, Phase.CANARY, share_bp=500)
        self.harmful = self.counts(9, bad_rate=0.08)
        self.decide(
            EventKind.PINNED, Phase.PINNED, Trigger.BREACH, 0, step_plan("5 %", 500), self.harmful
        )
        self.tell(EventKind.ROLLING_BACK, Phase.ROLLING_BACK, Trigger.UNDO_BEGAN)
        self.tell(EventKind.ROLLED_BACK, Phase.ROLLED_BACK, Trigger.UNDONE)

    @property
    def record(self) -> Record:
        return Record(header=self.header, events=tuple(self.ledger.events))

    def store(self, fact: Fact | dict[str, JsonValue]) -> str:
        body = canonical(fact.model_dump(mode="json") if isinstance(fact, Fact) else fact)
        digest = digest_of_bytes(body)
        self.blobs[digest] = body
        return digest

    def tell(
        self, kind: EventKind, phase: Phase, trigger: Trigger | None = None, **fields: object
    ) -> None:
        told: dict[str, Any] = {"share_bp": 0, "actor": "workflow", "reason": f"{kind}, as planned"}
        at = T0 + timedelta(minutes=len(self.ledger.events))
        self.ledger.write(kind, at=at, phase=phase, trigger=trigger, **(told | fields))

    def decide(
        self,
        kind: EventKind,
        phase: Phase,
        trigger: Trigger | None,
        share_bp: int,
        plan: StagePlan,
        evidence: Evidence,
    ) -> None:
        verdict = weigh(plan, evidence)
        self.tell(
            kind,
            phase,
            trigger,
            share_bp=share_bp,
            step=plan.name,
            plan=self.store(plan),
            evidence=self.store(evidence),
            verdict=self.store(verdict),
            reason=verdict.why,
        )

    def counts(self, segment: int, *, bad_rate: float) -> Evidence:
        rows: list[JsonValue] = []
        for index in range(self.slices):
            bad = sum(self.dice.random() < bad_rate for _ in range(25))
            bad_before = sum(self.dice.random() < 0.01 for _ in range(480))
            rows.append([index, 25, bad, 480, bad_before])
        return Evidence(
            target="grammar-tutor",
            epoch=3,
            segment=segment,
            slice_seconds=10,
            sealed={"error": self.slices},
            rows={"error": rows},
            sources={"gateway": "0.1.0"},
        )

    def pairs(self, segment: int) -> Evidence:
        rows: list[JsonValue] = [
            [index, [[0, 0, 3], [0, 1, 2], [1, 0, 2], [1, 1, 90]], 0]
            for index in range(self.slices)
        ]
        return Evidence(
            target="grammar-tutor",
            epoch=3,
            segment=segment,
            slice_seconds=10,
            sealed={"judge": self.slices},
            rows={"judge": rows},
        )


def step_plan(name: str, share_bp: int) -> StepPlan:
    return StepPlan(
        name=name,
        hold_seconds=200,
        deadline_seconds=600,
        slice_seconds=10,
        share_bp=share_bp,
        must=Must.SCREEN,
        units=300,
        gates=(RateGate(name="error", stream="error", alpha=0.003125),),
    )


def shadow_plan() -> ShadowPlan:
    return ShadowPlan(
        name="shadow",
        hold_seconds=200,
        deadline_seconds=600,
        slice_seconds=10,
        rate_bp=500,
        pairs=5000,
        levels=2,
    )


def _cases() -> PairedCases:
    count = 400
    return PairedCases(
        baseline="sha256:old",
        candidate="sha256:new",
        dataset="sha256:cases",
        grader="sha256:exact",
        cases=[str(n) for n in range(count)],
        old=[float(n % 5 > 0) for n in range(count)],
        new=[float(n % 5 > 0 or n % 10 == 0) for n in range(count)],
        slices={"tense": Column(values=["past"], codes=[0] * count)},
    )
