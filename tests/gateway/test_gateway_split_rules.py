"""The rules of a split under any order of writes, late, repeated and stolen ones among them."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from split_builders import NEW, OLD, TIMING, HandClock, order, registered

from rampway.gateway import moves
from rampway.gateway.splits import TargetSplit, expire, observe
from rampway.gateway.terms import (
    ALL_BP,
    BadInput,
    Ending,
    Observed,
    PinCause,
    PinnedBy,
    Refused,
    Served,
    Token,
)

TTLS = st.floats(min_value=1, max_value=60)
SHARES = st.integers(0, ALL_BP)
SEQUENCES = st.integers(0, 40)
EPOCHS = st.integers(0, 6)


class AnyOrderOfWrites(RuleBasedStateMachine):
    """Remembers what was allowed, and compares it with what is in force after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.split = registered()
        self.ordered_bp = 0  # the last share, or end, that was accepted in this epoch
        self.lease_until = 0.0
        self.lowered_epochs: set[int] = set()  # pinned, or rolled back
        self.sequences: dict[int, int] = {}  # epoch -> the highest accepted
        self.accepted: list[tuple[Token, int, float, str]] = []
        self.baselines = {OLD.artifact}

    def observed(self) -> Observed:
        return observe(self.split, self.clock.monotonic())

    def token(self, epoch: int, sequence: int) -> Token:
        return Token(target=self.split.target, epoch=epoch, sequence=sequence)

    def accept(self, after: TargetSplit, token: Token) -> None:
        if after is self.split:
            return
        assert token.epoch == self.split.epoch
        assert token.sequence > self.sequences.get(token.epoch, 0)
        self.sequences[token.epoch] = token.sequence
        self.split = after

    @rule(release=st.sampled_from(["r1", "r2", "r3", "r4"]), swap=st.booleans())
    def claim(self, release: str, *, swap: bool) -> None:
        held = self.observed()
        old, new = (NEW, OLD) if swap else (OLD, NEW)
        asked = order(release).model_copy(update={"baseline": old, "candidate": new})
        try:
            after = moves.claim(self.split, asked, salt="5a" * 32, at=self.clock.now())
        except (Refused, BadInput):
            return
        if after is not self.split:
            assert not held.lease_seconds, "another release's lease lives"
            assert after.epoch > self.split.epoch
            self.ordered_bp = 0
            self.lease_until = self.clock.monotonic() + asked.ttl_seconds
            self.sequences[after.epoch] = 0
            self.split = after

    @rule(epoch=EPOCHS, sequence=SEQUENCES, share_bp=SHARES, ttl=TTLS, steal=st.booleans())
    def share(self, epoch: int, sequence: int, share_bp: int, ttl: float, *, steal: bool) -> None:
        token = self.token(epoch, sequence)
        op_id = "stolen" if steal else f"{epoch}/{sequence}/{share_bp}"
        try:
            after = moves.set_share(
                self.split,
                token,
                share_bp=share_bp,
                ttl_seconds=ttl,
                op_id=op_id,
                at=self.clock.now(),
            )
        except (Refused, BadInput):
            return
        if after is not self.split:
            self.ordered_bp = share_bp
            self.lease_until = self.clock.monotonic() + ttl
            self.accepted.append((token, share_bp, ttl, op_id))
        self.accept(after, token)

    @precondition(lambda self: bool(self.accepted))
    @rule(data=st.data())
    def repeat_a_share(self, data: st.DataObject) -> None:
        token, share_bp, ttl, op_id = data.draw(st.sampled_from(self.accepted))
        before = self.split
        try:
            after = moves.set_share(
                self.split,
                token,
                share_bp=share_bp,
                ttl_seconds=ttl,
                op_id=op_id,
                at=self.clock.now(),
            )
        except Refused:
            return
        assert after is before, "a repeated write changed something"

    @rule(epoch=EPOCHS, sequence=SEQUENCES, rate_bp=SHARES, ttl=TTLS)
    def shadow(self, epoch: int, sequence: int, rate_bp: int, ttl: float) -> None:
        token = self.token(epoch, sequence)
        share_before = self.observed().share_bp
        try:
            after = moves.shadow(
                self.split,
                token,
                rate_bp=rate_bp,
                ttl_seconds=ttl,
                op_id=f"{epoch}/{sequence}/shadow",
                at=self.clock.now(),
            )
        except (Refused, BadInput):
            return
        self.lease_until = max(self.lease_until, self.clock.monotonic() + ttl)
        self.accept(after, token)
        assert self.observed().share_bp == share_before

    @rule(epoch=EPOCHS, sequence=SEQUENCES, ttl=TTLS)
    def renew(self, epoch: int, sequence: int, ttl: float) -> None:
        before = self.observed()
        try:
            self.split = moves.renew(
                self.split, self.token(epoch, sequence), ttl_seconds=ttl, at=self.clock.now()
            )
        except Refused:
            return
        self.lease_until = max(self.lease_until, self.clock.monotonic() + ttl)
        assert self.observed().share_bp == before.share_bp

    @rule(epoch=EPOCHS, sequence=SEQUENCES, cause=st.sampled_from(PinCause))
    def pin(self, epoch: int, sequence: int, cause: PinCause) -> None:
        by = PinnedBy(cause=cause, op_id="pin")
        try:
            self.split = moves.pin(self.split, self.token(epoch, sequence), by, self.clock.now())
        except Refused:
            assert epoch != self.split.epoch or self.split.claim is None
            return
        self.lower(epoch, lasting=cause is not PinCause.LEASE_EXPIRED)

    @rule(epoch=EPOCHS, sequence=SEQUENCES)
    def roll_back(self, epoch: int, sequence: int) -> None:
        try:
            self.split = moves.end(
                self.split,
                self.token(epoch, sequence),
                ending=Ending.ROLLED_BACK,
                op_id="back",
                at=self.clock.now(),
            )
        except Refused:
            assert epoch != self.split.epoch or self.split.claim is None
            return
        self.lower(epoch, lasting=True)

    def lower(self, epoch: int, *, lasting: bool) -> None:
        assert self.observed().share_bp == 0
        self.ordered_bp = 0
        self.sequences[epoch] = max(self.sequences.get(epoch, 0), self.observed().segment)
        if lasting:
            self.lowered_epochs.add(epoch)

    @rule(epoch=EPOCHS, sequence=SEQUENCES)
    def promote(self, epoch: int, sequence: int) -> None:
        token, before = self.token(epoch, sequence), self.observed()
        try:
            after = moves.end(
                self.split, token, ending=Ending.PROMOTED, op_id="promote", at=self.clock.now()
            )
        except (Refused, BadInput):
            return
        if after is not self.split:
            assert before.lease_seconds
            assert before.pinned_by is None
            self.ordered_bp = ALL_BP
        self.accept(after, token)

    @rule(baseline=st.sampled_from([OLD, NEW]))
    def replace_the_baseline(self, baseline: Served) -> None:
        try:
            after = moves.reconfigure(self.split, TIMING, baseline, self.clock.now())
        except Refused:
            assert self.observed().lease_seconds
            return
        if after is not self.split:
            self.ordered_bp = 0
        self.split = after

    @rule(seconds=st.floats(0, 50))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def the_expiry_is_recorded(self) -> None:
        seen = self.observed()
        self.split = expire(self.split, self.clock.now())
        assert (self.observed().share_bp, self.observed().pinned_by) == (
            seen.share_bp,
            seen.pinned_by,
        )

    @rule()
    def the_process_restarts(self) -> None:
        self.split = TargetSplit.model_validate_json(self.split.model_dump_json())

    @invariant()
    def the_share_never_exceeds_what_was_last_written(self) -> None:
        assert self.observed().share_bp <= self.ordered_bp

    @invariant()
    def nothing_is_raised_in_an_epoch_that_was_pinned_or_rolled_back(self) -> None:
        seen = self.observed()
        if seen.epoch in self.lowered_epochs:
            assert (seen.share_bp, seen.shadow_bp) == (0, 0)

    @invariant()
    def without_a_lease_nothing_is_exposed_but_by_a_promotion(self) -> None:
        seen = self.observed()
        if seen.ended is Ending.PROMOTED:
            return
        if self.clock.monotonic() >= self.lease_until:
            assert (seen.share_bp, seen.shadow_bp) == (0, 0)

    @invariant()
    def the_artifact_that_serves_all_is_the_baseline(self) -> None:
        seen = self.observed()
        if seen.ended is Ending.PROMOTED:
            assert seen.baseline == seen.candidate


AnyOrderOfWrites.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
TestAnyOrderOfWrites = AnyOrderOfWrites.TestCase
