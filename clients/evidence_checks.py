"""What `rampway doctor` asks of the source of evidence."""

import asyncio
import re
import time
from functools import partial
from typing import TYPE_CHECKING

from clients.findings import Check, State
from clients.opening import open_registry, registry_exists

if TYPE_CHECKING:
    import httpx

    from rampway.adapters.evidence_prometheus import Scraped
    from workers.settings import Settings

NAME = "evidence"
JITTER = 1.2  # scrapes come a little late without being a wrong setting
PAGE = "docs/prometheus.md"
_ID = re.compile(r'^rampway_gateway_clock_seconds\{gateway="([0-9a-f]{32})"\}', re.MULTILINE)


async def check_evidence(found: "Settings", gateway: "httpx.AsyncClient") -> Check:
    """Whether Prometheus, where it is the source, scrapes our gateway, and often enough."""
    from rampway.adapters.evidence_prometheus import scraped_gateways
    from rampway.gates.phrases import counted
    from workers.evidence import open_prometheus
    from workers.settings import EvidenceFrom

    if found.evidence is EvidenceFrom.GATEWAY:
        return Check(NAME, State.OK, "from the gateway and the judge themselves")
    with open_prometheus(found) as (prometheus, limits):
        asking = partial(scraped_gateways, prometheus, limits, time.time)
        scraped = await asyncio.to_thread(asking)
    own = await _own_id(gateway)
    if own is None:
        told = "not asked: the gateway does not tell who it is"
        return Check(NAME, State.UNASKED, told)
    if own not in {one.gateway for one in scraped}:
        told = f"{prometheus.name} scrapes {counted(len(scraped), 'gateway')}, but not the one at {gateway.base_url}"
        return Check(NAME, State.FAIL, told, f"add it to scrape_configs, see {PAGE}")
    return await _often_enough(found, scraped, prometheus.name)


async def _often_enough(found: "Settings", scraped: "list[Scraped]", where: str) -> Check:
    """Compare how often is scraped with what is promised, and with the targets' slices."""
    from rampway.gates.phrases import counted

    gaps = [one.interval_seconds for one in scraped if one.interval_seconds is not None]
    if not gaps:
        return Check(NAME, State.FAIL, f"{where} has a single scrape so far", "ask again")
    seconds, promised = max(gaps), found.prometheus_scrape_seconds
    if seconds > promised * JITTER:
        told = f"{where} scrapes every {seconds:.1f} s, the setting says {promised:g} s"
        return Check(NAME, State.FAIL, told, f"RAMPWAY_PROMETHEUS_SCRAPE_SECONDS={seconds:.0f}")
    short = [name for name, slice_seconds in await _slices() if seconds > slice_seconds * JITTER]
    if short:
        told = f"{where} scrapes every {seconds:.1f} s, slices of {', '.join(short)} are shorter"
        return Check(NAME, State.FAIL, told, "set scrape_interval to half a slice")
    told = f"{where} scrapes {counted(len(scraped), 'gateway')} every {seconds:.1f} s"
    return Check(NAME, State.OK, told)


async def _slices() -> list[tuple[str, float]]:
    if not registry_exists():
        return []
    async with open_registry() as registry:
        standings = await registry.targets()
    return [(standing.target.name, standing.target.slice_seconds) for standing in standings]


async def _own_id(gateway: "httpx.AsyncClient") -> str | None:
    import httpx

    try:
        page = await gateway.get("/metrics")
    except httpx.HTTPError:
        return None
    found = _ID.search(page.text)
    return found[1] if found else None
