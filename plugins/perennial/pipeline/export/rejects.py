"""The sheet of rejected rows: who (masked), why, what to mend, and whether it is tried again (L15)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa

from perennial.core.personal import mask_email, mask_phone
from perennial.core.settings import Settings
from perennial.delivery.formulas import safe_texts
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run, published_version
from perennial.ledger.tables import deliveries
from perennial.warehouse.engine import Published, open_published, register_contacts

COLUMNS = ("campaign", "channel", "destination", "client_id", "client_key", "who", "why", "what_to_do", "tried_again")
_UNKNOWN = ("the tool may have taken the row, and cannot be asked", "look in the tool", "waits for a person")
_PARTS = 3


def rejects(settings: Settings, as_of: date) -> Iterator[tuple[str, ...]]:
    """The rejected and unknown rows of a date, by campaign and client, as `COLUMNS`."""
    engine = open_ledger(settings)
    d = deliveries.c
    query = (
        sa.select(d.campaign_id, d.channel, d.destination, d.client_id, d.state, d.reason)
        .where(d.as_of == as_of, d.state.in_(["rejected", "unknown"]))
        .order_by(d.campaign_id, d.channel, d.client_id)
    )
    run = last_run(engine, as_of)
    with engine.connect().execution_options(reading=True) as connection:
        rows = connection.execute(query).all()
    if run is None or not rows:
        return
    with open_published(settings, published_version(engine, run.run_id)) as published:
        register_contacts(settings, published, run, "r_contacts")
        people = _people(published, {row.client_id for row in rows})
    for row in rows:
        key, email, phone = people.get(row.client_id, ("", "", ""))
        who = mask_phone(phone) if row.channel in ("sms", "call") else mask_email(email)
        parts = _parts(row.reason) if row.state == "rejected" else _UNKNOWN
        yield (row.campaign_id, row.channel, row.destination, row.client_id, key, who, *parts)


def write_sheet(settings: Settings, as_of: date, path: Path) -> int:
    """Write the sheet as CSV that a spreadsheet opens, readable by its owner alone; gives its rows."""
    written = 0
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(made, "w", encoding="utf-8-sig", newline="") as f:
        sheet = csv.writer(f)
        sheet.writerow(COLUMNS)
        for row in rejects(settings, as_of):
            sheet.writerow(safe_texts(pa.array(row, pa.string())).to_pylist())
            written += 1
    return written


def _people(published: Published, ids: set[str]) -> dict[str, tuple[str, str, str]]:
    published.register("r_wanted", pa.table({"client_id": pa.array(sorted(ids), pa.string())}))
    query = """
select w.client_id, k.client_key, c.email, c.phone
from r_wanted as w
left join dim_clients as k on k.client_id = w.client_id
left join r_contacts as c on c.client_id = w.client_id
"""
    return {
        row["client_id"]: (row["client_key"] or "", row["email"] or "", row["phone"] or "")
        for row in published.query(query).to_pylist()
    }


def _parts(sentence: str | None) -> tuple[str, str, str]:
    """The words, the fix and when it is tried again, as delivery.reasons joins them."""
    parts = [*(sentence or "").split("; "), "", "", ""][:_PARTS]
    return parts[0], parts[1], parts[2]
