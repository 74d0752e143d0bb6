"""Receipts: what an answer carries so that late feedback can be traced to the slice it was served in.

A receipt is base64url (RFC 4648 5) of version, epoch, segment and slice, and the first 16 bytes of
HMAC-SHA256 (RFC 2104) under the claim's salt of these and the unit. The arm is not in it: the same
receipt would have been given by either, and who holds the salt finds it from the unit.
"""

import base64
import binascii
import hmac
import struct
from typing import Final, NamedTuple

from rampway.gateway.keyed import Keyed

HEADER: Final = "x-rampway-receipt"
_VERSION: Final = 1
_PLACE: Final = struct.Struct(">BQqQ")  # version, epoch, segment, slice
_TAG_BYTES: Final = 16
_LENGTH: Final = _PLACE.size + _TAG_BYTES


class Place(NamedTuple):
    """A slice of a segment of an epoch."""

    epoch: int
    segment: int
    i: int


class Receipts:
    """Makes and checks the receipts of one claim.

    `release` must not hold a zero byte, nor begin with one: so no message here is one that an arm, a
    copy or a pseudonym is found from.
    """

    __slots__ = ("_keyed",)

    def __init__(self, *, salt: bytes, release: str) -> None:
        self._keyed = Keyed(salt, b"\x00receipt\x00" + release.encode() + b"\x00")

    def make(self, place: tuple[int, int, int], unit: bytes) -> str:
        """For a Place, or its values in their order."""
        told = _PLACE.pack(_VERSION, *place)
        return base64.urlsafe_b64encode(told + self._tag(told, unit)).decode()

    def vouches(self, receipt: bytes, unit: bytes) -> bool:
        """Was this receipt, decoded, made here for this unit?"""
        told, tag = receipt[: _PLACE.size], receipt[_PLACE.size :]
        return hmac.compare_digest(tag, self._tag(told, unit))

    def _tag(self, told: bytes, unit: bytes) -> bytes:
        return self._keyed.digest(told + unit)[:_TAG_BYTES]


def decoded(receipt: str) -> tuple[Place, bytes] | None:
    """What it says, unchecked, and its bytes; None for what is no receipt of this version."""
    try:
        raw = base64.b64decode(receipt.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    if len(raw) != _LENGTH:
        return None
    version, epoch, segment, index = _PLACE.unpack_from(raw)
    return (Place(epoch, segment, index), raw) if version == _VERSION else None
