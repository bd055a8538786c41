"""What someone is told: each trouble once, and its end once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from perennial.contracts.records import Alert
from perennial.core import clock
from perennial.ledger.tables import alerts

_MESSAGE_LENGTH = 2_000


def record_alerts(engine: sa.Engine, current: Sequence[Alert]) -> list[Alert]:
    """Write which troubles there are now, and give what nobody was told of yet: new ones, and ends of told ones.

    A trouble that was over and comes back is new. One that ended before anyone was told of it is not told any more.
    """
    now = clock.now().replace(tzinfo=None)
    there = {alert.alert_id: alert for alert in current}
    with engine.begin() as connection:
        known = {row.alert_id: row for row in connection.execute(sa.select(alerts))}
        for alert in there.values():
            _raise(connection, alert, known.get(alert.alert_id), now)
        for row in known.values():
            if row.alert_id not in there and row.ended_at is None:
                told_at = None if row.told_at is not None else now
                connection.execute(_update(row.alert_id).values(ended_at=now, told_at=told_at))
        rows = connection.execute(
            sa.select(alerts).where(alerts.c.told_at.is_(None)).order_by(alerts.c.kind, alerts.c.subject)
        ).all()
    return [_alert(row, there) for row in rows]


def mark_told(engine: sa.Engine, told: Sequence[Alert]) -> None:
    """Write that these were told. Call it after the notification went out: what is not marked is told again."""
    now = clock.now().replace(tzinfo=None)
    with engine.begin() as connection:
        for alert in told:
            ended = alerts.c.ended_at.is_not(None) if alert.ended else alerts.c.ended_at.is_(None)
            connection.execute(_update(alert.alert_id).where(ended).values(told_at=now))


def _raise(connection: sa.Connection, alert: Alert, row: sa.Row[Any] | None, now: Any) -> None:
    message = alert.message[:_MESSAGE_LENGTH]
    if row is None:
        values = {"alert_id": alert.alert_id, "kind": alert.kind, "subject": alert.subject, "raised_at": now}
        connection.execute(sa.insert(alerts).values(**values, message=message))
    elif row.ended_at is not None:
        connection.execute(_update(alert.alert_id).values(message=message, raised_at=now, told_at=None, ended_at=None))


def _update(alert_id: str) -> sa.Update:
    return sa.update(alerts).where(alerts.c.alert_id == alert_id)


def _alert(row: sa.Row[Any], there: dict[str, Alert]) -> Alert:
    if row.ended_at is None:
        return there[row.alert_id]
    return Alert(row.alert_id, row.kind, row.subject, f"it is over: {row.message}", "/perennial/batches", ended=True)
