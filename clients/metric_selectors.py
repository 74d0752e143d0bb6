"""Checks the PromQL of a release.yaml without a Prometheus: each selector has to be one that is counted from."""

from collections.abc import Iterator

from rampway.release.sections import Path
from rampway.release.spec import Spec
from rampway.release.specfile import SpecError, locate_faults

METRICS: Path = ("gates", "metrics")


def metric_errors(spec: Spec, text: str, *, filename: str) -> tuple[SpecError, ...]:
    """Every selector that cannot be used, where it stands in the file."""
    faults = tuple(_faults(spec)) if spec.gates.metrics else ()
    return locate_faults(faults, text, filename=filename) if faults else ()


def _faults(spec: Spec) -> Iterator[tuple[Path, str, str]]:
    from rampway.adapters.evidence_prometheus import BadSelector, read_selector

    for name, metric in spec.gates.metrics.items():
        read: list[object] = []
        for key, selector in (("bad", metric.bad), ("total", metric.total)):
            try:
                read.append(read_selector(selector, arm_label=metric.arm_label))
            except BadSelector as wrong:
                yield (*METRICS, name, key), wrong.why, wrong.next_step
        if len(read) > 1 and read[0] == read[1]:
            path = (*METRICS, name, "bad")
            yield path, "counts the same as total", "bad counts a part of what total counts"
