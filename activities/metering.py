"""What the verbs count for Prometheus, through Temporal's own meter; nothing is decided by it.

Labels are bounded: targets that are registered, verdicts, causes and ends that are enumerated. A
release's name never is one.
"""

from temporalio import activity

from activities.asks import WatchEnd
from rampway.gates.verdicts import Verdict
from rampway.release.records import Severity
from rampway.release.splits import PinCause


def looked(target: str, verdict: Verdict) -> None:
    """One look of a watch at a stage, and its verdict."""
    _count("rampway_gate_looks", "Looks of a watch at a stage.", target=target, verdict=verdict)


def decided(target: str, verdict: Verdict) -> None:
    """A hold was weighed: the verdict that lets it pass, or not."""
    _count("rampway_gate_decisions", "Holds that were weighed.", target=target, verdict=verdict)


def blind(target: str) -> None:
    """A look that found no evidence source."""
    _count("rampway_gate_blind_looks", "Looks without an answer from a source.", target=target)


def watched(target: str, end: WatchEnd, to_zero_seconds: float | None) -> None:
    """A watch came back."""
    name = end.value.replace(" ", "_")
    _count("rampway_watches_ended", "Watches that came back.", target=target, end=name)
    if to_zero_seconds is not None:
        activity.metric_meter().create_histogram_float(
            "rampway_breach_to_zero", "From the crossing look to share 0.", "seconds"
        ).record(to_zero_seconds, {"target": target})


def pinned(target: str, cause: PinCause) -> None:
    """Traffic was sent back to the baseline."""
    _count("rampway_pins", "Pins to the baseline by cause.", target=target, cause=cause)


def paged(severity: Severity, outcome: str) -> None:
    """A page was delivered, or a try to deliver it failed."""
    _count(
        "rampway_pages", "Tries to deliver a page, by outcome.", severity=severity, outcome=outcome
    )


def _count(name: str, told: str, **labels: str) -> None:
    activity.metric_meter().create_counter(name, told).add(
        1, {label: str(value) for label, value in labels.items()}
    )
