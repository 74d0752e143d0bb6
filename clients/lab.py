"""The lab: shadow and A/B requests through a real gateway, whose log of answers is then compared.

Two grammar tutors answer on loopback. Nothing decides here and nothing is promoted: it is about what
a log of traffic can say.
"""

import asyncio
import json
import random
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from clients.comparing import Question
from clients.grading import GraderSpec
from clients.processes import Program
from clients.tutor.cases import Question as Asked
from clients.tutor.cases import questions, write_gold
from clients.tutor.variants import Variant
from rampway.adapters.traffic_gateway import GatewayTraffic
from rampway.judge.graders import SetMatch
from rampway.release.artifact import Artifact
from rampway.release.splits import Ending, Serve, Served, Token
from rampway.release.template import demo_target

TARGET = "lab-tutor"
RELEASE = "lab"
ALL_BP = 10_000
HALF_BP = 5_000
LEASE_SECONDS = 60.0
TOGETHER = 8  # requests in flight
REPLAYED = 20
LINES_POLLS_MAX = 300  # 15 s
HTTP_SECONDS = 5.0
POLL_SECONDS = 0.05
# What a request would cost, so that the report has a cost; the tutors cost nothing.
MADE_UP_PRICES = {"baseline": 0.0004, "candidate": 0.0009}
ARMS = {"baseline": Variant.NAIVE, "candidate": Variant.MODEL}


class LabFailed(Exception):
    """The gateway did not do what the lab is there to show."""


@dataclass
class Lab:
    """One run in its own directory; `note` gets one line per thing that was done."""

    directory: Path
    requests: int
    seed: int
    note: Callable[[str], None]
    arm_of: dict[str, str] = field(default_factory=dict[str, str])  # request id -> who answered
    replayed: int = 0

    @property
    def log(self) -> Path:
        """The log that is compared."""
        return self.directory / "traffic.log"

    @property
    def gold(self) -> Path:
        """The accepted answers."""
        return self.directory / "gold.jsonl"

    @property
    def question(self) -> Question:
        """What `rampway compare` is asked about the log."""
        return Question(
            log=self.log,
            grader=GraderSpec(SetMatch.name, self.gold),
            by=("tense", "person", "verb"),
            price=MADE_UP_PRICES,
            seeds={"questions": str(self.seed)},
        )

    async def play(self) -> None:
        """Start all, play both kinds of requests, keep the log, replay some ids, stop all.

        Raises LabFailed, DidNotStart, Refused, Unreachable or LexiconMissing.
        """
        _start_afresh(self.directory)
        await asyncio.to_thread(write_gold, self.gold)
        dice = random.Random(self.seed)  # noqa: S311 - which questions are asked, not a secret
        asked = dice.choices(questions(), k=2 * self.requests)
        async with AsyncExitStack() as stage:
            gateway = await stage.enter_async_context(_gateway(self.directory))
            await self._play(gateway, asked)

    async def _play(self, gateway: "_Gateway", asked: Sequence[Asked]) -> None:
        async with gateway.admin() as http:
            traffic = GatewayTraffic(http)
            token = await _claim(traffic)
            token = await self._shadow(traffic, gateway, token, asked[: self.requests])
            token = await self._ab(traffic, gateway, token, asked[self.requests :])
            await self._keep_log(gateway)
            await self._replay(gateway, asked[self.requests :])
        await gateway.restart()
        await self._replay(gateway, asked[self.requests :])
        self.note(
            f"{self.replayed} answers to {REPLAYED} replayed request ids, before and after a restart of "
            "the gateway: each from the arm of the first time."
        )
        async with gateway.admin() as http:
            traffic = GatewayTraffic(http)
            await traffic.end(token, ending=Ending.ROLLED_BACK, op_id="lab/end")

    async def _shadow(
        self, traffic: GatewayTraffic, gateway: "_Gateway", token: Token, asked: Sequence[Asked]
    ) -> Token:
        token = token.model_copy(update={"sequence": 1})
        await traffic.shadow(token, rate_bp=ALL_BP, ttl_seconds=LEASE_SECONDS, op_id="lab/shadow")
        await _ask_all(gateway.data_url, {_shadow_id(n): one for n, one in enumerate(asked)})
        await self._until_lines(gateway, len(asked))
        self.note(f"{len(asked)} requests answered by the baseline and copied to the candidate.")
        return token

    async def _ab(
        self, traffic: GatewayTraffic, gateway: "_Gateway", token: Token, asked: Sequence[Asked]
    ) -> Token:
        token = token.model_copy(update={"sequence": 2})
        await traffic.set_share(token, share_bp=HALF_BP, ttl_seconds=LEASE_SECONDS, op_id="lab/ab")
        ids = {_ab_id(n): one for n, one in enumerate(asked)}
        self.arm_of = await _ask_all(gateway.data_url, ids)
        await self._until_lines(gateway, 2 * len(asked))
        candidates = sum(model == _model("candidate") for model in self.arm_of.values())
        self.note(f"{len(asked)} requests split 50/50: {candidates} went to the candidate.")
        return token

    async def _until_lines(self, gateway: "_Gateway", lines: int) -> None:
        """Wait until the gateway has written as many lines; it writes them just behind the answers."""
        found, polls = _count_lines(gateway.answers), 0
        while found < lines and polls < LINES_POLLS_MAX:
            await asyncio.sleep(POLL_SECONDS)
            found, polls = _count_lines(gateway.answers), polls + 1
        if found != lines:
            raise LabFailed(
                f"{gateway.answers} has {found} lines, not {lines}. Logs are in "
                f"{self.directory / 'logs'}"
            )

    async def _keep_log(self, gateway: "_Gateway") -> None:
        """The log as it is now: what is replayed later is no new unit and would only be told of."""
        await asyncio.to_thread(shutil.copyfile, gateway.answers, self.log)

    async def _replay(self, gateway: "_Gateway", asked: Sequence[Asked]) -> None:
        """Ask the first ids again. Raises LabFailed when one of them changed its arm."""
        ids = {_ab_id(n): one for n, one in enumerate(asked[:REPLAYED])}
        again = await _ask_all(gateway.data_url, ids)
        moved = [name for name, arm in again.items() if arm != self.arm_of[name]]
        if moved:
            raise LabFailed(f"These request ids changed their arm: {', '.join(moved)}")
        self.replayed += len(again)


@dataclass
class _Gateway:
    """The gateway in a process of its own."""

    directory: Path
    program: Program

    @property
    def state_dir(self) -> Path:
        return self.directory / "gateway"

    @property
    def answers(self) -> Path:
        return self.state_dir / f"answers-{TARGET}.jsonl"

    @property
    def data_url(self) -> str:
        address = self._address()
        return f"http://{address['data_host']}:{address['data_port']}"

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[httpx.AsyncClient]:
        address = self._address()
        base = f"http://{address['admin_host']}:{address['admin_port']}"
        async with httpx.AsyncClient(base_url=base, timeout=HTTP_SECONDS) as http:
            yield http

    async def start(self) -> None:
        (self.state_dir / "gateway.json").unlink(missing_ok=True)  # it tells when both listen
        await self.program.start(partial(_is_there, self.state_dir / "gateway.json"))

    async def restart(self) -> None:
        await self.program.stop()
        await self.start()

    def _address(self) -> dict[str, str | int]:
        address: dict[str, str | int] = json.loads((self.state_dir / "gateway.json").read_bytes())
        return address


@asynccontextmanager
async def _gateway(directory: Path) -> AsyncGenerator[_Gateway]:
    """A gateway before two tutors, all on free ports of loopback; stopped in reverse order."""
    async with AsyncExitStack() as stage:
        upstreams = await stage.enter_async_context(_tutors(directory))
        settings = directory / "gateway.toml"
        settings.write_text(_settings(directory, upstreams))
        program = Program(
            "gateway",
            [sys.executable, "-m", "rampway.gateway"],
            directory / "logs" / "gateway.log",
            {"RAMPWAY_GATEWAY_CONFIG": str(settings), "RAMPWAY_GATEWAY_TOKEN": ""},
        )
        stage.push_async_callback(program.stop)
        gateway = _Gateway(directory, program)
        await gateway.start()
        yield gateway


def _settings(directory: Path, upstreams: dict[str, str]) -> str:
    lines = [
        f"state_dir = {json.dumps(str(directory / 'gateway'))}",
        "data_port = 0",
        "admin_port = 0",
        "[capture]",
        "answers = true",
        f'[capture.bodies."{TARGET}"]',
        'request = [""]',
        'answer = [""]',
    ]
    for name, url in upstreams.items():
        lines += [f'[upstreams."{name}"]', f"url = {json.dumps(url)}"]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def _tutors(directory: Path) -> AsyncGenerator[dict[str, str]]:
    """Both tutors; their addresses by upstream name."""
    ready = {arm: directory / f"{_model(arm)}.json" for arm in ARMS}
    programs = {
        arm: Program(
            _model(arm),
            [
                *(sys.executable, "-m", "clients.tutor.server", "--variant", ARMS[arm].value),
                *("--ready-file", str(ready[arm])),
            ],
            directory / "logs" / f"{_model(arm)}.log",
        )
        for arm in ARMS
    }
    try:
        await asyncio.gather(
            *(program.start(partial(_is_there, ready[arm])) for arm, program in programs.items())
        )
        yield {_model(arm): json.loads(ready[arm].read_bytes())["url"] for arm in ARMS}
    finally:
        await asyncio.gather(*(program.stop() for program in programs.values()))


async def _claim(traffic: GatewayTraffic) -> Token:
    baseline, candidate = _served("baseline"), _served("candidate")
    await traffic.add_target(demo_target(TARGET), baseline)
    return await traffic.claim(
        target=TARGET,
        release=RELEASE,
        baseline=baseline,
        candidate=candidate,
        ttl_seconds=LEASE_SECONDS,
        op_id="lab/claim",
    )


async def _ask_all(data_url: str, asked: dict[str, Asked]) -> dict[str, str]:
    """Put the questions, a few at a time; who answered each, as the tutor names itself."""
    together = asyncio.Semaphore(TOGETHER)
    async with httpx.AsyncClient(base_url=data_url, timeout=HTTP_SECONDS) as http:

        async def ask(name: str, one: Asked) -> str:
            async with together:
                answer = await http.post(
                    f"/{TARGET}/v1/conjugate",
                    json={
                        "case_id": one.case_id,
                        "verb": one.verb,
                        "tense": one.tense,
                        "person": one.person,
                    },
                    headers={"x-request-id": name},
                )
            return str(answer.json().get("model", answer.status_code))

        return dict(
            zip(asked, await asyncio.gather(*(ask(*item) for item in asked.items())), strict=True)
        )


def _start_afresh(directory: Path) -> None:
    """Remove what an earlier lab left; only ever a lab's own directory."""
    if directory.exists() and not (directory / ".lab").exists() and any(directory.iterdir()):
        raise LabFailed(f"{directory} is not a lab's directory. Next: rampway --home DIRECTORY lab")
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "logs").mkdir(parents=True)
    (directory / ".lab").touch()


def _served(arm: str) -> Served:
    name = _model(arm)
    return Served(artifact=Artifact(model=name).digest, serve=Serve(upstream=name))


def _model(arm: str) -> str:
    return f"tutor-{ARMS[arm].value}"


def _shadow_id(number: int) -> str:
    return f"lab-shadow-{number:04}"


def _ab_id(number: int) -> str:
    return f"lab-ab-{number:04}"


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def _is_there(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)
