"""Rows that were not loaded since they said what was loaded before them, and that hold again behind a late row.

A snapshot says A on Monday, B on Tuesday and A on Wednesday. When Tuesday arrives last, Wednesday's A was a duplicate
of Monday's, and yet it is what holds. So a batch keeps, beside its raw file, where each of its duplicates stood and a
digest of what it said; a row that lands, or comes back from quarantine, before such places makes the first of them a
row of its own. The tables then do not depend on the order of arrival (L2, L4).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from perennial.contracts.entities import RAW_COLUMNS, Entity
from perennial.core.sqltext import literal, literals
from perennial.quality import expressions
from perennial.quality.checking import Checker
from perennial.quality.duplicates import raw_rows

SUFFIX = ".repeats.parquet"
_HASH = "('0x' || left({}, 16))::ubigint"
_PLACE = ("seq", "file", "version")
_MOVED = {
    "_batch_seq": "places.seq",
    "_file": "places.file",
    "_line": "places.line",
    "_business_date": "places.business_date",
    "_version": "places.version",
}


def write_repeats(checker: Checker, path: Path, *, batch_seq: int) -> int:
    """Write the places of the duplicates in `checked`: key, seq, file, line, business_date, version, digest."""
    key = ", ".join(checker.entity.key)
    row = checker.connection.execute(f"""
        copy (
            select
                {key}, {batch_seq}::bigint as seq, file, line, business_date, version,
                {_HASH.format(expressions.row_hash(checker.contract))} as digest
            from checked where broken = 0 and duplicate order by file, line
        ) to {literal(str(path))} (format parquet, compression zstd)
    """).fetchone()
    return int(row[0]) if row else 0


def has_repeats(entity: Entity) -> bool:
    """Whether places of duplicates matter: an event happens once, whatever is reported later."""
    return entity.kind != "events"


def make_revived(checker: Checker, raw_paths: Sequence[str], repeats: Sequence[str], *, seq: int) -> int:
    """Make the table `revived`: raw rows that hold again behind the good rows in `checked`. Gives their number.

    `raw_paths` and `repeats` are the files of the committed batches of the same source and entity; `seq` is the number
    under which the good rows stand in the order of versions.
    """
    connection, entity = checker.connection, checker.entity
    raw = f"({raw_rows(entity, raw_paths)})"
    _make_items(connection, entity, raw, repeats, seq)
    chosen = ", ".join(_MOVED.get(name, f"raw.{name}") + f" as {name}" for name in (*entity.columns, *RAW_COLUMNS))
    same = " and ".join(f"raw.{name} = places.{name}" for name in entity.key)
    said = expressions.row_hash(checker.contract, version="raw._version", is_deleted="raw._deleted", of="raw.")
    connection.execute(f"""
        create table revived as
        select {chosen}
        from coming_back as places inner join {raw} as raw on {same} and {_HASH.format(said)} = places.digest
        qualify row_number() over (
            partition by places.seq, places.file, places.line order by raw._batch_seq, raw._file, raw._line
        ) = 1
    """)
    row = connection.execute("select count(*) from revived").fetchone()
    return int(row[0]) if row else 0


def _make_items(
    connection: duckdb.DuckDBPyConnection, entity: Entity, raw: str, repeats: Sequence[str], seq: int
) -> None:
    """`coming_back`: the duplicates that are the next thing said of a key behind a new row, or of the same document.

    What a key's history consists of are rows for an entity, and deliveries for a document.
    """
    key = ", ".join(entity.key)
    columns = f"{key}, seq, file, line, business_date, version"
    connection.execute(f"""
        create table repeats as
        select * from read_parquet([{literals(repeats)}])
        semi join (select distinct {key} from checked where broken = 0 and not duplicate) using ({key})
    """)
    # What has come back already stands among the loaded rows.
    connection.execute(f"""
        delete from repeats where (seq, file, line) in (
            select (_batch_seq, _file, _line) from {raw} semi join (select distinct {key} from repeats) using ({key})
        )
    """)
    place = ", ".join((*entity.key, *_PLACE, *(() if entity.kind == "documents" else ("line",))))
    line = ", line" if entity.kind == "entities" else ""
    connection.execute(f"""
        create table coming_back as
        with items as (
            select {columns}, 'repeat' as what from repeats
            union all
            select {key}, {seq}::bigint, file, line, business_date, version, 'new'
            from checked where broken = 0 and not duplicate
            union all
            select {key}, _batch_seq, _file, _line, _business_date, _version, 'loaded'
            from {raw} semi join (select distinct {key} from repeats) using ({key})
        ),
        said as (
            select
                {place}, max(business_date) as dated,
                bool_or(what = 'new') as is_new, bool_or(what = 'repeat') as is_repeat
            from items group by all
        ),
        ordered as (
            select
                *, lag(is_new) over (
                    partition by {key} order by dated, version nulls first, seq, file{line}
                ) as behind_new
            from said
        ),
        wanted as (select * from ordered where is_repeat and (is_new or behind_new))
        select repeats.*
        from repeats inner join wanted
            on {_same(entity)} and repeats.version is not distinct from wanted.version
    """)


def _same(entity: Entity) -> str:
    names = [*entity.key, "seq", "file", *(("line",) if entity.kind == "entities" else ())]
    return " and ".join(f"repeats.{name} = wanted.{name}" for name in names)


def write_revived(connection: duckdb.DuckDBPyConnection, path: Path, *, batch_id: str) -> None:
    """Write `revived` as the raw file of a batch of its own."""
    connection.execute(f"""
        copy (
            select * replace ({literal(batch_id)} as _batch_id) from revived order by _file, _line
        ) to {literal(str(path))} (format parquet, compression zstd)
    """)
