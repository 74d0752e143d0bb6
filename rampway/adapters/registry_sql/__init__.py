"""The record in SQL (SQLite, PostgreSQL): artifacts, targets, releases, events and blobs."""

from rampway.adapters.registry_sql.database import NewerSchema
from rampway.adapters.registry_sql.registry import SqlRegistry

__all__ = ["NewerSchema", "SqlRegistry"]
