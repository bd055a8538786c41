"""Publishing in PostgreSQL: one transaction brings schema `marts` to what was built and tested (L5).

Of a table with a key only rows that differ are written. A reader sees all of yesterday or all of today.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Overtaken, Problem
from perennial.core.ids import run_order
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.build_db import TableSpec, refuse_personal
from perennial.warehouse.duck import slug
from perennial.warehouse.postgres.build import build_session, built_tables, origin_of
from perennial.warehouse.postgres.places import DELIVERY, Places, places_of, relation
from perennial.warehouse.postgres.roles import ensure, grant_rights
from perennial.warehouse.postgres.session import Session, open_session, texts
from perennial.warehouse.postgres.versions import (
    PgTable,
    PgVersion,
    make_versions,
    newest,
    wait_for_readers,
    write_version,
)

_PUBLISHING = 7326_4001  # the advisory lock of publishers: one at a time
_CONTACTS = ("client_id", "first_name", "last_name", "email", "phone", "birth_date")
_DUCK_TYPES = {
    "text": "VARCHAR", "character varying": "VARCHAR", "bigint": "BIGINT", "integer": "INTEGER", "date": "DATE",
    "boolean": "BOOLEAN", "double precision": "DOUBLE", "timestamp without time zone": "TIMESTAMP",
}  # fmt: skip
_ARRIVING = "arriving"


@dataclass(frozen=True)
class _Table:
    """A table to publish: SQL of the built and of the published relation, and its columns (name, PostgreSQL type)."""

    spec: TableSpec
    source: str
    target: str
    columns: tuple[tuple[str, str], ...]
    days: str | None = None  # the relation of business dates beside which nothing was changed, if that is known

    @property
    def names(self) -> str:
        """The columns, quoted."""
        return ", ".join(identifier(name) for name, _ in self.columns)

    def published(self, rows: int, *, periodic: bool = False) -> PgTable:
        """What the version says of it."""
        return PgTable(tuple((name, duck_type(t)) for name, t in self.columns), rows, periodic)


def publish_marts(
    settings: Settings, run: DayRun, *, built_from: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, int]]:
    """Publish the run's tested tables in one transaction: (version id, rows by table).

    `built_from` stays with the version. Tables by business date (scores, outcomes) keep the dates before the run's.
    Raises ContractViolation when the build is another run's or has not passed its tests, RetryableError when readers do
    not make way for changed columns, Overtaken when a newer run is published.
    """
    places = places_of(run)
    with build_session(settings, run) as session:
        specs = built_tables(session, run)
        base = _begin(session, run, places)
        told = origin_of(session, places, run, dict(built_from or {}))
        is_next = base is not None and told["change_of"] == base.built_from.get("build_id", "")
        tables = [_table(session, places, spec, is_next=is_next) for spec in specs]
        periodic = _carried(session, run, places, base)
        gone = set(base.tables if base else ()) - {table.spec.name for table in tables} - set(periodic)
        _shape(session, places, tables, gone)
        rows = {table.spec.name: _bring(session, table) for table in tables}
        _publish_contacts(session, run, places)
        grant_rights(session)
        merged = {**periodic, **{table.spec.name: table.published(rows[table.spec.name]) for table in tables}}
        version = PgVersion("", run.run_id, run.as_of, "publish", base.id if base else None, places.marts, merged, told)
        version_id = write_version(session, version)
        session.commit()
    return version_id, rows


def publish_table(
    settings: Settings, run: DayRun, name: str, data: pa.Table | pa.RecordBatchReader, *, step: str
) -> str:
    """Publish `data` as the run's date of the periodic table `name`; gives the new version's id.

    Every row has the run's date in `as_of_date`. Raises ContractViolation for rows of another date, for personal data,
    and before `publish_marts`; Overtaken when a newer run is published.
    """
    slug(name)
    refuse_personal(name, data.schema.names)
    if "as_of_date" not in data.schema.names:
        raise ContractViolation(Problem(name, "the table has no column as_of_date", "add it"))
    places = places_of(run)
    with open_session(settings) as session:
        base = _begin(session, run, places)
        if base is None or base.run_id != run.run_id:
            raise ContractViolation(Problem(name, f"run {run.run_id} has not published its marts", "publish first"))
        session.create(_ARRIVING, data.schema, kind="temp table")
        batches = data.to_batches() if isinstance(data, pa.Table) else data
        session.append(_ARRIVING, batches, data.schema)
        _require_date(session, name, run.as_of)
        table = _Table(TableSpec(name), _ARRIVING, relation(places.marts, name), _columns(session, _ARRIVING))
        _shape_periodic(session, table, known=name in base.tables)
        session.execute(f"delete from {table.target} where as_of_date >= {_day(run.as_of)}")
        session.execute(f"insert into {table.target} ({table.names}) select {table.names} from {_ARRIVING}")
        session.execute(f"analyze {table.target}")
        rows = int(session.value(f"select count(*) from {table.target}"))
        grant_rights(session)
        merged = {**base.tables, name: table.published(rows, periodic=True)}
        version_id = write_version(session, replace(base, step=step, base=base.id, tables=merged))
        session.commit()
    return version_id


def _begin(session: Session, run: DayRun, places: Places) -> PgVersion | None:
    """Be the only publisher; gives what is published there. Raises Overtaken when that is of a newer run."""
    ensure(session)
    make_versions(session)
    session.commit()
    session.execute(f"select pg_advisory_xact_lock({_PUBLISHING})")
    base = newest(session, places)
    if run.is_latest and base is not None and run_order(base.run_id) > run_order(run.run_id):
        problem = f"{base.run_id} is published, which is newer"
        raise Overtaken(Problem(run.run_id, problem, "nothing to do; nothing of this run would be sent"))
    return base


def _table(session: Session, places: Places, spec: TableSpec, *, is_next: bool) -> _Table:
    slug(spec.name)
    source = places.built(spec.schema, spec.name)
    columns = _columns(session, source)
    refuse_personal(spec.name, [name for name, _ in columns])
    days = places.built("intermediate", spec.changed_days) if is_next and spec.changed_days else None
    return _Table(spec, source, relation(places.marts, spec.name), columns, days)


def _columns(session: Session, source: str) -> tuple[tuple[str, str], ...]:
    query = (
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        f"where attrelid = to_regclass({literal(source)}) and attnum > 0 and not attisdropped order by attnum"
    )
    return tuple((str(name), str(column_type)) for name, column_type in session.rows(query))


def duck_type(pg_type: str) -> str:
    """DuckDB's name of a type: rooms that read tell kinds of columns by it."""
    if pg_type.startswith("numeric("):
        return pg_type.replace("numeric", "DECIMAL", 1).upper()
    return _DUCK_TYPES.get(pg_type, pg_type.upper())


def _shape(session: Session, places: Places, tables: Sequence[_Table], gone: Collection[str]) -> None:
    """Make the published tables have the columns of the built ones. Only then are readers waited for."""
    found = {table.spec.name: _columns(session, table.target) for table in tables}
    changed = [table for table in tables if found[table.spec.name] not in ((), table.columns)]
    if changed or gone:
        wait_for_readers(session)
    for name in [*(table.spec.name for table in changed), *sorted(gone)]:
        session.execute(f"drop table if exists {relation(places.marts, name)}")
    for table in tables:
        if found[table.spec.name] != table.columns:
            _create(session, table)
        _comment(session, table)


def _create(session: Session, table: _Table) -> None:
    columns = ", ".join(f"{identifier(name)} {column_type}" for name, column_type in table.columns)
    session.execute(f"create table {table.target} ({columns})")
    if table.spec.date_column:
        session.execute(f"create index on {table.target} ({identifier(table.spec.date_column)})")


def _comment(session: Session, table: _Table) -> None:
    """What the models say of themselves, where BI tools show it; in this transaction like everything else."""
    if table.spec.description:
        session.execute(f"comment on table {table.target} is {literal(table.spec.description)}")
    names = {name for name, _ in table.columns}
    for column, text in table.spec.comments.items():
        if column in names and text:
            session.execute(f"comment on column {table.target}.{identifier(column)} is {literal(text)}")


def _shape_periodic(session: Session, table: _Table, *, known: bool) -> None:
    found = _columns(session, table.target)
    if found == table.columns:
        return
    if found and known:
        wait_for_readers(session)
    added = [(name, column_type) for name, column_type in table.columns if name not in dict(found)]
    if not found:
        _create(session, table)
    elif [pair for pair in table.columns if pair in found] == list(found):
        for name, column_type in added:
            session.execute(f"alter table {table.target} add column {identifier(name)} {column_type}")
    else:
        session.execute(f"drop table {table.target}")
        _create(session, table)


def _bring(session: Session, table: _Table) -> int:
    """Make the published table hold exactly the built rows; gives how many."""
    built = int(session.value(f"select count(*) from {table.source}"))
    if table.spec.key:
        changed = _bring_changed(session, table)
        if int(session.value(f"select count(*) from {table.target}")) == built:
            if changed:
                session.execute(f"analyze {table.target}")
            return built
    session.execute(f"delete from {table.target}")
    session.execute(f"insert into {table.target} ({table.names}) select {table.names} from {table.source}")
    session.execute(f"analyze {table.target}")
    return built


def _bring_changed(session: Session, table: _Table) -> bool:
    """Delete what is not built so, insert what is not published so: by key, then column for column."""
    keys = " and ".join(f"b.{identifier(k)} = m.{identifier(k)}" for k in table.spec.key)
    ours, theirs = (", ".join(f"{alias}.{identifier(name)}" for name, _ in table.columns) for alias in "mb")
    same = f"{keys} and ({ours}) is not distinct from ({theirs})"
    of_m, of_b = _touched(table, "m"), _touched(table, "b")
    deleted = session.value(
        f"with gone as (delete from {table.target} as m where {of_m} not exists "
        f"(select from {table.source} as b where {of_b} {same}) returning 1) select count(*) from gone"
    )
    kept = f"select from {table.target} as m where {of_m} {same}"
    inserted = session.value(
        f"with come as (insert into {table.target} ({table.names}) select {theirs} from {table.source} as b "
        f"where {of_b} not exists ({kept}) returning 1) select count(*) from come"
    )
    return bool(deleted or inserted)


def _touched(table: _Table, alias: str) -> str:
    """The condition that holds for rows of days that the build touched."""
    if table.days is None or table.spec.date_column is None:
        return ""
    column = f"{alias}.{identifier(table.spec.date_column)}"
    return f"({column} in (select business_date from {table.days})) and"


def _carried(session: Session, run: DayRun, places: Places, base: PgVersion | None) -> dict[str, PgTable]:
    """The periodic tables, with the dates before the run's; those with none are no tables of the version."""
    kept = {}
    for name, table in base.tables.items() if base else ():
        if not table.periodic:
            continue
        target = relation(places.marts, name)
        session.execute(f"delete from {target} where as_of_date >= {_day(run.as_of)}")
        rows = int(session.value(f"select count(*) from {target}"))
        if rows:
            kept[name] = PgTable(table.columns, rows, periodic=True)
    return kept


def _require_date(session: Session, name: str, as_of: date) -> None:
    others = session.value(f"select count(*) from {_ARRIVING} where as_of_date is distinct from {_day(as_of)}")
    if others:
        raise ContractViolation(Problem(name, f"{others} rows are not of {as_of}", "publish each date by its own run"))


def _day(day: date) -> str:
    return f"date {literal(day.isoformat())}"


def _publish_contacts(session: Session, run: DayRun, places: Places) -> None:
    """Keep the run's addresses in the schema of delivery, if there is such a model."""
    source = relation(f"{places.prefix}private", "contacts")
    known = {name for name, _ in _columns(session, source)}
    if not known:
        return
    names = [name for name in _CONTACTS if name in known]
    session.execute(f"delete from {DELIVERY}.contacts where run_id = $1", [run.run_id])
    columns = ", ".join(names)
    session.execute(
        f"insert into {DELIVERY}.contacts (run_id, {columns}) select {literal(run.run_id)}, {columns} from {source}"
    )
    if run.is_latest:
        session.execute(f"delete from {DELIVERY}.current_run")
        session.execute(f"insert into {DELIVERY}.current_run values ($1)", [run.run_id])


def clear_out(settings: Settings, *, keep: Collection[str]) -> None:
    """Remove the addresses of every run but the published ones and those of the versions in `keep`."""
    with open_session(settings) as session:
        runs = f"select run_id from marts.published_versions where id in ({texts(sorted(keep))})"
        current = "select distinct on (place) run_id from marts.published_versions order by place, seq desc"
        session.execute(
            f"delete from {DELIVERY}.contacts where run_id not in ({runs}) and run_id not in ({current}) "
            f"and run_id not in (select run_id from {DELIVERY}.current_run)"
        )
        session.commit()
