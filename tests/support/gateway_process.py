"""A real gateway process and scripted upstreams on free ports, for every test that needs the data plane."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

import rampway
from rampway.gateway.slots import SlotFile, Stage

START_SECONDS = 20.0
WAIT_SECONDS = 10.0
TARGET = "tutor"
KEEP_BODIES = '[capture.bodies."*"]\nrequest = [""]\nanswer = [""]\n'
NOBODY = "http://127.0.0.1:1"  # takes no connection
BASELINE = "sha256:" + "a" * 64
CANDIDATE = "sha256:" + "b" * 64
FAST = {"slice_seconds": 0.5, "fast_seconds": 0.2, "timeout_seconds": 1.0, "judge_seconds": 1.0}

Answer = Callable[["Heard"], Awaitable[web.StreamResponse]]

T = TypeVar("T")


@dataclass
class Heard:
    """A request as an upstream got it."""

    request: web.BaseRequest
    body: bytes

    @property
    def path(self) -> str:
        return self.request.raw_path

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self.request.headers

    @property
    def is_copy(self) -> bool:
        return self.headers.get("X-Rampway-Shadow") == "1"

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.body)


@dataclass
class ScriptedUpstream:
    """Answers by `script`, and remembers what it heard. `left` counts callers who went away."""

    name: str
    script: Answer
    url: str = ""
    heard: list[Heard] = field(default_factory=list[Heard])
    left: int = 0

    @property
    def served(self) -> list[Heard]:
        return [one for one in self.heard if not one.is_copy]

    @property
    def copies(self) -> list[Heard]:
        return [one for one in self.heard if one.is_copy]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        heard = Heard(request, body)
        self.heard.append(heard)
        try:
            return await self.script(heard)
        except asyncio.CancelledError:
            self.left += 1
            raise


@asynccontextmanager
async def scripted_upstream(
    name: str, script: Answer | None = None, *, port: int = 0
) -> AsyncGenerator[ScriptedUpstream]:
    """An upstream on a free port that says its name, unless told otherwise."""

    async def says_its_name(_heard: Heard) -> web.StreamResponse:
        return web.json_response({"by": name})

    upstream = ScriptedUpstream(name, script or says_its_name)
    server = web.Server(
        upstream.handle, handler_cancellation=True, access_log=None, auto_decompress=False
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    upstream.url = f"http://127.0.0.1:{site.port}"
    try:
        yield upstream
    finally:
        await runner.cleanup()


class GatewayProcess:
    """A gateway in a process of its own. `kill` is SIGKILL; `start` again takes up its state.

    It keeps all bodies, unless `settings` has a `[capture.bodies.…]` of its own.
    """

    def __init__(
        self,
        directory: Path,
        upstreams: dict[str, str],
        *,
        settings: str = "",
        token: str | None = None,
    ) -> None:
        self.directory = directory
        self.state_dir = directory / "state"
        self.token = token
        self.process: subprocess.Popen[bytes] | None = None
        self._config = directory / "gateway.toml"
        tables = "".join(
            f'[upstreams."{name}"]\nurl = "{url}"\n' for name, url in upstreams.items()
        )
        data_port = "" if "data_port" in settings else "data_port = 0\n"
        self._config.write_text(
            f'state_dir = "{self.state_dir}"\n{data_port}admin_port = 0\n{settings}\n{tables}'
            f"{'' if '[capture.bodies' in settings else KEEP_BODIES}"
        )

    def start(self) -> Self:
        """Start, and wait until both listeners listen."""
        environment = {
            **os.environ,
            "RAMPWAY_GATEWAY_CONFIG": str(self._config),
            "PYTHONPATH": os.pathsep.join(
                [str(Path(rampway.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
            ),
            "PYTHONWARNINGS": "error",
        }
        if self.token:
            environment["RAMPWAY_GATEWAY_TOKEN"] = self.token
        with (self.directory / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rampway.gateway"], env=environment, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while self._address().get("pid") != self.process.pid:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the gateway did not start:\n{self.log()}")
            time.sleep(0.01)
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; answers the exit code."""
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        path = self.directory / "gateway.log"
        return path.read_text() if path.exists() else ""

    def workers(self) -> dict[str, int]:
        """The process ids of all workers that serve, by name; empty for a gateway of one process."""
        return {
            f"worker-{number}": slot.pid
            for run in self.state_dir.glob("runs/*/slots")
            for number, slot in enumerate(SlotFile(run))
            if slot.stage is Stage.SERVING
        }

    def kill_all(self) -> None:
        """SIGKILL to the process and to its workers, which would outlive it for a while."""
        self.kill()
        for pid in self.workers().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def data_url(self) -> str:
        return f"http://127.0.0.1:{self._address()['data_port']}"

    @property
    def data_port(self) -> int:
        return int(self._address()["data_port"])

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self._address()['admin_port']}"

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The whole lines of a JSONL file in the state directory."""
        path = self.state_dir / name
        if not path.exists():
            return []
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.split(b"\n") if line]

    def _address(self) -> dict[str, Any]:
        path = self.state_dir / "gateway.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=START_SECONDS)


@contextmanager
def gateway_process(
    upstreams: dict[str, str], *, settings: str = "", token: str | None = None
) -> Generator[GatewayProcess]:
    """A running gateway in a directory of its own; killed, if need be, at the end."""
    with tempfile.TemporaryDirectory(prefix="rampway-gateway-") as directory:
        process = GatewayProcess(Path(directory), upstreams, settings=settings, token=token)
        process.start()
        try:
            yield process
        finally:
            process.kill_all()


class AdminClient:
    """Speaks the admin API about one target; `call` and `write` answer (status, body)."""

    def __init__(
        self, http: aiohttp.ClientSession, gateway: GatewayProcess, target: str = TARGET
    ) -> None:
        self._http = http
        self._gateway = gateway
        self._target = target

    async def call(
        self, method: str, path: str = "", body: object = None, **query: int
    ) -> tuple[int, Any]:
        """`path` follows the target's own; from the root with a leading slash."""
        mine = path if path.startswith("/") else f"/v1/targets/{self._target}/{path}".rstrip("/")
        token = self._gateway.token
        async with self._http.request(
            method,
            f"{self._gateway.admin_url}{mine}",
            json=body,
            params=query,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        ) as answer:
            return answer.status, await answer.json()

    async def register(
        self, *, baseline: dict[str, Any] | None = None, **timing: float
    ) -> dict[str, Any]:
        body = {**FAST, **timing, "baseline": baseline or served(BASELINE, "a")}
        return accepted(await self.call("PUT", body=body))

    async def claim(
        self, release: str = "r1", *, ttl_seconds: float = 60.0, **changes: object
    ) -> dict[str, Any]:
        """The token of a claim from baseline `a` to candidate `b`."""
        return accepted(await self.try_claim(release, ttl_seconds=ttl_seconds, **changes))

    async def try_claim(self, release: str = "r1", **changes: object) -> tuple[int, Any]:
        body = {
            "release": release,
            "baseline": served(BASELINE, "a"),
            "candidate": served(CANDIDATE, "b"),
            "ttl_seconds": 60.0,
            "op_id": f"{release}/claim",
            **changes,
        }
        return await self.call("POST", "claim", body)

    async def write(
        self, verb: str, token: dict[str, Any], sequence: int | None = None, **fields: object
    ) -> tuple[int, Any]:
        """A write under this token, or under another sequence of its epoch."""
        ordered = token if sequence is None else {**token, "sequence": sequence}
        body: dict[str, Any] = {"token": ordered, **fields}
        if verb != "renew":
            body.setdefault("op_id", f"{verb}/{ordered['sequence']}")
        if verb in {"share", "shadow", "renew"}:
            body.setdefault("ttl_seconds", 60.0)
        return await self.call("POST", verb, body)

    async def share(self, token: dict[str, Any], sequence: int, share_bp: int) -> dict[str, Any]:
        return accepted(await self.write("share", token, sequence, share_bp=share_bp))

    async def shadow(self, token: dict[str, Any], sequence: int, rate_bp: int) -> dict[str, Any]:
        return accepted(await self.write("shadow", token, sequence, rate_bp=rate_bp))

    async def observe(self) -> dict[str, Any]:
        return accepted(await self.call("GET"))

    async def slices(self, epoch: int, segment: int) -> dict[str, Any]:
        return accepted(await self.call("GET", "slices", epoch=epoch, segment=segment))

    async def metric(self, sample: str) -> float:
        """The value of one sample, named as on the page without its prefix; 0 where there is none."""
        async with self._http.get(f"{self._gateway.admin_url}/metrics") as answer:
            page = await answer.text()
        for line in page.splitlines():
            name, _, value = line.rpartition(" ")
            if name == f"rampway_gateway_{sample}":
                return float(value)
        return 0.0


@dataclass
class DataPlane:
    """A gateway with a baseline `a` and a candidate `b`, its admin API, and a caller, for one target."""

    gateway: GatewayProcess
    a: ScriptedUpstream
    b: ScriptedUpstream
    admin: AdminClient
    http: aiohttp.ClientSession
    target: str = TARGET

    def on(self, target: str) -> "DataPlane":
        """The same gateway, for another target."""
        admin = AdminClient(self.http, self.gateway, target)
        return replace(self, target=target, admin=admin)

    def url(self, path: str = "/v1/chat") -> URL:
        return URL(f"{self.gateway.data_url}/{self.target}{path}", encoded=True)

    async def ask(self, unit: str | None = None, **fields: object) -> dict[str, Any]:
        """One JSON request; the answer's body, with its status under `status`."""
        headers = {"x-request-id": unit} if unit else {}
        async with self.http.post(self.url(), json=fields, headers=headers) as answer:
            return {"status": answer.status, **await answer.json()}


@asynccontextmanager
async def data_plane(
    *,
    a: Answer | None = None,
    b: Answer | None = None,
    settings: str = "",
    token: str | None = None,
) -> AsyncGenerator[DataPlane]:
    """A running data plane whose target is not registered yet; its upstream `gone` never answers."""
    async with (
        scripted_upstream("a", a) as upstream_a,
        scripted_upstream("b", b) as upstream_b,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        urls = {"a": upstream_a.url, "b": upstream_b.url, "gone": NOBODY}
        with gateway_process(urls, settings=settings, token=token) as gateway:
            yield DataPlane(gateway, upstream_a, upstream_b, AdminClient(http, gateway), http)


def served(artifact: str, upstream: str, **serve: object) -> dict[str, Any]:
    return {"artifact": artifact, "serve": {"upstream": upstream, **serve}}


def accepted(answer: tuple[int, Any]) -> Any:  # noqa: ANN401 - any JSON
    status, body = answer
    assert status == web.HTTPOk.status_code, body
    return body


async def true(holds: object) -> object:
    """A question for `eventually` whose answer is at hand."""
    return holds


async def eventually(
    holds: Callable[[], Awaitable[T | None]], *, seconds: float = WAIT_SECONDS
) -> T:
    """Wait until it holds, and return what held. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    while not (held := await holds()):
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.02)
    return held
