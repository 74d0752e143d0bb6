"""Commands to a running release: the rules first, then the release's own answer, then what came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import click
import pytest
from cli_builders import Cli, looked, progress
from click.testing import CliRunner
from steered_worlds import steered_world
from temporalio.testing import WorkflowEnvironment

from clients import confirming
from clients.commands import steer
from clients.confirming import confirm_abort, confirm_override, override_question
from clients.exits import Exit, Failure
from clients.finding import Found, find_in_temporal
from clients.starting import follow_to_end
from clients.steering import Answer, judge, situation_of, with_evidence
from rampway.gates.verdicts import Verdict
from rampway.release.controls import Command, OverrideCommand, Verb
from rampway.release.orders import Progress
from rampway.release.phases import Phase
from support.record_builders import Teller, aborted, promoted, rolled_back_by_error
from support.virtual_releases import World

GATE = "error"


def override(**changed: object) -> OverrideCommand:
    told = {"actor": "search-dev", "reason": "template change", "ticket": "REL-2210", "gate": GATE}
    return OverrideCommand.model_validate(told | changed)


def asked(verb: Verb, command: Command, **state: object) -> Answer | None:
    return judge(verb, command, situation_of(progress(**state)))


def test_an_owner_cannot_let_his_own_release_through_and_the_exit_code_is_identity() -> None:
    answer = asked(Verb.OVERRIDE, override(actor="tutor-dev"))

    assert answer is not None
    assert answer.code is Exit.IDENTITY
    assert answer.text.startswith("refused [self-approval]: tutor-dev owns grammar-tutor-41c0de")


def test_a_breach_cannot_be_overridden() -> None:
    answer = asked(Verb.OVERRIDE, override(), verdict=looked(verdict=Verdict.BREACH))

    assert answer is not None
    assert answer.code is Exit.ERROR
    assert answer.text == (
        "refused [breach]: a BREACH cannot be overridden. Next: rampway start (a new release)"
    )


def test_an_override_of_evidence_that_has_moved_is_refused() -> None:
    seen = with_evidence(override(), progress())

    answer = asked(Verb.OVERRIDE, seen, evidence="sha256:" + "f" * 64)

    assert answer is not None
    assert answer.text.startswith("refused [evidence moved]: ")


@pytest.mark.parametrize(
    ("command", "rule", "code"),
    [
        (override(reason=" "), "no reason", Exit.USAGE),
        (override(ticket=""), "no ticket", Exit.USAGE),
        (override(gate="speed"), "unknown gate", Exit.ERROR),
    ],
    ids=["reason", "ticket", "gate"],
)
def test_an_override_that_lacks_something_says_what(
    command: OverrideCommand, rule: str, code: Exit
) -> None:
    answer = asked(Verb.OVERRIDE, command)

    assert answer is not None
    assert answer.text.startswith(f"refused [{rule}]: ")
    assert answer.code is code
    assert answer.facts("grammar-tutor-41c0de", Verb.OVERRIDE)["rule"] == rule


def test_a_pause_of_what_is_paused_and_a_resume_of_what_is_not_are_refused() -> None:
    paused = asked(Verb.PAUSE, Command(actor="a"), paused_by="sre-oncall")
    running = asked(Verb.RESUME, Command(actor="a"))

    assert paused is not None
    assert paused.text.startswith("refused [already paused]: ")
    assert running is not None
    assert running.text.startswith("refused [not paused]: ")
    assert paused.code is running.code is Exit.ERROR


@pytest.mark.parametrize("phase", [Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED])
def test_an_abort_of_what_goes_down_already_is_no_error(phase: Phase) -> None:
    answer = asked(Verb.ABORT, Command(actor="a"), phase=phase)
    pause = asked(Verb.PAUSE, Command(actor="a"), phase=phase)

    assert answer is not None
    assert (answer.code, answer.text) == (Exit.OK, f"already {phase}; nothing changed.")
    assert pause is not None
    assert pause.code is Exit.ERROR


def test_what_a_person_lets_through_is_shown_with_its_numbers() -> None:
    told = override_question(override(), progress()).splitlines()

    assert told == [
        "Lets ONE verdict through: error, CANARY 5 %, INCONCLUSIVE, evidence e87b05",
        "  candidate 15 of 757 (1.98 %), baseline 154 of 14,208 (1.08 %); or wait 2,800 units",
        "Owner tutor-dev, approver search-dev, ends in 1 h, counted and published monthly.",
    ]


def test_where_nobody_can_be_asked_an_override_wants_yes_and_an_abort_goes_ahead() -> None:
    with CliRunner().isolation():
        confirm_abort("grammar-tutor-41c0de", progress(), yes=False)
        confirm_override("grammar-tutor-41c0de", override(), progress(), yes=True)
        with pytest.raises(click.UsageError, match="give --yes"):
            confirm_override("grammar-tutor-41c0de", override(), progress(), yes=False)


def test_on_a_terminal_an_abort_is_asked_about_and_an_override_wants_the_name_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confirming, "can_ask", lambda: True)

    with CliRunner().isolation(input="n\ngrammar\ngrammar-tutor-41c0de\n"):
        with pytest.raises(Failure, match="Not aborted; nothing changed"):
            confirm_abort("grammar-tutor-41c0de", progress(), yes=False)
        with pytest.raises(Failure, match="Not confirmed"):
            confirm_override("grammar-tutor-41c0de", override(), progress(), yes=False)
        confirm_override("grammar-tutor-41c0de", override(), progress(), yes=False)


def test_nothing_is_let_through_that_nobody_can_name() -> None:
    with pytest.raises(Failure, match="nothing was sent"):
        confirm_override("grammar-tutor-41c0de", override(), None, yes=True)


def test_an_abort_of_an_ended_release_changes_nothing_and_needs_no_temporal(cli: Cli) -> None:
    kept = aborted()
    cli.keep(kept)

    result = cli("abort", kept.record.header.name, "--reason", "again")

    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("already ROLLED_BACK (aborted ")
    assert result.stdout.endswith("Z by sre-oncall); nothing changed.\n")


def test_an_ended_release_cannot_be_paused_or_overridden(cli: Cli) -> None:
    kept = promoted()
    cli.keep(kept)
    name = kept.record.header.name

    paused = cli("pause", name, "--reason", "alert")
    let = cli("override", name, "--gate", "error", "--reason", "r", "--ticket", "t")

    assert (paused.exit_code, let.exit_code) == (Exit.ERROR, Exit.ERROR)
    assert paused.stdout == ""
    assert paused.stderr == (
        f"refused [ended]: {name} is already PROMOTED (every step held); nothing changed. "
        f"Next: rampway explain {name}\n"
    )


def test_an_answer_as_json_names_the_result_and_the_exit_code(cli: Cli) -> None:
    kept = rolled_back_by_error()
    cli.keep(kept)

    told = cli.json("abort", kept.record.header.name)

    assert (told["result"], told["rule"], told["exit_code"]) == ("already", "ended", 0)


@pytest.mark.parametrize(
    "missing", ["--gate", "--reason", "--ticket"], ids=["gate", "reason", "ticket"]
)
def test_an_override_without_gate_reason_or_ticket_is_a_usage_error(cli: Cli, missing: str) -> None:
    given = {"--gate": "error", "--reason": "r", "--ticket": "t"}
    del given[missing]

    result = cli(
        "override", "grammar-tutor-41c0de", *[part for pair in given.items() for part in pair]
    )

    assert result.exit_code == Exit.USAGE
    assert missing in result.stderr


def test_a_pause_needs_a_reason(cli: Cli) -> None:
    assert cli("pause", "grammar-tutor-41c0de").exit_code == Exit.USAGE


def test_without_temporal_an_abort_says_what_stops_the_split_at_once(cli: Cli) -> None:
    kept = Teller().start().shadow().kept()
    cli.keep(kept)

    result = cli("abort", kept.record.header.name, "--reason", "incident")

    assert result.exit_code == Exit.ERROR
    assert result.stderr.startswith("Temporal does not answer at 127.0.0.1:9")
    assert "At once, by hand: rampway gateway end grammar-tutor" in result.stderr


async def test_a_command_that_came_just_after_the_end_is_answered_by_the_record(cli: Cli) -> None:
    kept = aborted()
    await asyncio.to_thread(cli.keep, kept)
    header = kept.record.header
    found = Found(header.name, header.target.name, header.workflow_id, None)

    late = await steer._ended_meanwhile(found, Verb.ABORT, Command(actor="a"))
    pause = await steer._ended_meanwhile(found, Verb.PAUSE, Command(actor="a"))

    assert (late.result, late.code) == ("already", Exit.OK)
    assert pause.text.startswith("refused [ended]: ")


@pytest.fixture
async def world(
    temporal: WorkflowEnvironment, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A target whose release this command line steers."""
    async with steered_world(temporal, cli, monkeypatch) as made:
        yield made


async def ask(
    name: str,
    verb: Verb,
    command: Command | None = None,
    *,
    confirm: Callable[[Progress | None], None] | None = None,
    dry_run: bool = False,
) -> Answer:
    asked = command or Command(actor="sre-oncall", reason="unrelated alert")
    return await steer._ask(name, verb, asked, confirm, dry_run=dry_run)


async def test_what_a_person_asks_of_a_release_becomes_one_event_each(world: World) -> None:
    order = await world.order()
    name = order.header.name
    await world.forward_to(await world.start(order), "5 %")
    found = await find_in_temporal(world.env.client, name)

    dry = await ask(name, Verb.PAUSE, dry_run=True)
    paused = await ask(name, Verb.PAUSE)
    again = await ask(name, Verb.PAUSE)
    resumed = await ask(name, Verb.RESUME)
    waited = await follow_to_end(found, 0.0)
    stopped = await ask(name, Verb.ABORT)
    ended = await follow_to_end(found, 30.0)
    after = await ask(name, Verb.ABORT)

    events = {event.sequence: event for event in await world.events(order)}
    assert dry.text == f"would pause {name}, which is CANARY at 5 %; nothing was sent."
    assert paused.text.startswith(f"accepted: event {paused.event}. The climb has stopped")
    assert events[paused.event or 0].kind == "paused"
    assert again.text.startswith("refused [already paused]: ")
    assert events[resumed.event or 0].kind == "resumed"
    assert (waited.code, waited.facts["outcome"]) == (Exit.RUNNING, None)
    assert stopped.text.startswith("aborted: 0 % confirmed by 1 of 1 gateway in ")
    assert stopped.text.endswith(f"event {stopped.event}. It ends ROLLED_BACK, reason aborted.")
    assert events[stopped.event or 0].kind == "pinned"
    assert (ended.code, ended.facts["outcome"]) == (Exit.STOPPED, "rolled_back")
    assert ended.text.startswith(f"{name}  ROLLED_BACK: aborted by sre-oncall")
    assert (after.result, after.code) == ("already", Exit.OK)
    assert world.traffic.share_bp(world.target.name) == 0


async def test_a_dead_record_keeps_nobody_from_stopping_a_release(world: World, cli: Cli) -> None:
    first = await world.order()
    await world.forward_to(await world.start(first), "SHADOW")
    queued = await world.order(model="c")
    await world.forward_to(await world.start(queued), "QUEUED")
    shown: list[Progress | None] = []

    own = await ask(first.header.name, Verb.OVERRIDE, override(actor="tutor-dev"))
    rejected = await ask(queued.header.name, Verb.ABORT, confirm=shown.append)
    for path in cli.home.glob("registry.db*"):
        path.rename(path.with_name(f"lost-{path.name}"))
    stopped = await ask(first.header.name, Verb.ABORT)

    assert own.code is Exit.IDENTITY
    assert [seen.phase for seen in shown if seen] == [Phase.QUEUED]
    assert rejected.text.startswith("aborted: the candidate holds no traffic, event ")
    assert rejected.text.endswith("It ends REJECTED, reason aborted.")
    assert stopped.text.startswith("aborted: 0 % confirmed by 1 of 1 gateway")
    with pytest.raises(Failure, match="Temporal knows no release grammar-tutor-000000"):
        await find_in_temporal(world.env.client, "grammar-tutor-000000")
