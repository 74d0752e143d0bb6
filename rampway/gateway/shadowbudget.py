"""What a target's copies may cost in a minute: copies, tokens and money, each a token bucket.

A copy is charged when it is let go, by what its like cost before, and corrected when its answer tells.
So a burst may overdraw a bucket by what is in flight; nothing goes then until that is made good.
"""

from typing import Final, NamedTuple

from rampway.gateway.findings import Finding
from rampway.gateway.settings import ShadowSettings

BURST_SECONDS: Final = 10.0  # of the budget may be used at once, at least one copy's worth
TOKENS_BELIEVED_MAX: Final = 10_000_000  # of one answer, each way
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


class Prices(NamedTuple):
    """What a million tokens cost, in any one currency."""

    read: float
    written: float


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
        self._prices = Prices(settings.price_per_million_read, settings.price_per_million_written)
        self._copies = _bucket(settings.copies_per_minute, least=1.0)
        self._tokens = _bucket(settings.tokens_per_minute)
        self._spend = _bucket(settings.spend_per_minute)
        self._written_expected = 0.0
        self.tokens_total = 0.0
        self.spend_total = 0.0

    def let_go(self, request_bytes: int, now: float, prices: Prices | None = None) -> Charge | None:
        """Charge a copy that is about to go; None, and nothing charged, where it is over budget.

        `prices` are the model's own; without them those of the settings hold.
        """
        tokens = Tokens(request_bytes / _BYTES_PER_TOKEN, self._written_expected)
        charge = Charge(tokens, self._spent(tokens, prices))
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
        self._correct(charge, Tokens(0.0, 0.0), 0.0)

    def ended(self, charge: Charge, used: Tokens, prices: Prices | None = None) -> None:
        """Correct the charge by what was used, answered or not: what the candidate read may be billed."""
        if used.written:
            self._written_expected += _MEMORY * (used.written - self._written_expected)
        spent = self._spent(used, prices)
        self._correct(charge, used, spent)
        self.tokens_total += used.total
        self.spend_total += spent

    def _correct(self, charge: Charge, used: Tokens, spent: float) -> None:
        if self._tokens is not None:
            self._tokens.take(used.total - charge.tokens.total)
        if self._spend is not None:
            self._spend.take(spent - charge.spend)

    def _spent(self, tokens: Tokens, prices: Prices | None) -> float:
        read, written = prices or self._prices
        return (tokens.read * read + tokens.written * written) / _MILLION


def used(request_bytes: int, answer_bytes: int, finding: Finding | None) -> Tokens:
    """What went in and came out, as far as the answer tells it; what it does not tell, by its length."""
    read = finding.prompt_tokens if finding else None
    written = finding.completion_tokens if finding else None
    return Tokens(_believed(read, request_bytes), _believed(written, answer_bytes))


def _believed(told: int | None, size_bytes: int) -> float:
    """A candidate tells its own price here: one lie must not stop copying for a year."""
    if told is None or told > TOKENS_BELIEVED_MAX:
        return size_bytes / _BYTES_PER_TOKEN
    return float(told)


def _bucket(per_minute: float | None, *, least: float = 0.0) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, least=least)
