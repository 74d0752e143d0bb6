"""Every activity call of a release: its time-outs, its retries and its summary, on one page.

Up: bounded per attempt, retried while the watch stands beside it; an understood refusal ends it.
Down: retried for ever.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.workflow import ActivityHandle

with workflow.unsafe.imports_passed_through():
    from activities.asks import (
        ClaimAsk,
        Claimed,
        ConcludeAsk,
        DecideAsk,
        Decided,
        MeasureAsk,
        Measured,
        OfflineAsk,
        OfflineJudged,
        PageAsk,
        Paged,
        PromoteAsk,
        RecordAsk,
        RepointAsk,
        SplitAsk,
        UndoAsk,
        Undone,
        WatchAsk,
        Watched,
    )
    from activities.verbs import Verbs
    from activities.watching import Watching
    from rampway.gates.plans import StagePlan
    from rampway.release.splits import Observed

WATCH_QUEUE_SUFFIX = "-watch"
HEARTBEAT_TIMEOUT = timedelta(seconds=15)
WATCH_GRACE = timedelta(minutes=1)  # a chunk ends by itself; this only bounds a stuck attempt
OFFLINE_LIMIT = timedelta(minutes=5)
SHORT = timedelta(seconds=10)
DOWN_ATTEMPT = timedelta(seconds=30)

QUICK = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5)
)
FIRST = Priority(priority_key=1)  # rollbacks and pins go before everything else


def weigh_offline(ask: OfflineAsk) -> ActivityHandle[OfflineJudged]:
    """Weigh the offline evidence; a missing blob is final, a dead registry is retried."""
    return workflow.start_activity_method(
        Verbs.weigh_offline,
        ask,
        activity_id="weigh-offline",
        summary="offline gate: paired evals against today's baseline",
        start_to_close_timeout=timedelta(minutes=1),
        schedule_to_close_timeout=OFFLINE_LIMIT,
        retry_policy=QUICK,
    )


def claim(ask: ClaimAsk, attempt: int) -> ActivityHandle[Claimed]:
    """Take the target; bounded, so that an abort never waits long for it."""
    return workflow.start_activity_method(
        Verbs.claim,
        ask,
        activity_id=f"claim-{attempt}",
        summary=f"claim {ask.target}",
        start_to_close_timeout=SHORT,
        schedule_to_close_timeout=timedelta(minutes=1),
        retry_policy=QUICK,
    )


def measure(ask: MeasureAsk, number: int) -> ActivityHandle[Measured]:
    """Freeze a stage's thresholds, and store its plan, before it begins."""
    return workflow.start_activity_method(
        Verbs.measure,
        ask,
        activity_id=f"measure-{_label(ask.plan)}-{number}",
        summary=f"measure the baseline before {ask.plan.name}",
        start_to_close_timeout=SHORT,
        retry_policy=QUICK,
    )


def split(ask: SplitAsk, summary: str) -> ActivityHandle[Observed]:
    """Put a split in force on every instance."""
    return workflow.start_activity_method(
        Verbs.split,
        ask,
        activity_id=f"split-{ask.token.sequence}",
        summary=summary,
        start_to_close_timeout=SHORT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=QUICK,
    )


def watch(ask: WatchAsk, number: int) -> ActivityHandle[Watched]:
    """Watch one chunk, on a queue of its own: watches never starve a rollback of its slot."""
    chunk = timedelta(seconds=ask.seconds)
    return workflow.start_activity_method(
        Watching.watch,
        ask,
        activity_id=f"watch-{_label(ask.plan)}-{ask.token.sequence}-{number}",
        task_queue=workflow.info().task_queue + WATCH_QUEUE_SUFFIX,
        summary=f"watch {ask.plan.name}: chunk {number}, a look every {ask.look_seconds:g} s",
        start_to_close_timeout=chunk + WATCH_GRACE,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=QUICK,
    )


def decide(ask: DecideAsk, number: int) -> ActivityHandle[Decided]:
    """Weigh the hold; retried beside the watch until the stage's deadline ends both."""
    return workflow.start_activity_method(
        Verbs.decide,
        ask,
        activity_id=f"decide-{_label(ask.plan)}-{number}",
        summary=f"decide {ask.plan.name}",
        start_to_close_timeout=DOWN_ATTEMPT,
        retry_policy=QUICK,
    )


def autopsy(ask: DecideAsk) -> ActivityHandle[Decided]:
    """Weigh a breach whose watch nobody lived to hear; bounded, the rollback does not need it."""
    return workflow.start_activity_method(
        Verbs.decide,
        ask,
        activity_id=f"weigh-breach-{_label(ask.plan)}",
        summary=f"weigh the breach at {ask.plan.name} for the record",
        start_to_close_timeout=SHORT,
        schedule_to_close_timeout=timedelta(seconds=20),
        retry_policy=QUICK,
    )


def promote(ask: PromoteAsk) -> ActivityHandle[Observed]:
    """The commit point."""
    return workflow.start_activity_method(
        Verbs.promote,
        ask,
        activity_id="promote",
        summary="promote: the candidate becomes the baseline",
        start_to_close_timeout=SHORT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=QUICK,
    )


def conclude(ask: ConcludeAsk) -> ActivityHandle[Observed]:
    """The planned end of a release that only reports; the watch goes on until it is confirmed."""
    return workflow.start_activity_method(
        Verbs.conclude,
        ask,
        activity_id="conclude",
        summary="conclude, 0 %: the release only reports",
        start_to_close_timeout=DOWN_ATTEMPT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=QUICK,
    )


def undo(ask: UndoAsk) -> ActivityHandle[Undone]:
    """Everything back to the baseline, for ever until it is confirmed."""
    return workflow.start_activity_method(
        Verbs.undo,
        ask,
        activity_id="roll-back",
        summary=f"roll back, 0 %: {ask.by.cause}",
        start_to_close_timeout=DOWN_ATTEMPT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=QUICK,
        priority=FIRST,
    )


def repoint(ask: RepointAsk) -> ActivityHandle[None]:
    """The registry names the old baseline again, for ever until it does."""
    return workflow.start_activity_method(
        Verbs.repoint,
        ask,
        activity_id="repoint",
        summary="registry: the old baseline is the baseline again",
        start_to_close_timeout=DOWN_ATTEMPT,
        retry_policy=QUICK,
    )


def record(ask: RecordAsk) -> ActivityHandle[int]:
    """Append events to the record, for ever until it has them."""
    first, last = ask.events[0].sequence, ask.events[-1].sequence
    return workflow.start_activity_method(
        Verbs.record,
        ask,
        activity_id=f"record-{first}",
        summary=f"record events {first} to {last}" if last > first else f"record event {first}",
        start_to_close_timeout=DOWN_ATTEMPT,
        retry_policy=QUICK,
    )


def page(ask: PageAsk, about: str) -> ActivityHandle[Paged]:
    """Page, for ever until it is delivered; the key makes repeats one incident."""
    return workflow.start_activity_method(
        Verbs.page,
        ask,
        activity_id=f"page-{about}",
        summary=f"page on call: {about}",
        start_to_close_timeout=DOWN_ATTEMPT,
        retry_policy=QUICK,
        priority=FIRST,
    )


def _label(plan: StagePlan) -> str:
    return plan.name.replace(" %", "pct").replace(" ", "-")
