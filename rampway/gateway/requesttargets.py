"""Reads a request's first line: which target is meant, and what of the path is its upstream's."""

import re
from typing import Final

from rampway.gateway.answers import Rejected

_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
# CONNECT would make a tunnel; TRACE would show a caller the credentials that the upstream is sent.
_NOT_TAKEN: Final = frozenset({"CONNECT", "TRACE"})


def split_target(method: str, raw: str) -> tuple[str, str]:
    """Target and the raw rest, beginning with a slash: `/t/v1/x?q` gives `t` and `/v1/x?q`.

    The absolute form means the same (RFC 9112 3.2.2). Raises Rejected where the gateway answers itself.
    """
    if method in _NOT_TAKEN:
        raise Rejected(501, "bad_method", f"{method} is not taken here.")
    if not raw.startswith("/"):
        raw = _path_of(method, raw)
    target, slash, rest = raw[1:].partition("/")
    if not slash or "?" in target:  # `/t` or `/t?q`
        target, mark, query = raw[1:].partition("?")
        return target, f"/{mark}{query}"
    return target, f"/{rest}"


def _path_of(method: str, raw: str) -> str:
    if raw == "*" and method == "OPTIONS":
        raise Rejected(204, "options", "The gateway is here.")
    absolute = _ABSOLUTE.match(raw)
    if absolute is None:
        raise Rejected(400, "bad_path", "The request's target is not a path: /{target}/{rest}.")
    path = raw[absolute.end() :]
    return path if path.startswith("/") else f"/{path}"
