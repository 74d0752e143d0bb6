"""The parts of a gateway that decide and count, however many processes serve; and the time that they keep."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rampway.gateway.authority import Authority
from rampway.gateway.clockwork import beside, keep_doing
from rampway.gateway.counts import Counts
from rampway.gateway.feedback import Feedback
from rampway.gateway.handouts import Handouts
from rampway.gateway.instances import Instances
from rampway.gateway.settings import Settings
from rampway.gateway.splits import TargetSplit
from rampway.gateway.state import StateFile, boot_id
from rampway.gateway.terms import Clock
from rampway.gateway.truth import Truth


@dataclass(frozen=True)
class Deciding:
    """Who is the authority, what is counted, and what users say of it."""

    authority: Authority
    counts: Counts
    feedback: Feedback
    clock: Clock

    @classmethod
    def open(
        cls,
        parts: AsyncExitStack,
        settings: Settings,
        *,
        counts: Counts,
        changed: Callable[[TargetSplit], None],
        instances: Instances | None,
        handouts: Handouts | None,
        clock: Clock,
    ) -> "Deciding":
        """Closed with the stack. The authority is still to be loaded, before anybody can connect."""
        parts.callback(counts.close)
        boot = boot_id()
        authority = Authority(
            state=StateFile(settings.state_dir, boot_id=boot),
            truth=Truth(settings.state_dir),
            clock=clock,
            upstreams=frozenset(settings.upstreams),
            boot_id=boot,
            changed=changed,
            instances=instances,
        )
        parts.callback(authority.close)
        feedback = Feedback(
            settings.state_dir,
            settings.feedback,
            counts=counts,
            split_of=authority.split,
            handouts=handouts,
            clock=clock,
        )
        parts.callback(feedback.close)
        return cls(authority, counts, feedback, clock)

    def keep_time(
        self,
        parts: AsyncExitStack,
        act: Callable[[], Awaitable[None]],
        next_due: Callable[[], float | None],
    ) -> None:
        """Expire, seal, and `act`: three tasks, so that a disk that hangs under one holds up no other."""

        async def expire() -> None:
            self.authority.lapse_due()
            await self.authority.record()

        clock, counts = self.clock, self.counts
        for work in (
            keep_doing(expire, next_due=self.authority.next_expiry, clock=clock),
            keep_doing(counts.seal_due, next_due=counts.next_seal, clock=clock),
            keep_doing(act, next_due=next_due, clock=clock),
        ):
            beside(parts, work)
