"""Sessions of targeting on PostgreSQL, with tables given as Arrow: the interface of factories.published.MemorySession."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from factories.databases import Postgres
from factories.postgres_warehouse import new_database
from perennial.core.settings import load_settings
from perennial.warehouse.postgres.dialect import FUNCTIONS
from perennial.warehouse.postgres.reader import PublishedInPostgres
from perennial.warehouse.postgres.session import open_session


class PostgresSession(PublishedInPostgres):
    """What targeting asks of a published version, over temporary tables."""

    def __init__(self, session: Any, tables: Mapping[str, pa.Table]) -> None:
        super().__init__(session, None)  # type: ignore[arg-type]
        self._columns = {name: [(f.name, _sql_type(f.type)) for f in table.schema] for name, table in tables.items()}
        for name, table in tables.items():
            self.register(name, table)

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        """Name and type of the columns."""
        return self._columns


def _sql_type(kind: pa.DataType) -> str:
    names = {"string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN", "date32[day]": "DATE", "double": "DOUBLE"}
    return names.get(str(kind), "DECIMAL(18,4)")


@contextmanager
def postgres_session(server: Postgres, folder: Path, tables: Mapping[str, pa.Table]) -> Iterator[PostgresSession]:
    """A session in a new database of the server; what it makes goes with it."""
    uri = new_database(server)
    settings = load_settings({"PERENNIAL_HOME": str(folder), "PERENNIAL_WAREHOUSE_URL": uri})
    with open_session(settings) as session:
        for function in FUNCTIONS:
            session.execute(function)
        yield PostgresSession(session, tables)
