"""Queues as a source of events: what is on a stream is written into the landing zone, then acknowledged.

Airflow's own MessageQueueTrigger gives no durable hand-over: an event that is fired and not yet stored is lost with the
triggerer. Here the rows are on the disk first, and the landing trigger announces them like any other file.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from perennial.core.connections import ConnectionStore
    from perennial.sources.streams import StreamReader

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0

log = logging.getLogger(__name__)


class QueueTrigger(BaseEventTrigger):
    """Reads the streams of one source for as long as config/sources.yml has it; fires once when it has not any more.

    The queue away, busy or refusing us: tried again after 1 second, then after twice as long each time, a minute at
    most. Two triggerers that run it at once share the work; a restart goes on with what was not acknowledged.
    """

    connections: ConnectionStore | None = None  # Airflow's, unless a test sets another

    def __init__(self, *, source: str, block_ms: int = 1_000) -> None:
        super().__init__()
        self.source = source
        self.block_ms = block_ms

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes this trigger anew."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "source": self.source,
            "block_ms": self.block_ms,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Move entries into the landing zone until the source is gone."""
        await self._read()
        yield TriggerEvent({"source": self.source, "ended": "config/sources.yml has no such queue any more"})

    async def _read(self) -> None:
        from perennial.core.errors import PerennialError

        reader: StreamReader | None = None
        wait = _FIRST_WAIT_SECONDS
        while await asyncio.to_thread(self._is_wanted):
            try:
                if reader is None:
                    reader = await asyncio.to_thread(self._reader)
                await asyncio.to_thread(reader.step, block_ms=self.block_ms)
                wait = _FIRST_WAIT_SECONDS
            except (PerennialError, OSError) as error:
                log.error("The queue of source %s is not read, next try in %s s: %s", self.source, wait, error)
                if reader is not None:
                    reader.close()
                reader = None  # sign in anew: host or password may have changed
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _is_wanted(self) -> bool:
        """Whether config/sources.yml has the queue; a config that cannot be read says nothing about it."""
        from perennial.contracts.connections import QueueConnection
        from perennial.core.errors import PerennialError
        from perennial.core.settings import load_settings
        from perennial.sources.config import load_sources

        try:
            source = load_sources(load_settings()).sources.get(self.source)
        except PerennialError:
            return True
        return source is not None and isinstance(source.connection, QueueConnection)

    def _reader(self) -> StreamReader:
        from perennial.core.settings import load_settings
        from perennial.orchestration.connections import AirflowConnections
        from perennial.sources.config import load_sources
        from perennial.sources.landing import source_of
        from perennial.sources.streams import StreamReader

        settings = load_settings()
        source = source_of(settings, load_sources(settings), self.source)
        connection_id = source.connection.id if source.connection else None
        connection = (self.connections or AirflowConnections()).get(connection_id or "")
        return StreamReader(settings, self.source, source, connection, consumer=f"perennial-{socket.gethostname()}")


def queue_triggers(dag: str) -> dict[str, QueueTrigger]:
    """A trigger for each source of the DAG that has a queue, by its name; none while the config cannot be read."""
    from perennial.contracts.connections import QueueConnection
    from perennial.core.errors import PerennialError
    from perennial.core.settings import load_settings
    from perennial.sources.config import load_sources

    try:
        sources = load_sources(load_settings()).sources
    except PerennialError as error:
        log.error("Queues are not read until this is mended:\n%s", error)
        return {}
    names = [n for n, s in sources.items() if s.dag == dag and isinstance(s.connection, QueueConnection)]
    return {name: QueueTrigger(source=name) for name in names}
