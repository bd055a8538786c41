"""Northwind and Chinook, as their authors published them, on PostgreSQL and on SQLite, through the example configs."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from factories.databases import (
    Reader,
    chinook_script,
    chinook_sqlite,
    northwind_script,
    northwind_sqlite,
    sqlite_uri,
)
from integration.running import perennial, perennial_json
from perennial.core.connections import EnvironmentConnections
from perennial.core.settings import REPOSITORY, Settings, load_settings
from perennial.ledger.batches import committed
from perennial.ledger.engine import open_ledger
from perennial.pipeline.fetch import fetch
from perennial.pipeline.ingest import ingest
from reference import reference

pytestmark = pytest.mark.integration

NORTHWIND_TABLES = {  # rows by the data set's description; the SQLite copy has two customers more and other shippers
    "customers": (91, 93), "orders": (830, 830), "order_details": (2_155, 2_155), "products": (77, 77),
    "categories": (8, 8), "suppliers": (29, 29), "employees": (9, 9), "shippers": (6, 3), "region": (4, 4),
    "territories": (53, 53), "employee_territories": (49, 49),
}  # fmt: skip
CHINOOK_TABLES = {
    "customer": 59, "employee": 8, "invoice": 412, "invoice_line": 2_240, "track": 3_503, "album": 347, "artist": 275,
    "genre": 25, "media_type": 5, "playlist": 18, "playlist_track": 8_715,
}  # fmt: skip


@dataclass(frozen=True)
class Company:
    """An example config whose database was fetched and ingested."""

    settings: Settings
    connections: EnvironmentConnections

    def raw(self, entity: str, what: str = "*") -> list[tuple]:
        """Rows of a raw table."""
        paths = [str(self.settings.home / b.raw_path) for b in committed(open_ledger(self.settings), entity=entity)]
        return duckdb.sql(f"select {what} from read_parquet({paths!r}) order by all").fetchall()

    def day(self):
        """Fetch everything, then ingest it."""
        reports = fetch(self.settings, connections=self.connections)
        return reports, ingest(self.settings)


def _company(folder: Path, example: str, uri: str, change=lambda text: text) -> Company:
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config/examples" / example, config)
    sources = config / "sources.yml"
    sources.write_text(change(sources.read_text()))
    settings = load_settings({"PERENNIAL_HOME": str(folder / "home"), "PERENNIAL_CONFIG": str(config)})
    return Company(settings, EnvironmentConnections({f"AIRFLOW_CONN_{example.upper()}": uri}))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace(" ", "")).replace("_ID", "_id").lower()


def _with_snake_case(path: Path) -> Path:
    """The SQLite copy under the names that the PostgreSQL copy has."""
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in (name for name in tables if not name.startswith("sqlite_")):
            columns = [row[1] for row in connection.execute(f'pragma table_info("{table}")')]
            connection.execute(f'alter table "{table}" rename to "their {table}"')
            named = ", ".join(f'"{column}" as {_snake(column)}' for column in columns)
            connection.execute(f'create view {_snake(table)} as select {named} from "their {table}"')
    return path


def _postgres_dump_in_sqlite(script: str, target: Path) -> Path:
    """The tables and rows of the PostgreSQL dump, which are plain SQL, in SQLite.

    SQLite has no number of four bytes: what the dump writes as 42.4000015 is 42.4 there, and made so here.
    """
    statements = re.findall(r"(?ms)^(?:CREATE TABLE|INSERT INTO) .*?;$", script)
    with closing(sqlite3.connect(target)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("update order_details set unit_price = round(unit_price, 2), discount = round(discount, 2)")
    return target


@pytest.fixture(scope="module")
def northwind(postgres, tmp_path_factory):
    """The same dump on both engines, through the example config; the day's own reports."""
    script = northwind_script(reference("data/northwind"))
    folder = tmp_path_factory.mktemp("northwind")
    names = "split_part(contact_name, ' ', 1) as first_name,\n                substr(contact_name, strpos("
    theirs = "substr(contact_name, 1, instr(contact_name, ' ') - 1) as first_name,\n                substr(contact_name, instr("
    sqlite = sqlite_uri(_postgres_dump_in_sqlite(script, folder / "northwind.db"))
    both = {
        "postgresql": _company(folder / "pg", "northwind", postgres.uri(postgres.create(script))),
        "sqlite": _company(folder / "lite", "northwind", sqlite, lambda text: text.replace(names, theirs)),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_CLOCK", "1998-05-06T20:00:00+00:00")
        return {engine: (company, *company.day()) for engine, company in both.items()}


@pytest.fixture(scope="module")
def chinook(postgres, tmp_path_factory):
    """Both copies of Chinook through the example config."""
    data, folder = reference("data/chinook"), tmp_path_factory.mktemp("chinook")
    sqlite = sqlite_uri(_with_snake_case(chinook_sqlite(data, folder / "chinook.db")))
    both = {
        "postgresql": _company(folder / "pg", "chinook", postgres.uri(postgres.create(chinook_script(data)))),
        "sqlite": _company(folder / "lite", "chinook", sqlite),
    }
    return {engine: (company, *company.day()) for engine, company in both.items()}


def _assert_whole(reports, batches, rows: dict[str, int]):
    assert [report.problem for report in reports] == [None] * len(reports)
    assert {report.entity: report.rows for report in reports} == rows
    for batch in batches:
        assert (batch.state, batch.landed, batch.loaded) == ("committed", rows[batch.entity], rows[batch.entity])
    assert {batch.entity for batch in batches} == set(rows)


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_L1_northwind_comes_whole_and_to_the_cent(northwind, engine):
    company, reports, batches = northwind[engine]
    _assert_whole(
        reports, batches, {"order_lines": 2_155, "products": 77, "customers": 91, "contacts": 91, "employees": 9}
    )
    [(net, orders, clients, first, last)] = company.raw(
        "order_lines",
        "sum(amount), count(distinct order_key), count(distinct client_key), min(_business_date), max(_business_date)",
    )
    assert (round(net, 2), orders, clients) == (Decimal("1265793.04"), 830, 89)
    assert (first, last) == (date(1996, 7, 4), date(1998, 5, 6))
    assert company.raw("agents", "agent_name, manager, office")[0] == ("Andrew Fuller", None, "Tacoma")
    assert company.raw("contact_persons", "first_name, last_name")[0] == ("Alejandra", "Camino")
    [(prices, dearest)] = company.raw("products", "count(list_price), max(list_price)")
    assert (prices, dearest) == (77, Decimal("263.5"))


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_L1_chinook_comes_whole(chinook, engine):
    company, reports, batches = chinook[engine]
    _assert_whole(reports, batches, {"invoice_lines": 2_240, "tracks": 3_503, "customers": 59})
    [(total, orders, clients, first, last)] = company.raw(
        "order_lines",
        "sum(amount), count(distinct order_key), count(distinct client_key), min(ordered_at)::date, max(ordered_at)::date",
    )
    assert (round(total, 2), orders, clients) == (Decimal("2328.60"), 412, 59)
    assert (first, last) == (date(2021, 1, 1), date(2025, 12, 22))
    [(albums, prices)] = company.raw("products", "count(distinct product_line), sum(list_price)")
    assert (albums, prices) == (347, Decimal("3680.97"))


@pytest.mark.parametrize("example", ["northwind", "chinook"])
def test_both_engines_give_the_same_raw_tables_row_for_row(example, request):
    found = request.getfixturevalue(example)
    companies = [found[engine][0] for engine in ("postgresql", "sqlite")]
    entities = {batch.entity for batch in committed(open_ledger(companies[0].settings))}
    assert len(entities) >= 3
    for entity in entities:
        what = "* exclude (_batch_id, _batch_seq, _file, _line, _extra)"
        one, other = (company.raw(entity, what) for company in companies)
        assert len(one) > 0
        differ = [
            (a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True) if a != b
        ]
        assert differ == [], entity


@pytest.mark.parametrize("example", ["northwind", "chinook"])
def test_the_next_fetch_of_an_unchanged_database_lands_nothing(example, request, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2026-01-01T00:00:00+00:00")
    for company, _reports, _batches in request.getfixturevalue(example).values():
        reports, batches = company.day()
        assert [(report.files, report.problem) for report in reports] == [((), None)] * len(reports)
        assert batches == []


def _rows(reader: Reader) -> int:
    return sum(file.rows or 0 for file in reader.files())


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_every_table_of_northwind_has_its_published_rows(postgres, tmp_path, engine):
    data = reference("data/northwind")
    if engine == "postgresql":
        uri = postgres.uri(postgres.create(northwind_script(data)))
    else:
        uri = sqlite_uri(_with_snake_case(northwind_sqlite(data, tmp_path / "northwind.db")))
    theirs = {"region": "regions"} if engine == "sqlite" else {}
    counts = {theirs.get(name, name): rows[engine == "sqlite"] for name, rows in NORTHWIND_TABLES.items()}
    assert _all_tables(uri, tmp_path, counts) == counts


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_every_table_of_chinook_has_its_published_rows(postgres, tmp_path, engine):
    data = reference("data/chinook")
    if engine == "postgresql":
        uri = postgres.uri(postgres.create(chinook_script(data)))
    else:
        uri = sqlite_uri(_with_snake_case(chinook_sqlite(data, tmp_path / "chinook.db")))
    assert _all_tables(uri, tmp_path, CHINOOK_TABLES) == CHINOOK_TABLES


KEYS = {
    "order_details": ["order_id", "product_id"],
    "employee_territories": ["employee_id", "territory_id"],
    "playlist_track": ["playlist_id", "track_id"],
    "categories": ["category_id"],
    "territories": ["territory_id"],
}


def _all_tables(uri: str, folder: Path, counts: dict[str, int]) -> dict[str, int]:
    found = {}
    for table in counts:
        key = KEYS.get(table, [f"{table.removesuffix('s')}_id"])
        read = {"table": table, "mode": "snapshot", "key": key}
        found[table] = _rows(Reader(uri, folder / table, read, {"product_key": key[0]}))
    return found


def test_a_table_with_a_blank_in_its_name_is_read(tmp_path):
    path = northwind_sqlite(reference("data/northwind"), tmp_path / "northwind.db")
    reader = Reader(
        sqlite_uri(path), tmp_path, {"table": "Order Details", "watermark": "OrderID"}, {"product_key": "ProductID"}
    )
    assert _rows(reader) == 2_155


CHANGED = """
    insert into orders (order_id, customer_id, employee_id, order_date, ship_country)
        values (20001, 'ALFKI', 1, '1998-05-07', 'Germany');
    insert into order_details values (20001, 1, 18, 10, 0), (20001, 2, 19, 1, 0.1);
    update order_details set quantity = quantity + 1 where order_id = 11077 and product_id = 2;
    update customers set country = 'Austria' where customer_id = 'ALFKI';
    delete from customers where customer_id = 'PARIS';
"""


@pytest.mark.slow
def test_two_days_of_northwind_from_one_database_with_orders_corrections_and_a_deleted_client(postgres, tmp_path):
    name = postgres.create(northwind_script(reference("data/northwind")))
    config = {
        "PERENNIAL_CONFIG": str(REPOSITORY / "config/examples/northwind"),
        "AIRFLOW_CONN_NORTHWIND": postgres.uri(name),
    }
    home = tmp_path / "home"
    perennial(home, "run", PERENNIAL_CLOCK="1998-05-06T20:00:00+00:00", **config)

    def sql(query: str) -> list[dict]:
        return perennial_json(home, "sql", query, **config)

    [first] = sql(
        "select sum(revenue_total) as revenue, count(*) as clients, sum(orders_total) as orders from client_metrics"
    )
    assert (round(float(first["revenue"]), 2), first["clients"], first["orders"]) == (1_265_793.04, 91, 830)
    assert sorted(path.name for path in (home / "outbox/1998-05-06").iterdir()) == [
        "best_accounts__account_manager", "overdue_accounts__account_manager",
    ]  # fmt: skip
    postgres.run(name, CHANGED)
    perennial(home, "run", PERENNIAL_CLOCK="1998-05-07T20:00:00+00:00", **config)
    corrected = float(
        postgres.run(
            name, "select unit_price * (1 - discount) from order_details where order_id = 11077 and product_id = 2"
        )[0][0]
    )
    [second] = sql("select sum(amount) as revenue, count(distinct order_key) as orders from fct_order_lines")
    assert round(float(second["revenue"]) - 1_265_793.04, 2) == round(180 + 17.1 + corrected, 2)
    assert second["orders"] == 831
    clients = {row["client_key"]: row["country"] for row in sql("select client_key, country from dim_clients")}
    assert clients["ALFKI"] == "Austria"
    [sums] = sql("select sum(landed) as landed, sum(loaded + quarantined + duplicate) as accounted from ledger_batches")
    assert sums["landed"] == sums["accounted"]
    assert "PARIS" not in clients
