"""Valid splits, tokens and clocks for the gateway's tests; a test changes the one fact it is about."""

from rampway.gateway import moves
from rampway.gateway.splits import ClaimOrder, TargetSplit
from rampway.gateway.terms import Instant, PinCause, PinnedBy, Serve, Served, Timing, Token

TARGET = "tutor"
TTL_SECONDS = 60.0
TIMING = Timing(slice_seconds=10.0, fast_seconds=10.0, timeout_seconds=60.0, judge_seconds=60.0)
OLD = Served(artifact="sha256:" + "a" * 64, serve=Serve(upstream="a"))
NEW = Served(artifact="sha256:" + "b" * 64, serve=Serve(upstream="b"))
BREACH = PinnedBy(cause=PinCause.BREACH, op_id="r1/pin", why="errors")


class HandClock:
    """A clock that the test moves."""

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._now = Instant(monotonic, wall)

    def monotonic(self) -> float:
        return self._now.monotonic

    def now(self) -> Instant:
        return self._now

    def advance(self, seconds: float) -> Instant:
        self._now = Instant(self._now.monotonic + seconds, self._now.wall + seconds)
        return self._now


def at(seconds: float = 0.0) -> Instant:
    """`seconds` after the tests' beginning of time."""
    return Instant(1_000.0 + seconds, 1_700_000_000.0 + seconds)


def order(release: str = "r1", *, candidate: Served = NEW) -> ClaimOrder:
    return ClaimOrder(
        release=release,
        baseline=OLD,
        candidate=candidate,
        ttl_seconds=TTL_SECONDS,
        op_id=f"{release}/claim",
    )


def token(sequence: int, *, epoch: int = 1) -> Token:
    return Token(target=TARGET, epoch=epoch, sequence=sequence)


def registered() -> TargetSplit:
    return moves.register(TARGET, TIMING, OLD, epoch=0, at=at())


def claimed(release: str = "r1") -> TargetSplit:
    return moves.claim(registered(), order(release), salt="5a" * 32, at=at())


def canary(share_bp: int = 500, *, sequence: int = 3) -> TargetSplit:
    return moves.set_share(
        claimed(),
        token(sequence),
        share_bp=share_bp,
        ttl_seconds=TTL_SECONDS,
        op_id=f"r1/share/{sequence}",
        at=at(),
    )


def shadowing(rate_bp: int = 3_000, *, sequence: int = 2) -> TargetSplit:
    return moves.shadow(
        claimed(),
        token(sequence),
        rate_bp=rate_bp,
        ttl_seconds=TTL_SECONDS,
        op_id=f"r1/shadow/{sequence}",
        at=at(),
    )
