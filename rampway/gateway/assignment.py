"""Which arm serves a unit: the same answer for the same unit, on every process and in every version.

A unit's point is HMAC-SHA256 (RFC 2104) under a salt that never leaves the gateway, so that nobody
outside can choose an arm; scaled without a modulo, so that no point is more likely than another;
compared with the share, so that raising the share never moves a unit back to the baseline.
"""

import hmac
from hashlib import sha256

from rampway.gateway.terms import ALL_BP, Arm

SALT_BYTES = 32
_POINT_BYTES = 8


class Split:
    """One release's split of one target's traffic, with its key prepared.

    `release` must not hold a zero byte: it ends the release in the hashed message.
    """

    __slots__ = ("_arms", "_copies", "_draws", "_names", "shadow_bp", "share_bp")

    def __init__(self, *, salt: bytes, release: str, share_bp: int, shadow_bp: int) -> None:
        named = release.encode() + b"\x00"
        self._arms = hmac.new(salt, named, sha256)
        # No release begins with a zero byte, so none of these messages is ever an assigned one.
        self._copies = hmac.new(salt, b"\x00shadow\x00" + named, sha256)
        self._draws = hmac.new(salt, b"\x00judge\x00" + named, sha256)
        self._names = hmac.new(salt, b"\x00name\x00" + named, sha256)
        self.share_bp = share_bp
        self.shadow_bp = shadow_bp

    def copies(self, unit: bytes) -> bool:
        """Is a request of this unit sampled for the shadow? Independent of its arm."""
        return self.shadow_point_bp(unit) < self.shadow_bp

    def shadow_point_bp(self, unit: bytes) -> int:
        """Where the unit stands for the shadow, from 0 to 9,999: it is copied below the rate."""
        return _point_bp(self._copies, unit)

    def point_bp(self, unit: bytes) -> int:
        """Where the unit stands, from 0 to 9,999: it is the candidate's below the share."""
        return _point_bp(self._arms, unit)

    def draw_point(self, unit: bytes) -> int:
        """Where the unit stands among those that may be judged, from 0 to 2**64 - 1: the lowest are.

        Independent of its arm.
        """
        return int.from_bytes(_hashed(self._draws, unit)[:_POINT_BYTES])

    def pseudonym(self, unit: bytes) -> str:
        """16 hex digits that stand for the unit in this release's log, and in no other's."""
        return _hashed(self._names, unit)[:_POINT_BYTES].hex()


def assign(unit: bytes, split: Split) -> Arm:
    """The arm of a unit: `int(HMAC(salt, release || 0x00 || unit)[:8]) * 10000 >> 64 < share_bp`."""
    if split.share_bp <= 0:
        return Arm.BASELINE
    if split.share_bp >= ALL_BP or split.point_bp(unit) < split.share_bp:
        return Arm.CANDIDATE
    return Arm.BASELINE


def _point_bp(keyed: hmac.HMAC, unit: bytes) -> int:
    return int.from_bytes(_hashed(keyed, unit)[:_POINT_BYTES]) * ALL_BP >> 64


def _hashed(keyed: hmac.HMAC, unit: bytes) -> bytes:
    # A copy of the keyed object: hashing the key anew for each request costs 0.5 us more.
    message = keyed.copy()
    message.update(unit)
    return message.digest()
