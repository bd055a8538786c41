"""The embedded warehouse as an engine: DuckDB builds, Parquet parts are published (see `warehouse.engine`)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any, cast

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.warehouse.build_db import (
    build_connection,
    build_path,
    built_tables,
    last_record,
    mark_built,
    prepare_build,
    write_identity_map,
)
from perennial.warehouse.private import private_contacts_path, prune_contacts
from perennial.warehouse.publish import publish_marts, publish_table
from perennial.warehouse.reader import Published, open_published, run_sql
from perennial.warehouse.survey import damages, known_versions, published_state
from perennial.warehouse.versions import all_versions, current_id, prune

__all__ = [
    "build_name", "clear_out", "current_id", "damages", "dbt_environment", "failing_rows", "initialise",
    "known_versions", "last_record", "mark_built", "open_published", "prepare_build", "publish_marts",
    "publish_table", "published_state", "raw_connection", "register_contacts", "require_built", "run_sql",
    "take_training", "write_identity_map",
]  # fmt: skip


def raw_connection(settings: Settings, run: DayRun) -> AbstractContextManager[Any]:
    """The build database itself: its schema `raw` is views over the raw files."""
    return build_connection(settings, run, read_only=True)


def dbt_environment(settings: Settings, run: DayRun) -> dict[str, str]:
    """The path of the build database, for profiles.yml."""
    return {"PERENNIAL_DBT_TARGET": "embedded", "PERENNIAL_BUILD_DB": str(build_path(settings, run))}


def build_name(settings: Settings, run: DayRun) -> str:
    """The name of the build database's file."""
    return build_path(settings, run).stem


def failing_rows(settings: Settings, run: DayRun, sql: str, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` rows of a query on the build database."""
    with build_connection(settings, run, read_only=True) as connection:
        query = f"select * from ({sql}) as failing order by all limit {int(limit)}"
        return cast("list[dict[str, Any]]", connection.sql(query).to_arrow_table().to_pylist())


def require_built(settings: Settings, run: DayRun) -> None:
    """Raise ContractViolation unless the build is this run's and has passed its tests."""
    with build_connection(settings, run, read_only=True) as connection:
        built_tables(connection, run)


def take_training(settings: Settings, run: DayRun, max_clients: int | None) -> pa.Table:
    """The features and labels of the schema `training`, which is dropped."""
    with build_connection(settings, run, read_only=False) as connection:
        table = connection.sql(training_query(max_clients)).to_arrow_table()
        connection.execute("drop schema training cascade")
    return table


def training_query(max_clients: int | None) -> str:
    """Features and labels by client and date; of `max_clients`, the same whenever the clients are the same."""
    where = ""
    if max_clients is not None:
        every = "select distinct client_id from training.client_features"
        chosen = f"select client_id from ({every}) as every order by md5(client_id), client_id limit {int(max_clients)}"
        where = f"where client_id in ({chosen})"
    return f"""
        select * from training.client_features
        inner join training.client_labels using (client_id, as_of_date)
        {where}
        order by client_id, as_of_date
    """


def register_contacts(settings: Settings, published: Published, run: DayRun, name: str) -> None:
    """The run's Parquet file of addresses, as a view."""
    published.register_parquet(name, private_contacts_path(settings, run))


def clear_out(settings: Settings, *, keep: Collection[str]) -> None:
    """Remove versions and parts that nobody needs, then the addresses of runs without a version."""
    prune(settings, keep=keep)
    prune_contacts(settings, keep={version.run_id for version in all_versions(settings)})


def initialise(settings: Settings) -> list[str]:
    """Nothing has to be made beforehand: files have the rights of their folders."""
    return [f"the embedded warehouse lies in {settings.warehouse_dir} and needs no roles"]
