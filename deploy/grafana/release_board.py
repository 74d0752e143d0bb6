"""One release on its target: who serves, how both arms and the shadow do, what could blind the gates.

Shadow copies stand beside the two arms as a third line: they have counters of their own, for they are
no requests, and no arm's rate may be diluted by them.
"""

from typing import Final

from deploy.grafana.parts import Board, Chart, Query, Row, Shape, Unit

_ON: Final = 'target=~"$target"'
_WINDOW: Final = "$__rate_interval"
_QUANTILES: Final = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def _rate(metric: str, *by: str, having: str = _ON, window: str = _WINDOW) -> str:
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} (rate({metric}{{{having}}}[{window}]))"


def _part(bad: str, all_of: str, *by: str) -> str:
    """Bad ones per unit; 0, not nothing, where units came and none was bad."""
    units = _rate(all_of, *by)
    return f"({_rate(bad, *by)} or 0 * {units}) / {units}"


def _by_arm(bad: str, bad_copies: str) -> tuple[Query, ...]:
    return (
        Query(_part(f"rampway_gateway_{bad}", "rampway_gateway_requests_total", "arm"), "{{arm}}"),
        Query(_part(f"rampway_gateway_{bad_copies}", "rampway_gateway_copies_total"), "shadow"),
    )


def _quantile(quantile: float, histogram: str, *by: str) -> str:
    buckets = _rate(f"rampway_gateway_{histogram}_bucket", "le", *by)
    return f"histogram_quantile({quantile}, {buckets})"


def _latency(quantile: float, name: str) -> Chart:
    return Chart(
        f"Latency {name}",
        "From a request's start to the end of its answer; a copy's from its departure.",
        Unit.SECONDS,
        (
            Query(_quantile(quantile, "request_seconds", "arm"), "{{arm}}"),
            Query(_quantile(quantile, "copy_seconds"), "shadow"),
        ),
    )


def _mean_score() -> str:
    points = _rate("rampway_judge_score_points_total", "sample", "arm")
    answers = _rate("rampway_judge_answers_scored_total", "sample", "arm")
    best = f"scalar(max(rampway_judge_score_levels{{{_ON}}}) - 1)"
    return f"{points} / {answers} / {best}"


RELEASE: Final = Board(
    uid="rampway-release",
    title="Rampway: a release",
    told="One target: who serves, how both arms and the shadow do, and what could blind the gates.",
    is_per_target=True,
    rows=(
        Row(
            "Who serves",
            (
                Chart(
                    "Candidate's share",
                    "As every gateway applies it: two lines that differ are a gateway that lags.",
                    Unit.SHARE,
                    (
                        Query(f"max(rampway_gateway_share_bp{{{_ON}}}) / 10000", "share"),
                        Query(f"min(rampway_gateway_share_bp{{{_ON}}}) / 10000", "lowest gateway"),
                        Query(f"max(rampway_gateway_shadow_bp{{{_ON}}}) / 10000", "copied"),
                    ),
                    width=12,
                ),
                Chart(
                    "Requests by arm",
                    "Shadow is copies sent; they are in no arm's count.",
                    Unit.PER_SECOND,
                    (
                        Query(_rate("rampway_gateway_requests_total", "arm"), "{{arm}}"),
                        Query(_rate("rampway_gateway_copies_total"), "shadow"),
                    ),
                    width=12,
                ),
                Chart(
                    "Lease left",
                    "At 0 all traffic goes to the baseline. It should saw between the full lease and "
                    "three quarters of it.",
                    Unit.SECONDS,
                    (Query(f"min(rampway_gateway_lease_seconds{{{_ON}}})", "lease"),),
                    width=12,
                ),
                Chart(
                    "Held by a release",
                    "Yes while a claim is open and its lease runs.",
                    Unit.TRUTH,
                    (Query(f"max(rampway_gateway_held{{{_ON}}})", "held"),),
                    shape=Shape.NUMBERS,
                    width=6,
                ),
                Chart(
                    "Applied everywhere",
                    "No: an instance still routes by an older write.",
                    Unit.TRUTH,
                    (
                        Query(
                            f"min(rampway_gateway_applied_by_every_instance{{{_ON}}})",
                            "applied",
                        ),
                    ),
                    shape=Shape.NUMBERS,
                    width=6,
                ),
            ),
        ),
        Row(
            "How the arms do",
            (
                Chart(
                    "Errors by arm",
                    "Failed requests of all; verdicts come from sealed slices, not from here.",
                    Unit.SHARE,
                    _by_arm("errors_total", "copy_errors_total"),
                ),
                Chart(
                    "Refusals by arm",
                    "Answers in which the model refused.",
                    Unit.SHARE,
                    _by_arm("refusals_total", "copy_refusals_total"),
                ),
                Chart(
                    "Late by arm",
                    "Failed later than fast_seconds, or ended after the target's time-out.",
                    Unit.SHARE,
                    _by_arm("late_total", "copy_late_total"),
                ),
                *(_latency(quantile, name) for quantile, name in _QUANTILES),
                Chart(
                    "Errors by kind",
                    "Which failures they are.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            _rate("rampway_gateway_errors_total", "arm", "kind"), "{{arm}} {{kind}}"
                        ),
                        Query(
                            _rate("rampway_gateway_copy_errors_total", "kind"), "shadow {{kind}}"
                        ),
                    ),
                ),
                Chart(
                    "Judged score",
                    "Mean score, 1 the best. 'seen': what users saw; 'pair': both answers to a copied "
                    "request, so its candidate is the shadow.",
                    Unit.SHARE,
                    (Query(_mean_score(), "{{arm}} ({{sample}})"),),
                ),
                Chart(
                    "Answers judged",
                    "How many scores the line before rests on.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            _rate("rampway_judge_answers_scored_total", "sample", "arm"),
                            "{{arm}} ({{sample}})",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "What could blind the gates",
            (
                Chart(
                    "Shadow breaker",
                    "Yes: the candidate does not answer, copies are held back.",
                    Unit.TRUTH,
                    (Query(f"max(rampway_gateway_shadow_breaker_open{{{_ON}}})", "open"),),
                ),
                Chart(
                    "Copies without a pair",
                    "Of all that were sampled, by reason.",
                    Unit.PER_SECOND,
                    (Query(_rate("rampway_gateway_shadow_missing_total", "reason"), "{{reason}}"),),
                ),
                Chart(
                    "Drawn but not judged",
                    "Answers that no judge can score, by arm and reason.",
                    Unit.PER_SECOND,
                    (
                        Query(
                            _rate("rampway_gateway_judged_missing_total", "arm", "reason"),
                            "{{arm}} {{reason}}",
                        ),
                    ),
                ),
                Chart(
                    "Slices lost",
                    "Sealed slices that the disk did not take: evidence that no gate will see.",
                    Unit.NUMBER,
                    (
                        Query(
                            "sum(increase(rampway_gateway_slice_rows_lost_total"
                            f"{{{_ON}}}[{_WINDOW}]))",
                            "lost",
                        ),
                    ),
                ),
                Chart(
                    "Judge behind",
                    "Since the judge last reached the end of the spool.",
                    Unit.SECONDS,
                    (Query(f"max(rampway_judge_behind_seconds{{{_ON}}})", "behind"),),
                ),
                Chart(
                    "Looks by verdict",
                    "What the watch saw at each look.",
                    Unit.PER_SECOND,
                    (Query(_rate("rampway_gate_looks_total", "verdict"), "{{verdict}}"),),
                ),
            ),
        ),
    ),
)
