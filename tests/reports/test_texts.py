from datetime import UTC

import pytest
from kept_dossiers import BERLIN, ENDINGS, dossier, kept

from rampway.gates.verdicts import (
    Count,
    GateVerdict,
    Headline,
    OfflineVerdict,
    Safety,
    StageVerdict,
    Verdict,
)
from rampway.release.events import EventKind
from rampway.release.phases import Trigger
from rampway.release.records import TargetKind
from rampway.reports import texts
from rampway.reports.dossier import Dossier, assemble
from support.record_builders import (
    Teller,
    offline_verdict,
    rolled_back_by_error,
    step_plan,
    target_of,
)

HELD = StageVerdict(
    stage="5 %",
    verdict=Verdict.INCONCLUSIVE,
    gates=(
        GateVerdict(
            gate="error",
            verdict=Verdict.INCONCLUSIVE,
            candidate=Count(bad=15, units=757),
            baseline=Count(bad=154, units=14_208),
            breach_at=22,
        ),
        GateVerdict(
            gate="latency p95",
            verdict=Verdict.INCONCLUSIVE,
            candidate=Count(bad=39, units=757),
            baseline=Count(bad=724, units=14_208),
            breach_at=64,
        ),
        GateVerdict(gate="safety", verdict=Verdict.NO_DATA),
    ),
)


def test_history_tells_the_ending_then_each_event() -> None:
    told = texts.history_text(dossier("rolled_back_by_error"), BERLIN)

    evidence = {d.step: d.event.evidence or "" for d in dossier("rolled_back_by_error").judgements}
    short = {step: digest.removeprefix("sha256:")[:6] for step, digest in evidence.items()}
    assert told.splitlines() == [
        "ROLLED_BACK: error BREACH at 5 %. 14 events, 01:19 to 02:57 CET (UTC+1)",
        "seq  time      event         share  actor       why",
        "  1  01:19:08  started         0 %  ci          started by ci",
        (
            "  2  01:19:49  judged          0 %  workflow    offline PASS, 14,400 cases, "
            f"evidence {short['offline']}"
        ),
        "  3  01:19:51  claimed         0 %  workflow    holds grammar-tutor",
        "  4  01:19:51  shadowed        0 %  workflow    offline PASS",
        (
            "  5  02:22:01  decided         0 %  workflow    shadow PASS, 9,000 pairs, "
            f"evidence {short['shadow']}"
        ),
        "  6  02:22:01  raised          1 %  workflow    the stage before passed",
        '  7  02:33:35  paused          1 %  sre-oncall  "unrelated alert"',
        '  8  02:41:05  resumed         1 %  sre-oncall  "alert closed"',
        f"  9  02:53:05  decided         1 %  workflow    1 % PASS, 900 units, evidence {short['1 %']}",
        " 10  02:53:05  raised          5 %  workflow    the stage before passed",
        (
            " 11  02:57:25  pinned          0 %  workflow    5 % error BREACH, 650 units, "
            f"evidence {short['5 %']}"
        ),
        " 12  02:57:25  rolling_back    0 %  workflow    the undo began",
        (
            f" 13  02:57:26  paged           0 %  workflow    {dossier('rolled_back_by_error').name} "
            "was rolled back"
        ),
        " 14  02:57:32  rolled_back     0 %  workflow    3 of 3 gateways",
    ]


def test_history_in_utc_marks_every_time() -> None:
    lines = texts.history_text(dossier("aborted"), UTC).splitlines()

    assert lines[0].endswith("00:19 to 02:34 UTC")
    assert all("Z " in line for line in lines[2:])


def test_history_over_midnight_names_the_day() -> None:
    teller = Teller().start()
    teller.later(hours=23)
    teller.reject(Trigger.BUSY, "another release held it")

    told = texts.history_text(assemble(teller.kept().record, teller.kept().blobs), BERLIN)

    assert "20 Nov 01:19:08  started" in told
    assert "21 Nov 00:19:52  rejected" in told


def test_a_refused_command_is_told_with_its_rule() -> None:
    teller = Teller().start().shadow()
    teller.tell(
        EventKind.COMMAND_REFUSED,
        "tutor-dev owns it",
        actor="tutor-dev",
        data={"verb": "override", "rule": "self-approval"},
    )

    told = texts.history_text(assemble(teller.kept().record, teller.kept().blobs), BERLIN)

    assert "override refused [self-approval]: tutor-dev own" in told


def test_a_changed_event_is_told_as_tampering() -> None:
    record = kept("aborted").record
    events = list(record.events)
    events[4] = events[4].model_copy(update={"share_bp": 100})

    told = texts.history_text(
        assemble(record.model_copy(update={"events": tuple(events)}), {}), UTC
    )

    assert "TAMPERED: event 5 was changed after it was written." in told
    assert f"Next: rampway verify {record.header.name}" in told


def test_the_gates_table_is_what_status_shows() -> None:
    plan = step_plan("5 %", 500)

    told = texts.gates_text(HELD, plan)

    assert told.splitlines() == [
        "gate         verdict       candidate           baseline                BREACH at",
        "error        INCONCLUSIVE  15 of 757 (1.98 %)  154 of 14,208 (1.08 %)  22",
        "latency p95  INCONCLUSIVE  39 of 757 (5.15 %)  724 of 14,208 (5.10 %)  64 over 2.40 s",
        "safety       NO_DATA       0 of 0              -                       -",
    ]


def test_without_a_plan_the_table_has_no_threshold() -> None:
    assert texts.gates_table(HELD)[1][-1] == "64"


def test_shadow_counts_score_levels_on_pairs() -> None:
    judged = dossier("rolled_back_in_shadow").deciding
    assert judged is not None
    assert isinstance(judged.verdict, StageVerdict)

    rows = texts.gates_table(judged.verdict, judged.plan)

    assert rows[0][:4] == ["judge mean", "BREACH", "lost 37 levels on 350 pairs", "gained 9"]


def test_the_temporal_details_are_a_bold_line_a_table_and_commands() -> None:
    told = texts.stage_markdown(
        "CANARY 5 %, 5 of 30 min, no BREACH",
        HELD.model_copy(update={"gates": HELD.gates[:1]}),
        ["rampway pause grammar-tutor-41", "signal `abort`"],
    )

    assert told.splitlines() == [
        "**CANARY 5 %, 5 of 30 min, no BREACH**",
        "",
        "| gate | verdict | candidate | baseline | BREACH at |",
        "|---|---|---|---|---|",
        "| error | INCONCLUSIVE | 15 of 757 (1.98 %) | 154 of 14,208 (1.08 %) | 22 |",
        "",
        "Next: `rampway pause grammar-tutor-41`, signal `abort`",
    ]


def test_a_stage_without_numbers_yet_has_no_table() -> None:
    assert texts.stage_markdown("QUEUED", None, []) == "**QUEUED**"


def test_a_persons_reason_cannot_become_markup_in_the_temporal_ui() -> None:
    told = texts.stage_markdown('PAUSED by x: "**]( <b> | \n# no"; watch on', None, [])

    assert told == r'**PAUSED by x: "\*\*\]( &lt;b\> \| # no"; watch on**'


def test_a_blocked_eval_says_breach_first() -> None:
    lines = texts.offline_text(offline_verdict(improved=130, regressed=720)).splitlines()

    assert lines[0].startswith(
        "BREACH: the candidate is worse. Accuracy 74.9 %, was 79.0 %: -4.1 pp ["
    )
    assert lines[0].endswith("], p < 0.001")
    assert lines[1] == "headline  BREACH  improved 130, regressed 720; 14,400 cases, 200 clusters"
    assert lines[2] == "errors    12 candidate generations failed and count as failures"


def test_a_passed_eval_does_not_claim_to_be_safe() -> None:
    verdict = OfflineVerdict(
        verdict=Verdict.PASS,
        headline=_headline(Verdict.PASS, 0.019, 0.007, 0.031),
        safety=Safety(
            verdict=Verdict.PASS,
            cases=412,
            generations=3,
            flips=(),
            certified_below=0.0073,
            why="no flip",
        ),
        why="better",
    )

    assert texts.offline_text(verdict).splitlines() == [
        "PASS: better by +1.9 pp [+0.7, +3.1]. Accuracy 81.0 %, was 79.1 %",
        "headline  PASS  improved 402, regressed 128; 14,400 cases, 200 clusters",
        'safety    PASS  0 flips; 412 cases x 3 certify under 0.73 %, not "safe"',
    ]


def test_an_eval_that_does_not_tell_says_how_many_cases_would() -> None:
    head = _headline(Verdict.INCONCLUSIVE, -0.004, -0.016, 0.008, cases_needed=3200)
    verdict = OfflineVerdict(verdict=Verdict.INCONCLUSIVE, headline=head, why="too few")

    assert texts.offline_text(verdict).splitlines() == [
        "INCONCLUSIVE: -0.4 pp [-1.6, +0.8] does not tell. Accuracy 81.0 %, was 79.1 %",
        "headline  INCONCLUSIVE  improved 402, regressed 128; 14,400 cases, 200 clusters",
        "needed    about 3,200 more cases",
    ]


def test_a_safety_breach_names_the_cases_that_flipped() -> None:
    safety = Safety(
        verdict=Verdict.BREACH, cases=412, generations=3, flips=("s-1", "s-2"), why="2 flips"
    )
    verdict = OfflineVerdict(verdict=Verdict.BREACH, safety=safety, why="2 hard cases flipped")

    assert texts.offline_text(verdict).splitlines() == [
        "BREACH: 2 hard cases flipped",
        "safety  BREACH  2 flips (s-1, s-2); 412 cases x 3",
    ]


@pytest.mark.parametrize("name", ENDINGS)
def test_no_line_is_wider_than_the_screen(name: str) -> None:
    lines = texts.history_text(dossier(name), BERLIN).splitlines()

    assert max(map(len, lines)) <= 100


def test_a_demo_target_says_so_before_anything() -> None:
    release = _demo()

    assert texts.history_text(release, BERLIN).startswith("DEMO ROLLED_BACK: error BREACH")


def _demo() -> Dossier:
    release = rolled_back_by_error(target_of(TargetKind.DEMO))
    return assemble(release.record, release.blobs)


def _headline(
    verdict: Verdict, difference: float, low: float, high: float, cases_needed: int | None = None
) -> Headline:
    return Headline(
        verdict=verdict,
        cases=14_400,
        clusters=200,
        baseline_accuracy=0.791,
        candidate_accuracy=0.81,
        difference=difference,
        low=low,
        high=high,
        p=0.9,
        improved=402,
        regressed=128,
        cases_needed=cases_needed,
        why="",
    )
