"""Shows where releases are: one, one that is followed to its end, or the board of all."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from clients.dossiers import read_blobs, read_dossier
from clients.exits import Exit, Failure
from clients.finding import Found, exit_of, find
from clients.opening import open_data_plane, open_registry, open_releases, registry_exists
from clients.output import Form, is_terminal, now, reader_zone, show, show_json, tell
from clients.screens import View, ended_text, progress_text, record_line
from clients.steering import ask_progress
from clients.watching import LOOK_SECONDS, final_record, follow, read_view, redraw
from rampway.release.records import Record
from rampway.reports.boards import board_text, need_of
from rampway.reports.dossier import assemble
from rampway.reports.sentences import headline
from rampway.reports.shadow_figures import shadow_facts

if TYPE_CHECKING:
    from rampway.ports import Registry


async def look_at_release(name: str, form: Form) -> None:
    """Show where a release is, or how it ended. Raises Failure where nobody answers for it."""
    found = await find(name)
    record = found.record
    async with AsyncExitStack() as stack:
        registry = await _registry_if_any(stack)
        if record is not None and record.phase.ended and registry is not None:
            dossier = assemble(record, await read_blobs(registry, record))
            if form is Form.JSON:
                show_json(_ended_facts(record, headline(dossier)))
            else:
                show(ended_text(record, headline(dossier)))
            return
        progress = await ask_progress(await open_releases(), found)
        if progress is None:
            raise Failure(_unanswered(found))
        plane = await stack.enter_async_context(open_data_plane())
        view = await read_view(progress, found, registry, plane)
    if form is Form.JSON:
        show_json(_open_facts(view))
    else:
        show(progress_text(view, now(), reader_zone()))


def _open_facts(view: View) -> dict[str, object]:
    phase, observed, shadow = view.progress.phase, view.observed, view.shadow
    return {
        **view.progress.model_dump(mode="json"),
        "open": not phase.ended,
        "outcome": phase.value.lower() if phase.ended else None,
        "observed": observed.model_dump(mode="json") if observed else None,
        "shadow": shadow_facts(shadow, view.latency_warning_seconds) if shadow else None,
    }


def _ended_facts(record: Record, sentence: str) -> dict[str, object]:
    return {
        "name": record.header.name,
        "phase": record.phase.value,
        "open": False,
        "outcome": record.phase.value.lower(),
        "sentence": sentence,
        "share_bp": record.events[-1].share_bp,
        "owner": record.header.owner,
        "ended_at": record.events[-1].at.isoformat(),
        "events": len(record.events),
    }


def _unanswered(found: Found) -> str:
    last = f" The record's last word: {record_line(found.record)}." if found.record else ""
    return (
        f"No worker answers for {found.name}.{last} Its split returns to the baseline by its lease; "
        f"at once: rampway gateway end {found.target}. Next: rampway doctor"
    )


async def _registry_if_any(stack: AsyncExitStack) -> "Registry | None":
    """The record where it can be opened; a screen of what runs does not depend on it."""
    if not registry_exists():
        return None
    try:
        return await stack.enter_async_context(open_registry())
    except Failure as closed:
        tell(closed.message)
        return None


async def follow_release(name: str) -> Exit:
    """Follow one release; the exit code of its end, or 0 when the reader leaves."""
    found = await find(name)
    if found.record is not None and found.record.phase.ended:
        if is_terminal():
            await look_at_release(name, Form.TABLE)
        else:
            show(record_line(found.record))
        return exit_of(found.record)
    if is_terminal():
        return await _watch_screen(found)
    await follow(await open_releases(), found, say=show)
    async with open_registry() as registry:
        return exit_of(await final_record(registry, found))


async def _watch_screen(found: Found) -> Exit:
    releases = await open_releases()
    async with open_registry() as registry, open_data_plane() as plane:

        async def draw() -> tuple[str, bool]:
            progress = await ask_progress(releases, found)
            if progress is None:
                return _unanswered(found), False
            view = await read_view(progress, found, registry, plane)
            return progress_text(view, now(), reader_zone()), progress.phase.ended

        if not await redraw(draw):
            return Exit.OK
        record = await final_record(registry, found)
        dossier = await read_dossier(registry, record.header.release)
        show(ended_text(record, headline(dossier)))
        return exit_of(record)


async def look_at_board(form: Form) -> None:
    """Show all releases: who needs a person first."""
    async with open_registry() as registry:
        records = await registry.releases()
    if form is Form.JSON:
        show_json({"releases": [_board_facts(record) for record in records]})
    else:
        show(board_text(records, now()))


def _board_facts(record: Record) -> dict[str, object]:
    last = record.events[-1] if record.events else None
    return {
        "name": record.header.name,
        "target": record.header.target.name,
        "kind": record.header.target.kind.value,
        "owner": record.header.owner,
        "phase": record.phase.value,
        "open": not record.phase.ended,
        "outcome": record.phase.value.lower() if record.phase.ended else None,
        "share_bp": last.share_bp if last else 0,
        "changed_at": last.at.isoformat() if last else None,
        "need": need_of(record, now()),
    }


async def follow_board() -> None:
    """Redraw the board until the reader leaves; in a pipe, a line per change until Ctrl-C."""
    async with open_registry() as registry:

        async def draw() -> tuple[str, bool]:
            return board_text(await registry.releases(), now()), False

        if is_terminal():
            await redraw(draw)
            return
        said: set[str] = set()
        while True:
            for line in map(record_line, reversed(await registry.releases())):
                if line not in said:
                    said.add(line)
                    show(line)
            await asyncio.sleep(LOOK_SECONDS)
