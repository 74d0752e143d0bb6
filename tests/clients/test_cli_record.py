"""History, explain, report and verify tell the whole story from the record alone."""

import json
import re
import sqlite3
import zlib
from collections.abc import Callable

import pytest
from cli_builders import Cli

from clients.exits import Exit
from clients.finding import exit_of
from rampway.gates.facts import canonical
from rampway.release.events import EventKind
from support.record_builders import (
    Kept,
    Teller,
    aborted,
    missed_deadline,
    overridden,
    paired_cases,
    promoted,
    rejected_offline,
    rolled_back_by_error,
)


def test_history_tells_every_event_under_the_answer(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    lines = cli("history", kept.record.header.name).stdout.splitlines()

    assert lines[0].startswith("ROLLED_BACK: error BREACH at 5 %. ")
    assert lines[0].endswith("UTC")
    assert len(lines) == 2 + len(kept.record.events)
    assert max(map(len, lines)) <= 100


def test_a_release_is_found_by_name_by_id_and_by_the_beginning_of_its_id(cli: Cli) -> None:
    kept = promoted()
    cli.keep(kept)
    header = kept.record.header

    told = [
        cli("history", name).stdout for name in (header.name, header.release, header.release[:8])
    ]

    assert told[0] == told[1] == told[2]


def test_history_as_json_has_every_field_of_every_event(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    told = cli.json("history", kept.record.header.name)

    assert told["outcome"] == "rolled_back"
    assert told["events"] == [event.model_dump(mode="json") for event in kept.record.events]


def test_explain_begins_with_the_sentence_that_answers_why(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    told = cli("explain", kept.record.header.name).stdout

    assert told.startswith("It rolled back because the candidate failed ")
    assert "recompute: rampway verify" in told


def test_explain_can_be_asked_about_one_gate_or_the_offline_gate_but_not_both(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)
    name = kept.record.header.name

    one = cli("explain", name, "--gate", "refusal")
    offline = cli("explain", name, "--offline")
    both = cli("explain", name, "--offline", "--gate", "refusal")

    assert "refusal, CANARY 5 %" in one.stdout
    assert offline.stdout.startswith("PASS: better by ")
    assert both.exit_code == Exit.USAGE


def test_any_look_of_any_step_can_be_explained_again(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)
    name = kept.record.header.name

    text = cli("explain", name, "--gate", "error", "--look", "20").stdout
    told = cli.json("explain", name, "--look", "20")
    never = cli("explain", name, "--look", "999")

    assert "error, CANARY 5 %, look 20 " in text
    assert {g["verdict"] for g in told["gates"]["5 %"]} == {"INCONCLUSIVE"}
    assert never.exit_code == Exit.USAGE
    assert "has looks 1 to 26 in this judgement, not 999" in never.stderr


def test_explain_as_json_names_the_gate_that_decided(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    told = cli.json("explain", kept.record.header.name)

    assert told["decided_by"]["gate"] == "error"
    assert told["decided_by"]["step"] == "5 %"
    assert told["sentence"].startswith("It rolled back")
    assert "error" in {gate["gate"] for gate in told["gates"]["5 %"]}


def test_a_report_is_written_where_it_was_asked_for_and_its_path_is_the_data(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)
    name = kept.record.header.name

    default = cli("report", name)
    chosen = cli("report", name, "-o", "told.md")
    told = cli("report", name, "-o", "-", "--format", "json")

    assert default.stdout.strip() == str(cli.home / "reports" / f"{name}.html")
    page = (cli.home / "reports" / f"{name}.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "<script" not in page
    assert chosen.stdout.strip() == "told.md"
    assert (cli.directory / "told.md").read_text().startswith(f"### {name}: ROLLED_BACK")
    assert json.loads(told.stdout)["record"]["header"]["name"] == name


def test_a_report_of_no_known_kind_is_a_usage_error(cli: Cli) -> None:
    cli.keep(promoted())

    result = cli("report", "grammar-tutor", "-o", "report.pdf")

    assert result.exit_code == Exit.USAGE
    assert "html, md, json, not pdf" in result.stderr


def test_verify_says_that_an_untouched_record_gives_the_same_verdicts(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    result = cli("verify", kept.record.header.name)

    assert result.exit_code == Exit.OK
    assert re.match(r"verified: [\d,]+ looks give the same verdicts, \d+ events", result.stdout)
    assert cli.json("verify", kept.record.header.name)["verified"] is True


def test_verify_of_all_leaves_with_3_when_one_count_of_one_release_was_changed(cli: Cli) -> None:
    harmed, well = rolled_back_by_error(), Teller().start().kept()
    cli.keep(well, harmed)
    pinned = next(e for e in harmed.record.events if e.kind is EventKind.PINNED)
    evidence = json.loads(harmed.blobs[str(pinned.evidence)])
    evidence["rows"]["error"][3][2] += 1
    _overwrite(cli, str(pinned.evidence), canonical(evidence))

    every = cli("verify", "--all")
    told = cli.json("verify", "--all")

    assert every.exit_code == Exit.STOPPED
    assert f"TAMPERED: event {pinned.sequence} was changed after it was written." in every.stdout
    assert "counts slice 3, candidate errors" in every.stdout
    assert [one["verified"] for one in told["releases"]].count(False) == 1


def test_verify_leaves_with_3_for_a_row_that_no_writer_wrote(cli: Cli) -> None:
    kept = promoted()
    cli.keep(kept)
    with sqlite3.connect(cli.home / "registry.db") as database:
        _drop_guards(database)
        database.execute("UPDATE events SET body = 'gone' WHERE sequence = 4")
    database.close()

    one = cli("verify", kept.record.header.name)
    every = cli("verify", "--all")

    assert one.exit_code == every.exit_code == Exit.STOPPED
    assert "event 4" in one.stdout


def test_verify_wants_one_release_or_all_of_them(cli: Cli) -> None:
    assert cli("verify").exit_code == Exit.USAGE
    assert cli("verify", "x", "--all").exit_code == Exit.USAGE


def test_what_is_not_recorded_is_an_error_with_a_next_step(cli: Cli) -> None:
    nothing = cli("history", "grammar-tutor-41c0de")
    cli.keep(promoted())
    unknown = cli("history", "grammar-tutor-41c0de")

    assert (nothing.exit_code, unknown.exit_code) == (Exit.ERROR, Exit.ERROR)
    assert nothing.stderr.startswith("Nothing is recorded here: ")
    assert "Next: " in nothing.stderr
    assert unknown.stderr == "No release grammar-tutor-41c0de is recorded. Next: rampway status\n"


def test_reading_creates_no_registry(cli: Cli) -> None:
    cli("status")
    cli("verify", "--all")

    assert not cli.home.exists()


def still_open() -> Kept:
    return Teller().start().kept()


def undecided_offline() -> Kept:
    return Teller().start(paired_cases(improved=10, regressed=12, cases=400)).kept()


@pytest.mark.parametrize(
    ("kept", "code"),
    [
        (promoted, Exit.OK),
        (overridden, Exit.OK),
        (rolled_back_by_error, Exit.STOPPED),
        (aborted, Exit.STOPPED),
        (rejected_offline, Exit.STOPPED),
        (still_open, Exit.RUNNING),
        (missed_deadline, Exit.INCONCLUSIVE),
        (undecided_offline, Exit.INCONCLUSIVE),
    ],
)
def test_the_exit_code_tells_how_a_release_ended(kept: Callable[[], Kept], code: Exit) -> None:
    assert exit_of(kept().record) is code


def _overwrite(cli: Cli, digest: str, body: bytes) -> None:
    """What a person with the database's password could do."""
    with sqlite3.connect(cli.home / "registry.db") as database:
        _drop_guards(database)
        database.execute(
            "UPDATE blobs SET body = ? WHERE digest = ?", (zlib.compress(body), digest)
        )
    database.close()


def _drop_guards(database: sqlite3.Connection) -> None:
    guards = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (guard,) in guards:
        database.execute(f"DROP TRIGGER {guard}")
