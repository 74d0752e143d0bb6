"""Chooses where the counts of both arms come from, by the settings."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx

from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.ports import EvidenceSource
from workers.settings import EvidenceFrom, Settings, SettingsError

if TYPE_CHECKING:
    from rampway.adapters.evidence_prometheus import Limits, Prometheus


@asynccontextmanager
async def open_evidence(
    settings: Settings, gateway: httpx.AsyncClient, judge: httpx.AsyncClient
) -> AsyncGenerator[EvidenceSource]:
    """The source that the settings name; nothing is asked of it yet."""
    direct = GatewayEvidence(gateway, judge)
    if settings.evidence is EvidenceFrom.GATEWAY:
        yield direct
        return
    # Imported where it is chosen: it brings an HTTP stack of its own.
    from rampway.adapters.evidence_prometheus import PrometheusEvidence  # noqa: PLC0415 - see above

    with open_prometheus(settings) as (prometheus, limits):
        yield PrometheusEvidence(prometheus, direct, limits=limits)


@contextmanager
def open_prometheus(settings: Settings) -> "Generator[tuple[Prometheus, Limits]]":
    """The Prometheus of the settings, and what is fresh there. Raises SettingsError without one."""
    from rampway.adapters.evidence_prometheus import (  # noqa: PLC0415 - see above
        Access,
        Limits,
        Prometheus,
    )

    if settings.prometheus_url is None:
        raise SettingsError("RAMPWAY_PROMETHEUS_URL: names no Prometheus")
    prometheus = Prometheus(
        Access(
            url=settings.prometheus_url,
            token=settings.prometheus_token,
            token_file=settings.prometheus_token_file,
            user=settings.prometheus_user,
            password=settings.prometheus_password,
            ca_file=settings.prometheus_ca_file,
            cert_file=settings.prometheus_cert_file,
            key_file=settings.prometheus_key_file,
        )
    )
    try:
        yield prometheus, Limits(scrape_seconds=settings.prometheus_scrape_seconds)
    finally:
        prometheus.close()
