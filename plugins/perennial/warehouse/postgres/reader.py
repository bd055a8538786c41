"""Reading what is published in PostgreSQL: for the steps of a day, in DuckDB's SQL, and for people, in PostgreSQL's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, PermanentError, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.postgres.dialect import FUNCTIONS, translate
from perennial.warehouse.postgres.places import ASKING, BI_READER, DELIVERY, LATEST
from perennial.warehouse.postgres.session import DatabaseError, Session, first_line, open_session
from perennial.warehouse.postgres.versions import PgVersion, find_version, hold

Params = Sequence[Any] | Mapping[str, Any]
_ROWS = 100_000


class PublishedInPostgres:
    """One published version, as of one moment; temporary tables end with it."""

    def __init__(self, session: Session, version: PgVersion) -> None:
        self._session = session
        self.version = version

    @property
    def manifest(self) -> dict[str, Any]:
        """The version's manifest: id, run_id, as_of, step, and per table its rows and columns."""
        return self.version.as_manifest()

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """Name and SQL type (DuckDB's name of it) of the columns of each published table."""
        return {name: list(table.columns) for name, table in self.version.tables.items()}

    def query(self, sql: str, params: Params = ()) -> pa.Table:
        """The whole result."""
        return self._session.table(*self._last_of(sql, params))

    def batches(self, sql: str, params: Params = (), rows: int = _ROWS) -> Iterator[pa.RecordBatch]:
        """The result in batches of at most `rows` rows, as it arrives (L26); end it before the next query."""
        yield from self._session.batches(*self._last_of(sql, params), rows=rows)

    def register(self, name: str, data: pa.Table) -> None:
        """Make an Arrow table a temporary relation to join with."""
        self._fill(name, data.schema, data.to_batches())

    def register_parquet(self, name: str, path: Path) -> None:
        """Make one Parquet file a temporary relation to join with."""
        with pq.ParquetFile(path) as file:
            self._fill(name, file.schema_arrow, file.iter_batches(_ROWS))

    def register_contacts(self, run: DayRun, name: str) -> None:
        """The run's addresses as a temporary view. Raises ContractViolation when the run has published none."""
        where = f"from {DELIVERY}.contacts where run_id = {literal(run.run_id)}"
        if not self._session.value(f"select exists (select {where})"):
            raise ContractViolation(
                Problem("private", f"run {run.run_id} has no private contacts", "publish the run again")
            )
        columns = "client_id, first_name, last_name, email, phone, birth_date"
        self._session.execute(f"create temp view {identifier(name)} as select {columns} {where}")

    def execute(self, sql: str, params: Params = ()) -> None:
        """Run a statement without a result: temporary tables (`create temp table ...`)."""
        self._run(sql, params)

    def _fill(self, name: str, schema: pa.Schema, batches: Any) -> None:
        self._session.execute(f"drop table if exists {identifier(name)}")
        self._session.create(identifier(name), schema, kind="temp table")
        self._session.append(name, batches, schema)
        self._session.execute(f"analyze {identifier(name)}")

    def _run(self, sql: str, params: Params) -> None:
        for text, values in translate(sql, params):
            self._session.execute(text, values)
            if text.lower().startswith("create temporary table"):
                name = text.split()[3].partition("(")[0]
                self._session.execute(f"analyze {name}")  # nobody else does, and plans stand on it

    def _last_of(self, sql: str, params: Params) -> tuple[str, list[Any]]:
        return translate(sql, params)[-1]


@contextmanager
def open_published(settings: Settings, version_id: str | None = None) -> Iterator[PublishedInPostgres]:
    """The version by its id, or the current one, as of now; publications meanwhile do not show.

    A version is there until a later run is published in its place: then it is gone. Raises ContractViolation when
    nothing is published, or the version is gone.
    """
    with open_session(settings) as session:
        hold(session)
        version = find_version(session, version_id)
        session.execute(f"set local search_path = {version.place}, pg_temp")
        for function in FUNCTIONS:
            session.execute(function)
        yield PublishedInPostgres(session, version)


def run_sql(settings: Settings, sql: str, *, version_id: str | None = None) -> pa.RecordBatchReader:
    """The result of one reading statement of people on schema `marts`, in PostgreSQL's SQL.

    It runs read-only, as the role `bi_reader`, for at most the settings' `statement_seconds`. Raises PermanentError for
    a statement that is wrong or does more than read.
    """
    with ExitStack() as stack:
        session = stack.enter_context(open_session(settings))
        hold(session)
        version = find_version(session, version_id)
        if version.place != LATEST.marts:
            raise PermanentError(Problem("sql", "people read the newest day alone", "ask without a version"))
        _require_role(session)
        session.execute("set local transaction_read_only = on")
        session.execute(f"set local statement_timeout = '{settings.file.warehouse.statement_seconds}s'")
        session.execute(f"set local search_path = {version.place}, pg_temp")
        try:
            schema, batches = _ask(session, _known(sql))
        except DatabaseError as error:
            raise PermanentError(Problem("sql", first_line(error), 'see `perennial sql "show tables"`')) from None
        return pa.RecordBatchReader.from_batches(schema, _until_read(schema, batches, stack.pop_all()))


def _require_role(session: Session) -> None:
    if not session.value("select to_regprocedure($1) is not null", [f"{ASKING}.ask(text)"]):
        fix = "let a user who may create roles run `perennial warehouse init`"
        raise ContractViolation(Problem("sql", f"the role {BI_READER}, as which people read, is not there", fix))


_TABLES = """
select c.relname as name, obj_description(c.oid) as description
from pg_class as c where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v') order by 1
"""
_DESCRIBE = """
select attname as column_name, format_type(atttypid, atttypmod) as column_type,
    col_description(attrelid, attnum) as description
from pg_attribute where attrelid = '{}'::regclass and attnum > 0 and not attisdropped order by attnum
"""


def _known(sql: str) -> str:
    """What DuckDB has and PostgreSQL has not: `show tables` and `describe <table>`."""
    words = sql.strip().rstrip(";").lower().split()
    if words == ["show", "tables"]:
        return _TABLES
    if words[:1] == ["describe"] and "_".join(words[1:]).replace("_", "").isalnum():
        return _DESCRIBE.format("_".join(words[1:]))
    return sql


def _ask(session: Session, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The statement inside `asking.ask`, with the columns that PostgreSQL finds in it before anything is run."""
    columns = session.described(sql)
    if not columns:
        problem = "one statement that reads is expected"
        raise PermanentError(Problem("sql", problem, "ask with select, with, values, table or explain"))
    listed = ", ".join(f"{identifier(f'c{place}')} {column_type}" for place, (_, column_type) in enumerate(columns))
    query = f"select * from {ASKING}.ask($1) as asked ({listed})"
    names = [name for name, _ in columns]
    batches = session.batches(query, [sql], rows=_ROWS)
    first = next(batches, None)  # mistakes that only show when it runs are told at once
    if first is None:
        schema = session.schema(query, [sql])
        return pa.schema([pa.field(n, f.type) for n, f in zip(names, schema, strict=True)]), iter(())
    schema = pa.schema([pa.field(name, field.type) for name, field in zip(names, first.schema, strict=True)])
    return schema, _and_rest(first, batches)


def _and_rest(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _until_read(schema: pa.Schema, batches: Iterator[pa.RecordBatch], held: ExitStack) -> Iterator[pa.RecordBatch]:
    with held:
        try:
            for batch in batches:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except DatabaseError as error:
            raise PermanentError(Problem("sql", first_line(error), "correct the statement")) from None
