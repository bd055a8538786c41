"""Opening the ledger: SQLite beside the state by default, PostgreSQL by `PERENNIAL_LEDGER_URL`.

Both give the same promise: one transaction at a time, so that what a transaction has read is still so when it writes.
The exception is a long copy (execution option `reading`), which works on a snapshot and keeps no writer waiting.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa

from perennial.core.settings import Settings

HEAD_REVISION = "0008"
MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 60_000
_TURN = 5_046_273_402_310_811_138  # the advisory lock of a ledger's writers: a number of ours

_ENGINES: WeakSet[sa.Engine] = WeakSet()


@lru_cache(maxsize=8)
def _engine(url: str) -> sa.Engine:
    # A server may have been restarted between two transactions: a connection is tried before it is used.
    engine = sa.create_engine(_with_driver(url), pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine, "begin", _wait_for_turn)
    _ENGINES.add(engine)
    return engine


def _with_driver(url: str) -> str:
    """An address of PostgreSQL as everyone writes it names no driver; ours is psycopg2."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg2://{rest}" if scheme in {"postgresql", "postgres"} else url


def _forget_connections() -> None:
    """A forked child must not speak on its parent's connections, nor end them; Airflow forks for every task."""
    for engine in _ENGINES:
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we send BEGIN ourselves: a writer then waits its turn instead of failing
    cursor = connection.cursor()
    cursor.execute(f"pragma busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("pragma journal_mode = wal")
    cursor.execute("pragma synchronous = full")  # a mark that is lost would send twice (L12)
    cursor.execute("pragma foreign_keys = on")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    # A long copy (execution option `reading`) works on a snapshot and keeps no writer waiting.
    mode = "deferred" if connection.get_execution_options().get("reading") else "immediate"
    connection.exec_driver_sql(f"begin {mode}")


def _wait_for_turn(connection: sa.Connection) -> None:
    """What BEGIN IMMEDIATE is to SQLite: the transaction's first act is to take the one lock, which ends with it."""
    if connection.get_execution_options().get("reading"):
        return
    connection.exec_driver_sql(f"set local lock_timeout = {_BUSY_TIMEOUT_MS}; select pg_advisory_xact_lock({_TURN})")


def open_ledger(settings: Settings) -> sa.Engine:
    """The ledger's engine, at the newest revision: made or migrated when it is older."""
    if settings.ledger_url.startswith("sqlite:///"):
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = _engine(settings.ledger_url)
    if _revision(engine) != HEAD_REVISION:
        _migrate(settings.ledger_url)
    return engine


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("select version_num from alembic_version")).scalar()


def _migrate(url: str) -> None:
    from alembic import command  # 0.3 s: only when there is something to migrate
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["engine"] = _engine(url)
    command.upgrade(config, "head")
