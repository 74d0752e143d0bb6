"""Finds the release that a person names: in the record or, where that is closed, in Temporal."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.exits import Exit, Failure
from rampway.release.events import EventKind
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record
from rampway.reports.dossier import stop_of, text_in

if TYPE_CHECKING:
    from temporalio.client import Client

    from rampway.ports import Registry

NAME = re.compile(r"(?P<target>[a-z0-9][a-z0-9-]*)-(?P<begin>[0-9a-f]{6,64})")
UNDECIDED = frozenset({"INCONCLUSIVE", "NO_DATA"})


@dataclass(frozen=True)
class Found:
    """A release by its name; `record` is None where only Temporal could be asked."""

    name: str
    target: str
    workflow_id: str
    record: Record | None


async def find(name: str) -> Found:
    """Find a release. Raises Failure when neither the record nor Temporal knows exactly one."""
    from clients.opening import connect_temporal, open_registry, registry_exists
    from rampway.ports import Tampered, Unreachable

    if not registry_exists():
        return await find_in_temporal(await connect_temporal(), name)
    try:
        async with open_registry() as registry:
            return await find_in_record(registry, name)
    except (Tampered, Unreachable, Failure) as closed:
        # A dead or damaged record must not keep anyone from stopping a release.
        try:
            return await find_in_temporal(await connect_temporal(), name)
        except Failure as unknown:
            raise Failure(f"{closed}\n{unknown}") from closed


async def find_in_record(registry: "Registry", name: str) -> Found:
    """Find a release in the record. Raises NotFound, naming the candidates when there are several."""
    record = await registry.release(name)
    header = record.header
    return Found(header.name, header.target.name, header.workflow_id, record)


async def find_in_temporal(client: "Client", name: str) -> Found:
    """Find a release by its workflow's id, which begins with what its name says."""
    from temporalio.service import RPCError

    parts = NAME.fullmatch(name)
    if parts is None:
        raise Failure(f"{name} is no release's name such as grammar-tutor-41c0de", Exit.USAGE)
    begin = f"release/{parts['target']}/{parts['begin']}"
    try:
        found = {
            run.id
            async for run in client.list_workflows(f'WorkflowId STARTS_WITH "{begin}"', limit=2)
        }
    except RPCError as silent:
        raise Failure(f"Temporal does not say which releases there are: {silent}") from silent
    if len(found) != 1:
        count = "no" if not found else "more than one"
        raise Failure(f"Temporal knows {count} release {name}. Next: rampway status")
    return Found(name, parts["target"], found.pop(), None)


def exit_of(record: Record) -> Exit:
    """The exit code of how a release ended; RUNNING while it is open.

    What ended for lack of evidence is inconclusive, not worse: a deadline, or an offline gate
    without a verdict.
    """
    if not record.phase.ended:
        return Exit.RUNNING
    if record.phase in {Phase.PROMOTED, Phase.CONCLUDED}:
        return Exit.OK
    stop = stop_of(record)
    if stop is not None and stop.trigger is Trigger.DEADLINE:
        return Exit.INCONCLUSIVE
    judged = next((e for e in record.events if e.kind is EventKind.JUDGED), None)
    if (
        stop is not None
        and stop.trigger is Trigger.GATE_FAILED
        and (judged is None or text_in(judged, "verdict") in UNDECIDED)
    ):
        return Exit.INCONCLUSIVE
    return Exit.STOPPED
