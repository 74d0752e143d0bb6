"""Reads one release whole from the record: its events, and every stored fact that they name."""

from typing import TYPE_CHECKING

from rampway.release.records import Record
from rampway.reports.dossier import Dossier, assemble

if TYPE_CHECKING:
    from rampway.ports import Registry


async def read_dossier(registry: "Registry", name: str) -> Dossier:
    """A release, ready to be told. Raises NotFound, and Tampered where a row cannot be read."""
    record = await registry.release(name)
    return assemble(record, await read_blobs(registry, record))


async def read_blobs(registry: "Registry", record: Record) -> dict[str, bytes]:
    """All stored facts of a release by digest, as they are now; what is gone is left out."""
    from rampway.ports import NotFound, Tampered
    from rampway.reports.verification import digests_of

    blobs: dict[str, bytes] = {}
    for digest in digests_of(record):
        try:
            blobs[digest] = await registry.get(digest)
        except NotFound:
            continue  # reports and `verify` tell it in its place
        except Tampered as changed:
            blobs[digest] = changed.body
    return blobs
