"""How a run's pushes go on: a stall is noticed by what has moved, not by time alone; and the end of the run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from perennial.contracts.records import DayRun
from perennial.core import clock
from perennial.core.errors import Problem, RetryableError
from perennial.core.settings import Settings
from perennial.ledger.delivery_tables import push_chunks
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance
from perennial.ledger.tables import lists

STALL_MINUTES = 30
_SUMS = ("size", "sent", "rejected", "skipped", "pending")


def require_progress(settings: Settings, destination: str) -> None:
    """Raise RetryableError when no chunk of the destination has moved for half an hour while some are on their way."""
    c = push_chunks.c
    moved = sa.select(sa.func.max(c.moved_at)).where(c.destination == destination)
    waiting = sa.select(sa.func.count(), sa.func.min(c.list_id)).where(
        c.destination == destination, c.state == "submitted"
    )
    with open_ledger(settings).connect() as connection:
        newest = connection.execute(moved).scalar()
        [chunks, list_id] = connection.execute(waiting).one()
    if not chunks or newest is None:
        return
    if clock.now().replace(tzinfo=None) - newest >= timedelta(minutes=STALL_MINUTES):
        problem = f"{chunks} jobs of {destination} have not moved since {newest:%Y-%m-%d %H:%M} UTC"
        fix = "look at the tool's jobs; the next try follows them on, and sends nothing twice"
        raise RetryableError(Problem(str(list_id), problem, fix))


def close(settings: Settings, run: DayRun) -> dict[str, Any]:
    """The run is done; gives how many lists it has, their sums and the folders of those that are files."""
    engine = open_ledger(settings)
    columns = [lists.c[name] for name in (*_SUMS, "path")]
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).where(lists.c.as_of == run.as_of)).mappings().all()
    advance(engine, run.run_id, "done")
    paths = [str(settings.home / row["path"]) for row in rows if row["path"]]
    return {"lists": len(rows), **{name: sum(row[name] for row in rows) for name in _SUMS}, "paths": paths}
