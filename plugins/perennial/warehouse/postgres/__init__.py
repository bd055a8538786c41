"""PostgreSQL as the warehouse: the same functions as `warehouse.embedded` (see `warehouse.engine`)."""

from __future__ import annotations

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.warehouse.postgres.build import (
    failing_rows,
    last_record,
    mark_built,
    prepare_build,
    raw_connection,
    require_built,
    take_training,
    write_identity_map,
)
from perennial.warehouse.postgres.dbt import build_name, dbt_environment
from perennial.warehouse.postgres.publish import clear_out, publish_marts, publish_table
from perennial.warehouse.postgres.reader import PublishedInPostgres, open_published, run_sql
from perennial.warehouse.postgres.roles import initialise
from perennial.warehouse.postgres.survey import damages, known_versions, published_state
from perennial.warehouse.postgres.versions import current_id

__all__ = [
    "build_name", "clear_out", "current_id", "damages", "dbt_environment", "failing_rows", "initialise",
    "known_versions", "last_record", "mark_built", "open_published", "prepare_build", "publish_marts",
    "publish_table", "published_state", "raw_connection", "register_contacts", "require_built", "run_sql",
    "take_training", "write_identity_map",
]  # fmt: skip


def register_contacts(
    settings: Settings,  # noqa: ARG001 - the embedded engine needs them
    published: PublishedInPostgres,
    run: DayRun,
    name: str,
) -> None:
    """The run's addresses, as a temporary view."""
    published.register_contacts(run, name)
