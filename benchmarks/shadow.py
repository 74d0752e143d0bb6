"""What a shadow costs the callers: their tail with every request copied minus without, by what the candidate does.

Each state has a target that copies to it and one that does not, on one gateway, measured in turns; the
gateway is on one core, load and model servers on another. On a busy machine only failed and altered
answers and memory are judged.
"""

import json
import os
import re
import signal
import statistics
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks import peers
from benchmarks.crews import Crew, say
from benchmarks.figures import Figure, Section
from benchmarks.origin import FLOODS, HANGS
from benchmarks.peers import Running
from benchmarks.proxy import QUIET_P99_MS, TOO_BUSY, Seen, loaded

SECONDS: Final = 3.0  # of each measurement
ROUNDS: Final = 5
RATE: Final = 500
P99_BAR_MS: Final = 0.4
GROWTH_BAR_MIB: Final = 24.0
_OWN_P99_MS: Final = 1.0  # that the gateway itself may add without the machine being called busy
# What the candidate does, and how its model server is started; one that is dead is not.
STATES: Final = {
    "well": "0",
    "dead": None,
    "slow": "1",
    "hanging": HANGS,
    "flooding": FLOODS,
    "stopped": "0",  # by SIGSTOP, as soon as it listens
}
# So that each copy is sent, and waits: with it nearly all are held back after the first twenty.
WITHOUT_BREAKER: Final = "[shadow]\nbreaker_failures = 10000000\n"
_KEPT: Final = "with its breaker"
_MISSING: Final = re.compile(
    r'^rampway_gateway_shadow_missing_total\{target="([^"]+)",reason="([^"]+)"\} (\d+)$',
    re.MULTILINE,
)


@dataclass
class Compared:
    """One state of the candidate: pairs of measurements, without and with copies."""

    state: str
    pairs: list[tuple[Seen, Seen]] = field(default_factory=list[tuple[Seen, Seen]])
    grown_mib: float = 0.0
    missing: str = ""

    def added(self, what: str) -> float:
        """The median difference that copying makes to a measure: ms, or us of the gateway's processor time."""
        added = (getattr(on, what) - getattr(off, what) for off, on in self.pairs)
        return float(statistics.median(added))

    @property
    def failed(self) -> int:
        return sum(off.failed + on.failed for off, on in self.pairs)

    @property
    def is_quiet(self) -> bool:
        """Can latency be judged at all?"""
        own = statistics.median(off.p99 for off, _ in self.pairs)
        return own <= QUIET_P99_MS + _OWN_P99_MS


def measure(crew: Crew) -> Section:
    """All states with the breaker, then those that hang without it; some five minutes."""
    say("shadow")
    waiting = os.getloadavg()[0]
    seconds = max(1.0, SECONDS * min(1.0, crew.scale * 20))
    rounds = crew.runs(ROUNDS, least=1)
    figures: list[Figure] = []
    for name, settings, states in (
        (_KEPT, "", tuple(STATES)),
        ("without a breaker", WITHOUT_BREAKER, ("hanging", "stopped")),
    ):
        with TemporaryDirectory() as folder:
            for one in _compared(Path(folder), settings, states, seconds, rounds):
                figures += [_tail(one, name), _growth(one, name)]
    beside = (
        f"{RATE} requests/s at random moments, 1 KB each way, every request copied. The load average"
        f" before was {waiting:.1f} on {len(peers.CORES)} cores. Memory is the gateway's, from the"
        " state's first copy to its last; units that are remembered are among it."
    )
    return Section("The shadow, by what the candidate does", tuple(figures), beside)


def _compared(
    folder: Path, settings: str, states: tuple[str, ...], seconds: float, rounds: int
) -> list[Compared]:
    with ExitStack() as parts:
        running, admin = _started(parts, folder, settings, states)
        compared = [Compared(state) for state in states]

        def ask(target: str) -> Seen:
            say(f"shadow: {target}", end="\r")
            url = running.url.replace(f"/{peers.TARGET}/", f"/{target}/")
            return loaded("exact", url, seconds, RATE, running)

        ask(f"{states[0]}-off")  # what the first requests load is no growth by a shadow
        for _ in range(rounds):
            for one in compared:
                off, before = ask(f"{one.state}-off"), _resident_mib(running.pid)
                on = ask(f"{one.state}-on")
                one.pairs.append((off, on))
                one.grown_mib = max(one.grown_mib, _resident_mib(running.pid) - before)
        missing = _missing(admin)
        for one in compared:
            one.missing = missing.get(f"{one.state}-on", "none missing")
    return compared


def _started(
    parts: ExitStack, folder: Path, settings: str, states: tuple[str, ...]
) -> tuple[Running, str]:
    """A gateway with two targets for each state, and the address of its admin API."""
    ports = {"b": peers.free_port(), "a": parts.enter_context(peers.origin())[0]}
    for state in states:
        manner = STATES[state]
        if manner is None:
            ports[state] = peers.free_port()
            continue
        ports[state], pid = parts.enter_context(peers.origin(manner))
        if state == "stopped":
            os.kill(pid, signal.SIGSTOP)
    running = parts.enter_context(peers.gateway(folder, ports, settings))
    address = json.loads((folder / "state" / "gateway.json").read_text())
    admin = f"http://127.0.0.1:{address['admin_port']}"
    for state in states:
        peers.split(f"{admin}/v1/targets", f"{state}-on", candidate=state, shadow_bp=10_000)
        peers.split(f"{admin}/v1/targets", f"{state}-off", candidate=state)
    return running, admin


def _tail(one: Compared, name: str) -> Figure:
    judged = one.is_quiet or one.failed > 0
    added = one.added("p99")
    return Figure(
        what=f"candidate {one.state}, {name}: caller's p99 with copies minus without",
        bar=f"≤ {P99_BAR_MS:g} ms, 0 failed or altered",
        measured=f"{added:+.2f} ms (p50 {one.added('p50'):+.2f}), {one.failed} failed or altered;"
        f" {one.added('cpu_us'):+.0f} us of processor time a request",
        met=(added <= P99_BAR_MS and one.failed == 0) if judged else None,
        runs=len(one.pairs),
        note=one.missing if one.is_quiet else f"{one.missing}; {TOO_BUSY}",
    )


def _growth(one: Compared, name: str) -> Figure:
    return Figure(
        what=f"candidate {one.state}, {name}: memory that the gateway grew by",
        bar=f"≤ {GROWTH_BAR_MIB:g} MiB",
        measured=f"{one.grown_mib:.1f} MiB",
        met=one.grown_mib <= GROWTH_BAR_MIB,
        runs=len(one.pairs),
    )


def _missing(admin: str) -> dict[str, str]:
    """Why copies are missing, by target: what a figure means depends on how many were sent."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        page = answer.read().decode()
    told: dict[str, list[str]] = {}
    for target, reason, count in _MISSING.findall(page):
        told.setdefault(target, []).append(f"{reason} {int(count):,}")
    return {target: ", ".join(reasons) for target, reasons in told.items()}


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell a process's memory")
