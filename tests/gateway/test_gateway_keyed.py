"""The prepared hash is HMAC-SHA256, for any key and message."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from rampway.gateway.keyed import Keyed


@given(
    st.binary(max_size=200), st.binary(max_size=150), st.lists(st.binary(max_size=150), max_size=4)
)
def test_it_says_the_same_as_the_standard_library(
    key: bytes, beginning: bytes, messages: list[bytes]
) -> None:
    keyed = Keyed(key, beginning)

    for message in messages:
        assert keyed.digest(message) == hmac.digest(key, beginning + message, hashlib.sha256)
