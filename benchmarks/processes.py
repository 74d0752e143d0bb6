"""How soon a write is in force in all workers of a gateway under load, what a kill costs, and their memory.

A real gateway of four workers, an upstream and a caller, each in a process of its own, over loopback. Only
ratios and bars that leave room for a busy machine are judged; the load average is told beside them.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from aiohttp import ClientError, ClientSession, TCPConnector, web

from benchmarks.crews import Crew, say
from benchmarks.figures import Figure, Section
from rampway.gateway.slots import SlotFile, Stage

WORKERS = 4
CALLERS = 16
PACE_SECONDS = 0.02  # between two requests of a caller: 16 of them ask up to 800 a second
WRITES = 400
TARGET = "tutor"
START_SECONDS = 30.0
PROPAGATION_P99_MS, PROPAGATION_MAX_MS = 50.0, 500.0
PSS_MIB = 45.0
SETTINGS = """
state_dir = "{state}"
processes = {workers}
data_port = 0
admin_port = 0
[upstreams.a]
url = "{url}"
[upstreams.b]
url = "{url}"
"""


def measure(crew: Crew) -> Section:
    """Propagation, then what kills leave behind, then memory, on one gateway under load."""
    say("processes")
    writes = crew.runs(WRITES, least=40)
    with tempfile.TemporaryDirectory() as directory, _process("upstream") as upstream:
        url = upstream.readline().strip()
        with (
            _gateway(Path(directory) / "one", url, workers=1) as gateway,
            _process("load", f"{gateway.data_url}/{TARGET}/v1"),
        ):
            alone_ms = gateway.write_shares(writes)
        with _gateway(Path(directory) / "several", url, workers=WORKERS) as gateway:
            began = time.monotonic()
            with _process("load", f"{gateway.data_url}/{TARGET}/v1") as load:
                took_ms = gateway.write_shares(writes)
                waiting = os.getloadavg()[0]
                ends = _ends(load)
            rate = ends["answered"] / (time.monotonic() - began)
            memory_mib = [_pss_mib(pid) for pid in gateway.workers()]
            killed = _kills(gateway, kills=crew.runs(6, least=2))
    p50, p99 = np.percentile(took_ms, [50, 99])
    alone_p50, alone_p99 = np.percentile(alone_ms, [50, 99])
    load_note = f"load average {waiting:.1f} on {len(os.sched_getaffinity(0))} cores"
    return Section(
        "Several processes",
        (
            Figure(
                what=f"share write to its answer, applied in all {WORKERS} workers",
                bar=f"p99 ≤ {PROPAGATION_P99_MS:.0f} ms, max ≤ {PROPAGATION_MAX_MS:.0f} ms",
                measured=f"p50 {p50:.1f}, p99 {p99:.1f}, max {max(took_ms):.1f} ms",
                met=bool(p99 <= PROPAGATION_P99_MS and max(took_ms) <= PROPAGATION_MAX_MS),
                runs=writes,
                note=f"under {rate:.0f} requests/s, with fsync and HTTP; {load_note}",
            ),
            Figure(
                what="the same write to a gateway of one process, under the same callers",
                bar="",
                measured=f"p50 {alone_p50:.1f}, p99 {alone_p99:.1f}, max {max(alone_ms):.1f} ms",
                met=None,
                runs=writes,
            ),
            Figure(
                what="memory of a worker (PSS) after the load",
                bar=f"≤ {PSS_MIB:.0f} MiB",
                measured=f"median {statistics.median(memory_mib):.1f},"
                f" largest {max(memory_mib):.1f} MiB",
                met=max(memory_mib) <= PSS_MIB,
                runs=len(memory_mib),
            ),
            killed,
        ),
    )


class _Gateway:
    """Speaks to a running gateway."""

    def __init__(self, state: Path, address: dict[str, str | int]) -> None:
        self._state = state
        self._admin = f"http://127.0.0.1:{address['admin_port']}/v1/targets/{TARGET}"
        self.data_url = f"http://127.0.0.1:{address['data_port']}"
        served = {"artifact": "old", "serve": {"upstream": "a"}}
        timing = {"slice_seconds": 1.0, "fast_seconds": 0.5, "timeout_seconds": 1.0}
        self.call("PUT", "", {**timing, "baseline": served})
        order = {"release": "r1", "baseline": served, "ttl_seconds": 600.0, "op_id": "claim"}
        candidate = {"artifact": "new", "serve": {"upstream": "b"}}
        self._token = self.call("POST", "/claim", {**order, "candidate": candidate})
        self._sequence = 0

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._admin + path, data=data, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - same
            told: dict[str, object] = json.load(answer)
            return told

    def write_share(self, share_bp: int) -> float:
        """Milliseconds until the write was answered as applied by all."""
        self._sequence += 1
        token = {**self._token, "sequence": self._sequence}
        body = {"token": token, "share_bp": share_bp, "ttl_seconds": 600.0}
        began = time.perf_counter()
        seen = self.call("POST", "/share", {**body, "op_id": f"share-{self._sequence}"})
        took_ms = (time.perf_counter() - began) * 1_000
        if not seen["applied_by_every_instance"]:
            raise RuntimeError(f"{seen['laggards']} did not apply a write in time")
        return took_ms

    def write_shares(self, count: int) -> list[float]:
        took_ms: list[float] = []
        for n in range(count):
            took_ms.append(self.write_share(2_500 + n % 2 * 2_500))
            time.sleep(0.02 + 0.013 * (n % 3))  # so that writes do not keep step with the ticks
        return took_ms

    def workers(self) -> list[int]:
        return [
            slot.pid
            for path in self._state.glob("runs/*/slots")
            for slot in SlotFile(path)
            if slot.stage is Stage.SERVING
        ]

    def sealed_units(self, *, past: float) -> int:
        """Units in all sealed slices, when those that ran at wall time `past` are sealed."""
        while True:
            path = f"/slices?epoch={self._token['epoch']}&segment={self._sequence}"
            told = self.call("GET", path)
            full, began_at = told["full"], told["began_at"]
            if not isinstance(full, dict) or not isinstance(began_at, float):
                raise TypeError("the answer is not that of /slices")
            if began_at + full["sealed"] > past:
                arms = (row[arm] for row in full["rows"] for arm in ("baseline", "candidate"))
                return sum(arm["units"] for arm in arms)
            time.sleep(0.1)


def _kills(gateway: _Gateway, *, kills: int) -> Figure:
    """Each caller opens a connection for each request, while workers are killed."""
    gateway.write_share(5_000)
    with _process("load", f"{gateway.data_url}/{TARGET}/v1", "anew") as load:
        for _ in range(kills):
            pid = gateway.workers()[0]
            os.kill(pid, signal.SIGKILL)
            while pid in gateway.workers() or len(gateway.workers()) < WORKERS:
                time.sleep(0.02)
            time.sleep(0.3)
        ends = _ends(load)
    units = gateway.sealed_units(past=time.time())
    lost = max(0, ends["answered"] - units)
    surplus = max(0, units - ends["answered"] - ends["broken"])
    return Figure(
        what=f"{kills} SIGKILLs of workers under load, a connection for each request",
        bar="0 connections refused, 0 counts lost or made up",
        measured=f"{ends['refused']} refused, {lost} lost, {surplus} made up;"
        f" {ends['broken']} broken in flight",
        met=ends["refused"] == lost == surplus == 0,
        runs=sum(ends.values()),
    )


@contextmanager
def _gateway(directory: Path, upstream: str, *, workers: int) -> Generator[_Gateway]:
    directory.mkdir()
    state, config = directory / "state", directory / "gateway.toml"
    config.write_text(SETTINGS.format(state=state, workers=workers, url=upstream))
    environment = {**os.environ, "RAMPWAY_GATEWAY_CONFIG": str(config)}
    process = subprocess.Popen([sys.executable, "-m", "rampway.gateway"], env=environment)
    try:
        until = time.monotonic() + START_SECONDS
        while not (state / "gateway.json").exists():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.05)
        yield _Gateway(state, json.loads((state / "gateway.json").read_bytes()))
    finally:
        process.terminate()
        process.wait()


class _Lines:
    """A helper process of this module, whose standard output is read."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def readline(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the helper has no output")
        return self._process.stdout.readline()

    def stop(self) -> None:
        self._process.terminate()


@contextmanager
def _process(*arguments: str) -> Generator[_Lines]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.processes", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield _Lines(process)
    finally:
        process.kill()
        process.communicate()


def _ends(load: _Lines) -> dict[str, int]:
    """Stop the callers; how their requests ended."""
    load.stop()
    told: dict[str, int] = json.loads(load.readline())
    return told


def _pss_mib(pid: int) -> float:
    """Proportional set size: shared pages are divided among those that share them (proc(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell a process's PSS")


async def _upstream() -> None:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"answer": "went"})

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{site.port}", flush=True)
    await _stopped()
    await runner.cleanup()


async def _load(url: str, *, anew: bool) -> None:
    """Callers that ask at a pace until they are stopped, then tell how their requests ended."""
    ends = {"answered": 0, "broken": 0, "refused": 0}
    stopping = asyncio.create_task(_stopped())

    async def call(http: ClientSession, caller: int) -> None:
        n = 0
        while not stopping.done():
            n += 1
            try:
                headers = {"x-request-id": f"{os.getpid()}-{caller}-{n}"}
                async with http.post(url, json={"n": n}, headers=headers) as answer:
                    await answer.read()
                ends["answered"] += 1
            except ConnectionRefusedError:
                ends["refused"] += 1
            except (ClientError, OSError) as failed:
                refused = isinstance(getattr(failed, "os_error", None), ConnectionRefusedError)
                ends["refused" if refused else "broken"] += 1
            await asyncio.sleep(PACE_SECONDS)

    async with ClientSession(connector=TCPConnector(limit=0, force_close=anew)) as http:
        await asyncio.gather(*(call(http, caller) for caller in range(CALLERS)))
    print(json.dumps(ends), flush=True)


async def _stopped() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


def main() -> None:
    """A helper process: `upstream`, or `load URL [anew]`."""
    role, *rest = sys.argv[1:]
    asyncio.run(_upstream() if role == "upstream" else _load(rest[0], anew="anew" in rest))


if __name__ == "__main__":
    main()
