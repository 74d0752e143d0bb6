from datetime import UTC

import pytest
from kept_dossiers import BERLIN, ENDINGS, dossier, kept

from rampway.gates.verdicts import Count, GateVerdict, Verdict
from rampway.release.records import TargetKind
from rampway.reports.dossier import assemble
from rampway.reports.explain import NoSuchLook, explain_offline_text, explain_text, gate_lines
from rampway.reports.paths import CARD, Look, path_figure
from support.record_builders import rolled_back_by_error, target_of


def test_a_breach_is_explained_by_its_sentence_and_its_numbers() -> None:
    release = dossier("rolled_back_by_error")
    evidence = (release.deciding.event.evidence if release.deciding else None) or ""

    assert explain_text(release, BERLIN).splitlines() == [
        "It rolled back because the candidate failed 3.1 % of its requests, the baseline 0.9 %.",
        "error, CANARY 5 %, look 26 after 4 min 20 s (judged 02:57:25), BREACH",
        "  seen       20 errors of 650 candidate units; 114 of 12,350 baseline units, same slices",
        "  expected   7.3 if harmless        boundary 20        just reached",
        "  budget     alpha 0.0025; spent 0.00026 (1 in 3,800 harmless holds)",
        f"  evidence   {evidence[7:13]}    recompute: rampway verify {release.name}",
    ]


def test_any_other_gate_can_be_asked_for() -> None:
    lines = explain_text(dossier("rolled_back_by_error"), BERLIN, "latency p95").splitlines()

    assert lines[1].startswith("latency p95, CANARY 5 %, look 26 after 4 min 20 s")
    assert lines[1].endswith(", INCONCLUSIVE")
    assert "over 2.40 s" in lines[2]
    assert "  why        " in "\n".join(lines)


def test_the_sample_ratio_tells_who_came_instead_of_what_went_wrong() -> None:
    release = dossier("rolled_back_by_error")
    assert release.deciding is not None
    split = GateVerdict(
        gate="sample ratio",
        verdict=Verdict.INCONCLUSIVE,
        candidate=Count(units=650),
        baseline=Count(units=12_350),
        expected=650.0,
        alpha=0.001,
        why="5 % came, 5 % promised",
    )

    lines = gate_lines(split, release.deciding, release, BERLIN)
    drawn = path_figure([Look(260.0, split)], CARD, key="1", step="5 %")

    assert lines[1] == "  seen       650 candidate units; 12,350 baseline units, same slices"
    assert lines[2] == "  expected   650.0 if harmless"
    assert "candidate 650" in drawn


def test_an_earlier_look_is_weighed_again_from_the_counts_up_to_it() -> None:
    lines = explain_text(dossier("rolled_back_by_error"), BERLIN, look=20).splitlines()

    assert lines[1].startswith("error, CANARY 5 %, look 20 after 3 min 20 s")
    assert lines[1].endswith(", INCONCLUSIVE")


def test_a_look_that_never_was_is_told_with_those_that_were() -> None:
    with pytest.raises(NoSuchLook, match=r"^CANARY 5 % has looks 1 to 26 in this .* not 27\.$"):
        explain_text(dossier("rolled_back_by_error"), BERLIN, look=27)


def test_a_gate_can_be_asked_for_in_an_earlier_step() -> None:
    release = dossier("rolled_back_by_error")

    earlier = explain_text(release, BERLIN, "error", step="1 %").splitlines()
    decisive = explain_text(release, BERLIN, step="5 %").splitlines()
    unknown = explain_text(release, BERLIN, step="7 %")

    assert earlier[1].startswith("error, CANARY 1 %, look ")
    assert decisive[1].startswith("error, CANARY 5 %, look 26 ")
    assert "No judgement in the record is of a step 7 %. It has shadow, 1 %, 5 %." in unknown


def test_an_unknown_gate_is_told_with_the_known_ones() -> None:
    told = explain_text(dossier("rolled_back_by_error"), BERLIN, "typo")

    assert "No judgement in the record names a gate typo. It has error, latency p95," in told


def test_a_release_that_no_gate_decided_lists_every_stage() -> None:
    lines = explain_text(dossier("aborted"), BERLIN).splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == [
        "OFFLINE_GATE",
        "SHADOW",
        "CANARY",
        "CANARY",
    ]
    assert all(" PASS, " in line for line in lines[1:-1])
    assert lines[-1] == f"One gate: rampway explain {dossier('aborted').name} --gate GATE"


def test_an_offline_rejection_is_explained_by_the_eval_screen() -> None:
    told = explain_text(dossier("rejected_offline"), BERLIN)

    assert "\nBREACH: the candidate is worse. Accuracy 74.9 %, was 79.0 %" in told


def test_the_offline_answer_can_be_asked_for_alone() -> None:
    assert explain_offline_text(dossier("aborted")).startswith("PASS: better by +1.9 pp")
    assert explain_offline_text(assemble(kept("aborted").record, {})).startswith(
        "No offline verdict is recorded."
    )


def test_what_is_not_in_the_record_is_named_by_event_and_digest() -> None:
    release = kept("rolled_back_by_error")
    evidence = release.record.events[10].evidence or ""
    blobs = {digest: body for digest, body in release.blobs.items() if digest != evidence}

    told = explain_text(assemble(release.record, blobs), UTC)

    assert told.endswith(f"event 11: {evidence[7:13]} is not in the record")
    assert "error, CANARY 5 %" in told


def test_a_demo_target_is_never_taken_for_production() -> None:
    release = rolled_back_by_error(target_of(TargetKind.DEMO))

    told = explain_text(assemble(release.record, release.blobs), UTC)

    assert told.endswith(
        "DEMO target: its holds and exposures are below the floor of a real target."
    )


@pytest.mark.parametrize("name", ENDINGS)
def test_no_line_is_wider_than_the_screen(name: str) -> None:
    for blobs in (kept(name).blobs, {}):
        lines = explain_text(assemble(kept(name).record, blobs), BERLIN).splitlines()

        assert max(map(len, lines)) <= 100
