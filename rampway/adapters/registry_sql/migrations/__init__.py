"""The steps by which the registry's tables came to be, run by alembic when a registry is opened."""
