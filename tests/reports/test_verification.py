"""Verification: an honest record holds, and whatever is changed in one is found and, if possible, named."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_release import JudgedRelease, step_plan

from rampway.gates.facts import canonical, digest_of, digest_of_bytes
from rampway.gates.verdicts import StageVerdict, Verdict
from rampway.gates.weigh import weigh
from rampway.release.events import Event, EventKind
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Record
from rampway.reports.verification import (
    Verification,
    digests_of,
    unreadable,
    verification_text,
    verify,
)

Body = dict[str, Any]

HONEST = JudgedRelease()
EVENTS = HONEST.record.events
HEAD = EVENTS[-1].hash
EXTENDED, PINNED = EVENTS[6], EVENTS[9]


def with_events(*events: Event) -> Record:
    return Record(header=HONEST.header, events=events)


def replaced(position: int, **fields: object) -> Record:
    """The honest record with one event's fields changed, its hash left as it was."""
    events = list(EVENTS)
    events[position - 1] = events[position - 1].model_copy(update=fields)
    return with_events(*events)


def with_blob(digest: str | None, change: Callable[[Body], object]) -> dict[str, bytes]:
    """The honest blobs with one changed in place, under its old digest."""
    assert digest is not None
    body = json.loads(HONEST.blobs[digest])
    change(body)
    return HONEST.blobs | {digest: canonical(body)}


def test_an_honest_record_holds() -> None:
    verification = verify(HONEST.record, HONEST.blobs, anchor=HEAD)

    assert verification == Verification(
        name="grammar-tutor-c0ffee",
        events=12,
        head=HEAD,
        decisions=5,
        looks=1 + 3 * 20,  # the offline gate, then shadow, 1 % and 5 % of 20 slices each
    )
    assert verification_text(verification, elapsed_ms=11.2) == (
        f"verified: 61 looks give the same verdicts, 12 events unbroken to {HEAD[7:13]}. 11 ms"
    )


def test_a_release_that_has_just_begun_holds() -> None:
    blobs = {digest: HONEST.blobs[digest] for digest in digests_of(with_events())}

    verification = verify(with_events(), blobs)

    assert verification.verified
    assert verification_text(verification) == (
        "verified: 0 looks give the same verdicts, 0 events unbroken to 000000"
    )


def test_every_blob_that_the_record_names_is_asked_for_once() -> None:
    digests = digests_of(HONEST.record)

    assert set(digests) == HONEST.blobs.keys()
    assert len(digests) == len(set(digests))


def test_a_changed_count_is_named_with_what_it_was() -> None:
    slice_with_errors = next(r for r in HONEST.harmful.rows["error"] if r[2] >= 2)  # type: ignore[index,operator]
    index, errors = slice_with_errors[0], slice_with_errors[2]  # type: ignore[index]

    def hide(evidence: Body) -> None:
        evidence["rows"]["error"][index][2] = 0

    verification = verify(HONEST.record, with_blob(PINNED.evidence, hide))

    digest = str(PINNED.evidence)[7:13]
    assert verification_text(verification) == (
        "TAMPERED: event 10 was changed after it was written.\n"
        f"  counts slice {index}, candidate errors 0; the digest {digest} says {errors}."
        " Events 10 to 12 cannot be trusted.\n"
        "  Next: keep the file; compare grammar-tutor-c0ffee with a backup"
    )


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (1, "candidate units"),
        (2, "candidate errors"),
        (3, "baseline units"),
        (4, "baseline errors"),
    ],
)
@pytest.mark.parametrize("difference", [-1, 1, 7])
@pytest.mark.parametrize("event", [EXTENDED, PINNED], ids=["extended", "pinned"])
def test_each_count_that_a_verdict_sums_can_be_named(
    event: Event, column: int, name: str, difference: int
) -> None:
    def change(evidence: Body) -> None:
        row = next(r for r in evidence["rows"]["error"] if r[column] + difference >= 0)
        row[column] += difference
        was.append((row[0], row[column], row[column] - difference))

    was: list[tuple[int, int, int]] = []
    (finding,) = verify(HONEST.record, with_blob(event.evidence, change)).findings

    index, found, expected = was[0]
    assert finding.sequence == event.sequence
    assert finding.where == f"counts slice {index}, {name}"
    assert (finding.found, finding.expected) == (str(found), str(expected))


@pytest.mark.parametrize(
    "change",
    [
        lambda evidence: evidence.update(epoch=4),
        lambda evidence: evidence["sealed"].update(error=19),
        lambda evidence: evidence["rows"]["error"].pop(),
        lambda evidence: evidence["rows"]["error"].reverse(),
        lambda evidence: evidence["rows"].update(error="nothing"),
        lambda evidence: evidence["rows"]["error"][3].append(1),
        lambda evidence: evidence["rows"]["error"].__setitem__(3, [3, 25, "1", 480, 2]),
        lambda evidence: evidence.clear(),
    ],
    ids=range(8),
)
def test_evidence_changed_in_another_way_is_found_though_not_named(
    change: Callable[[Body], object],
) -> None:
    (finding,) = verify(HONEST.record, with_blob(PINNED.evidence, change)).findings

    assert finding.sequence == PINNED.sequence
    assert finding.where == "the evidence"
    assert finding.witness == f"the digest {str(PINNED.evidence)[7:13]}"


def test_a_blob_that_is_no_json_any_more_is_found() -> None:
    for digest in digests_of(HONEST.record):
        verification = verify(HONEST.record, HONEST.blobs | {digest: b"\xff{"})

        assert not verification.verified


@given(data=st.data())
def test_one_changed_byte_in_any_blob_is_found(data: st.DataObject) -> None:
    digest = data.draw(st.sampled_from(sorted(HONEST.blobs)))
    body = bytearray(HONEST.blobs[digest])
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))

    verification = verify(HONEST.record, HONEST.blobs | {digest: bytes(body)})

    assert not verification.verified


def test_a_blob_that_is_gone_is_found() -> None:
    for digest in digests_of(HONEST.record):
        blobs = {d: body for d, body in HONEST.blobs.items() if d != digest}

        findings = verify(HONEST.record, blobs).findings

        assert [f.found for f in findings] == ["is not stored"]
        assert findings[0].expected == digest[7:13]


def test_a_changed_verdict_is_named_by_what_its_evidence_gives() -> None:
    def acquit(verdict: Body) -> None:
        verdict["gates"][0]["verdict"] = "INCONCLUSIVE"

    (finding,) = verify(HONEST.record, with_blob(PINNED.verdict, acquit)).findings

    assert (finding.sequence, finding.where) == (10, "verdict gates.0.verdict")
    assert (finding.found, finding.expected) == ("INCONCLUSIVE", "BREACH")


def test_a_changed_plan_does_not_excuse_a_verdict() -> None:
    def loosen(plan: Body) -> None:
        plan["gates"][0]["alpha"] = 1e-9

    blobs = with_blob(PINNED.plan, loosen)

    (finding,) = verify(HONEST.record, blobs).findings
    assert finding.where == "the plan"


def rewritten(change: Callable[[StageVerdict], StageVerdict]) -> tuple[Record, dict[str, bytes]]:
    """What somebody writes who knows the hashes: a whole chain anew, with another verdict in it."""
    forged = JudgedRelease()
    forged.ledger.events.clear()
    for event in EVENTS:
        digest = event.verdict
        if event.sequence == PINNED.sequence:
            honest = StageVerdict.model_validate_json(HONEST.blobs[str(event.verdict)])
            digest = forged.store(change(honest))
        fields = event.model_dump(exclude={"release", "sequence", "previous", "hash", "verdict"})
        forged.ledger.write(**(fields | {"verdict": digest}))
    return forged.record, forged.blobs


def test_a_forger_who_renews_every_hash_is_found_by_computing_the_verdict_again() -> None:
    record, blobs = rewritten(
        lambda verdict: verdict.model_copy(update={"verdict": Verdict.PASS, "why": "all is well"})
    )

    verification = verify(record, blobs)

    (finding,) = verification.findings
    assert finding.what == "has a verdict that its evidence does not give"
    assert (finding.sequence, finding.where) == (10, "verdict")
    assert (finding.found, finding.expected) == ("PASS", "BREACH")
    assert verification_text(verification).startswith(
        "TAMPERED: event 10 has a verdict that its evidence does not give.\n"
        f"  verdict PASS; evidence {str(PINNED.evidence)[7:13]} says BREACH."
    )


def test_a_verdict_that_differs_in_its_last_bit_is_found() -> None:
    record, blobs = rewritten(
        lambda verdict: verdict.model_copy(update={"seconds": verdict.seconds * (1 + 2e-16)})
    )

    (finding,) = verify(record, blobs).findings

    assert finding.where == "seconds"


def test_a_forger_who_renews_every_hash_is_found_by_the_anchor() -> None:
    record, blobs = rewritten(lambda verdict: verdict)
    events = list(record.events)
    last = events[-1].model_copy(update={"reason": "rolled back by nobody"})
    events[-1] = last.model_copy(update={"hash": last.computed_hash()})
    forged = Record(header=record.header, events=tuple(events))

    assert verify(forged, blobs).verified
    (finding,) = verify(forged, blobs, anchor=HEAD).findings
    assert finding.witness == "the anchor"


@pytest.mark.parametrize("position", range(1, len(EVENTS) + 1))
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share_bp", 9900),
        ("actor", "ci"),
        ("kind", EventKind.PAGED),
        ("phase", Phase.FULL),
        ("trigger", Trigger.DEADLINE),
        ("evidence", "sha256:" + "0" * 64),
        ("previous", "sha256:" + "1" * 64),
        ("sequence", 99),
    ],
)
def test_a_changed_field_of_an_event_is_named_with_what_it_was(
    position: int, field: str, value: object
) -> None:
    honest = str(getattr(EVENTS[position - 1], field))

    finding = verify(replaced(position, **{field: value}), HONEST.blobs).findings[0]

    assert finding.sequence in {position, 99}
    chained = next(
        f
        for f in verify(replaced(position, **{field: value}), HONEST.blobs).findings
        if f.where == field
    )
    assert chained.sequence == position
    assert chained.expected == (honest[7:13] if honest.startswith("sha256:") else honest)


@pytest.mark.parametrize("position", range(1, len(EVENTS) + 1))
@pytest.mark.parametrize(
    ("field", "value"),
    [("reason", "nothing happened"), ("step", "25 %"), ("at", EVENTS[0].at), ("data", {"x": 1})],
    ids=["reason", "step", "at", "data"],
)
def test_a_changed_field_that_stands_nowhere_else_is_found_too(
    position: int, field: str, value: object
) -> None:
    if getattr(EVENTS[position - 1], field) == value:
        return

    finding = verify(replaced(position, **{field: value}), HONEST.blobs).findings[-1]

    assert finding.sequence == position
    assert finding.what == "was changed after it was written"


def test_a_changed_hash_is_named_by_the_event_after_it() -> None:
    (finding,) = verify(replaced(5, hash="sha256:" + "1" * 64), HONEST.blobs).findings

    assert (finding.sequence, finding.where, finding.witness) == (5, "hash", "event 6")


@pytest.mark.parametrize("position", range(1, len(EVENTS)))
def test_an_event_changed_and_hashed_again_is_found_by_the_next(position: int) -> None:
    changed = EVENTS[position - 1].model_copy(update={"actor": "ci"})
    record = replaced(position, actor="ci", hash=changed.computed_hash())

    (finding,) = verify(record, HONEST.blobs).findings

    assert (finding.sequence, finding.where, finding.expected) == (position, "actor", "workflow")
    assert finding.witness == f"event {position + 1}"


@pytest.mark.parametrize("position", range(1, len(EVENTS)))
def test_a_missing_event_is_named(position: int) -> None:
    kept = (*EVENTS[: position - 1], *EVENTS[position:])

    text = verification_text(verify(with_events(*kept), HONEST.blobs))

    assert text.startswith(f"TAMPERED: event {position} is missing.\n")


def test_events_in_another_order_are_found() -> None:
    swapped = (*EVENTS[:3], EVENTS[4], EVENTS[3], *EVENTS[5:])

    findings = verify(with_events(*swapped), HONEST.blobs).findings

    assert findings[0].sequence == 4


def test_events_that_were_cut_off_are_found_by_an_anchor_only() -> None:
    cut = with_events(*EVENTS[:8])

    assert verify(cut, HONEST.blobs).verified
    assert verify(cut, HONEST.blobs, anchor=EVENTS[7].hash).verified
    text = verification_text(verify(cut, HONEST.blobs, anchor=HEAD))
    assert text == (
        "TAMPERED: event 9 is missing.\n"
        f"  the record ends at {EVENTS[7].hash[7:13]}; the anchor says {HEAD[7:13]}.\n"
        "  Next: keep the file; compare grammar-tutor-c0ffee with a backup"
    )


def test_an_anchor_of_an_earlier_day_still_holds() -> None:
    assert verify(HONEST.record, HONEST.blobs, anchor=EVENTS[4].hash).verified


def test_a_changed_header_is_found_by_the_first_event() -> None:
    header = HONEST.header.model_copy(update={"owner": "somebody-else"})

    verification = verify(Record(header=header, events=EVENTS), HONEST.blobs)

    assert verification_text(verification).startswith(
        "TAMPERED: the header was changed after it was written.\n  its digest "
    )


def test_a_move_that_no_rule_allows_is_found_even_with_right_hashes() -> None:
    forged = JudgedRelease()
    forged.ledger.events[:] = EVENTS[:2]
    leap = {"phase": Phase.PROMOTED, "trigger": Trigger.SETTLED}
    forged.ledger.write(
        EventKind.SETTLED, at=EVENTS[2].at, share_bp=10_000, actor="x", reason="x", **leap
    )

    (finding,) = verify(forged.record, forged.blobs).findings

    assert finding.sequence == 3
    assert "no rule allows" in finding.what
    assert finding.expected == "no release in QUEUED takes 'settled'"


def test_an_event_of_another_release_is_found() -> None:
    other = HONEST.header.model_copy(update={"release": "b" * 64})

    findings = verify(Record(header=other, events=EVENTS), HONEST.blobs).findings

    assert findings[1].what == "belongs to another release"


def test_evidence_without_a_plan_or_a_verdict_is_found() -> None:
    for lacks in ("plan", "verdict"):
        findings = verify(replaced(10, **{lacks: None}), HONEST.blobs).findings

        assert f"names evidence but no {lacks}" in {f.what for f in findings}


def test_evidence_of_another_kind_than_its_plan_is_found() -> None:
    forged = JudgedRelease()
    forged.ledger.events[:] = EVENTS[:1]
    forged.tell(
        EventKind.JUDGED,
        Phase.QUEUED,
        Trigger.OFFLINE_PASSED,
        plan=forged.store(step_plan("1 %", 100)),
        evidence=EVENTS[1].evidence,
        verdict=EVENTS[1].verdict,
    )

    (finding,) = verify(forged.record, forged.blobs).findings

    assert finding.what == "names evidence that cannot be weighed"
    assert finding.found == "paired evidence does not answer a step plan"


def test_many_findings_are_told_shortly() -> None:
    text = verification_text(verify(HONEST.record, {}))

    assert len(text.splitlines()) == 2 + 4 + 2
    assert text.splitlines()[0] == "TAMPERED: the header has lost its spec."
    assert text.splitlines()[-2] == "  and 11 more findings"
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_row_that_cannot_be_read_is_told_in_the_same_words() -> None:
    verification = unreadable("grammar-tutor-41", sequence=54, why="Event 54 is no event.")

    assert verification_text(verification).splitlines() == [
        "TAMPERED: event 54 was changed after it was written.",
        "  its row cannot be read; the registry says Event 54 is no event. Event 54 cannot be trusted.",
        "  Next: keep the file; compare grammar-tutor-41 with a backup",
    ]


def test_a_verdict_is_the_same_after_a_round_trip_through_json() -> None:
    for plan, evidence, verdict in _decisions():
        again = weigh(
            type(plan).model_validate_json(canonical(plan.model_dump(mode="json"))),
            type(evidence).model_validate_json(canonical(evidence.model_dump(mode="json"))),
        )

        assert digest_of(again.model_dump(mode="json")) == verdict


def _decisions() -> Iterator[tuple[Any, Any, str]]:
    for plan in (step_plan("1 %", 100), step_plan("5 %", 500)):
        yield (
            plan,
            HONEST.harmful,
            digest_of_bytes(canonical(weigh(plan, HONEST.harmful).model_dump(mode="json"))),
        )
