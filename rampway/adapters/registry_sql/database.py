"""Opens the record's database: schema, transactions, and outages in the words of who reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, exc

from rampway.ports import AlreadyRecorded, Unreachable

CONNECTIONS = 4
MEMORY = frozenset({None, "", ":memory:"})  # SQLite: one connection is one database
MIGRATIONS = Path(__file__).parent / "migrations"
CAUSES = (  # what the database says -> what it means, and what to do; the first match counts
    ("readonly", "is read-only", "make its file and folder writable for this user"),
    ("read-only", "is read-only", "make its file and folder writable for this user"),
    ("full", "is read-only (disk full)", "free space"),
    ("no space", "is read-only (disk full)", "free space"),
    ("locked", "is locked by another process", "end the process that holds it"),
    ("unable to open", "cannot be opened", "check that its folder exists and is writable"),
    ("not a database", "is no registry but another kind of file", "check the registry's URL"),
    ("malformed", "is damaged", "keep the file and restore a copy of it"),
    ("disk i/o", "has a disk that fails to read or write", "check the disk"),
)

Answer = TypeVar("Answer")


class NewerSchema(Exception):
    """The registry was written by a newer Rampway; this one would not understand all of it."""


def open_database(url: str, *, busy_seconds: float) -> tuple[sa.Engine, int]:
    """Open and migrate a database; returns how many connections it serves at a time, too.

    Raises NewerSchema, and Unreachable when it cannot be opened, read or migrated.
    """
    parsed = sa.make_url(url)
    in_memory = parsed.get_backend_name() == "sqlite" and parsed.database in MEMORY
    connections = 1 if in_memory else CONNECTIONS
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            parsed,
            poolclass=sa.QueuePool,
            pool_size=connections,
            max_overflow=0,
            connect_args={"check_same_thread": False, "timeout": busy_seconds},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = sa.create_engine(
            parsed,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
        )
    try:
        _migrate(engine)
    except exc.DBAPIError as error:
        engine.dispose()
        _raise_unreachable(error)
    except BaseException:
        engine.dispose()
        raise
    return engine, connections


def transact(engine: sa.Engine, act: Callable[[sa.Connection], Answer]) -> Answer:
    """Act in one transaction. Raises Unreachable, saying what fails and what to do about it."""
    try:
        with engine.begin() as connection:
            return act(connection)
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise  # theirs to handle, or a defect of ours: not an outage
    except exc.DBAPIError as error:
        _raise_unreachable(error)


def transact_writing(engine: sa.Engine, act: Callable[[sa.Connection], Answer]) -> Answer:
    """Act in one transaction that writes. Raises Unreachable and AlreadyRecorded."""
    try:
        return transact(engine, act)
    except exc.IntegrityError:
        # Another writer came between our look and our insert (PostgreSQL only; SQLite lets one
        # transaction write at a time): look again at what it stored, it may be the same.
        pass
    try:
        return transact(engine, act)
    except exc.IntegrityError as error:
        raise AlreadyRecorded(
            f"The registry refuses a second row under the same key: {error.orig}. The record is never"
            " changed. Next: rampway verify"
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own type
    # The driver would begin a transaction only before the first write, after what we checked was read.
    connection.isolation_level = None
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged event survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date in one transaction; a registry already there is only read."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    known = [revision.revision for revision in script.walk_revisions()]
    if current is not None and current not in known:
        raise NewerSchema(
            f"The registry was written by a newer Rampway (schema {current}); this one knows schemas up"
            f" to {known[0]}. Nothing was changed. Next: upgrade rampway."
        )
    if current == script.get_current_head():
        return
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _raise_unreachable(error: exc.DBAPIError) -> NoReturn:
    said = " ".join(str(error.orig).split())
    for sign, meaning, remedy in CAUSES:
        if sign in said.lower():
            raise Unreachable(
                f"Registry {meaning}. Nothing climbs; rollbacks work. Next: {remedy}"
            ) from error
    raise Unreachable(
        f"Registry does not answer ({said}). Nothing climbs; rollbacks work. Next: rampway doctor"
    ) from error
