"""Releases on the real Temporal server in virtual time, in a world of their own each."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle
from temporalio.common import TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
)

from clients.dev import temporal_binary
from rampway.adapters.registry_sql import SqlRegistry
from rampway.gates.evidence import Column, PairedCases
from rampway.gates.facts import canonical
from rampway.release.artifact import bundle
from rampway.release.controls import Command
from rampway.release.events import Event
from rampway.release.identity import release_id, release_name, workflow_id
from rampway.release.orders import Outcome, Progress, ReleaseOrder
from rampway.release.plan import compile_plan
from rampway.release.records import Header, Record, Target
from rampway.release.spec import Spec
from rampway.release.specfile import parse_spec
from rampway.release.splits import Serve, Served
from rampway.release.template import demo_spec, demo_target
from support.virtual_world import (
    AskedRun,
    Behaviour,
    PageBook,
    SwitchedRegistry,
    VirtualClock,
    VirtualEvidence,
    VirtualTraffic,
)
from workers.settings import Settings
from workers.wiring import Ports, build_workers
from workflows.release import ReleaseWorkflow
from workflows.story import SEARCH_ATTRIBUTE_KEYS, first_attributes

IDLE_POLLS = 3_000
CLEAN = {"error": 0.0, "late": 0.0, "refusal": 0.0}
STARTED_AT = datetime(2026, 11, 20, 1, 19, 8, tzinfo=UTC)
LONGER = {
    "shadow": [
        ("time: 7s, pairs: 250", "time: 10m, pairs: 1000000"),
        ("deadline: 30s\ncanary", "deadline: 3x\ncanary"),
    ],
    "1 %": [("share: 1, hold: 4s", "share: 1, deadline: 3x, hold: 10m")],
    "5 %": [("share: 5\n      hold: 8s", "share: 5\n      deadline: 3x\n      hold: 10m")],
    "25 %": [("share: 25\n      hold: 6s", "share: 25\n      deadline: 3x\n      hold: 10m")],
    "100 %": [("share: 100, hold: 5s", "share: 100, deadline: 3x, hold: 10m")],
    "settling": [("watch: 3s", "watch: 10m")],
}
SPEC = """
target: {target}
owner: tutor-dev
team: tutor
candidate: {{model: {model}}}
serve: {{upstream: tutor-b}}
offline: {{cases: evals/verbs.jsonl, cluster: verb}}
canary: {{look_every: {look_every}}}
after_promotion: {{watch: {settle}}}
{more}
"""


@contextlib.asynccontextmanager
async def virtual_temporal() -> AsyncIterator[WorkflowEnvironment]:
    """The real server with time skipping; time passes only by fast_forward."""
    env = await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False, max_session_skip_count=100_000),
        data_converter=pydantic_data_converter,
        search_attributes=SEARCH_ATTRIBUTE_KEYS,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[
            *("--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"),
            *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="20ms"'),
        ],
    )
    try:
        yield env
    finally:
        await env.shutdown()


class _FollowServerTime(Interceptor):
    """Before an activity the world's clock follows the server's virtual time, unless a watch makes it pass.

    From the claim to the undo the release's own watch does: the server gives each workflow a time of
    its own and may skip over a watch that is due, and neither may let a lease run out.
    """

    def __init__(self, clock: VirtualClock, traffic: VirtualTraffic) -> None:
        self._clock = clock
        self._traffic = traffic

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        clock, traffic = self._clock, self._traffic

        class Following(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 - the SDK's signature
                info = activity.info()
                if not traffic.held or info.activity_type == "undo":
                    clock.follow(info.current_attempt_scheduled_time)
                return await self.next.execute_activity(input)

        return Following(next)


@dataclasses.dataclass
class World:
    """One target with its own clock, traffic, evidence, registry and pager."""

    env: WorkflowEnvironment
    target: Target
    behaviour: Behaviour
    clock: VirtualClock
    traffic: VirtualTraffic
    evidence: VirtualEvidence
    registry: Any
    book: SqlRegistry
    pages: PageBook
    run: AskedRun
    task_queue: str
    baseline: Served

    async def quick_order(
        self,
        *,
        model: str = "b",
        long: str | None = None,
        stages: str = "",
        first_budget: str = "40%",
        first_units: int = 4,
        quality: str = "",
    ) -> ReleaseOrder:
        """A release with the demo's lengths; the stage `long` lasts ten minutes, to act in it.

        `first_budget` and `first_units` are those of the 1 % step, `quality` is a gate more, with a
        tenth of the budget.
        """
        text = demo_spec(
            target=self.target.name,
            model=model,
            upstream="tutor-b",
            cases="x.jsonl",
            cluster="verb",
        )
        text = text.replace("hold: 4s, budget: 40%", f"hold: 4s, budget: {first_budget}")
        text = text.replace("must: screen, units: 4}", f"must: screen, units: {first_units}}}", 1)
        if quality:
            text = text.replace(
                "latency: {budget: 40%", f"quality: {quality}\n  latency: {{budget: 30%"
            )
        if long is not None:  # a look costs more the longer the stage: fewer of them are enough
            text = text.replace("look_every: 1s", "look_every: 6s")
        for before, after in LONGER.get(long or "", ()):
            assert before in text
            text = text.replace(before, after)
        return await self._order(f"{text}{stages}", -0.05, 1)

    async def order(
        self,
        *,
        more: str = "",
        model: str = "b",
        worse_by: float = -0.05,
        attempt: int = 1,
        look_every: str = "60s",
        settle: str = "30m",
    ) -> ReleaseOrder:
        """A release of a candidate whose offline accuracy is lower by `worse_by`."""
        text = SPEC.format(
            target=self.target.name, model=model, more=more, look_every=look_every, settle=settle
        )
        return await self._order(text, worse_by, attempt)

    async def _order(self, text: str, worse_by: float, attempt: int) -> ReleaseOrder:
        spec = parse_spec(text, filename="release.yaml")
        artifact = bundle(spec.candidate)
        plan = compile_plan(spec, self.target)
        candidate = Served(artifact=artifact.digest, serve=Serve(upstream="tutor-b"))
        cases = paired_cases(self.baseline.artifact, artifact.digest, worse_by)
        identity = release_id(self.target.name, artifact.digest, spec.digest, attempt)
        header = Header(
            release=identity,
            name=release_name(self.target.name, identity),
            target=self.target,
            owner=spec.owner,
            team="tutor",
            actor="tutor-dev",
            started_at=STARTED_AT,
            baseline=self.baseline,
            candidate=candidate,
            spec=await self._put("spec", spec),
            plan=await self._put("plan", plan),
            offline_evidence=await self._put("evidence", cases),
            attempt=attempt,
            workflow_id=workflow_id(self.target.name, identity),
        )
        await self.registry.open_release(header)
        return ReleaseOrder(header=header, plan=plan, environment="test")

    async def _put(self, kind: str, fact: Spec | Any) -> str:  # noqa: ANN401 - any fact
        return await self.registry.put(kind, canonical(fact.model_dump(mode="json")))

    async def start(
        self, order: ReleaseOrder, *, signal: Command | None = None
    ) -> WorkflowHandle[ReleaseWorkflow, Outcome]:
        """Start a release, with an abort already waiting if one is given; time stands still."""
        return await self.env.client.start_workflow(
            ReleaseWorkflow.run,
            order,
            id=order.header.workflow_id,
            task_queue=self.task_queue,
            search_attributes=TypedSearchAttributes(first_attributes(order)),
            start_signal="abort" if signal else None,
            start_signal_args=[signal] if signal else [],
        )

    async def run_to_end(self, order: ReleaseOrder) -> Outcome:
        """Start a release and let time pass until it has ended."""
        return await self.to_end(await self.start(order))

    async def to_end(self, handle: WorkflowHandle[ReleaseWorkflow, Outcome]) -> Outcome:
        """Let time pass until a release has ended; it may have already."""
        await unless_ended(self.env.fast_forward(handle))
        return await handle.result()

    async def record(self, order: ReleaseOrder) -> Record:
        """What the registry has of a release."""
        return await self.registry.release(order.header.release)

    async def events(self, order: ReleaseOrder) -> tuple[Event, ...]:
        """The events of a release."""
        return (await self.record(order)).events

    async def forward(
        self, handle: WorkflowHandle[ReleaseWorkflow, Outcome], stride: timedelta
    ) -> None:
        """Let a stride of time pass, from idle to idle: what is in flight is never skipped over."""
        await self._idle(handle)
        await unless_ended(self.env.fast_forward(handle, stride))
        await self._idle(handle)

    async def _idle(self, handle: WorkflowHandle[ReleaseWorkflow, Outcome]) -> None:
        """Wait until the workflow only waits for time."""
        for _ in range(IDLE_POLLS):
            seen = (await handle.describe()).raw_description
            waits = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
            busy = [a for a in seen.pending_activities if a.state != waits or a.attempt <= 1]
            if not busy and not seen.HasField("pending_workflow_task"):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the release does not come to rest")

    async def forward_to_zero(self, handle: WorkflowHandle[ReleaseWorkflow, Outcome]) -> None:
        """Let time pass in strides until the candidate has no share; no watch is overtaken."""
        for _ in range(40):
            if self.traffic.share_bp(self.target.name) == 0:
                return
            await self.forward(handle, timedelta(seconds=30))
        raise AssertionError("the candidate kept its share")

    async def forward_to(
        self,
        handle: WorkflowHandle[ReleaseWorkflow, Outcome],
        there: str,
        *,
        stride: timedelta = timedelta(minutes=5),
        limit: timedelta = timedelta(hours=12),
    ) -> Progress:
        """Let time pass in strides until the release is at a step or phase."""
        passed = timedelta(0)
        while passed < limit:
            progress = await handle.query(ReleaseWorkflow.progress)
            if there in {progress.step, progress.phase.value}:
                return progress
            assert not progress.phase.ended, f"it ended before {there}: {progress}"
            await self.forward(handle, stride)
            passed += stride
        raise AssertionError(f"the release never came to {there}: {progress.line}")


@contextlib.asynccontextmanager
async def virtual_world(
    env: WorkflowEnvironment,
    directory: Path,
    behaviour: Behaviour | None = None,
    *,
    target: Target | None = None,
    worker_client: Client | None = None,
) -> AsyncIterator[World]:
    """A world with its workers running, on a production target and the server's client if none is given."""
    target = target or Target(name=f"tutor-{uuid.uuid4().hex[:8]}", team="tutor")
    clock = VirtualClock()
    traffic = VirtualTraffic(clock)
    evidence = VirtualEvidence(traffic, target, behaviour or Behaviour())
    book = SqlRegistry.open(f"sqlite:///{directory / 'registry.db'}")
    registry = SwitchedRegistry(book)
    pages = PageBook()
    run = AskedRun()
    baseline = Served(artifact="sha256:" + "a" * 64, serve=Serve(upstream="tutor-a"))
    ports = Ports(traffic=traffic, evidence=evidence, registry=registry, pager=pages, clock=clock)
    settings = Settings(task_queue=f"test-{target.name}", grace_seconds=0)
    await traffic.add_target(target, baseline)
    await registry.set_target(target, baseline)
    workers: Sequence[Worker] = build_workers(
        worker_client or env.client,
        ports,
        settings,
        interceptors=[_FollowServerTime(clock, traffic)],
        own_run=lambda: run,
    )
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        yield World(
            env=env,
            target=target,
            behaviour=evidence.behaviour,
            clock=clock,
            traffic=traffic,
            evidence=evidence,
            registry=registry,
            book=book,
            pages=pages,
            run=run,
            task_queue=settings.task_queue,
            baseline=baseline,
        )


@contextlib.asynccontextmanager
async def quick_world(
    env: WorkflowEnvironment,
    directory: Path,
    behaviour: Behaviour | None = None,
    *,
    judge_seconds: float = 1.0,
    worker_client: Client | None = None,
) -> AsyncIterator[World]:
    """A world whose target allows seconds, and whose judge has so many for its verdict on an answer."""
    target = demo_target(f"quick-{uuid.uuid4().hex[:8]}").model_copy(
        update={"judge_seconds": judge_seconds}
    )
    seen = behaviour or Behaviour(requests_per_second=160.0, baseline=CLEAN, candidate=CLEAN)
    async with virtual_world(
        env, directory, seen, target=target, worker_client=worker_client
    ) as world:
        yield world


async def unless_ended(asked: Awaitable[object]) -> None:
    """Ask something of a release that may have ended a moment ago; that is no error."""
    try:
        await asked
    except RPCError as error:
        if "already completed" not in error.message:
            raise


def paired_cases(baseline: str, candidate: str, worse_by: float) -> PairedCases:
    """4,000 paired cases in 100 clusters; the candidate is right that much less often."""
    cases, clusters = 4_000, 100
    flips = round(abs(worse_by) * cases)
    old = [1.0 if i % 10 < 8 else 0.0 for i in range(cases)]
    new = list(old)
    losing = 1.0 if worse_by > 0 else 0.0
    for i in [i for i in range(cases) if old[i] == losing][:: max(1, cases // 5 // max(flips, 1))][
        :flips
    ]:
        new[i] = 1.0 - losing
    return PairedCases(
        baseline=baseline,
        candidate=candidate,
        dataset="sha256:" + "d" * 64,
        grader="set-match 1",
        cases=[f"case-{i}" for i in range(cases)],
        old=old,
        new=new,
        clusters=Column(
            values=[f"verb-{c}" for c in range(clusters)],
            codes=[i % clusters for i in range(cases)],
        ),
    )
