"""Sessions on the PostgreSQL of the warehouse: Arrow in and out by COPY (ADBC), one transaction at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pyarrow.compute as pc

from perennial.core.errors import ContractViolation, PermanentError, Problem, RetryableError
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal

DatabaseError = adbc_driver_manager.Error
_NUMERIC, _HEADER = "numeric", 4  # a numeric's typmod: precision and scale, above a header of 4
_WIDEST, _SCALE = 38, 6
_BUSY = ("08", "53", "57", "55P03", "40001", "40P01")  # no connection, no resources, shut down, locked, in conflict
_NOT_ALLOWED = "42501"
_TYPES = {
    pa.string(): "text", pa.large_string(): "text", pa.int64(): "bigint", pa.int32(): "integer", pa.bool_(): "boolean",
    pa.float64(): "double precision", pa.date32(): "date", pa.timestamp("us"): "timestamp",
}  # fmt: skip


class Session:
    """One transaction of one connection; what is not committed never was. SQL is PostgreSQL's."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        """Run one statement without a result."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(params) or None)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result; decimals as text."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(params) or None)
            return cast("list[tuple[Any, ...]]", cursor.fetchall())

    def value(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first column of the first row; None when there is none."""
        found = self.rows(sql, params)
        return found[0][0] if found else None

    def table(self, sql: str, params: Sequence[Any] = ()) -> pa.Table:
        """The whole result; a numeric without a declared scale has that of its longest value."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(params) or None)
            found = cursor.fetch_arrow_table()
        columns = [
            _plain(column, _decimal_of(field, column)) for field, column in zip(found.schema, found, strict=True)
        ]
        return pa.table(columns, names=found.schema.names)

    def batches(self, sql: str, params: Sequence[Any] = (), *, rows: int) -> Iterator[pa.RecordBatch]:
        """The result in batches of at most `rows` rows, as it arrives."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(params) or None)
            reader = cursor.fetch_record_batch()
            for batch in reader:
                columns = [_plain(c, _decimal_of(f)) for f, c in zip(batch.schema, batch.columns, strict=True)]
                whole = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
                for start in range(0, whole.num_rows, rows):
                    yield whole.slice(start, rows)

    def schema(self, sql: str, params: Sequence[Any] = ()) -> pa.Schema:
        """Names and types of the result's columns, without a row of it."""
        return self.table(f"select * from ({sql}) as described limit 0", params).schema

    def described(self, sql: str) -> list[tuple[str, str]]:
        """Name and PostgreSQL type of the columns of one statement, which is read and neither planned nor run."""
        with self._connection.cursor() as cursor:
            found = cursor.adbc_execute_schema(sql)
        return [(field.name, self._type_name(field)) for field in found]

    def _type_name(self, field: pa.Field) -> str:
        about = field.metadata or {}
        name, modifier = about[b"POSTGRESQL:type"].decode(), int(about.get(b"POSTGRESQL:typmod", b"-1"))
        return str(self.value("select format_type(cast($1 as regtype), cast($2 as integer))", [name, modifier]))

    def create(self, relation: str, schema: pa.Schema, *, kind: str = "table") -> None:
        """Create a table of these columns; `relation` is SQL that the caller has quoted."""
        columns = ", ".join(f"{identifier(field.name)} {sql_type(field.type)}" for field in schema)
        self.execute(f"create {kind} {relation} ({columns})")

    def append(self, name: str, data: Iterable[pa.RecordBatch], schema: pa.Schema, *, into: str | None = None) -> int:
        """Copy batches of one schema into the table `name` of the schema `into`, or of this session; gives the rows."""
        reader = pa.RecordBatchReader.from_batches(schema, (_without_nul(batch) for batch in data))
        place: dict[str, Any] = {"temporary": True} if into is None else {"db_schema_name": into}
        with self._connection.cursor() as cursor:
            return int(cursor.adbc_ingest(name, reader, mode="append", **place))

    def commit(self) -> None:
        """Make everything until now last, and begin anew."""
        self._connection.commit()


def sql_type(arrow: pa.DataType) -> str:
    """PostgreSQL's type for a type of Arrow. Raises ContractViolation for one that nobody uses."""
    if pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision},{arrow.scale})"
    known = _TYPES.get(arrow)
    if known is None:
        raise ContractViolation(Problem("warehouse", f"no column may be of the type {arrow}", "cast it"))
    return known


def _decimal_of(field: pa.Field, values: pa.ChunkedArray | None = None) -> pa.DataType | None:
    """The decimal type of a column that is a numeric; None for other columns."""
    about = field.metadata or {}
    if about.get(b"POSTGRESQL:type") != _NUMERIC.encode():
        return None
    modifier = int(about.get(b"POSTGRESQL:typmod", b"-1")) - _HEADER
    if modifier >= 0:
        return pa.decimal128(modifier >> 16 & 0xFFFF, modifier & 0x7FF)
    scale = _SCALE if values is None else _longest_scale(values)
    return pa.decimal128(_WIDEST, scale)


def _longest_scale(values: pa.ChunkedArray) -> int:
    texts = _storage(values)
    behind = pc.utf8_length(pc.replace_substring_regex(texts, r"^[^.]*\.?", ""))
    return int(pc.max(behind).as_py() or 0)


def _storage(column: Any) -> Any:
    return column.cast(pa.string()) if isinstance(column, pa.ChunkedArray) else column.storage


def _plain(column: Any, decimal: pa.DataType | None) -> Any:
    return column if decimal is None else _storage(column).cast(decimal)


def _without_nul(batch: pa.RecordBatch) -> pa.RecordBatch:
    """PostgreSQL keeps no zero characters in texts: each becomes U+FFFD."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_string(field.type) and pc.any(pc.match_substring(batch.column(index), "\0")).as_py():
            batch = batch.set_column(index, field, pc.replace_substring(batch.column(index), "\0", "\ufffd"))
    return batch


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """A session on the warehouse's database; what it did not commit is undone at the end.

    Raises RetryableError while the server cannot be reached or is busy, ContractViolation for a right that is missing,
    PermanentError for what else the server refuses.
    """
    try:
        with closing(adbc_driver_postgresql.dbapi.connect(str(settings.warehouse_url))) as connection:
            session = Session(connection)
            session.execute("set timezone = 'UTC'")
            session.execute("set application_name = 'perennial'")
            session.execute("set client_min_messages = error")
            session.commit()
            yield session
    except DatabaseError as error:
        raise told(error) from None  # the driver's own message may hold values of rows, and the server's address


def told(error: DatabaseError) -> PermanentError | RetryableError | ContractViolation:
    """The error as one of ours: PostgreSQL's first line, without its details, which show values (L22)."""
    state = error.sqlstate or ""
    message = first_line(error)
    if state == _NOT_ALLOWED:
        fix = "let a user with more rights run `perennial warehouse init`, which says what is missing"
        return ContractViolation(Problem("warehouse", message, fix))
    if not state or state.startswith(_BUSY):
        return RetryableError(Problem("warehouse", message, "see that the server of PERENNIAL_WAREHOUSE_URL answers"))
    return PermanentError(Problem("warehouse", f"{message} ({state})", "report it with the run's id"))


def first_line(error: DatabaseError) -> str:
    """What PostgreSQL says, without the driver's words before it and without the values behind it."""
    lines = [line for line in str(error).splitlines() if "ERROR:" in line or "FATAL:" in line] or [str(error)]
    text = lines[0].strip().splitlines()[0] if lines[0].strip() else type(error).__name__
    for mark in ("ERROR:", "FATAL:"):
        text = text.rpartition(mark)[2].strip()
    return text


def texts(values: Iterable[str]) -> str:
    """SQL of a list of texts, for `in (...)`; `('')` when there is none."""
    return ", ".join(map(literal, values)) or "''"
