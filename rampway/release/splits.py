"""How a release speaks of traffic: who serves, under which token, and what the data plane answers."""

from enum import StrEnum

from pydantic import Field, JsonValue

from rampway.gates.facts import Fact
from rampway.gates.plans import Share


class Serve(Fact):
    """How one artifact is served: a configured upstream by name, and the fields set per request.

    URLs and credentials live only in the gateway's settings. `fields` are merged into a JSON
    request body, `headers` into the request's headers.
    """

    upstream: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    fields: dict[str, JsonValue] = {}
    headers: dict[str, str] = {}


class Served(Fact):
    """An artifact, by digest, and how it is served."""

    artifact: str
    serve: Serve


class Token(Fact):
    """Fences traffic writes: the claim's epoch and the sequence of the event that ordered a write."""

    target: str
    epoch: int = Field(ge=0)
    sequence: int = Field(ge=0)


class Ending(StrEnum):
    """How a claim ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class PinCause(StrEnum):
    """Why traffic was sent back to the baseline."""

    BREACH = "breach"
    ABORT = "abort"
    LEASE_EXPIRED = "lease_expired"
    CONTROL_LOST = "control_lost"
    DEADLINE = "deadline"


class PinnedBy(Fact):
    """The pin nobody may have lived to report: its cause, operation and words."""

    cause: PinCause
    op_id: str
    why: str = ""


class Observed(Fact):
    """What the data plane does now, and whether every instance does it.

    `segment` is the sequence of the write in force; `lease_seconds` what is left of the lease (None:
    no lease, which is right before a claim and after a promotion).
    """

    target: str
    epoch: int
    segment: int
    release: str | None
    share_bp: Share
    shadow_bp: Share
    baseline: str
    candidate: str | None
    ended: Ending | None = None
    pinned_by: PinnedBy | None = None
    lease_seconds: float | None = None
    applied_by_every_instance: bool
    instances: int = 1
    laggards: tuple[str, ...] = ()


class Capabilities(Fact):
    """What a target's data plane can express."""

    granularity_bp: int = Field(gt=0)  # the smallest share step
    sticky: bool
    mirror: bool
    propagation_seconds: float


class RefusalCode(StrEnum):
    """Why the data plane refuses a write; the caller handles each differently."""

    FENCED = "fenced"  # a later write or another claim is in force: stand down
    LEASE_LOST = "lease_lost"  # the split has decayed to the baseline
    BUSY = "busy"  # another release holds the target
    BASELINE_MOVED = "baseline_moved"  # the target no longer serves the claimed baseline
    PINNED = "pinned"  # this epoch may only end
    UNKNOWN = "unknown"  # no such target, upstream or artifact


class Refused(Exception):
    """The data plane understood and refused a write."""

    def __init__(self, code: RefusalCode, why: str) -> None:
        super().__init__(f"refused [{code}]: {why}")
        self.code = code
        self.why = why
