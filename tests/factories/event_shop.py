"""A config whose shop posts events: orders and complaints by webhook, orders and payments by a queue."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

SECRET = "a shared secret"
PREVIOUS = "the secret before"
SIGNATURE = "X-Signature"
QUEUE_STREAM = "shop.orders"

ORDER_COLUMNS = {
    "order_key": "order_id",
    "client_key": "customer.id",
    "product_key": "sku",
    "ordered_at": "sold_at",
    "quantity": "quantity",
    "amount": "amount",
}


def write_config(folder: Path, *, wakes_within_seconds: float = 5, port: int = 0, **webhook: object) -> Path:
    """config/ with the sources `web` (webhook) and, where there is a port, `bus` (queue)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "perennial.yml").write_text(
        "version: 1\ncompany: {name: Event shop, zone: UTC, currency: EUR}\nassignment_salt: event-shop-2026\n"
    )
    sources: dict[str, object] = {"web": _web(wakes_within_seconds, webhook)}
    if port:
        sources["bus"] = _bus(wakes_within_seconds)
    (folder / "sources.yml").write_text(yaml.safe_dump({"version": 1, "sources": sources}, sort_keys=False))
    return folder


def _web(seconds: float, webhook: dict[str, object]) -> dict[str, object]:
    entities = {
        "orders": _orders("web/orders_*.jsonl", {"wakes_within_seconds": seconds}),
        "complaints": {
            "entity": "interactions",
            "path": "web/complaints_*.jsonl",
            "business_date": "happened_at",
            "cadence": "on_change",
            "format": {"type": "jsonl"},
            "columns": {
                "interaction_key": "id",
                "client_key": "customer",
                "interaction_kind": "kind",
                "happened_at": "at",
            },
            "events": {"match": {"kind": "complaint"}, "wakes_within_seconds": seconds},
        },
    }
    return {
        **_source("ingest_sales"),
        "connection": {"kind": "webhook", "id": "web_hook", **webhook},
        "entities": entities,
    }


def _bus(seconds: float) -> dict[str, object]:
    events = {"stream": QUEUE_STREAM, "match": {"type": "order"}, "records": "data", "wakes_within_seconds": seconds}
    return {
        **_source("ingest_sales"),
        "connection": {"kind": "queue", "id": "bus_queue", "max_events": 500},
        "entities": {"orders": _orders("bus/orders_*.jsonl", events)},
    }


def _source(dag: str) -> dict[str, object]:
    return {"description": "Events", "owner": "data-engineering", "dag": dag, "namespace": "shop", "settle_seconds": 0}


def _orders(path: str, events: dict[str, object]) -> dict[str, object]:
    return {
        "entity": "order_lines",
        "path": path,
        "business_date": "ordered_at",
        "cadence": "on_change",
        "format": {"type": "jsonl"},
        "columns": ORDER_COLUMNS,
        "events": events,
    }


def order(number: int) -> dict[str, object]:
    """The event of one order: its own client, article and amount."""
    sold_at = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=number)
    return {
        "order_id": f"o{number}",
        "customer": {"id": f"c{number % 97}"},
        "sku": f"s{number % 13}",
        "sold_at": sold_at.isoformat(),
        "quantity": 1 + number % 3,
        "amount": round(1 + number / 100, 2),
    }


def complaint(number: int) -> dict[str, object]:
    """The event of one complaint."""
    return {"id": f"k{number}", "customer": f"c{number}", "kind": "complaint", "at": "2026-01-02T09:30:00Z"}


def signed(event: object, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """The body of an event and the headers that sign it."""
    body = json.dumps(event).encode()
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return body, {SIGNATURE: digest, "Content-Type": "application/json"}


def hook_environment(secret: str = SECRET) -> dict[str, str]:
    """The connection of the webhook as Airflow's JSON, with the secret before."""
    connection = {"conn_type": "http", "password": secret, "extra": {"previous": PREVIOUS}}
    return {"AIRFLOW_CONN_WEB_HOOK": json.dumps(connection)}


def free_port() -> int:
    """A port of this host that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rows_below(folder: Path, pattern: str) -> list[dict[str, object]]:
    """The rows of every file that the pattern finds; a torn line is an error."""
    return [json.loads(line) for path in sorted(folder.glob(pattern)) for line in path.read_text().splitlines()]


def loaded_orders(settings) -> list[str]:
    """The order keys of every loaded line, by the ledger's list of committed batches."""
    import duckdb

    from perennial.ledger import batches
    from perennial.ledger.engine import open_ledger

    paths = [
        str(settings.home / one.raw_path) for one in batches.committed(open_ledger(settings), entity="order_lines")
    ]
    return sorted(key for (key,) in duckdb.execute("select order_key from read_parquet(?)", [paths]).fetchall())


def age_spool(landing: Path, seconds: float) -> None:
    """Make what was gathered so many seconds older, by its names."""
    for path in landing.glob("*/.spool/*/*.jsonl"):
        made, _, rest = path.name.partition("-")
        path.replace(path.with_name(f"{int(made) - int(seconds * 1e9):020d}-{rest}"))
