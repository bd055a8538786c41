"""What the ledger knows about contacts: accepted sends before a day, on it, and who stands on an audience list (L10).

Everything comes as Arrow, read in chunks on a snapshot that keeps no writer waiting.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.records import DayRun
from perennial.ledger.delivery_tables import push_chunks
from perennial.ledger.tables import deliveries, lists, runs

_ROWS = 50_000
_PAIR = [("campaign_id", pa.string()), ("client_id", pa.string()), ("channel", pa.string())]
_CONTACTS = pa.schema([*_PAIR, ("contacted_on", pa.date32())])
_PAIRS = pa.schema(_PAIR)
_TAKEN = pa.schema([("campaign_id", pa.string()), ("client_id", pa.string()), ("contacted_on", pa.date32())])


def accepted_before(engine: sa.Engine, as_of: date, since: date) -> pa.Table:
    """Adds of dates from `since` to the day before `as_of`: campaign_id, client_id, channel, contacted_on.

    Accepted ones, those of which nobody knows whether the tool took them, and those that are on their way to it: a cap
    rather counts one too many.
    """
    d = deliveries.c
    query = sa.select(d.campaign_id, d.client_id, d.channel, d.as_of).where(
        d.state.in_(["accepted", "unknown"]), d.action == "add", d.as_of < as_of
    )
    marked = read_arrow(engine, query.where(d.as_of >= since), _CONTACTS)
    on_the_way = _on_the_way(engine, lists.c.as_of < as_of, lists.c.as_of >= since)
    return pa.concat_tables([marked, on_the_way])


def accepted_of(engine: sa.Engine, campaign_ids: Collection[str], as_of: date) -> pa.Table:
    """All adds of these campaigns before `as_of` that were taken, or may have been: campaign_id, client_id, day."""
    d = deliveries.c
    query = sa.select(d.campaign_id, d.client_id, d.as_of).where(
        d.state.in_(["accepted", "unknown"]), d.action == "add", d.as_of < as_of
    )
    wanted = sorted(campaign_ids)
    marked = read_arrow(engine, query.where(d.campaign_id.in_(wanted)), _TAKEN)
    on_the_way = _on_the_way(engine, lists.c.as_of < as_of, lists.c.campaign_id.in_(wanted))
    return pa.concat_tables([marked, on_the_way.select(_TAKEN.names)])


def _on_the_way(engine: sa.Engine, *where: sa.ColumnElement[bool]) -> pa.Table:
    """The rows of chunks that a tool was handed and has not answered for yet, one batch per chunk: `_CONTACTS`."""
    c = push_chunks.c
    query = sa.select(lists.c.campaign_id, lists.c.channel, lists.c.as_of, c.client_keys).select_from(
        push_chunks.join(lists, lists.c.list_id == c.list_id)
    )
    query = query.where(c.state.in_(["sending", "submitted"]), c.action == "add", c.client_keys.is_not(None), *where)
    batches = []
    with engine.connect().execution_options(reading=True, yield_per=1) as connection:
        for chunk in connection.execute(query.order_by(c.chunk_id)).mappings():
            shared = {"campaign_id": chunk["campaign_id"], "channel": chunk["channel"], "contacted_on": chunk["as_of"]}
            rows = [{**shared, "client_id": client_id} for client_id, _ in chunk["client_keys"]]
            batches.append(pa.RecordBatch.from_pylist(rows, schema=_CONTACTS))
    return pa.Table.from_batches(batches, schema=_CONTACTS)


def accepted_by_earlier_revisions(engine: sa.Engine, run: DayRun) -> pa.Table:
    """Accepted adds of the run's own date by earlier revisions of that date: campaign_id, client_id, channel."""
    d = deliveries.c
    sent_by = deliveries.join(lists, d.list_id == lists.c.list_id).join(runs, lists.c.run_id == runs.c.run_id)
    query = (
        sa.select(d.campaign_id, d.client_id, d.channel)
        .select_from(sent_by)
        .where(*_accepted_adds(), d.as_of == run.as_of, runs.c.as_of == run.as_of, runs.c.revision < run.revision)
    )
    return read_arrow(engine, query, _PAIRS)


def spent_since(engine: sa.Engine, since: Mapping[str, date], as_of: date) -> dict[tuple[str, str], int]:
    """Contacts by (campaign, channel) from each campaign's first day (`since`) to the day before `as_of`."""
    d = deliveries.c
    found: dict[tuple[str, str], int] = {}
    with engine.connect().execution_options(reading=True) as connection:
        for campaign_id, first in sorted(since.items()):
            query = sa.select(d.channel, sa.func.count()).where(
                d.campaign_id == campaign_id, *_accepted_adds(), d.as_of >= first, d.as_of < as_of
            )
            for row in connection.execute(query.group_by(d.channel)):
                found[campaign_id, row[0]] = row[1]
    return found


def members_of(engine: sa.Engine, campaign_ids: Collection[str], as_of: date) -> pa.Table:
    """Who stood on these audience lists at the end of the day before `as_of`: added, and not removed since."""
    d = deliveries.c
    added = sa.func.max(sa.case((d.action == "add", d.as_of)))
    removed = sa.func.max(sa.case((d.action == "remove", d.as_of)))
    query = (
        sa.select(d.campaign_id, d.client_id, d.channel)
        .where(d.state == "accepted", d.as_of < as_of, d.campaign_id.in_(sorted(campaign_ids)))
        .group_by(d.campaign_id, d.client_id, d.channel)
        .having(added.is_not(None), sa.or_(removed.is_(None), removed < added))
    )
    return read_arrow(engine, query, _PAIRS)


def read_arrow(engine: sa.Engine, query: sa.Select[Any], schema: pa.Schema) -> pa.Table:
    """The query's rows as one Arrow table of the schema, whose fields follow the query's columns."""
    return pa.Table.from_batches(_batches(engine, query, schema), schema=schema)


def _batches(engine: sa.Engine, query: sa.Select[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with engine.connect().execution_options(reading=True, yield_per=_ROWS) as connection:
        for rows in connection.execute(query).partitions():
            columns = zip(*rows, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _accepted_adds() -> tuple[sa.ColumnElement[bool], ...]:
    return deliveries.c.state == "accepted", deliveries.c.action == "add"
