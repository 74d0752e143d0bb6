"""A real Prometheus that holds what a test says it has scraped: no waiting for scrapes, exact answers."""

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEP_SECONDS = 15
START_SECONDS = 20.0
ENDS_AT = 1_790_000_000  # any moment will do, so long as it is always the same


@dataclass
class Seed:
    """Series over `minutes`, up to ENDS_AT, in the OpenMetrics format 1.0."""

    minutes: int = 30
    families: dict[
        str, tuple[str, list[tuple[str, Mapping[str, str], Callable[[float], float]]]]
    ] = field(default_factory=dict)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._add(name, "gauge", name, labels, lambda _: value)

    def counter(self, name: str, per_second: float, **labels: str) -> None:
        """`name` ends in _total, and grows steadily."""
        family = name.removesuffix("_total")
        self._add(family, "counter", name, labels, lambda seconds: per_second * seconds)

    def histogram(self, name: str, below: Mapping[str, float], **labels: str) -> None:
        """`below` gives, for each bound and +Inf, how many come below it per second."""
        for bound, per_second in below.items():
            self._add(
                name,
                "histogram",
                f"{name}_bucket",
                {**labels, "le": bound},
                lambda seconds, rate=per_second: rate * seconds,
            )
        for part in ("count", "sum"):
            rate = below["+Inf"]
            self._add(
                name,
                "histogram",
                f"{name}_{part}",
                labels,
                lambda seconds, rate=rate: rate * seconds,
            )

    def text(self) -> str:
        lines: list[str] = []
        steps = range(0, self.minutes * 60 + 1, STEP_SECONDS)
        for family, (kind, series) in self.families.items():
            lines.append(f"# TYPE {family} {kind}")
            for name, labels, value in series:
                told = ",".join(f'{label}="{said}"' for label, said in labels.items())
                lines += [
                    f"{name}{{{told}}} {value(at):.6f} {ENDS_AT - self.minutes * 60 + at}"
                    for at in steps
                ]
        return "\n".join([*lines, "# EOF", ""])

    def _add(
        self,
        family: str,
        kind: str,
        name: str,
        labels: Mapping[str, str],
        value: Callable[[float], float],
    ) -> None:
        self.families.setdefault(family, (kind, []))[1].append((name, labels, value))


@dataclass(frozen=True)
class Prometheus:
    """A running server. `query` answers an instant query at ENDS_AT."""

    url: str

    def query(self, expr: str) -> Sequence[tuple[dict[str, str], float]]:
        """Labels and value of each series; a scalar has no labels. Raises AssertionError for an error."""
        asked = urllib.parse.urlencode({"query": expr, "time": ENDS_AT})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:  # noqa: S310 - our own server
                data: Any = json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{expr}\n{refused.read().decode()}") from refused
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]


@contextlib.contextmanager
def seeded_prometheus(seed: Seed, directory: Path) -> Iterator[Prometheus]:
    """Prometheus on a free port, holding the seed, while the context lasts."""
    told, blocks = directory / "seed.om", directory / "data"
    told.write_text(seed.text())
    (directory / "prometheus.yml").write_text("global: {}\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(told), str(blocks)],  # noqa: S607 - wherever it is installed
        check=True,
        capture_output=True,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={blocks}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, server)
        yield Prometheus(url)
    finally:
        server.terminate()
        server.wait(timeout=START_SECONDS)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, "prometheus did not start"
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()  # noqa: S310 - our own server
        except OSError:
            assert time.monotonic() < deadline, "prometheus is not ready"
            time.sleep(0.05)
        else:
            return
