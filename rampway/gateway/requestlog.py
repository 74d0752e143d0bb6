"""Which request a log line is about: its arm, target, release and ids, on every line that is written while it runs."""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Final

from rampway.gateway.routing import Passage
from rampway.gateway.terms import Arm


class About:
    """What runs in a context: a request, or the copy of one, until it is over.

    Connections and timers that are begun for a request keep its context for as long as they live; what
    they keep must not be its passage, which holds bodies and the counts of a segment.
    """

    __slots__ = ("is_copy", "passage")

    def __init__(self, passage: Passage | None = None, *, is_copy: bool = False) -> None:
        self.passage = passage
        self.is_copy = is_copy

    def over(self) -> None:
        self.passage = None


# The passage itself: each field bound to structlog's own context variables would cost 2 us per request.
ABOUT: Final[ContextVar[About | None]] = ContextVar("about", default=None)


def about_request(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """A structlog processor: adds the request's fields, under the names of the traffic log and of spans."""
    about = ABOUT.get()
    if about is not None and about.passage is not None:
        passage = about.passage
        route = passage.route
        arm = Arm.CANDIDATE if about.is_copy else passage.arm
        event.update(
            {
                "traffic.arm": arm.value,
                "rampway.shadow": about.is_copy,
                "target": route.target,
                "release": route.release,
                "segment": route.segment,
                "trace_id": passage.trace_id,
                "request_id": passage.request_id,
            }
        )
    return event
