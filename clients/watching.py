"""Follows releases: a screen redrawn in place on a terminal, one line per change in a pipe."""

import asyncio
import os
import sys
import termios
import time
import tty
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from clients.exits import Failure
from clients.finding import Found
from clients.output import VERDICT_COLOURS, VERDICT_WORDS, now
from clients.screens import View, change_key, change_line
from rampway.gates.plans import AbPlan, SettlePlan, ShadowPlan, StepPlan
from rampway.release.orders import Progress
from rampway.release.phases import Phase
from rampway.release.records import Record
from rampway.reports.words import demo_mark

if TYPE_CHECKING:
    from rich.text import Text

    from clients.client import Releases
    from clients.opening import DataPlane
    from rampway.ports import Registry
    from rampway.reports.shadow_figures import ShadowFigures

REDRAW_SECONDS = 1.0
LOOK_SECONDS = 0.5
LEAVE_KEY = "q"
KEYS_AT_ONCE = 64
AFTER_END_SECONDS = 5.0  # the record may follow the workflow's end by a moment


async def read_view(
    progress: Progress, found: Found, registry: "Registry | None", plane: "DataPlane"
) -> View:
    """Gather what a screen shows beside the release's own words."""
    from rampway.ports import Unreachable
    from rampway.release.splits import Refused

    record = await _newest(found, registry)
    observed, silence = None, ""
    try:
        observed = await plane.traffic.observe(found.target)
    except (Unreachable, Refused) as missing:
        silence = str(missing)
    shadow, unknown = await _shadow(progress, found, plane)
    if shadow is not None and observed is not None and shadow.epoch != observed.epoch:
        shadow = shadow.none_yet()
    return View(
        progress=progress,
        record=record,
        stages=await stages_of(record, registry),
        plan=await frozen_plan(progress, record, registry),
        observed=observed,
        gateway_silence=silence,
        shadow=shadow,
        judge_silence=unknown,
        latency_warning_seconds=await _latency_warning(progress, record, registry),
    )


async def _shadow(
    progress: Progress, found: Found, plane: "DataPlane"
) -> "tuple[ShadowFigures | None, str]":
    """What the judge tells of a shadow that runs, or why it is not known."""
    from rampway.ports import Unreachable

    if progress.phase is not Phase.SHADOW or plane.figures is None:
        return None, ""
    try:
        return await plane.figures.shadow(found.target), ""
    except Unreachable as silent:
        return None, str(silent)


async def _latency_warning(
    progress: Progress, record: Record | None, registry: "Registry | None"
) -> float | None:
    """What the spec wants to be warned of. The plan has no word of it: it decides nothing."""
    from rampway.ports import NotFound, Tampered, Unreachable
    from rampway.release.spec import Spec

    if progress.phase is not Phase.SHADOW or record is None or registry is None:
        return None
    try:
        spec = Spec.model_validate_json(await registry.get(record.header.spec))
    except (NotFound, Tampered, Unreachable, ValueError):
        return None  # the line then warns of nothing; `verify` tells what is wrong
    return spec.shadow.latency_warning if spec.shadow else None


async def _newest(found: Found, registry: "Registry | None") -> Record | None:
    """The record as it is now; as it was, while the registry is locked or damaged."""
    from rampway.ports import Tampered, Unreachable

    if registry is None or found.record is None:
        return found.record
    try:
        return await registry.release(found.record.header.release)
    except (Tampered, Unreachable):
        return found.record  # the watch goes on without the record, and so does its screen


async def stages_of(record: Record | None, registry: "Registry | None") -> tuple[str, ...]:
    """The names of the stages of a release's plan, in order; empty where it cannot be read."""
    from rampway.ports import NotFound, Tampered, Unreachable
    from rampway.release.plan import ReleasePlan

    if record is None or registry is None:
        return ()
    try:
        plan = ReleasePlan.model_validate_json(await registry.get(record.header.plan))
    except (NotFound, Tampered, Unreachable, ValueError):
        return ()  # the bar then shows what has passed; `verify` tells what is wrong
    return (plan.offline.name, *(stage.name for stage in plan.watched))


async def frozen_plan(
    progress: Progress, record: Record | None, registry: "Registry | None"
) -> StepPlan | ShadowPlan | AbPlan | SettlePlan | None:
    """The present stage's plan with its thresholds, as its last event stored it."""
    from pydantic import TypeAdapter

    from rampway.gates.plans import StagePlan
    from rampway.ports import NotFound, Tampered, Unreachable

    if record is None or registry is None or progress.step is None:
        return None
    named = [e.plan for e in record.events if e.step == progress.step and e.plan]
    if not named:
        return None
    adapter: TypeAdapter[StepPlan | ShadowPlan | AbPlan | SettlePlan] = TypeAdapter(StagePlan)
    try:
        return adapter.validate_json(await registry.get(named[-1]))
    except (NotFound, Tampered, Unreachable, ValueError):
        return None  # the thresholds are left out; `verify` tells what is wrong


async def follow(
    releases: "Releases",
    found: Found,
    *,
    say: Callable[[str], None],
    seconds: float | None = None,
) -> bool:
    """Say one line per change until the release ends; False when the time is over before.

    Raises Failure when Temporal no longer knows the run.
    """
    from clients.client import Unanswered, Unknown

    until = None if seconds is None else time.monotonic() + seconds
    demo = found.record is not None and bool(demo_mark(found.record.header.target))
    shown: tuple[object, ...] | None = None
    while True:
        try:
            progress = await releases.progress(found.workflow_id)
        except Unknown as gone:
            raise Failure(f"Temporal does not know {found.name} any more: {gone}") from gone
        except Unanswered:
            progress = None  # no worker for the moment; the release waits, and so does its reader
        if progress is not None:
            key = change_key(progress)
            if key != shown:
                shown = key
                say(change_line(progress, now(), demo=demo))
            if progress.phase.ended:
                return True
        if until is not None and time.monotonic() >= until:
            return False
        await asyncio.sleep(LOOK_SECONDS)


async def final_record(registry: "Registry", found: Found) -> Record:
    """The record of a release that has ended, when its last event is in it."""
    name = found.record.header.release if found.record else found.name
    until = time.monotonic() + AFTER_END_SECONDS
    while True:
        record = await registry.release(name)
        if record.phase.ended or time.monotonic() >= until:
            return record
        await asyncio.sleep(LOOK_SECONDS)


async def redraw(draw: Callable[[], Awaitable[tuple[str, bool]]]) -> bool:
    """Redraw a screen each second until it says it is the last, or the reader presses q.

    `draw` gives the screen and whether it is the last one; the answer is whether it was.
    """
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False, screen=False) as live:
        async with _keys() as keys:
            while True:
                screen, last = await draw()
                live.update(_text(screen), refresh=True)
                if last:
                    return True
                try:
                    async with asyncio.timeout(REDRAW_SECONDS):
                        while await keys.get() != LEAVE_KEY:
                            pass
                except TimeoutError:
                    continue
                return False


def _text(screen: str) -> "Text":
    from rich.text import Text

    text = Text(screen, no_wrap=True, overflow="crop")
    for word in VERDICT_WORDS.finditer(screen):
        text.stylize(VERDICT_COLOURS[word[0]], *word.span())
    return text


@asynccontextmanager
async def _keys() -> AsyncGenerator["asyncio.Queue[str]"]:
    """What the reader types, key by key, without waiting for a line end."""
    keys: asyncio.Queue[str] = asyncio.Queue()
    if not sys.stdin.isatty():
        yield keys
        return
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    with _unbuffered(terminal):
        loop.add_reader(terminal, lambda: _take(terminal, keys))
        try:
            yield keys
        finally:
            loop.remove_reader(terminal)


def _take(terminal: int, keys: "asyncio.Queue[str]") -> None:
    for key in os.read(terminal, KEYS_AT_ONCE).decode(errors="replace"):
        keys.put_nowait(key)


@contextmanager
def _unbuffered(terminal: int) -> Generator[None]:
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
