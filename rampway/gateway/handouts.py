"""What is kept of an answer for the feedback on it: a receipt that goes out with it, or a memory here."""

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from multidict import CIMultiDict

from rampway.gateway.headers import REQUEST_ID
from rampway.gateway.receipts import HEADER, Place
from rampway.gateway.settings import FeedbackSettings

if TYPE_CHECKING:
    from rampway.gateway.routing import Passage


class Remembered(NamedTuple):
    """Where a request was counted, and for which unit."""

    place: Place
    unit: bytes


class Handouts:
    """Receipts for the answers of an open split, and the last requests by target and id."""

    def __init__(self, settings: FeedbackSettings) -> None:
        self._gives_receipts = settings.receipts
        self._remembered_max = settings.remembered_requests
        self._requests: OrderedDict[tuple[str, str], Remembered] = OrderedDict()

    def hand_out(self, passage: "Passage", headers: CIMultiDict[str]) -> None:
        """Only for a request that counts: a unit counts with its first, so that is what it marks."""
        route = passage.route
        headers.popall(HEADER, None)  # an upstream has none to give
        if passage.cell is None or not route.share_bp or route.receipts is None:
            return
        place = Place(route.epoch, route.segment, route.counter.index_at(passage.began))
        if self._gives_receipts:
            headers[HEADER] = route.receipts.make(place, passage.unit)
            headers.setdefault(
                REQUEST_ID, passage.request_id
            )  # where it was drawn, nobody knows it
        if self._remembered_max:
            self._remember((route.target, passage.request_id), Remembered(place, passage.unit))

    def remembered(self, target: str, request_id: str) -> Remembered | None:
        return self._requests.get((target, request_id))

    def _remember(self, key: tuple[str, str], what: Remembered) -> None:
        self._requests[key] = what
        if len(self._requests) > self._remembered_max:
            self._requests.popitem(last=False)
