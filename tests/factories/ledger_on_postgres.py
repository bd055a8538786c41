"""A pytest plugin (`-p factories.ledger_on_postgres`): every home's ledger is a database of its own on PostgreSQL.

LEDGER_SERVER is the URI of the server, with `{name}` where the database's name belongs. The tests themselves do not know.
"""

from __future__ import annotations

import os
import re

from perennial.core.ids import digest_of
from perennial.core.settings import Settings

_MADE: set[str] = set()


def _database_of(settings: Settings) -> str:
    """The URL of the home's database, made when it is asked for first."""
    name = "ledger_" + digest_of([str(settings.home)])
    if name not in _MADE:
        _create(name)
        _MADE.add(name)
    uri = os.environ["LEDGER_SERVER"].format(name=name)
    return re.sub(r"^postgresql:", "postgresql+psycopg2:", uri)


def _create(name: str) -> None:
    import psycopg2

    connection = psycopg2.connect(os.environ["LEDGER_SERVER"].format(name="postgres"))
    connection.autocommit = True  # a new process of the same test finds the database there
    with connection.cursor() as cursor:
        cursor.execute("select from pg_database where datname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute(
                f"create database {name} template template0 locale_provider builtin builtin_locale 'C.UTF-8'"
            )
    connection.close()


Settings.ledger_url = property(_database_of)  # type: ignore[method-assign, assignment]
