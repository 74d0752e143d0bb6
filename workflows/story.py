"""The release's own account of itself: its ledger, its recorder and what the Temporal UI shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate
from temporalio.exceptions import ActivityError

from workflows import calls
from workflows.stops import WORKFLOW_ACTOR

with workflow.unsafe.imports_passed_through():
    from activities.asks import Blob, Digests, Judged, RecordAsk
    from rampway.gates.facts import canonical
    from rampway.gates.plans import StagePlan
    from rampway.gates.verdicts import StageVerdict
    from rampway.release.events import Event, EventKind, Ledger
    from rampway.release.orders import ReleaseOrder
    from rampway.release.phases import Phase, Trigger, move
    from rampway.reports.texts import stage_markdown

PHASE = SearchAttributeKey.for_keyword("RampwayPhase")
TARGET = SearchAttributeKey.for_keyword("RampwayTarget")
TEAM = SearchAttributeKey.for_keyword("RampwayTeam")
VERDICT = SearchAttributeKey.for_keyword("RampwayVerdict")
CANDIDATE = SearchAttributeKey.for_keyword("RampwayCandidate")
PERCENT = SearchAttributeKey.for_int("RampwayPercent")
OVERRIDDEN = SearchAttributeKey.for_bool("RampwayOverridden")
ARTIFACTS = SearchAttributeKey.for_keyword_list("RampwayArtifacts")
STAGE_DEADLINE = SearchAttributeKey.for_datetime("RampwayStageDeadline")
SEARCH_ATTRIBUTE_KEYS = (
    *(PHASE, TARGET, TEAM, VERDICT, CANDIDATE),
    *(PERCENT, OVERRIDDEN, ARTIFACTS, STAGE_DEADLINE),
)


class Story:
    """Where the release is and what has happened; the one writer of its events."""

    def __init__(self, order: ReleaseOrder) -> None:
        self.order = order
        self.name = order.header.name
        self.phase = Phase.PROPOSED
        self.share_bp = 0
        self.step: str | None = None
        self.ledger = Ledger(order.header.release)
        self.recorded_events = 0
        self.record_refused: str | None = None
        self.blobs: list[Blob] = []
        self.overrides_used = 0
        self.line = "PROPOSED"
        self.verdict: StageVerdict | None = None
        self._shown: dict[str, object] = {}

    def tell(
        self,
        kind: EventKind,
        reason: str,
        *,
        trigger: Trigger | None = None,
        share_bp: int | None = None,
        actor: str = WORKFLOW_ACTOR,
        step: str | None = None,
        plan: StagePlan | None = None,
        judged: Judged | None = None,
        digests: Digests | None = None,
        data: dict[str, JsonValue] | None = None,
    ) -> Event:
        """Write one event; move and change the share as it says. The recorder stores it."""
        if trigger is not None:
            self.phase = move(self.phase, trigger)
        if share_bp is not None:
            self.share_bp = share_bp
        if judged is not None:
            digests = judged.digests
            self.blobs += _unstored(plan, judged)
        event = self.ledger.write(
            kind,
            at=workflow.now(),
            phase=self.phase,
            share_bp=self.share_bp,
            actor=actor,
            reason=reason,
            trigger=trigger,
            step=step,
            plan=digests.plan if digests else (plan.digest if plan else None),
            evidence=digests.evidence if digests else None,
            verdict=digests.verdict if digests else None,
            data=data,
        )
        self._index()
        return event

    async def keep_recording(self) -> None:
        """Append what is written, in order, one call at a time, for as long as the release lives."""
        while True:
            await workflow.wait_condition(lambda: bool(self._unrecorded()))
            events, blobs = self._unrecorded(), tuple(self.blobs)
            try:
                await calls.record(RecordAsk(events=events, blobs=blobs))
            except ActivityError as refused:
                # Something else is recorded under our name (a reset run, a restored database).
                self.record_refused = str(refused.cause or refused)
                return
            self.recorded_events += len(events)
            del self.blobs[: len(blobs)]

    def _unrecorded(self) -> tuple[Event, ...]:
        return tuple(self.ledger.events[self.recorded_events :])

    async def recorded(self) -> None:
        """Come back when everything written so far is in the registry, or never can be."""
        count = len(self.ledger.events)
        await workflow.wait_condition(
            lambda: self.recorded_events >= count or self.record_refused is not None
        )

    def show(
        self, line: str, verdict: StageVerdict | None = None, next_commands: Sequence[str] = ()
    ) -> None:
        """Set the line and the table that the Temporal UI and `rampway status` show."""
        self.line = line
        self.verdict = verdict
        links = {"Report": self.order.report_url} if self.order.report_url else {}
        text = stage_markdown(line, verdict, next_commands)
        demo = "DEMO target. " if self.order.header.target.kind == "demo" else ""
        shown_links = "".join(f"\n\n{label}: {url}" for label, url in links.items())
        workflow.set_current_details(f"{demo}{text}{shown_links}")
        self._index()

    def deadline(self, at: datetime) -> None:
        """Make the stage's deadline searchable."""
        self._upsert({"deadline": STAGE_DEADLINE.value_set(at)}, {"deadline": at})

    def _index(self) -> None:
        verdict = self.verdict.verdict.value if self.verdict else "-"
        percent = self.share_bp // 100
        self._upsert(
            {
                "phase": PHASE.value_set(self.phase.value),
                "percent": PERCENT.value_set(percent),
                "verdict": VERDICT.value_set(verdict),
                "overridden": OVERRIDDEN.value_set(self.overrides_used > 0),
            },
            {
                "phase": self.phase,
                "percent": percent,
                "verdict": verdict,
                "overridden": self.overrides_used > 0,
            },
        )

    def _upsert(
        self, updates: dict[str, SearchAttributeUpdate[Any]], values: dict[str, object]
    ) -> None:
        """Upsert only what changed: each upsert is an event of the history."""
        changed = [
            updates[name] for name, value in values.items() if self._shown.get(name) != value
        ]
        if changed:
            self._shown |= values
            workflow.upsert_search_attributes(changed)  # pyright: ignore[reportUnknownMemberType]


def first_attributes(order: ReleaseOrder) -> list[SearchAttributePair[Any]]:
    """The search attributes a release starts with."""
    header = order.header
    return [
        SearchAttributePair(PHASE, Phase.PROPOSED.value),
        SearchAttributePair(TARGET, header.target.name),
        SearchAttributePair(TEAM, header.team),
        SearchAttributePair(VERDICT, "-"),
        SearchAttributePair(CANDIDATE, _short(header.candidate.artifact)),
        SearchAttributePair(PERCENT, 0),
        SearchAttributePair(OVERRIDDEN, value=False),
        SearchAttributePair(
            ARTIFACTS,
            [_short(header.baseline.artifact), _short(header.candidate.artifact)],
        ),
    ]


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _unstored(plan: StagePlan | None, judged: Judged) -> list[Blob]:
    """The blobs of a verdict that was reached without the registry."""
    if plan is None or judged.evidence is None:
        return []
    return [
        Blob(kind="plan", body=canonical(plan.model_dump(mode="json")).decode()),
        Blob(kind="evidence", body=judged.evidence),
        Blob(kind="verdict", body=canonical(judged.verdict.model_dump(mode="json")).decode()),
    ]
