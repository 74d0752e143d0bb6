"""Dossiers of whole releases, each built once per run: building weighs real evidence."""

from functools import cache
from zoneinfo import ZoneInfo

from rampway.reports.dossier import Dossier, assemble
from rampway.reports.page import release_html
from support import record_builders
from support.record_builders import Kept

BERLIN = ZoneInfo("Europe/Berlin")
ENDINGS = (
    "promoted",
    "rolled_back_by_error",
    "rolled_back_by_latency",
    "rolled_back_in_shadow",
    "rejected_offline",
    "aborted",
    "overridden",
    "missed_deadline",
    "lost_control",
    "stranded",
    "undone_after_promotion",
    "running_paused",
)


@cache
def kept(name: str) -> Kept:
    build = getattr(record_builders, name)
    return build()


@cache
def dossier(name: str) -> Dossier:
    return assemble(kept(name).record, kept(name).blobs)


@cache
def page(name: str) -> str:
    return release_html(dossier(name), BERLIN)
