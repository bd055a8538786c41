"""What was delivered: lists with their sums, and one row per campaign, client, channel, date and action (L12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import repeat
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.ledger.tables import deliveries, lists

CHUNK_ROWS = 50_000

ACCEPTED = pa.schema(
    [
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("row_hash", pa.string(), nullable=False),
        pa.field("as_of", pa.date32(), nullable=False),
        pa.field("nth", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class ListRecord:
    """One row of `lists`: sent + rejected + skipped + pending = size (L15). `path` is relative to the home folder."""

    list_id: str
    run_id: str
    destination: str
    campaign_id: str
    channel: str
    as_of: date
    list_type: str
    state: str
    size: int
    sent: int
    rejected: int
    skipped: int
    pending: int
    path: str | None
    reasons: dict[str, int] = field(default_factory=dict)
    send_not_after: datetime | None = None

    @property
    def is_handed_over(self) -> bool:
        """Whether a destination was given something of it; a tool has no path."""
        return self.path is not None or self.sent > 0 or self.state == "sending"


def list_record(connection: sa.Connection, list_id: str) -> ListRecord:
    """One list. Raises ContractViolation when there is none of that id."""
    row = connection.execute(sa.select(lists).where(lists.c.list_id == list_id)).mappings().first()
    if row is None:
        raise ContractViolation(Problem(list_id, "the ledger has no such list", "see `perennial lists`"))
    return ListRecord(**{name: row[name] for name in ListRecord.__dataclass_fields__})


def lists_of(engine: sa.Engine, destination: str, *, until: date | None = None) -> list[ListRecord]:
    """The lists of a destination, of dates up to and including `until`, by date and id."""
    query = sa.select(lists).where(lists.c.destination == destination).order_by(lists.c.as_of, lists.c.list_id)
    if until is not None:
        query = query.where(lists.c.as_of <= until)
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [ListRecord(**{name: row[name] for name in ListRecord.__dataclass_fields__}) for row in rows]


def accepted(engine: sa.Engine, records: Sequence[ListRecord]) -> Iterator[pa.RecordBatch]:
    """What was accepted of these lists, all of one campaign and channel, in chunks; `nth` is the place of the list.

    A row of which nobody knows counts as accepted: not sent again by itself (L12), and removed on a withdrawal.
    """
    if not records:
        return
    places = {record.list_id: nth for nth, record in enumerate(records)}
    dates = [record.as_of for record in records]
    rows_of = deliveries.c
    query = sa.select(rows_of.client_id, rows_of.action, rows_of.row_hash, rows_of.list_id).where(
        rows_of.campaign_id == records[0].campaign_id,
        rows_of.channel == records[0].channel,
        rows_of.as_of.between(min(dates), max(dates)),
        rows_of.state.in_(["accepted", "unknown"]),
    )
    with engine.connect().execution_options(reading=True, yield_per=CHUNK_ROWS) as connection:
        for chunk in connection.execute(query).partitions():
            rows = [
                (*row[:3], dates[places[row.list_id]], places[row.list_id]) for row in chunk if row.list_id in places
            ]
            columns: list[Any] = list(zip(*rows, strict=True)) or [[] for _ in ACCEPTED]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, ACCEPTED, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=ACCEPTED)


def mark(engine: sa.Engine, record: ListRecord, outcomes: Iterable[pa.RecordBatch]) -> int:
    """Write a list and the outcome of its rows in one transaction; gives the number of rows written.

    `outcomes` has client_id, action, row_hash, state and reason. Marking the same again changes nothing: what a send
    list had accepted stays as it was, and nothing that was accepted ever becomes rejected.
    """
    moment = clock.now().replace(tzinfo=None)
    written = 0
    with engine.begin() as connection:
        _write_list(connection, record, moment)
        insert = _bulk_insert(connection, record, moment)
        for batch in outcomes:
            for start in range(0, batch.num_rows, CHUNK_ROWS):
                chunk = batch.slice(start, CHUNK_ROWS).sort_by("client_id")  # near the index's order: 3 times faster
                insert(chunk)
                written += chunk.num_rows
    return written


def mark_rejects(engine: sa.Engine, list_id: str, outcomes: Iterable[pa.RecordBatch]) -> int:
    """Write the rejected rows of a list whose other rows are marked as they come; gives their number."""
    written = 0
    with engine.begin() as connection:
        record = list_record(connection, list_id)
        for batch in outcomes:
            write_outcomes(connection, record, batch)
            written += batch.num_rows
    return written


def write_outcomes(connection: sa.Connection, record: ListRecord, outcomes: pa.RecordBatch) -> None:
    """The outcome of some rows of a list, within the caller's transaction, by the same rules as `mark`."""
    _bulk_insert(connection, record, clock.now().replace(tzinfo=None))(outcomes.sort_by("client_id"))


def _bulk_insert(connection: sa.Connection, record: ListRecord, moment: datetime) -> Callable[[pa.RecordBatch], None]:
    """Writes batches by the driver itself: binding a million rows one by one in SQLAlchemy takes longer than SQLite."""
    names = ("campaign_id", "channel", "as_of", "destination", "list_id")
    shared = {**{name: getattr(record, name) for name in names}, "recorded_at": moment}
    constants = {name: _bound(connection.dialect, name, value) for name, value in shared.items()}
    compiled = _upsert(connection.dialect.name, record.list_type).compile(dialect=connection.dialect)
    order = compiled.positiontup or [column.name for column in deliveries.columns]

    def insert(chunk: pa.RecordBatch) -> None:
        columns = [
            repeat(constants[name], chunk.num_rows) if name in constants else chunk.column(name).to_pylist()
            for name in order
        ]
        rows: list[Any] = list(zip(*columns, strict=True))
        if compiled.positiontup is None:
            rows = [dict(zip(order, row, strict=True)) for row in rows]
        if rows:
            connection.exec_driver_sql(str(compiled), rows)

    return insert


def _bound(dialect: sa.Dialect, name: str, value: Any) -> Any:
    processor = deliveries.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    return processor(value) if processor else value


def _write_list(connection: sa.Connection, record: ListRecord, moment: datetime) -> None:
    """A row of which nothing was sent is replaced by the list that is sent under its id later."""
    same = lists.c.list_id == record.list_id
    found = connection.execute(sa.select(lists.c.path, lists.c.sent, lists.c.state).where(same)).first()
    if found is not None and (found.path is not None or found.sent or not record.is_handed_over):
        return
    values = {**record.__dict__, "recorded_at": moment}
    statement = sa.insert(lists) if found is None else sa.update(lists).where(same)
    connection.execute(statement.values(**values))


def _upsert(dialect: str, list_type: str) -> Any:
    """An audience keeps the last accepted action of each kind and date; a send keeps the first (L12)."""
    statement: Any = postgresql.insert(deliveries) if dialect == "postgresql" else sqlite.insert(deliveries)
    new = statement.excluded
    changed = sa.or_(deliveries.c.state != new.state, deliveries.c.reason.is_distinct_from(new.reason))
    accepted_state: Any = sa.literal_column("'accepted'")
    may = sa.and_(deliveries.c.state != accepted_state, changed)
    if list_type == "audience":
        may = sa.or_(may, new.state == accepted_state)
    columns = ("destination", "list_id", "row_hash", "state", "reason", "recorded_at")
    return statement.on_conflict_do_update(
        index_elements=list(deliveries.primary_key.columns),
        set_={name: new[name] for name in columns},
        where=may,
    )
