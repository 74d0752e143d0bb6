import pytest
from kept_dossiers import ENDINGS, dossier, kept

from rampway.gates.evidence import Evidence, PairedCases
from rampway.gates.plans import OfflinePlan, ShadowPlan, StepPlan
from rampway.gates.verdicts import OfflineVerdict, StageVerdict, Verdict
from rampway.gates.weigh import weigh
from rampway.release.events import EventKind
from rampway.release.phases import Trigger
from rampway.release.records import Record
from rampway.reports.dossier import Gap, Missing, assemble
from support.record_builders import Kept, Teller, rolled_back_by_error


def test_every_judgement_is_resolved_to_plan_evidence_and_verdict() -> None:
    kinds = [
        (type(d.plan), type(d.evidence), type(d.verdict)) for d in dossier("promoted").judgements
    ]

    assert kinds == [
        (OfflinePlan, PairedCases, OfflineVerdict),
        (ShadowPlan, Evidence, StageVerdict),
        *[(StepPlan, Evidence, StageVerdict)] * 4,
    ]


def test_a_breach_is_the_deciding_judgement_and_names_its_gate() -> None:
    told = dossier("rolled_back_by_error")

    assert told.deciding is not None
    assert told.deciding.event.kind is EventKind.PINNED
    assert told.deciding_gate is not None
    assert told.deciding_gate.gate == "error"
    assert told.deciding_gate.verdict is Verdict.BREACH


@pytest.mark.parametrize("name", ["aborted", "lost_control", "promoted", "overridden"])
def test_a_release_that_no_gate_stopped_has_no_deciding_judgement(name: str) -> None:
    assert dossier(name).deciding is None


def test_an_offline_rejection_is_decided_by_the_offline_verdict() -> None:
    deciding = dossier("rejected_offline").deciding

    assert deciding is not None
    assert isinstance(deciding.verdict, OfflineVerdict)
    assert deciding.verdict.verdict is Verdict.BREACH


def test_a_breach_without_its_verdict_does_not_blame_an_earlier_look() -> None:
    kept_release = rolled_back_by_error()
    events = list(kept_release.record.events)
    at = next(i for i, e in enumerate(events) if e.kind is EventKind.PINNED)
    events[at] = events[at].model_copy(update={"plan": None, "evidence": None, "verdict": None})

    told = assemble(
        Record(header=kept_release.record.header, events=tuple(events)), kept_release.blobs
    )

    assert told.deciding is None


def test_the_exposed_units_are_those_of_each_steps_last_judgement() -> None:
    facts = dossier("promoted").facts

    assert [(e.step, e.units) for e in facts.exposed] == [
        ("1 %", 900),
        ("5 %", 4650),
        ("25 %", 22_500),
        ("100 %", 89_100),
    ]
    assert facts.copied == 9000


def test_a_step_that_no_judgement_counted_is_unknown_not_zero() -> None:
    exposed = dossier("aborted").facts.exposed
    without_blobs = assemble(kept("aborted").record, {}).facts

    assert [(e.step, e.units) for e in exposed] == [("1 %", 900), ("5 %", 4650), ("25 %", None)]
    assert [e.units for e in without_blobs.exposed] == [None, None, None]
    assert without_blobs.copied is None


def test_a_release_without_a_shadow_copied_nothing() -> None:
    assert dossier("stranded").facts.copied == 0


def test_a_release_that_never_left_shadow_exposed_nobody() -> None:
    assert dossier("rolled_back_in_shadow").facts.exposed_units == 0


def test_times_to_detect_and_to_zero_come_from_the_pin() -> None:
    facts = dossier("rolled_back_by_error").facts

    assert facts.detected_seconds == 260
    assert facts.to_zero_seconds == 0.9
    assert facts.paused_seconds == 450


def test_a_pause_that_is_still_open_counts_until_the_last_event() -> None:
    teller = Teller().start().shadow()
    teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    teller.tell(EventKind.PAUSED, "unrelated alert", actor="sre-oncall", step="1 %")
    teller.later(minutes=5)
    teller.tell(EventKind.COMMAND_REFUSED, "it is paused", actor="tutor-dev", step="1 %")

    told = assemble(teller.kept().record, teller.kept().blobs)

    assert told.facts.paused_seconds == 300
    assert told.facts.ended_at is None


def test_shares_follow_the_events_and_copies_end_with_the_shadow() -> None:
    shares = dossier("rolled_back_by_error").shares

    assert [p.share_bp for p in shares if p.share_bp] == [100, 100, 100, 100, 500]
    assert {p.copied_bp for p in shares if p.share_bp == 0} == {0, 500}
    assert all(p.copied_bp == 0 for p in shares if p.share_bp)


@pytest.mark.parametrize("name", ENDINGS)
def test_a_record_without_blobs_still_tells_the_rest(name: str) -> None:
    told = assemble(kept(name).record, {})

    assert all(gap.why is Gap.ABSENT for d in told.decisions for gap in d.missing)
    assert len(told.decisions) == len(dossier(name).decisions)
    assert told.unit == "unit"


def test_a_blob_that_is_not_what_its_digest_says_is_not_shown() -> None:
    told = _with_verdict_bytes(kept("rolled_back_by_error"), b'{"stage":"5 %","verdict":"PASS"}')

    assert told is Gap.ALTERED


def test_the_chain_is_checked_while_assembling() -> None:
    kept_release = kept("rolled_back_by_error")
    events = list(kept_release.record.events)
    events[3] = events[3].model_copy(update={"reason": "changed afterwards"})

    told = assemble(
        Record(header=kept_release.record.header, events=tuple(events)), kept_release.blobs
    )

    assert dossier("rolled_back_by_error").broken is None
    assert told.broken is not None
    assert told.broken.sequence == 4


def test_a_record_without_events_is_a_release_that_has_not_begun() -> None:
    header = kept("promoted").record.header

    told = assemble(Record(header=header, events=()), {})

    assert told.decisions == ()
    assert told.facts.duration_seconds == 0


@pytest.mark.parametrize("name", ENDINGS)
def test_the_builders_verdicts_are_those_of_the_real_gates(name: str) -> None:
    for decision in dossier(name).judgements:
        if isinstance(decision.verdict, StageVerdict):
            assert isinstance(decision.evidence, Evidence)
            assert not isinstance(decision.plan, OfflinePlan | Missing | None)
            assert weigh(decision.plan, decision.evidence) == decision.verdict


def _with_verdict_bytes(release: Kept, body: bytes) -> Gap:
    pinned = next(e for e in release.record.events if e.kind is EventKind.PINNED)
    assert pinned.verdict is not None
    told = assemble(release.record, release.blobs | {pinned.verdict: body})
    assert told.deciding is not None
    assert isinstance(told.deciding.verdict, Missing)
    return told.deciding.verdict.why
