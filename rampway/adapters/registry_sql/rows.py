"""What is in the record's tables, and the statements that append to them and read them back.

JSON is stored as canonical text, not in a JSON type: the digests are over these very bytes, and a
database may reorder or re-space its own JSON.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import JsonValue, ValidationError

from rampway.gates.facts import Fact, canonical, digest_of_bytes
from rampway.ports import AlreadyRecorded, NotFound, Tampered
from rampway.release.events import Event, check_next
from rampway.release.records import Header, Record, Standing, Target
from rampway.release.splits import Served

MAX_BLOB_BYTES = 64 * 2**20
MIN_PREFIX = 6
REGISTERED = ""  # stands for the release in a target's first pointer, which no release moved

ARTIFACTS = sa.table(
    "artifacts", sa.column("digest"), sa.column("content"), sa.column("content_digest")
)
BLOBS = sa.table("blobs", sa.column("digest"), sa.column("kind"), sa.column("body"))
EVALS = sa.table("evals", sa.column("key"), sa.column("verdict"))
TARGETS = sa.table("targets", sa.column("name"))
CONFIGS = sa.table("target_configs", sa.column("seq"), sa.column("target"), sa.column("config"))
POINTERS = sa.table(
    "target_pointers",
    sa.column("seq"),
    sa.column("target"),
    sa.column("release"),
    sa.column("artifact"),
    sa.column("served"),
)
RELEASES = sa.table(
    "releases",
    sa.column("seq"),
    sa.column("id", sa.Text),
    sa.column("name"),
    sa.column("target"),
    sa.column("header"),
    sa.column("header_digest"),
)
EVENTS = sa.table(
    "events",
    sa.column("release"),
    sa.column("sequence"),
    sa.column("hash"),
    sa.column("previous"),
    sa.column("body"),
)
# Each of these has one place, its column: a copy in the body could be changed without the other.
EVENT_COLUMNS = ("release", "sequence", "hash", "previous")


AFact = TypeVar("AFact", bound=Fact)


def add_artifact(connection: sa.Connection, digest: str, content: dict[str, JsonValue]) -> None:
    text = canonical(content).decode()
    stored = connection.scalar(sa.select(ARTIFACTS.c.content).where(ARTIFACTS.c.digest == digest))
    if stored is None:
        row = {"digest": digest, "content": text, "content_digest": digest_of_bytes(text.encode())}
        connection.execute(sa.insert(ARTIFACTS).values(row))
    elif stored != text:
        raise AlreadyRecorded(f"Artifact {digest} is recorded with another content.")


def artifact(connection: sa.Connection, digest: str) -> dict[str, JsonValue]:
    row = connection.execute(sa.select(ARTIFACTS).where(ARTIFACTS.c.digest == digest)).one_or_none()
    if row is None:
        raise NotFound(f"No artifact {digest} is recorded. Next: rampway start records it.")
    _check_digest(f"artifact {digest}", row.content, row.content_digest)
    content: dict[str, JsonValue] = json.loads(row.content)
    return content


def pack(kind: str, body: bytes) -> tuple[str, bytes]:
    """A blob's digest, and the blob as it is stored. Raises ValueError above MAX_BLOB_BYTES."""
    if len(body) > MAX_BLOB_BYTES:
        raise ValueError(
            f"A {kind} of {len(body):,} bytes is too large to record; the limit is"
            f" {MAX_BLOB_BYTES:,}. Next: store counts, not texts."
        )
    return digest_of_bytes(body), zlib.compress(body)


def put(connection: sa.Connection, digest: str, kind: str, body: bytes) -> None:
    known = connection.scalar(sa.select(BLOBS.c.digest).where(BLOBS.c.digest == digest))
    if known is None:
        connection.execute(sa.insert(BLOBS).values(digest=digest, kind=kind, body=body))


def get(connection: sa.Connection, digest: str) -> bytes:
    row = connection.execute(sa.select(BLOBS).where(BLOBS.c.digest == digest)).one_or_none()
    if row is None:
        raise NotFound(f"No blob {digest} is recorded.")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(row.body, MAX_BLOB_BYTES)
    except zlib.error as error:
        raise Tampered(f"The {row.kind} {digest} is unreadable: {error}.", body=row.body) from error
    if digest_of_bytes(body) != digest or not inflate.eof:
        raise Tampered(f"The {row.kind} {digest} was changed after it was written.", body=body)
    return body


def set_target(connection: sa.Connection, target: Target, baseline: Served) -> None:
    name = target.name
    if connection.scalar(sa.select(TARGETS.c.name).where(TARGETS.c.name == name)) is None:
        connection.execute(sa.insert(TARGETS).values(name=name))
        _insert_pointer(connection, name, baseline, REGISTERED)
    served = _pointers(connection, name)
    if _text(baseline) not in {served[0].served, served[-1].served}:
        raise AlreadyRecorded(
            f"{name} serves {served[-1].artifact} by the record; only a release moves a baseline."
            f" Next: register it with the baseline it has, or release {baseline.artifact}."
        )
    config = _text(target)
    if config != _config(connection, name):
        connection.execute(sa.insert(CONFIGS).values(target=name, config=config))


def standings(connection: sa.Connection) -> list[Standing]:
    names = connection.scalars(sa.select(TARGETS.c.name).order_by(TARGETS.c.name)).all()
    return [standing(connection, name) for name in names]


def standing(connection: sa.Connection, name: str) -> Standing:
    config = _config(connection, name)
    if config is None:
        raise NotFound(f"No target {name} is registered. Next: rampway target add {name}")
    served = _pointers(connection, name)[-1].served
    return Standing(
        target=_parse(Target, config, f"configuration of {name}"),
        baseline=_parse(Served, served, f"baseline of {name}"),
    )


def _config(connection: sa.Connection, name: str) -> str | None:
    newest = sa.select(CONFIGS.c.config).where(CONFIGS.c.target == name)
    return connection.scalar(newest.order_by(CONFIGS.c.seq.desc()).limit(1))


def _pointers(connection: sa.Connection, name: str) -> Sequence[sa.Row[Any]]:
    query = sa.select(POINTERS).where(POINTERS.c.target == name).order_by(POINTERS.c.seq)
    return connection.execute(query).all()


def point(connection: sa.Connection, name: str, baseline: Served, release: str) -> None:
    pointers = _pointers(connection, name)
    if not pointers:
        raise NotFound(f"No target {name} is registered. Next: rampway target add {name}")
    key = (release, baseline.artifact)
    stored = next((p.served for p in pointers if (p.release, p.artifact) == key), None)
    if stored is None:
        _insert_pointer(connection, name, baseline, release)
    elif stored != _text(baseline):
        raise AlreadyRecorded(
            f"Release {release} has made {baseline.artifact} the baseline of {name}, served otherwise."
        )


def _insert_pointer(connection: sa.Connection, name: str, baseline: Served, release: str) -> None:
    row = {
        "target": name,
        "release": release,
        "artifact": baseline.artifact,
        "served": _text(baseline),
    }
    connection.execute(sa.insert(POINTERS).values(row))


def open_release(connection: sa.Connection, header: Header) -> None:
    text = _text(header)
    query = sa.select(RELEASES.c.header).where(RELEASES.c.id == header.release)
    stored = connection.scalar(query)
    if stored is None:
        row = {
            "id": header.release,
            "name": header.name,
            "target": header.target.name,
            "header": text,
            "header_digest": digest_of_bytes(text.encode()),
        }
        connection.execute(sa.insert(RELEASES).values(row))
    elif stored != text:
        raise AlreadyRecorded(f"Release {header.release} is open with another header.")


def append(connection: sa.Connection, events: Sequence[Event]) -> None:
    last: dict[str, Event | None] = {}
    for event in events:
        if event.release not in last:
            last[event.release] = _last_event(connection, event.release)
        previous = last[event.release]
        if previous is not None and 1 <= event.sequence <= previous.sequence:
            _check_same(connection, event)
        else:
            check_next(previous, event)
            connection.execute(sa.insert(EVENTS).values(_event_row(event)))
            last[event.release] = event


def _last_event(connection: sa.Connection, release: str) -> Event | None:
    if connection.scalar(sa.select(RELEASES.c.id).where(RELEASES.c.id == release)) is None:
        raise NotFound(f"No release {release} is open in the registry: its header comes first.")
    query = sa.select(EVENTS).where(EVENTS.c.release == release)
    row = connection.execute(query.order_by(EVENTS.c.sequence.desc()).limit(1)).one_or_none()
    return _event(row) if row else None


def _check_same(connection: sa.Connection, event: Event) -> None:
    key = (EVENTS.c.release == event.release) & (EVENTS.c.sequence == event.sequence)
    row = connection.execute(sa.select(EVENTS).where(key)).mappings().one_or_none()
    if row is None or dict(row) != _event_row(event):
        raise AlreadyRecorded(
            f"Event {event.sequence} of release {event.release} is recorded otherwise; the record is"
            f" never changed. Next: rampway verify {event.release}"
        )


def _event_row(event: Event) -> dict[str, str | int]:
    body = canonical(event.model_dump(mode="json", exclude=set(EVENT_COLUMNS)))
    columns = event.model_dump(mode="json", include=set(EVENT_COLUMNS))
    return {**columns, "body": body.decode()}


def _event(row: sa.Row[Any]) -> Event:
    """The event of a row. Raises Tampered when no writer of ours could have written the row."""
    columns = {column: getattr(row, column) for column in EVENT_COLUMNS}
    body: dict[str, JsonValue] = {}
    try:
        body = json.loads(row.body)
        event = Event.model_validate(body | columns)
        # The parser reads "100" as 100, and a hash over what it read would not notice. A field that is
        # not there is fine: a newer Rampway gives it its default.
        unchanged = canonical(event.model_dump(mode="json", include=set(body))) == row.body.encode()
    except (ValueError, TypeError, RecursionError):
        unchanged, event = False, None
    if event is None or not unchanged or body.keys() & columns.keys():
        raise Tampered(
            f"Event {row.sequence} of release {row.release} was changed after it was written.",
            sequence=row.sequence,
            body=str(row.body).encode(),
        )
    return event


def release(connection: sa.Connection, name_or_id: str) -> Record:
    query = sa.select(RELEASES)
    by_id = connection.execute(query.where(RELEASES.c.id == name_or_id)).all()
    found = by_id or connection.execute(query.where(RELEASES.c.name == name_or_id)).all()
    if not found and len(name_or_id) >= MIN_PREFIX:
        begins = RELEASES.c.id.startswith(name_or_id, autoescape=True)
        found = connection.execute(query.where(begins)).all()
    if not found:
        raise NotFound(f"No release {name_or_id} is recorded. Next: rampway status")
    if len(found) > 1:
        candidates = ", ".join(f"{row.name} ({row.id})" for row in found)
        raise NotFound(f"{name_or_id} could be {candidates}. Next: give the whole id.")
    return _record(connection, found[0])


def releases(connection: sa.Connection, target: str | None) -> list[Record]:
    query = sa.select(RELEASES).order_by(RELEASES.c.seq.desc())
    if target is not None:
        query = query.where(RELEASES.c.target == target)
    return [_record(connection, row) for row in connection.execute(query).all()]


def _record(connection: sa.Connection, row: sa.Row[Any]) -> Record:
    _check_digest(f"header of {row.name}", row.header, row.header_digest)
    header = _parse(Header, row.header, f"header of {row.name}")
    if (row.id, row.name, row.target) != (header.release, header.name, header.target.name):
        raise Tampered(f"Release {header.release} is filed as {row.id}, {row.name}, {row.target}.")
    query = sa.select(EVENTS).where(EVENTS.c.release == row.id).order_by(EVENTS.c.sequence)
    return Record(header=header, events=tuple(_event(e) for e in connection.execute(query)))


def keep_first_eval(connection: sa.Connection, key: str, verdict: bytes) -> bytes:
    stored = connection.scalar(sa.select(EVALS.c.verdict).where(EVALS.c.key == key))
    if stored is None:
        connection.execute(sa.insert(EVALS).values(key=key, verdict=verdict))
    return verdict if stored is None else stored


def _text(fact: Fact) -> str:
    return canonical(fact.model_dump(mode="json")).decode()


def _parse(model: type[AFact], text: str, what: str) -> AFact:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise Tampered(f"The {what} is unreadable: {error}", body=text.encode()) from error


def _check_digest(what: str, text: str, digest: str) -> None:
    if digest_of_bytes(text.encode()) != digest:
        raise Tampered(f"The {what} was changed after it was written.", body=text.encode())
