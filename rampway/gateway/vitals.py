"""What each process of the gateway uses, read from the system; a process that has ended has none."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from prometheus_client import ProcessCollector

_CPU: Final = "process_cpu_seconds_total"
_MEMORY: Final = "process_resident_memory_bytes"


class Vitals(NamedTuple):
    """CPU since the process's start, and resident memory."""

    cpu_seconds: float
    memory_bytes: float


def vitals_of(pids: Mapping[str, int]) -> dict[str, Vitals]:
    """By the same names; only where the system tells, as Linux does."""
    found: dict[str, Vitals] = {}
    for name, pid in pids.items():
        told = _samples(pid)
        if _CPU in told and _MEMORY in told:
            found[name] = Vitals(told[_CPU], told[_MEMORY])
    return found


def _samples(pid: int) -> dict[str, float]:
    collector = ProcessCollector(pid=lambda: pid, registry=None)
    return {one.name: one.value for metric in collector.collect() for one in metric.samples}
