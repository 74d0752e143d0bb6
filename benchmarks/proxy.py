"""The gateway beside nginx, Envoy and the LiteLLM proxy: processor time, added latency, streams.

Loopback only, each proxy on one core, load and model servers on another, rounds interleaved. On a busy
machine processor time per request is right where rates and tails are not.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import peers
from benchmarks.crews import Crew, say
from benchmarks.figures import Figure, Section, table
from benchmarks.origin import ASKED, EVENTS
from benchmarks.peers import CORES, NotToBeHad, Running

SECONDS: Final = 3.0  # of each measurement, in each round
ROUNDS: Final = 6
RATE: Final = 1_000
SLOW_RATE: Final = 20  # of LiteLLM, which is overloaded above
QUIET_P99_MS: Final = 0.5  # a machine that answers directly in more cannot be asked for a tail
_REQUESTS_BARS: Final = {"LiteLLM": 60.0, "Envoy": 1 / 6, "nginx": 1 / 18}
_ADDED_BARS_MS: Final = (0.7, 1.0)
_STREAM_CPU_BAR: Final = 1.8
_FIRST_BYTE_BAR_MS: Final = 1.0
TOO_BUSY: Final = "the machine is too busy to judge it"

Start = Callable[[Path, dict[str, int]], AbstractContextManager[Running]]
STARTS: Final[dict[str, Start]] = {
    "Rampway": peers.gateway,
    "nginx": peers.nginx,
    "Envoy": peers.envoy,
    "LiteLLM": peers.litellm,
}


@dataclass(frozen=True)
class Seen:
    """One measurement: milliseconds at the median and the tail, processor time of the proxy."""

    total: int  # with those of the warm-up, as the processor time is
    failed: int
    p50: float
    p99: float
    cpu_seconds: float = 0.0

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / max(1, self.total) * 1e6


@dataclass
class Field:
    """All that runs, and what was seen of each by kind of load and round. Without a name: directly."""

    seconds: float
    rounds: int
    running: dict[str, Running]
    missing: dict[str, str]
    direct: str
    seen: dict[tuple[str, str], dict[int, Seen]]

    def measure(
        self, number: int, name: str, kind: str, rate: float = 0.0, *, seconds: float | None = None
    ) -> None:
        one = self.running.get(name)
        say(f"proxy: {kind}, {name or 'direct'}", end="\r")
        seen = loaded(kind, one.url if one else self.direct, seconds or self.seconds, rate, one)
        self.seen.setdefault((name, kind), {})[number] = seen

    def median(self, name: str, kind: str, what: str) -> float:
        return statistics.median(getattr(seen, what) for seen in self.seen[name, kind].values())

    def beside(self, of: str, other: str, kind: str, what: str) -> list[tuple[float, float]]:
        """The same measure of two in each round with both, seen within some seconds."""
        ours, theirs = self.seen[of, kind], self.seen[other, kind]
        both = [(ours[number], theirs[number]) for number in theirs if number in ours]
        return [(getattr(one, what), getattr(two, what)) for one, two in both]

    def ratio(self, other: str, kind: str, what: str) -> float:
        """What the gateway takes of a peer's: the median over rounds."""
        pairs = self.beside("Rampway", other, kind, what)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def added(self, kind: str, what: str) -> float:
        """What the gateway adds to going directly: the median over rounds."""
        pairs = self.beside("Rampway", "", kind, what)
        return statistics.median(ours - direct for ours, direct in pairs)

    @property
    def is_quiet(self) -> bool:
        """Can latency be judged at all?"""
        return self.median("", "open", "p99") <= QUIET_P99_MS

    def failed(self, name: str) -> int:
        return sum(
            one.failed
            for (of, _), rounds in self.seen.items()
            if of == name
            for one in rounds.values()
        )


def measure(crew: Crew) -> Section:
    """Every peer that is to be had, in one run; the whole takes some four minutes."""
    say("proxy")
    waiting = os.getloadavg()[0]
    with ExitStack() as parts:
        folder = Path(parts.enter_context(TemporaryDirectory()))
        field = _field(parts, folder, crew)
        _compare(field)
        figures = [*_requests(field), *_added(field), *_streams(field)]
        beside = _beside(field, waiting)
        version = next(one.version for one in field.running.values())
    return Section(f"The proxy (gateway {version}), each on one core", tuple(figures), beside)


def _field(parts: ExitStack, folder: Path, crew: Crew) -> Field:
    origins = {name: parts.enter_context(peers.origin())[0] for name in ("a", "b")}
    field = Field(
        seconds=max(1.0, SECONDS * min(1.0, crew.scale * 20)),
        rounds=crew.runs(ROUNDS, least=1),
        running={},
        missing={},
        direct=f"http://127.0.0.1:{origins['a']}{peers.ROUTE}",
        seen={},
    )
    for name, start in STARTS.items():
        directory = folder / name
        directory.mkdir()
        try:
            field.running[name] = parts.enter_context(start(directory, origins))
        except NotToBeHad as why:
            say(f"{name}: {why}")
            field.missing[name] = str(why)
    return field


def _compare(field: Field) -> None:
    """Rounds of every kind of load, one proxy right after the other; the others are stopped meanwhile."""
    for one in field.running.values():
        os.killpg(one.pid, signal.SIGSTOP)
    for number in range(field.rounds):
        for kind in ("closed", "open", "streams"):
            if kind != "closed":
                field.measure(number, "", kind, RATE)
            for name, one in field.running.items():
                if name != "LiteLLM":
                    with _continued(one):
                        field.measure(number, name, kind, RATE)
        if number % 2 == 0 and (slow := field.running.get("LiteLLM")):
            with _continued(slow):  # longer: it does so few that those in flight would count
                field.measure(number, "LiteLLM", "closed", seconds=field.seconds * 2)
                if number == 0:
                    field.measure(number, "LiteLLM", "open", SLOW_RATE, seconds=field.seconds * 2)


@contextmanager
def _continued(one: Running) -> Generator[None]:
    os.killpg(one.pid, signal.SIGCONT)
    try:
        yield
    finally:
        os.killpg(one.pid, signal.SIGSTOP)


def _requests(field: Field) -> list[Figure]:
    figures: list[Figure] = []
    for name, bar in _REQUESTS_BARS.items():
        told = f"≥ {bar:g}" if bar > 1 else f"≥ 1/{1 / bar:.0f}"
        what = f"requests per core-second, of {name}'s"
        if name in field.missing:
            figures.append(_not_measured(what, told, field.missing[name]))
            continue
        ratio = 1 / field.ratio(name, "closed", "cpu_us")
        shown = f"{ratio:.0f} x" if ratio > 1 else f"1/{1 / ratio:.1f}"
        rounds = len(field.seen[name, "closed"])
        figures.append(Figure(what, told, shown, ratio >= bar, rounds))
    return figures


def _added(field: Field) -> list[Figure]:
    figures: list[Figure] = []
    for what, bar in zip(("p50", "p99"), _ADDED_BARS_MS, strict=True):
        added = field.added("open", what)
        figures.append(
            _latency(f"added {what} over direct, {RATE:,} requests/s", added, bar, field)
        )
    failed = field.failed("Rampway")
    figures.append(Figure("answers that failed or differed", "0", str(failed), failed == 0, 1))
    return figures


def _latency(what: str, added_ms: float, bar_ms: float, field: Field) -> Figure:
    return Figure(
        what=what,
        bar=f"≤ {bar_ms:g} ms",
        measured=f"{added_ms:.2f} ms",
        met=added_ms <= bar_ms if field.is_quiet else None,
        runs=field.rounds,
        note="" if field.is_quiet else TOO_BUSY,
    )


def _streams(field: Field) -> list[Figure]:
    what, bar = (
        f"processor time per stream of {EVENTS} events, of Envoy's",
        f"≤ {_STREAM_CPU_BAR:g} x",
    )
    if "Envoy" in field.missing:
        cpu = _not_measured(what, bar, field.missing["Envoy"])
    else:
        ratio = field.ratio("Envoy", "streams", "cpu_us")
        cpu = Figure(what, bar, f"{ratio:.2f} x", ratio <= _STREAM_CPU_BAR, field.rounds)
    added = field.added("streams", "p50")
    first = _latency("first byte of a stream, added p50", added, _FIRST_BYTE_BAR_MS, field)
    return [cpu, first]


def _beside(field: Field, waiting: float) -> str:
    rows: list[list[str]] = []
    for name, one in field.running.items():
        streams = (name, "streams") in field.seen
        rate = SLOW_RATE if name == "LiteLLM" else RATE
        rows.append(
            [
                f"{name} {one.version}",
                f"{1e6 / field.median(name, 'closed', 'cpu_us'):,.0f}",
                f"{field.median(name, 'closed', 'cpu_us'):,.0f}",
                f"{_both(field, name)} at {rate:,}/s",
                f"{field.median(name, 'streams', 'cpu_us'):,.0f}" if streams else "",
                f"{field.median(name, 'streams', 'p50'):.2f}" if streams else "",
            ]
        )
    rows.append(
        [
            "direct",
            "",
            "",
            f"{_both(field, '')} at {RATE:,}/s",
            "",
            f"{field.median('', 'streams', 'p50'):.2f}",
        ]
    )
    head = ("", "requests per core-second", "us CPU per request", "p50 / p99, ms")
    told = table((*head, f"us CPU per stream of {EVENTS} events", "first byte p50, ms"), rows)
    missing = "".join(f" {name} was not measured: {why}." for name, why in field.missing.items())
    maker = "wrk"
    if shutil.which("wrk") is None:
        maker = "callers in Python, which saturate neither nginx nor Envoy"
    return (
        f"{told}\n\n1 KB of chat completion each way, kept connections, 25 % to the candidate; peers"
        f" without logs. Load for the second column: {maker}. The load average before was"
        f" {waiting:.1f} on {len(CORES)} cores, the direct p99"
        f" {field.median('', 'open', 'p99'):.2f} ms: above {QUIET_P99_MS} ms latency is not judged."
        f"{missing}"
    )


def _both(field: Field, name: str) -> str:
    return f"{field.median(name, 'open', 'p50'):.2f} / {field.median(name, 'open', 'p99'):.2f}"


def _not_measured(what: str, bar: str, why: str) -> Figure:
    return Figure(what, bar, "not measured", None, 0, note=why)


def loaded(kind: str, url: str, seconds: float, rate: float, one: Running | None) -> Seen:
    """One measurement, in a process of its own. Processor time is that of the very same span."""
    before = one.cpu_seconds() if one else 0.0
    wrk = shutil.which("wrk") if kind == "closed" else None
    seen = _by_wrk(wrk, url, seconds) if wrk else _by_callers(kind, url, seconds, rate)
    spent = (one.cpu_seconds() if one else 0.0) - before
    return Seen(**seen, cpu_seconds=spent)


def _by_callers(kind: str, url: str, seconds: float, rate: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", kind, url, str(seconds), str(rate)]
    return dict(json.loads(_told(command, seconds)))


def _by_wrk(wrk: str, url: str, seconds: float) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        script = Path(folder) / "ask.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = {json.dumps(ASKED.decode())}\n'
            'wrk.headers["Content-Type"] = "application/json"\n'
            "done = function(summary, latency)\n"
            "  local e = summary.errors\n"
            '  io.write(string.format("\\n%d %d %f %f", summary.requests,\n'
            "    e.connect + e.read + e.write + e.status + e.timeout,\n"
            "    latency:percentile(50) / 1000, latency:percentile(99) / 1000))\nend\n"
        )
        command = [wrk, "-t1", "-c32", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
        count, failed, p50, p99 = _told(command, seconds).rsplit("\n", 1)[1].split()
    return {"total": int(count), "failed": int(failed), "p50": float(p50), "p99": float(p99)}


def _told(command: list[str], seconds: float) -> str:
    with peers.started(command, core=CORES[0], told=subprocess.PIPE) as process:
        told, _ = process.communicate(timeout=seconds + 30)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return told
