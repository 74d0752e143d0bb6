"""The demo: three real releases on real traffic, each to end as it must.

A grammar tutor answers behind the gateway. A better model climbs to all traffic; one with a slip is
refused by the offline gate; one that was clean offline fails on live traffic and is rolled back.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from pathlib import Path

from clients.client import Releases, Unanswered
from clients.dev import GatewayConfig, LocalStack, keep_config, local_stack
from clients.dossiers import read_blobs
from clients.processes import DidNotStart, Program
from clients.releasing import make_draft, make_order, pair_cases, start_release
from clients.tutor.cases import write_gold
from clients.tutor.variants import Variant
from rampway.ports import Unreachable
from rampway.release.artifact import Artifact
from rampway.release.orders import Outcome, Progress, ReleaseOrder
from rampway.release.phases import Phase
from rampway.release.splits import Serve, Served
from rampway.release.template import demo_spec, demo_target
from rampway.reports.dossier import Dossier, assemble
from rampway.reports.markdown import release_markdown
from rampway.reports.page import release_html
from rampway.reports.verification import Verification, verify
from workers.connection import connect
from workers.settings import EvidenceFrom, read_settings
from workers.wiring import Ports, open_ports

TARGET = "grammar-tutor"
REQUESTS_PER_SECOND = 160
LOAD_SECONDS_MAX = 300  # the load ends by itself, whatever happens to us
WARM_UNITS = 500  # what a frozen latency threshold needs on the demo target
RELEASE_SECONDS_MAX = 150
POLL_SECONDS = 0.25
SCRAPE_SECONDS = 0.4  # at least twice in each of the demo's slices
PROCESSES = 2  # of the gateway, where evidence comes through Prometheus


class DemoFailed(Exception):
    """A release of the demo did not end as it must, or not in time."""


@dataclass(frozen=True)
class Scene:
    """One release of the demo: who stands for what, and how it must end."""

    variant: Variant
    against: Variant
    must_end: Phase
    tells: str


SCENES = (
    Scene(Variant.MODEL, Variant.NAIVE, Phase.PROMOTED, "a better model"),
    Scene(Variant.SLIP, Variant.MODEL, Phase.REJECTED, "one tense got worse"),
    Scene(Variant.FLAKY, Variant.MODEL, Phase.ROLLED_BACK, "clean offline, fails on live traffic"),
)


@dataclass
class Shown:
    """One finished release of the demo, with what the record says of it."""

    scene: Scene
    outcome: Outcome
    dossier: Dossier
    verification: Verification
    report: Path
    workflow_id: str

    @property
    def as_it_must(self) -> bool:
        """Whether it ended right, and the record agrees."""
        return self.outcome.phase is self.scene.must_end and self.verification.verified


@dataclass
class Demo:
    """A whole run; `tell` gets one line per change of a release."""

    home: Path
    tell: Callable[[str, Progress], None]
    note: Callable[[str], None]
    ports: Mapping[str, int] | None = None
    evidence: EvidenceFrom = EvidenceFrom.GATEWAY
    shown: list[Shown] = field(default_factory=list[Shown])
    stack: LocalStack | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.exam = _Exam(self.home / "exam")
        self._began = 0.0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Everything that the releases need, running; all of it stopped afterwards."""
        self._began = time.monotonic()
        _start_afresh(self.home)
        async with contextlib.AsyncExitStack() as stage:
            tutors, _ = await asyncio.gather(
                stage.enter_async_context(_tutors(self.home)), self.exam.write()
            )
            config = GatewayConfig(upstreams=tutors, gold={TARGET: self.exam.gold}, judge_seconds=1)
            if self.evidence is EvidenceFrom.PROMETHEUS:
                several = {"processes": PROCESSES, "scrape_seconds": SCRAPE_SECONDS}
                config = config.model_copy(update=several)
            keep_config(self.home, config)
            self.stack = await stage.enter_async_context(
                local_stack(self.home, config, environment="demo", ports=self.ports)
            )
            yield

    async def play(self) -> None:
        """Play the three releases on live traffic."""
        if self.stack is None:
            raise DemoFailed("the demo's stack is not open")
        stack = self.stack.stack
        async with (
            open_ports(read_settings(stack.environ)) as ports,
            load(self.home, stack.gateway_data_url),
        ):
            self.note(f"Temporal {stack.ui_url}   {REQUESTS_PER_SECOND} requests/s on {TARGET}")
            await register(ports)
            await until_warm(ports)
            releases = Releases(await connect(stack.environ))
            for scene in SCENES:
                self.shown.append(await self._play(scene, ports, releases))
        self.seconds = time.monotonic() - self._began

    @property
    def all_as_they_must(self) -> bool:
        """Whether all three releases ended right."""
        return len(self.shown) == len(SCENES) and all(shown.as_it_must for shown in self.shown)

    async def _play(self, scene: Scene, ports: Ports, releases: Releases) -> Shown:
        order = await self.order(scene, ports)
        await start_release(order, ports.registry, releases)
        try:
            async with asyncio.timeout(RELEASE_SECONDS_MAX):
                outcome = await self._follow(order, releases)
        except TimeoutError:
            raise DemoFailed(
                f"{order.header.name} did not end in {RELEASE_SECONDS_MAX} s; "
                f"logs are in {self.home / 'logs'}"
            ) from None
        return await self._conclude(scene, order, outcome, ports)

    async def order(
        self,
        scene: Scene,
        ports: Ports,
        *,
        attempt: int = 1,
        changed: Mapping[str, str] | None = None,
    ) -> ReleaseOrder:
        """The order of one release; `changed` replaces text of its release.yaml."""
        path = self.home / f"{scene.variant}.release.yaml"
        text = demo_spec(
            target=TARGET,
            model=_model(scene.variant),
            upstream=_model(scene.variant),
            cases="exam/gold.jsonl",
            cluster="verb",
            safety_cases="exam/gold.jsonl",
            fields={},
        )
        for before, after in (changed or {}).items():
            text = text.replace(before, after)
        path.write_text(text)
        draft = await make_draft(path, ports.registry)
        cases = await pair_cases(
            draft,
            self.exam.results(scene.against),
            self.exam.results(scene.variant),
            self.exam.safety(scene.against),
            self.exam.safety(scene.variant),
        )
        return await make_order(
            draft,
            cases,
            ports.registry,
            actor="demo",
            environment="demo",
            attempt=attempt,
            report_url=(self.home / "reports").as_uri(),
        )

    async def _follow(self, order: ReleaseOrder, releases: Releases) -> Outcome:
        ending = asyncio.create_task(releases.outcome(order.header.workflow_id))
        told = ""
        while not ending.done():
            with contextlib.suppress(Unanswered):
                progress = await releases.progress(order.header.workflow_id)
                if progress.line != told:
                    told = progress.line
                    self.tell(order.header.name, progress)
            await asyncio.wait([ending], timeout=POLL_SECONDS)
        with contextlib.suppress(Unanswered):
            self.tell(order.header.name, await releases.progress(order.header.workflow_id))
        return ending.result()

    async def _conclude(
        self, scene: Scene, order: ReleaseOrder, outcome: Outcome, ports: Ports
    ) -> Shown:
        record = await ports.registry.release(order.header.release)
        blobs = await read_blobs(ports.registry, record)
        dossier = assemble(record, blobs)
        reports = self.home / "reports"
        reports.mkdir(exist_ok=True)
        page = reports / f"{order.header.name}.html"
        page.write_text(release_html(dossier, UTC))
        page.with_suffix(".md").write_text(release_markdown(dossier))
        return Shown(
            scene=scene,
            outcome=outcome,
            dossier=dossier,
            verification=verify(record, blobs),
            report=page,
            workflow_id=order.header.workflow_id,
        )


class _Exam:
    """The demo's evals: every variant's answers to all cases, graded, and the gold they share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.gold = directory / "gold.jsonl"

    def results(self, variant: Variant) -> Path:
        return self.directory / f"{variant}.jsonl"

    def safety(self, variant: Variant) -> Path:
        return self.directory / f"{variant}-safety.jsonl"

    async def write(self) -> None:
        """Put every variant through the exam, two at a time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(write_gold, self.gold)
        two = asyncio.Semaphore(2)
        async with asyncio.TaskGroup() as group:
            for variant in Variant:
                group.create_task(self._examine(variant, two))

    async def _examine(self, variant: Variant, two: asyncio.Semaphore) -> None:
        async with two:
            program = Program(
                f"exam-{variant}",
                [
                    *(sys.executable, "-m", "clients.tutor.answers", "--variant", variant.value),
                    *("--out", str(self.results(variant))),
                    *("--safety-out", str(self.safety(variant))),
                ],
                self.directory / f"{variant}.log",
            )
            await program.start()
            if await program.ended() != 0:
                raise DidNotStart(f"{program.name} failed.\n{program.last_lines()}")


@contextlib.asynccontextmanager
async def _tutors(home: Path) -> AsyncGenerator[dict[str, str]]:
    """The tutors that will serve, each a real HTTP server; their addresses by upstream name."""
    serving = [Variant.NAIVE, Variant.MODEL, Variant.SLIP, Variant.FLAKY]
    programs = {variant: _tutor(home, variant) for variant in serving}
    try:
        await asyncio.gather(
            *(
                program.start(partial(_is_there, _ready_file(home, variant)))
                for variant, program in programs.items()
            )
        )
        yield {
            _model(variant): json.loads(_ready_file(home, variant).read_text())["url"]
            for variant in serving
        }
    finally:
        await asyncio.gather(*(program.stop() for program in programs.values()))


def _tutor(home: Path, variant: Variant) -> Program:
    argv = [
        *(sys.executable, "-m", "clients.tutor.server", "--variant", variant.value),
        *("--ready-file", str(_ready_file(home, variant))),
    ]
    return Program(f"tutor-{variant}", argv, home / "logs" / f"tutor-{variant}.log")


def _ready_file(home: Path, variant: Variant) -> Path:
    return home / f"tutor-{variant}.json"


async def _is_there(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


@contextlib.asynccontextmanager
async def load(home: Path, gateway: str) -> AsyncGenerator[None]:
    """Users: a bounded, open-loop stream of questions through the gateway."""
    argv = [
        *(sys.executable, "-m", "clients.tutor.load"),
        *("--url", f"{gateway}/{TARGET}/v1/conjugate"),
        *("--rate", str(REQUESTS_PER_SECOND), "--seconds", str(LOAD_SECONDS_MAX)),
    ]
    program = Program("load", argv, home / "logs" / "load.log")
    try:
        await program.start()
        yield
    finally:
        await program.stop()


async def register(ports: Ports) -> None:
    """The target, serving tutor A."""
    artifact = Artifact(model=_model(Variant.NAIVE))
    baseline = Served(artifact=artifact.digest, serve=Serve(upstream=_model(Variant.NAIVE)))
    target = demo_target(TARGET)
    await ports.registry.add_artifact(artifact.digest, artifact.content)
    await ports.registry.set_target(target, baseline)
    await ports.traffic.add_target(target, baseline)


async def until_warm(ports: Ports) -> None:
    """Wait until enough of the baseline was seen for thresholds to be frozen from it."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unreachable):
                seen = await ports.evidence.baseline(target=TARGET, last_units=WARM_UNITS)
                if seen.units >= WARM_UNITS:
                    return
            await asyncio.sleep(POLL_SECONDS)


def _start_afresh(home: Path) -> None:
    """Remove what an earlier demo left; only ever a demo's own directory."""
    if home.exists() and not (home / ".demo").exists() and any(home.iterdir()):
        raise DemoFailed(f"{home} is not a demo's directory. Next: rampway --home DIRECTORY demo")
    shutil.rmtree(home, ignore_errors=True)
    (home / "logs").mkdir(parents=True)
    (home / ".demo").touch()


def _model(variant: Variant) -> str:
    return f"tutor-{variant}"
