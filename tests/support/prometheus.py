"""A real Prometheus on a free port: one that scrapes, or one that serves a history written beforehand."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.gateway_process import eventually

START_SECONDS = 20.0
PROMETHEUS = shutil.which("prometheus") or "/usr/bin/prometheus"
PROMTOOL = shutil.which("promtool") or "/usr/bin/promtool"
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus") and not os.environ.get("RAMPWAY_REQUIRE_PROMETHEUS"),
    reason="prometheus is not installed",
)
Sample = tuple[str, Mapping[str, str], str, float]  # name, labels, value, Unix time


@contextmanager
def prometheus(
    directory: Path,
    config: str = "",
    *,
    flags: Sequence[str] = (),
    trusting: ssl.SSLContext | None = None,
) -> Generator[str]:
    """A running Prometheus whose data is under `directory`; gives its address.

    `trusting` is how to speak to one that the flags make serve over TLS.
    """
    file = directory / "prometheus.yml"
    file.write_text(config or "{}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--storage.tsdb.retention.time=10y",
                f"--web.listen-address={address}",
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    url = f"{'https' if trusting else 'http'}://{address}"
    try:
        _wait_ready(url, process, directory / "prometheus.log", trusting)
        yield url
    finally:
        process.kill()
        process.wait()


def write_history(directory: Path, samples: Sequence[Sample]) -> None:
    """Blocks of samples in `directory`, as if they had been scraped then."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample[0], []).append(sample)
    lines: list[str] = []
    for name, found in by_name.items():
        lines.append(f"# TYPE {name} unknown")
        lines += [f"{name}{_labels(labels)} {value} {at:.3f}" for _, labels, value, at in found]
    text = directory / "history.txt"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        [
            PROMTOOL,
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(text),
            str(directory / "data"),
        ],
        check=True,
        capture_output=True,
    )


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _wait_ready(
    url: str, process: "subprocess.Popen[bytes]", log: Path, trusting: ssl.SSLContext | None
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/-/ready", timeout=1.0, verify=trusting or True).is_success:
                return
        except httpx.HTTPError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


async def scraping(url: str, targets: int = 1, *, scrapes: int = 1) -> None:
    """Wait until so many targets were scraped so often: Prometheus takes five seconds to find one."""
    query = f"count(sum_over_time(up[1m]) >= {scrapes})"

    async def scraped() -> bool:
        async with httpx.AsyncClient() as http:
            answer = (await http.get(f"{url}/api/v1/query", params={"query": query})).json()
        found = answer["data"]["result"]
        return bool(found) and int(found[0]["value"][1]) >= targets

    await eventually(scraped, seconds=START_SECONDS)
