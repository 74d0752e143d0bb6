"""Who a request is from: its id, the unit that is given an arm, and the arm its tenant is pinned to.

All three are believed from trusted edges only. What anybody may send must choose nothing: of a peer
outside they are not read at all, and the id, which is then the unit, is drawn.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from itertools import takewhile
from typing import Final, Protocol

from multidict import CIMultiDict

from rampway.gateway.headers import REQUEST_ID
from rampway.gateway.requestids import RequestIds
from rampway.gateway.settings import Networks, TenantSettings, UnitSettings
from rampway.gateway.terms import Arm

PEERS_REMEMBERED: Final = 4_096


class Fields(Protocol):
    """The fields of a request's header, duplicates kept."""

    def getall(self, key: str, default: Sequence[str]) -> Sequence[str]: ...


class Caller:
    """`unit` is raw header bytes. `pin` is the arm of a pinned tenant; None for everybody else."""

    __slots__ = ("is_trusted", "pin", "request_id", "unit")  # half of a named tuple's cost

    def __init__(self, request_id: str, unit: bytes, *, is_trusted: bool) -> None:
        self.request_id = request_id
        self.unit = unit
        self.pin: Arm | None = None
        self.is_trusted = is_trusted


class Callers:
    """Tells who each request is from."""

    def __init__(self, units: UnitSettings, tenants: TenantSettings) -> None:
        self._edges = Edges(units.trusted_edges)
        self._ids = RequestIds()
        # The id's own field ends the list, for without it the id is the unit.
        self._unit_headers = tuple(takewhile(lambda name: name != REQUEST_ID, units.headers))
        self._tenant_header = tenants.header
        self._pins: Mapping[str, Arm] = {
            **dict.fromkeys(tenants.baseline, Arm.BASELINE),
            **dict.fromkeys(tenants.candidate, Arm.CANDIDATE),
        }
        told = {*units.headers, tenants.header} - {None, REQUEST_ID}
        self._vouched_for = frozenset(name for name in told if name)

    def who(self, peer: str | None, fields: Fields) -> Caller:
        """The caller, by the address of the direct peer and the fields of the request."""
        if not self._edges.trust(peer):
            request_id = self._ids.draw()
            return Caller(request_id, request_id.encode(), is_trusted=False)
        request_id = _only(fields, REQUEST_ID) or self._ids.draw()
        unit = request_id
        for name in self._unit_headers:
            found = _only(fields, name)
            if found:
                unit = found
                break
        caller = Caller(request_id, unit.encode("utf-8", "surrogateescape"), is_trusted=True)
        if self._pins and self._tenant_header:
            caller.pin = self._pins.get(_only(fields, self._tenant_header) or "")
        return caller

    def believed(self, caller: Caller, headers: CIMultiDict[str]) -> CIMultiDict[str]:
        """What may go on upstream: nobody is told a user or tenant for whom no edge vouches."""
        if not caller.is_trusted:
            for name in self._vouched_for:
                headers.popall(name, None)
        return headers


class Edges:
    """The networks whose word is taken. Answers are remembered by address, so that one costs a look-up."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._known: dict[str | None, bool] = {}

    def trust(self, peer: str | None) -> bool:
        """Is the direct peer one of them? An address that is none is not."""
        known = self._known.get(peer)
        if known is None:
            if len(self._known) >= PEERS_REMEMBERED:  # one IPv6 caller has more than fit
                self._known.clear()
            known = self._known[peer] = self._holds(peer)
        return known

    def _holds(self, peer: str | None) -> bool:
        try:
            address = ip_address((peer or "").partition("%")[0])
        except ValueError:
            return False
        # A listener on `::` tells IPv4 peers as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _only(fields: Fields, name: str) -> str | None:
    """The field's value; None where it is missing, empty, or told twice.

    Twice: an edge that adds its field instead of replacing it leaves the caller's own beside it, and
    nobody can tell which is which.
    """
    told = fields.getall(name, ())
    return told[0] or None if len(told) == 1 else None
