"""A span of a request to a canary, as the gateway would queue it."""

from split_builders import TIMING, canary

from rampway.gateway.callers import Caller
from rampway.gateway.counting import Outcome, SegmentCounter
from rampway.gateway.metrics import Meters
from rampway.gateway.routing import Passage, Route
from rampway.gateway.terms import Arm, Reason
from rampway.gateway.tracing import OpenSpan, Parent, SpanRecord

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def record(
    request_id: str = "u1", *, outcome: Outcome | None = None, is_copy: bool = False
) -> SpanRecord:
    """The span of a request to the candidate in a canary of 5 %, or of its copy."""
    split = canary()
    counter = SegmentCounter(epoch=1, number=3, began=1_000.0, timing=TIMING)
    route = Route(split, counter=counter, meters=Meters(), pairing=None, sampling=None)
    assert route.candidate is not None
    dealt = (Arm.CANDIDATE, route.candidate, Reason.SPLIT)
    caller = Caller(request_id, b"user-1", is_trusted=True)
    passage = Passage(route, dealt, caller, TRACE)
    ended: list[SpanRecord] = []
    span = OpenSpan(ended.append, trace_id=TRACE, parent=Parent(TRACE, SPAN, 1), flags=1)
    span.ask("POST", "/v1/chat/completions", b'{"model": "m1"}', {})
    told = span.copy() if is_copy else span
    told.end(passage, outcome or Outcome(status=200, answered=True), 1_790_000_000.25, 0.5)
    return ended[0]
