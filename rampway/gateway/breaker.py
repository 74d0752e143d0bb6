"""Stops copying to a candidate that does not answer: opens after failures in a row, then probes."""


class Breaker:
    """Closed at first. Times are monotonic seconds, given by the caller.

    After `failures_max` failures in a row it is open for `open_seconds`; then one probe is let
    through, whose outcome closes it or opens it again.
    """

    def __init__(self, *, failures_max: int, open_seconds: float) -> None:
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._failures_in_a_row = 0
        self._open_until: float | None = None
        self._probe_until = 0.0

    def allows(self, now: float) -> bool:
        """May this copy go? While half open only one may, and another if nothing is heard of it."""
        if self._open_until is None:
            return True
        if now < self._open_until or now < self._probe_until:
            return False
        self._probe_until = now + self._open_seconds
        return True

    def is_open(self) -> bool:
        return self._open_until is not None

    def answered(self) -> None:
        self._failures_in_a_row = 0
        self._open_until = None
        self._probe_until = 0.0

    def failed(self, now: float) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._failures_max or self._open_until is not None:
            self._open_until = now + self._open_seconds
            self._probe_until = 0.0
