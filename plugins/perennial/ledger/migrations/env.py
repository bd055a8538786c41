"""Alembic's environment: the engine is handed in by perennial.ledger.engine."""

from alembic import context

from perennial.ledger.tables import METADATA

with context.config.attributes["engine"].begin() as connection:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
    context.run_migrations()
