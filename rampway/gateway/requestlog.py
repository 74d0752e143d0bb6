"""Which request a log line is about: its arm, target, release and ids, on every line that is written while it runs."""

from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Final, NamedTuple

from rampway.gateway.routing import Passage
from rampway.gateway.terms import Arm


class About(NamedTuple):
    """A request on its way, or the copy of one."""

    passage: Passage
    is_copy: bool = False


# One cell for all fields: binding each to structlog's own context variables would cost 2 us per request.
REQUEST: Final[ContextVar[About | None]] = ContextVar("request", default=None)


def about_request(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """A structlog processor: adds the request's fields, under the names of the traffic log and of spans."""
    about = REQUEST.get()
    if about is not None:
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
