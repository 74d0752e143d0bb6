"""What is kept of an answer for the feedback on it: a receipt that goes out with it, or a memory here."""

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict

from rampway.gateway.headers import REQUEST_ID
from rampway.gateway.receipts import HEADER, Place
from rampway.gateway.settings import FeedbackSettings

if TYPE_CHECKING:
    from rampway.gateway.routing import Passage


_Kept = tuple[int, int, int, bytes]


class Remembered(NamedTuple):
    """Where a request was counted, and for which unit."""

    place: Place
    unit: bytes


class Handouts:
    """Receipts for the answers of an open split, and the last requests by target and id."""

    def __init__(self, settings: FeedbackSettings) -> None:
        self._gives_receipts = settings.receipts
        self._remembered_max = settings.remembered_requests
        # Plain tuples of epoch, segment, slice and unit: named ones take longer to make than to keep.
        self._requests: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def hand_out(self, passage: "Passage", headers: CIMultiDict[str]) -> None:
        """Only for a request that counts: a unit counts with its first, so that is what it marks."""
        route = passage.route
        headers.popall(HEADER, None)  # an upstream has none to give
        if passage.cell is None or not route.share_bp or route.receipts is None:
            return
        epoch, segment, unit = route.epoch, route.segment, passage.unit
        index = route.counter.index_at(passage.began)
        if self._gives_receipts:
            headers[HEADER] = route.receipts.make((epoch, segment, index), unit)
            headers.setdefault(
                REQUEST_ID, passage.request_id
            )  # where it was drawn, nobody knows it
        if self._remembered_max:
            requests = self._requests
            requests[route.target, passage.request_id] = (epoch, segment, index, unit)
            if len(requests) > self._remembered_max:
                requests.popitem(last=False)

    def remembered(self, target: str, request_id: str) -> Remembered | None:
        kept = self._requests.get((target, request_id))
        if kept is None:
            return None
        epoch, segment, index, unit = kept
        return Remembered(Place(epoch, segment, index), unit)
