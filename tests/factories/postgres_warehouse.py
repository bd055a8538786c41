"""The real dbt project on a real PostgreSQL with hand-written raw rows: the interface of factories.dbt_warehouse."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa

from factories.databases import Postgres
from factories.dbt_warehouse import PROJECT, Raw
from factories.dbt_warehouse import Warehouse as EmbeddedWarehouse
from perennial.core.settings import Settings, load_settings
from perennial.warehouse.postgres.dbt import dbt_environment
from perennial.warehouse.postgres.roles import make_schemas
from perennial.warehouse.postgres.session import open_session

LIKE_EMBEDDED = (
    "template template0 encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' lc_collate 'C' lc_ctype 'C'"
)
_GOOD = ("success", "pass")


def new_database(server: Postgres) -> str:
    """The URI of a new empty database that sorts as the warehouse needs it."""
    name = server.create()
    server.run("postgres", f"drop database {name}")
    server.run("postgres", f"create database {name} {LIKE_EMBEDDED}")
    return server.uri(name)


@dataclass(frozen=True)
class PostgresWarehouse:
    """A database by its URI; `target` keeps what dbt parsed."""

    uri: str
    target: Path

    @property
    def settings(self) -> Settings:
        """Settings that choose this database."""
        return load_settings({"PERENNIAL_HOME": str(self.target), "PERENNIAL_WAREHOUSE_URL": self.uri})

    def fill(self, raw: Raw, as_of: str) -> PostgresWarehouse:
        """Write schema raw, as the embedded factory writes it: its tables are copied."""
        self.target.mkdir(parents=True, exist_ok=True)
        self.raw_copy.unlink(missing_ok=True)
        EmbeddedWarehouse(self.raw_copy, self.target).fill(raw, as_of)
        self.take_raw()
        return self

    @property
    def raw_copy(self) -> Path:
        """The DuckDB file that schema raw is copied from."""
        return self.target / "copied.duckdb"

    def take_raw(self) -> None:
        """Copy schema raw from the file."""
        with open_session(self.settings) as session, duckdb.connect(str(self.raw_copy), read_only=True) as source:
            make_schemas(session)
            names = source.execute("select table_name from duckdb_tables() where schema_name = 'raw'").fetchall()
            for (name,) in names:
                table = source.sql(f"from raw.{name}").to_arrow_table()
                session.execute(f'drop table if exists raw."{name}" cascade')
                session.create(f'raw."{name}"', table.schema, kind="unlogged table")
                session.append(name, table.to_batches(), table.schema, into="raw")
                session.execute(f'analyze raw."{name}"')
            session.commit()

    def contents(self, schemas: Sequence[str]) -> dict[str, pa.Table]:
        """Every table and view of the schemas, `marts` being those that are built."""
        places = {"build" if schema == "marts" else schema: schema for schema in schemas}
        with open_session(self.settings) as session:
            names = session.rows(
                "select table_schema::text, table_name::text from information_schema.tables order by 1, 2"
            )
            return {
                f"{places[place]}.{name}": session.table(f'select * from {place}."{name}"')
                for place, name in [(str(row[0]), str(row[1])) for row in names]
                if place in places
            }

    def dbt(self, command: str, as_of: str, *options: str, **variables: Any) -> dict[str, str]:
        """Run dbt; gives the status of every node by name. Raises AssertionError when dbt itself stops."""
        from dbt.cli.main import dbtRunner

        given = {"as_of": as_of, "as_of_dates": [as_of], **variables}
        with self._environment():
            fixed = {"as_of": "1111-11-11", "as_of_dates": ["1111-11-11"], "training": bool(variables.get("training"))}
            parsed = dbtRunner().invoke(self._options("parse", fixed))
            assert parsed.success, parsed.exception
            answer = dbtRunner(manifest=parsed.result).invoke([*self._options(command, given), *options])
        assert hasattr(answer.result, "results"), answer.exception
        return {
            result.node.name: str(result.status) if result.status in _GOOD else f"{result.status}: {result.message}"
            for result in answer.result.results
            if str(result.status) != "no-op"  # exposures and saved queries: nothing is built of them
        }

    @contextmanager
    def _environment(self) -> Iterator[None]:
        from perennial.contracts.records import DayRun

        run = DayRun("any", None, 1, "open", (), "config", True)  # type: ignore[arg-type]
        with mock.patch.dict(os.environ, dbt_environment(self.settings, run)):
            yield

    def _options(self, command: str, variables: Mapping[str, Any]) -> list[str]:
        target = self.target / "postgresql"
        places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(target)]
        quiet = ["--quiet", "--no-write-json", "--log-path", str(target / "logs"), "--log-level-file", "none"]
        return [*quiet, command, *places, "--vars", json.dumps(variables)]

    def build(self, as_of: str, **variables: Any) -> dict[str, str]:
        """Models and data tests, as in a day."""
        return self.dbt("build", as_of, "--exclude-resource-type", "unit_test", **variables)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows as dicts; `?` stands for a parameter, and `marts` for the schema that they are built in."""
        for place in range(len(parameters)):
            sql = sql.replace("?", f"${place + 1}", 1)
        with open_session(self.settings) as session:
            return session.table(_placed(sql), parameters).to_pylist()

    def execute(self, sql: str) -> None:
        """Change the database by hand."""
        with open_session(self.settings) as session:
            for statement in sql.split(";"):
                if statement.strip():
                    session.execute(_placed(statement))
            session.commit()

    def tables(self, schema: str) -> dict[str, list[dict[str, Any]]]:
        """Every table of the schema, its rows in the order of all columns."""
        place = "build" if schema == "marts" else schema
        names = self.query("select tablename::text as name from pg_tables where schemaname = ? order by 1", [place])
        found = {}
        for row in names:
            columns = self.query(
                "select count(*) as n from information_schema.columns where table_schema = ? and table_name = ?",
                [place, row["name"]],
            )
            order = ", ".join(str(place + 1) for place in range(columns[0]["n"]))
            found[row["name"]] = self.query(f'select * from {place}."{row["name"]}" order by {order}')
        return found


def _placed(sql: str) -> str:
    return sql.replace("marts.", "build.")
