"""What a person has allowed beyond the guards of a list's size (L11): with a ceiling and an expiry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.tables import approvals


@dataclass(frozen=True)
class Approval:
    """One approval: at most so many additions and removals in the list of a campaign and channel on a date."""

    campaign_id: str
    channel: str
    as_of: date
    additions: int
    removals: int
    reason: str
    approved_by: str


def approve(engine: sa.Engine, approval: Approval, *, hours: int) -> datetime:
    """Write an approval down; it ends after so many hours of the operational clock. Gives its end (UTC)."""
    now = clock.now().replace(tzinfo=None)
    expires_at = now + timedelta(hours=hours)
    with engine.begin() as connection:
        connection.execute(sa.insert(approvals).values(**approval.__dict__, approved_at=now, expires_at=expires_at))
    return expires_at


def approval_of(engine: sa.Engine, campaign_id: str, channel: str, as_of: date) -> Approval | None:
    """The newest approval of the list that has not expired, or None."""
    now = clock.now().replace(tzinfo=None)
    a = approvals.c
    columns = [a[name] for name in Approval.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .where(a.campaign_id == campaign_id, a.channel == channel, a.as_of == as_of, a.expires_at > now)
        .order_by(a.approval_id.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        row = connection.execute(query).mappings().first()
    return Approval(**row) if row else None
