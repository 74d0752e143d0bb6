"""Writes the `prometheus.yml` by which a Prometheus scrapes gateways often enough for evidence."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml

JOB = "rampway-gateway"


def prometheus_config(
    gateway_urls: Sequence[str], *, scrape_seconds: float, token_file: Path | None = None
) -> str:
    """The file's text: one job for these admin listeners, each scraped every `scrape_seconds`.

    `token_file` holds the gateways' admin token, which Prometheus reads for every scrape. Raises
    ValueError for an address that is not http:// or https:// with a host and a port.
    """
    parts = [urlsplit(url) for url in gateway_urls]
    for url, part in zip(gateway_urls, parts, strict=True):
        if part.scheme not in {"http", "https"} or part.port is None:
            raise ValueError(f"{url} is no admin listener: write http://host:port")
    interval = f"{round(scrape_seconds * 1000)}ms"
    jobs = [
        {
            "job_name": JOB if scheme == "http" else f"{JOB}-{scheme}",
            "scheme": scheme,
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "metrics_path": "/metrics",
            **({"authorization": {"credentials_file": str(token_file)}} if token_file else {}),
            "static_configs": [
                {"targets": [part.netloc for part in parts if part.scheme == scheme]}
            ],
        }
        for scheme in sorted({part.scheme for part in parts})
    ]
    told: str = yaml.safe_dump({"scrape_configs": jobs}, sort_keys=False)
    return told


def write_prometheus_config(
    path: Path,
    gateway_urls: Sequence[str],
    *,
    scrape_seconds: float,
    token_file: Path | None = None,
) -> None:
    """Write `prometheus_config` to a file. Raises OSError, and ValueError for an address."""
    path.write_text(
        prometheus_config(gateway_urls, scrape_seconds=scrape_seconds, token_file=token_file)
    )
