"""A pytest plugin (`-p factories.ledger_on_postgres`): every home's ledger is a database of its own on PostgreSQL.

LEDGER_SERVER is the URI of the server, with `{name}` where the database's name belongs. The tests themselves do not know.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger.engine import open_ledger

_MADE: set[str] = set()
_TEMPLATE = "ledger_template"


def _database_of(settings: Settings) -> str:
    """The URL of the home's database: made when it is asked for first, as a copy of one that was migrated once."""
    name = "ledger_" + digest_of([str(settings.home)])
    if not _MADE:
        _create(_TEMPLATE, "template0 locale_provider builtin builtin_locale 'C.UTF-8'")
        _MADE.add(_TEMPLATE)
        engine = open_ledger(settings.model_copy(update={"home": Path(_TEMPLATE)}))
        engine.dispose()
    if name not in _MADE and settings.home != Path(_TEMPLATE):
        _create(name, _TEMPLATE)
        _MADE.add(name)
    return _url(_TEMPLATE if settings.home == Path(_TEMPLATE) else name)


def _url(name: str) -> str:
    return re.sub(r"^postgresql:", "postgresql+psycopg2:", os.environ["LEDGER_SERVER"].format(name=name))


def _create(name: str, template: str) -> None:
    import psycopg2

    connection = psycopg2.connect(os.environ["LEDGER_SERVER"].format(name="postgres"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(1)")  # of processes that a test starts, one makes it
        cursor.execute("select from pg_database where datname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute(f"create database {name} template {template}")
    connection.close()


Settings.ledger_url = property(_database_of)  # type: ignore[method-assign, assignment]
