"""What is loaded already: rows, documents and events that are delivered once more are counted, not loaded again.

A version is compared with the one before it in the order (business date, version, batch, file) in which the models
pick the last one: a late file is so compared with what was known on its own day. A tombstone and a new version differ
from what was before them: a delete, then the same row again, is no duplicate.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from perennial.contracts.entities import Entity
from perennial.core.sqltext import literals

BEHIND_ALL = 2**62  # the number of the batch that is being checked: behind every committed one
_BY_VERSION = "version nulls first"


def mark_duplicates(connection: duckdb.DuckDBPyConnection, entity: Entity, raw_paths: Sequence[str]) -> None:
    """Set `checked.duplicate`. `raw_paths` are the committed Parquet files of the same source and entity."""
    _make_history(connection, entity, raw_paths)
    if entity.kind == "documents":
        _mark_documents(connection, entity)
    elif entity.kind == "entities":
        _mark_entities(connection, entity)
    else:
        _mark_events(connection, entity)


def _make_history(connection: duckdb.DuckDBPyConnection, entity: Entity, raw_paths: Sequence[str]) -> None:
    """`history`: of all that is loaded, the rows whose key this batch brings again, by key and hash only."""
    key = ", ".join(entity.key)
    if not raw_paths:
        connection.execute(f"""
            create table history as
            select {key}, 0::bigint as seq, file, line, business_date, version, is_deleted, row_hash
            from checked where false
        """)
        return
    connection.execute(f"""
        create table history as
        select
            {key}, _batch_seq as seq, _file as file, _line as line, _business_date as business_date,
            _version as version, _deleted as is_deleted, _row_hash as row_hash
        from read_parquet([{literals(raw_paths)}])
        semi join (select distinct {key} from checked where broken = 0) using ({key})
    """)


def _mark_documents(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """A document is the multiset of its lines in one file and version: a duplicate when the one before is the same."""
    key = ", ".join(entity.key)
    connection.execute(f"""
        create table repeated as
        select {key}
        from (
            select {key} from checked where broken = 0
            group by {key} having min(file_no) <> max(file_no) or min(version) is distinct from max(version)
            union all
            select {key} from history
        )
        group by {key}
    """)
    content = "md5(string_agg(row_hash, '' order by row_hash))"
    same = " and ".join(f"checked.{name} = again.{name}" for name in entity.key)
    connection.execute(f"""
        update checked set duplicate = true
        from (
            with versions as (
                select {key}, seq, file, version, max(business_date) as dated, {content} as content
                from history semi join repeated using ({key})
                group by {key}, seq, file, version
                union all
                select {key}, {BEHIND_ALL}, file, version, max(business_date), {content}
                from checked semi join repeated using ({key})
                where broken = 0
                group by {key}, file, version
            ),
            ordered as (
                select
                    *, lag(content) over (partition by {key} order by dated, {_BY_VERSION}, seq, file) as before
                from versions
            )
            select {key}, file, version from ordered where seq = {BEHIND_ALL} and content = before
        ) as again
        where checked.broken = 0 and checked.file = again.file and {same}
            and checked.version is not distinct from again.version
    """)


def _mark_entities(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """A row is a duplicate when it says what the version of its key before it said."""
    key = ", ".join(entity.key)
    order = f"business_date, {_BY_VERSION}, seq, file, line"
    _mark_rows(connection, entity, f"row_hash = lag(row_hash) over (partition by {key} order by {order})")


def _mark_events(connection: duckdb.DuckDBPyConnection, entity: Entity) -> None:
    """An event happens once: of several rows with its key the first counts, until it is deleted."""
    key = ", ".join(entity.key)
    order = f"business_date, {_BY_VERSION}, seq, file, line"
    _mark_rows(connection, entity, f"is_deleted = lag(is_deleted) over (partition by {key} order by {order})")


def _mark_rows(connection: duckdb.DuckDBPyConnection, entity: Entity, is_again: str) -> None:
    key = ", ".join(entity.key)
    columns = f"{key}, file, line, business_date, version, is_deleted, row_hash"
    connection.execute(f"""
        update checked set duplicate = true
        from (
            select seq, file, line, {is_again} as is_again
            from (
                select seq, {columns} from history
                union all
                select {BEHIND_ALL}, {columns} from checked where broken = 0
            )
        ) as again
        where again.is_again and again.seq = {BEHIND_ALL} and checked.broken = 0
            and checked.file = again.file and checked.line = again.line
    """)
