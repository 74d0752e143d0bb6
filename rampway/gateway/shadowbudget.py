"""What a target's copies may cost in a minute: copies, tokens and money, each a token bucket.

A copy is charged when it is let go, by what its like cost before, and corrected when its answer tells.
So a burst may overdraw a bucket by what is in flight; nothing goes then until that is made good.
"""

from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from rampway.gateway.settings import ShadowSettings

BURST_SECONDS: Final = 10.0  # of the budget may be used at once, at least one copy's worth
_MINUTE_SECONDS: Final = 60.0
_BYTES_PER_TOKEN: Final = 4  # where nobody counts them
_MEMORY: Final = 0.1  # the newest answer's weight in what the next one is expected to have
_MILLION: Final = 1_000_000


class Tokens(NamedTuple):
    """What went into a model and what came out."""

    read: float
    written: float

    @property
    def total(self) -> float:
        return self.read + self.written


class Bucket:
    """A token bucket: filled at `per_minute`, it holds BURST_SECONDS of that, or `least` if that is more.

    Times are monotonic seconds, given by the caller.
    """

    __slots__ = ("_at", "_capacity", "_level", "_per_second")

    def __init__(self, per_minute: float, *, least: float = 0.0) -> None:
        self._per_second = per_minute / _MINUTE_SECONDS
        self._capacity = max(self._per_second * BURST_SECONDS, least)
        self._level = self._capacity
        self._at: float | None = None

    def has(self, amount: float, now: float) -> bool:
        """Is as much left? What is larger than the bucket needs it full, or it would never go."""
        if self._at is not None:
            filled = self._level + (now - self._at) * self._per_second
            self._level = min(self._capacity, filled)
        self._at = now
        return self._level >= min(amount, self._capacity)

    def take(self, amount: float) -> None:
        """Charge it; a negative amount is given back."""
        self._level = min(self._capacity, self._level - amount)


class Charge(NamedTuple):
    """What a copy was charged when it was let go, to be corrected."""

    tokens: Tokens
    spend: float


class Budget:
    """One target's budget for copies, whatever release they are for."""

    def __init__(self, settings: ShadowSettings) -> None:
        self._settings = settings
        self._copies = _bucket(settings.copies_per_minute, least=1.0)
        self._tokens = _bucket(settings.tokens_per_minute)
        self._spend = _bucket(settings.spend_per_minute)
        self._written_expected = 0.0
        self.tokens_total = 0.0
        self.spend_total = 0.0

    @property
    def counts_tokens(self) -> bool:
        """Does anybody ask what is in an answer?"""
        return self._tokens is not None or self._spend is not None

    def let_go(self, request_bytes: int, now: float) -> Charge | None:
        """Charge a copy that is about to go; None, and nothing charged, where it is over budget."""
        tokens = Tokens(request_bytes / _BYTES_PER_TOKEN, self._written_expected)
        charge = Charge(tokens, self._price(tokens))
        asked = ((self._copies, 1.0), (self._tokens, tokens.total), (self._spend, charge.spend))
        if not all(bucket.has(amount, now) for bucket, amount in asked if bucket is not None):
            return None
        for bucket, amount in asked:
            if bucket is not None:
                bucket.take(amount)
        return charge

    def give_back(self, charge: Charge) -> None:
        """The copy was not sent after all."""
        if self._copies is not None:
            self._copies.take(-1.0)
        self._correct(charge, Tokens(0.0, 0.0))

    def answered(self, charge: Charge, request_bytes: int, answer: bytes, encoding: str) -> None:
        """Correct the charge by what the answer tells, or by its length."""
        used = told_tokens(answer) if self.counts_tokens and not encoding else None
        if used is None:
            used = Tokens(request_bytes / _BYTES_PER_TOKEN, len(answer) / _BYTES_PER_TOKEN)
        self._written_expected += _MEMORY * (used.written - self._written_expected)
        self._correct(charge, used)
        self.tokens_total += used.total
        self.spend_total += self._price(used)

    def failed(self, charge: Charge) -> None:
        """No answer came: what the candidate read of it may still be billed."""
        used = Tokens(charge.tokens.read, 0.0)
        self._correct(charge, used)
        self.tokens_total += used.total
        self.spend_total += self._price(used)

    def _correct(self, charge: Charge, used: Tokens) -> None:
        if self._tokens is not None:
            self._tokens.take(used.total - charge.tokens.total)
        if self._spend is not None:
            self._spend.take(self._price(used) - charge.spend)

    def _price(self, tokens: Tokens) -> float:
        settings = self._settings
        read = tokens.read * settings.price_per_million_read
        return (read + tokens.written * settings.price_per_million_written) / _MILLION


def told_tokens(answer: bytes) -> Tokens | None:
    """The tokens that an answer tells, as `usage` of its JSON or of the last event that has one.

    Understood are `prompt_tokens` and `completion_tokens` (OpenAI's chat completions), `input_tokens`
    and `output_tokens` (its responses, and Anthropic's messages).
    """
    found = answer.rfind(b'"usage"')
    if found < 0:
        return None
    try:
        told: JsonValue = orjson.loads(_event_at(answer, found))
    except orjson.JSONDecodeError:
        return None
    usage = told.get("usage") if isinstance(told, dict) else None
    if not isinstance(usage, dict):
        return None
    read = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    written = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    return None if read is None or written is None else Tokens(read, written)


def _event_at(answer: bytes, position: int) -> bytes:
    """All of a JSON answer; of a stream of events (WHATWG server-sent events) the line at a position."""
    begin = answer.rfind(b"\n", 0, position) + 1
    if not answer.startswith(b"data:", begin):
        return answer
    end = answer.find(b"\n", position)
    return answer[begin + len(b"data:") : end if end >= 0 else len(answer)]


def _count(told: JsonValue) -> float | None:
    """A number of tokens that can be believed: a candidate tells its own price here."""
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MILLION * 10:
        return None
    return float(told)


def _bucket(per_minute: float | None, *, least: float = 0.0) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, least=least)
