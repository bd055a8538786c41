"""What was measured of campaigns against their control: intervals that the gate of a pilot decides by."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import sqlalchemy as sa

from perennial.core import clock
from perennial.core.errors import PermanentError, Problem
from perennial.ledger.tables import campaign_effects


def record(engine: sa.Engine, campaign_id: str, known_on: date, *, low: float, high: float, source: str) -> None:
    """Write an interval down (margin per client against control, in the company's currency); a day has one.

    Raises PermanentError when the interval is none.
    """
    if not low <= high:
        raise PermanentError(Problem(campaign_id, f"{low} to {high} is no interval", "give the lower end first"))
    key = {"campaign_id": campaign_id, "known_on": known_on}
    values = {"low": low, "high": high, "source": source, "recorded_at": clock.now().replace(tzinfo=None)}
    same = sa.and_(*(campaign_effects.c[name] == value for name, value in key.items()))
    with engine.begin() as connection:
        connection.execute(sa.delete(campaign_effects).where(same))
        connection.execute(sa.insert(campaign_effects).values(**key, **values))


def effects_of(engine: sa.Engine, campaign_ids: Collection[str], as_of: date) -> list[tuple[str, date, float, float]]:
    """(campaign, known_on, low, high) of what was known on the date, in order."""
    e = campaign_effects.c
    query = (
        sa.select(e.campaign_id, e.known_on, e.low, e.high)
        .where(e.campaign_id.in_(sorted(campaign_ids)), e.known_on <= as_of)
        .order_by(e.campaign_id, e.known_on)
    )
    with engine.connect() as connection:
        return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]
