"""A small published shop from plain rows: in memory for many examples, or as a real version of the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from perennial.contracts.records import DayRun
from perennial.contracts.scores import CAMPAIGN_OUTCOMES, CLIENT_SCORES
from perennial.core.settings import Settings, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, open_run
from perennial.targeting.facts import ARMS, CONSENTS, CONTACTS, KEPT, MEMBERS, TAKEN, DayFacts
from perennial.warehouse.build_db import TableSpec, build_connection, mark_built, prepare_build
from perennial.warehouse.publish import publish_marts, publish_table

AS_OF = date(2017, 10, 1)  # a Sunday
SALT = "salt-of-the-tests"

METRICS = pa.schema(
    [
        ("client_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("signed_up_on", pa.date32()),
        ("first_order_on", pa.date32()),
        ("recency_days", pa.int64()),
        ("orders_90d", pa.int64()),
        ("revenue_90d", pa.decimal128(18, 4)),
        ("revenue_365d", pa.decimal128(18, 4)),
        ("main_department_365d", pa.string()),
        ("lifecycle_stage", pa.string()),
    ]
)
CLIENTS = pa.schema(
    [
        ("client_id", pa.string()),
        ("client_key", pa.string()),
        ("source", pa.string()),
        ("country", pa.string()),
        ("kids_count", pa.string()),
        ("is_in_crm", pa.bool_()),
        ("has_email", pa.bool_()),
        ("has_phone", pa.bool_()),
    ]
)
LINES = pa.schema([("client_id", pa.string()), ("product_line", pa.string())])
OTHERS = pa.schema(
    [
        ("reported_by", pa.string()),
        ("campaign_key", pa.string()),
        ("client_id", pa.string()),
        ("channel", pa.string()),
        ("contacted_on", pa.date32()),
    ]
)
_CLIENT = {
    "revenue_365d": 1000,
    "revenue_90d": 250,
    "orders_90d": 5,
    "recency_days": 3,
    "lifecycle_stage": "active",
    "main_department_365d": "GROCERY",
    "signed_up_on": date(2015, 3, 1),
    "first_order_on": date(2015, 3, 2),
    "source": "crm",
    "is_in_crm": True,
    "has_email": True,
    "has_phone": True,
    "churn_risk": 0.5,
    "value_90d": 200.0,
    "departments": (),
}
_CARD = {
    "version": 1,
    "name": "A campaign",
    "owner": "marketing",
    "goal": "Something",
    "kind": "development",
    "nature": "informational",
    "audience": "true",
    "channels": ["email"],
    "message": "a_message",
    "offer": {"text": "nothing"},
    "control_share": 0.0,
    "expected_value": {"basis": "value_90d", "prior_effect": 0.1, "prior_source": "assumed", "margin_share": 0.5},
    "success_metric": "revenue",
    "success_window_days": 28,
}
_POLICY = {
    "version": 1,
    "channels": {
        "email": {"cost": 0.01, "consent": "required", "address": "email"},
        "sms": {"cost": 0.05, "consent": "required", "address": "phone"},
        "call": {"cost": 2.0, "consent": "required", "address": "phone"},
        "account_manager": {"cost": 1.0, "consent": "not_required", "address": "none"},
    },
    "caps": [{"contacts": 1, "days": 3}],
}


def client(client_id: str, **values: Any) -> dict[str, Any]:
    """A client with everything; `churn_risk=None` leaves the score out, `departments` is what was ever bought."""
    unknown = set(values) - set(_CLIENT) - {"client_key", "country", "kids_count"}
    assert not unknown, f"the factory's clients have no {unknown}"
    return {**_CLIENT, "client_key": f"key-{client_id}", **values, "client_id": client_id}


def card(campaign_id: str, **values: Any) -> dict[str, Any]:
    """A campaign card as YAML data: everyone, by e-mail, without control."""
    return {**_CARD, **values, "id": campaign_id}


def policy(**values: Any) -> dict[str, Any]:
    """config/policy.yml as data: four channels, one contact in three days."""
    return {**_POLICY, **values}


def write_config(
    folder: Path,
    *,
    campaigns: Iterable[Mapping[str, Any]] = (),
    segments: Mapping[str, str] | None = None,
    policy: Mapping[str, Any] = _POLICY,
) -> Settings:
    """A config folder with one file per campaign and one for all segments (id -> rule); gives its settings."""
    for name in ("campaigns", "segments"):
        (folder / "config" / name).mkdir(parents=True, exist_ok=True)
    shop = {"name": "Test", "zone": "UTC", "currency": "USD"}
    put(folder, "perennial.yml", {"version": 1, "company": shop, "assignment_salt": SALT})
    put(folder, "policy.yml", policy)
    channels = sorted(policy["channels"])
    put(
        folder, "destinations.yml", {"version": 1, "destinations": {"outbox": {"kind": "outbox", "channels": channels}}}
    )
    rules = [{"id": name, "description": name, "where": rule} for name, rule in (segments or {}).items()]
    put(folder, "segments/all.yml", {"version": 1, "segments": rules})
    for campaign in campaigns:
        put(folder, f"campaigns/{campaign['id']}.yml", campaign)
    return load_settings({"PERENNIAL_CONFIG": str(folder / "config"), "PERENNIAL_HOME": str(folder / "home")})


def put(folder: Path, name: str, data: Any) -> Path:
    """Write one file of the config folder: data as YAML, or text as it is."""
    path = folder / "config" / name
    text = data if isinstance(data, str) else yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def shop_tables(
    clients: Sequence[Mapping[str, Any]], *, as_of: date = AS_OF, others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, pa.Table]:
    """The published tables that planning reads, without scores."""
    metrics = [{**{n: c[n] for n in METRICS.names if n != "as_of_date"}, "as_of_date": as_of} for c in clients]
    bought = [{"client_id": c["client_id"], "product_line": name} for c in clients for name in c["departments"]]
    reported = [{"reported_by": "crm", "campaign_key": "x", **row} for row in others]
    return {
        "client_metrics": _table(metrics, METRICS),
        "dim_clients": _table([{n: c.get(n) for n in CLIENTS.names} for c in clients], CLIENTS),
        "client_product_matrix": _table(bought, LINES),
        "fct_campaign_contacts": _table(reported, OTHERS),
    }


def scores(clients: Sequence[Mapping[str, Any]], as_of: date = AS_OF) -> pa.Table:
    """`client_scores` of one day."""
    rows = [
        {"client_id": c["client_id"], "as_of_date": as_of, "score": name, "value": c[name], "model_version": "m1"}
        for c in clients
        for name in ("churn_risk", "value_90d")
        if c[name] is not None
    ]
    return _table([{**row, "reasons": '["has not bought for long"]'} for row in rows], CLIENT_SCORES)


def facts(
    *,
    as_of: date = AS_OF,
    consents: Iterable[tuple[str, str, str]] = (),
    contacts: Iterable[tuple[str, str, str, date]] = (),
    kept: Iterable[tuple[str, str, str, str]] = (),
    members: Iterable[tuple[str, str, str]] = (),
    arms: Iterable[tuple[str, str, str]] = (),
) -> DayFacts:
    """The ledger's word as rows: consents are (client, channel, status), all for the purpose marketing."""
    given = [(who, channel, "marketing", status) for who, channel, status in consents]
    return DayFacts(
        as_of,
        SALT,
        consents=_rows(given, CONSENTS),
        contacts=_rows(contacts, CONTACTS),
        kept=_rows(kept, KEPT),
        members=_rows(members, MEMBERS),
        arms=_rows(arms, ARMS),
        taken=_rows([(campaign, who, on) for campaign, who, _, on in contacts], TAKEN),
    )


def granted(*client_ids: str, channels: Sequence[str] = ("email", "sms", "call")) -> list[tuple[str, str, str]]:
    """Consents to marketing in these channels."""
    return [(client_id, channel, "granted") for client_id in client_ids for channel in channels]


def outcomes(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """`campaign_outcomes` of earlier days."""
    return _table([dict(row) for row in rows], CAMPAIGN_OUTCOMES)


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


class MemorySession:
    """The `Session` of targeting on DuckDB in memory: what `Published` does, without files."""

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self._connection = _memory().cursor()  # temporary tables and registered ones are a cursor's own
        self._tables = dict(tables)
        for name, table in tables.items():
            self._connection.register(name, table)

    def tables(self) -> dict[str, list[tuple[str, str]]]:
        described = {name: self._connection.execute(f"describe {name}").fetchall() for name in self._tables}
        return {name: [(row[0], row[1]) for row in rows] for name, rows in described.items()}

    def query(self, sql: str, params: Any = ()) -> pa.Table:
        return self._connection.sql(sql, params=_bound(params)).to_arrow_table()

    def execute(self, sql: str, params: Any = ()) -> None:
        self._connection.execute(sql, _bound(params))

    def register(self, name: str, table: pa.Table) -> None:
        self._connection.register(name, table)


def publish_shop(
    settings: Settings,
    clients: Sequence[Mapping[str, Any]],
    *,
    as_of: date = AS_OF,
    batches: tuple[str, ...] = (),
    more: Mapping[str, pa.Table] | None = None,
) -> DayRun:
    """Open a run and publish the clients, their scores and `more` tables, as build, publish and score would."""
    engine = open_ledger(settings)
    run = open_run(engine, as_of, batches, settings.config_digest())
    tables = shop_tables(clients, as_of=as_of) | dict(more or {})
    prepare_build(settings, run, raw_files={}, ledger=[])
    with build_connection(settings, run, read_only=False) as connection:
        for name, table in tables.items():
            connection.register("arriving", table)
            connection.execute(f"create or replace table marts.{name} as select * from arriving")
            connection.unregister("arriving")
    mark_built(settings, run, [TableSpec(name) for name in tables])
    version_id, _ = publish_marts(settings, run)
    advance(engine, run.run_id, "published", version_id=version_id)
    version_id = publish_table(settings, run, "client_scores", scores(clients, as_of), step="score")
    advance(engine, run.run_id, "scored", version_id=version_id)
    return run


def days_before(days: int, as_of: date = AS_OF) -> date:
    """A business date before the day."""
    return as_of - timedelta(days=days)


def _bound(params: Any) -> Any:
    return dict(params) if isinstance(params, Mapping) else list(params)


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([_exact(row.get(f.name), f.type) for row in rows], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _exact(value: Any, kind: pa.DataType) -> Any:
    return Decimal(str(value)) if pa.types.is_decimal(kind) and value is not None else value


def _rows(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    return _table([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
