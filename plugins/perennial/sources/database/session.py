"""One session at a database: read-only, in one snapshot, with a statement time-out, ended by a rollback."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from perennial.sources.database.errors import told
from perennial.sources.database.place import Place
from perennial.sources.database.urls import sqlite_file, url_of

_MILLISECONDS = 1000


@dataclass(frozen=True)
class Session:
    """An open connection. `enforced` says whether the database itself refuses to write and to run too long."""

    place: Place
    connection: sa.Connection
    url: sa.URL
    enforced: bool

    @property
    def dialect(self) -> str:
        """postgresql, mysql, sqlite, ..."""
        return self.connection.dialect.name

    @property
    def milliseconds(self) -> int:
        """The time-out of one statement."""
        return max(1, int(self.place.options.statement_timeout_seconds * _MILLISECONDS))

    @contextmanager
    def limited(self) -> Iterator[None]:
        """SQLite knows no time-out: what runs in here is interrupted after it. Nothing to do elsewhere."""
        if self.dialect != "sqlite":
            yield
            return
        raw = self.connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - that is the driver of this dialect
        timer = threading.Timer(self.place.options.statement_timeout_seconds, raw.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def one(self, statement: sa.Select[tuple[object, ...]]) -> tuple[object, ...]:
        """The first row of a small statement."""
        with told(self.place), self.limited():
            row = self.connection.execute(statement).first()
        return tuple(row) if row is not None else ()


@contextmanager
def open_session(place: Place) -> Iterator[Session]:
    """The session. Raises ConfigError (no driver, wrong password, no such database) or RetryableError (not there)."""
    url = url_of(place)
    engine = _engine(place, url)
    try:
        with told(place):
            connection = engine.connect()
        try:
            begin = _BEGINNINGS.get(connection.dialect.name)
            session = Session(place, connection, url, enforced=begin is not None)
            if begin is not None:
                with told(place):
                    begin(session)
            yield session
        finally:
            _close(connection)
    finally:
        engine.dispose()


def _close(connection: sa.Connection) -> None:
    """A connection that died cannot be rolled back: the database has done so."""
    try:
        connection.close()
    except sa.exc.DBAPIError:
        return


def _engine(place: Place, url: sa.URL) -> sa.Engine:
    try:
        if url.get_backend_name() == "sqlite":
            path = quote(str(sqlite_file(place, url).absolute()))
            connect = _sqlite(f"file:{path}?mode=ro")
            return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)
        options = {"connect_timeout": 15} if url.get_backend_name() == "mysql" else {}
        return sa.create_engine(url, poolclass=NullPool, connect_args=options)
    except sa.exc.NoSuchModuleError:
        raise place.error(
            f"no SQLAlchemy dialect is called {url.drivername!r}", "install its package, or correct conn_type"
        ) from None
    except ImportError as error:
        raise place.error(f"the driver {error.name!r} is not installed", f"pip install {error.name}") from None


def _sqlite(uri: str) -> Callable[[], sqlite3.Connection]:
    return lambda: sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _begin_postgresql(session: Session) -> None:
    """One snapshot for all statements; times are UTC, dates ISO, floats their shortest exact text."""
    session.connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    for name, value in postgresql_settings(session):
        session.connection.execute(sa.select(sa.func.set_config(name, value, sa.true())))


def postgresql_settings(session: Session) -> list[tuple[str, str]]:
    """What is set in each transaction at a PostgreSQL."""
    return [
        ("statement_timeout", str(session.milliseconds)),
        ("timezone", "UTC"),
        ("datestyle", "ISO, YMD"),
        ("intervalstyle", "iso_8601"),
        ("extra_float_digits", "1"),
    ]


def _begin_mysql(session: Session) -> None:
    dialect, connection = session.connection.dialect, session.connection
    seconds = session.place.options.statement_timeout_seconds
    timeout = (
        f"max_statement_time = {seconds:.3f}"
        if getattr(dialect, "is_mariadb", False)
        else f"max_execution_time = {session.milliseconds}"
    )
    for statement in (
        f"set session {timeout}",
        f"set session net_write_timeout = {int(seconds) + 60}",  # we read as fast as the disk lets us
        "set session time_zone = '+00:00'",
        "set session transaction isolation level repeatable read",
        "commit",
        "start transaction with consistent snapshot, read only",
    ):
        connection.exec_driver_sql(statement)


def _begin_sqlite(session: Session) -> None:
    """The file is opened read-only already (mode=ro)."""
    session.connection.exec_driver_sql("pragma query_only = on")
    session.connection.exec_driver_sql("begin")


_BEGINNINGS: dict[str, Callable[[Session], None]] = {
    "postgresql": _begin_postgresql,
    "mysql": _begin_mysql,
    "mariadb": _begin_mysql,
    "sqlite": _begin_sqlite,
}
