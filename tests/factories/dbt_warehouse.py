"""The real dbt project on a throwaway DuckDB with hand-written raw rows, as `pipeline.build` would prepare it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from perennial.contracts.entities import ENTITIES, EntityName
from perennial.core.ids import client_ref
from perennial.core.settings import REPOSITORY
from perennial.warehouse.build_db import raw_select

PROJECT = REPOSITORY / "dbt_project"
NAMESPACE = "household"
_LEDGER = """
create table raw.ledger_batches (
    batch_id varchar, source varchar, source_entity varchar, entity varchar, as_of date, state varchar, loaded bigint
);
create table raw.ledger_runs (as_of date, revision bigint, batch_ids varchar);
create table raw.ledger_deliveries (
    campaign_id varchar, client_id varchar, channel varchar, as_of date, action varchar, state varchar,
    destination varchar, reason varchar
);
create table raw.ledger_feedback (
    destination varchar, event_id varchar, kind varchar, happened_at timestamp, channel varchar, client_ref varchar,
    campaign_id varchar, as_of date, message_id varchar, is_machine boolean, known_on date
);
create table raw.identity_map (
    client_ref varchar, client_id varchar, rule varchar, evidence varchar, household_id varchar, company_id varchar
);
create table raw.identity_map_built as select client_ref, client_id from raw.identity_map;
create table raw.batches_changed (batch_id varchar, batch_seq bigint, entity varchar, is_known boolean);
"""

_GOOD = ("success", "pass")
Row = Mapping[str, Any]


@dataclass
class Raw:
    """Rows by entity; `add` fills in what a row does not say of its delivery."""

    rows: dict[EntityName, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, entity: EntityName, day: str, rows: Iterable[Row], *, batch_seq: int = 1) -> Raw:
        """One file of one batch with the business date `day`."""
        known = self.rows.setdefault(entity, [])
        for line, row in enumerate(rows, start=2):
            delivery = {
                "_source": "shop", "_batch_id": f"{entity}-{batch_seq}", "_batch_seq": batch_seq, "_line": line,
                "_file": f"{entity}_{day}.csv", "_business_date": day,
                "_version": None, "_deleted": False, "_precedence": 100, "_extra": None,
            }  # fmt: skip
            key = row.get("client_key")
            known.append({**delivery, "client_ref": client_ref(NAMESPACE, key) if key else None, **row})
        return self

    def joined(self, other: Raw) -> Raw:
        """The rows of both."""
        names = [*self.rows, *(name for name in other.rows if name not in self.rows)]
        return Raw({name: [*self.rows.get(name, []), *other.rows.get(name, [])] for name in names})

    def known_on(self, day: str) -> Raw:
        """The rows with a business date up to `day`."""
        return Raw({name: [r for r in rows if r["_business_date"] <= day] for name, rows in self.rows.items()})


def line(order: str, client: str | None, day: str, amount: str, *, product: str = "p1", **more: Any) -> dict[str, Any]:
    """A sale of one unit at noon of `day` in New York."""
    return {
        "order_key": order, "client_key": client, "product_key": product, "ordered_at": f"{day} 16:00:00", "quantity": 1,
        "amount": amount, "line_kind": "sale", "store_key": "s1", **more,
    }  # fmt: skip


@dataclass(frozen=True)
class Warehouse:
    """A database file; `target` keeps what dbt parsed, so that only the first build pays for it."""

    path: Path
    target: Path

    def fill(self, raw: Raw, as_of: str) -> Warehouse:
        """Write schema raw: a table per entity, and a ledger that knows what was loaded."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("create schema raw")
            for name, entity in ENTITIES.items():
                connection.execute(f"create table raw.{name} as {raw_select(entity, ())}")
                connection.execute(f"create table raw.{name}_changed as from raw.{name}")
                for row in raw.rows.get(name, []):
                    marks = ", ".join("?" for _ in row)
                    connection.execute(
                        f"insert into raw.{name} ({', '.join(row)}) values ({marks})", list(row.values())
                    )
            connection.execute(_LEDGER)
            connection.execute(
                "insert into raw.ledger_batches select _batch_id, 'shop', 'order_lines', 'order_lines', "
                "max(_business_date), 'committed', count(*) from raw.order_lines group by 1"
            )
            batches = connection.execute("select batch_id from raw.ledger_batches order by 1").fetchall()
            ids = json.dumps([batch_id for (batch_id,) in batches])
            connection.execute("insert into raw.ledger_runs values (?, 1, ?)", [as_of, ids])
        return self

    def dbt(self, command: str, as_of: str, *options: str, **variables: Any) -> dict[str, str]:
        """Run dbt; gives the status of every node by name. Raises AssertionError when dbt itself stops."""
        from dbt.cli.main import dbtRunner

        given = {"as_of": as_of, "as_of_dates": [as_of], **variables}
        os.environ["PERENNIAL_BUILD_DB"] = str(self.path)
        try:
            manifest = _manifest(self.target, bool(variables.get("training")))
            answer = dbtRunner(manifest=manifest).invoke([*_options(self.target, command, given), *options])
        finally:
            _close()
        assert hasattr(answer.result, "results"), answer.exception
        return {
            result.node.name: str(result.status) if result.status in _GOOD else f"{result.status}: {result.message}"
            for result in answer.result.results
            if str(result.status) != "no-op"  # exposures and saved queries: nothing is built of them
        }

    def build(self, as_of: str, **variables: Any) -> dict[str, str]:
        """Models and data tests, as in a day."""
        return self.dbt("build", as_of, "--exclude-resource-type", "unit_test", **variables)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows as dicts."""
        with duckdb.connect(str(self.path), read_only=True) as connection:
            answer = connection.execute(sql, list(parameters))
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def execute(self, sql: str) -> None:
        """Change the database by hand."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(sql)

    def tables(self, schema: str) -> dict[str, list[dict[str, Any]]]:
        """Every table of the schema, its rows in the order of all columns."""
        names = self.query("select table_name from duckdb_tables() where schema_name = ? order by 1", [schema])
        return {row["table_name"]: self.query(f"from {schema}.{row['table_name']} order by all") for row in names}


def _options(target: Path, command: str, variables: Mapping[str, Any]) -> list[str]:
    places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(target)]
    quiet = ["--quiet", "--no-write-json", "--log-path", str(target / "logs"), "--log-level-file", "none"]
    return [*quiet, command, *places, "--vars", json.dumps(variables)]


def _manifest(target: Path, training: bool) -> Any:
    """The project, parsed with a fixed date as in a day (pipeline.transform): only the first time takes long."""
    from dbt.cli.main import dbtRunner

    variables = {"as_of": "1111-11-11", "as_of_dates": ["1111-11-11"], "training": training}
    answer = dbtRunner().invoke(_options(target, "parse", variables))
    assert answer.success, answer.exception
    return answer.result


def _close() -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager._ENV.close()
    DuckDBConnectionManager.close_all_connections()


def small_world() -> Raw:
    """Six clients, guests, a department store of three products, 2017-04-01 to 2017-10-01, nothing late.

    1 orders every ten days; 2 has an order cancelled on 2017-08-20 (of 2017-08-10); 3 is a lead; 4 is known from sales
    alone; 5 returned a part; 6 stopped in May.
    """
    raw = Raw()
    regular = [f"2017-0{month}-{day}" for month in range(4, 10) for day in ("01", "11", "21")]
    for count, day in enumerate(regular):
        raw.add("order_lines", day, [
            line(f"r{count}", "1", day, "10.01", discount_amount="1.00"),
            line(f"r{count}", "1", day, "5.00", product="p2", store_key="s1" if count % 2 else "s2"),
        ])  # fmt: skip
    raw.add("order_lines", "2017-06-05", [line("a1", "2", "2017-06-05", "7.00"), line("b1", "6", "2017-05-05", "3.00")])
    raw.add("order_lines", "2017-08-10", [line("a2", "2", "2017-08-10", "50.00", product="p2")])
    raw.add("order_lines", "2017-08-20", [
        line("Ca2", "2", "2017-08-20", "-50.00", product="p2", quantity=-1, line_kind="cancellation"),
        line("g1", None, "2017-08-20", "99.99"),
        line("x1", "4", "2017-08-20", "12.50", product="p9", product_name="Mystery box", country="CA"),
    ])  # fmt: skip
    raw.add("order_lines", "2017-09-15", [
        line("e1", "5", "2017-09-15", "40.00"), line("e1", "5", "2017-09-15", "40.00"),
        line("e1", "5", "2017-09-15", "4.95", product="POST", line_kind="fee"),
    ])  # fmt: skip
    raw.add("order_lines", "2017-09-18", [line("e2", "5", "2017-09-18", "-40.00", quantity=-1, line_kind="return")])
    raw.add("order_lines", "2017-10-01", [line("g2", None, "2017-10-01", "1.00")])
    known = [
        {"client_key": key, "email": f"{key}@example.com", "first_name": "Ann"} for key in ("1", "2", "3", "5", "6")
    ]
    raw.add("clients", "2017-04-01", [{**row, "signed_up_on": "2017-03-25"} for row in known])
    raw.add("demographics", "2017-04-01", [{"client_key": "1", "age_band": "45-54", "kids_count": "2"}])
    raw.add("products", "2017-04-01", [
        {"product_key": "p1", "product_name": "Tea", "department": "GROCERY"},
        {"product_key": "p2", "product_name": "Lamp", "department": "HOME"},
    ])  # fmt: skip
    raw.add("campaigns", "2017-04-01", [{"campaign_key": "k1", "starts_on": "2017-05-01", "ends_on": "2017-06-01"}])
    raw.add("campaign_contacts", "2017-05-01", [
        {"campaign_key": "k1", "client_key": key, "contacted_on": "2017-05-01", "channel": "mail"} for key in ("1", "2")
    ])  # fmt: skip
    raw.add("redemptions", "2017-05-11", [
        {"client_key": "1", "coupon_key": "u1", "campaign_key": "k1", "redeemed_on": "2017-05-11"}
    ])  # fmt: skip
    return raw
