"""Reading what was published: for the steps of a day, for pages, and for people with SQL."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from perennial.core.errors import ContractViolation, PermanentError, Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.duck import Connection, connect, first_value, parquet_list
from perennial.warehouse.versions import Version, current_id, parse_manifest, parts_dir, versions_dir, view_sql

Params = Sequence[Any] | Mapping[str, Any]
_ROWS = 100_000
# A statement of these kinds only reads; its text is never changed by us, and it stands alone.
_READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class Published:
    """One published version, opened for reading; temporary tables live in memory and end with it."""

    def __init__(self, connection: Connection, version: Version) -> None:
        self._connection = connection
        self.version = version

    @property
    def manifest(self) -> dict[str, Any]:
        """The version's manifest: id, run_id, as_of, step, and per table its rows, columns and parts."""
        return self.version.as_manifest()

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """Name and SQL type of the columns of each published table."""
        return {name: list(table.columns) for name, table in self.version.tables.items()}

    def query(self, sql: str, params: Params = ()) -> pa.Table:
        """The whole result: for what is small, or grows with clients and was asked for by columns."""
        return self._relation(sql, params).to_arrow_table()

    def batches(self, sql: str, params: Params = (), rows: int = _ROWS) -> Iterator[pa.RecordBatch]:
        """The result in batches of at most `rows` rows, while it is computed (L26); end it before the next query."""
        with self._relation(sql, params).to_arrow_reader(rows) as reader:
            yield from reader

    def register(self, name: str, data: pa.Table) -> None:
        """Make an Arrow table a temporary relation to join with."""
        self._connection.register(name, data)

    def register_parquet(self, name: str, path: Path) -> None:
        """Make one Parquet file a temporary relation to join with: the private contacts, for delivery alone."""
        view = f"create or replace temp view {identifier(name)} as select * from {parquet_list([path])}"
        self._connection.execute(view).fetchall()

    def execute(self, sql: str, params: Params = ()) -> None:
        """Run a statement without a result: temporary tables (`create temp table ...`)."""
        self._connection.execute(sql, _bound(params)).fetchall()

    def _relation(self, sql: str, params: Params) -> Any:
        # A relation streams; what `execute` returns is the whole result in memory first (duckdb 2.0).
        return self._connection.sql(sql, params=_bound(params))


def _bound(params: Params) -> list[Any] | dict[str, Any]:
    return dict(params) if isinstance(params, Mapping) else list(params)


@contextmanager
def open_published(settings: Settings, version_id: str | None = None) -> Iterator[Published]:
    """The version by its id, or `current`; it stays readable until closed, whatever is published or pruned meanwhile.

    Raises ContractViolation when nothing is published, or the version is gone.
    """
    with ExitStack() as stack:
        version = _hold(settings, version_id, stack)
        connection = stack.enter_context(closing(connect(settings)))
        _attach(settings, connection, version)
        yield Published(connection, version)


def _attach(settings: Settings, connection: Connection, version: Version) -> None:
    """The version's views, on the search path. In a home that was moved or copied they are made anew, in memory.

    The views of warehouse.duckdb hold absolute paths, for BI tools know no other; the manifest's parts are relative.
    """
    path = versions_dir(settings) / version.id / "warehouse.duckdb"
    connection.execute(f"attach {literal(str(path))} as published (read_only)")
    if not _is_of_this_place(settings, connection):
        connection.execute("detach published")
        connection.execute("attach ':memory:' as published")
        for name, table in version.tables.items():
            connection.execute(f"create view published.main.{identifier(name)} as {view_sql(settings, table)}")
    connection.execute("set search_path = 'published.main'")


def _is_of_this_place(settings: Settings, connection: Connection) -> bool:
    """Whether the views read the parts below this home: one of them tells, for all were made together."""
    view = first_value(
        connection, "select sql from duckdb_views() where database_name = 'published' and not internal limit 1"
    )
    return view is None or literal(f"{parts_dir(settings)}/")[:-1] in view


def _hold(settings: Settings, version_id: str | None, stack: ExitStack) -> Version:
    wanted = version_id or current_id(settings)
    if wanted is None:
        raise ContractViolation(Problem("warehouse/current", "nothing is published yet", "run a day first"))
    if not (wanted.replace("-", "").replace("_", "").isalnum()):
        raise ContractViolation(
            Problem("warehouse/versions", f"{wanted[:80]!r} is not a version", "name one that exists")
        )
    path = versions_dir(settings) / wanted / "manifest.json"
    try:
        manifest: IO[str] = stack.enter_context(path.open(encoding="utf-8"))
        fcntl.flock(manifest, fcntl.LOCK_SH)  # pruning leaves a version alone that someone holds
        still_there = path.exists()
    except FileNotFoundError:
        still_there = False
    if still_there:
        return parse_manifest(manifest.read())
    if version_id is None and current_id(settings) != wanted:
        return _hold(settings, None, stack)  # published anew, and pruned, while we looked
    raise ContractViolation(Problem(f"warehouse/versions/{wanted}", "this version is gone", "publish the day again"))


def run_sql(settings: Settings, sql: str, *, version_id: str | None = None) -> pa.RecordBatchReader:
    """The result of one reading statement on the published tables, in batches; the version is held until it is read.

    Nothing but the published parts can be reached: no other file, no network, no extension, no setting (L22, L23).
    Raises PermanentError for a statement that is wrong or does more than read.
    """
    with ExitStack() as stack:
        published = stack.enter_context(open_published(settings, version_id))
        connection = published._connection  # in this module, and nobody else is to have it
        _lock_down(settings, connection, published.version)
        try:
            _require_reading(connection, sql)
            reader = connection.sql(sql).to_arrow_reader(_ROWS)
        except duckdb.Error as error:
            raise PermanentError(Problem("sql", _first_line(error), 'see `perennial sql "show tables"`')) from None
        return pa.RecordBatchReader.from_batches(reader.schema, _until_read(reader, stack.pop_all()))


def _lock_down(settings: Settings, connection: Connection, version: Version) -> None:
    allowed = [parts_dir(settings) / part.path for table in version.tables.values() for part in table.files]
    files = ", ".join(literal(str(path)) for path in allowed)
    connection.execute(f"set allowed_paths = [{files}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _require_reading(connection: Connection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READS:
        found = ", ".join(statement.type.name.lower() for statement in statements) or "nothing"
        problem = f"one statement that reads is expected, this is: {found}"
        raise PermanentError(Problem("sql", problem, "ask with select, from, describe, summarize, show or explain"))


def _until_read(reader: pa.RecordBatchReader, held: ExitStack) -> Iterator[pa.RecordBatch]:
    with held:
        try:
            yield from reader
        except (OSError, pa.ArrowException) as error:  # what DuckDB says in the middle of a result comes through Arrow
            raise PermanentError(Problem("sql", _first_line(error), "correct the statement")) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
