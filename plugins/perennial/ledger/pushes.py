"""Pushes to tools as the ledger keeps them: a list that is being sent, its chunks, and every row's outcome (L12, L15).

A chunk is written down before it is sent and marked after the tool has answered; the list's sum moves in the same
transaction as its rows, so that it is right at every moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa

from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.ledger.deliveries import ListRecord, list_record, write_outcomes
from perennial.ledger.delivery_tables import push_chunks
from perennial.ledger.tables import deliveries, lists

ChunkState = Literal["sending", "submitted", "done", "refused", "unknown"]
OPEN: tuple[ChunkState, ...] = ("sending", "submitted")
_ROWS = 50_000
WAITING = "interrupted"  # the reason of rows whose turn has not come
_MAY_MOVE = (WAITING, "in_progress")


@dataclass(frozen=True)
class ChunkRecord:
    """One row of `push_chunks`. `client_keys` are (client_id, row_hash) while it is in flight."""

    chunk_id: str
    destination: str
    list_id: str
    list_name: str
    nth: int
    action: str
    size: int
    state: ChunkState
    client_keys: list[list[str]] | None
    place: dict[str, Any]
    ticket: dict[str, str] | None
    attempts: int
    began_at: datetime
    moved_at: datetime


@dataclass(frozen=True)
class Moved:
    """Rows of a list that left `pending`: how many to each part of the sum, and those that have a reason."""

    sent: int = 0
    rejected: int = 0
    skipped: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    waiting: int = 0  # stay pending, for another reason (those of `reasons` that no other part counts)


def begin_list(engine: sa.Engine, record: ListRecord) -> None:
    """Write a list before its first chunk: all that is to be sent is pending. One that was begun stays as it is."""
    same = lists.c.list_id == record.list_id
    values = {**record.__dict__, "recorded_at": _now()}
    with engine.begin() as connection:
        found = connection.execute(sa.select(lists.c.state, lists.c.sent).where(same)).first()
        if found is None:
            connection.execute(sa.insert(lists).values(**values))
        elif found.state != "sending" and not found.sent:
            connection.execute(sa.update(lists).where(same).values(**values))


def begin_chunk(engine: sa.Engine, chunk: ChunkRecord) -> int:
    """Write a chunk down before it is sent; gives the number of this attempt."""
    same = push_chunks.c.chunk_id == chunk.chunk_id
    with engine.begin() as connection:
        found = connection.execute(sa.select(push_chunks.c.attempts, push_chunks.c.state).where(same)).first()
        if found is None:
            connection.execute(sa.insert(push_chunks).values(**chunk.__dict__))
            return chunk.attempts
        values = {**chunk.__dict__, "attempts": found.attempts + 1}
        connection.execute(sa.update(push_chunks).where(same).values(**values))
    return int(values["attempts"])


def new_chunk(**values: Any) -> ChunkRecord:
    """A chunk that is about to be sent for the first time."""
    now = _now()
    return ChunkRecord(**values, state="sending", ticket=None, attempts=1, began_at=now, moved_at=now)


def submitted(engine: sa.Engine, chunk_id: str, ticket: Mapping[str, str]) -> None:
    """The tool has taken the chunk as a job: from now on it is followed, whoever dies."""
    _update(engine, chunk_id, state="submitted", ticket=dict(ticket), moved_at=_now())


def refused(engine: sa.Engine, chunk_id: str) -> None:
    """The tool has taken nothing of the chunk: its rows are in the next delta, or in smaller chunks."""
    _update(engine, chunk_id, state="refused", client_keys=None, moved_at=_now())


def finish(
    engine: sa.Engine, chunk_id: str, list_id: str, outcomes: pa.RecordBatch, codes: Mapping[str, int] | None = None
) -> None:
    """Mark a chunk: the outcome of its rows, the list's sum and the chunk's end in one transaction (L12, L15).

    `outcomes` are rows of delivery.records.OUTCOMES; `codes` counts the reasons of the rejected ones. Unknown rows
    stay pending, with the reason `unknown_outcome`.
    """
    states = outcomes.column("state").to_pylist()
    sent, rejected, unknown = (states.count(name) for name in ("accepted", "rejected", "unknown"))
    reasons = dict(codes or {})
    if unknown:
        reasons["unknown_outcome"] = unknown
    moved = Moved(sent=sent, rejected=rejected, reasons=tuple(sorted(reasons.items())), waiting=unknown)
    values: dict[str, Any] = {"state": "unknown" if unknown else "done", "client_keys": None, "moved_at": _now()}
    with engine.begin() as connection:
        record = _move(connection, list_id, moved)
        write_outcomes(connection, record, outcomes)
        connection.execute(sa.update(push_chunks).where(push_chunks.c.chunk_id == chunk_id).values(**values))


def move(engine: sa.Engine, list_id: str, moved: Moved) -> None:
    """Rows that are not sent after all leave the pending ones."""
    with engine.begin() as connection:
        _move(connection, list_id, moved)


def end_list(engine: sa.Engine, list_id: str, *, stopped: str | None = None) -> ListRecord:
    """The push of a list has ended: its state follows from its sum.

    Rows of jobs that the tool is at are `in_progress`. `stopped` is why the others were not sent: `too_late` is for
    good (L17), anything else waits on.
    """
    c = push_chunks.c
    at_work = sa.select(sa.func.coalesce(sa.func.sum(c.size), 0)).where(c.list_id == list_id, c.state.in_(OPEN))
    with engine.begin() as connection:
        record = list_record(connection, list_id)
        open_rows = int(connection.execute(at_work).scalar_one())
        reasons = dict(record.reasons)
        left = sum(reasons.pop(name, 0) for name in _MAY_MOVE)
        reasons["in_progress"] = min(open_rows, left)
        still = left - reasons["in_progress"]
        late = still if stopped == "too_late" else 0
        reasons[stopped or WAITING] = reasons.get(stopped or WAITING, 0) + still
        pending, skipped = record.pending - late, record.skipped + late
        state = "held" if pending else "delivered" if record.sent else "rejected"
        values: dict[str, Any] = {"state": state, "pending": pending, "skipped": skipped, "reasons": _counted(reasons)}
        connection.execute(sa.update(lists).where(lists.c.list_id == list_id).values(**values))
    return replace(record, **values)


def read_list(engine: sa.Engine, list_id: str) -> ListRecord:
    """One list as it is now. Raises ContractViolation when there is none of that id."""
    with engine.connect() as connection:
        return list_record(connection, list_id)


def open_chunks(engine: sa.Engine, destination: str, list_name: str | None = None) -> list[ChunkRecord]:
    """The chunks of which nobody has written down what became of them, in the order in which they were sent."""
    c = push_chunks.c
    query = sa.select(push_chunks).where(c.destination == destination, c.state.in_(OPEN))
    if list_name is not None:
        query = query.where(c.list_name == list_name)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(c.began_at, c.list_id, c.nth)).mappings().all()
    return [ChunkRecord(**row) for row in rows]


def open_ids(engine: sa.Engine) -> set[str]:
    """The ids of all chunks that are on their way, whoever their destination is."""
    with engine.connect() as connection:
        return set(connection.execute(sa.select(push_chunks.c.chunk_id).where(push_chunks.c.state.in_(OPEN))).scalars())


def unknown_rows(engine: sa.Engine, list_id: str | None = None) -> list[dict[str, Any]]:
    """Lists with rows of which nobody knows whether the tool took them: list, destination, action, rows, since."""
    d = deliveries.c
    query = sa.select(
        d.list_id, d.destination, d.action, sa.func.count().label("rows"), sa.func.min(d.recorded_at).label("since")
    ).where(d.state == "unknown")
    if list_id is not None:
        query = query.where(d.list_id == list_id)
    with engine.connect() as connection:
        rows = connection.execute(query.group_by(d.list_id, d.destination, d.action).order_by(d.list_id, d.action))
        return [dict(row) for row in rows.mappings()]


def settle_unknown(engine: sa.Engine, list_id: str, *, as_accepted: bool) -> int:
    """A person says what became of the unknown rows of a list: they arrived, or they did not and may be sent again."""
    d = deliveries.c
    mine = sa.and_(d.list_id == list_id, d.state == "unknown")
    with engine.begin() as connection:
        rows = connection.execute(sa.select(sa.func.count()).select_from(deliveries).where(mine)).scalar_one()
        if not rows:
            return 0
        record = list_record(connection, list_id)
        reasons = dict(record.reasons)
        reasons["unknown_outcome"] = reasons.get("unknown_outcome", 0) - rows
        sent = record.sent + (rows if as_accepted else 0)
        pending = record.pending - (rows if as_accepted else 0)
        if as_accepted:
            connection.execute(sa.update(deliveries).where(mine).values(state="accepted", reason=None))
        else:
            reasons[WAITING] = reasons.get(WAITING, 0) + rows
            connection.execute(sa.delete(deliveries).where(mine))
        values = {"sent": sent, "pending": pending, "reasons": _counted(reasons)}
        connection.execute(sa.update(lists).where(lists.c.list_id == list_id).values(**values))
    return int(rows)


def _move(connection: sa.Connection, list_id: str, moved: Moved) -> ListRecord:
    record = list_record(connection, list_id)
    left = moved.sent + moved.rejected + moved.skipped
    reasons = dict(record.reasons)
    _take(list_id, reasons, left + moved.waiting)
    for code, rows in moved.reasons:
        reasons[code] = reasons.get(code, 0) + rows
    values: dict[str, Any] = {
        "sent": record.sent + moved.sent,
        "rejected": record.rejected + moved.rejected,
        "skipped": record.skipped + moved.skipped,
        "pending": record.pending - left,
        "reasons": _counted(reasons),
    }
    connection.execute(sa.update(lists).where(lists.c.list_id == list_id).values(**values))
    return replace(record, **values)


def _take(list_id: str, reasons: dict[str, int], rows: int) -> None:
    """Rows that have an outcome now were waiting for their turn, or for the end of a job."""
    for name in _MAY_MOVE:
        taken = min(rows, reasons.get(name, 0))
        reasons[name] = reasons.get(name, 0) - taken
        rows -= taken
    if rows:
        problem = f"{rows} rows more have an outcome than were waiting for one"
        raise ContractViolation(Problem(list_id, problem, "report it with the run's id"))


def _counted(reasons: Mapping[str, int]) -> dict[str, int]:
    return {code: rows for code, rows in reasons.items() if rows}


def outcomes_of(engine: sa.Engine, list_id: str) -> Iterator[list[sa.Row[Any]]]:
    """client_id, action, row_hash, state, reason of the rows of a list that have an outcome, in chunks (L26)."""
    d = deliveries.c
    with engine.connect().execution_options(reading=True, yield_per=_ROWS) as connection:
        record = list_record(connection, list_id)
        query = sa.select(d.client_id, d.action, d.row_hash, d.state, d.reason).where(
            d.campaign_id == record.campaign_id,
            d.channel == record.channel,
            d.as_of == record.as_of,
            d.list_id == record.list_id,
        )
        yield from (list(rows) for rows in connection.execute(query).partitions())


def _update(engine: sa.Engine, chunk_id: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(push_chunks).where(push_chunks.c.chunk_id == chunk_id).values(**values))


def _now() -> datetime:
    return clock.now().replace(tzinfo=None)
