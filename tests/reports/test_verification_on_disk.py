"""A registry's file in the hands of somebody with an editor: any change to any row is found."""

import asyncio
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_release import RELEASE, JudgedRelease

from rampway.adapters.registry_sql import SqlRegistry
from rampway.ports import NotFound, Registry, Tampered
from rampway.reports.verification import (
    Verification,
    digests_of,
    unreadable,
    verification_text,
    verify,
)

HONEST = JudgedRelease()
HEAD = HONEST.ledger.head
EVENTS = len(HONEST.ledger.events)
COLUMNS = ("release", "sequence", "hash", "previous")
FIELDS = sorted(
    HONEST.ledger.events[0].model_dump(exclude={"release", "sequence", "hash", "previous"})
)

Copy = Callable[[], Path]


async def verify_stored(registry: Registry, name: str) -> Verification:
    """Verify what is stored, as it is stored."""
    try:
        record = await registry.release(name)
    except Tampered as error:
        return unreadable(name, sequence=error.sequence, why=str(error))
    blobs: dict[str, bytes] = {}
    for digest in digests_of(record):
        try:
            blobs[digest] = await registry.get(digest)
        except NotFound:
            continue
        except Tampered as error:
            blobs[digest] = error.body
    return verify(record, blobs, anchor=HEAD)


def verified(path: Path) -> Verification:
    async def in_one_loop() -> Verification:
        registry = SqlRegistry.open(f"sqlite:///{path}")
        try:
            return await verify_stored(registry, RELEASE)
        finally:
            await registry.close()

    return asyncio.run(in_one_loop())


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Makes a copy of an honest registry without its guards, for somebody to change."""
    folder = tmp_path_factory.mktemp("registry")
    original = folder / "honest.db"
    asyncio.run(_record(original))
    with sqlite3.connect(original) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in names.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
    connection.close()

    def copies() -> Path:
        return Path(shutil.copyfile(original, folder / "copy.db"))

    return copies


async def _record(path: Path) -> None:
    registry = SqlRegistry.open(f"sqlite:///{path}")
    await registry.open_release(HONEST.header)
    await registry.append(HONEST.ledger.events)
    for body in HONEST.blobs.values():
        await registry.put("fact", body)
    await registry.close()


def _change(path: Path, statement: str, *values: object) -> int:
    """How many rows a statement changes, foreign keys or not."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    return changed


def test_an_honest_file_holds(copy: Copy) -> None:
    verification = verified(copy())

    assert verification.verified
    assert (verification.events, verification.decisions) == (EVENTS, 5)


JSON_VALUES = (
    st.none() | st.booleans() | st.integers(-1, 10_001) | st.text(max_size=8) | st.just({"a": 1})
)


@settings(deadline=None, max_examples=40)
@given(
    sequence=st.integers(1, EVENTS),
    field=st.sampled_from(FIELDS),
    value=JSON_VALUES,
    data=st.data(),
)
def test_a_change_to_any_field_of_any_event_is_found(
    copy: Copy, sequence: int, field: str, value: object, data: st.DataObject
) -> None:
    path = copy()
    event = HONEST.ledger.events[sequence - 1].model_dump(mode="json")
    body = {k: v for k, v in event.items() if k not in COLUMNS}
    others = [getattr(e, field) for e in HONEST.ledger.events if not isinstance(e.data, str)]
    stolen = data.draw(st.sampled_from([value, *map(_as_json, others)]), label="value")
    changed = json.dumps(body | {field: stolen}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)  # fmt: skip
    rows = _change(path, "UPDATE events SET body = ? WHERE sequence = ?", changed, sequence)

    verification = verified(path)

    assert rows == 1
    same = json.dumps(body[field], sort_keys=True) == json.dumps(stolen, sort_keys=True)
    assert verification.verified is same
    if not same:
        assert verification.findings[0].sequence == sequence
        assert verification_text(verification).startswith(f"TAMPERED: event {sequence} ")


@settings(deadline=None, max_examples=40)
@given(sequence=st.integers(1, EVENTS), column=st.sampled_from(COLUMNS), data=st.data())
def test_a_change_to_any_column_of_any_event_is_found(
    copy: Copy, sequence: int, column: str, data: st.DataObject
) -> None:
    path = copy()
    honest = getattr(HONEST.ledger.events[sequence - 1], column)
    texts = ["", "sha256:" + "0" * 64, *(e.hash for e in HONEST.ledger.events)]
    values = st.integers(-5, 99) if column == "sequence" else st.sampled_from(texts)
    value = data.draw(values.filter(lambda v: v != honest), label="value")
    try:
        _change(path, f"UPDATE events SET {column} = ? WHERE sequence = ?", value, sequence)  # noqa: S608
    except sqlite3.IntegrityError:
        return  # two events cannot have one number

    assert not verified(path).verified


@settings(deadline=None, max_examples=40)
@given(sequences=st.sets(st.integers(1, EVENTS), min_size=1))
def test_events_that_were_deleted_are_missed(copy: Copy, sequences: set[int]) -> None:
    path = copy()
    _change(path, "DELETE FROM events WHERE sequence IN (SELECT value FROM json_each(?))", json.dumps([*sequences]))  # fmt: skip

    verification = verified(path)

    assert not verification.verified
    assert verification.findings[0].sequence == min(sequences)


@settings(deadline=None, max_examples=40)
@given(digest=st.sampled_from(sorted(HONEST.blobs)), data=st.data())
def test_a_changed_blob_is_found(copy: Copy, digest: str, data: st.DataObject) -> None:
    path = copy()
    body = bytearray(HONEST.blobs[digest])
    place = data.draw(st.integers(0, len(body) - 1), label="place")
    body[place] ^= data.draw(st.integers(1, 255), label="bits")
    rows = _change(path, "UPDATE blobs SET body = ? WHERE digest = ?", zlib.compress(body), digest)

    assert rows == 1
    assert not verified(path).verified


@settings(deadline=None, max_examples=40)
@given(digest=st.sampled_from(sorted(HONEST.blobs)), data=st.data())
def test_one_changed_byte_of_a_stored_blob_is_found_or_harmless(
    copy: Copy, digest: str, data: st.DataObject
) -> None:
    path = copy()
    stored = bytearray(zlib.compress(HONEST.blobs[digest]))
    place = data.draw(st.integers(0, len(stored) - 1), label="place")
    stored[place] ^= data.draw(st.integers(1, 255), label="bits")
    _change(path, "UPDATE blobs SET body = ? WHERE digest = ?", bytes(stored), digest)

    # A byte of zlib's own header may change and the blob inflate to the very same bytes.
    try:
        harmless = zlib.decompress(bytes(stored)) == HONEST.blobs[digest]
    except zlib.error:
        harmless = False
    assert verified(path).verified is harmless


def test_a_blob_filed_under_another_digest_is_found(copy: Copy) -> None:
    path = copy()
    one, other = sorted(HONEST.blobs)[:2]
    swap = "UPDATE blobs SET body = (SELECT body FROM blobs WHERE digest = ?) WHERE digest = ?"

    assert _change(path, swap, one, other) == 1
    assert not verified(path).verified


@pytest.mark.parametrize("field", ["owner", "actor", "plan", "attempt", "workflow_id"])
def test_a_changed_header_is_found_even_when_its_digest_is_renewed(copy: Copy, field: str) -> None:
    path = copy()
    header = HONEST.header.model_dump(mode="json") | {field: 7 if field == "attempt" else "forged"}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    changed = HONEST.header.model_validate(header)

    _change(path, "UPDATE releases SET header = ?", text)
    with_old_digest = verified(path)
    _change(path, "UPDATE releases SET header_digest = ?", changed.digest)
    with_new_digest = verified(path)

    assert with_old_digest.findings[0].what == "was changed after it was written"
    assert with_new_digest.findings[0].sequence is None


def _as_json(value: object) -> object:
    return json.loads(json.dumps(value, default=str))
