"""What is loaded already: rows, documents and events that are delivered once more are counted, not loaded again.

A version is compared with the one before it in the order (business date, version, batch, file) in which the models
pick the last one: a late file is so compared with what was known on its own day. A tombstone and a new version differ
from what was before them: a delete, then the same row again, is no duplicate.

Rows are hashed and compared only where a key comes again. Raw files have no hash of their rows: of every line it would
be written, and of nearly none it is ever asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from perennial.contracts.entities import RAW_COLUMNS, SQL_TYPES, Entity
from perennial.core.sqltext import literals
from perennial.quality import expressions
from perennial.quality.checking import Checker

BEHIND_ALL = 2**62  # the number of the batch that is being checked: behind every committed one
_BY_VERSION = "version nulls first"
_PLACES = "file_no, row_id, file, line, business_date, version, is_deleted"


def raw_rows(entity: Entity, paths: Sequence[str]) -> str:
    """SQL for the rows of these raw files, with all columns of today, whenever they were written, and their path."""
    types = {name: SQL_TYPES[column.type] for name, column in entity.columns.items()} | RAW_COLUMNS
    nothing = f"select {', '.join(f'null::{kind} as {name}' for name, kind in types.items())}, '' as path where false"
    if not paths:
        return nothing
    files = f"read_parquet([{literals(paths)}], union_by_name = true, filename = true)"
    return f"{nothing} union all by name select * rename (filename as path) from {files}"


def mark_duplicates(checker: Checker, raw_paths: Sequence[str]) -> None:
    """Set `judged.duplicate`. `raw_paths` are the committed Parquet files of the same source and entity."""
    connection, entity = checker.connection, checker.entity
    if not has_repeated(checker, raw_paths):
        return
    _make_items(checker, raw_paths)
    if entity.kind == "documents":
        _mark_documents(connection, entity)
    elif entity.kind == "entities":
        _mark_rows(connection, entity, "row_hash", "seq, file, line")
    else:  # an event happens once: of several rows with its key the first counts, until it is deleted
        _mark_rows(connection, entity, "is_deleted", "seq, file, line")


def has_repeated(checker: Checker, raw_paths: Sequence[str]) -> bool:
    """Make `loaded_again` and `repeated`: the keys of this batch that are loaded, and those that it has twice itself.

    Whether there is any.
    """
    connection, entity = checker.connection, checker.entity
    key = ", ".join(entity.key)
    wanted = f"(select distinct {key} from judged where broken = 0)"
    connection.execute(f"""
        create table loaded_again as
        select distinct {key}, path from ({raw_rows(entity, raw_paths)}) semi join {wanted} as wanted using ({key})
    """)
    places = connection.execute("select count(distinct file_no), count(distinct version) from judged").fetchone()
    has_several = entity.kind != "documents" or (places is not None and max(places) > 1)
    again = "min(file_no) <> max(file_no) or min(version) is distinct from max(version) or count(version) <> count(*)"
    several = f"""
        union all
        select {key} from judged where broken = 0
        group by {key} having count(*) > 1 {f"and ({again})" if entity.kind == "documents" else ""}
    """
    connection.execute(f"""
        create table repeated as
        select distinct {key} from (select {key} from loaded_again {several if has_several else ""})
    """)
    return bool(connection.execute("select count(*) from repeated").fetchone() != (0,))


def _make_items(checker: Checker, raw_paths: Sequence[str]) -> None:
    """`items`: all rows of the repeated keys, loaded and new, each with the hash of what it says."""
    connection, entity, contract = checker.connection, checker.entity, checker.contract
    key = ", ".join(entity.key)
    holding = {path for (path,) in connection.execute("select distinct path from loaded_again").fetchall()}
    paths = [path for path in raw_paths if path in holding]
    connection.execute(f"""
        create table items as
        select {key}, {BEHIND_ALL} as seq, {_PLACES}, {expressions.row_hash(contract)} as row_hash
        from checked semi join repeated using ({key})
        where broken = 0
        union all
        select
            {key}, _batch_seq, null, null, _file, _line, _business_date, _version, _deleted,
            {expressions.row_hash(contract, version="_version", is_deleted="_deleted")}
        from ({raw_rows(entity, paths)}) semi join repeated using ({key})
    """)


def _mark_documents(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """A document is the multiset of its lines in one file and version: a duplicate when the one before is the same."""
    key = ", ".join(entity.key)
    same = " and ".join(f"judged.{name} = again.{name}" for name in entity.key)
    connection.execute(f"""
        update judged set duplicate = true
        from (
            with versions as (
                select
                    {key}, seq, file_no, file, version, max(business_date) as dated,
                    md5(string_agg(row_hash, '' order by row_hash)) as content
                from items group by {key}, seq, file_no, file, version
            ),
            ordered as (
                select
                    *, lag(content) over (partition by {key} order by dated, {_BY_VERSION}, seq, file) as before
                from versions
            )
            select {key}, file_no, version from ordered where seq = {BEHIND_ALL} and content = before
        ) as again
        where judged.broken = 0 and judged.file_no = again.file_no and {same}
            and judged.version is not distinct from again.version
    """)


def _mark_rows(connection: duckdb.DuckDBPyConnection, entity: Entity, said: str, order: str) -> None:
    """A row is a duplicate when it says what the version of its key before it said."""
    key = ", ".join(entity.key)
    connection.execute(f"""
        update judged set duplicate = true
        from (
            select seq, row_id, {said} = lag({said}) over (
                partition by {key} order by business_date, {_BY_VERSION}, {order}
            ) as is_again
            from items
        ) as again
        where again.is_again and again.seq = {BEHIND_ALL} and judged.rowid = again.row_id
    """)
