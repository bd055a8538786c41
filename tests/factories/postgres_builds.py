"""Finished builds in PostgreSQL made by plain SQL, and logins with one role each: for tests of publication."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2

from factories.databases import Postgres
from factories.postgres_warehouse import new_database
from factories.tiny_warehouse import Line
from perennial.contracts.records import DayRun
from perennial.core.settings import Settings, load_settings
from perennial.warehouse.build_db import TableSpec
from perennial.warehouse.postgres import mark_built, prepare_build
from perennial.warehouse.postgres.session import Session, open_session

SPECS = (
    TableSpec("fct_order_lines", date_column="ordered_on", key=("order_key",), description="Lines of orders."),
    TableSpec("kpi_daily", key=("ordered_on",), comments={"orders": "how many"}),
)


def settings_of(server: Postgres, home: Path) -> Settings:
    """Settings of a home whose warehouse is a new database."""
    return load_settings({"PERENNIAL_HOME": str(home), "PERENNIAL_WAREHOUSE_URL": new_database(server)})


def build_in_postgres(settings: Settings, run: DayRun, lines: Sequence[Line], *, is_good: bool = True) -> None:
    """A build with fct_order_lines, kpi_daily and one address; `is_good`: it has passed its tests."""
    prepare_build(settings, run, raw_files={}, ledger=[])
    with open_session(settings) as session:
        _make(session, lines, "" if run.is_latest else "past_")
        session.commit()
    if is_good:
        mark_built(settings, run, SPECS)


def _make(session: Session, lines: Sequence[Line], prefix: str) -> None:
    for name in (f"{prefix}build.fct_order_lines", f"{prefix}build.kpi_daily", f"{prefix}private.contacts"):
        session.execute(f"drop table if exists {name}")
    session.execute(
        f"create table {prefix}build.fct_order_lines (order_key text, client_id text, ordered_on date, amount numeric(18,4))"
    )
    for order, client, day, amount in lines:
        session.execute(
            f"insert into {prefix}build.fct_order_lines values ($1, $2, $3, cast(cast($4 as text) as numeric))",
            [order, client, day, amount],
        )
    session.execute(
        f"create table {prefix}build.kpi_daily as "
        f"select ordered_on, count(*) as orders from {prefix}build.fct_order_lines group by 1"
    )
    session.execute(
        f"create table {prefix}private.contacts as select 'c1' as client_id, 'ann@example.com' as email, '+12025550142' as phone"
    )


def login(server: Postgres, settings: Settings, name: str, role: str | None) -> str:
    """The URI of a login that has the role and no other right."""
    database = str(settings.warehouse_url).partition("?")[0].rpartition("/")[2]
    known = server.run("postgres", f"select 1 from pg_roles where rolname = '{name}'")
    if not known:
        server.run("postgres", f"create role {name} login")
    if role:
        server.run("postgres", f"grant {role} to {name}")
    return server.uri(database).replace("postgres:@", f"{name}:@")


def ask(uri: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of one statement of a person with a login."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def next_day(run: DayRun, day: date) -> DayRun:
    """The run of a later day."""
    return replace(run, run_id=f"{day}.r1", as_of=day)
