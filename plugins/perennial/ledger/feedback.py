"""What recipients did, as the ledger keeps it: events with what follows from them, and cursors, in one transaction.

A page of events, the withdrawals and suppressions that it brings and the cursor behind it are written together or not
at all. What is told twice is one row, and has its consequences once (L12 for what comes back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from perennial.core import clock
from perennial.ledger import suppressions
from perennial.ledger.consents import append_events
from perennial.ledger.feedback_tables import feedback_cursors, feedback_events

_ROWS_AT_ONCE = 500
_ERROR_LENGTH = 2_000
_WITHDRAWALS = pa.schema(
    [
        *((name, pa.string()) for name in ("client_ref", "channel", "purpose", "status")),
        ("changed_at", pa.timestamp("us")),
        ("known_on", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Event:
    """One row of `feedback_events`, but for the moment when it is written."""

    destination: str
    event_id: str
    kind: str
    happened_at: datetime
    channel: str | None
    address_key: str
    client_ref: str | None
    campaign_id: str | None
    as_of: date | None
    list_title: str | None
    message_id: str | None
    detail: str | None
    scope: str
    is_machine: bool
    came_by: str
    known_on: date


@dataclass(frozen=True)
class Consequences:
    """What follows from one event at once.

    `withdrawn`: (client_ref, channel, purpose) whose consent ends; `suppressed`: (client_ref, channel), for `reason`.
    """

    withdrawn: tuple[tuple[str, str, str], ...] = ()
    suppressed: tuple[tuple[str, str], ...] = ()
    reason: str = ""


_T = TypeVar("_T")
Judge = Callable[[Event], Consequences]


def take_in(
    engine: sa.Engine,
    events: Sequence[Event],
    judge: Judge,
    *,
    cursor: tuple[str, str, Mapping[str, Any]] | None = None,
) -> int:
    """Write the events that are not there yet, with their consequences, and the cursor (destination, stream, value).

    Gives how many were new. When it returns, all of it is durable.
    """
    with engine.begin() as connection:
        new = _unknown(connection, events)
        if new:
            moment = clock.now().replace(tzinfo=None)
            for chunk in _chunks(new):
                connection.execute(_insert(connection), [{**asdict(one), "recorded_at": moment} for one in chunk])
            _follow(connection, new, judge)
        if cursor is not None:
            _write_cursor(connection, *cursor)
    return len(new)


def name_clients(engine: sa.Engine, found: Mapping[str, str], known_on: date, judge: Judge) -> int:
    """Give events without a client the one that their address is now known to be of (address_key to client_ref).

    Their consequences follow; gives how many events. The business date is the one on which we know whose they are.
    """
    e = feedback_events.c
    moment = clock.now().replace(tzinfo=None)
    named: list[Event] = []
    with engine.begin() as connection:
        for keys in _chunks(sorted(found)):
            waiting = sa.and_(e.address_key.in_(keys), e.client_ref.is_(None))
            named += [_event(row, found) for row in connection.execute(sa.select(feedback_events).where(waiting))]
            for key in keys:
                connection.execute(
                    sa.update(feedback_events)
                    .where(e.address_key == key, e.client_ref.is_(None))
                    .values(client_ref=found[key], known_on=known_on, recorded_at=moment)
                )
        named = [Event(**{**asdict(one), "known_on": known_on}) for one in named]
        _follow(connection, named, judge)
    return len(named)


def nameless(engine: sa.Engine) -> Iterator[str]:
    """The address keys of events of whom nobody knows whose they are, in order."""
    e = feedback_events.c
    query = sa.select(e.address_key).where(e.client_ref.is_(None)).distinct().order_by(e.address_key)
    with engine.connect().execution_options(reading=True, yield_per=50_000) as connection:
        yield from connection.execute(query).scalars()


def bounced(engine: sa.Engine) -> list[tuple[str, str]]:
    """(client_ref, address key) of every address that bounced for good."""
    e = feedback_events.c
    query = sa.select(e.client_ref, e.address_key).where(e.kind == "hard_bounce", e.client_ref.is_not(None)).distinct()
    with engine.connect() as connection:
        return [
            (row.client_ref, row.address_key) for row in connection.execute(query.order_by(*query.selected_columns))
        ]


def counts(engine: sa.Engine) -> list[dict[str, Any]]:
    """By destination and kind: events, those by machines, without a client, without a list of ours, the newest."""
    e = feedback_events.c
    query = (
        sa.select(
            e.destination,
            e.kind,
            sa.func.count().label("events"),
            _counted(e.is_machine).label("by_machines"),
            _counted(e.client_ref.is_(None)).label("without_client"),
            _counted(e.campaign_id.is_(None)).label("without_campaign"),
            sa.func.max(e.recorded_at).label("newest"),
        )
        .group_by(e.destination, e.kind)
        .order_by(e.destination, e.kind)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def cursor_of(engine: sa.Engine, destination: str, stream: str) -> dict[str, Any]:
    """How far the stream was read; empty when it never was."""
    c = feedback_cursors.c
    query = sa.select(c.cursor).where(c.destination == destination, c.stream == stream)
    with engine.connect() as connection:
        return dict(connection.execute(query).scalar() or {})


def pulls(engine: sa.Engine) -> list[dict[str, Any]]:
    """Each stream that was asked: destination, stream, pulled_at, last_error."""
    c = feedback_cursors.c
    query = sa.select(c.destination, c.stream, c.pulled_at, c.last_error).order_by(c.destination, c.stream)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def save_cursor(
    engine: sa.Engine, destination: str, stream: str, cursor: Mapping[str, Any], *, error: str | None = None
) -> None:
    """Write where a stream stands without a page: its end, or what went wrong."""
    with engine.begin() as connection:
        _write_cursor(connection, destination, stream, cursor, error)


def _write_cursor(
    connection: sa.Connection, destination: str, stream: str, cursor: Mapping[str, Any], error: str | None = None
) -> None:
    mine = (feedback_cursors.c.destination == destination, feedback_cursors.c.stream == stream)
    now = clock.now().replace(tzinfo=None)
    values = {"cursor": dict(cursor), "pulled_at": now, "last_error": error[:_ERROR_LENGTH] if error else None}
    if connection.execute(sa.update(feedback_cursors).where(*mine).values(**values)).rowcount == 0:
        connection.execute(sa.insert(feedback_cursors).values(destination=destination, stream=stream, **values))


def _unknown(connection: sa.Connection, events: Sequence[Event]) -> list[Event]:
    """Those that are not in the ledger, each once; the transaction is the only one that writes."""
    e = feedback_events.c
    wanted = {(one.destination, one.event_id): one for one in reversed(events)}
    known: set[tuple[str, str]] = set()
    for chunk in _chunks(sorted(wanted)):
        ids = [event_id for _, event_id in chunk]
        same = sa.and_(e.destination.in_({name for name, _ in chunk}), e.event_id.in_(ids))
        rows = connection.execute(sa.select(e.destination, e.event_id).where(same))
        known |= {(row.destination, row.event_id) for row in rows}
    return [one for key, one in sorted(wanted.items()) if key not in known]


def _insert(connection: sa.Connection) -> sa.Insert:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    keys = ["destination", "event_id"]
    statement: sa.Insert = dialect.insert(feedback_events).on_conflict_do_nothing(index_elements=keys)
    return statement


def _follow(connection: sa.Connection, events: Sequence[Event], judge: Judge) -> None:
    for one in events:
        follows = judge(one)
        said = [
            {
                **dict(zip(("client_ref", "channel", "purpose"), key, strict=True)),
                "status": "withdrawn",
                "changed_at": one.happened_at,
                "known_on": one.known_on,
            }
            for key in follows.withdrawn
        ]
        if said:
            table = pa.Table.from_pylist(said, schema=_WITHDRAWALS)
            append_events(connection, table, source=f"feedback.{one.destination}"[:60])
        suppressions.add(
            connection,
            follows.suppressed,
            action="suppress",
            reason=follows.reason,
            known_on=one.known_on,
            source=one.destination,
        )


def _event(row: Any, found: Mapping[str, str]) -> Event:
    values = {name: getattr(row, name) for name in Event.__dataclass_fields__}
    return Event(**{**values, "client_ref": found[row.address_key]})


def _counted(condition: Any) -> Any:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _chunks(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE))
