"""The board as text: which releases need a person, which are open, which have ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rampway.release.events import EventKind
from rampway.release.phases import Phase
from rampway.release.records import Record
from rampway.reports.dossier import open_pause, text_in
from rampway.reports.sentences import ending
from rampway.reports.texts import columns
from rampway.reports.words import (
    WIDTH,
    demo_mark,
    duration,
    plain,
    share,
    shorten,
    utc,
)

ENDED_SHOWN = timedelta(hours=12)
ENDED_MAX = 20
BRAKE_WARNING = timedelta(hours=1)
_OWNER_WIDTH = 20


def release_line(record: Record, now: datetime) -> list[str]:
    """One release as cells: name, share, where it is or how it ended, since when, owner."""
    header = record.header
    last = record.events[-1].at if record.events else header.started_at
    ago = duration(max(0.0, (now - _since(record, last)).total_seconds()))
    return [
        f"{demo_mark(header.target)}{plain(header.name, 60)}",
        share(record.events[-1].share_bp if record.events else 0),
        f"{ending(record)}{', NO_DATA' if record.phase.exposed and _blind(record) else ''}",
        f"{ago} ago" if record.phase.ended else ago,
        plain(header.owner, _OWNER_WIDTH),
    ]


def board_text(records: Sequence[Record], now: datetime) -> str:
    """The board: who needs a person first, then what is open, then what ended in the last hours."""
    running = [r for r in records if not r.phase.ended]
    needy = sorted((r for r in running if need_of(r, now)), key=lambda r: _urgency(r, now))
    named = {r.header.release for r in needy}
    calm = sorted(
        (r for r in running if r.header.release not in named), key=lambda r: _since(r, now)
    )
    ended = sorted((r for r in records if _just_ended(r, now)), key=_end_at, reverse=True)
    verb = "needs" if len(needy) == 1 else "need"
    noun = "release" if len(running) == 1 else "releases"
    first = f"{len(needy)} of {len(running)} open {noun} {verb} a person. {utc(now)}"
    lines = [first]
    for heading, group in (
        ("Need a person, most urgent first", needy),
        ("Open, no action needed", calm),
        (f"Ended in the last {duration(ENDED_SHOWN.total_seconds())}", ended[:ENDED_MAX]),
    ):
        lines += _section(heading, group, now)
    return "\n".join(shorten(line, WIDTH) for line in lines)


def need_of(record: Record, now: datetime) -> str | None:
    """The command that a person runs next; None while a release runs by itself or has ended."""
    name = record.header.name
    if record.phase is Phase.STRANDED or (record.phase.exposed and _blind(record)):
        return f"rampway doctor --target {record.header.target.name}"
    pause = open_pause(record)
    if pause is not None and now - pause.at >= BRAKE_WARNING:
        return f"rampway resume {name}, or rampway abort {name}"
    return None


def _section(heading: str, group: Sequence[Record], now: datetime) -> list[str]:
    if not group:
        return []
    lines = ["", f"{heading}: {len(group)}"]
    rows = columns([release_line(record, now) for record in group])
    for row, record in zip(rows, group, strict=True):
        lines.append(f"  {row}")
        need = need_of(record, now)
        if need is not None:
            lines.append(f"    Next: {need}")
    return lines


def _urgency(record: Record, now: datetime) -> tuple[int, datetime]:
    return (0 if record.phase is Phase.STRANDED else 1), _since(record, now)


def _blind(record: Record) -> bool:
    """The last judgement of the present step found nothing that it could count."""
    kinds = (EventKind.DECIDED, EventKind.RAISED, EventKind.SHADOWED)
    last = next((e for e in reversed(record.events) if e.kind in kinds), None)
    return last is not None and text_in(last, "verdict") == "NO_DATA"


def _since(record: Record, otherwise: datetime) -> datetime:
    """When the release came where it is: into its phase, its step or its pause."""
    pause = open_pause(record)
    if pause is not None:
        return pause.at
    moves = [e for e in record.events if e.trigger is not None or e.kind is EventKind.RAISED]
    return moves[-1].at if moves else otherwise


def _just_ended(record: Record, now: datetime) -> bool:
    return record.phase.ended and now - _end_at(record) <= ENDED_SHOWN


def _end_at(record: Record) -> datetime:
    return record.events[-1].at
