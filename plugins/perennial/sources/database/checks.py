"""Asking a database, step by step, whether it can be read as sources.yml says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from perennial.core.errors import PerennialError
from perennial.sources.database.errors import told
from perennial.sources.database.place import place_of
from perennial.sources.database.relation import Relation, refuse_missing, relation_of
from perennial.sources.database.session import Session, open_session
from perennial.sources.database.watermark import range_of
from perennial.sources.fetching import Request

OK = "ok"


def check(request: Request) -> list[tuple[str, str]]:
    """Steps until the first that fails: connection, sign in, read-only, table, columns, watermark, rows."""
    steps: list[tuple[str, str]] = []
    at = "connection"
    try:
        place = place_of(request)
        steps.append((at, OK))
        at = "sign in"
        with open_session(place) as session:
            steps.append((at, OK))
            for name, step in _steps(request, session):
                at = name
                steps.append((at, step() or OK))
    except PerennialError as error:
        steps.append((at, str(error)))
    return steps


def _steps(request: Request, session: Session) -> Iterator[tuple[str, Callable[[], str | None]]]:
    found: list[Relation] = []

    def read_only() -> str | None:
        if session.enforced:
            return None
        return f"{session.dialect} cannot be held to it: give the login nothing but select"

    def table() -> None:
        found.append(relation_of(session))

    def columns() -> None:
        refuse_missing(session.place, found[0])

    def watermark() -> str | None:
        span = range_of(session, found[0], request.cursor)
        return "; ".join(span.notes) if span is not None else None

    def rows() -> None:
        statement = found[0].select(*[column.sql for column in found[0].columns]).limit(1)
        with told(session.place), session.limited():
            session.connection.execute(sa.select(sa.literal_column("1")).select_from(statement.subquery("one"))).first()

    yield "read-only", read_only
    yield "table", table
    yield "columns", columns
    if session.place.read.mode == "incremental":
        yield "watermark", watermark
    yield "rows", rows
