"""The build database: where dbt works before anything is published.

One file for the newest day (`latest`), one for days of the past (`past`). `raw.build_info` says whose build it is and
how far it came, so that nobody publishes another run's tables, or tables that no test has passed (L5).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from perennial.contracts.builds import FULL, BuildChange, BuildRecord
from perennial.contracts.entities import ENTITIES, RAW_COLUMNS, SQL_TYPES, Entity, EntityName
from perennial.contracts.identity import IDENTITY_MAP
from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier
from perennial.warehouse.duck import Connection, connect, first_value, parquet_list

SCHEMAS = ("raw", "staging", "intermediate", "private", "marts")
# Columns that hold personal data wherever they turn up: the tables that are published have none of them (L22).
PERSONAL_COLUMNS = frozenset(
    name for entity in ENTITIES.values() for name, column in entity.columns.items() if column.personal
)


@dataclass(frozen=True)
class TableSpec:
    """A table of the build database that is published.

    `date_column`: parts by its month, else one part. `key`: the order of rows in a part, else all columns. `personal`:
    columns that the model calls personal; there may be none. `changed_days`: the relation of schema `intermediate` with
    every `business_date` whose rows this change of the last build touched. `description` and `comments`: what the model
    says of itself and of its columns.
    """

    name: str
    schema: str = "marts"
    date_column: str | None = None
    key: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    changed_days: str | None = None
    description: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def relation(self) -> str:
        """The table's name in the build database, quoted."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"


def build_path(settings: Settings, run: DayRun) -> Path:
    """The file that the run is built in."""
    return settings.warehouse_dir / "build" / f"{'latest' if run.is_latest else 'past'}.duckdb"


def prepare_build(
    settings: Settings,
    run: DayRun,
    *,
    raw_files: Mapping[EntityName, Sequence[Path]],
    ledger: Iterable[tuple[str, pa.RecordBatchReader]],
    change: BuildChange = FULL,
) -> Path:
    """Open the run's build: schema `raw` with a view per canonical entity over exactly `raw_files`, and `ledger`.

    `raw.<entity>_changed` are the files of `change`. The map of identity joins nobody yet. All in one transaction. What
    an earlier run left in the other schemas stays until dbt replaces it, except that a past day never starts from
    another day's tables. Raises ContractViolation when a raw file is missing.
    """
    require_files(settings, raw_files)
    path = build_path(settings, run)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)  # staging and private hold addresses
    with closing(_open_for(settings, run, path)) as connection:
        connection.begin()
        _write_raw(connection, run, raw_files, ledger)
        _write_change(connection, change)
        connection.commit()
    return path


def _write_raw(
    connection: Connection,
    run: DayRun,
    raw_files: Mapping[EntityName, Sequence[Path]],
    ledger: Iterable[tuple[str, pa.RecordBatchReader]],
) -> None:
    for schema in SCHEMAS:
        connection.execute(f"create schema if not exists {schema}")
    # build_id: of equal builds alike; change_of: the build that this one is a change of (warehouse.origin).
    columns = "run_id varchar, state varchar, tables varchar, build_id varchar, change_of varchar, mode varchar"
    connection.execute(f"create or replace table raw.build_info ({columns})")
    connection.execute("insert into raw.build_info (run_id, state, tables) values (?, 'prepared', '[]')", [run.run_id])
    for name, entity in ENTITIES.items():
        connection.execute(f"create or replace view raw.{name} as {raw_select(entity, raw_files.get(name, ()))}")
    for table, reader in ledger:
        _write_table(connection, table, reader)
    _write_table(connection, "identity_map", IDENTITY_MAP.empty_table())


def _write_change(connection: Connection, change: BuildChange) -> None:
    for name, entity in ENTITIES.items():
        view = raw_select(entity, change.files.get(name, ()))
        connection.execute(f"create or replace view raw.{name}_changed as {view}")
    _write_table(connection, "batches_changed", change.batches_table())
    connection.execute("create table if not exists raw.identity_map_built (client_ref varchar, client_id varchar)")
    connection.execute("create or replace table raw.build_record (record varchar)")
    connection.execute("insert into raw.build_record values (?)", [change.record.as_text()])


def last_record(settings: Settings, run: DayRun) -> BuildRecord | None:
    """What the run's build database remembers of its last builds; None when there is none that can be read."""
    path = build_path(settings, run)
    if not path.exists():
        return None
    try:
        with closing(connect(settings, path, read_only=True)) as connection:
            return BuildRecord.from_text(first_value(connection, "select record from raw.build_record"))
    except (duckdb.Error, ValueError, KeyError, TypeError):  # another release's, or broken: it is built anew
        return None


def _write_table(connection: Connection, table: str, rows: pa.RecordBatchReader | pa.Table) -> None:
    connection.register("arriving", rows)
    connection.execute(f"create or replace table raw.{identifier(table)} as select * from arriving")
    connection.unregister("arriving")


def write_identity_map(settings: Settings, run: DayRun, rows: pa.RecordBatchReader) -> None:
    """Write `raw.identity_map` (contracts.identity.IDENTITY_MAP) of the run's prepared build."""
    with build_connection(settings, run, read_only=False) as connection:
        _write_table(connection, "identity_map", rows)


def raw_select(entity: Entity, files: Sequence[Path]) -> str:
    """SQL over the entity's raw files; a relation of the same columns and types, without rows, when there is none.

    A column that was added after a file was written is null in its rows. Which columns a file has is read from its
    footer here, once, and not whenever the relation is read (as `union_by_name` does, of all files each time).
    """
    types = {name: SQL_TYPES[column.type] for name, column in entity.columns.items()} | RAW_COLUMNS
    nulls = {name: f"cast(null as {sql_type}) as {identifier(name)}" for name, sql_type in types.items()}
    if not files:
        return f"select {', '.join(nulls.values())} where false"
    alike: dict[frozenset[str], list[Path]] = {}
    for path in files:
        alike.setdefault(frozenset(pq.read_schema(path).names).intersection(types), []).append(path)
    parts = [
        f"select {', '.join(identifier(n) if n in names else nulls[n] for n in types)} from {parquet_list(paths)}"
        for names, paths in alike.items()
    ]
    return " union all ".join(parts)


def require_files(settings: Settings, raw_files: Mapping[EntityName, Sequence[Path]]) -> None:
    """Raise ContractViolation for each raw file that is not there."""
    missing = [path for paths in raw_files.values() for path in paths if not path.exists()]
    if missing:
        fix = "restore it from the archive, or land its files again"
        home = settings.home
        raise ContractViolation(
            [
                Problem(p.relative_to(home).as_posix(), "the ledger names this raw file, and it is gone", fix)
                for p in missing
            ]
        )


def _run_in(connection: Connection) -> str | None:
    """The id of the run whose build the database holds; None when it holds none."""
    known = "select 1 from duckdb_tables() where schema_name = 'raw' and table_name = 'build_info'"
    if first_value(connection, known) is None:
        return None
    return cast("str | None", first_value(connection, "select run_id from raw.build_info"))


def _open_for(settings: Settings, run: DayRun, path: Path) -> Connection:
    """The build database for writing; a new one when the file is of no use (it can always be made again from raw)."""
    try:
        connection = connect(settings, path)
        if run.is_latest or _run_in(connection) in {run.run_id, None}:
            return connection
        connection.close()
    except duckdb.Error:  # written by another release of DuckDB, or broken with the disk under it
        pass
    for stale in (path, path.with_name(path.name + ".wal")):
        stale.unlink(missing_ok=True)
    return connect(settings, path)


def mark_built(settings: Settings, run: DayRun, tables: Sequence[TableSpec]) -> dict[str, int]:
    """Write that the run's tables are built and tested; gives their rows, counted here.

    Raises ContractViolation when a table that would be published holds personal data (L22).
    """
    with build_connection(settings, run, read_only=False) as connection:
        for table in tables:
            refuse_personal(table.name, [*table.personal, *_names(connection, table)], declared=table.personal)
        rows = {t.name: int(first_value(connection, f"select count(*) from {t.relation}")) for t in tables}
        specs = json.dumps([{**vars(table), "key": list(table.key)} for table in tables])
        record = BuildRecord.from_text(first_value(connection, "select record from raw.build_record"))
        connection.begin()
        connection.execute("update raw.build_info set state = 'built', tables = ?", [specs])
        _write_ids(connection, record)
        connection.execute("update raw.build_record set record = ?", [record.finished().as_text()])
        known = "select client_ref, client_id from raw.identity_map"
        connection.execute(f"create or replace table raw.identity_map_built as {known}")
        connection.commit()
    return rows


def _write_ids(connection: Connection, record: BuildRecord) -> None:
    if record.begun is None:
        return
    before = record.complete if record.begun.mode == "change" else None
    ids = [record.begun.build_id, before.build_id if before else None, record.begun.mode]
    connection.execute("update raw.build_info set build_id = ?, change_of = ?, mode = ?", ids)


def _names(connection: Connection, table: TableSpec) -> list[str]:
    rows = connection.execute(
        "select column_name from duckdb_columns() where schema_name = ? and table_name = ? order by column_index",
        [table.schema, table.name],
    ).fetchall()
    return [row[0] for row in rows]


def refuse_personal(table: str, columns: Sequence[str], *, declared: Sequence[str] = ()) -> None:
    """Raise ContractViolation when a column of a published table is personal, by its name or its model's word."""
    found = sorted({name for name in columns if name.lower() in PERSONAL_COLUMNS or name in declared})
    if found:
        fix = "keep it in the schema `private`, or leave it out"
        raise ContractViolation(
            [Problem(f"{table}.{name}", "a published table holds personal data", fix) for name in found]
        )


@contextmanager
def build_connection(settings: Settings, run: DayRun, *, read_only: bool) -> Iterator[Connection]:
    """The build database, if it is this run's. Raises ContractViolation when it holds another run's, or none."""
    path = build_path(settings, run)
    if not path.exists():
        raise ContractViolation(Problem(path.name, f"nothing is built for run {run.run_id}", "build it first"))
    with closing(connect(settings, path, read_only=read_only)) as connection:
        found = _run_in(connection)
        if found != run.run_id:
            problem = f"this is the build of run {found}, not of {run.run_id}"
            raise ContractViolation(Problem(path.name, problem, f"build {run.run_id} again"))
        yield connection


def built_tables(connection: Connection, run: DayRun) -> list[TableSpec]:
    """The tables of a build that has passed its tests. Raises ContractViolation when it has not (L5)."""
    state, tables = connection.execute("select state, tables from raw.build_info").fetchall()[0]
    if state != "built":
        problem = f"the build of run {run.run_id} is not finished or did not pass its tests"
        raise ContractViolation(Problem("raw.build_info", problem, "build it again"))
    return [
        TableSpec(**{**spec, "key": tuple(spec["key"]), "personal": tuple(spec["personal"])})
        for spec in json.loads(tables)
    ]
