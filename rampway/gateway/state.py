"""The state file: every target's split, stored as one checked whole, and which boot its clock is of.

A file that cannot be read in full is refused as a whole: nothing is guessed from its pieces.
"""

import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from rampway.gateway.durable import replace_file
from rampway.gateway.splits import TargetSplit
from rampway.gateway.terms import Fact

_MAGIC: Final = b"rampway-gateway-state 1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Unreadable(Exception):
    """The state file is torn, altered, or of another format."""


class Stored(Fact):
    """All targets, and the boot whose monotonic clock their leases and segments are told in."""

    boot_id: str
    targets: dict[str, TargetSplit]


class StateFile:
    """Keeps the state in one file, `state.json`, of which only whole contents are ever seen."""

    def __init__(self, directory: Path, *, boot_id: str) -> None:
        self.path = directory / "state.json"
        self._boot_id = boot_id

    def load(self) -> Stored | None:
        """What was stored last; None where nothing ever was. Raises Unreadable."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return decode(content)

    def save(self, targets: Mapping[str, TargetSplit]) -> None:
        """Store the targets; on the disk when this returns. Raises OSError."""
        replace_file(self.path, encode(Stored(boot_id=self._boot_id, targets=dict(targets))))

    def set_aside(self) -> None:
        """Keep an unreadable file for whoever looks into it."""
        self.path.replace(self.path.with_name("state.json.unreadable"))


def encode(stored: Stored) -> bytes:
    """One header line (format, CRC-32 of the body, its length), then the body as JSON."""
    body = stored.model_dump_json().encode()
    return b"%s %08x %d\n%s" % (_MAGIC, zlib.crc32(body), len(body), body)


def decode(content: bytes) -> Stored:
    """The stored whole. Raises Unreadable for anything that `encode` did not write."""
    header, _, body = content.partition(b"\n")
    if header != b"%s %08x %d" % (_MAGIC, zlib.crc32(body), len(body)):
        raise Unreadable("The state file is torn or was altered: its checksum does not match.")
    try:
        return Stored.model_validate_json(body)
    except ValidationError as wrong:
        raise Unreadable(f"The state file is of another format: {wrong}") from wrong


def boot_id() -> str:
    """This boot of the machine; where the system does not tell, an id nothing stored can match."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"unknown-{uuid.uuid4()}"
