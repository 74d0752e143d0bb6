"""What the release asks of each activity, and the facts that come back."""

from enum import StrEnum

from pydantic import Field

from rampway.gates.facts import Fact
from rampway.gates.plans import OfflinePlan, StagePlan
from rampway.gates.verdicts import OfflineVerdict, StageVerdict, Verdict
from rampway.release.events import Event
from rampway.release.records import Page
from rampway.release.splits import PinnedBy, Served, Token


class OfflineAsk(Fact):
    """Weigh stored paired cases against today's baseline."""

    target: str
    plan: OfflinePlan
    evidence: str | None  # digest of the paired cases
    candidate: str
    exposes: bool = True  # whether a stage after the gate serves the candidate to anyone


class Digests(Fact):
    """Where a verdict's parts are, or will be, stored."""

    plan: str
    evidence: str | None
    verdict: str


class OfflineJudged(Fact):
    """The offline gate's verdict and its stored parts."""

    verdict: OfflineVerdict
    digests: Digests


class ClaimAsk(Fact):
    """Take the target for one release."""

    target: str
    release: str
    baseline: Served
    candidate: Served
    lease_seconds: float


class Claimed(Fact):
    """The claim's token, or who holds the target."""

    token: Token | None = None
    busy: str | None = None


class MeasureAsk(Fact):
    """Freeze a stage's thresholds from what the baseline did before it."""

    target: str
    plan: StagePlan
    baseline_units: int


class Measured(Fact):
    """The stage's plan with its baselines frozen, and its stored digest."""

    plan: StagePlan
    plan_digest: str


class SplitAsk(Fact):
    """Put a share, or a shadow rate, in force on every instance."""

    token: Token
    share_bp: int | None = None
    shadow_bp: int | None = None
    lease_seconds: float
    op_id: str


class WatchAsk(Fact):
    """Look at a stage every few seconds for a while; pin at once on a BREACH.

    `lag_seconds` is how long the stage has run before its first slice can be counted at all: until
    then its silence is no blindness.
    """

    token: Token
    plan: StagePlan
    seconds: float = Field(gt=0)
    look_seconds: float = Field(gt=0)
    lag_seconds: float = 0.0
    lease_seconds: float | None  # None: nothing to renew (after promotion)
    until_pass: bool  # come back as soon as the stage can pass
    slices_seen: int = -1  # by the watch before this one
    blind_seconds: float = 0.0  # since the evidence last grew, when that watch came back
    op_id: str


class WatchEnd(StrEnum):
    """Why a watch came back."""

    LOOKED = "looked"  # its time is over, or the stage can pass
    BREACH = "breach"  # pinned
    BLIND = "blind"  # pinned: no evidence for too long
    STOOD_DOWN = "stood down"  # a later write of this release is in force
    LEASE_LOST = "lease lost"  # the split has decayed to the baseline
    CONTROL_LOST = "control lost"  # someone else holds or pinned the target


class Judged(Fact):
    """A stage's verdict and the digests of its parts.

    `evidence` carries the counts in canonical JSON where they are not stored yet, so that a dead
    registry loses nothing; it is None where they are.
    """

    verdict: StageVerdict
    digests: Digests
    evidence: str | None = None


class Watched(Fact):
    """What a watch saw. `seconds` is how long it looked, a duration by its own clock."""

    end: WatchEnd
    seconds: float
    looks: int
    judged: Judged | None = None
    to_zero_seconds: float | None = None  # from the crossing look to share 0
    slices_seen: int = -1
    blind_seconds: float = 0.0
    why: str = ""


class DecideAsk(Fact):
    """Weigh a hold on all its evidence and store what was weighed."""

    token: Token
    plan: StagePlan


class Decided(Fact):
    """A hold's verdict; what is still open, and how long to extend before asking again."""

    judged: Judged
    verdict: Verdict
    open_gates: tuple[str, ...] = ()
    extend_seconds: float


class PromoteAsk(Fact):
    """Send the rest of the traffic and make the candidate the new baseline."""

    token: Token
    release: str
    candidate: Served
    op_id: str


class ConcludeAsk(Fact):
    """Send everything back to the baseline, as planned: the release only reports."""

    token: Token
    op_id: str


class UndoAsk(Fact):
    """Send everything back to the baseline. Without a token, only if this release holds the target."""

    target: str
    release: str
    token: Token | None
    by: PinnedBy
    op_id: str


class Undone(Fact):
    """The undo is confirmed by every instance; `pinned_by` is who pinned first."""

    pinned_by: PinnedBy | None
    confirmed: str
    seconds: float


class RepointAsk(Fact):
    """Let the registry point at the baseline again after a promotion was undone."""

    target: str
    release: str
    baseline: Served


class Blob(Fact):
    """A body to store under its digest: `plan`, `evidence` or `verdict`, as canonical JSON."""

    kind: str
    body: str


class RecordAsk(Fact):
    """Append events, and store blobs that could not be stored where they were made."""

    events: tuple[Event, ...]
    blobs: tuple[Blob, ...] = ()


class PageAsk(Fact):
    """Tell the person on call."""

    page: Page


class Paged(Fact):
    """The pager took it."""

    delivery: str
