"""Commands: noted in order, judged by rules, used once, abort before everything else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.gates.verdicts import Verdict
from rampway.release.controls import (
    OVERRIDE_LIFETIME,
    Command,
    Controls,
    OverrideCommand,
    Rule,
    Situation,
    Verb,
    refuse,
)
from rampway.release.phases import Phase

NOW = datetime(2026, 11, 20, 2, 31, tzinfo=UTC)
OVERRIDE = OverrideCommand(
    id="o-1", actor="search-dev", gate="refusal", reason="template change", ticket="REL-2210"
)


def situation(**changed: object) -> Situation:
    """A release at 5 % whose refusal gate is open."""
    usual = Situation(
        name="product-qa-60",
        phase=Phase.CANARY,
        owner="shop-dev",
        paused=False,
        gates=("error", "refusal"),
        evidence="sha256:" + "7" * 64,
    )
    return usual.model_copy(update=changed)


def with_override(command: OverrideCommand = OVERRIDE) -> Controls:
    controls = Controls()
    controls.note(Verb.OVERRIDE, command)
    for request in controls.take():
        controls.settle(request, None, NOW)
    return controls


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"reason": " "}, Rule.NO_REASON),
        ({"ticket": ""}, Rule.NO_TICKET),
        ({"actor": "shop-dev"}, Rule.SELF_APPROVAL),
        ({"gate": "quality"}, Rule.UNKNOWN_GATE),
        ({"evidence": "sha256:" + "6" * 64}, Rule.EVIDENCE_MOVED),
    ],
)
def test_an_override_is_refused_by_the_rule_it_breaks(changed: dict[str, str], rule: Rule) -> None:
    refusal = refuse(Verb.OVERRIDE, OVERRIDE.model_copy(update=changed), situation())

    assert refusal is not None
    assert refusal.rule is rule


def test_a_breach_cannot_be_overridden() -> None:
    refusal = refuse(Verb.OVERRIDE, OVERRIDE, situation(breached=("refusal",)))

    assert str(refusal) == (
        "refused [breach]: a BREACH cannot be overridden. Next: rampway start (a new release)"
    )


def test_an_override_is_used_once() -> None:
    controls = with_override()

    first = controls.use_overrides(("refusal",), Verdict.INCONCLUSIVE, NOW)
    second = controls.use_overrides(("refusal",), Verdict.INCONCLUSIVE, NOW)

    assert [override.command for override in first] == [OVERRIDE]
    assert second == ()


def test_an_override_expires() -> None:
    controls = with_override()

    used = controls.use_overrides(("refusal",), Verdict.NO_DATA, NOW + OVERRIDE_LIFETIME)

    assert used == ()


@pytest.mark.parametrize("verdict", [Verdict.BREACH, Verdict.PASS, Verdict.INCOMPARABLE])
def test_an_override_passes_only_what_is_open(verdict: Verdict) -> None:
    assert with_override().use_overrides(("refusal",), verdict, NOW) == ()


def test_an_override_of_one_gate_does_not_let_another_open_gate_through() -> None:
    controls = with_override()

    assert controls.use_overrides(("refusal", "error"), Verdict.INCONCLUSIVE, NOW) == ()
    assert controls.use_overrides(("refusal",), Verdict.INCONCLUSIVE, NOW)


@given(st.permutations([Verb.PAUSE, Verb.RESUME, Verb.OVERRIDE, Verb.ABORT]))
def test_an_abort_is_judged_before_every_other_command(verbs: list[Verb]) -> None:
    controls = Controls()
    for verb in verbs:
        command = OVERRIDE if verb is Verb.OVERRIDE else Command(id=verb.value)
        controls.note(verb, command)

    taken = [request.verb for request in controls.take()]

    assert taken[0] is Verb.ABORT
    assert taken[1:] == [verb for verb in verbs if verb is not Verb.ABORT]


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=8))
def test_a_repeated_id_is_one_request(idents: list[str]) -> None:
    controls = Controls()

    for ident in idents:
        controls.note(Verb.PAUSE, Command(id=ident))

    assert [request.command.id for request in controls.take()] == list(dict.fromkeys(idents))


def test_requests_from_the_ui_without_an_id_are_all_kept() -> None:
    controls = Controls()

    controls.note(Verb.PAUSE, Command())
    controls.note(Verb.RESUME, Command())

    assert [request.verb for request in controls.take()] == [Verb.PAUSE, Verb.RESUME]


@pytest.mark.parametrize("phase", [Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED])
@pytest.mark.parametrize("verb", list(Verb))
def test_what_goes_down_takes_no_command(phase: Phase, verb: Verb) -> None:
    refusal = refuse(verb, OVERRIDE, situation(phase=phase))

    assert refusal is not None
    assert refusal.rule is Rule.ROLLING_BACK


def test_an_ended_release_says_that_nothing_changed() -> None:
    refusal = refuse(Verb.ABORT, Command(), situation(phase=Phase.ROLLED_BACK))

    assert refusal is not None
    assert refusal.rule is Rule.ENDED
    assert "nothing changed" in refusal.why


def test_a_pause_is_lifted_by_a_resume_only() -> None:
    controls = Controls()
    for verb in (Verb.PAUSE, Verb.OVERRIDE):
        controls.note(verb, OVERRIDE if verb is Verb.OVERRIDE else Command(actor="sre"))
    for request in controls.take():
        controls.settle(request, None, NOW - timedelta(minutes=1))

    paused = controls.paused_by
    controls.note(Verb.RESUME, Command())
    for request in controls.take():
        controls.settle(request, None, NOW)

    assert paused is not None
    assert paused.actor == "sre"
    assert controls.paused_by is None
