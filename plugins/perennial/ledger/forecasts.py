"""Forecasts of campaigns as they were made on the first day: written once, never changed (L21)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.forecast_tables import campaign_forecasts


def record(engine: sa.Engine, forecasts: Iterable[dict[str, Any]]) -> int:
    """Write forecasts down; gives how many. One that stands for a campaign and day stays as it is."""
    rows = list(forecasts)
    f = campaign_forecasts.c
    written = 0
    with engine.begin() as connection:
        for row in rows:
            same = sa.select(f.campaign_id).where(f.campaign_id == row["campaign_id"], f.as_of == row["as_of"])
            if connection.execute(same).first() is None:
                told_at = clock.now().replace(tzinfo=None)
                connection.execute(sa.insert(campaign_forecasts).values(**row, recorded_at=told_at))
                written += 1
    return written


def first_days(engine: sa.Engine) -> dict[str, date]:
    """By campaign the day of its newest forecast."""
    f = campaign_forecasts.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(f.campaign_id, sa.func.max(f.as_of)).group_by(f.campaign_id))
        return {row[0]: row[1] for row in rows}


def newest(engine: sa.Engine) -> dict[str, dict[str, Any]]:
    """By campaign its newest forecast, column by column."""
    f = campaign_forecasts.c
    found: dict[str, dict[str, Any]] = {}
    with engine.connect() as connection:
        for row in connection.execute(sa.select(campaign_forecasts).order_by(f.campaign_id, f.as_of)).mappings():
            found[row["campaign_id"]] = dict(row)
    return found
