"""The arm of a client in an experiment: drawn once, written down with the date, never changed (L8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from perennial.ledger.contact_history import read_arrow
from perennial.ledger.tables import assignments

ASSIGNED = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("arm", pa.string())])
DRAWN = pa.schema([*ASSIGNED, ("assigned_on", pa.date32())])
_IDS_AT_ONCE = 500


def assigned(engine: sa.Engine, experiments: Collection[str], *, until: date, since: date | None = None) -> pa.Table:
    """The arms drawn in these experiments on business dates until `until` (included): campaign_id, client_id, arm."""
    a = assignments.c
    query = sa.select(a.experiment, a.client_id, a.arm).where(
        a.experiment.in_(sorted(experiments)), a.assigned_on <= until
    )
    if since is not None:
        query = query.where(a.assigned_on >= since)
    return read_arrow(engine, query, ASSIGNED)


def drawn_for(engine: sa.Engine, experiments: Collection[str], client_ids: Sequence[str], *, until: date) -> pa.Table:
    """The arms of these ids alone, the oldest first: `DRAWN` rows."""
    a = assignments.c
    query = (
        sa.select(a.experiment, a.client_id, a.arm, a.assigned_on)
        .where(a.experiment.in_(sorted(experiments)), a.assigned_on <= until)
        .order_by(a.assigned_on, a.experiment, a.client_id)
    )
    parts = [client_ids[start : start + _IDS_AT_ONCE] for start in range(0, len(client_ids), _IDS_AT_ONCE)]
    found = [read_arrow(engine, query.where(a.client_id.in_(part)), DRAWN) for part in parts]
    return pa.concat_tables([DRAWN.empty_table(), *found]).sort_by(
        [("assigned_on", "ascending"), ("campaign_id", "ascending"), ("client_id", "ascending")]
    )


def drawn_in(engine: sa.Engine, experiment: str, *, until: date) -> pa.Table:
    """Everyone assigned in the experiment on business dates until `until`, the oldest first: `DRAWN` rows."""
    a = assignments.c
    query = (
        sa.select(a.experiment, a.client_id, a.arm, a.assigned_on)
        .where(a.experiment == experiment, a.assigned_on <= until)
        .order_by(a.assigned_on, a.client_id)
    )
    return read_arrow(engine, query, DRAWN)


def begun(engine: sa.Engine, experiments: Collection[str], *, until: date) -> dict[str, date]:
    """The first business date on which anyone was assigned in each of these experiments."""
    a = assignments.c
    query = (
        sa.select(a.experiment, sa.func.min(a.assigned_on))
        .where(a.experiment.in_(sorted(experiments)), a.assigned_on <= until)
        .group_by(a.experiment)
    )
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def sizes(engine: sa.Engine, experiments: Collection[str], *, until: date) -> dict[tuple[str, str], int]:
    """How many clients were assigned to each (experiment, arm) on business dates until `until`."""
    a = assignments.c
    query = (
        sa.select(a.experiment, a.arm, sa.func.count())
        .where(a.experiment.in_(sorted(experiments)), a.assigned_on <= until)
        .group_by(a.experiment, a.arm)
    )
    with engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def experiments(engine: sa.Engine) -> list[str]:
    """Every experiment that anyone was assigned in."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(assignments.c.experiment).distinct().order_by("experiment")).scalars())


def record(engine: sa.Engine, drawn: Iterable[pa.RecordBatch], *, on: date) -> None:
    """Write down the arms (batches of campaign_id, client_id, arm) that are not there yet, in one transaction.

    An arm that is there already stays, whatever is drawn now.
    """
    statement: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    insert = statement(assignments).on_conflict_do_nothing()
    with engine.begin() as connection:
        for batch in drawn:
            rows = [
                {"experiment": row["campaign_id"], "client_id": row["client_id"], "arm": row["arm"], "assigned_on": on}
                for row in batch.to_pylist()
            ]
            if rows:
                connection.execute(insert, rows)
