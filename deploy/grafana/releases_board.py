"""All releases: which targets are in motion, how releases end, what carries them."""

from typing import Final

from deploy.grafana.parts import Board, Chart, Query, Row, Shape, Unit

_WINDOW: Final = "$__rate_interval"
_QUANTILES: Final = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def _in_range(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) (increase({metric}[$__range]))"


RELEASES: Final = Board(
    uid="rampway-releases",
    title="Rampway: all releases",
    told="Which targets are being released, how releases end, and whether somebody is told.",
    is_per_target=False,
    rows=(
        Row(
            "Now",
            (
                Chart(
                    "Candidate's share by target",
                    "Only targets that a release holds.",
                    Unit.SHARE,
                    (
                        Query(
                            "max by (target) (rampway_gateway_share_bp) / 10000"
                            " and on (target) max by (target) (rampway_gateway_held) == 1",
                            "{{target}}",
                        ),
                    ),
                    width=12,
                ),
                Chart(
                    "Targets held",
                    "Releases in progress that own traffic.",
                    Unit.NUMBER,
                    (Query("sum(max by (target) (rampway_gateway_held))", "held"),),
                    shape=Shape.NUMBERS,
                    width=6,
                ),
                Chart(
                    "Workers polling",
                    "0: nothing climbs, leases run out.",
                    Unit.NUMBER,
                    (
                        Query(
                            'sum by (task_queue) (temporal_num_pollers{poller_type=~".*_task"})',
                            "{{task_queue}}",
                        ),
                    ),
                    shape=Shape.NUMBERS,
                    width=6,
                ),
            ),
        ),
        Row(
            "In the time shown",
            (
                Chart(
                    "Releases by outcome",
                    "How they ended.",
                    Unit.NUMBER,
                    (Query(_in_range("rampway_releases_ended_total", "outcome"), "{{outcome}}"),),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "Pins by cause",
                    "Why traffic went back to a baseline.",
                    Unit.NUMBER,
                    (Query(_in_range("rampway_pins_total", "cause"), "{{cause}}"),),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "From crossing look to share 0",
                    "Of breaches; the gate's own time to see it is not in here.",
                    Unit.SECONDS,
                    tuple(
                        Query(
                            f"histogram_quantile({quantile}, sum by (le) "
                            "(increase(rampway_breach_to_zero_seconds_bucket[$__range])))",
                            name,
                        )
                        for quantile, name in _QUANTILES
                    ),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "Decisions by verdict",
                    "Of holds, by target.",
                    Unit.NUMBER,
                    (
                        Query(
                            _in_range("rampway_gate_decisions_total", "target", "verdict"),
                            "{{target}} {{verdict}}",
                        ),
                    ),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "Watches by end",
                    "`blind` is a canary that was taken down because nothing could be seen.",
                    Unit.NUMBER,
                    (Query(_in_range("rampway_watches_ended_total", "end"), "{{end}}"),),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "Pages",
                    "Tries by outcome: failed ones are tried again.",
                    Unit.NUMBER,
                    (
                        Query(
                            _in_range("rampway_pages_total", "severity", "outcome"),
                            "{{severity}} {{outcome}}",
                        ),
                    ),
                    shape=Shape.NUMBERS,
                ),
            ),
        ),
        Row(
            "What carries them",
            (
                Chart(
                    "Looks by verdict",
                    "All targets; a flat line at 0 while something is held is a watch that died.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (verdict) (rate(rampway_gate_looks_total[{_WINDOW}]))",
                            "{{verdict}}",
                        ),
                        Query(
                            f"sum(rate(rampway_gate_blind_looks_total[{_WINDOW}]))",
                            "no answer",
                        ),
                    ),
                ),
                Chart(
                    "Judge's backlog",
                    "Bytes of the spools that have not been read.",
                    Unit.BYTES,
                    (Query("max by (target) (rampway_judge_backlog_bytes)", "{{target}}"),),
                ),
                Chart(
                    "Judge's looks",
                    "By outcome; while a look fails or reads a backlog nothing is sealed.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (outcome) (rate(rampway_judge_looks_total[{_WINDOW}]))",
                            "{{outcome}}",
                        ),
                    ),
                ),
                Chart(
                    "What became of the judge's lines",
                    "By finding: `unknown` and `malformed` should stay at 0.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (finding) (rate(rampway_judge_findings_total[{_WINDOW}]))",
                            "{{finding}}",
                        ),
                    ),
                ),
                Chart(
                    "Workflow tasks that failed",
                    "Each holds its release up until it succeeds: see the worker's log.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            "sum by (failure_reason) (rate("
                            f"temporal_workflow_task_execution_failed_total[{_WINDOW}]))",
                            "{{failure_reason}}",
                        ),
                    ),
                ),
                Chart(
                    "Activities that failed",
                    "By verb; they are tried again.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            "sum by (activity_type) (rate("
                            f"temporal_activity_execution_failed_total[{_WINDOW}]))",
                            "{{activity_type}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
