"""Publishing a table by its changed rows: the parts of before, a part of new rows, and a list of rows that are gone.

Each row of a part carries `_row`, the hash of its columns, and `_key`, the hash of its key. What the build's table has
and no part has is added; what a part has and the build's table has not is gone. Both follow from the content alone:
nobody has to say what changed, and a change that nobody announced is found. A row that comes back to what it was is
taken off the list again. Once half of what lies there is gone, or the parts are many, the table is written whole.

What it costs, and what reading costs: docs/benchmarks.md, "Publishing".
"""

from __future__ import annotations

from dataclasses import dataclass

from perennial.core.settings import Settings
from perennial.core.sqltext import identifier
from perennial.warehouse.duck import Connection, first_value, parquet_list, slug
from perennial.warehouse.parts import Source, part_checksum, write_file, write_parts
from perennial.warehouse.versions import KEY_HASH, ROW_HASH, Part, PublishedTable, parts_dir


@dataclass(frozen=True)
class Layout:
    """When a table is published by changed rows: from `least_rows` on; whole again above these shares and numbers."""

    least_rows: int = 20_000
    most_gone: float = 0.5  # of the rows of the table
    most_added: float = 0.3
    most_parts: int = 16


def write_table(settings: Settings, connection: Connection, source: Source, layout: Layout) -> PublishedTable:
    """Write what the table needs in the cheapest form; what is published equals the relation in any of them."""
    (parts_dir(settings) / slug(source.spec.name)).mkdir(parents=True, exist_ok=True)
    rows = first_value(connection, f"select count(*) from {source.relation}")
    by_rows = source.spec.key and not source.spec.date_column and source.period is None and rows >= layout.least_rows
    if not by_rows:
        return write_parts(settings, connection, source)
    _hash_rows(connection, source)
    if first_value(connection, "select count(distinct h) from temp.main.rows_now") != rows:
        return write_parts(settings, connection, source)  # rows that are equal cannot be told apart by a hash
    changed = _changed(settings, connection, source, layout, rows)
    return changed or _whole(settings, connection, source)


def _hashes(source: Source) -> str:
    keys = ", ".join(identifier(name) for name in source.spec.key)
    return f"hash({keys}) as k, hash({source.names}) as h"


def _hash_rows(connection: Connection, source: Source) -> None:
    found = f"select {_hashes(source)}, {_place(connection, source)} as r from {source.relation}"
    connection.execute(f"create or replace temp table rows_now as {found}")


def _place(connection: Connection, source: Source) -> str:
    """SQL of what finds a row again: in a table of the build its `rowid`, in a view its hash."""
    is_table = "select 1 from duckdb_tables() where schema_name = ? and table_name = ?"
    named = [source.spec.schema, source.spec.name]
    return "rowid" if first_value(connection, is_table, named) else f"hash({source.names})"


def _selected(source: Source, where: str = "") -> str:
    keys = ", ".join(identifier(name) for name in source.spec.key)
    marks = f"hash({source.names}) as {ROW_HASH}, hash({keys}) as {KEY_HASH}"
    return f"select {source.names}, {marks} from {source.relation} {where} order by {source.order}"


def _whole(settings: Settings, connection: Connection, source: Source) -> PublishedTable:
    found = connection.execute("select count(*), sum(h) from temp.main.rows_now").fetchall()[0]
    part = write_file(settings, connection, source, "rows-000000", found=found, query=_selected(source))
    return source.table([part], hashed=True)


def _changed(
    settings: Settings, connection: Connection, source: Source, layout: Layout, rows: int
) -> PublishedTable | None:
    """The former table with what changed; None when it is better written whole, or cannot be told by hashes."""
    former = source.former
    if former is None or not former.hashed or _is_other(settings, source, former):
        return None
    _compare(settings, connection, former)
    added, gone = (_sum(connection, name) for name in ("rows_added", "rows_gone"))
    is_more = added[0] > 0
    parts_after = len(former.parts) + is_more
    too_much = gone[0] > layout.most_gone * rows or added[0] > layout.most_added * rows
    if too_much or parts_after > layout.most_parts or not _adds_up(connection, former, added[0], gone[0], rows):
        return None
    parts = list(former.parts)
    if is_more:
        wanted = f"where {_place(connection, source)} in (select r from temp.main.rows_added)"
        key = f"rows-{len(former.parts):06d}"
        parts.append(write_file(settings, connection, source, key, found=added, query=_selected(source, wanted)))
    return source.table(parts, hashed=True, gone=_write_gone(settings, connection, source, gone))


def _is_other(settings: Settings, source: Source, former: PublishedTable) -> bool:
    """Whether the table has other columns now, or a file of it is gone: then nothing can be added to it."""
    missing = [part for part in former.files if not (parts_dir(settings) / part.path).exists()]
    return bool(missing) or former.columns != tuple(source.columns) or former.order != source.order


def _compare(settings: Settings, connection: Connection, former: PublishedTable) -> None:
    """Rows that the parts do not hold, and rows of the parts that the table has not (any more)."""
    held = parquet_list([parts_dir(settings) / part.path for part in former.parts])
    for name, query in (
        ("rows_held", f"select {KEY_HASH} as k, {ROW_HASH} as h from {held}"),
        ("rows_added", "select h, r from temp.main.rows_now anti join temp.main.rows_held using (k, h)"),
        ("rows_gone", "select h from temp.main.rows_held anti join temp.main.rows_now using (k, h)"),
    ):
        connection.execute(f"create or replace temp table {name} as {query}")


def _sum(connection: Connection, name: str) -> tuple[int, int]:
    found = connection.execute(f"select count(*), coalesce(sum(h), 0) from temp.main.{name}").fetchall()[0]
    return int(found[0]), int(found[1])


def _adds_up(connection: Connection, former: PublishedTable, added: int, gone: int, rows: int) -> bool:
    """Whether the parts without the gone rows are the table: a hash that two rows share would show here."""
    shared = "select count(*) from temp.main.rows_gone semi join temp.main.rows_now using (h)"
    held = sum(part.rows for part in former.parts)
    return held + added - gone == rows and first_value(connection, shared) == 0


def _write_gone(settings: Settings, connection: Connection, source: Source, gone: tuple[int, int]) -> Part | None:
    if not gone[0]:
        return None
    query = f"select h as {ROW_HASH} from temp.main.rows_gone order by h"
    return write_file(settings, connection, source, "gone", found=gone, query=query)


__all__ = ["Layout", "part_checksum", "write_table"]
