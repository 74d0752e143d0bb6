"""Which request a log line is about: its arm, target, release and ids, on every line that is written while it runs."""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Final, NamedTuple

from rampway.gateway.routing import Passage
from rampway.gateway.terms import Arm


class CopyOf(NamedTuple):
    """The copy of a request."""

    passage: Passage


# The passage itself: each field bound to structlog's own context variables would cost 2 us per request.
# Never reset: a request, and a copy, has a task and so a context of its own.
REQUEST: Final[ContextVar[Passage | CopyOf | None]] = ContextVar("request", default=None)


def about_request(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """A structlog processor: adds the request's fields, under the names of the traffic log and of spans."""
    about = REQUEST.get()
    if about is not None:
        is_copy = isinstance(about, CopyOf)
        passage = about.passage if isinstance(about, CopyOf) else about
        route = passage.route
        arm = Arm.CANDIDATE if is_copy else passage.arm
        event.update(
            {
                "traffic.arm": arm.value,
                "rampway.shadow": is_copy,
                "target": route.target,
                "release": route.release,
                "segment": route.segment,
                "trace_id": passage.trace_id,
                "request_id": passage.request_id,
            }
        )
    return event
