"""HMAC-SHA256 (RFC 2104) under a key that is prepared once, for the hashes that every request needs."""

from hashlib import sha256
from typing import Final

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Keyed:
    """Hashes messages that all begin alike.

    Both hashes are kept with their key taken in: copying them takes two thirds of the time of copying
    a `hmac.HMAC`, which does the same behind two more calls.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, beginning: bytes) -> None:
        if len(key) > _BLOCK_BYTES:
            key = sha256(key).digest()
        padded = key.ljust(_BLOCK_BYTES, b"\x00")
        self._inner = sha256(padded.translate(_INNER) + beginning)
        self._outer = sha256(padded.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """32 bytes, of the beginning and the message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
