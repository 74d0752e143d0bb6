"""What of a body may be written down: named fields only, redacted; of everything else a digest.

Runs in the writer thread, never on the event loop.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, TypeAlias

from pydantic import JsonValue

from rampway.gateway.redaction import redacted
from rampway.gateway.settings import BodyFields, CaptureSettings

# The members that are kept, by name; one without members of its own is kept whole.
Wanted: TypeAlias = dict[str, "Wanted"]
ANY_TARGET: Final = "*"


class Allowed:
    """The allow-list of one target's bodies. Nothing is kept where no field is named."""

    def __init__(self, fields: BodyFields | None = None, *, redact: bool = True) -> None:
        self._request = _wanted(fields.request) if fields else None
        self._answer = _wanted(fields.answer) if fields else None
        self._redact = redact

    @property
    def keeps_bodies(self) -> bool:
        return self._request is not None or self._answer is not None

    def of_request(self, told: JsonValue) -> JsonValue:
        """What may be kept of a request's body."""
        return self._of(told, self._request)

    def of_answer(self, told: JsonValue) -> JsonValue:
        """What may be kept of an answer's body."""
        return self._of(told, self._answer)

    def digest(self, body: bytes | None) -> str | None:
        """SHA-256 of a body that is not kept; None where some of it is.

        Beside redacted text a digest would undo it: telephone numbers can be tried out.
        """
        if body is None or self.keeps_bodies:
            return None
        return hashlib.sha256(body).hexdigest()

    def _of(self, told: JsonValue, wanted: Wanted | None) -> JsonValue:
        if wanted is None:
            return None
        kept = pruned(told, wanted)
        return redacted(kept) if self._redact else kept


def allowed(capture: CaptureSettings, target: str) -> Allowed:
    """What may be kept of a target's bodies: by its own list, or the one of every target."""
    fields = capture.bodies.get(target, capture.bodies.get(ANY_TARGET))
    return Allowed(fields, redact=capture.redact)


def pruned(value: JsonValue, wanted: Wanted) -> JsonValue:
    """The members that are wanted, where they were; None for a value that has none of them.

    In an array the elements before a wanted one become null, so that its index stays what it was.
    """
    if not wanted:
        return value
    if isinstance(value, dict):
        return {name: pruned(value[name], inner) for name, inner in wanted.items() if name in value}
    if isinstance(value, list):
        indices = {int(name): name for name in wanted if name.isdecimal()}
        last = max((index for index in indices if index < len(value)), default=-1)
        return [
            pruned(value[index], wanted[indices[index]]) if index in indices else None
            for index in range(last + 1)
        ]
    return None


def _wanted(pointers: Sequence[str]) -> Wanted | None:
    """JSON pointers (RFC 6901) as a tree; None where there are none."""
    if not pointers:
        return None
    tree: Wanted = {}
    whole: set[tuple[str, ...]] = set()
    for pointer in sorted(pointers, key=len):
        tokens = tuple(_unescaped(token) for token in pointer.split("/")[1:])
        if any(tokens[:length] in whole for length in range(len(tokens) + 1)):
            continue  # a shorter pointer has all of it
        whole.add(tokens)
        branch = tree
        for token in tokens:
            branch = branch.setdefault(token, {})
    return tree


def _unescaped(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")
