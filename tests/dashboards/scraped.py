"""Half an hour of every metric that the boards ask for: a canary at 5 % with a shadow beside it."""

from support.seeded_prometheus import Seed

GATEWAYS = ("gw-1:8081", "gw-2:8081")
PER_SECOND = {"baseline": 95.0, "candidate": 5.0}  # requests, over both gateways
BAD = {  # parts of the requests
    "baseline": {"errors": 0.01, "late": 0.002, "refusals": 0.02},
    "candidate": {"errors": 0.08, "late": 0.004, "refusals": 0.02},
    "shadow": {"errors": 0.04, "late": 0.01, "refusals": 0.03},
}
COPIES_PER_SECOND = 10.0


def scraped() -> Seed:
    """What Prometheus has of two gateways, a judge and a worker."""
    seed = Seed()
    for gateway in GATEWAYS:
        _gateway(seed, {"job": "gateway", "instance": gateway}, 1 / len(GATEWAYS))
    _judge(seed, {"job": "judge", "instance": "judge:8602"})
    _worker(seed, {"job": "worker", "instance": "worker:9464"})
    return seed


def _latency(per_second: float, half_below: str) -> dict[str, float]:
    """Half below one bound, all but 1 % below 1 s."""
    bounds = ("0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")
    at = bounds.index(half_below)
    return {
        bound: per_second
        * (0.0 if n < at else 0.5 if n == at else 0.95 if n < bounds.index("1.0") else 0.99)
        if bound not in {"2.5", "+Inf"}
        else per_second
        for n, bound in enumerate(bounds)
    }


def _gateway(seed: Seed, who: dict[str, str], part: float) -> None:
    on = {"target": "tutor", **who}
    for arm, requests in PER_SECOND.items():
        rate, labels = requests * part, {**on, "arm": arm}
        seed.counter("rampway_gateway_requests_total", rate, **labels)
        errors = rate * BAD[arm]["errors"]
        seed.counter("rampway_gateway_errors_total", errors, kind="status_500", **labels)
        seed.counter("rampway_gateway_late_total", rate * BAD[arm]["late"], **labels)
        seed.counter("rampway_gateway_refusals_total", rate * BAD[arm]["refusals"], **labels)
        seed.counter("rampway_gateway_aborted_total", rate * 0.001, **labels)
        half = "0.25" if arm == "candidate" else "0.1"
        seed.histogram("rampway_gateway_request_seconds", _latency(rate, half), **labels)
        seed.counter("rampway_gateway_judged_missing_total", 0.01, reason="too_large", **labels)
    copies = COPIES_PER_SECOND * part
    seed.counter("rampway_gateway_copies_total", copies, **on)
    for name in ("late", "refusals"):
        seed.counter(f"rampway_gateway_copy_{name}_total", copies * BAD["shadow"][name], **on)
    errors = copies * BAD["shadow"]["errors"]
    seed.counter("rampway_gateway_copy_errors_total", errors, kind="timeout", **on)
    seed.histogram("rampway_gateway_copy_seconds", _latency(copies, "0.5"), **on)
    seed.counter("rampway_gateway_shadow_missing_total", 0.1, reason="timeout", **on)
    seed.counter("rampway_gateway_slice_rows_lost_total", 0.001, **on)
    seed.counter("rampway_gateway_units_forgotten_total", 0.0, **on)
    gauges = {
        "share_bp": 500,
        "shadow_bp": 1_000,
        "lease_seconds": 48,
        "held": 1,
        "applied_by_every_instance": 1,
        "shadow_breaker_open": 0,
    }
    for name, value in gauges.items():
        seed.gauge(f"rampway_gateway_{name}", value, **on)
    seed.gauge("rampway_gateway_ready", 1, **who)
    seed.gauge("rampway_gateway_in_flight", 12, **who)
    seed.counter("rampway_gateway_own_answers_total", 0.2, reason="unknown", **who)
    seed.counter("rampway_gateway_writes_total", 0.1, **who)
    seed.counter("rampway_gateway_refused_writes_total", 0.01, code="fenced", **who)
    seed.counter("rampway_gateway_leases_expired_total", 0.0, **who)
    lines = {"file": "traffic-tutor.jsonl", "reason": "disk", **who}
    seed.counter("rampway_gateway_lines_dropped_total", 0.5, **lines)
    seed.counter("rampway_gateway_spans_delivered_total", 40.0, **who)
    seed.counter("rampway_gateway_spans_dropped_total", 1.0, reason="queue", **who)
    for process in ("supervisor", "worker-0", "worker-1"):
        seed.counter("rampway_gateway_cpu_seconds_total", 0.4, process=process, **who)
        seed.gauge("rampway_gateway_resident_memory_bytes", 60e6, process=process, **who)
    seed.gauge("process_open_fds", 64, **who)
    seed.gauge("process_max_fds", 1_024, **who)


def _judge(seed: Seed, who: dict[str, str]) -> None:
    on = {"target": "tutor", **who}
    for sample, means in {
        "seen": {"baseline": 0.8, "candidate": 0.7},
        "pair": {"baseline": 0.8, "candidate": 0.9},
    }.items():
        for arm, mean in means.items():
            labels = {"sample": sample, "arm": arm, **on}
            seed.counter("rampway_judge_answers_scored_total", 2.0, **labels)
            seed.counter("rampway_judge_score_points_total", 2.0 * mean * 4, **labels)
    seed.gauge("rampway_judge_score_levels", 5, **on)
    seed.gauge("rampway_judge_behind_seconds", 0.1, **on)
    seed.gauge("rampway_judge_backlog_bytes", 2_048, **on)
    for outcome, rate in {"caught_up": 9.0, "backlog": 0.0, "failed": 0.0}.items():
        seed.counter("rampway_judge_looks_total", rate, outcome=outcome, **on)
    for finding in ("judged", "scored", "sealed", "unknown"):
        seed.counter("rampway_judge_findings_total", 1.0, finding=finding, **on)


def _worker(seed: Seed, who: dict[str, str]) -> None:
    on = {"target": "tutor", **who}
    for verdict in ("RUNNING", "PASS", "BREACH"):
        seed.counter("rampway_gate_looks_total", 0.5, verdict=verdict, **on)
        seed.counter("rampway_gate_decisions_total", 1 / 600, verdict=verdict, **on)
    seed.counter("rampway_gate_blind_looks_total", 0.0, **on)
    for end in ("looked", "breach", "blind"):
        seed.counter("rampway_watches_ended_total", 1 / 300, end=end, **on)
    for outcome in ("promoted", "rolled_back"):
        seed.counter("rampway_releases_ended_total", 1 / 900, outcome=outcome, **on)
    seed.counter("rampway_pins_total", 1 / 900, cause="breach", **on)
    seed.counter("rampway_pages_total", 1 / 900, severity="error", outcome="delivered", **who)
    pins = {"0.05": 0.0, "0.1": 0.0005, "0.25": 0.001, "+Inf": 0.001}
    seed.histogram("rampway_breach_to_zero_seconds", pins, **on)
    queue = {"task_queue": "rampway", **who}
    seed.gauge("temporal_num_pollers", 4, poller_type="workflow_task", **queue)
    failed = {"failure_reason": "NonDeterminismError", **queue}
    seed.counter("temporal_workflow_task_execution_failed_total", 0.0, **failed)
    seed.counter("temporal_activity_execution_failed_total", 0.02, activity_type="record", **queue)
