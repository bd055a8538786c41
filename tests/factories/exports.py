"""A planned day, ready for export: clients with addresses and consents, and who is a target of what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from factories import published as shop
from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.ledger.consents import append_events
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, get_run
from perennial.warehouse.private import contacts_file
from perennial.warehouse.publish import publish_table

AS_OF = shop.AS_OF
CHANNELS = ("email", "sms", "call")
_CONTACTS = pa.schema(
    [
        *((name, pa.string()) for name in ("client_id", "first_name", "last_name", "email", "phone")),
        ("birth_date", pa.date32()),
    ]
)
DESTINATIONS = {
    "version": 1,
    "destinations": {"outbox": {"kind": "outbox", "channels": [*CHANNELS, "account_manager"]}},
}


def settings_with(
    folder: Path,
    *cards: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    destinations: Mapping[str, Any] | None = None,
) -> Settings:
    """A config folder with these cards and the outbox; gives its settings."""
    settings = shop.write_config(folder, campaigns=cards, policy=policy or shop.policy())
    text = yaml.safe_dump(destinations or DESTINATIONS, sort_keys=False)
    (settings.config_dir / "destinations.yml").write_text(text, encoding="utf-8")
    return settings


def person(client_id: str, **values: Any) -> dict[str, Any]:
    """A contact with an e-mail address and a phone number of her own."""
    number = int(hashlib.md5(client_id.encode()).hexdigest()[:8], 16)
    made = {"first_name": f"First {client_id}", "email": f"{client_id}@example.com", "phone": f"+1{number:010d}"}
    return {"last_name": "Last", "birth_date": None, **made, **values, "client_id": client_id}


def target(
    campaign_id: str, client_id: str, *, channel: str = "email", value: float = 1.0, **more: Any
) -> dict[str, Any]:
    """An outcome of the plan: a target, unless `outcome` says otherwise."""
    outcome = more.pop("outcome", "target")
    arm = more.pop("arm", None if outcome == "refused" else outcome)
    row = {"campaign_id": campaign_id, "client_id": client_id, "channel": channel, "value": value, "cost": 0.1}
    return {**row, "outcome": outcome, "rule": "allocated", "arm": arm, "next_product": None, **more}


def consent(
    settings: Settings,
    client_ids: Iterable[str],
    status: str = "granted",
    *,
    channels: Sequence[str] = CHANNELS,
    purpose: str = "marketing",
    on: date = date(2017, 1, 1),
) -> None:
    """Append consents (or withdrawals) to the ledger."""
    rows = [
        {
            "client_ref": client_id,
            "channel": channel,
            "purpose": purpose,
            "status": status,
            "changed_at": datetime.combine(on, time(12)),
            "known_on": on,
        }
        for client_id in client_ids
        for channel in channels
    ]
    with open_ledger(settings).begin() as connection:
        append_events(connection, pa.Table.from_pylist(rows), source="crm")


def planned_day(
    settings: Settings,
    people: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    *,
    as_of: date = AS_OF,
    batches: tuple[str, ...] = (),
    clients: Sequence[Mapping[str, Any]] | None = None,
) -> DayRun:
    """Publish a day with these contacts and outcomes, as build, publish, score and plan would; gives its run."""
    known = clients if clients is not None else [shop.client(one["client_id"]) for one in people]
    run = shop.publish_shop(settings, known, as_of=as_of, batches=batches)
    write_contacts(settings, run, people)
    outcomes = shop.outcomes({"as_of_date": as_of, **one} for one in targets)
    version_id = publish_table(settings, run, "campaign_outcomes", outcomes, step="plan")
    engine = open_ledger(settings)
    advance(engine, run.run_id, "planned", version_id=version_id)
    return get_run(engine, run.run_id)


def write_contacts(settings: Settings, run: DayRun, people: Sequence[Mapping[str, Any]]) -> None:
    """The run's private store of addresses."""
    path = contacts_file(settings, run.run_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pq.write_table(pa.Table.from_pylist([dict(one) for one in people], schema=_CONTACTS), path)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, and every empty folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
        elif not any(path.iterdir()):
            found[path.relative_to(folder).as_posix() + "/"] = b""
    return found


def manifest_of(settings: Settings, list_id: str) -> dict[str, Any]:
    """The manifest of a list in the outbox."""
    return json.loads((settings.outbox / list_id / "manifest.json").read_text(encoding="utf-8"))


def rows_of(settings: Settings, list_id: str) -> list[dict[str, Any]]:
    """The rows of a list in the outbox, with their real values."""
    return pq.read_table(settings.outbox / list_id / "list.parquet").to_pylist()
