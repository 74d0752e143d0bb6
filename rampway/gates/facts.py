"""What every stored fact has in common: it is frozen, strict, and has one canonical form and digest."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """A value that is stored, hashed or sent; equal facts have equal digests."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON, as `sha256:<64 hex>`."""
        return digest_of(self.model_dump(mode="json"))


def canonical(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN (the rules of RFC 8785 that we need).

    Floats are written by Python's shortest round-trip form, which is the same on every platform.
    Raises ValueError for NaN and infinities.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_of(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Digest of a JSON value: `sha256:<64 hex>` over its canonical form."""
    return digest_of_bytes(canonical(value))


def digest_of_bytes(body: bytes) -> str:
    """Digest of raw bytes: `sha256:<64 hex>`."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
