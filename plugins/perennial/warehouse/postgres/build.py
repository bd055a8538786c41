"""The build in PostgreSQL: what dbt reads, whose build it is, and how far it came (as `warehouse.build_db` does)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from perennial.contracts.builds import FULL, BuildChange, BuildRecord
from perennial.contracts.entities import EntityName
from perennial.contracts.identity import IDENTITY_MAP, MEMBERS
from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.warehouse.build_db import TableSpec, raw_select, refuse_personal, require_files
from perennial.warehouse.duck import connect
from perennial.warehouse.postgres.places import Places, places_of, relation
from perennial.warehouse.postgres.raw import files_as_texts, files_of, load, make_views
from perennial.warehouse.postgres.roles import make_schemas, require_byte_order
from perennial.warehouse.postgres.session import Session, open_session

_INFO = "run_id text, state text, tables text, raw_files text, build_id text, change_of text, mode text"


def prepare_build(
    settings: Settings,
    run: DayRun,
    *,
    raw_files: Mapping[EntityName, Sequence[Path]],
    ledger: Iterable[tuple[str, pa.RecordBatchReader]],
    change: BuildChange = FULL,
) -> None:
    """Load what is new, make the run's views, and copy the ledger; the last two in one transaction.

    `raw.<entity>_changed` are the rows of the batches of `change`. Raises ContractViolation when a raw file is missing,
    or the database does not sort texts byte by byte.
    """
    require_files(settings, raw_files)
    places = places_of(run)
    with open_session(settings) as session:
        require_byte_order(session)
        make_schemas(session)
        load(session, raw_files)
        _write_info(session, places, run, json.dumps(files_as_texts(settings.home, raw_files)))
        make_views(session, places, raw_files)
        make_views(session, places, change.files, suffix="_changed")
        _write_change(session, places, change)
        for table, reader in ledger:
            _write_table(session, places, table, reader.schema, reader)
        _write_table(session, places, "identity_map", IDENTITY_MAP, ())
        session.commit()


def _write_info(session: Session, places: Places, run: DayRun, files: str) -> None:
    info = relation(places.raw, "build_info")
    session.execute(f"create unlogged table if not exists {info} ({_INFO})")
    session.execute(f"delete from {info}")
    session.execute(
        f"insert into {info} (run_id, state, tables, raw_files) values ($1, 'prepared', '[]', $2)", [run.run_id, files]
    )


def _write_change(session: Session, places: Places, change: BuildChange) -> None:
    table = change.batches_table()
    _write_table(session, places, "batches_changed", table.schema, table.to_batches())
    if not _columns(session, places, "identity_map_built"):
        _write_table(session, places, "identity_map_built", MEMBERS, ())
    record = relation(places.raw, "build_record")
    session.execute(f"create unlogged table if not exists {record} (record text)")
    session.execute(f"delete from {record}")
    session.execute(f"insert into {record} values ($1)", [change.record.as_text()])


def last_record(settings: Settings, run: DayRun) -> BuildRecord | None:
    """What the build remembers of the last complete one; None when there is none that can be read."""
    places = places_of(run)
    with open_session(settings) as session:
        if not _columns(session, places, "build_record"):
            return None
        found = session.value(f"select record from {relation(places.raw, 'build_record')}")
    try:
        return BuildRecord.from_text(str(found))
    except (ValueError, KeyError, TypeError):  # another release's, or emptied by a crash of the server: built anew
        return None


def _columns(session: Session, places: Places, table: str) -> list[str]:
    query = "select column_name from information_schema.columns where table_schema = $1 and table_name = $2"
    return [str(row[0]) for row in session.rows(f"{query} order by ordinal_position", [places.raw, table])]


def _write_table(
    session: Session, places: Places, table: str, schema: pa.Schema, rows: Iterable[pa.RecordBatch]
) -> None:
    """Fill a table of schema `raw`; one of the same columns is emptied, so that views on it stay."""
    name = relation(places.raw, table)
    if _columns(session, places, table) == schema.names:
        session.execute(f"truncate {name}")
    else:
        session.execute(f"drop table if exists {name} cascade")
        session.create(name, schema, kind="unlogged table")
    session.append(table, rows, schema, into=places.raw)
    session.execute(f"analyze {name}")


def write_identity_map(settings: Settings, run: DayRun, rows: pa.RecordBatchReader) -> None:
    """Write `raw.identity_map` of the run's prepared build."""
    with build_session(settings, run) as session:
        _write_table(session, places_of(run), "identity_map", rows.schema, rows)
        session.commit()


@contextmanager
def build_session(settings: Settings, run: DayRun) -> Iterator[Session]:
    """A session on the build, if it is this run's. Raises ContractViolation when it is another's, or there is none."""
    with open_session(settings) as session:
        found = _info(session, run, "run_id")
        if found != run.run_id:
            problem = f"this is the build of run {found}, not of {run.run_id}"
            raise ContractViolation(Problem("raw.build_info", problem, f"build {run.run_id} again"))
        yield session


def _info(session: Session, run: DayRun, column: str) -> Any:
    """A column of build_info. Raises ContractViolation when nothing is built."""
    info = relation(places_of(run).raw, "build_info")
    found = None
    if session.value(f"select to_regclass({literal(info)}) is not null"):
        found = session.value(f"select {column} from {info}")
    if found is None:
        problem = f"nothing is built for run {run.run_id}"
        raise ContractViolation(Problem("raw.build_info", problem, "build it first"))
    return found


@contextmanager
def raw_connection(settings: Settings, run: DayRun) -> Iterator[Any]:
    """A DuckDB in memory over the run's raw files: who is one client is asked of the rows as they landed."""
    with build_session(settings, run) as session:
        files = json.loads(_info(session, run, "raw_files"))
    with closing(connect(settings)) as connection:
        connection.execute("create schema raw")
        for entity, paths in files_of(settings.home, files):
            connection.execute(f"create view raw.{entity.name} as {raw_select(entity, paths)}")
        yield connection


def failing_rows(settings: Settings, run: DayRun, sql: str, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` rows of a query on the build, in the order of all columns."""
    with build_session(settings, run) as session:
        columns = range(1, len(session.schema(sql).names) + 1)
        query = f"select * from ({sql}) as failing order by {', '.join(map(str, columns))} limit {int(limit)}"
        return cast("list[dict[str, Any]]", session.table(query).to_pylist())


def mark_built(settings: Settings, run: DayRun, tables: Sequence[TableSpec]) -> dict[str, int]:
    """Write that the run's tables are built and tested; gives their rows, counted here.

    Raises ContractViolation when a table that would be published holds personal data (L22).
    """
    places = places_of(run)
    with build_session(settings, run) as session:
        for table in tables:
            names = session.schema(f"select * from {places.built(table.schema, table.name)}").names
            refuse_personal(table.name, [*table.personal, *names], declared=table.personal)
        rows = {t.name: int(session.value(f"select count(*) from {places.built(t.schema, t.name)}")) for t in tables}
        specs = json.dumps([{**vars(table), "key": list(table.key)} for table in tables])
        session.execute(f"update {relation(places.raw, 'build_info')} set state = 'built', tables = $1", [specs])
        _finish_record(session, places)
        session.commit()
    return rows


def _finish_record(session: Session, places: Places) -> None:
    """Remember this build as the last complete one, with its map of identity."""
    record = relation(places.raw, "build_record")
    begun = BuildRecord.from_text(str(session.value(f"select record from {record}")))
    session.execute(f"update {record} set record = $1", [begun.finished().as_text()])
    if begun.begun is not None:
        before = begun.complete if begun.begun.mode == "change" else None
        ids = [begun.begun.build_id, before.build_id if before else "", begun.begun.mode]
        info = relation(places.raw, "build_info")
        session.execute(f"update {info} set build_id = $1, change_of = nullif($2, ''), mode = $3", ids)
    built, now = relation(places.raw, "identity_map_built"), relation(places.raw, "identity_map")
    session.execute(f"truncate {built}")
    session.execute(f"insert into {built} (client_ref, client_id) select client_ref, client_id from {now}")
    session.execute(f"analyze {built}")


def built_tables(session: Session, run: DayRun) -> list[TableSpec]:
    """The tables of a build that has passed its tests. Raises ContractViolation when it has not (L5)."""
    if _info(session, run, "state") != "built":
        problem = f"the build of run {run.run_id} is not finished or did not pass its tests"
        raise ContractViolation(Problem("raw.build_info", problem, "build it again"))
    found = json.loads(_info(session, run, "tables"))
    return [TableSpec(**{**spec, "key": tuple(spec["key"]), "personal": tuple(spec["personal"])}) for spec in found]


def require_built(settings: Settings, run: DayRun) -> None:
    """Raise ContractViolation unless the build is this run's and has passed its tests."""
    with build_session(settings, run) as session:
        built_tables(session, run)


def take_training(settings: Settings, run: DayRun, max_clients: int | None) -> pa.Table:
    """The features and labels of the schema `training`, which is dropped."""
    from perennial.warehouse.embedded import training_query

    training = places_of(run).prefix + "training"
    with build_session(settings, run) as session:
        table = session.table(training_query(max_clients).replace("training.", f"{training}."))
        session.execute(f"drop schema {training} cascade")
        session.commit()
    return table


_BY_SOURCE = """
    select source, source_entity as entity, count(*) as batches, cast(sum(loaded) as bigint) as rows,
        cast(sum(quarantined) as bigint) as quarantined, cast(max(as_of) as text) as newest
    from {}
    where state = 'committed'
    group by source, source_entity
    order by source, source_entity
"""


def origin_of(session: Session, places: Places, run: DayRun, told: dict[str, Any]) -> dict[str, Any]:
    """What a version of the build was built from: `told` by the build, its sources, batches, and what it changed."""
    info = relation(places.raw, "build_info")
    build_id, change_of, mode = session.rows(f"select build_id, change_of, mode from {info}")[0]
    known = _columns(session, places, "ledger_batches")
    query = _BY_SOURCE.format(relation(places.raw, "ledger_batches"))
    sources = session.table(query).to_pylist() if known else []
    ids = {"build_id": build_id, "change_of": change_of, "mode": mode}
    return {**told, **ids, "batches": len(run.batch_ids), "sources": sources}
