"""What is published, told to people: the version that readers open, what it stands on, whether all of it is there."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb

from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier
from perennial.warehouse.duck import Connection, first_value, parquet_list
from perennial.warehouse.parts import part_checksum
from perennial.warehouse.reader import open_published
from perennial.warehouse.versions import (
    ROW_HASH,
    Part,
    PublishedTable,
    Version,
    all_versions,
    current_id,
    parts_dir,
    read_version,
    versions_dir,
)


def published_state(settings: Settings) -> dict[str, Any]:
    """The version that readers open: what it is of, what it was built from, and its tables beside the day before's.

    Of each table: rows, bytes, files, `rows_before` and `rows_more` (None without an earlier day), and `bytes_written`,
    the size of the files that the day before does not have. Raises ContractViolation when nothing is published.
    """
    version = _current(settings)
    before = _day_before(settings, version)
    return {
        **_line(version),
        "current": True,
        "base": version.base,
        "built_from": version.built_from,
        "compared_with": before.id if before else None,
        "tables": [_compared(name, table, before) for name, table in sorted(version.tables.items())],
        "only_before": sorted(set(before.tables) - set(version.tables)) if before else [],
    }


def known_versions(settings: Settings) -> list[dict[str, Any]]:
    """Every version that is kept, newest first, and which of them readers open."""
    current = current_id(settings)
    return [{**_line(version), "current": version.id == current} for version in reversed(all_versions(settings))]


def _line(version: Version) -> dict[str, Any]:
    files = {part.path: part.bytes for table in version.tables.values() for part in table.files}
    return {
        "id": version.id,
        "as_of": version.as_of,
        "run_id": version.run_id,
        "step": version.step,
        "published_at": version.published_at or None,
        "mode": version.built_from.get("mode"),
        "rows": sum(table.rows for table in version.tables.values()),
        "bytes": sum(files.values()),
    }


def _current(settings: Settings) -> Version:
    current = current_id(settings)
    if current is None:
        raise ContractViolation(Problem("warehouse/current", "nothing is published yet", "run a day first"))
    try:
        return read_version(settings, current)
    except FileNotFoundError:
        fix = "publish the day again: perennial run"
        raise ContractViolation(Problem(f"warehouse/versions/{current}", "this version is gone", fix)) from None


def _day_before(settings: Settings, version: Version) -> Version | None:
    """The newest version of an earlier business date."""
    earlier = [other for other in all_versions(settings) if other.as_of < version.as_of and other.seq < version.seq]
    return max(earlier, key=lambda other: (other.as_of, other.seq), default=None)


def _compared(name: str, table: PublishedTable, before: Version | None) -> dict[str, Any]:
    former = before.tables.get(name) if before else None
    held = {part.path for part in former.files} if former else set()
    return {
        "table": name,
        "rows": table.rows,
        "rows_before": former.rows if former else None,
        "rows_more": table.rows - former.rows if former else None,
        "bytes": table.bytes,
        "bytes_written": sum(part.bytes for part in table.files if part.path not in held),
        "files": len(table.files),
    }


def damages(settings: Settings, version_id: str | None = None) -> tuple[str, int, list[Problem]]:
    """(version, files looked at, what is wrong): files that are missing, rows that are not those written, views.

    Reads every row of the version, by default of the one that readers open. Raises ContractViolation when it is gone.
    """
    with ExitStack() as stack:
        published = stack.enter_context(open_published(settings, version_id))
        version = published.version
        files = [(name, table, part) for name, table in sorted(version.tables.items()) for part in table.files]
        found = [problem for name, table, part in files for problem in _damage(settings, published, table, name, part)]
        missing = {problem.where for problem in found}
        whole = [
            (name, table)
            for name, table in sorted(version.tables.items())
            if not missing & {_where(part) for part in table.files}
        ]
        found += [problem for name, table in whole for problem in _unopened(published, version, name, table)]
    return version.id, len(files), found


def _where(part: Part) -> str:
    return f"warehouse/parts/{part.path}"


def _damage(settings: Settings, published: Any, table: PublishedTable, name: str, part: Part) -> list[Problem]:
    path = parts_dir(settings) / part.path
    fix = f"remove it if it is there, and publish again: perennial run (of {name} it is written anew)"
    if not path.is_file():
        return [Problem(_where(part), "the file is missing", fix)]
    try:
        rows, checksum = _checked(published._connection, table, path, is_gone=part is table.gone)
    except duckdb.Error as error:
        return [Problem(_where(part), f"it cannot be read: {str(error).splitlines()[0]}", fix)]
    if checksum != part.checksum:
        return [Problem(_where(part), f"its {rows} rows are not the {part.rows} that were written", fix)]
    return []


def _checked(connection: Connection, table: PublishedTable, path: Path, *, is_gone: bool) -> tuple[int, str]:
    """Rows of a file and their checksum, computed from what lies there, as when it was written."""
    names = {row[0] for row in connection.execute(f"describe select * from {parquet_list([path])}").fetchall()}
    columns = [column for column in table.columns if is_gone or column[0] in names]  # a part may be older than a column
    # Parquet knows fewer types than DuckDB, and a hash is of the type too.
    hashed = ROW_HASH if is_gone else f"hash({', '.join(f'cast({identifier(n)} as {t})' for n, t in columns)})"
    query = f"select count(*), coalesce(sum({hashed}), 0) from {parquet_list([path])}"
    rows, total = connection.execute(query).fetchall()[0]
    return int(rows), part_checksum(columns, table.order, int(rows), int(total))


def _unopened(published: Any, version: Version, name: str, table: PublishedTable) -> list[Problem]:
    where = f"warehouse/versions/{version.id}/warehouse.duckdb: {name}"
    try:
        rows = first_value(published._connection, f"select count(*) from {identifier(name)}")
    except duckdb.Error as error:
        return [Problem(where, f"the view does not open: {str(error).splitlines()[0]}", "publish again: perennial run")]
    if rows != table.rows:
        return [Problem(where, f"the view has {rows} rows, the manifest {table.rows}", "publish again: perennial run")]
    return []


def warehouse_file(settings: Settings, version_id: str) -> Path:
    """The file of views that BI tools open."""
    return versions_dir(settings) / version_id / "warehouse.duckdb"
