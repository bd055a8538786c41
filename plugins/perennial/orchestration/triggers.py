"""The landing zone as a source of events: files that have settled wake the DAG that ingests them, nothing else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from perennial.orchestration.announcing import announcements

_NAMES_IN_EVENT = 20
_FIRST_REMINDER_SECONDS = 300.0

log = logging.getLogger(__name__)


class LandingTrigger(BaseEventTrigger):
    """One event for each new set of settled files that the sources of `dag` are waiting for.

    It looks, it does not touch: the DAG finds the files anew and takes them, so an event that is lost or comes twice
    does no harm. Files that nobody took are announced again after 5 minutes, then after twice as long each time.
    Events of webhooks and queues that were gathered long enough are moved into the landing zone first: whoever wrote
    them may be gone.
    """

    def __init__(self, *, dag: str, poll_seconds: float = 1.0) -> None:
        super().__init__()
        self.dag = dag
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger anew."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "dag": self.dag,
            "poll_seconds": self.poll_seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for every set of files that has settled and was not announced yet."""
        looks = announcements(
            self._ready, poll_seconds=self.poll_seconds, first_reminder_seconds=_FIRST_REMINDER_SECONDS
        )
        async for ready in looks:
            yield self._event(ready)

    def _event(self, ready: AbstractSet[tuple[str, int, int]]) -> TriggerEvent:
        names = sorted(name for name, _size, _changed in ready)
        return TriggerEvent({"dag": self.dag, "files": len(names), "names": names[:_NAMES_IN_EVENT]})

    def _ready(self) -> set[tuple[str, int, int]]:
        """Name, size and time of change of every settled file; nothing while config or folder cannot be read."""
        from perennial.core.errors import PerennialError
        from perennial.core.settings import load_settings
        from perennial.sources.config import load_sources
        from perennial.sources.events import land_due
        from perennial.sources.landing import ready_files

        try:
            settings = load_settings()
            sources = {
                name: source for name, source in load_sources(settings).sources.items() if source.dag == self.dag
            }
            for name, source in sources.items():
                land_due(settings, name, source)
            found = [ready_files(settings, name) for name in sources]
        except (PerennialError, OSError) as error:
            log.error("The landing zone is not watched until this is mended:\n%s", error)
            return set()
        return {(f.name, f.size, f.mtime_ns) for by_entity in found for files in by_entity.values() for f in files}
