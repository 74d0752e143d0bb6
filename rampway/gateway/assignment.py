"""Which arm serves a unit: the same answer for the same unit, on every process and in every version.

A unit's point is HMAC-SHA256 (RFC 2104) under a salt that never leaves the gateway, so that nobody
outside can choose an arm; scaled without a modulo, so that no point is more likely than another;
compared with the share, so that raising the share never moves a unit back to the baseline.
"""

from rampway.gateway.keyed import Keyed
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
        self._arms = Keyed(salt, named)
        # No release begins with a zero byte, so none of these messages is ever an assigned one.
        self._copies = Keyed(salt, b"\x00shadow\x00" + named)
        self._draws = Keyed(salt, b"\x00judge\x00" + named)
        self._names = Keyed(salt, b"\x00name\x00" + named)
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
        return int.from_bytes(self._draws.digest(unit)[:_POINT_BYTES])

    def pseudonym(self, unit: bytes) -> str:
        """16 hex digits that stand for the unit in this release's log, and in no other's."""
        return self._names.digest(unit)[:_POINT_BYTES].hex()


def assign(unit: bytes, split: Split) -> Arm:
    """The arm of a unit: `int(HMAC(salt, release || 0x00 || unit)[:8]) * 10000 >> 64 < share_bp`."""
    if split.share_bp <= 0:
        return Arm.BASELINE
    if split.share_bp >= ALL_BP or split.point_bp(unit) < split.share_bp:
        return Arm.CANDIDATE
    return Arm.BASELINE


def _point_bp(keyed: Keyed, unit: bytes) -> int:
    return int.from_bytes(keyed.digest(unit)[:_POINT_BYTES]) * ALL_BP >> 64
