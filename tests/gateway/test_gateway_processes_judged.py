"""What several processes copy and sample reaches the judge's counts exactly, also when one is killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rampway.judge.graders import Gold, SetMatch
from rampway.judge.judging import Docket, Judge
from rampway.judge.store import Store
from support.gateway_process import TARGET, DataPlane, Heard, data_plane, eventually, true

WORKERS = 2
ASKED = 45
SLICE_SECONDS = 1.0
GRADER = SetMatch(Gold({"went": frozenset({"went"})}, case_by_key={}))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "counts.sqlite3")
    yield store
    store.close()


async def answers_rightly(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"answer": "went"})


async def answers_wrongly(_heard: Heard) -> web.StreamResponse:
    return web.json_response({"answer": "goed"})


async def hangs(_heard: Heard) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


async def ask(plane: DataPlane, unit: str) -> None:
    """Over any connection: forty-five at a time reach all workers."""
    headers = {"x-request-id": unit, "connection": "close"}
    async with plane.http.post(plane.url(), json={"case_id": "went"}, headers=headers) as answer:
        await answer.read()


async def ask_many(plane: DataPlane, name: str = "u") -> None:
    await asyncio.gather(*(ask(plane, f"{name}{n}") for n in range(ASKED)), return_exceptions=True)


def lines(plane: DataPlane, kind: str) -> list[dict[str, Any]]:
    return [x for x in plane.gateway.lines(f"spool-{TARGET}.jsonl") if x["kind"] == kind]


async def marked(plane: DataPlane, kind: str, field: str, total: int) -> list[dict[str, Any]]:
    """The marks of a kind, when they tell of so many requests."""

    async def all_told() -> list[dict[str, Any]] | None:
        found = lines(plane, kind)
        return found if sum(mark[field] for mark in found) >= total else None

    return await eventually(all_told, seconds=20)


def judge(plane: DataPlane, store: Store) -> Judge:
    docket = Docket(TARGET, GRADER, judge_seconds=0.0)
    return Judge(docket, plane.gateway.state_dir, store, lambda: 1e12)


async def test_pairs_of_all_workers_come_to_the_judges_counts_none_before_all_its_lines(
    store: Store,
) -> None:
    async with data_plane(
        a=answers_rightly, b=answers_wrongly, settings=f"processes = {WORKERS}"
    ) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)

        for n in range(3):
            await ask_many(plane, f"u{n}-")
        marks = await marked(plane, "mark", "copied", 3 * ASKED)

        assert [mark["i"] for mark in marks] == list(range(len(marks)))
        assert all(mark["missing"] == {} for mark in marks)
        in_order = plane.gateway.lines(f"spool-{TARGET}.jsonl")
        seen: dict[int, int] = {}
        for line in in_order:
            if line["kind"] == "pair":
                seen[line["i"]] = seen.get(line["i"], 0) + 1
            elif line["kind"] == "mark":
                assert line["copied"] == seen.pop(line["i"], 0)
        judge(plane, store).look()
        counts = store.counts(TARGET, GRADER.fingerprint, epoch=1, segment=1)
        assert sum(n for one in counts.slices for _, _, n in one.pairs) == 3 * ASKED
        assert {(old, new) for one in counts.slices for old, new, _ in one.pairs} == {(1, 0)}
        assert sum(one.lost for one in counts.slices) == 0


async def test_what_a_killed_worker_had_sampled_is_told_as_missing(store: Store) -> None:
    settings = f"processes = {WORKERS}\n[shadow]\ntimeout = 2.0\n"
    async with data_plane(a=answers_rightly, b=hangs, settings=settings) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        await ask_many(plane)

        os.kill(plane.gateway.workers()["worker-1"], signal.SIGKILL)
        marks = await marked(plane, "mark", "copied", ASKED)

        missing = [reason for mark in marks for reason in mark["missing"]]
        assert sum(mark["copied"] for mark in marks) == ASKED
        assert sum(sum(mark["missing"].values()) for mark in marks) == ASKED
        assert set(missing) == {"timeout", "lost"}
        judge(plane, store).look()
        counts = store.counts(TARGET, GRADER.fingerprint, epoch=1, segment=1)
        assert sum(one.lost for one in counts.slices) == ASKED


async def test_a_worker_that_stands_still_holds_up_no_mark_for_ever() -> None:
    settings = f"processes = {WORKERS}\n[shadow]\ntimeout = 0.3\n"
    async with data_plane(a=answers_rightly, b=answers_wrongly, settings=settings) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=0.5)
        token = await plane.admin.claim()
        await plane.admin.shadow(token, 1, 10_000)
        await ask_many(plane)
        await eventually(lambda: true(len(lines(plane, "pair")) == ASKED))

        os.kill(plane.gateway.workers()["worker-1"], signal.SIGSTOP)
        marks = await marked(plane, "mark", "copied", ASKED)

        assert sum(mark["copied"] for mark in marks) == ASKED


async def test_drawn_answers_of_all_workers_are_all_judged_or_told_as_unjudged(
    store: Store,
) -> None:
    settings = f"processes = {WORKERS}\n[judged]\nper_second = 1000.0\n"
    async with data_plane(a=answers_rightly, b=answers_wrongly, settings=settings) as plane:
        await plane.admin.register(slice_seconds=SLICE_SECONDS, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)

        await ask_many(plane)
        exposed = len(plane.b.heard)
        marks = await marked(plane, "drawn", "candidate", exposed)
        baselines = sum(mark["baseline"] for mark in marks)
        await eventually(lambda: true(len(lines(plane, "answer")) == exposed + baselines))

        assert exposed > 5
        assert [mark["i"] for mark in marks] == list(range(len(marks)))
        judge(plane, store).look()
        answers = store.answers(TARGET, GRADER.fingerprint, epoch=1, segment=1)
        scores = [score for one in answers.slices for score in one.scores]
        assert sum(candidate for score, candidate, _ in scores if score == 0) == exposed
        assert sum(baseline for score, _, baseline in scores if score == 1) == baselines
        assert all(one.unjudged.candidate == one.unjudged.baseline == 0 for one in answers.slices)


async def test_drawn_answers_that_a_killed_worker_held_are_unjudged_and_not_forgotten(
    store: Store,
) -> None:
    settings = f"processes = {WORKERS}\n[judged]\nper_second = 1000.0\n"
    async with data_plane(a=answers_rightly, b=answers_wrongly, settings=settings) as plane:
        await plane.admin.register(slice_seconds=4.0, timeout_seconds=2.0)
        token = await plane.admin.claim()
        await plane.admin.share(token, 1, 5_000)
        await ask_many(plane)
        exposed = len(plane.b.heard)

        for pid in plane.gateway.workers().values():
            os.kill(pid, signal.SIGKILL)
        marks = await marked(plane, "drawn", "candidate", exposed)

        assert sum(mark["candidate"] for mark in marks) == exposed
        judge(plane, store).look()
        answers = store.answers(TARGET, GRADER.fingerprint, epoch=1, segment=1)
        assert sum(one.unjudged.candidate for one in answers.slices) == exposed
