"""Raw rows in PostgreSQL: each committed batch is loaded once, a run sees exactly its own batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.contracts.entities import ENTITIES, RAW_COLUMNS, SQL_TYPES, Entity, EntityName
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.postgres.places import STORE, Places, relation
from perennial.warehouse.postgres.session import Session, texts

_ROWS = 50_000
_PG_TYPES = {"varchar": "text", "timestamp": "timestamp without time zone"}


def columns_of(entity: Entity) -> dict[str, str]:
    """Name and PostgreSQL type of each column of the entity's raw table."""
    types = {name: SQL_TYPES[column.type] for name, column in entity.columns.items()} | RAW_COLUMNS
    return {name: _PG_TYPES.get(sql_type, sql_type) for name, sql_type in types.items()}


def load(session: Session, raw_files: Mapping[EntityName, Sequence[Path]]) -> int:
    """Load the batches that are not there yet, each in a transaction of its own; gives how many."""
    _make_store(session)
    loaded = {str(row[0]) for row in session.rows(f"select path from {STORE}.loaded")}
    session.commit()
    count = 0
    for name, paths in raw_files.items():
        new = [path for path in paths if _mark(path) not in loaded]
        for path in new:
            _load_file(session, ENTITIES[name], path)
            session.commit()
        if new:
            session.execute(f"analyze {relation(STORE, name)}")
            session.commit()
        count += len(new)
    return count


def _mark(path: Path) -> str:
    """What a raw file is known by: its entity and batch, wherever the home is."""
    return f"{path.parent.name}/{path.stem}"


def _make_store(session: Session) -> None:
    session.execute(f"create unlogged table if not exists {STORE}.loaded (path text primary key, rows bigint)")
    for name, entity in ENTITIES.items():
        wanted = columns_of(entity)
        columns = ", ".join(f"{identifier(column)} {sql_type}" for column, sql_type in wanted.items())
        session.execute(f"create unlogged table if not exists {relation(STORE, name)} ({columns})")
        session.execute(
            f"create index if not exists {identifier(name + '_batch')} on {relation(STORE, name)} (_batch_id)"
        )
        known = {row[0] for row in session.rows(_COLUMNS, [STORE, name])}
        for column, sql_type in wanted.items():
            if column not in known:
                session.execute(f"alter table {relation(STORE, name)} add column {identifier(column)} {sql_type}")
    session.commit()


_COLUMNS = "select column_name from information_schema.columns where table_schema = $1 and table_name = $2"


def _load_file(session: Session, entity: Entity, path: Path) -> None:
    with pq.ParquetFile(path) as file:
        names = [name for name in columns_of(entity) if name in file.schema_arrow.names]
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        batches = (_of(batch, schema) for batch in file.iter_batches(_ROWS, columns=names))
        rows = session.append(entity.name, batches, schema, into=STORE)
    session.execute(f"insert into {STORE}.loaded values ($1, $2)", [_mark(path), rows])


def _of(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch.column(name) for name in schema.names], schema=schema)


def make_views(
    session: Session, places: Places, raw_files: Mapping[EntityName, Sequence[Path]], *, suffix: str = ""
) -> None:
    """A view `raw.<entity><suffix>` per entity over exactly the batches of these files."""
    for name, entity in ENTITIES.items():
        batches = sorted({path.stem for path in raw_files.get(name, ())})
        columns = ", ".join(map(identifier, columns_of(entity)))
        where = _where(session, name, batches)
        replace_view(session, places.raw, name + suffix, f"select {columns} from {relation(STORE, name)}{where}")


def _where(session: Session, name: str, batches: Sequence[str]) -> str:
    """The condition that holds for rows of these batches; none where the table has no others: the usual case."""
    loaded = f"select count(*) from {STORE}.loaded where path like {literal(name + '/%')}"
    if len(batches) == session.value(loaded):
        return ""
    return f" where _batch_id in ({texts(batches)})"


def replace_view(session: Session, schema: str, name: str, select: str) -> None:
    """Create the view, or change it in place, so that what reads it stays; anew when its columns are others."""
    found = [row[0] for row in session.rows(f"{_COLUMNS} order by ordinal_position", [schema, name])]
    wanted = session.schema(select).names
    if found and found != wanted:
        session.execute(f"drop view {relation(schema, name)} cascade")
    session.execute(f"create or replace view {relation(schema, name)} as {select}")


def files_as_texts(home: Path, raw_files: Mapping[EntityName, Sequence[Path]]) -> dict[str, list[str]]:
    """The files by entity, relative to the home: what build_info keeps."""
    return {name: [path.relative_to(home).as_posix() for path in paths] for name, paths in raw_files.items()}


def files_of(home: Path, texts_of: Mapping[str, Sequence[str]]) -> Iterator[tuple[Entity, list[Path]]]:
    """Every entity with its files."""
    for name, entity in ENTITIES.items():
        yield entity, [home / text for text in texts_of.get(name, ())]
