"""Consent: an append-only list of what people said, and the state that follows from it as of a date (L9)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from perennial.core.ids import digest_of
from perennial.ledger.tables import consent_events

_ID_LENGTH = 32
_ROWS_AT_ONCE = 10_000
_ALL = "all"
_CLIENT = attrgetter("client_ref")
_STATE = pa.schema([(name, pa.string()) for name in ("client_ref", "channel", "purpose", "status")])


def append_events(connection: sa.Connection, events: pa.Table | pa.RecordBatchReader, *, source: str) -> int:
    """Append events (client_ref, channel, purpose, status, changed_at, known_on), within the caller's transaction.

    An event that is there already is left as it is. Returns how many rows were given.
    """
    reader = events.to_reader() if isinstance(events, pa.Table) else events
    given = 0
    for batch in reader:
        rows = iter([_row(event, source) for event in batch.to_pylist()])
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            connection.execute(_insert(connection), chunk)
            given += len(chunk)
    return given


def _row(event: dict[str, Any], source: str) -> dict[str, Any]:
    changed_at: datetime = event["changed_at"]
    known_on: date = event["known_on"]
    said = [event["client_ref"], event["channel"], event["purpose"], event["status"]]
    digest = digest_of([*said, changed_at.isoformat(), known_on.isoformat(), source], length=_ID_LENGTH)
    return {**event, "event_id": digest, "source": source}


def _insert(connection: sa.Connection) -> sa.Insert:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: sa.Insert = dialect.insert(consent_events).on_conflict_do_nothing(index_elements=["event_id"])
    return statement


def consent_state(engine: sa.Engine, as_of: date) -> pa.Table:
    """What was known at the end of `as_of`: one row per client_ref, channel and purpose, with its status.

    Within the three the latest change wins, and of several at the same moment a withdrawal. A withdrawal for the
    channel or purpose `all` withdraws every grant that it names and that is not later than it. A grant for `all` is a
    row of its own: it does not undo the withdrawal of one purpose.
    """
    with engine.connect() as connection:
        result = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(_latest_said(as_of))
        states = (state for _client, said in groupby(result, _CLIENT) for state in _states(list(said)))
        parts = []
        while chunk := list(islice(states, _ROWS_AT_ONCE)):
            columns = [pa.array(column, pa.string()) for column in zip(*chunk, strict=True)]
            parts.append(pa.Table.from_arrays(columns, schema=_STATE))
    return pa.concat_tables(parts) if parts else _STATE.empty_table()


def _states(said: list[sa.Row[Any]]) -> Iterator[tuple[str, str, str, str]]:
    """The states of one client, from the last thing that was said of each channel and purpose."""
    sweeping = [row for row in said if row.status == "withdrawn" and _ALL in (row.channel, row.purpose)]
    for row in said:
        withdrawn = any(
            sweep.channel in (row.channel, _ALL)
            and sweep.purpose in (row.purpose, _ALL)
            and sweep.changed_at >= row.changed_at
            for sweep in sweeping
        )
        yield row.client_ref, row.channel, row.purpose, "withdrawn" if withdrawn else row.status


def _latest_said(as_of: date) -> sa.Select[Any]:
    events = consent_events.c
    nth = sa.func.row_number().over(
        partition_by=[events.client_ref, events.channel, events.purpose],
        order_by=[events.changed_at.desc(), events.status.desc(), events.event_id],  # withdrawn before granted
    )
    columns = [events.client_ref, events.channel, events.purpose, events.status, events.changed_at]
    said = sa.select(*columns, nth.label("nth")).where(events.known_on <= as_of).subquery()
    return sa.select(said).where(said.c.nth == 1).order_by(said.c.client_ref, said.c.channel, said.c.purpose)
