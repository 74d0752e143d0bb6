"""Runs the rampway command in the test's process, and builds the releases and files it works on."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from clients.main import rampway
from rampway.adapters.registry_sql import SqlRegistry
from rampway.gates.facts import canonical
from rampway.gates.verdicts import Count, GateVerdict, StageVerdict, Verdict
from rampway.release.artifact import Artifact
from rampway.release.orders import Progress
from rampway.release.phases import Phase
from rampway.release.records import Target
from rampway.release.splits import Serve, Served
from rampway.release.template import init_spec
from support.record_builders import START, Kept

BASELINE = Artifact(prompt="You teach verbs.\n", model="provider-v4")


@dataclass
class Cli:
    """The command in a home of its own."""

    directory: Path

    @property
    def home(self) -> Path:
        return self.directory / "home"

    @property
    def registry_url(self) -> str:
        return f"sqlite:///{self.home / 'registry.db'}"

    def __call__(self, *args: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(rampway, args, input=typed, catch_exceptions=False)

    def json(self, *args: str) -> Any:  # noqa: ANN401 - any JSON
        """What stdout carries with --output json: one document and nothing else."""
        return json.loads(self(*args, "--output", "json").stdout)

    def keep(self, *kept: Kept) -> None:
        """Put releases, with all that their records name, into the registry."""

        async def work(registry: SqlRegistry) -> None:
            await registry.put("spec", canonical("spec"))
            for one in kept:
                for body in one.blobs.values():
                    await registry.put("blob", body)
                await registry.open_release(one.record.header)
                await registry.append(one.record.events)

        self.in_registry(work)

    def register(self, target: Target, baseline: Artifact = BASELINE) -> Served:
        """Register a target in the record alone: there is no gateway."""
        served = Served(artifact=baseline.digest, serve=Serve(upstream="provider"))

        async def work(registry: SqlRegistry) -> None:
            await registry.add_artifact(baseline.digest, baseline.content)
            await registry.set_target(target, served)

        self.in_registry(work)
        return served

    def in_registry(self, work: Callable[[SqlRegistry], Coroutine[Any, Any, None]]) -> None:
        self.home.mkdir(exist_ok=True)

        async def opened() -> None:
            registry = SqlRegistry.open(self.registry_url)
            try:
                await work(registry)
            finally:
                await registry.close()

        asyncio.run(opened())

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_spec(self, **changed: str) -> Path:
        """The release.yaml of `init` with its prompt, and some of its lines changed."""
        text = init_spec()
        for key, line in changed.items():
            before = next(row for row in text.splitlines() if row.strip().startswith(f"{key}:"))
            text = text.replace(before, line)
        self.write("prompts/tutor.md", "You teach verbs well.\n")
        return self.write("release.yaml", text)

    def write_results(self, name: str, right: Callable[[int], bool], cases: int = 2000) -> Path:
        """Eval results of one arm: case n is right where `right(n)`."""
        rows = [
            {
                "case_id": f"c{n}",
                "passed": right(n),
                "verb": f"v{n // 20}",
                "tense": f"t{n % 5}",
                "class": f"k{n % 3}",
                "grader": {"name": "set_match", "version": "1"},
            }
            for n in range(cases)
        ]
        return self.write(name, "\n".join(json.dumps(row) for row in rows))

    def write_safety(self, name: str, right: Callable[[int], bool]) -> Path:
        rows = [
            {"case_id": f"s{n}", "hard": True, "passed": right(n), "repeat": repeat}
            for n in range(20)
            for repeat in range(3)
        ]
        return self.write(name, "\n".join(json.dumps(row) for row in rows))


def looked(
    gate: str = "error",
    verdict: Verdict = Verdict.INCONCLUSIVE,
    *,
    bad: int = 15,
    units: int = 757,
    why: str = "",
) -> StageVerdict:
    """A look at 5 %."""
    found = GateVerdict(
        gate=gate,
        verdict=verdict,
        candidate=Count(bad=bad, units=units),
        baseline=Count(bad=154, units=14_208),
        breach_at=22,
        units_needed=2800,
    )
    return StageVerdict(
        stage="5 %",
        verdict=verdict,
        gates=(found,),
        seconds=300,
        exposed=units,
        seconds_to_go=1140,
        why=why,
    )


def progress(**changed: object) -> Progress:
    """Five minutes into the hold at 5 %."""
    told: dict[str, Any] = {
        "name": "grammar-tutor-41c0de",
        "phase": Phase.CANARY,
        "share_bp": 500,
        "step": "5 %",
        "line": "CANARY 5 %, hold until 00:49:08Z",
        "verdict": looked(),
        "evidence": "sha256:" + "e87b05" + "0" * 58,
        "passed": ("offline", "shadow", "1 %"),
        "stage_began_at": START,
        "hold_ends_at": START + timedelta(minutes=30),
        "deadline_at": START + timedelta(minutes=90),
        "events": 12,
        "recorded": 12,
        "owner": "tutor-dev",
    }
    return Progress.model_validate(told | changed)
