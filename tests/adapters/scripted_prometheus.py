"""A Prometheus that answers as a test says, and the evidence that is read from it."""

import json
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rampway.adapters.evidence_prometheus import Access, Limits, Prometheus, PrometheusEvidence
from rampway.gates.evidence import BaselineCounts, Evidence
from rampway.gates.plans import Must, RateGate, SampleRatioGate, StepPlan

NOW = 1_790_000_000.0
GATEWAY = "a" * 32
OWN = {"gateway": GATEWAY, "target": "tutor", "epoch": "1", "segment": "3", "instance": "one:1"}
PREFIX = "rampway_gateway_"
STEP = StepPlan(
    name="5 %",
    hold_seconds=60,
    deadline_seconds=180,
    slice_seconds=10,
    share_bp=500,
    must=Must.SCREEN,
    units=1,
    gates=(
        RateGate(name="error", stream="error", alpha=0.01),
        RateGate(name="refusal", stream="refusal", alpha=0.01),
        RateGate(
            name="latency p95",
            stream="latency_p95",
            alpha=0.01,
            quantile=0.95,
            baseline_rate=0.05,
            threshold_bucket=200,
        ),
    ),
    sample_ratio=SampleRatioGate(),
)


class NoOther:
    """A source that must not be asked."""

    async def stage(self, **asked: object) -> Evidence:
        raise AssertionError(asked)

    async def baseline(self, **asked: object) -> BaselineCounts:
        raise AssertionError(asked)


def series(name: str, samples: list[list[object]], **labels: str) -> dict[str, Any]:
    own = {**OWN, **labels}
    if name == "clock_seconds":
        own = {key: own[key] for key in ("gateway", "instance")}
    return {"metric": {"__name__": PREFIX + name, **own}, "values": samples}


def page(at: float, sealed: int, *, units: int = 10, bad: int = 1) -> list[dict[str, Any]]:
    """The whole page at one scrape: the same in each of `sealed` slices of both streams and arms."""

    def one(value: float) -> list[list[object]]:
        return [[at, f"{value:g}"]]

    found = [
        series("clock_seconds", [[at, f"{at:.3f}"]]),
        series("sealed_slice_seconds", one(10)),
        series("sealed_began_seconds", [[at, f"{NOW - 60:.3f}"]]),
        series("sealed_info", one(1), baseline="f" * 16, baseline_arm="baseline"),
    ]
    for stream in ("fast", "full"):
        found += [
            series("sealed_slices", one(sealed), stream=stream),
            series("sealed_lost_slices", one(0), stream=stream),
        ]
        found += [
            series("sealed_units_total", one(sealed * units), stream=stream, arm=arm)
            for arm in ("baseline", "candidate")
        ]
    for arm in ("baseline", "candidate"):
        found += [
            series("sealed_bad_total", one(sealed * bad), stream=stream, arm=arm)
            for stream in ("error", "late", "refusal")
        ]
        found.append(series("sealed_latency_total", one(sealed * units), bucket="150", arm=arm))
    return found


def history(*, until: float = NOW, scrapes: int = 5) -> list[dict[str, Any]]:
    """One scrape per slice, the newest at `until`."""
    joined: dict[str, dict[str, Any]] = {}
    for n in range(scrapes):
        for one in page(until - 10 * (scrapes - 1 - n), n + 1):
            key = json.dumps(one["metric"], sort_keys=True)
            joined.setdefault(key, {"metric": one["metric"], "values": []})
            joined[key]["values"] += one["values"]
    return list(joined.values())


def success(result: object, **more: object) -> bytes:
    told = {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}
    return json.dumps(told).encode()


class Stub(BaseHTTPRequestHandler):
    """Answers as the test says; remembers what it was asked."""

    reply: Callable[["Stub"], None]
    heard: list[dict[str, str]]

    def do_GET(self) -> None:
        self.heard.append({**self.headers, "path": self.path})
        type(self).reply(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's
        pass

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def stub(
    reply: Callable[[Stub], None], tls: ssl.SSLContext | None = None
) -> Generator[tuple[str, list[dict[str, str]]]]:
    """A server that answers so, over TLS if it is given one: its address, and what it was asked."""
    heard: list[dict[str, str]] = []
    handler = type("Handler", (Stub,), {"reply": reply, "heard": heard})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def source(url: str, *, answer_seconds: float = 1.0, **access: Any) -> PrometheusEvidence:  # noqa: ANN401 - any of Access
    prometheus = Prometheus(Access(url, **access), answer_seconds=answer_seconds)
    return PrometheusEvidence(prometheus, NoOther(), limits=Limits(10), now=lambda: NOW)


async def stage(evidence: PrometheusEvidence) -> Evidence:
    return await evidence.stage(target="tutor", epoch=1, segment=3, plan=STEP)
