"""Troubles as a source of events: a source falls silent, a quarantine grows, a batch is refused. No run polls."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from perennial.orchestration.announcing import announcements

_FIRST_REMINDER_SECONDS = 600.0
_IDS_IN_EVENT = 20

log = logging.getLogger(__name__)


class AlertTrigger(BaseEventTrigger):
    """One event for each new set of alerts that nobody was told of; the DAG that it wakes tells them.

    It looks at the ledger every minute. What could not be told is announced again after 10 minutes, then after twice as
    long each time. Without a channel in config/perennial.yml there is nobody to tell, and nothing is announced.
    """

    def __init__(self, *, poll_seconds: float = 60.0) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger anew."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for every set of alerts that is new."""
        looks = announcements(
            self._untold, poll_seconds=self.poll_seconds, first_reminder_seconds=_FIRST_REMINDER_SECONDS
        )
        async for untold in looks:
            yield self._event(untold)

    def _event(self, untold: AbstractSet[tuple[str, bool]]) -> TriggerEvent:
        ids = sorted(alert_id for alert_id, _ended in untold)
        return TriggerEvent({"alerts": len(ids), "ids": ids[:_IDS_IN_EVENT]})

    def _untold(self) -> frozenset[tuple[str, bool]]:
        """Id of every alert that waits, and whether it is over; nothing while ledger or config cannot be read."""
        import sqlalchemy as sa

        from perennial.core.errors import PerennialError
        from perennial.core.settings import load_settings
        from perennial.pipeline.alerts import raise_alerts

        try:
            settings = load_settings()
            found = raise_alerts(settings) if settings.file.alerts else []
        except (PerennialError, OSError, sa.exc.SQLAlchemyError) as error:
            log.error("Troubles are not watched until this is mended: %s", error)
            return frozenset()
        return frozenset((alert.alert_id, alert.ended) for alert in found)
