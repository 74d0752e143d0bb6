"""The worker's metrics page: Temporal's SDK serves its own families and ours on one address."""

from typing import Final

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from workers.settings import SettingsError

# The SDK's own buckets are for milliseconds; these reach from a local pin to a lease that had to do it.
_BUCKETS_SECONDS: Final = {
    "rampway_breach_to_zero": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
}


def metrics_runtime(address: str | None) -> Runtime | None:
    """A runtime that serves `/metrics` on `host:port`; None, the default runtime, without an address.

    Raises SettingsError where the address is not to be had.
    """
    if address is None:
        return None
    try:
        return Runtime(
            telemetry=TelemetryConfig(
                metrics=PrometheusConfig(
                    bind_address=address,
                    counters_total_suffix=True,
                    unit_suffix=True,
                    durations_as_seconds=True,
                    histogram_bucket_overrides=_BUCKETS_SECONDS,
                )
            )
        )
    except (RuntimeError, ValueError) as refused:
        raise SettingsError(
            f"RAMPWAY_METRICS_ADDRESS: {address} cannot be listened on: {refused}"
        ) from refused
