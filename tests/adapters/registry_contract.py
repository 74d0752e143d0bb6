"""What every registry must do, whatever it is built on: a class of rules to inherit with a `registry`."""

from datetime import UTC, datetime, timedelta

import pytest

from rampway.gates.facts import digest_of, digest_of_bytes
from rampway.ports import AlreadyRecorded, NotFound, Registry
from rampway.release.events import ChainBroken, Event, EventKind, Ledger
from rampway.release.phases import Phase, Trigger
from rampway.release.records import Header, Target
from rampway.release.splits import Serve, Served

T0 = datetime(2026, 11, 20, 1, 19, 8, tzinfo=UTC)
TUTOR = Target(name="grammar-tutor", team="tutor")


def served(name: str) -> Served:
    return Served(artifact=digest_of(name), serve=Serve(upstream=name))


BASELINE = served("provider-v4")
CANDIDATE = served("provider-v5")


def header(release: str = "a" * 64, **changes: object) -> Header:
    fields = {
        "release": release,
        "name": f"grammar-tutor-{release[:6]}",
        "target": TUTOR,
        "owner": "tutor-dev",
        "team": "tutor",
        "actor": "ci",
        "started_at": T0,
        "baseline": BASELINE,
        "candidate": CANDIDATE,
        "spec": digest_of("spec"),
        "plan": digest_of("plan"),
        "workflow_id": f"release/grammar-tutor/{release}",
    }
    return Header.model_validate(fields | changes)


def climb(release: str = "a" * 64) -> list[Event]:
    """A release that starts, passes its offline gate, is raised to 1 % and pinned: five events."""
    ledger = Ledger(release)
    moves = (
        (EventKind.STARTED, Phase.OFFLINE_GATE, Trigger.STARTED, 0),
        (EventKind.JUDGED, Phase.QUEUED, Trigger.OFFLINE_PASSED, 0),
        (EventKind.RAISED, Phase.CANARY, Trigger.CANARY_BEGAN, 100),
        (EventKind.DECIDED, Phase.CANARY, None, 100),
        (EventKind.PINNED, Phase.PINNED, Trigger.BREACH, 0),
    )
    for number, (kind, phase, trigger, share_bp) in enumerate(moves):
        ledger.write(
            kind,
            at=T0 + timedelta(minutes=number, microseconds=number),
            phase=phase,
            trigger=trigger,
            share_bp=share_bp,
            actor="workflow",
            reason="error BREACH, “29 of 1,138”",
            data={"units": 1138, "rate": 0.1 + 0.2, "nested": [1, None, {"ü": True}]},
        )
    return ledger.events


class RegistryContract:
    """Rules of the record."""

    async def test_an_artifact_comes_back_as_it_was_recorded(self, registry: Registry) -> None:
        content = {"prompt": "Bilde den Satz „um“.", "parameters": {"temperature": 0.0}}

        await registry.add_artifact("sha256:1", content)
        await registry.add_artifact("sha256:1", content)

        assert await registry.artifact("sha256:1") == content

    async def test_an_artifact_is_never_replaced(self, registry: Registry) -> None:
        await registry.add_artifact("sha256:1", {"model": "v4"})

        with pytest.raises(AlreadyRecorded, match="sha256:1"):
            await registry.add_artifact("sha256:1", {"model": "v5"})

        assert await registry.artifact("sha256:1") == {"model": "v4"}

    async def test_what_was_never_recorded_is_not_found(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.artifact("sha256:0")
        with pytest.raises(NotFound):
            await registry.get("sha256:0")
        with pytest.raises(NotFound):
            await registry.target("grammar-tutor")
        with pytest.raises(NotFound):
            await registry.release("a" * 64)
        with pytest.raises(NotFound):
            await registry.point("grammar-tutor", BASELINE, release="a" * 64)
        assert list(await registry.targets()) == []
        assert list(await registry.releases()) == []

    async def test_a_blob_is_found_by_the_digest_of_its_bytes(self, registry: Registry) -> None:
        body = b'{"kind":"counts"}' * 1000

        digest = await registry.put("evidence", body)
        again = await registry.put("evidence", body)

        assert digest == again == digest_of_bytes(body)
        assert await registry.get(digest) == body

    async def test_an_empty_blob_is_a_blob(self, registry: Registry) -> None:
        assert await registry.get(await registry.put("evidence", b"")) == b""

    async def test_a_target_stands_with_its_first_baseline(self, registry: Registry) -> None:
        await registry.set_target(TUTOR, BASELINE)
        await registry.set_target(Target(name="code-review"), CANDIDATE)

        standing = await registry.target("grammar-tutor")

        assert (standing.target, standing.baseline) == (TUTOR, BASELINE)
        assert [s.target.name for s in await registry.targets()] == ["code-review", "grammar-tutor"]

    async def test_a_release_moves_the_baseline_and_its_undo_moves_it_back(
        self, registry: Registry
    ) -> None:
        await registry.set_target(TUTOR, BASELINE)

        await registry.point("grammar-tutor", CANDIDATE, release="r1")
        promoted = await registry.target("grammar-tutor")
        await registry.point("grammar-tutor", BASELINE, release="r1")
        undone = await registry.target("grammar-tutor")

        assert promoted.baseline == CANDIDATE
        assert undone.baseline == BASELINE

    async def test_a_late_repeat_of_a_promotion_moves_nothing(self, registry: Registry) -> None:
        await registry.set_target(TUTOR, BASELINE)
        await registry.point("grammar-tutor", CANDIDATE, release="r1")
        await registry.point("grammar-tutor", served("provider-v6"), release="r2")

        await registry.point("grammar-tutor", CANDIDATE, release="r1")

        assert (await registry.target("grammar-tutor")).baseline == served("provider-v6")

    async def test_a_promotion_cannot_be_repeated_with_another_way_to_serve(
        self, registry: Registry
    ) -> None:
        await registry.set_target(TUTOR, BASELINE)
        await registry.point("grammar-tutor", CANDIDATE, release="r1")
        otherwise = CANDIDATE.model_copy(update={"serve": Serve(upstream="elsewhere")})

        with pytest.raises(AlreadyRecorded, match="served otherwise"):
            await registry.point("grammar-tutor", otherwise, release="r1")

    async def test_the_owners_change_a_configuration_without_moving_the_baseline(
        self, registry: Registry
    ) -> None:
        await registry.set_target(TUTOR, BASELINE)
        await registry.point("grammar-tutor", CANDIDATE, release="r1")
        slower = TUTOR.model_copy(update={"timeout_seconds": 120.0})

        await registry.set_target(slower, CANDIDATE)
        await registry.set_target(slower, BASELINE)  # as the first `target add` said

        standing = await registry.target("grammar-tutor")
        assert standing.target == slower
        assert standing.baseline == CANDIDATE

    async def test_only_a_release_moves_a_baseline(self, registry: Registry) -> None:
        await registry.set_target(TUTOR, BASELINE)

        with pytest.raises(AlreadyRecorded, match="only a release moves a baseline"):
            await registry.set_target(TUTOR, CANDIDATE)

        assert (await registry.target("grammar-tutor")).baseline == BASELINE

    async def test_events_come_back_bit_for_bit(self, registry: Registry) -> None:
        await registry.open_release(header())

        for event in climb():
            await registry.append([event])

        record = await registry.release("a" * 64)
        assert record.header == header()
        assert list(record.events) == climb()
        assert record.phase is Phase.PINNED

    async def test_opening_a_release_twice_is_one_release(self, registry: Registry) -> None:
        await registry.open_release(header())
        await registry.open_release(header())

        with pytest.raises(AlreadyRecorded, match="another header"):
            await registry.open_release(header(owner="someone-else"))

        assert [r.header.owner for r in await registry.releases()] == ["tutor-dev"]

    async def test_appending_again_what_is_there_is_a_success(self, registry: Registry) -> None:
        await registry.open_release(header())
        events = climb()
        await registry.append(events[:3])

        await registry.append(events[1:3])
        await registry.append(events)
        await registry.append([])

        assert list((await registry.release("a" * 64)).events) == events

    async def test_appending_something_else_under_a_number_is_refused(
        self, registry: Registry
    ) -> None:
        await registry.open_release(header())
        events = climb()
        await registry.append(events)
        other = events[2].model_copy(update={"reason": "nothing happened"})
        other = other.model_copy(update={"hash": other.computed_hash()})

        with pytest.raises(AlreadyRecorded, match="Event 3"):
            await registry.append([other])

        assert list((await registry.release("a" * 64)).events) == events

    async def test_a_gap_is_refused_and_nothing_of_the_batch_is_kept(
        self, registry: Registry
    ) -> None:
        await registry.open_release(header())
        events = climb()
        await registry.append(events[:1])

        with pytest.raises(ChainBroken, match="expected event 3"):
            await registry.append([events[1], events[3]])

        assert list((await registry.release("a" * 64)).events) == events[:1]

    async def test_a_move_that_no_rule_allows_is_refused(self, registry: Registry) -> None:
        await registry.open_release(header())
        ledger = Ledger("a" * 64)
        leap = ledger.write(
            EventKind.PROMOTED,
            at=T0,
            phase=Phase.PROMOTED,
            trigger=Trigger.PROMOTED,
            share_bp=10_000,
            actor="intruder",
            reason="because",
        )

        with pytest.raises(ChainBroken, match="no rule allows"):
            await registry.append([leap])

    async def test_an_event_with_a_wrong_hash_is_refused(self, registry: Registry) -> None:
        await registry.open_release(header())
        forged = climb()[0].model_copy(update={"actor": "someone-else"})

        with pytest.raises(ChainBroken, match="changed after it was written"):
            await registry.append([forged])

    async def test_an_event_of_a_release_that_was_never_opened_is_refused(
        self, registry: Registry
    ) -> None:
        with pytest.raises(NotFound, match="its header comes first"):
            await registry.append(climb())

    async def test_a_release_is_found_by_id_by_name_and_by_the_beginning_of_its_id(
        self, registry: Registry
    ) -> None:
        await registry.open_release(header("a1" * 32))
        await registry.open_release(header("b2" * 32))

        found = [
            (await registry.release(asked)).header.release
            for asked in ("a1" * 32, "grammar-tutor-a1a1a1", "a1a1a1", "a1a1a1a1")
        ]

        assert found == ["a1" * 32] * 4
        for too_vague in ("a1a1a", "", "%" * 6, "_" * 6):
            with pytest.raises(NotFound):
                await registry.release(too_vague)

    async def test_an_ambiguous_beginning_names_the_candidates(self, registry: Registry) -> None:
        twins = ("abcdef" + "0" * 58, "abcdef" + "1" * 58)
        for twin in twins:
            await registry.open_release(header(twin))

        with pytest.raises(NotFound, match="could be") as by_prefix:
            await registry.release("abcdef")
        with pytest.raises(NotFound, match="could be") as by_name:
            await registry.release("grammar-tutor-abcdef")

        assert all(twin in str(by_prefix.value) for twin in twins)
        assert all(twin in str(by_name.value) for twin in twins)

    async def test_releases_are_listed_newest_first_and_by_target(self, registry: Registry) -> None:
        other = Target(name="code-review")
        await registry.open_release(header("1" * 64))
        await registry.open_release(header("2" * 64, target=other, name="code-review-222222"))
        await registry.open_release(header("3" * 64))
        await registry.append(climb("3" * 64))

        everywhere = await registry.releases()
        tutors = await registry.releases("grammar-tutor")

        assert [r.header.release[0] for r in everywhere] == ["3", "2", "1"]
        assert [r.header.release[0] for r in tutors] == ["3", "1"]
        assert [len(r.events) for r in tutors] == [5, 0]
        assert list(await registry.releases("nobody")) == []

    async def test_the_first_verdict_of_an_eval_stands(self, registry: Registry) -> None:
        first = await registry.keep_first_eval("candidate/cases/grader", b"BREACH")
        second = await registry.keep_first_eval("candidate/cases/grader", b"PASS")
        other = await registry.keep_first_eval("another/cases/grader", b"PASS")

        assert (first, second, other) == (b"BREACH", b"BREACH", b"PASS")
