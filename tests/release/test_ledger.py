"""The ledger: numbered, chained, and every change to it found."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rampway.release.events import (
    GENESIS,
    ChainBroken,
    Event,
    EventKind,
    Ledger,
    check_chain,
    end_of,
)
from rampway.release.phases import Phase, Trigger

AT = datetime(2026, 11, 20, 1, 19, 8, tzinfo=UTC)


def rejected_release() -> Ledger:
    """Three events: started, judged, rejected."""
    ledger = Ledger("r" * 64)
    ledger.write(
        EventKind.STARTED,
        at=AT,
        phase=Phase.OFFLINE_GATE,
        share_bp=0,
        actor="tutor-dev",
        reason="merge of PR #318",
        trigger=Trigger.STARTED,
    )
    ledger.write(
        EventKind.JUDGED,
        at=AT,
        phase=Phase.OFFLINE_GATE,
        share_bp=0,
        actor="workflow",
        reason="BREACH",
        data={"verdict": "BREACH"},
    )
    ledger.write(
        EventKind.REJECTED,
        at=AT,
        phase=Phase.REJECTED,
        share_bp=0,
        actor="workflow",
        reason="offline gate BREACH",
        trigger=Trigger.GATE_FAILED,
    )
    return ledger


def test_events_count_from_one_and_each_follows_the_one_before() -> None:
    events = rejected_release().events

    assert [event.sequence for event in events] == [1, 2, 3]
    assert [event.previous for event in events] == [GENESIS, events[0].hash, events[1].hash]
    assert check_chain(events) == events[-1].hash
    assert end_of(events) is events[-1]


@given(
    st.integers(0, 2),
    st.sampled_from(
        [
            {"actor": "somebody-else"},
            {"reason": "nothing happened"},
            {"share_bp": 500},
            {"data": {"verdict": "PASS"}},
            {"evidence": "sha256:" + "1" * 64},
            {"at": datetime(2026, 11, 20, 1, 19, 9, tzinfo=UTC)},
        ],
    ),
)
def test_a_changed_event_is_found_where_it_stands(index: int, change: dict[str, object]) -> None:
    events = rejected_release().events
    changed = events[index].model_copy(update=change)
    if changed == events[index]:
        return

    with pytest.raises(ChainBroken) as broken:
        check_chain([*events[:index], changed, *events[index + 1 :]])

    assert broken.value.sequence == index + 1


def test_a_changed_event_with_a_hash_to_match_breaks_the_one_after_it() -> None:
    events = rejected_release().events
    changed = events[0].model_copy(update={"actor": "somebody-else"})
    resealed = changed.model_copy(update={"hash": changed.computed_hash()})

    with pytest.raises(ChainBroken, match="event 2: does not follow"):
        check_chain([resealed, *events[1:]])


@pytest.mark.parametrize("order", [[0, 2], [1, 0, 2], [0, 0, 1]])
def test_missing_reordered_and_repeated_events_are_found(order: list[int]) -> None:
    events = rejected_release().events

    with pytest.raises(ChainBroken, match="out of order"):
        check_chain([events[i] for i in order])


def test_a_move_that_the_table_forbids_breaks_the_chain() -> None:
    ledger = rejected_release()
    forbidden: Event = ledger.write(
        EventKind.RAISED,
        at=AT,
        phase=Phase.CANARY,
        share_bp=100,
        actor="workflow",
        reason="after the end",
        trigger=Trigger.CANARY_BEGAN,
    )

    with pytest.raises(ChainBroken, match="from REJECTED to CANARY"):
        check_chain(ledger.events)

    assert forbidden.sequence == len(ledger.events)
