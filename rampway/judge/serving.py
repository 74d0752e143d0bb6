"""The judge over HTTP: the counts of sealed slices, metrics, and whether it keeps up."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, TypeVar

import orjson
import structlog
from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from pydantic import BaseModel, Field, JsonValue, ValidationError

from rampway.judge.counts import AnswerCounts, SegmentCounts
from rampway.judge.judging import Judge
from rampway.judge.metrics import Page, Progress
from rampway.judge.store import Store

LOOK_EVERY_SECONDS = 0.1

Found = TypeVar("Found")


class Sight(StrEnum):
    """What came of the last look at a target's spool."""

    NONE_YET = "no look yet"
    BACKLOG = "reading a backlog"
    CAUGHT_UP = "caught up"
    FAILED = "failed"


class CountsAsked(BaseModel):
    """The query of `/v1/counts` and of `/v1/quality`."""

    target: str
    epoch: Annotated[int, Field(ge=0, lt=2**53)]
    segment: Annotated[int, Field(ge=0, lt=2**53)]


class Serving:
    """Looks at every target's spool, and answers from the same store.

    One thread does both: files and SQLite block, and the store is for one thread at a time.
    """

    def __init__(self, judges: Mapping[str, Judge], store: Store) -> None:
        self._judges = judges
        self._store = store
        self._sights = dict.fromkeys(judges, Sight.NONE_YET)
        self._progress = {target: Progress(judge) for target, judge in judges.items()}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge")
        self._metrics = CollectorRegistry()
        self._metrics.register(Page(self._progress, store))
        self._metrics.register(ProcessCollector(registry=None))

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/counts", self.counts)
        app.router.add_get("/v1/quality", self.quality)
        app.router.add_get("/v1/shadow", self.shadow)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/readyz", self.readiness)
        return app

    async def look_for_ever(self) -> None:
        while True:
            for target, judge in self._judges.items():
                sight = await self._in_thread(judge_sight(judge))
                self._sights[target] = sight
                self._progress[target].looked(sight.name.lower())
            if Sight.BACKLOG not in self._sights.values():
                await asyncio.sleep(LOOK_EVERY_SECONDS)

    def close(self) -> None:
        """Wait for the look that is under way, then let go of the thread."""
        self._thread.shutdown(wait=True)

    async def counts(self, request: web.Request) -> web.Response:
        """The joint scores of both answers to one request, of a segment that copies."""
        asked = self._asked(request)
        judge = self._judges[asked.target]
        grader = judge.docket.grader.fingerprint
        found = await self._in_thread(
            lambda: self._store.counts(
                asked.target, grader, epoch=asked.epoch, segment=asked.segment
            )
        )
        rows: list[JsonValue] = [
            {"i": one.i, "pairs": [list(pair) for pair in one.pairs], "lost": one.lost}
            for one in found.slices
        ]
        return _json(_body(asked, judge, found, rows))

    async def quality(self, request: web.Request) -> web.Response:
        """The scores of answers that users saw, per arm, of a segment with a share."""
        asked = self._asked(request)
        judge = self._judges[asked.target]
        grader = judge.docket.grader.fingerprint
        found = await self._in_thread(
            lambda: self._store.answers(
                asked.target, grader, epoch=asked.epoch, segment=asked.segment
            )
        )
        rows: list[JsonValue] = [
            {
                "i": one.i,
                "scores": [list(score) for score in one.scores],
                "unjudged": dict(asdict(one.unjudged)),
                "unanswered": dict(asdict(one.unanswered)),
            }
            for one in found.slices
        ]
        return _json(_body(asked, judge, found, rows))

    async def shadow(self, request: web.Request) -> web.Response:
        """How a target's shadow does right now, for people."""
        target = request.query.get("target", "")
        if target not in self._judges:
            raise self._unknown(target)
        figures = await self._in_thread(self._judges[target].figures)
        return _json({"target": target, **asdict(figures)})

    def _asked(self, request: web.Request) -> CountsAsked:
        """Raise the answer to a question that is wrong."""
        try:
            asked = CountsAsked.model_validate(dict(request.query))
        except ValidationError as error:
            first = error.errors()[0]
            raise _refusal(web.HTTPBadRequest, f"{first['loc'][0]}: {first['msg']}") from error
        if asked.target not in self._judges:
            raise self._unknown(asked.target)
        return asked

    def _unknown(self, target: str) -> web.HTTPClientError:
        known = ", ".join(self._judges)
        return _refusal(
            web.HTTPNotFound, f"This judge has no target {target!r}. It judges: {known}."
        )

    async def metrics(self, _request: web.Request) -> web.Response:
        text = await self._in_thread(lambda: generate_latest(self._metrics))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self, _request: web.Request) -> web.Response:
        """The process lives; whether it keeps up is `/readyz`."""
        return _json({"alive": True})

    async def readiness(self, _request: web.Request) -> web.Response:
        """503 while the end of a spool is not reached: nothing is sealed then."""
        caught_up = {name for name, sight in self._sights.items() if sight is Sight.CAUGHT_UP}
        ready = caught_up == set(self._judges)
        targets: dict[str, JsonValue] = dict(self._sights)
        return _json({"ready": ready, "targets": targets}, http_status=200 if ready else 503)

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def judge_sight(judge: Judge) -> Callable[[], Sight]:
    """A look that tells a full disk or a lost directory from a fault of ours.

    The former may pass and is tried again: until then nothing is sealed, so no gate can PASS on it.
    """

    def look() -> Sight:
        try:
            return Sight.CAUGHT_UP if judge.look() else Sight.BACKLOG
        except (OSError, sqlite3.OperationalError) as error:
            structlog.get_logger().error(
                "judge.look_failed", target=judge.docket.target, error=str(error)
            )
            return Sight.FAILED

    return look


def _body(
    asked: CountsAsked,
    judge: Judge,
    found: SegmentCounts | AnswerCounts,
    rows: list[JsonValue],
) -> dict[str, JsonValue]:
    grader = judge.docket.grader
    return {
        "target": asked.target,
        "epoch": asked.epoch,
        "segment": asked.segment,
        "slice_seconds": found.slice_seconds,
        "levels": grader.levels,
        "grader": grader.fingerprint,
        "sealed": found.sealed,
        "rows": rows,
    }


def _refusal(refused: type[web.HTTPClientError], why: str) -> web.HTTPClientError:
    return refused(body=orjson.dumps({"error": why}), content_type="application/json")


def _json(body: dict[str, JsonValue], *, http_status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=http_status, content_type="application/json"
    )
