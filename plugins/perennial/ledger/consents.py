"""Consent: an append-only list of what people said, and the state that follows from it as of a date (L9)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from perennial.core.ids import digest_of
from perennial.ledger.contact_history import read_arrow
from perennial.ledger.tables import consent_events

_ID_LENGTH = 32
_ROWS_AT_ONCE = 10_000
_ROWS_READ = 50_000
_ALL = "all"
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


def consent_state(engine: sa.Engine, as_of: date, *, client_ref: str | None = None) -> pa.Table:
    """What was known at the end of `as_of`: client_ref, channel, purpose (one row for each three, in order), status.

    Within the three the latest change wins, and of several at the same moment a withdrawal. A withdrawal for the
    channel or purpose `all` withdraws every grant that it names and that is not later than it. A grant for `all` is a
    row of its own: it does not undo the withdrawal of one purpose. `client_ref` asks for one client alone.
    """
    with engine.connect().execution_options(reading=True, yield_per=_ROWS_READ) as connection:
        chunks = connection.execute(_states(as_of, client_ref)).partitions()
        return pa.Table.from_batches(map(_as_arrow, chunks), schema=_STATE)


def states_of(engine: sa.Engine, as_of: date, refs: Collection[str]) -> Iterator[sa.Row[Any]]:
    """`consent_state` of these client records alone: client_ref, channel, purpose, status."""
    wanted = sorted(refs)
    with engine.connect().execution_options(reading=True) as connection:
        for start in range(0, len(wanted), _ROWS_AT_ONCE):
            mine = consent_events.c.client_ref.in_(wanted[start : start + _ROWS_AT_ONCE])
            events = sa.select(consent_events).where(mine).subquery("of_these").c
            yield from connection.execute(_states(as_of, None, events))


def client_consents(engine: sa.Engine, as_of: date, aliases: pa.Table, *, client_id: str | None = None) -> pa.Table:
    """`consent_state` by client: client_id, channel, purpose, status; `aliases` are (client_ref, client_id) of a run.

    Of a client with several records the strictest counts (L9): a grant stands unless one of the records withdraws it,
    and what was withdrawn under one record is granted again under that record only, for the join itself may be wrong.
    `client_id` asks for one client alone.
    """
    names = ["client_id", *_STATE.names[1:]]
    joined = aliases if client_id is None else aliases.filter(pc.equal(aliases.column("client_id"), client_id))
    if not joined.num_rows:
        return consent_state(engine, as_of, client_ref=client_id).rename_columns(names)
    heads = pc.unique(joined.column("client_id"))
    refs = pa.concat_arrays([heads, joined.column("client_ref").combine_chunks()])
    clients = pa.concat_arrays([heads, joined.column("client_id").combine_chunks()])
    merged = _merged_state(engine, as_of, pa.table({"client_ref": refs, "client_id": clients}))
    if client_id is not None:
        return merged.rename_columns(names)
    own = consent_state(engine, as_of)
    apart = own.filter(pc.invert(pc.is_in(own.column("client_ref"), value_set=refs)))
    return pa.concat_tables([apart, merged]).rename_columns(names)


def _temporary(name: str, *columns: str, key: tuple[str, ...]) -> sa.Table:
    made = [sa.Column(column, sa.String(60), primary_key=column in key) for column in columns]
    return sa.Table(name, sa.MetaData(), *made, prefixes=["TEMPORARY"])


_MEMBERS = _temporary("consent_members", "client_ref", "client_id", key=("client_ref",))
_KEY = ("client_id", "client_ref", "channel", "purpose")
_RECORDS = _temporary("consent_records", *_KEY, "status", key=_KEY)


def _merged_state(engine: sa.Engine, as_of: date, members: pa.Table) -> pa.Table:
    """The strictest state of these clients over their records: members and states are joined in temporary tables."""
    events, joined = (
        consent_events.c,
        sa.join(consent_events, _MEMBERS, consent_events.c.client_ref == _MEMBERS.c.client_ref),
    )
    said = [events[name] for name in ("client_ref", "channel", "purpose", "status", "changed_at", "known_on")]
    state = _states(as_of, None, sa.select(*said).select_from(joined).subquery("of_members").c).subquery("state")
    rows = sa.select(_MEMBERS.c.client_id, *state.c).join(state, state.c.client_ref == _MEMBERS.c.client_ref)
    with engine.connect().execution_options(reading=True) as connection:
        _MEMBERS.create(connection)
        _RECORDS.create(connection)
        for batch in members.to_batches(max_chunksize=_ROWS_AT_ONCE):
            connection.execute(sa.insert(_MEMBERS), batch.to_pylist())
        connection.execute(sa.insert(_RECORDS).from_select(_RECORDS.columns.keys(), rows))
        found = connection.execution_options(yield_per=_ROWS_READ).execute(_strictest())
        table = pa.Table.from_batches(map(_as_arrow, found.partitions()), schema=_STATE)
        connection.rollback()  # the temporary tables go with it
    return table


def _strictest() -> sa.Select[Any]:
    """By client, channel and purpose: withdrawn if a record withdraws it, or all, and says nothing else of it."""
    key, other, own = _RECORDS.alias("key"), _RECORDS.alias("other"), _RECORDS.alias("own")
    exactly = sa.and_(other.c.channel == key.c.channel, other.c.purpose == key.c.purpose)
    said_more = (
        sa.exists()
        .where(own.c.client_id == other.c.client_id, own.c.client_ref == other.c.client_ref)
        .where(own.c.channel == key.c.channel, own.c.purpose == key.c.purpose)
        .correlate(key, other)
    )
    swept = sa.and_(other.c.channel.in_([key.c.channel, _ALL]), other.c.purpose.in_([key.c.purpose, _ALL]), ~said_more)
    denied = (
        sa.exists()
        .where(other.c.client_id == key.c.client_id, other.c.status == "withdrawn", sa.or_(exactly, swept))
        .correlate(key)
    )
    status = sa.case((denied, "withdrawn"), else_="granted").label("status")
    columns = (key.c.client_id.label("client_ref"), key.c.channel, key.c.purpose)
    return sa.select(*columns, status).distinct().order_by(*columns)


def young_grants(engine: sa.Engine, as_of: date, least_days: Mapping[str, int]) -> pa.Table:
    """Grants that are not yet so many full days old on the date: client_ref, channel, purpose.

    `least_days` by channel. The age of a grant counts from the first after the last withdrawal: saying it again makes
    it no younger. What was granted for the channel `all` counts for each of the channels.
    """
    events = consent_events.c
    key = (events.client_ref, events.channel, events.purpose)
    withdrawn = sa.func.max(sa.case((events.status == "withdrawn", events.changed_at))).over(partition_by=key)
    said = (
        sa.select(*key, events.status, events.changed_at, withdrawn.label("withdrawn_at"))
        .where(events.known_on <= as_of, events.channel.in_([*sorted(least_days), _ALL]))
        .subquery("said")
    ).c
    since = sa.func.min(said.changed_at)
    found = (
        sa.select(said.client_ref, said.channel, said.purpose, since.label("since"))
        .where(said.status == "granted", sa.or_(said.withdrawn_at.is_(None), said.changed_at > said.withdrawn_at))
        .group_by(said.client_ref, said.channel, said.purpose)
        .subquery("found")
    ).c
    longest = max(least_days.values())
    limits = {**{channel: days for channel, days in least_days.items() if days}, _ALL: longest}
    is_young = [
        sa.and_(found.channel == channel, found.since > datetime.combine(as_of, time.max) - timedelta(days=days))
        for channel, days in sorted(limits.items())
    ]
    own = (found.client_ref, found.channel, found.purpose)
    query = sa.select(*own).where(sa.or_(*is_young)).order_by(*own)
    schema = pa.schema([("client_id", pa.string()), ("channel", pa.string()), ("purpose", pa.string())])
    return read_arrow(engine, query, schema)


def _as_arrow(rows: Sequence[sa.Row[Any]]) -> pa.RecordBatch:
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=_STATE)


def _states(as_of: date, client_ref: str | None, events: Any = consent_events.c) -> sa.Select[Any]:
    """The state as one statement: two groupings cost half of what a window over every event does."""
    known = events.known_on <= as_of
    if client_ref is not None:
        known = sa.and_(known, events.client_ref == client_ref)
    said = _latest(known, events).subquery("said")
    of_all = sa.and_(known, sa.or_(events.channel == _ALL, events.purpose == _ALL))
    swept = _latest(of_all, events).subquery("swept")
    withdrawn_by_all = (
        sa.exists()
        .where(swept.c.client_ref == said.c.client_ref, swept.c.withdrawn_at == swept.c.changed_at)
        .where(swept.c.channel.in_([said.c.channel, _ALL]), swept.c.purpose.in_([said.c.purpose, _ALL]))
        .where(swept.c.changed_at >= said.c.changed_at)
    )
    withdrawn = sa.or_(said.c.withdrawn_at == said.c.changed_at, withdrawn_by_all)
    status = sa.case((withdrawn, "withdrawn"), else_="granted").label("status")
    key = (said.c.client_ref, said.c.channel, said.c.purpose)
    return sa.select(*key, status).order_by(*key)


def _latest(where: sa.ColumnElement[bool], events: Any) -> sa.Select[Any]:
    """Of each client, channel and purpose the moment of the last change, and of the last withdrawal."""
    key = (events.client_ref, events.channel, events.purpose)
    withdrawn_at = sa.func.max(sa.case((events.status == "withdrawn", events.changed_at)))
    moments = (sa.func.max(events.changed_at).label("changed_at"), withdrawn_at.label("withdrawn_at"))
    return sa.select(*key, *moments).where(where).group_by(*key)
