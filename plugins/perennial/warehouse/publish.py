"""Publishing: from the build database, or from Arrow, to an immutable version that readers open (L5)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.build_db import TableSpec, build_connection, built_tables, refuse_personal
from perennial.warehouse.duck import Connection, columns_of, connect, first_value, slug
from perennial.warehouse.private import private_contacts_path, publish_contacts
from perennial.warehouse.versions import (
    Part,
    PublishedTable,
    Version,
    current_id,
    newest_of,
    parts_dir,
    publishing,
    read_version,
    write_version,
)

__all__ = ["private_contacts_path", "publish_marts", "publish_table"]

# Parquet has no such type: DuckDB would write doubles, and a sum would no longer be exact.
_INEXACT_IN_PARQUET = {"HUGEINT", "UHUGEINT"}


def publish_marts(settings: Settings, run: DayRun) -> tuple[str, dict[str, int]]:
    """Publish the run's tested tables from the build database: (version id, rows by table).

    Only parts whose content changed are written. Tables by business date (scores, outcomes) are carried on with the
    dates before the run's. Raises ContractViolation when the build is another run's or has not passed its tests.
    """
    with publishing(settings):
        with build_connection(settings, run, read_only=True) as connection:
            tables = {
                spec.name: _write_table(
                    settings, connection, _Source(spec, spec.relation, columns_of(connection, spec.relation))
                )
                for spec in built_tables(connection, run)
            }
            publish_contacts(settings, run, connection)
        base = _current(settings)
        merged = {**_carried(base, run.as_of), **tables}
        version_id = write_version(settings, run, step="publish", base=base, tables=merged)
    return version_id, {name: table.rows for name, table in tables.items()}


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
    source = _Source(TableSpec(name), "memory.main.periodic", columns_of(connection, "memory.main.periodic"), as_of)
    return _write_table(settings, connection, source)


@dataclass(frozen=True)
class _Source:
    """What a table is written from: SQL of a relation and its columns; `period` is the date of a periodic table."""

    spec: TableSpec
    relation: str
    columns: Sequence[tuple[str, str]]
    period: date | None = None

    @property
    def order(self) -> str:
        """The order of rows in a part: the key, or every column."""
        return ", ".join(identifier(name) for name in self.spec.key) or "all"

    def part_key(self, month: date | None) -> str:
        """The key of the part that holds the rows of `month`."""
        if self.period:
            return self.period.isoformat()
        if not self.spec.date_column:
            return "all"
        return f"{month:%Y-%m}" if month else "none"

    def part_query(self, month: date | None) -> str:
        """SQL of the rows of one part."""
        where = ""
        if self.spec.date_column:
            column = identifier(self.spec.date_column)
            first = f"date '{month:%Y-%m-%d}'" if month else ""
            inside = f"{column} >= {first} and {column} < {first} + interval 1 month"
            where = f"where {inside if month else f'{column} is null'}"
        return f"select * from {self.relation} {where} order by {self.order}"


def _write_table(settings: Settings, connection: Connection, source: _Source) -> PublishedTable:
    """Write the parts that do not exist yet."""
    name = slug(source.spec.name)
    _require_storable(name, source.columns)
    (parts_dir(settings) / name).mkdir(parents=True, exist_ok=True)
    found = _checksums(connection, source) or [(None, 0, 0)]
    parts = [_write_part(settings, connection, source, part) for part in found]
    by_key = tuple(sorted(parts, key=lambda part: part.key))
    return PublishedTable(tuple(source.columns), by_key, periodic=source.period is not None)


def _require_storable(name: str, columns: Sequence[tuple[str, str]]) -> None:
    refuse_personal(name, [column for column, _ in columns])
    for column, sql_type in columns:
        if sql_type in _INEXACT_IN_PARQUET:
            fix = "cast it to bigint or decimal"
            raise ContractViolation(Problem(f"{name}.{column}", f"the type {sql_type} cannot be published", fix))


def _checksums(connection: Connection, source: _Source) -> list[tuple[date | None, int, int]]:
    """(month, rows, sum of the rows' hashes) in one scan: equal for equal rows in any order."""
    column = source.spec.date_column
    month = f"cast(date_trunc('month', {identifier(column)}) as date)" if column else "cast(null as date)"
    hashed = ", ".join(identifier(name) for name, _ in source.columns)
    query = f"select {month}, count(*), sum(hash({hashed})) from {source.relation} group by 1 order by 1"
    return [(row[0], row[1], row[2]) for row in connection.execute(query).fetchall()]


def _write_part(
    settings: Settings, connection: Connection, source: _Source, found: tuple[date | None, int, int]
) -> Part:
    month, rows, total = found
    key = source.part_key(month)
    # Names, types and order belong to the content: equal sums under other columns are another file.
    checksum = digest_of([repr(list(source.columns)), source.order, str(rows), str(total)])
    path = Path(source.spec.name) / f"{key}-{checksum}.parquet"
    target = parts_dir(settings) / path
    if not target.exists():
        _copy(connection, source.part_query(month), target)
    return Part(key, path.as_posix(), rows, checksum)


def _copy(connection: Connection, query: str, target: Path) -> None:
    being_made = target.with_name(f".{target.name}.tmp")
    connection.execute(
        f"copy ({query}) to {literal(str(being_made))} (format parquet, compression zstd, use_tmp_file false)"
    )
    sync(being_made)
    being_made.replace(target)
    sync(target.parent)
