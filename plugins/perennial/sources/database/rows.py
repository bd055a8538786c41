"""From a select to record batches: by ADBC's Arrow where there is a driver, else by a server-side cursor.

By ADBC columns have types; by a cursor every column is text, written so that nothing is lost (decimals in full, times
as ISO 8601). Ingestion reads both alike. What has no plain type (numeric, money, json, uuid, arrays, bytes) is text in
both; bytes are hexadecimal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from perennial.contracts.entities import ENTITIES
from perennial.sources.database.errors import kind_of, told
from perennial.sources.database.relation import Column, Relation
from perennial.sources.database.session import Session, postgresql_settings
from perennial.sources.database.watermark import Range, bound, conditions

# OIDs of PostgreSQL's catalog pg_type, which never change.
_BYTEA, _MONEY = 17, 790
_BOUND_AS = {
    20: "bigint", 21: "bigint", 23: "bigint", 26: "bigint", 700: "double precision", 701: "double precision",
    1700: "numeric", 1082: "date", 1114: "timestamp", 1184: "timestamptz",
}  # fmt: skip
_PLAIN = {16, 19, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1114, 1184}
_TEXTS = {19, 25, 1042, 1043}
_SNAPSHOT_ID = re.compile(r"[0-9A-Fa-f-]{1,64}")
_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]00:00(:00(\.0+)?)?")
_WHOLE = 1e15


@contextmanager
def batches_of(session: Session, relation: Relation, span: Range | None) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows of the range, or all, in batches; the reading ends with the block."""
    if session.dialect == "postgresql" and session.place.connection.extra.get("adbc", True) not in {False, "false"}:
        with _by_adbc(session, relation, span) as batches:
            yield batches
        return
    yield _by_cursor(session, relation, span)


def _by_cursor(session: Session, relation: Relation, span: Range | None) -> Iterator[pa.RecordBatch]:
    as_text = session.dialect == "postgresql"  # its own text is exact, also where Python has no such date
    statement = relation.select(*[_pg_text(c) if as_text else c.sql for c in relation.columns])
    if span is not None:
        lower = None if span.lower is None else bound(span, span.lower)
        statement = statement.where(*conditions(span, lower, bound(span, span.upper)))
    schema = pa.schema([(column.name, pa.string()) for column in relation.columns])
    texts = _texts_of(session, relation.columns)
    with told(session.place), session.limited():
        options = {"stream_results": True, "yield_per": session.place.options.chunk_rows}
        result = session.connection.execute(statement, execution_options=options)
        for rows in result.partitions():
            columns = [
                pa.array([to(v) for v in values], pa.string())
                for to, values in zip(texts, zip(*rows, strict=True), strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _texts_of(session: Session, columns: Sequence[Column]) -> list[Callable[[Any], str | None]]:
    """For each column how its values become text; midnight is dropped where the contract wants a date."""
    kinds = ENTITIES[session.place.entity.entity].columns
    mapped = session.place.entity.columns.items()
    dates = {column.source for name, column in mapped if kinds[name].type == "date"}
    return [_as_day if column.name in dates else as_text for column in columns]


def as_text(value: Any) -> str | None:
    """A value of a driver as exact text; null stays null."""
    if value is None or isinstance(value, str):
        return value
    return next((to(value) for kinds, to in _TEXT_OF if isinstance(value, kinds)), str(value))


def _float(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < _WHOLE else repr(value)


# The first that fits; a bool is an int, and a datetime a date.
_TEXT_OF: list[tuple[type | tuple[type, ...], Callable[[Any], str]]] = [
    (bool, lambda value: "true" if value else "false"),
    (float, _float),
    (Decimal, lambda value: format(value, "f")),
    (datetime, lambda value: (value.astimezone(UTC) if value.tzinfo else value).isoformat(sep=" ")),
    ((bytes, bytearray, memoryview), lambda value: bytes(value).hex()),
    ((dict, list), lambda value: json.dumps(value, default=str, ensure_ascii=False)),
]


def _as_day(value: Any) -> str | None:
    text = as_text(value)
    match = _MIDNIGHT.fullmatch(text) if text else None
    return match.group(1) if match else text


def _pg_text(column: Column) -> Any:
    plain = column.sql if column.code in _TEXTS else sa.cast(_pg_plain(column), sa.Text)
    return plain.label(column.sql.name)


def _pg_plain(column: Column) -> Any:
    """The column as a type that ADBC and text have alike."""
    if column.code in _PLAIN:
        return column.sql
    if column.code == _BYTEA:
        return sa.func.encode(column.sql, "hex")
    inner = sa.cast(column.sql, sa.Numeric) if column.code == _MONEY else column.sql
    return sa.cast(inner, sa.Text)


@contextmanager
def _by_adbc(session: Session, relation: Relation, span: Range | None) -> Iterator[Iterator[pa.RecordBatch]]:
    """COPY in binary to Arrow, in the snapshot of the session: the same rows that its upper bound was taken from."""
    import adbc_driver_postgresql.dbapi as adbc

    statement = relation.select(*[_pg_plain(c).label(c.sql.name) for c in relation.columns])
    values: list[tuple[str, str]] = []
    if span is not None:
        code = relation.column(session.place.read.watermark or "").code
        kind = _BOUND_AS.get(code or 0, "text")
        bounds: list[Any] = [
            sa.literal_column(f"cast(current_setting('perennial.{end}') as {kind})") for end in ("lower", "upper")
        ]
        statement = statement.where(*conditions(span, *bounds))
        values = [("perennial.upper", str(bound(span, span.upper)))]
        values += [("perennial.lower", str(bound(span, span.lower)))] if span.lower is not None else []
    dialect: sa.Dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    text = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    snapshot = str(session.one(sa.select(sa.func.pg_export_snapshot()))[0])
    assert _SNAPSHOT_ID.fullmatch(snapshot)  # noqa: S101 - it is PostgreSQL that names it
    with ExitStack() as stack:
        with told(session.place):
            connection = stack.enter_context(adbc.connect(dsn_of(session)))
            cursor = stack.enter_context(connection.cursor())
            cursor.execute("set transaction isolation level repeatable read read only")
            _enter_snapshot(session, cursor, snapshot)
            for name, value in [*postgresql_settings(session), *values]:
                cursor.execute("select set_config($1, $2, true)", (name, value))
                cursor.fetchall()
            cursor.execute(text)
            reader = stack.enter_context(cursor.fetch_record_batch())
        yield _told_batches(session, reader)


def _enter_snapshot(session: Session, cursor: Any, snapshot: str) -> None:
    """See what the session sees. Behind a balancer the two may be at two servers, of which one lags: that is told."""
    from adbc_driver_manager import DatabaseError

    try:
        cursor.execute(f"set transaction snapshot '{snapshot}'")
    except DatabaseError as error:
        if kind_of(error) == "away":
            raise
        message = f"two connections to {session.place.options.id} do not see one server's snapshot"
        fix = f"name one server in connection {session.place.options.id}, or set adbc: false in its extra"
        raise session.place.error(message, fix) from None


def _told_batches(session: Session, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The reader's batches; a connection that drops between two of them is told as such."""
    with told(session.place):
        yield from reader


def dsn_of(session: Session) -> str:
    """The connection in libpq's words, with the password: never shown."""
    from psycopg2.extensions import make_dsn

    url = session.url
    given = {"host": url.host, "port": url.port, "user": url.username, "password": url.password, "dbname": url.database}
    return str(make_dsn(**{key: value for key, value in {**given, **url.query}.items() if value is not None}))
