"""Totals since the process started, in the Prometheus text format 0.0.4; verdicts never read them."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rampway.gateway.findings import Finding

BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]
_ANSWERS: Final = (
    ("tokens_total", "Tokens told by answers."),
    ("cost_total", "What these tokens cost, in the currency of the configured prices."),
    ("finish_reasons_total", "Answers by the finish reason that they told."),
    ("served_other_total", "Answers that told another model than the artifact asks for."),
    ("answers_unread_total", "Answers that were packed or too large to be looked into."),
)
_COPIES_ANSWERS: Final = (
    ("copy_tokens_total", "Tokens told by answers to copies."),
    ("copy_cost_total", "What these tokens cost, by the tariff of the candidate's upstream."),
    ("copy_finish_reasons_total", "Answers to copies by the finish reason that they told."),
    ("copy_served_other_total", "Answers to copies that told another model than asked for."),
    ("copy_answers_unread_total", "Answers to copies that were packed or too large to look into."),
)


class ArmMeter:
    """What one arm of one target did, or its copies."""

    __slots__ = (
        "aborted",
        "buckets",
        "completion_tokens",
        "cost",
        "errors",
        "finish_reasons",
        "late",
        "prompt_tokens",
        "refusals",
        "requests",
        "seconds",
        "served_other",
        "unread",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.aborted = 0
        self.late = 0
        self.refusals = 0
        self.errors: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self.seconds = 0.0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cost = 0.0
        self.finish_reasons: dict[str, int] = {}
        self.served_other = 0
        self.unread = 0

    def note(self, took_seconds: float, finding: "Finding | None" = None) -> None:
        self.requests += 1
        self.seconds += took_seconds
        self.buckets[bisect_left(BOUNDS_SECONDS, took_seconds)] += 1
        if finding is not None:
            self._note_finding(finding)

    def note_error(self, kind: str) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def _note_finding(self, finding: "Finding") -> None:
        self.prompt_tokens += finding.prompt_tokens or 0
        self.completion_tokens += finding.completion_tokens or 0
        self.cost += finding.cost or 0.0
        self.served_other += finding.served_other
        self.unread += finding.unread
        reason = finding.reason_label
        if reason is not None:
            self.finish_reasons[reason] = self.finish_reasons.get(reason, 0) + 1


class Meters:
    """The meters of all arms, and of requests that never reached one."""

    def __init__(self) -> None:
        self.arms: dict[tuple[str, str], ArmMeter] = {}
        self.pinned_arms: dict[tuple[str, str], ArmMeter] = {}
        self.copies: dict[str, ArmMeter] = {}  # per target
        self.rejected: dict[str, int] = {}
        self.in_flight = 0

    def of(self, target: str, arm: str) -> ArmMeter:
        """Of requests that were dealt this arm."""
        return self.arms.setdefault((target, arm), ArmMeter())

    def pinned(self, target: str, arm: str) -> ArmMeter:
        """Of pinned tenants' requests: apart, so that no rate of an arm is mixed with theirs."""
        return self.pinned_arms.setdefault((target, arm), ArmMeter())

    def copies_of(self, target: str) -> ArmMeter:
        meter = self.copies.get(target)
        if meter is None:
            meter = self.copies[target] = ArmMeter()
        return meter

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class Page:
    """Metric families, written one after the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, told: str, samples: Iterable[Sample]) -> None:
        """One family; `name` without the prefix. Nothing is written where there is no sample."""
        full = f"rampway_gateway_{name}"
        lines = [f"{full}{_labels(labels)} {value:.17g}" for labels, value in samples]
        if lines:
            self._lines += [f"# HELP {full} {told}", f"# TYPE {full} {kind}", *lines]

    def arms(self, meters: Meters) -> None:
        """The families that are told per target and arm."""
        arms = [({"target": t, "arm": a}, meter) for (t, a), meter in sorted(meters.arms.items())]
        self.family(
            "requests_total",
            "counter",
            "Requests that ended, copies not among them.",
            [(labels, meter.requests) for labels, meter in arms],
        )
        self.family(
            "errors_total",
            "counter",
            "Failed requests by kind.",
            [
                ({**labels, "kind": kind}, count)
                for labels, meter in arms
                for kind, count in sorted(meter.errors.items())
            ],
        )
        self.family(
            "late_total",
            "counter",
            "Requests that failed later than fast_seconds, or ended after timeout_seconds.",
            [(labels, meter.late) for labels, meter in arms],
        )
        self.family(
            "refusals_total",
            "counter",
            "Answers in which the model refused.",
            [(labels, meter.refusals) for labels, meter in arms],
        )
        self.family(
            "aborted_total",
            "counter",
            "Requests whose caller left before the answer was complete.",
            [(labels, meter.aborted) for labels, meter in arms],
        )
        self._answers(arms, _ANSWERS)
        self._histograms(
            "request_seconds", "From the request's start to the end of its answer.", arms
        )
        self._pinned(meters)

    def copies(self, meters: Meters) -> None:
        """The families of shadow copies, which no arm's family counts."""
        copies = [({"target": target}, meter) for target, meter in sorted(meters.copies.items())]
        self.family(
            "copies_total",
            "counter",
            "Copies that were sent to the candidate and ended.",
            [(labels, meter.requests) for labels, meter in copies],
        )
        self.family(
            "copy_errors_total",
            "counter",
            "Failed copies by kind.",
            [
                ({**labels, "kind": kind}, count)
                for labels, meter in copies
                for kind, count in sorted(meter.errors.items())
            ],
        )
        self.family(
            "copy_late_total",
            "counter",
            "Copies that failed later than fast_seconds.",
            [(labels, meter.late) for labels, meter in copies],
        )
        self.family(
            "copy_refusals_total",
            "counter",
            "Copies in whose answers the model refused.",
            [(labels, meter.refusals) for labels, meter in copies],
        )
        self._answers(copies, _COPIES_ANSWERS)
        self._histograms(
            "copy_seconds", "From a copy's departure to the end of its answer.", copies
        )

    def _pinned(self, meters: Meters) -> None:
        pinned = [
            ({"target": t, "arm": a}, meter)
            for (t, a), meter in sorted(meters.pinned_arms.items())
            if meter.requests
        ]
        self.family(
            "pinned_requests_total",
            "counter",
            "Requests of pinned tenants that ended; in no other count of an arm.",
            [(labels, meter.requests) for labels, meter in pinned],
        )
        self.family(
            "pinned_errors_total",
            "counter",
            "Failed requests of pinned tenants by kind.",
            [
                ({**labels, "kind": kind}, count)
                for labels, meter in pinned
                for kind, count in sorted(meter.errors.items())
            ],
        )

    def add(self, text: str) -> None:
        """Families that somebody else has written, with their full names."""
        self._lines += text.splitlines()

    def text(self) -> str:
        return "\n".join([*self._lines, ""])

    def _answers(
        self, meters: list[tuple[dict[str, str], ArmMeter]], families: tuple[tuple[str, str], ...]
    ) -> None:
        """What answers of understood routes told; the families are in the order of the samples."""
        told: tuple[list[Sample], ...] = (
            [
                ({**labels, "kind": kind}, count)
                for labels, meter in meters
                for kind, count in (
                    ("prompt", meter.prompt_tokens),
                    ("completion", meter.completion_tokens),
                )
            ],
            [(labels, meter.cost) for labels, meter in meters],
            [
                ({**labels, "reason": reason}, count)
                for labels, meter in meters
                for reason, count in sorted(meter.finish_reasons.items())
            ],
            [(labels, meter.served_other) for labels, meter in meters],
            [(labels, meter.unread) for labels, meter in meters],
        )
        for (name, what), samples in zip(families, told, strict=True):
            self.family(name, "counter", what, samples)

    def _histograms(
        self, name: str, told: str, meters: Iterable[tuple[Mapping[str, str], ArmMeter]]
    ) -> None:
        full = f"rampway_gateway_{name}"
        lines: list[str] = []
        for labels, meter in meters:
            below = 0
            for bound, count in zip((*BOUNDS_SECONDS, "+Inf"), meter.buckets, strict=True):
                below += count
                lines.append(f"{full}_bucket{_labels({**labels, 'le': str(bound)})} {below}")
            lines.append(f"{full}_sum{_labels(labels)} {meter.seconds:.17g}")
            lines.append(f"{full}_count{_labels(labels)} {meter.requests}")
        if lines:
            self._lines += [f"# HELP {full} {told}", f"# TYPE {full} histogram", *lines]


def _labels(labels: Mapping[str, str]) -> str:
    """Label names and values are ours or validated names: nothing in them needs escaping."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
