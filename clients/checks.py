"""What `rampway doctor` asks of each part that a release needs; every question ends in 5 seconds."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from clients.evidence_checks import check_evidence
from clients.exits import Exit, Failure
from clients.findings import SECONDS, START, Check, State, bounded
from clients.installation import check_installation
from clients.opening import open_data_plane, open_registry, registry_exists, settings
from clients.output import now
from clients.settings import home, running_stack

if TYPE_CHECKING:
    import httpx
    from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
    from temporalio.client import Client
    from temporalio.common import SearchAttributeKey

    from rampway.release.records import Standing
    from workers.settings import Settings

RETENTION_DAYS_MIN = 30
POLLED_SECONDS = 90.0  # a poll waits up to 60 s; a poller is listed for 5 min after its last one
SKEW_SECONDS_MAX = 2.0
TEMPORAL_VARIABLES = ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE", "TEMPORAL_PROFILE")


Ask = Callable[[], Awaitable[Check]]


async def check_everything(target: str | None) -> list[Check]:
    """Every check, side by side; `target` narrows the question about targets to one."""
    found = settings()
    async with AsyncExitStack() as stack:
        temporal, client = await _reach_temporal()
        gateway, judge = await _http(stack, found)
        asked: list[Ask] = [
            *_temporal_asks(client, found),
            lambda: bounded("registry", _registry(found)),
            lambda: bounded("gateway", _gateway(gateway)),
            lambda: bounded("gateway clock", _clock(gateway)),
            lambda: bounded("targets", _targets(target)),
            lambda: bounded("judge", _judge(judge)),
            lambda: bounded("evidence", check_evidence(found, gateway)),
            lambda: bounded("pager", _pager(found)),
        ]
        outside = list(await asyncio.gather(*(ask() for ask in asked)))
    return [temporal, *outside, *await check_installation(demo=False)]


async def _reach_temporal() -> "tuple[Check, Client | None]":
    from workers.connection import TemporalUnreachable, connect

    name = "Temporal"
    try:
        async with asyncio.timeout(SECONDS):
            client = await connect()
    except RuntimeError as wrong:  # from Temporal's own configuration file or profile
        return Check(name, State.FAIL, str(wrong), "mend the file, or set TEMPORAL_ADDRESS"), None
    except (TemporalUnreachable, TimeoutError) as silent:
        configured = any(os.environ.get(variable) for variable in TEMPORAL_VARIABLES)
        if configured:
            told = str(silent).partition(" Next: ")[0] or f"no answer in {SECONDS:g} s"
            return Check(name, State.FAIL, told, f"start it, or {START}"), None
        told = "nothing answers at localhost:7233 (TEMPORAL_ADDRESS is not set)"
        return Check(name, State.ABSENT, told, START), None
    address = client.service_client.config.target_host
    return Check(name, State.OK, f"{address}, namespace {client.namespace}"), client


def _temporal_asks(client: "Client | None", found: "Settings") -> list[Ask]:
    names = ("namespace", "search attributes", "worker")
    if client is None:
        return [partial(_unasked, name, "Temporal does not answer") for name in names]
    return [
        lambda: bounded("namespace", _told("namespace", _retention(client))),
        lambda: bounded(
            "search attributes", _told("search attributes", _search_attributes(client))
        ),
        lambda: bounded("worker", _told("worker", _worker(client, found.task_queue))),
    ]


async def _told(name: str, asking: Awaitable[Check]) -> Check:
    """A question that Temporal refuses, by its authorizer or for want of the namespace, has failed."""
    from temporalio.service import RPCError

    try:
        return await asking
    except RPCError as refused:
        remedy = "check TEMPORAL_NAMESPACE and the rights of its key or certificate"
        return Check(name, State.FAIL, f"Temporal refuses to tell: {refused.message}", remedy)


async def _unasked(name: str, why: str) -> Check:
    return Check(name, State.UNASKED, f"not asked: {why}")


async def _retention(client: "Client") -> Check:
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

    answer = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace)
    )
    days = answer.config.workflow_execution_retention_ttl.ToTimedelta().total_seconds() / 86_400
    if days < RETENTION_DAYS_MIN:
        return Check(
            "namespace",
            State.FAIL,
            f"{client.namespace} forgets a history after {days:g} days, "
            f"{RETENTION_DAYS_MIN} are needed",
            f"temporal operator namespace update -n {client.namespace} --retention 2160h",
        )
    return Check("namespace", State.OK, f"{client.namespace} keeps histories {days:g} days")


async def _search_attributes(client: "Client") -> Check:
    missing = await missing_attributes(client)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return Check(
            "search attributes",
            State.FAIL,
            f"{missing[0].name}{more} not registered, a start would be refused",
            "rampway doctor --fix search-attributes",
        )
    return Check("search attributes", State.OK, "all registered")


async def missing_attributes(client: "Client") -> "list[SearchAttributeKey[Any]]":
    """The search attributes that are not registered with their type."""
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

    from workflows.story import SEARCH_ATTRIBUTE_KEYS

    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return [
        key
        for key in SEARCH_ATTRIBUTE_KEYS
        if answer.custom_attributes.get(key.name) != int(key.indexed_value_type)
    ]


async def register_attributes(client: "Client") -> list[str]:
    """Register what is missing; the names that were registered now."""
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest

    missing = await missing_attributes(client)
    if missing:
        request = AddSearchAttributesRequest(namespace=client.namespace)
        for key in missing:
            request.search_attributes[key.name] = _indexed_type(key)
        await client.operator_service.add_search_attributes(request)
    return [key.name for key in missing]


def _indexed_type(key: "SearchAttributeKey[Any]") -> "IndexedValueType.ValueType":
    from temporalio.api.enums.v1 import IndexedValueType

    return IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{key.indexed_value_type.name}")


async def _worker(client: "Client", task_queue: str) -> Check:
    from temporalio.api.enums.v1 import TaskQueueType

    from workflows.calls import WATCH_QUEUE_SUFFIX

    watch = task_queue + WATCH_QUEUE_SUFFIX
    polled = {
        "workflows": (task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
        "activities": (task_queue, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
        "watches": (watch, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    }
    idle = [
        name for name, (queue, kind) in polled.items() if not await _pollers(client, queue, kind)
    ]
    if idle:
        told = f"nobody polls for {', '.join(idle)}: releases wait, their splits decay"
        return Check("worker", State.FAIL, told, "rampway worker")
    return Check("worker", State.OK, f"polls {task_queue} and {watch}")


async def _pollers(client: "Client", queue: str, kind: "TaskQueueType.ValueType") -> int:
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
    )
    since = now().timestamp() - POLLED_SECONDS
    return sum(poller.last_access_time.ToSeconds() >= since for poller in answer.pollers)


async def _registry(found: "Settings") -> Check:
    """Whether the record opens, is migrated and takes a write; the probe's row is always the same."""
    from clients.opening import registry_file

    if not registry_exists():
        file = registry_file(found.registry_url)
        return Check("registry", State.ABSENT, f"{file} does not exist yet", START)
    async with open_registry() as registry:
        await registry.put("probe", b"rampway doctor: the registry can be written")
        count = len(await registry.releases())
    return Check("registry", State.OK, f"writable, migrated, {count} releases")


async def _http(
    stack: AsyncExitStack, found: "Settings"
) -> "tuple[httpx.AsyncClient, httpx.AsyncClient]":
    import httpx

    from workers.gateway_http import gateway_http
    from workers.settings import SettingsError

    try:
        gateway = gateway_http(found, timeout=SECONDS)
    except SettingsError as wrong:
        raise Failure(str(wrong), Exit.USAGE) from wrong
    judge = httpx.AsyncClient(base_url=found.judge_url, timeout=SECONDS)
    return await stack.enter_async_context(gateway), await stack.enter_async_context(judge)


async def _gateway(http: "httpx.AsyncClient") -> Check:
    answer = await _get(http, "/readyz")
    if answer is None:
        return _silent("gateway", http, "RAMPWAY_GATEWAY_URL")
    if not answer.is_success:
        told = f"{http.base_url} answers {answer.status_code}: {answer.text[:120]}"
        return Check("gateway", State.FAIL, told, "read its log; RAMPWAY_GATEWAY_TOKEN if it asks")
    return Check("gateway", State.OK, f"{http.base_url} is ready")


async def _judge(http: "httpx.AsyncClient") -> Check:
    answer = await _get(http, "/readyz")
    if answer is None:
        return _silent("judge", http, "RAMPWAY_JUDGE_URL")
    if not answer.is_success:
        told = f"{http.base_url} has not caught up: {answer.text[:120]}"
        return Check("judge", State.FAIL, told, "wait for its backlog, or read its log")
    return Check("judge", State.OK, f"{http.base_url} keeps up")


async def _get(http: "httpx.AsyncClient", path: str) -> "httpx.Response | None":
    import httpx

    try:
        return await http.get(path)
    except httpx.HTTPError:
        return None


def _silent(name: str, http: "httpx.AsyncClient", variable: str) -> Check:
    """A part that does not answer: broken where somebody set it up, else just not there."""
    if os.environ.get(variable):
        told = f"{http.base_url} does not answer; open splits stay until their lease ends"
        return Check(name, State.FAIL, told, f"rampway {name}, or {START}")
    told = f"nothing answers at {http.base_url} ({variable} is not set)"
    return Check(name, State.ABSENT, told, START)


async def _clock(http: "httpx.AsyncClient") -> Check:
    """Compare clocks by the Date header (RFC 9110 section 6.6.1), which has whole seconds."""
    name = "gateway clock"
    before = now()
    answer = await _get(http, "/healthz")
    after = now()
    if answer is None or "date" not in answer.headers:
        return await _unasked(name, "the gateway does not answer")
    told = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5
    skew = told - (before.timestamp() + after.timestamp()) / 2
    if abs(skew) > SKEW_SECONDS_MAX:
        side = "behind" if skew < 0 else "ahead of"
        return Check(
            name,
            State.FAIL,
            f"{abs(skew):.0f} s {side} this machine, limit {SKEW_SECONDS_MAX:g} s: "
            "slices would be NO_DATA",
            "start time sync there (chronyc makestep)",
        )
    return Check(name, State.OK, f"within {SKEW_SECONDS_MAX:g} s of this machine")


async def _targets(name: str | None) -> Check:
    if not registry_exists():
        return await _unasked("targets", "there is no registry")
    async with open_registry() as registry, open_data_plane() as plane:
        if name is not None:
            standings: Sequence[Standing] = [await registry.target(name)]
        else:
            standings = await registry.targets()
        moved = [
            f"{standing.target.name} serves {observed.baseline[:19]}, the record says "
            f"{standing.baseline.artifact[:19]}"
            for standing in standings
            if (observed := await plane.traffic.observe(standing.target.name)).baseline
            != standing.baseline.artifact
        ]
    if moved:
        told = "; ".join(moved)
        return Check("targets", State.FAIL, told, "rampway status; a release may be under way")
    if not standings:
        return Check("targets", State.ABSENT, "none is registered", "rampway target add")
    names = ", ".join(standing.target.name for standing in standings)
    return Check("targets", State.OK, f"{names}: gateway and record name the same baseline")


async def _pager(found: "Settings") -> Check:
    path = found.pages_file
    stack = running_stack(home())
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    place = path if path.exists() else nearest
    if not os.access(place, os.W_OK):
        return Check("pager", State.FAIL, f"{place} is not writable", "RAMPWAY_PAGES_FILE")
    if stack is None and not path.exists() and "RAMPWAY_PAGES_FILE" not in os.environ:
        return Check("pager", State.ABSENT, f"{path} does not exist yet", START)
    return Check("pager", State.OK, f"{path} is writable")
