"""The table of moves: what a release can and cannot do, whatever happens in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.release.phases import ENDED, EXPOSED, MOVES, IllegalMove, Phase, Trigger, move

TRIGGERS = st.lists(st.sampled_from(list(Trigger)), max_size=40)
GOING_DOWN = frozenset({Phase.PINNED, Phase.ROLLING_BACK, Phase.STRANDED, Phase.ROLLED_BACK})
STOPS = (Trigger.BREACH, Trigger.CONTROL_LOST, Trigger.DEADLINE, Trigger.ABORT)


def walk(triggers: list[Trigger]) -> list[Phase]:
    """The phases of a release to which these triggers happen; illegal ones change nothing."""
    phases = [Phase.PROPOSED]
    for trigger in triggers:
        phases.append(MOVES.get((phases[-1], trigger), phases[-1]))
    return phases


@given(TRIGGERS)
def test_what_was_pinned_only_goes_down(triggers: list[Trigger]) -> None:
    phases = walk(triggers)

    pinned = phases.index(Phase.PINNED) if Phase.PINNED in phases else len(phases)

    assert set(phases[pinned:]) <= GOING_DOWN


@given(TRIGGERS)
def test_an_end_is_final(triggers: list[Trigger]) -> None:
    phases = walk(triggers)

    ends = [i for i, phase in enumerate(phases) if phase in ENDED]

    assert len({phases[i] for i in ends}) <= 1
    assert not ends or set(phases[ends[0] :]) == {phases[ends[0]]}


@given(TRIGGERS)
def test_nobody_is_exposed_without_an_offline_pass(triggers: list[Trigger]) -> None:
    phases = walk(triggers)

    exposed = [i for i, phase in enumerate(phases) if phase in EXPOSED]

    assert not exposed or Phase.QUEUED in phases[: exposed[0]]


@given(TRIGGERS)
def test_promotion_comes_only_through_the_full_step(triggers: list[Trigger]) -> None:
    phases = walk(triggers)

    if Phase.PROMOTED in phases:
        before = phases[: phases.index(Phase.PROMOTED)]
        assert Phase.SETTLING in before
        assert Phase.FULL in before[: before.index(Phase.SETTLING)]


@pytest.mark.parametrize("phase", sorted(EXPOSED))
@pytest.mark.parametrize("stop", STOPS)
def test_every_stop_leads_down_from_every_phase_with_candidate_traffic(
    phase: Phase, stop: Trigger
) -> None:
    assert move(phase, stop) is Phase.PINNED


@pytest.mark.parametrize("phase", sorted(set(Phase) - ENDED))
def test_every_phase_but_an_end_has_a_way_out(phase: Phase) -> None:
    assert [trigger for (at, trigger) in MOVES if at is phase]


def test_every_phase_can_be_reached() -> None:
    assert {*MOVES.values(), Phase.PROPOSED} == set(Phase)


def test_a_superseded_release_that_settles_is_promoted() -> None:
    assert move(Phase.SETTLING, Trigger.SUPERSEDED) is Phase.PROMOTED


@given(st.sampled_from(list(Phase)), st.sampled_from(list(Trigger)))
def test_a_move_that_the_table_does_not_have_is_refused_with_what_would_be_legal(
    phase: Phase, trigger: Trigger
) -> None:
    if (phase, trigger) in MOVES:
        assert move(phase, trigger) is MOVES[phase, trigger]
        return

    with pytest.raises(IllegalMove, match=rf"in {phase} .*Legal triggers"):
        move(phase, trigger)
