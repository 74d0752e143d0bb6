"""What a worker's metrics page tells of releases, by Prometheus conventions."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from rampway.release.phases import Phase
from support.gateway_process import eventually
from support.virtual_releases import CLEAN, quick_world
from support.virtual_world import Behaviour
from workers.settings import SettingsError, read_settings
from workers.telemetry import metrics_runtime


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def sample(page: str, name: str, **labels: str) -> float:
    """The sum of a family's samples that have these labels."""
    return sum(
        one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    )


async def test_a_breach_is_on_the_page_from_its_looks_to_its_page_and_its_end(
    env: WorkflowEnvironment, tmp_path: Path
) -> None:
    address = free_address()
    client = await Client.connect(
        env.client.service_client.config.target_host,
        data_converter=pydantic_data_converter,
        runtime=metrics_runtime(address),
    )
    harmful = Behaviour(
        requests_per_second=160.0, baseline=CLEAN, candidate={**CLEAN, "error": 0.5}
    )
    async with quick_world(env, tmp_path, harmful, worker_client=client) as world:
        outcome = await world.run_to_end(await world.quick_order())
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"http://{address}/metrics")).text

    assert outcome.phase is Phase.ROLLED_BACK
    target = world.target.name
    assert sample(page, "rampway_releases_ended_total", target=target, outcome="rolled_back") == 1
    assert sample(page, "rampway_pins_total", target=target, cause="breach") == 1
    assert sample(page, "rampway_gate_looks_total", target=target, verdict="BREACH") == 1
    assert sample(page, "rampway_gate_looks_total", target=target) > 1
    assert sample(page, "rampway_gate_decisions_total", target=target, verdict="PASS") == 1
    assert sample(page, "rampway_watches_ended_total", target=target, end="breach") == 1
    assert sample(page, "rampway_breach_to_zero_seconds_count", target=target) == 1
    assert sample(page, "rampway_breach_to_zero_seconds_bucket", target=target, le="0.05") == 1
    assert sample(page, "rampway_pages_total", outcome="delivered", severity="error") == 1
    assert world.target.name in page
    assert not re.search(r"sha256:|workflow_id|run_id", page)
    checked_by_promtool(page)


@workflow.defn
class NeverReplays:
    """A workflow whose code is broken: its task fails, and is tried for ever."""

    @workflow.run
    async def run(self) -> None:
        raise RuntimeError


async def test_a_workflow_task_that_fails_is_counted_under_the_name_that_the_alert_asks_for(
    env: WorkflowEnvironment,
) -> None:
    address = free_address()
    client = await Client.connect(
        env.client.service_client.config.target_host, runtime=metrics_runtime(address)
    )
    worker = Worker(
        client,
        task_queue="broken",
        workflows=[NeverReplays],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker, httpx.AsyncClient() as http:
        handle = await client.start_workflow(NeverReplays.run, id="broken", task_queue="broken")

        async def failed() -> float:
            page = (await http.get(f"http://{address}/metrics")).text
            return sample(page, "temporal_workflow_task_execution_failed_total")

        assert await eventually(failed) >= 1
        await handle.terminate()


def checked_by_promtool(page: str) -> None:
    if not shutil.which("promtool") and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"):
        pytest.skip("promtool is not installed")
    checked = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - wherever it is installed
        input=page,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_an_address_that_is_taken_is_a_setting_that_is_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(SettingsError, match=f"RAMPWAY_METRICS_ADDRESS: {address}"):
            metrics_runtime(address)


def test_an_address_is_a_host_and_a_port() -> None:
    assert read_settings({"RAMPWAY_METRICS_ADDRESS": "0.0.0.0:9464"}).metrics_address
    with pytest.raises(SettingsError, match="RAMPWAY_METRICS_ADDRESS"):
        read_settings({"RAMPWAY_METRICS_ADDRESS": "9464"})
