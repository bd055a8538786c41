"""Outside systems as a source of events: one that is due and has something new wakes the DAG that fetches it.

Remote files are listed here, so that a folder in which nothing is new makes no run. Databases and APIs cannot say so
cheaply: they are asked when their minutes have passed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from datetime import datetime

    from perennial.core.connections import ConnectionStore

_FIRST_REMINDER_SECONDS = 300.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Announced:
    """A source that was told of: when it had been asked last, when it is told again, and how long after that."""

    asked: datetime | None
    again: float
    patience: float


class FetchTrigger(BaseEventTrigger):
    """One event for the sources that have become due; a source that nobody fetched is announced again.

    First after 5 minutes, then after twice as long each time. It looks, it does not touch: an event that is lost or
    comes twice does no harm.
    """

    connections: ConnectionStore | None = None  # Airflow's, unless a test sets another

    def __init__(self, *, poll_seconds: float = 5.0) -> None:
        super().__init__()
        self.poll_seconds = poll_seconds
        self._announced: dict[str, _Announced] = {}
        self._quiet_until: dict[str, float] = {}  # nothing was new when we last looked

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger anew."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event whenever sources have become due."""
        while True:
            due = await asyncio.to_thread(self._due)
            self._announced = {n: said for n, said in self._announced.items() if n in due and due[n] == said.asked}
            waiting = [name for name in due if self._is_told_now(name)]
            looked = await asyncio.gather(*(asyncio.to_thread(self._has_news, name) for name in waiting))
            news = [name for name, is_new in zip(waiting, looked, strict=True) if is_new]
            for name in news:
                patience = 2 * self._announced[name].patience if name in self._announced else _FIRST_REMINDER_SECONDS
                self._announced[name] = _Announced(due[name], time.monotonic() + patience, patience)
            if news:
                yield TriggerEvent({"sources": sorted(news)})
            await asyncio.sleep(self.poll_seconds)

    def _is_told_now(self, name: str) -> bool:
        now = time.monotonic()
        again = self._announced[name].again if name in self._announced else 0.0
        return now >= max(again, self._quiet_until.get(name, 0.0))

    def _due(self) -> dict[str, datetime | None]:
        """The sources that are due, each with when it was asked last; none while the configuration cannot be read."""
        from perennial.core.errors import PerennialError
        from perennial.core.settings import load_settings
        from perennial.pipeline.fetch import due

        try:
            return due(load_settings())
        except PerennialError as error:
            log.error("Outside systems are not asked until this is mended:\n%s", error)
            return {}

    def _has_news(self, name: str) -> bool:
        """A system that cannot be asked counts as news: the run then says why, and people see it."""
        from perennial.core.errors import PerennialError
        from perennial.core.settings import load_settings
        from perennial.orchestration.connections import AirflowConnections
        from perennial.pipeline.fetch import every_minutes, has_news

        try:
            settings = load_settings()
            if has_news(settings, name, connections=self.connections or AirflowConnections()):
                return True
            self._quiet_until[name] = time.monotonic() + 60 * every_minutes(settings, name)
        except PerennialError as error:
            log.warning("Source %s could not be looked at: %s", name, error)
            return True
        return False


def fetch_triggers(make: Callable[[], FetchTrigger] = FetchTrigger) -> dict[str, FetchTrigger]:
    """The one trigger, when config/sources.yml has a source that is asked; else none, which costs nothing."""
    from perennial.core.errors import PerennialError
    from perennial.core.settings import load_settings
    from perennial.pipeline.fetch import fetchable

    try:
        return {"ask_sources": make()} if fetchable(load_settings()) else {}
    except PerennialError as error:
        log.error("Outside systems are not asked until this is mended:\n%s", error)
        return {}
