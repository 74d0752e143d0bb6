"""Where the worker reads its counts: by the settings, refused where they contradict, checked by doctor."""

import asyncio
import json
import os
from pathlib import Path

import httpx
import pytest
from cli_builders import BASELINE, Cli

from clients.prometheus_config import prometheus_config
from rampway.adapters.evidence_gateway import GatewayEvidence
from rampway.adapters.evidence_prometheus import PrometheusEvidence
from support.gateway_process import gateway_process
from support.prometheus import needs_prometheus, prometheus, scraping
from workers.evidence import open_evidence
from workers.settings import Settings, SettingsError, read_settings

TARGET_YAML = "kind: demo\nteam: tutor\nslice_seconds: 1\nfast_seconds: 1\ntimeout_seconds: 2\n"
CHOSEN = {"RAMPWAY_EVIDENCE": "prometheus", "RAMPWAY_PROMETHEUS_URL": "http://127.0.0.1:9090/prom"}


async def source_of(settings: Settings) -> type:
    async with (
        httpx.AsyncClient() as http,
        open_evidence(settings, http, http) as evidence,
    ):
        return type(evidence)


async def test_the_gateway_is_asked_unless_the_settings_name_prometheus() -> None:
    chosen = read_settings({**CHOSEN, "RAMPWAY_PROMETHEUS_TOKEN": "secret"})

    assert await source_of(read_settings({})) is GatewayEvidence
    assert await source_of(chosen) is PrometheusEvidence
    assert "secret" not in repr(chosen)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"RAMPWAY_EVIDENCE": "graphite"}, "RAMPWAY_EVIDENCE: .*'gateway' or 'prometheus'"),
        ({"RAMPWAY_PROMETHEUS_URL": "prometheus:9090"}, "RAMPWAY_PROMETHEUS_URL: .*http://host"),
        ({"RAMPWAY_PROMETHEUS_URL": "http://me:pw@host"}, "no credentials"),
        ({"RAMPWAY_PROMETHEUS_URL": "http://host/?a=1"}, "no credentials, no query"),
        ({"RAMPWAY_PROMETHEUS_SCRAPE_SECONDS": "0"}, "RAMPWAY_PROMETHEUS_SCRAPE_SECONDS"),
    ],
)
def test_settings_that_cannot_be_used_name_the_variable(changes: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read_settings({**CHOSEN, **changes})


def test_prometheus_as_the_source_needs_its_address() -> None:
    with pytest.raises(SettingsError, match=r"RAMPWAY_EVIDENCE: .*needs RAMPWAY_PROMETHEUS_URL"):
        read_settings({"RAMPWAY_EVIDENCE": "prometheus"})


def evidence_check(cli: Cli) -> dict[str, str]:
    checks = json.loads(cli("doctor", "--output", "json").stdout)["checks"]
    found: dict[str, str] = next(check for check in checks if check["name"] == "evidence")
    return found


def test_doctor_says_where_evidence_comes_from_and_that_nobody_answers_there(cli: Cli) -> None:
    by_default = evidence_check(cli)
    os.environ.update(CHOSEN | {"RAMPWAY_PROMETHEUS_URL": "http://127.0.0.1:1"})

    silent = evidence_check(cli)

    assert by_default["state"] == "ok"
    assert silent["state"] == "fail"
    assert "http://127.0.0.1:1 does not answer" in silent["detail"]


@needs_prometheus
def test_doctor_finds_a_gateway_that_is_not_scraped_or_too_seldom(cli: Cli, tmp_path: Path) -> None:
    provider = {"provider": "http://127.0.0.1:9"}
    with gateway_process(provider) as ours, gateway_process(provider) as other:
        config = prometheus_config([ours.admin_url], scrape_seconds=1.5)
        with prometheus(tmp_path, config) as url:
            asyncio.run(scraping(url, scrapes=2))
            os.environ.update(CHOSEN | {"RAMPWAY_PROMETHEUS_URL": url})
            os.environ["RAMPWAY_PROMETHEUS_SCRAPE_SECONDS"] = "2"
            os.environ["RAMPWAY_GATEWAY_URL"] = other.admin_url
            elsewhere = evidence_check(cli)
            os.environ["RAMPWAY_GATEWAY_URL"] = ours.admin_url
            right = evidence_check(cli)
            artifact = BASELINE.content | {"prompt": {"text": BASELINE.prompt}}
            cli(
                *("target", "add", "quick", "--upstream", "provider"),
                *("--artifact", str(cli.write("baseline.json", json.dumps(artifact)))),
                *("--config", str(cli.write("quick.yaml", TARGET_YAML))),
            )
            seldom = evidence_check(cli)

    assert elsewhere["state"] == "fail"
    assert "scrapes 1 gateway, but not the one at http://127.0.0.1:" in elsewhere["detail"]
    assert right["detail"].endswith("scrapes 1 gateway every 1.5 s")
    assert right["state"] == "ok"
    assert seldom["state"] == "fail", seldom
    assert "slices of quick are shorter" in seldom["detail"]
