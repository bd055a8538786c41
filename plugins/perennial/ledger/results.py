"""The final results of campaigns: written once, at the end, and read ever after (L21)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.result_tables import campaign_results

_KEY = ("campaign_id", "arm", "metric")
_DATES = ("as_of_date", "frozen_on")


def freeze(engine: sa.Engine, rows: Sequence[dict[str, Any]], *, on: date) -> int:
    """Write the rows of campaigns that have none yet; gives how many. What is there stays as it is."""
    known = set(frozen(engine, until=date.max))
    moment = clock.now().replace(tzinfo=None)
    new = [
        {
            **{name: row[name] for name in _KEY},
            "frozen_on": on,
            "result": {name: value for name, value in row.items() if name not in (*_KEY, *_DATES)},
            "recorded_at": moment,
        }
        for row in rows
        if row["campaign_id"] not in known
    ]
    if new:
        with engine.begin() as connection:
            connection.execute(sa.insert(campaign_results), new)
    return len(new)


def frozen(engine: sa.Engine, *, until: date) -> dict[str, list[dict[str, Any]]]:
    """By campaign its final rows, where the end was on business dates until `until` (included), with `frozen_on`."""
    r = campaign_results.c
    query = sa.select(campaign_results).where(r.frozen_on <= until).order_by(r.campaign_id, r.arm, r.metric)
    found: dict[str, list[dict[str, Any]]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query).mappings():
            whole = {**{name: row[name] for name in _KEY}, "frozen_on": row["frozen_on"], **row["result"]}
            found.setdefault(row["campaign_id"], []).append(whole)
    return found
