"""What the registry keeps: targets with their minimums, release headers, pages, whole records."""

from enum import StrEnum

from pydantic import AwareDatetime, Field, JsonValue

from rampway.gates.facts import Fact
from rampway.release.events import Event
from rampway.release.phases import Phase
from rampway.release.splits import Served


class TargetKind(StrEnum):
    """A demo target allows seconds and small exposures; every screen and record then says DEMO."""

    PRODUCTION = "production"
    DEMO = "demo"


class Minimums(Fact):
    """What no release author may go below; set by the platform's owners, per target."""

    hold_seconds: float = 1800
    shadow_seconds: float = 3600
    shadow_pairs: int = 10_000
    lease_seconds: float = 60
    screen_units: int = 300
    max_error_budget: float = Field(default=0.05, gt=0, lt=1)
    max_margin_odds: float = 3.0
    max_margin_abs: float = 0.02
    baseline_units: int = 10_000  # requests that a frozen latency threshold needs
    coverage: float = 0.9


class Target(Fact):
    """The endpoint a release goes to, as its owners configured it.

    `fast_seconds` and `timeout_seconds` are the fixed delays after which a slice is sealed for
    early failures and for everything that needs the whole answer; `judge_seconds` is the judge's
    lag limit. `traffic` names the data plane's address in the settings.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")
    kind: TargetKind = TargetKind.PRODUCTION
    team: str = ""
    slice_seconds: float = Field(default=10, gt=0)
    fast_seconds: float = Field(default=10, gt=0)
    timeout_seconds: float = Field(default=60, gt=0)
    judge_seconds: float = Field(default=120, gt=0)
    judge_levels: int = Field(default=2, ge=2, le=101)
    minimums: Minimums = Minimums()

    @property
    def seal_seconds(self) -> float:
        """How long after a slice's end all its rate streams are sealed."""
        return max(self.fast_seconds, self.timeout_seconds)


class Standing(Fact):
    """A target and the baseline it serves by the record."""

    target: Target
    baseline: Served


class Header(Fact):
    """What identifies a release, fixed when it starts."""

    release: str  # id: hex digest of target, artifact, spec and attempt
    name: str  # <target>-<first 6 hex of the id>
    target: Target
    owner: str
    team: str
    actor: str
    merged_at: AwareDatetime | None = None
    started_at: AwareDatetime
    baseline: Served
    candidate: Served
    spec: str  # digest of the spec blob
    plan: str  # digest of the plan blob
    offline_evidence: str | None = None  # digest of the paired cases
    attempt: int = Field(default=1, ge=1)
    workflow_id: str
    links: dict[str, str] = {}


class Record(Fact):
    """One release as the registry has it."""

    header: Header
    events: tuple[Event, ...]

    @property
    def phase(self) -> Phase:
        """Where the release is."""
        return self.events[-1].phase if self.events else Phase.PROPOSED


class Severity(StrEnum):
    """How urgent a page is."""

    ERROR = "error"
    CRITICAL = "critical"


class Page(Fact):
    """One page to the person on call; `key` makes a repeated delivery the same incident."""

    key: str  # rampway/<environment>/<release name>/<step>/<cause>
    severity: Severity
    summary: str = Field(max_length=1024)
    release: str
    target: str
    details: dict[str, JsonValue] = {}
    links: dict[str, str] = {}
