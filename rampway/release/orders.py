"""What a release is started with, what can be asked of it while it runs, and how it ended."""

from pydantic import AwareDatetime

from rampway.gates.facts import Fact
from rampway.gates.verdicts import StageVerdict
from rampway.release.controls import Handled
from rampway.release.phases import Phase
from rampway.release.plan import ReleasePlan
from rampway.release.records import Header


class ReleaseOrder(Fact):
    """Everything a release needs, frozen when it starts; later changes are a new release."""

    header: Header
    plan: ReleasePlan
    environment: str = "production"
    report_url: str | None = None


class Progress(Fact):
    """Where a release is now: the answer of the `progress` query."""

    name: str
    phase: Phase
    share_bp: int
    step: str | None = None
    line: str
    verdict: StageVerdict | None = None
    evidence: str | None = None
    paused_by: str | None = None
    passed: tuple[str, ...] = ()
    stage_began_at: AwareDatetime | None = None
    hold_ends_at: AwareDatetime | None = None
    deadline_at: AwareDatetime | None = None
    handled: tuple[Handled, ...] = ()
    events: int = 0
    recorded: int = 0
    overrides: int = 0
    owner: str = ""


class Outcome(Fact):
    """How a release ended: a rolled-back release is a completed one."""

    name: str
    phase: Phase
    reason: str
    overrides: int = 0
