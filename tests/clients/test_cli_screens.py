"""The screen of a running release, its lines in a pipe, and the board."""

from datetime import UTC, timedelta

from cli_builders import Cli, looked, progress

from clients.screens import View, change_key, change_line, ended_text, progress_text, record_line
from rampway.gates.verdicts import Verdict
from rampway.release.phases import Phase
from rampway.release.records import TargetKind
from rampway.release.splits import Observed
from support.record_builders import (
    START,
    Teller,
    header_of,
    promoted,
    rolled_back_by_error,
    target_of,
)

NOW = START + timedelta(minutes=5)
STAGES = ("offline", "shadow", "1 %", "5 %", "25 %", "100 %")
SPLIT = Observed(
    target="grammar-tutor",
    epoch=3,
    segment=9,
    release="41c0de",
    share_bp=500,
    shadow_bp=0,
    baseline="sha256:a",
    candidate="sha256:b",
    lease_seconds=117.2,
    applied_by_every_instance=True,
    instances=3,
)


def screen(view: View) -> list[str]:
    lines = progress_text(view, NOW, UTC).splitlines()
    assert max(map(len, lines)) <= 100
    return lines


def test_a_canary_shows_its_hold_its_gateways_and_its_gates() -> None:
    lines = screen(View(progress(), stages=STAGES, observed=SPLIT))

    assert lines[0].startswith(
        "grammar-tutor-41c0de  CANARY 5 %, 5 of 30 min, no BREACH: 25 min to go"
    )
    assert lines[0].endswith("owner tutor-dev")
    assert lines[1] == (
        "offline # shadow # 1 # 5 > 25 . 100 .     3 of 3 gateways at 5 %, lease 1 min 57 s"
    )
    assert lines[2].split() == ["gate", "verdict", "candidate", "baseline", "BREACH", "at"]
    assert lines[3].startswith(
        "error  INCONCLUSIVE  15 of 757 (1.98 %)  154 of 14,208 (1.08 %)  22"
    )
    assert lines[4] == ("PASS needs 2,800 more units, about 19 min.  Next: pause | abort | explain")


def test_a_pause_says_that_the_watch_goes_on() -> None:
    kept = Teller().start().kept()
    lines = screen(View(progress(paused_by="sre-oncall"), kept.record, STAGES))

    assert "PAUSED in CANARY 5 % by sre-oncall" in lines[0]
    assert "The climb has stopped, the watch has not: no BREACH." in lines
    assert lines[-1].endswith("Next: resume | abort | explain")


def test_a_pinned_release_says_why_and_that_nothing_is_left_to_do() -> None:
    seen = looked(verdict=Verdict.BREACH, bad=29, units=1138)
    zero = SPLIT.model_copy(update={"share_bp": 0, "lease_seconds": None})
    lines = screen(
        View(
            progress(phase=Phase.PINNED, share_bp=0, verdict=seen, recorded=11),
            stages=STAGES,
            observed=zero,
        )
    )

    assert "PINNED, rolling back: error BREACH, 29 of 1,138 v 154 of 14,208. At 0 %" in lines[0]
    assert lines[1] == "offline # shadow # 1 # 5 x 25 . 100 .     3 of 3 gateways at 0 %"
    assert "record: writing, 11 of 12 events" in lines[2]
    assert lines[3].startswith("You need do nothing on traffic.  Next: rampway explain ")


def test_a_stranded_release_asks_for_a_person_and_names_what_to_restart() -> None:
    late = SPLIT.model_copy(
        update={"applied_by_every_instance": False, "laggards": ("envoy-c",), "share_bp": 0}
    )
    lines = screen(
        View(progress(phase=Phase.STRANDED, line="STRANDED: act now"), stages=STAGES, observed=late)
    )

    assert "STRANDED: act now. 1 of 3 gateways may still serve the candidate" in lines[0]
    assert "Next: restart or drain envoy-c; rampway doctor --target grammar-tutor." in lines[-1]


def test_a_silent_gateway_is_told_in_its_place() -> None:
    lines = screen(View(progress(), stages=STAGES, gateway_silence="Gateway does not answer."))

    assert lines[1].endswith("Gateway does not answer.")


def test_a_hold_that_is_over_says_until_when_it_may_be_extended() -> None:
    late = progress_text(View(progress()), START + timedelta(minutes=40), UTC)

    assert "hold is over, deciding; pinned in 50 min" in late


def test_every_screen_of_a_demo_target_says_demo() -> None:
    demo = Teller(header_of(target_of(TargetKind.DEMO))).start().kept()

    lines = screen(View(progress(), demo.record))

    assert lines[0].startswith("DEMO ")
    assert lines[-1].startswith("DEMO target: ")


def test_a_change_is_one_line_in_utc() -> None:
    seen = progress(
        phase=Phase.PINNED, share_bp=0, verdict=looked(verdict=Verdict.BREACH, units=1138)
    )

    line = change_line(seen, NOW)

    assert line == (
        "2026-11-20T00:24:08Z grammar-tutor-41c0de PINNED share=0% gate=error verdict=BREACH n=1138"
    )
    assert change_line(seen, NOW, demo=True).endswith(" kind=demo")


def test_more_units_are_no_change_and_a_pause_or_a_verdict_is_one() -> None:
    before = progress()

    assert change_key(progress(verdict=looked(units=900))) == change_key(before)
    assert change_key(progress(paused_by="sre")) != change_key(before)
    assert change_key(progress(verdict=looked(verdict=Verdict.BREACH))) != change_key(before)


def test_someone_elses_words_cannot_reach_the_terminal_as_commands() -> None:
    nasty = "\x1b[2J\u202egone\n"
    lines = screen(View(progress(owner=nasty, line=nasty, paused_by=nasty), gateway_silence=nasty))

    assert not any("\x1b" in line or "\u202e" in line for line in lines)


def test_an_ended_release_says_how_and_what_to_read_next() -> None:
    record = rolled_back_by_error().record

    lines = ended_text(record, "It rolled back.").splitlines()

    assert lines[0].startswith(f"{record.header.name}  ROLLED_BACK: error BREACH at 5 %")
    assert lines[-1] == f"Next: rampway explain {record.header.name}"
    assert record_line(record).split()[2:4] == ["ROLLED_BACK", "share=0%"]


def test_status_of_an_ended_release_comes_from_the_record(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)
    name = kept.record.header.name

    shown = cli("status", name)
    watched = cli("status", name, "-w")
    told = cli.json("status", name)

    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"{name}  ROLLED_BACK: error BREACH at 5 %")
    assert watched.exit_code == 3
    assert len(watched.stdout.splitlines()) == 1
    assert (told["outcome"], told["open"], told["share_bp"]) == ("rolled_back", False, 0)


def test_the_board_counts_who_needs_a_person(cli: Cli) -> None:
    cli.keep(promoted(), rolled_back_by_error(target_of(name="search-answer")))

    shown = cli("status")
    told = cli.json("status")

    assert shown.stdout.startswith("0 of 0 open releases need a person.")
    assert {one["outcome"] for one in told["releases"]} == {"promoted", "rolled_back"}


def test_watching_and_json_do_not_go_together(cli: Cli) -> None:
    assert cli("status", "x", "-w", "--output", "json").exit_code == 2


def test_an_open_release_without_temporal_is_an_error(cli: Cli) -> None:
    kept = Teller().start().kept()
    cli.keep(kept)

    result = cli("status", kept.record.header.name)

    assert result.exit_code == 1
    assert "Temporal does not answer" in result.stderr
