"""Writing a table as immutable Parquet parts, of which only what changed is written.

Three forms, by what a table is like (docs/benchmarks.md has the figures):

- by month of a date: a month is written when its rows changed. Months that the build did not touch are not read.
- by changed rows (`warehouse.changes`): a large table with a key, of which few rows differ from the published ones.
- whole: everything else.

A part is named by its rows, in any order: equal rows are the same file, whoever writes it (L2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.build_db import TableSpec, refuse_personal
from perennial.warehouse.duck import Connection, first_value, slug
from perennial.warehouse.versions import Part, PublishedTable, parts_dir

# Parquet has no such type: DuckDB would write doubles, and a sum would no longer be exact.
_INEXACT_IN_PARQUET = {"HUGEINT", "UHUGEINT"}


@dataclass(frozen=True)
class Source:
    """What a table is written from: SQL of a relation and its columns; `period` is the date of a periodic table.

    `former` is the table as published before. `days`: SQL of a relation of the days (`business_date`) whose rows the
    build touched since then; None when it does not say, and everything is looked at.
    """

    spec: TableSpec
    relation: str
    columns: Sequence[tuple[str, str]]
    period: date | None = None
    former: PublishedTable | None = None
    days: str | None = None

    @property
    def order(self) -> str:
        """The order of rows in a part: the key, or every column."""
        return ", ".join(identifier(name) for name in self.spec.key) or "all"

    @property
    def names(self) -> str:
        """The columns as SQL."""
        return ", ".join(identifier(name) for name, _ in self.columns)

    @property
    def month(self) -> str:
        """SQL of the month that a row belongs to; null for a table that has one part, and for a row without a date."""
        column = self.spec.date_column
        return f"cast(date_trunc('month', {identifier(column)}) as date)" if column else "cast(null as date)"

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

    def table(self, parts: Sequence[Part], *, hashed: bool = False, gone: Part | None = None) -> PublishedTable:
        """The published table that these files make."""
        return PublishedTable(
            tuple(self.columns),
            tuple(sorted(parts, key=lambda part: part.key)),
            periodic=self.period is not None,
            hashed=hashed,
            gone=gone,
            order=self.order,
            description=self.spec.description,
            comments=self.spec.comments,
        )


def require_storable(name: str, columns: Sequence[tuple[str, str]]) -> None:
    """Raise ContractViolation for personal data (L22), and for a type that Parquet would not hold exactly."""
    refuse_personal(name, [column for column, _ in columns])
    for column, sql_type in columns:
        if sql_type in _INEXACT_IN_PARQUET:
            fix = "cast it to bigint or decimal"
            raise ContractViolation(Problem(f"{name}.{column}", f"the type {sql_type} cannot be published", fix))


def write_parts(settings: Settings, connection: Connection, source: Source) -> PublishedTable:
    """Write the parts that do not exist yet: by month, or one."""
    (parts_dir(settings) / slug(source.spec.name)).mkdir(parents=True, exist_ok=True)
    untouched, where = _untouched(settings, connection, source)
    found = _checksums(connection, source, where) or ([] if untouched else [(None, 0, 0)])
    return source.table([*untouched, *(_write_part(settings, connection, source, part) for part in found)])


def _untouched(settings: Settings, connection: Connection, source: Source) -> tuple[list[Part], str]:
    """The former parts of the months that the build did not touch, and SQL of the rows that are looked at.

    No part and every row when the build does not say, when it does not add up, or when a file is gone.
    """
    former = source.former
    if source.days is None or former is None or not source.spec.date_column:
        return [], "true"
    if former.columns != tuple(source.columns) or former.order != source.order:
        return [], "true"
    touched = _months(connection, source.days)
    kept = [part for part in former.parts if part.key not in {"all", "none", *(f"{month:%Y-%m}" for month in touched)}]
    where = _of_months(source.spec.date_column, touched)
    # The counts cost next to nothing, and find rows that came or went without their day being named.
    rows = first_value(connection, f"select count(*) from {source.relation}")
    looked_at = first_value(connection, f"select count(*) from {source.relation} where {where}")
    adds_up = rows == looked_at + sum(part.rows for part in kept)
    is_there = all((parts_dir(settings) / part.path).exists() for part in kept)
    return (kept, where) if adds_up and is_there else ([], "true")


def _months(connection: Connection, days: str) -> list[date]:
    query = (
        f"select distinct cast(date_trunc('month', business_date) as date) from {days} where business_date is not null"
    )
    return [month for (month,) in connection.execute(f"{query} order by 1").fetchall()]


def _of_months(date_column: str, months: Sequence[date]) -> str:
    """SQL: the row is of one of the months, or has no date."""
    column = identifier(date_column)
    first = (f"date '{month:%Y-%m-%d}'" for month in months)
    ranges = [f"({column} >= {day} and {column} < {day} + interval 1 month)" for day in first]
    return " or ".join([f"{column} is null", *ranges])


def _checksums(connection: Connection, source: Source, where: str) -> list[tuple[date | None, int, int]]:
    """(month, rows, sum of the rows' hashes) of what may have changed, in one scan: equal for rows in any order."""
    query = f"""
        select {source.month}, count(*), sum(hash({source.names}))
        from {source.relation} where {where} group by 1 order by 1
    """
    return [(row[0], row[1], row[2]) for row in connection.execute(query).fetchall()]


def _write_part(
    settings: Settings, connection: Connection, source: Source, found: tuple[date | None, int, int]
) -> Part:
    month, rows, total = found
    key, query = source.part_key(month), source.part_query(month)
    return write_file(settings, connection, source, key, found=(rows, total), query=query)


def write_file(
    settings: Settings, connection: Connection, source: Source, key: str, *, found: tuple[int, int], query: str
) -> Part:
    """The part `key` with what `query` gives, unless it is there; `found`: its rows and the sum of their hashes."""
    # Names, types and order belong to the content: equal sums under other columns are another file.
    checksum = part_checksum(source.columns, source.order, *found)
    path = Path(source.spec.name) / f"{key}-{checksum}.parquet"
    target = parts_dir(settings) / path
    if not target.exists():
        _copy(connection, query, target)
    return Part(key, path.as_posix(), found[0], checksum, target.stat().st_size)


def part_checksum(columns: Sequence[tuple[str, str]], order: str, rows: int, total: int | None) -> str:
    """The checksum of a part from its columns, the order of its rows, their number and the sum of their hashes."""
    return digest_of([repr(list(columns)), order, str(rows), str(total or 0)])


def _copy(connection: Connection, query: str, target: Path) -> None:
    being_made = target.with_name(f".{target.name}.tmp")
    connection.execute(
        f"copy ({query}) to {literal(str(being_made))} (format parquet, compression zstd, use_tmp_file false)"
    )
    sync(being_made)
    being_made.replace(target)
    sync(target.parent)
