"""The table or the wrapped query: what it is called in SQL, and which columns it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import sqlglot
from sqlalchemy.sql import quoted_name
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from perennial.core.errors import ConfigError
from perennial.sources.database.errors import told
from perennial.sources.database.place import DELETED, Place
from perennial.sources.database.session import Session

# PostgreSQL, SQLite, MySQL
_MISSING_TABLE = re.compile(r"(?:relation \"|no such table: |Table ')(?:[^\"'.]*\.)?([^\"'.]+)")
_ALIAS = "perennial_query"
_GLOT = {"postgresql": "postgres", "mssql": "tsql"}


@dataclass(frozen=True)
class Column:
    """A column of the relation; `code` is the driver's number of its type, where it has one."""

    name: str
    code: int | None

    @property
    def sql(self) -> sa.ColumnClause[Any]:
        """The column, always quoted."""
        return sa.column(quoted_name(self.name, quote=True))


@dataclass(frozen=True)
class Relation:
    """What is read, described by the database itself."""

    source: Any  # sa.FromClause or sa.TextClause
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    def select(self, *what: Any) -> sa.Select[Any]:
        """A select from the relation."""
        return sa.select(*what).select_from(self.source)


def relation_of(session: Session) -> Relation:
    """The relation with its columns. Raises ConfigError for a table that is not there and a query that is not one."""
    place = session.place
    source = _table(session, place.read.table) if place.read.table else _wrapped(place, session.dialect)
    with _nearest_table(session), told(place), session.limited():
        result: sa.CursorResult[Any] = session.connection.execute(
            sa.select(sa.literal_column("*")).select_from(source).where(sa.false())
        )
        description = [(str(one[0]), one[1]) for one in result.cursor.description] if result.cursor else []
        result.close()
    columns = tuple(Column(name, code if isinstance(code, int) else None) for name, code in description)
    _refuse_twice(place, [column.name for column in columns])
    return Relation(source, columns)


@contextmanager
def _nearest_table(session: Session) -> Iterator[None]:
    """A query that names a table which is not there is told with the nearest that is."""
    try:
        yield
    except ConfigError as error:
        [problem] = error.problems
        missing = _MISSING_TABLE.search(problem.message)
        if missing is None:
            raise
        session.connection.rollback()
        inspector = sa.inspect(session.connection)
        known = [*inspector.get_table_names(), *inspector.get_view_names()]
        raise session.place.error(problem.message, nearest(missing.group(1), known)) from None


def refuse_missing(place: Place, relation: Relation) -> None:
    """Raise ConfigError for columns that sources.yml names and the relation does not have, each with the nearest."""
    names = [column.name for column in relation.columns]
    entity, read = place.entity, place.read
    wanted = {f"columns.{name}": column.source for name, column in entity.columns.items()}
    wanted |= {f"database.key[{index}]": name for index, name in enumerate(read.key)}
    wanted |= {"database.watermark": read.watermark} if read.watermark else {}
    wanted |= {"version": entity.version} if entity.version else {}
    if entity.deleted is not None and read.mode != "snapshot":
        wanted |= {"deleted.column": entity.deleted.column}
    for field, name in wanted.items():
        if name not in names:
            raise place.error(f"{field}: there is no column {name!r}", nearest(name, names))


def nearest(name: str, names: Iterable[str]) -> str:
    """What may have been meant."""
    known = list(names)
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"did you mean {lower[found[0]]!r}?" if found else f"there is {', '.join(sorted(known)[:30]) or 'nothing'}"


def _refuse_twice(place: Place, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise place.error(f"the query gives the column {twice[0]!r} twice", "name each once, with `as`")
    if place.read.mode == "snapshot" and DELETED in names:
        raise place.error(
            f"{DELETED} is a column of the table, and ours in a snapshot", "read it by a query that renames it"
        )


def _table(session: Session, name: str) -> sa.TableClause:
    """The table or view of that name, with or without its schema in front."""
    with told(session.place), session.limited():
        inspector = sa.inspect(session.connection)
        for schema, table in _readings(name):
            if inspector.has_table(table, schema=schema):
                return sa.table(
                    quoted_name(table, quote=True), schema=quoted_name(schema, quote=True) if schema else None
                )
        schema = _readings(name)[-1][0]
        known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    shown = [f"{schema}.{one}" if schema else one for one in known]
    raise session.place.error(f"database.table: there is no table {name!r}", nearest(name, shown))


def _readings(name: str) -> list[tuple[str | None, str]]:
    """`a.b` is the table b of the schema a, unless a table is called so."""
    schema, point, table = name.partition(".")
    return [(None, name), (schema, table)] if point else [(None, name)]


def _wrapped(place: Place, dialect: str) -> sa.TextClause:
    """The query in brackets, as text in which nothing is a parameter (a colon stays a colon)."""
    query = checked_query(place, dialect)
    escaped = query.replace(":", "\\:")
    return sa.text(f"({escaped}\n) {_ALIAS}")


def checked_query(place: Place, dialect: str) -> str:
    """The query, if it is one statement that cannot leave its brackets. Raises ConfigError if not."""
    query, depth = (place.read.query or "").strip().removesuffix(";"), 0
    try:
        tokens = sqlglot.tokenize(query, read=_GLOT.get(dialect, dialect if dialect in _KNOWN else None))
    except SqlglotError:
        raise place.error("database.query cannot be read: a quotation mark is not closed", "correct it") from None
    for token in tokens:
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth < 0 or token.token_type is TokenType.SEMICOLON:
            raise place.error("database.query is more than one statement", "write one select, brackets balanced")
    if depth or not tokens:
        raise place.error("database.query is not whole", "write one select, brackets balanced")
    return query


_KNOWN = {"mysql", "sqlite", "oracle", "snowflake", "bigquery", "clickhouse", "redshift", "trino", "duckdb"}
