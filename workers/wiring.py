"""Settings to adapters to activities to workers: the only place where parts meet."""

import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
from temporalio.client import Client
from temporalio.worker import Interceptor, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.verbs import Verbs
from activities.watching import Watching
from rampway.adapters.pager_console import ConsolePager
from rampway.adapters.pager_file import FilePager
from rampway.adapters.registry_sql import SqlRegistry
from rampway.adapters.traffic_gateway import GatewayTraffic
from rampway.ports import Clock, EvidenceSource, OwnRun, Pager, Registry, Traffic
from rampway.release.records import Page
from workers.clock import SystemClock
from workers.evidence import open_evidence
from workers.gateway_http import gateway_http
from workers.own_run import TemporalRun
from workers.settings import Settings
from workflows.calls import WATCH_QUEUE_SUFFIX
from workflows.release import ReleaseWorkflow

WATCH_SLOTS = 500  # each watched release holds one for as long as it is watched
HEARTBEAT_THROTTLE = timedelta(seconds=5)  # the SDK's default would send every 12 s
STICKY_TIMEOUT = timedelta(seconds=5)  # after a SIGKILL, others take over this soon
HTTP_TIMEOUT = httpx.Timeout(2.0)
PASSED_THROUGH = (
    "rampway",
    "activities",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "numpy",
    "jinja2",
    "markupsafe",
    "yaml",
    "scipy",
)


@dataclass
class Ports:
    """The outside world, as one release needs it."""

    traffic: Traffic
    evidence: EvidenceSource
    registry: Registry
    pager: Pager
    clock: Clock


class Pagers:
    """Several pagers as one: a page is delivered when each has it."""

    def __init__(self, pagers: Sequence[Pager]) -> None:
        self._pagers = pagers

    async def page(self, page: Page) -> str:
        """Deliver to each in turn; the last delivery's id."""
        delivery = ""
        for pager in self._pagers:
            delivery = await pager.page(page)
        return delivery


@asynccontextmanager
async def open_ports(settings: Settings) -> AsyncGenerator[Ports]:
    """Open every outside system that the settings name."""
    async with (
        gateway_http(settings, timeout=HTTP_TIMEOUT) as gateway,
        httpx.AsyncClient(base_url=settings.judge_url, timeout=HTTP_TIMEOUT) as judge,
        open_evidence(settings, gateway, judge) as evidence,
    ):
        registry = SqlRegistry.open(settings.registry_url)
        try:
            yield Ports(
                traffic=GatewayTraffic(gateway),
                evidence=evidence,
                registry=registry,
                # The file first: it remembers keys, and a closed console must not keep a page from it.
                pager=Pagers([FilePager(settings.pages_file), ConsolePager(sys.stderr)]),
                clock=SystemClock(),
            )
        finally:
            await registry.close()


def build_workers(
    client: Client,
    ports: Ports,
    settings: Settings,
    interceptors: Sequence[Interceptor] = (),
    own_run: Callable[[], OwnRun] = TemporalRun,
) -> tuple[Worker, Worker]:
    """The worker for the story and its verbs, and the one for watches."""
    verbs = Verbs(
        traffic=ports.traffic,
        evidence=ports.evidence,
        registry=ports.registry,
        pager=ports.pager,
    )
    watching = Watching(
        traffic=ports.traffic,
        evidence=ports.evidence,
        own_run=own_run,
        clock=ports.clock,
    )
    story = Worker(
        client,
        task_queue=settings.task_queue,
        workflows=[ReleaseWorkflow],
        activities=[
            verbs.weigh_offline,
            verbs.claim,
            verbs.measure,
            verbs.split,
            verbs.decide,
            verbs.promote,
            verbs.conclude,
            verbs.undo,
            verbs.repoint,
            verbs.record,
            verbs.page,
        ],
        workflow_runner=workflow_runner(),
        interceptors=interceptors,
        graceful_shutdown_timeout=timedelta(seconds=settings.grace_seconds),
        sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )
    watch = Worker(
        client,
        task_queue=settings.task_queue + WATCH_QUEUE_SUFFIX,
        activities=[watching.watch],
        interceptors=interceptors,
        max_concurrent_activities=WATCH_SLOTS,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
    )
    return story, watch


def workflow_runner() -> WorkflowRunner:
    """The sandbox, with our pure packages and their libraries imported once, not per run."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
