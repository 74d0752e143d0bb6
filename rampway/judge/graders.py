"""How right is an answer? A pure function of a request and an answer, with a fingerprint.

Both arms are graded by the same grader, which is never told whose answer it reads.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson
from pydantic import JsonValue

SERVER_ERROR_STATUS_MIN = 500


@dataclass(frozen=True)
class Answer:
    """What one arm answered: a JSON or text body. `status` is None when none came in time."""

    status: int | None
    body: JsonValue


class Grader(Protocol):
    """Scores with integers from 0 to `levels - 1`; the same fingerprint gives the same scores."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def levels(self) -> int: ...

    def score(self, request: JsonValue, answer: Answer) -> int:
        """Raise Ungradable when the request is of no known case; a bad answer only scores low."""
        ...


class Ungradable(Exception):
    """The request names no case of the gold file, so that neither arm's answer can be scored."""


@dataclass(frozen=True)
class Gold:
    """The accepted answers of each case, and the case that each key (of `key_fields`) means."""

    accepted: Mapping[str, frozenset[str]]
    case_by_key: Mapping[tuple[str, ...], str]
    key_fields: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 over normalised answers in order of case id: the order of a file is no matter."""
        cases = [
            [case_id, sorted({normalised(answer) for answer in answers})]
            for case_id, answers in sorted(self.accepted.items())
        ]
        return hashlib.sha256(orjson.dumps(cases)).hexdigest()


class SetMatch:
    """Scores 1 if the normalised answer is one of its case's accepted answers, else 0.

    The case is the request's `case_id`; a request without one is found by the gold's key fields. The
    answer is a text body, or the string under `answer` in a JSON body. An error (status 500 or more,
    no answer in time, any other body) scores 0.
    """

    name = "set_match"
    version = "1"
    levels = 2

    def __init__(self, gold: Gold) -> None:
        self._gold = gold
        self._accepted = {
            case_id: frozenset(normalised(answer) for answer in answers)
            for case_id, answers in gold.accepted.items()
        }
        self.fingerprint = f"{self.name}/{self.version}/sha256:{gold.digest()}"

    def score(self, request: JsonValue, answer: Answer) -> int:
        accepted = self._accepted.get(self._case_id(request))
        if accepted is None:
            raise Ungradable("The request's case is not in the gold file.")
        text = _answer_text(answer)
        return 1 if text is not None and normalised(text) in accepted else 0

    def _case_id(self, request: JsonValue) -> str:
        asked = _parsed(request)
        if not isinstance(asked, dict):
            raise Ungradable("The request is not a JSON object, so it cannot name its case.")
        case_id = asked.get("case_id")
        if isinstance(case_id, str):
            return case_id
        key = tuple(str(asked.get(field)) for field in self._gold.key_fields)
        if key not in self._gold.case_by_key:
            raise Ungradable("The request has no case_id, and no case has its key fields.")
        return self._gold.case_by_key[key]


def normalised(text: str) -> str:
    """The text without what no teacher would mark: case, spacing, width, final punctuation.

    Case and compatibility folding as in the Unicode Standard, section 3.13, definition D146, but
    composed; then runs of white space become one space, and punctuation at the end goes.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    folded = unicodedata.normalize("NFKC", folded.casefold())
    end = len(folded)
    while end and (folded[end - 1].isspace() or _is_punctuation(folded[end - 1])):
        end -= 1
    return " ".join(folded[:end].split())


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def _answer_text(answer: Answer) -> str | None:
    if answer.status is None or not 0 < answer.status < SERVER_ERROR_STATUS_MIN:
        return None
    parsed = _parsed(answer.body)
    text = parsed.get("answer") if isinstance(parsed, dict) else answer.body
    return text if isinstance(text, str) else None


def _parsed(value: JsonValue) -> JsonValue:
    """A text that is JSON as the value it means; any other text as itself."""
    if not isinstance(value, str):
        return value
    try:
        parsed: JsonValue = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return parsed
