"""The first schema: every table only grows, and the database itself refuses anything else."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What identifies a row, per table: SQLite's INSERT OR REPLACE deletes without firing a delete trigger
# unless each connection asks for it, so a second row under the same identity is refused as well.
IDENTITIES = {
    "artifacts": ("digest",),
    "blobs": ("digest",),
    "targets": ("name",),
    "target_configs": ("seq",),
    "target_pointers": ("seq",),
    "releases": ("seq", "id"),
    "events": ("release", "sequence"),
    "evals": ("key",),
}
ANY_OF = {"releases"}  # tables whose identity columns are each unique by themselves


def upgrade() -> None:
    _make_contents()
    _make_targets()
    _make_releases()
    dialect = op.get_bind().dialect.name
    if dialect == "sqlite":
        statements = _sqlite_guards()
    elif dialect == "postgresql":
        statements = _postgresql_guards()
    else:
        raise NotImplementedError(
            f"A registry on {dialect} could be rewritten unseen: append-only guards exist for SQLite"
            " and PostgreSQL. Next: use one of these."
        )
    for statement in statements:
        op.execute(statement)


def _make_contents() -> None:
    op.create_table(
        "artifacts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("content_digest", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "evals",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("verdict", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )


def _make_targets() -> None:
    op.create_table("targets", sa.Column("name", sa.Text, primary_key=True), sqlite_strict=True)
    op.create_table(
        "target_configs",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("target", sa.Text, sa.ForeignKey("targets.name"), nullable=False, index=True),
        sa.Column("config", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "target_pointers",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("target", sa.Text, sa.ForeignKey("targets.name"), nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("artifact", sa.Text, nullable=False),
        sa.Column("served", sa.Text, nullable=False),
        sa.UniqueConstraint("target", "release", "artifact"),
        sqlite_strict=True,
    )


def _make_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("target", sa.Text, nullable=False, index=True),
        sa.Column("header", sa.Text, nullable=False),
        sa.Column("header_digest", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "events",
        sa.Column("release", sa.Text, sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sqlite_strict=True,
    )


def _sqlite_guards() -> list[str]:
    statements: list[str] = []
    for table, columns in IDENTITIES.items():
        joint = " OR " if table in ANY_OF else " AND "
        same = joint.join(f"{column} = NEW.{column}" for column in columns)
        stored = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - the names above
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        statements += [
            f"CREATE TRIGGER {table}_never_updated BEFORE UPDATE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_never_deleted BEFORE DELETE ON {table} {refuse}",
            f"CREATE TRIGGER {table}_never_replaced BEFORE INSERT ON {table} WHEN {stored} {refuse}",
        ]
    return statements


def _postgresql_guards() -> list[str]:
    function = (
        "CREATE FUNCTION rampway_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',"
        " MESSAGE = TG_TABLE_NAME || ' is append-only'; END $$"
    )
    # Per statement, not per row: TRUNCATE fires no row trigger.
    guard = "BEFORE UPDATE OR DELETE OR TRUNCATE ON {0} FOR EACH STATEMENT"
    action = "EXECUTE FUNCTION rampway_append_only()"
    guards = [
        f"CREATE TRIGGER {table}_append_only {guard.format(table)} {action}" for table in IDENTITIES
    ]
    return [function, *guards]
