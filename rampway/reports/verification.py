"""Is the record what was written, and do its decisions follow from its evidence? All of it, again."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter

from rampway.gates.evidence import Evidence, PairedCases
from rampway.gates.facts import Fact, canonical, digest_of_bytes
from rampway.gates.offline import weigh_offline
from rampway.gates.plans import AbPlan, OfflinePlan, SettlePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import OfflineVerdict, StageVerdict
from rampway.gates.weigh import weigh
from rampway.release.events import GENESIS, Event
from rampway.release.records import Record
from rampway.reports.chains import (
    CHANGED,
    Finding,
    anchor_findings,
    chain_findings,
    head_of,
    header_findings,
)
from rampway.reports.tampering import Change, changed_count, first_difference
from rampway.reports.words import integer, plain, plural, short

MAX_TOLD = 5

_PLANS: TypeAdapter[StepPlan | ShadowPlan | AbPlan | SettlePlan | OfflinePlan] = TypeAdapter(
    Annotated[
        StepPlan | ShadowPlan | AbPlan | SettlePlan | OfflinePlan, Field(discriminator="kind")
    ]
)
_EVIDENCE: TypeAdapter[Evidence | PairedCases] = TypeAdapter(
    Annotated[Evidence | PairedCases, Field(discriminator="kind")]
)


class Verification(Fact):
    """What came of verifying one release.

    `decisions` counts the verdicts that were computed again, `looks` the sealed slices behind them
    (each is one look; a stage that was decided several times counts once), `head` is the hash of the
    last event.
    """

    name: str
    events: int
    head: str
    decisions: int = 0
    looks: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def verified(self) -> bool:
        """The record holds."""
        return not self.findings


def digests_of(record: Record) -> tuple[str, ...]:
    """Every blob that `verify` asks for, once each."""
    return tuple(dict.fromkeys(digest for _, _, digest in _named(record)))


def verify(
    record: Record, blobs: Mapping[str, bytes], *, anchor: str | None = None
) -> Verification:
    """Verify a release: its chain and moves, its blobs by their digests, its verdicts bit for bit.

    `blobs` holds what is stored under `digests_of(record)`, as it is, changed or not; what is stored
    no more is left out. A chain cannot tell that its last events are gone: `anchor`, the hash of an
    event kept elsewhere (the head when it was anchored), can.
    """
    recount = _Recount(record, blobs)
    findings = [
        *header_findings(record),
        *chain_findings(record, blobs.keys()),
        *recount.findings(),
    ]
    if anchor is not None and not findings:
        findings += anchor_findings(record, anchor)
    return Verification(
        name=record.header.name,
        events=len(record.events),
        head=head_of(record),
        decisions=recount.decisions,
        looks=sum(recount.looks.values()),
        findings=tuple(sorted(findings, key=lambda finding: finding.sequence or 0)),
    )


def unreadable(name: str, *, sequence: int | None, why: str) -> Verification:
    """For a record of which the registry cannot even read a row (it raises Tampered)."""
    finding = Finding(
        sequence=sequence,
        what=CHANGED,
        where="its row",
        found="cannot be read",
        witness="the registry",
        expected=plain(why, 200).removesuffix("."),
    )
    return Verification(name=name, events=sequence or 0, head=GENESIS, findings=(finding,))


def verification_text(verification: Verification, *, elapsed_ms: float | None = None) -> str:
    """What `rampway verify` prints, without a line end at the end."""
    if verification.verified:
        took = "" if elapsed_ms is None else f". {elapsed_ms:.0f} ms"
        return (
            f"verified: {_looks(verification)} the same verdicts, "
            f"{plural(verification.events, 'event')} unbroken to {short(verification.head)}{took}"
        )
    first, *others = verification.findings
    told = [f"  {_whose(f)} {f.what}: {_detail(f)}." for f in others[: MAX_TOLD - 1]]
    more = len(others) - len(told)
    return "\n".join(
        [
            f"TAMPERED: {_whose(first)} {first.what}.",
            f"  {_detail(first)}.{_untrusted(verification, first)}",
            *told,
            *([f"  and {plural(more, 'more finding')}"] if more else []),
            f"  Next: keep the file; compare {plain(verification.name, 60)} with a backup",
        ]
    )


def _named(record: Record) -> Iterator[tuple[int | None, str, str]]:
    """Each naming of a blob: the event's number (None: the header), what it is, and its digest."""
    for event in record.events:
        named = (("plan", event.plan), ("evidence", event.evidence), ("verdict", event.verdict))
        for what, digest in named:
            if digest is not None:
                yield event.sequence, what, digest
    header = record.header
    yield None, "spec", header.spec
    yield None, "plan", header.plan
    if header.offline_evidence is not None:
        yield None, "offline evidence", header.offline_evidence


class _Recount:
    """Computes every verdict of a record again, and checks every blob on the way."""

    def __init__(self, record: Record, blobs: Mapping[str, bytes]) -> None:
        self._record = record
        self._blobs = blobs
        self._intact = {d for d, body in blobs.items() if digest_of_bytes(body) == d}
        self._verdicts: dict[str, bytes] = {}  # digest -> the verdict computed again
        self.decisions = 0
        self.looks: dict[JsonValue, int] = {}

    def findings(self) -> list[Finding]:
        """All blobs that are gone or changed, and all verdicts that come out otherwise."""
        decided = [
            finding
            for event in self._record.events
            if event.evidence is not None
            for finding in self._decide(event)
        ]
        return [*self._blob_findings(), *decided]

    def _decide(self, event: Event) -> Iterator[Finding]:
        if event.plan is None or event.verdict is None or event.evidence is None:
            lacks = "plan" if event.plan is None else "verdict"
            yield self._finding(
                event, f"names evidence but no {lacks}", Change(lacks, "none", "one")
            )
            return
        if not {event.plan, event.evidence} <= self._intact:
            return  # that is a finding already, and there is nothing to compute from
        try:
            verdict = self._weigh(event.plan, event.evidence)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            change = Change("its evidence", plain(str(error), 200), "that it was weighed")
            yield self._finding(event, "names evidence that cannot be weighed", change)
            return
        self.decisions += 1
        body = canonical(verdict.model_dump(mode="json"))
        self._verdicts[event.verdict] = body
        if event.verdict != digest_of_bytes(body) and event.verdict in self._intact:
            told = first_difference(self._blobs[event.verdict], body)
            change = told or Change("verdict", short(event.verdict), short(digest_of_bytes(body)))
            yield self._finding(event, "has a verdict that its evidence does not give", change)

    def _weigh(self, plan_digest: str, evidence_digest: str) -> StageVerdict | OfflineVerdict:
        plan = _PLANS.validate_json(self._blobs[plan_digest])
        evidence = _EVIDENCE.validate_json(self._blobs[evidence_digest])
        if isinstance(plan, OfflinePlan) and isinstance(evidence, PairedCases):
            self.looks[evidence_digest] = 1
            return weigh_offline(plan, evidence)
        if isinstance(plan, OfflinePlan) or isinstance(evidence, PairedCases):
            raise TypeError(f"{evidence.kind} evidence does not answer a {plan.kind} plan")
        verdict = weigh(plan, evidence)
        stage = f"{plan.name} {evidence.target} {evidence.epoch} {evidence.segment}"
        self.looks[stage] = max(self.looks.get(stage, 0), verdict.slices)
        return verdict

    def _finding(self, event: Event, what: str, change: Change) -> Finding:
        return Finding(
            sequence=event.sequence,
            what=what,
            where=change.where,
            found=change.found,
            witness=f"evidence {short(event.evidence or '')}",
            expected=change.expected,
        )

    def _blob_findings(self) -> Iterator[Finding]:
        told: set[str] = set()
        for sequence, what, digest in _named(self._record):
            if digest in self._intact or digest in told:
                continue
            told.add(digest)
            body = self._blobs.get(digest)
            if body is None:
                yield Finding(
                    sequence=sequence,
                    what=f"has lost its {what}",
                    where=f"the {what}",
                    found="is not stored",
                    witness="the digest",
                    expected=short(digest),
                )
                continue
            change = self._change(sequence, what, digest, body) or Change(
                f"the {what}", f"has the digest {short(digest_of_bytes(body))}", "otherwise"
            )
            yield Finding(
                sequence=sequence,
                what=CHANGED,
                where=change.where,
                found=change.found,
                witness=f"the digest {short(digest)}",
                expected=change.expected,
            )

    def _change(self, sequence: int | None, what: str, digest: str, body: bytes) -> Change | None:
        if what == "verdict" and digest_of_bytes(self._verdicts.get(digest, b"")) == digest:
            change = first_difference(body, self._verdicts[digest])
            return change and change._replace(where=f"verdict {change.where}")
        if what == "evidence":
            return self._changed_count(sequence, digest, body)
        return None

    def _changed_count(self, sequence: int | None, digest: str, body: bytes) -> Change | None:
        event = next(e for e in self._record.events if e.sequence == sequence)
        if event.plan not in self._intact or event.verdict not in self._intact:
            return None
        try:
            plan = _PLANS.validate_json(self._blobs[event.plan])
            verdict = StageVerdict.model_validate_json(self._blobs[event.verdict])
        except ValueError:
            return None  # not a stage's; that is found where it is weighed
        if isinstance(plan, StepPlan | AbPlan | SettlePlan):
            return changed_count(body, digest, plan, verdict)
        return None


def _looks(verification: Verification) -> str:
    looks = verification.looks
    return f"{integer(looks)} looks give" if looks != 1 else "1 look gives"


def _whose(finding: Finding) -> str:
    return "the header" if finding.sequence is None else f"event {finding.sequence}"


def _detail(finding: Finding) -> str:
    return f"{finding.where} {finding.found}; {finding.witness} says {finding.expected}"


def _untrusted(verification: Verification, finding: Finding) -> str:
    first, last = finding.sequence or 1, verification.events
    if first > last:
        return ""
    return (
        f" Event {last} cannot be trusted."
        if first == last
        else f" Events {first} to {last} cannot be trusted."
    )
