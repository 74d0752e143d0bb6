"""Header fields leave with the very bytes they came with, also where these are no UTF-8.

RFC 9110 5.5 lets field values hold any byte from 0x80 on. aiohttp reads those that are no UTF-8 as
lone surrogates (PEP 383), and its writer leaves them out without a word.
"""

import re
from collections.abc import Callable
from typing import Final

from aiohttp import http_writer
from multidict import CIMultiDict

_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# The one place where both directions write their fields.
_serialize: Callable[[str, CIMultiDict[str]], bytes] = http_writer._serialize_headers  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportUnknownVariableType]


def keep_bytes_of_fields() -> None:
    """Make aiohttp write fields as they were read, for all of this process."""
    http_writer._serialize_headers = head_of  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]


def head_of(status_line: str, headers: CIMultiDict[str]) -> bytes:
    """The first line and the fields as they go on the wire. Raises ValueError where a field would split them."""
    if status_line.isascii() and "".join(headers.values()).isascii():
        return _serialize(status_line, headers)
    lines = [status_line, *(f"{name}: {value}" for name, value in headers.items())]
    if any(_FORBIDDEN.search(line) for line in lines):
        raise ValueError("A header field holds a control character: it could split the header.")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
