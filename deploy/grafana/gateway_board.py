"""The gateway's health, whatever is released through it."""

from typing import Final

from deploy.grafana.parts import Board, Chart, Query, Row, Shape, Unit

_WINDOW: Final = "$__rate_interval"

GATEWAY: Final = Board(
    uid="rampway-gateway",
    title="Rampway: gateway health",
    told="Is the data plane well, whatever is released through it.",
    is_per_target=False,
    rows=(
        Row(
            "Traffic",
            (
                Chart(
                    "Ready",
                    "No: send no traffic there; /readyz says why.",
                    Unit.TRUTH,
                    (Query("min by (instance) (rampway_gateway_ready)", "{{instance}}"),),
                    shape=Shape.NUMBERS,
                ),
                Chart(
                    "In flight",
                    "Requests now; a line that only climbs is an upstream that hangs.",
                    Unit.NUMBER,
                    (Query("sum by (instance) (rampway_gateway_in_flight)", "{{instance}}"),),
                ),
                Chart(
                    "Requests by target",
                    "All arms, copies not among them.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (target) (rate(rampway_gateway_requests_total[{_WINDOW}]))",
                            "{{target}}",
                        ),
                    ),
                ),
                Chart(
                    "The gateway's own answers",
                    "Requests that no upstream answered, by reason.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (reason) (rate(rampway_gateway_own_answers_total[{_WINDOW}]))",
                            "{{reason}}",
                        ),
                    ),
                ),
                Chart(
                    "Callers who left",
                    "Before their answer was complete.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum by (target) (rate(rampway_gateway_aborted_total[{_WINDOW}]))",
                            "{{target}}",
                        ),
                    ),
                ),
                Chart(
                    "Traffic writes",
                    "Accepted, and refused by code; `fenced` and `pinned` are the fences at work.",
                    Unit.PER_SECOND,
                    (
                        Query(f"sum(rate(rampway_gateway_writes_total[{_WINDOW}]))", "accepted"),
                        Query(
                            "sum by (code) "
                            f"(rate(rampway_gateway_refused_writes_total[{_WINDOW}]))",
                            "{{code}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Process",
            (
                Chart(
                    "CPU",
                    "Cores in use, by process: one that is at 1 needs more workers beside it.",
                    Unit.NUMBER,
                    (
                        Query(
                            "sum by (instance, process) "
                            f"(rate(rampway_gateway_cpu_seconds_total[{_WINDOW}]))",
                            "{{instance}} {{process}}",
                        ),
                    ),
                ),
                Chart(
                    "Memory",
                    "Resident.",
                    Unit.BYTES,
                    (
                        Query(
                            "sum by (instance, process) (rampway_gateway_resident_memory_bytes)",
                            "{{instance}} {{process}}",
                        ),
                    ),
                ),
                Chart(
                    "Open files",
                    "Of the limit, in the process that serves the metrics page.",
                    Unit.SHARE,
                    (
                        Query(
                            "process_open_fds / process_max_fds"
                            " and on (instance, job) rampway_gateway_ready",
                            "{{instance}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "What is lost",
            (
                Chart(
                    "Lines dropped",
                    "Of traffic log, spool and answers, by file and reason.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            "sum by (file, reason) "
                            f"(rate(rampway_gateway_lines_dropped_total[{_WINDOW}]))",
                            "{{file}} {{reason}}",
                        ),
                    ),
                ),
                Chart(
                    "Slices lost",
                    "Sealed slices that the disk did not take.",
                    Unit.NUMBER,
                    (
                        Query(
                            "sum by (target) "
                            f"(increase(rampway_gateway_slice_rows_lost_total[{_WINDOW}]))",
                            "{{target}}",
                        ),
                    ),
                ),
                Chart(
                    "Leases that ran out",
                    "Each took a target back to its baseline.",
                    Unit.NUMBER,
                    (
                        Query(
                            "sum by (instance) "
                            f"(increase(rampway_gateway_leases_expired_total[{_WINDOW}]))",
                            "{{instance}}",
                        ),
                    ),
                ),
                Chart(
                    "Units forgotten",
                    "They would be counted again if they came again: raise units_remembered.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            "sum by (target) "
                            f"(rate(rampway_gateway_units_forgotten_total[{_WINDOW}]))",
                            "{{target}}",
                        ),
                    ),
                ),
                Chart(
                    "Spans",
                    "Delivered, and dropped by reason; empty where spans are off.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            f"sum(rate(rampway_gateway_spans_delivered_total[{_WINDOW}]))",
                            "delivered",
                        ),
                        Query(
                            "sum by (reason) "
                            f"(rate(rampway_gateway_spans_dropped_total[{_WINDOW}]))",
                            "dropped: {{reason}}",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
