"""A grammar tutor as a real HTTP server: `POST /v1/conjugate`, and `/healthz`.

`python -m clients.tutor.server --variant b --port 0 --ready-file tutor.json`
"""

import argparse
import asyncio
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from clients.tutor.cases import Person, Question, Tense
from clients.tutor.variants import Variant, answer, warm

# Every variant answers after 15 ms and an exponential wait of mean 15 ms, whatever it computes: the
# long tail keeps a millisecond of scheduling from looking like a slower candidate (1 ms moves the
# odds of being over the p95 by 1.07).
SERVICE_FLOOR_SECONDS = 0.015
SERVICE_TAIL_SECONDS = 0.015

FLAKY_FAILURE_SHARE = 0.5
FLAKY_EXTRA_SECONDS = 0.25
SHADOW_HEADER = "X-Rampway-Shadow"

REQUEST_BYTES_MAX = 16 * 1024
DRAIN_SECONDS_MAX = 1.0


class Asked(BaseModel):
    """The body of a request. A `case_id` is for the judge; the tutor does not look at it."""

    case_id: str | None = None
    verb: Annotated[str, Field(pattern="^[a-z]{1,32}$")]
    tense: Tense
    person: Person


@dataclass(frozen=True)
class Serving:
    """How one request is served: how long it takes, and whether it then fails."""

    seconds: float
    fails: bool = False


class Tutor:
    """One variant behind HTTP. The dice are its own, so that a test can throw them."""

    def __init__(self, variant: Variant, dice: random.Random) -> None:
        self._variant = variant
        self._dice = dice

    def app(self) -> web.Application:
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.router.add_post("/v1/conjugate", self.conjugate)
        app.router.add_get("/healthz", self.health)
        return app

    async def conjugate(self, request: web.Request) -> web.Response:
        began = asyncio.get_running_loop().time()
        serving = self._serving(shadow=SHADOW_HEADER in request.headers)
        try:
            asked = Asked.model_validate_json(await request.read())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            return _json({"error": f"{where}: {first['msg']}"}, status=400)
        text = answer(self._variant, Question(asked.verb, asked.tense, asked.person))
        elapsed = asyncio.get_running_loop().time() - began
        await asyncio.sleep(max(0.0, serving.seconds - elapsed))
        if serving.fails:
            return _json({"error": "the tutor lost its thread"}, status=500)
        return _json({"answer": text, "model": f"tutor-{self._variant.value}"})

    async def health(self, _request: web.Request) -> web.Response:
        return _json({"serving": self._variant.value})

    def _serving(self, *, shadow: bool) -> Serving:
        seconds = SERVICE_FLOOR_SECONDS + self._dice.expovariate(1 / SERVICE_TAIL_SECONDS)
        if self._variant is not Variant.FLAKY or shadow:
            return Serving(seconds)
        if self._dice.random() < FLAKY_FAILURE_SHARE:
            return Serving(seconds, fails=True)
        return Serving(seconds + FLAKY_EXTRA_SECONDS)


async def serve(tutor: Tutor, *, host: str, port: int, ready_file: Path | None) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; the ready file then says which."""
    runner = web.AppRunner(tutor.app(), access_log=None, shutdown_timeout=DRAIN_SECONDS_MAX)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        bound_port: int = runner.addresses[0][1]
        if ready_file:
            _announce(ready_file, host=host, port=bound_port)
        await stop.wait()
    finally:
        await runner.cleanup()


def _announce(ready_file: Path, *, host: str, port: int) -> None:
    facts = {"url": f"http://{host}:{port}", "host": host, "port": port, "pid": os.getpid()}
    written = ready_file.with_name(ready_file.name + ".part")
    written.write_bytes(orjson.dumps(facts))
    written.replace(ready_file)


def _json(body: dict[str, str], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clients.tutor.server", description=__doc__)
    parser.add_argument("--variant", type=Variant, choices=list(Variant), required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--ready-file", type=Path, help="written as JSON once the tutor listens")
    options = parser.parse_args()
    warm(options.variant)
    tutor = Tutor(options.variant, random.Random())  # noqa: S311 - service times, not secrets
    asyncio.run(serve(tutor, host=options.host, port=options.port, ready_file=options.ready_file))


if __name__ == "__main__":
    main()
