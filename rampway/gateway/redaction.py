"""Takes out of captured text what is personal or secret by its form alone.

Known by form: e-mail addresses, payment cards (with their check digit), telephone numbers, and tokens
of well-known issuers. A name or a postal address has no form: only the allow-list keeps those out.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import JsonValue

SHORTEST: Final = 6  # characters; nothing shorter has such a form
WINDOW: Final = 16 * 1024  # characters searched at a time: a search holds up all other threads
OVERLAP: Final = 1_024  # more than any form needs; what is longer is followed to its end
_LOCAL: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-"
)
_LOCAL_MAX: Final = 64  # RFC 5321 4.5.3.1.1
_CARD_DIGITS: Final = range(13, 20)  # ISO/IEC 7812-1
_DOMAIN: Final = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}")
_AT: Final = re.compile(r"@|%40", re.IGNORECASE)
_CARD: Final = re.compile(r"(?<![\d.])[2-6](?:[ -]?\d){12,18}(?![\d])")
_PHONES: Final = re.compile(
    r"(?<![\w+])\+[1-9](?:[ ()./-]{0,2}\d){6,14}(?!\d)"  # E.164, with separators
    r"|(?<![\d.])00[1-9](?:[ ()/-]{0,2}\d){6,14}(?!\d)"
    r"|(?<![\d.])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)"  # North America
    r"|(?<![\d.:-])\(?0[1-9]\d{1,4}\)?[ /-]\d{3,10}(?:[ -]\d{1,8}){0,3}(?!\d)"  # with a trunk zero
)
_SECRETS: Final = re.compile(
    r"\bsk-[A-Za-z0-9_-]{12,512}"
    r"|\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,32}"
    r"|\baws_secret_access_key[\"']?\s{0,4}[=:]\s{0,4}[\"']?[A-Za-z0-9/+=]{16,128}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,512}|\bgithub_pat_[A-Za-z0-9_]{16,512}"
    r"|\bglpat-[A-Za-z0-9_-]{16,128}|\bxox[abeoprs]-[A-Za-z0-9-]{10,512}"
    r"|\bAIza[A-Za-z0-9_-]{30,64}|\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,256}"
    r"|\beyJ[A-Za-z0-9_-]{8,512}\.[A-Za-z0-9_-]{2,512}(?:\.[A-Za-z0-9_-]{0,512})?"
    r"|\b(?:[Bb]earer|BEARER)\s{1,8}(?=[A-Za-z_~+/=.-]{0,256}\d)[A-Za-z0-9._~+/=-]{8,512}"
)
# What no text lacks that holds such a form: looked for first, at a tenth of the cost.
_SECRET_MARKS: Final = (
    *("sk-", "k_live_", "k_test_", "AKIA", "ASIA", "AROA", "AIDA", "aws_secret", "github_pat_"),
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "xox", "AIza", "eyJ"),
    *("earer", "EARER"),
)
_SIX_DIGITS: Final = re.compile(r"(?:\d[ ()./+-]{0,4}){6}")
_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z")
_SECRET_TAIL: Final = re.compile(r"[A-Za-z0-9._~+/=-]*")
_PLAIN_ID: Final = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


class _Span(NamedTuple):
    start: int
    end: int
    told: str


def redacted(value: JsonValue) -> JsonValue:
    """The same JSON with each such form replaced by its name: `[email]`, `[card]`, `[phone]`, `[secret]`.

    Names of members are searched too, and whole numbers for cards.
    """
    match value:
        case str():
            return redacted_text(value)
        case dict():
            return {redacted_text(name): redacted(inner) for name, inner in value.items()}
        case list():
            return [redacted(inner) for inner in value]
        case int() if not isinstance(value, bool) and _is_card(str(value)):
            return "[card]"
        case _:
            return value


def redacted_id(text: str) -> str:
    """A request's or trace's id; those of the usual form are not searched."""
    return text if _PLAIN_ID.fullmatch(text) else redacted_text(text)


def redacted_text(text: str) -> str:
    """Text with each such form replaced by its name."""
    if len(text) < SHORTEST:
        return text
    pieces: list[str] = []
    done = 0
    for start, end, told in sorted(_spans(text)):
        if start >= done:
            pieces += [text[done:start], told]
        done = max(done, end)
    return "".join((*pieces, text[done:])) if pieces else text


def _spans(text: str) -> Iterator[_Span]:
    if any(mark in text for mark in _SECRET_MARKS):
        for found in _found(_SECRETS, text):
            tail = _SECRET_TAIL.match(text, found.end())
            yield _Span(found.start(), tail.end() if tail else found.end(), "[secret]")
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "@" in text or "%40" in text:
        yield from _emails(text)
    if any(True for _ in _found(_SIX_DIGITS, text)):
        for found in _found(_CARD, text):
            if _is_card(found[0]):
                yield _Span(*found.span(), "[card]")
        for found in _found(_PHONES, text):
            yield _Span(*found.span(), "[phone]")


def _private_keys(text: str) -> Iterator[_Span]:
    end = 0
    for begin in _found(_KEY_BEGINS, text):
        if begin.start() >= end and (last := _KEY_ENDS.search(text, begin.end())):
            end = last.end()
            yield _Span(begin.start(), end, "[secret]")


def _emails(text: str) -> Iterator[_Span]:
    """Around each at sign: a search for the local part would try each character of the text 64 times."""
    for sign in _found(_AT, text):
        domain = _DOMAIN.match(text, sign.end())
        start = sign.start()
        while start > 0 and sign.start() - start < _LOCAL_MAX and _is_local(text[start - 1]):
            start -= 1
        if domain is not None and start < sign.start():
            yield _Span(start, domain.end(), "[email]")


def _is_local(character: str) -> bool:
    return character in _LOCAL or (not character.isascii() and character.isalnum())


def _found(form: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """All matches, window by window; one that begins where the next window does is told twice."""
    for begin in range(0, len(text), WINDOW):
        yield from form.finditer(text, begin, begin + WINDOW + OVERLAP)


def _is_card(text: str) -> bool:
    """Is it a card number by length, issuer and check digit (ISO/IEC 7812-1, annex B)?"""
    digits = [int(character) for character in text if character.isdigit()]
    if len(digits) not in _CARD_DIGITS or digits[0] not in range(2, 7):
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
