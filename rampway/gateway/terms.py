"""The words and facts of traffic writes: what is asked, what is in force, what is answered and refused.

The gateway stands alone, so it states here, in its own types, the contract that its callers also
know: a claim gives an epoch, a token of (epoch, sequence) fences each write, a lease bounds it.
"""

import re
from enum import StrEnum
from typing import Annotated, NamedTuple, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

ALL_BP = 10_000  # basis points: all traffic
LEASE_SECONDS_MAX = 3_600.0
FORBIDDEN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)


def _settable(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ValueError(f"{name!r} is not a header name (RFC 9110 5.1)")
        if name.lower() in FORBIDDEN_HEADERS or name.lower().startswith(("proxy-", "x-rampway-")):
            raise ValueError(f"the header {name!r} belongs to the gateway and cannot be set")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
            raise ValueError(f"the value of header {name!r} holds a control character")
    return headers


Share = Annotated[int, Field(ge=0, le=ALL_BP)]
Seconds = Annotated[float, Field(gt=0, le=LEASE_SECONDS_MAX)]
TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
ReleaseName = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
OpId = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,300}$")]
Artifact = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]
Headers = Annotated[dict[str, str], AfterValidator(_settable)]


class Fact(BaseModel):
    """A value that is stored or sent: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Instant(NamedTuple):
    """One moment on both clocks: monotonic seconds decide, wall seconds are for people."""

    monotonic: float
    wall: float


class Clock(Protocol):
    """Reads both clocks; injected, so that tests move time themselves."""

    def monotonic(self) -> float: ...

    def now(self) -> Instant: ...


class Arm(StrEnum):
    """Who serves a request."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class Reason(StrEnum):
    """Why a request has its arm, in the words of OpenTelemetry's feature-flag conventions."""

    SPLIT = "split"  # dealt by the hash
    TARGETING_MATCH = "targeting_match"  # its tenant is pinned
    STATIC = "static"  # the candidate has all traffic
    DISABLED = "disabled"  # the release was pinned, rolled back or lost its lease
    DEFAULT = "default"  # no release asks for a share


class Serve(Fact):
    """How an artifact is served: a configured upstream by name, and what is set on each request."""

    upstream: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    fields: dict[str, JsonValue] = {}
    headers: Headers = {}


class Served(Fact):
    """An artifact, by digest, and how it is served."""

    artifact: Artifact
    serve: Serve


class Token(Fact):
    """Fences a write: the claim's epoch and the sequence of the event that ordered the write."""

    target: TargetName
    epoch: int = Field(ge=0)
    sequence: int = Field(ge=0)


class Ending(StrEnum):
    """How a claim ends."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class PinCause(StrEnum):
    """Why traffic went back to the baseline."""

    BREACH = "breach"
    ABORT = "abort"
    LEASE_EXPIRED = "lease_expired"
    CONTROL_LOST = "control_lost"
    DEADLINE = "deadline"


class PinnedBy(Fact):
    """The pin: its cause, its operation, its words."""

    cause: PinCause
    op_id: OpId
    why: str = Field(default="", max_length=4_000)


class Timing(Fact):
    """How a target's requests are cut into slices, and when a slice is sealed. All in seconds.

    A failure within `fast_seconds` of the start is in the fast stream; what is not complete after
    `timeout_seconds` is late. `judge_seconds` is kept for the judge's readers, never used here.
    """

    slice_seconds: float = Field(ge=0.1, le=3_600)
    fast_seconds: float = Field(ge=0.01, le=3_600)
    timeout_seconds: float = Field(ge=0.01, le=3_600)
    judge_seconds: float = Field(default=60.0, ge=0, le=86_400)

    @property
    def one_stream(self) -> bool:
        """All that fails or is unfinished at the time-out is then one stream, `error`."""
        return self.timeout_seconds <= self.fast_seconds

    @property
    def fast_delay_seconds(self) -> float:
        return min(self.fast_seconds, self.timeout_seconds)


class Observed(Fact):
    """What the gateway does now. `segment` is the sequence of the write in force.

    `lease_seconds` is what is left of the lease; None where no lease is due (before a claim, after
    its end).
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
    applied_by_every_instance: bool = True
    instances: int = 1
    laggards: tuple[str, ...] = ()


class RefusalCode(StrEnum):
    """Why a write is refused; a caller handles each differently."""

    FENCED = "fenced"
    LEASE_LOST = "lease_lost"
    BUSY = "busy"
    BASELINE_MOVED = "baseline_moved"
    PINNED = "pinned"
    UNKNOWN = "unknown"


class Refused(Exception):
    """The write was understood and refused; nothing changed."""

    def __init__(self, code: RefusalCode, why: str) -> None:
        super().__init__(f"refused [{code}]: {why}")
        self.code = code
        self.why = why


class BadInput(Exception):
    """The write contradicts itself or an earlier one; sending it again will not help."""


class UnknownUpstream(BadInput):
    """A write names an upstream that this gateway's settings do not have."""


class NotStored(Exception):
    """The state could not be written to disk; a lowering is in force all the same, a raise is not."""
