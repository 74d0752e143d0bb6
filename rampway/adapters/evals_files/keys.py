"""What identifies a case in files that have no case ids of their own."""

import json
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from rampway.gates.facts import digest_of_bytes

CASE_IDS = ("case_id", "id")  # the names under which people write an id of their own


def shared_key(rows: Sequence[Mapping[str, str | None]], questions: Sequence[str]) -> str:
    """The first key that every row has, and under which no two questions stand.

    Each row lists its keys in the same order, the best first; the last one must always do. A key
    that only some rows have would pair the others by something else, in silence.
    """
    names = list(rows[0]) if rows else [""]
    for name in names[:-1]:
        asked: dict[str | None, str] = {}
        if all(
            row[name] and asked.setdefault(row[name], question) == question
            for row, question in zip(rows, questions, strict=True)
        ):
            return name
    return names[-1]


def own_id(fields: Mapping[str, JsonValue], name: str) -> str | None:
    """An id that the author of the case wrote: a text or a whole number."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


def hash_of(value: JsonValue) -> str:
    """A case id made from what is asked."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))  # NaN and all: it is only text
    return digest_of_bytes(text.encode())[: len("sha256:") + 32]


def without(fields: Mapping[str, JsonValue], names: Iterable[str]) -> dict[str, JsonValue]:
    """The fields, but those."""
    left_out = set(names)
    return {name: value for name, value in fields.items() if name not in left_out}
