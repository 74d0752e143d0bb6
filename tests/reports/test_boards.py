from datetime import timedelta
from typing import TYPE_CHECKING

from kept_dossiers import kept

from rampway.release.events import EventKind
from rampway.release.phases import Trigger
from rampway.release.records import Record, TargetKind
from rampway.reports.boards import board_text, need_of
from support.record_builders import (
    START,
    Teller,
    header_of,
    rolled_back_by_error,
    running_paused,
    stranded,
    target_of,
)

if TYPE_CHECKING:
    from rampway.gates.facts import Fact

NOW = START + timedelta(hours=4)


def test_the_board_begins_with_how_many_need_a_person() -> None:
    records = [_named(stranded().record, "code-review-14"), _running("search-answer-17")]

    assert board_text(records, NOW).splitlines() == [
        "1 of 2 open releases needs a person. 2026-11-20T04:19:08Z",
        "",
        "Need a person, most urgent first: 1",
        "  code-review-14  0 %  STRANDED: error BREACH at 5 %  3 h 49 min  tutor-dev",
        "    Next: rampway doctor --target grammar-tutor",
        "",
        "Open, no action needed: 1",
        "  search-answer-17  1 %  CANARY 1 %  3 h 59 min  tutor-dev",
    ]


def test_the_stranded_one_comes_before_the_one_paused_too_long() -> None:
    records = [_named(running_paused().record, "b-2"), _named(stranded().record, "a-1")]

    lines = board_text(records, NOW).splitlines()

    assert lines[0].startswith("2 of 2 open releases need a person.")
    assert lines[3].startswith("  a-1")
    assert lines[5].startswith("  b-2")
    assert lines[6] == "    Next: rampway resume b-2, or rampway abort b-2"


def test_a_fresh_pause_needs_nobody_yet() -> None:
    record = running_paused().record

    assert need_of(record, record.events[-1].at + timedelta(minutes=10)) is None
    assert need_of(record, record.events[-1].at + timedelta(minutes=61)) is not None


def test_a_step_whose_last_judgement_saw_nothing_needs_a_person() -> None:
    record = _running("summarizer-30", verdict="NO_DATA")

    assert need_of(record, NOW) == "rampway doctor --target grammar-tutor"
    assert "CANARY 1 %, NO_DATA" in board_text([record], NOW)


def test_ended_releases_are_listed_for_half_a_day() -> None:
    record = rolled_back_by_error().record

    soon = board_text([record], record.events[-1].at + timedelta(hours=11))
    later = board_text([record], record.events[-1].at + timedelta(hours=13))

    assert "Ended in the last 12 h: 1" in soon
    assert "11 h ago" in soon
    assert record.header.name not in later
    assert later.startswith("0 of 0 open releases need a person.")


def test_a_demo_release_is_marked_on_the_board() -> None:
    record = rolled_back_by_error(target_of(TargetKind.DEMO)).record

    assert f"DEMO {record.header.name}" in board_text([record], record.events[-1].at)


def test_no_line_is_wider_than_the_screen() -> None:
    records = [
        _named(kept(name).record, f"{'long-' * 9}{i}")
        for i, name in enumerate(("promoted", "stranded", "running_paused", "aborted"))
    ]

    assert max(map(len, board_text(records, NOW).splitlines())) <= 100


def _named(record: Record, name: str) -> Record:
    header = record.header.model_copy(update={"name": name, "release": name})
    return record.model_copy(update={"header": header})


def _running(name: str, verdict: str | None = None) -> Record:
    teller = Teller(header_of()).start()
    plan: Fact = teller.raised("1 %", 100, trigger=Trigger.CANARY_BEGAN)
    if verdict is not None:
        teller.later(minutes=30)
        teller.tell(EventKind.DECIDED, step="1 %", plan=plan, data={"verdict": verdict})
    return _named(teller.kept().record, name)
