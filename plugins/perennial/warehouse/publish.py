"""Publishing: from the build database, or from Arrow, to an immutable version that readers open (L5)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import date
from typing import Any

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.warehouse.build_db import TableSpec, build_connection, built_tables
from perennial.warehouse.changes import Layout, write_table
from perennial.warehouse.duck import Connection, columns_of, connect, first_value, slug
from perennial.warehouse.origin import changed_days, origin_of
from perennial.warehouse.parts import Source, require_storable, write_parts
from perennial.warehouse.private import private_contacts_path, publish_contacts
from perennial.warehouse.versions import (
    PublishedTable,
    Version,
    current_id,
    newest_of,
    publishing,
    read_version,
    write_version,
)

__all__ = ["private_contacts_path", "publish_marts", "publish_table"]

_LAYOUT = Layout()


def publish_marts(
    settings: Settings, run: DayRun, *, built_from: Mapping[str, Any] | None = None, layout: Layout = _LAYOUT
) -> tuple[str, dict[str, int]]:
    """Publish the run's tested tables from the build database: (version id, rows by table).

    `built_from` is what the build tells of itself, for `perennial warehouse status`. Only what changed since `current`
    is written (warehouse.parts). Tables by business date (scores, outcomes) are carried on with the dates before the
    run's. Raises ContractViolation when the build is another run's or has not passed its tests.
    """
    with publishing(settings):
        base = _current(settings)
        with build_connection(settings, run, read_only=True) as connection:
            origin = origin_of(connection, run, dict(built_from or {}))
            specs = built_tables(connection, run)
            sources = [_source(connection, spec, base, changed_days(connection, spec, base)) for spec in specs]
            tables = {source.spec.name: write_table(settings, connection, source, layout) for source in sources}
            publish_contacts(settings, run, connection)
        merged = {**_carried(base, run.as_of), **tables}
        version_id = write_version(settings, run, step="publish", base=base, tables=merged, built_from=origin)
    return version_id, {name: table.rows for name, table in tables.items()}


def _source(connection: Connection, spec: TableSpec, base: Version | None, days: str | None) -> Source:
    columns = columns_of(connection, spec.relation)
    require_storable(slug(spec.name), columns)
    former = base.tables.get(spec.name) if base else None
    return Source(spec, spec.relation, columns, former=former, days=days)


def publish_table(
    settings: Settings, run: DayRun, name: str, data: pa.Table | pa.RecordBatchReader, *, step: str
) -> str:
    """Publish `data` as the run's date of the periodic table `name`, beside all else that the run has published.

    Every row has the run's date in `as_of_date`. Gives the new version's id, which the caller writes into the ledger
    (`ledger.runs.advance`). Raises ContractViolation for rows of another date, for personal data, and before
    `publish_marts`.
    """
    slug(name)
    with publishing(settings):
        base = newest_of(settings, run.run_id)
        if base is None:
            raise ContractViolation(Problem(name, f"run {run.run_id} has not published its marts", "publish first"))
        with closing(connect(settings)) as connection:
            connection.register("arriving", data)
            connection.execute("create table memory.main.periodic as select * from arriving")
            _require_date(connection, name, run.as_of)
            table = _write_period(settings, connection, name, run.as_of)
        earlier = base.tables.get(name, PublishedTable((), (), periodic=True)).parts
        parts = sorted([*(p for p in earlier if p.key != run.as_of.isoformat()), *table.parts], key=lambda p: p.key)
        merged = {**base.tables, name: PublishedTable(table.columns, tuple(parts), periodic=True)}
        return write_version(settings, run, step=step, base=base, tables=merged)


def _current(settings: Settings) -> Version | None:
    version_id = current_id(settings)
    return read_version(settings, version_id) if version_id else None


def _carried(base: Version | None, as_of: date) -> dict[str, PublishedTable]:
    """The periodic tables of `base` with the dates before `as_of`; those with none are left out."""
    carried = {}
    for name, table in base.tables.items() if base else ():
        parts = tuple(part for part in table.parts if part.key < as_of.isoformat())
        if table.periodic and parts:
            carried[name] = PublishedTable(table.columns, parts, periodic=True)
    return carried


def _require_date(connection: Connection, name: str, as_of: date) -> None:
    if "as_of_date" not in [column for column, _ in columns_of(connection, "memory.main.periodic")]:
        raise ContractViolation(Problem(name, "the table has no column as_of_date", "add it"))
    query = "select count(*) from memory.main.periodic where as_of_date is distinct from cast(? as date)"
    others = first_value(connection, query, [as_of])
    if others:
        raise ContractViolation(Problem(name, f"{others} rows are not of {as_of}", "publish each date by its own run"))


def _write_period(settings: Settings, connection: Connection, name: str, as_of: date) -> PublishedTable:
    columns = columns_of(connection, "memory.main.periodic")
    require_storable(name, columns)
    return write_parts(settings, connection, Source(TableSpec(name), "memory.main.periodic", columns, as_of))
