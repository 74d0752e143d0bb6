"""Runs the migrations on the connection that the registry hands over, inside its transaction."""

from alembic import context

# The registry has begun the (immediate) transaction: a second process that opens the same fresh file
# waits for it, and a crash half-way leaves no half-made schema.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
