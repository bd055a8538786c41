"""Rows that the gate set aside: which batches have some, and what became of each (append-only)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any, Literal

import sqlalchemy as sa

from perennial.contracts.records import BatchState
from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.ledger.tables import batch_files, batches, quarantine_actions

Action = Literal["replayed", "dropped"]
Key = tuple[str, int]  # file and line
WHOLE_FILE = 0  # the line in the action on a file that was refused as a whole
_ROWS = 10_000
_NAMES = 500  # SQLite takes 999 parameters in old builds
_SHORTEST_ID = 4


@dataclass(frozen=True)
class SetAside:
    """A batch with quarantined rows, or a refused one; counts in rows.

    `waiting` = quarantined - replayed - dropped. `since` is when the rows were first set aside (UTC without a zone): of
    a replay that is the origin's time; `origin_seq` is the number of the batch that they landed with.
    """

    batch_id: str
    batch_seq: int
    source: str
    source_entity: str
    entity: str
    as_of: date | None
    state: BatchState
    landed: int
    quarantined: int
    settled: int
    by_rule: dict[str, int]
    reasons: tuple[str, ...]
    quarantine_path: str | None
    is_replay: bool
    origin_seq: int
    since: datetime

    @property
    def waiting(self) -> int:
        """Rows that nobody has replayed or dropped yet."""
        return self.quarantined - self.settled

    @property
    def name(self) -> str:
        """source.entity, as in sources.yml."""
        return f"{self.source}.{self.source_entity}"


def set_aside(engine: sa.Engine, *, batch_id: str | None = None) -> list[SetAside]:
    """The batches with quarantined rows and the refused ones, in the order of their numbers; or that one."""
    b = batches.c
    actions = (
        sa.select(quarantine_actions.c.batch_id, sa.func.count().label("settled"))
        .where(quarantine_actions.c.line != WHOLE_FILE)
        .group_by(quarantine_actions.c.batch_id)
        .subquery()
    )
    query = (
        sa.select(batches, sa.func.coalesce(actions.c.settled, 0).label("settled"))
        .select_from(batches.outerjoin(actions, actions.c.batch_id == b.batch_id))
        .where(sa.or_(b.quarantined > 0, b.state == "refused"))
        .order_by(b.batch_seq)
    )
    if batch_id is not None:
        query = query.where(b.batch_id == batch_id)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
        return [_set_aside(row, _origin(connection, row)) for row in rows]


def _origin(connection: sa.Connection, row: sa.Row[Any]) -> sa.Row[Any]:
    """The batch that the rows of a replay landed with, through all replays between."""
    b = batches.c
    query = sa.select(b.batch_seq, b.recorded_at, b.replays_batch_id)
    while row.replays_batch_id is not None:
        row = connection.execute(query.where(b.batch_id == row.replays_batch_id)).one()
    return row


def _set_aside(row: sa.Row[Any], origin: sa.Row[Any]) -> SetAside:
    return SetAside(
        batch_id=row.batch_id,
        batch_seq=row.batch_seq,
        source=row.source,
        source_entity=row.source_entity,
        entity=row.entity,
        as_of=row.as_of,
        state=row.state,
        landed=row.landed,
        quarantined=row.quarantined,
        settled=row.settled,
        by_rule=dict(row.quarantined_by_rule),
        reasons=tuple(row.reasons),
        quarantine_path=row.quarantine_path,
        is_replay=row.replays_batch_id is not None,
        origin_seq=origin.batch_seq,
        since=origin.recorded_at,
    )


def find_batch(engine: sa.Engine, text: str) -> SetAside:
    """The batch whose id begins with the text (four characters at least).

    Raises ContractViolation when there is none, when several begin so, or when nothing of it was set aside.
    """
    b = batches.c
    with engine.connect() as connection:
        query = sa.select(b.batch_id).where(b.batch_id.startswith(text, autoescape=True)).order_by(b.batch_id).limit(3)
        found: list[str] = list(connection.execute(query).scalars()) if len(text) >= _SHORTEST_ID else []
    where, fix = f"batch {text}", "`perennial quarantine list` names the batches"
    if not found:
        raise ContractViolation(Problem(where, "the ledger has no such batch", fix))
    if len(found) > 1 and text not in found:
        raise ContractViolation(Problem(where, f"several begin so: {', '.join(found)}", "give more of the id"))
    asides = set_aside(engine, batch_id=text if text in found else found[0])
    if not asides:
        raise ContractViolation(Problem(where, "all its rows were good: nothing of it was set aside", fix))
    return asides[0]


def settled_keys(engine: sa.Engine, batch_id: str) -> Iterator[Key]:
    """File and line of every row of the batch that was replayed or dropped."""
    a = quarantine_actions.c
    query = sa.select(a.file, a.line).where(a.batch_id == batch_id, a.line != WHOLE_FILE).order_by(a.file, a.line)
    with engine.connect().execution_options(reading=True, yield_per=_ROWS) as connection:
        for row in connection.execute(query):
            yield row.file, row.line


def record_actions(
    connection: sa.Connection,
    batch_id: str,
    keys: Iterable[Key],
    action: Action,
    *,
    done_by: str,
    to_batch_id: str | None = None,
    note: str | None = None,
) -> int:
    """Write what became of rows, within the caller's transaction. Gives the number of rows.

    Raises sqlalchemy.exc.IntegrityError for a row that has an action already.
    """
    same = {"action": action, "to_batch_id": to_batch_id, "note": note, "done_by": done_by}
    now = clock.now().replace(tzinfo=None)
    written, rest = 0, iter(keys)
    while part := list(islice(rest, _ROWS)):
        rows = [{"batch_id": batch_id, "file": file, "line": line, **same, "done_at": now} for file, line in part]
        connection.execute(sa.insert(quarantine_actions), rows)
        written += len(part)
    return written


def files_of(engine: sa.Engine, batch_id: str) -> list[str]:
    """The names of the batch's files below landing/."""
    query = sa.select(batch_files.c.name).where(batch_files.c.batch_id == batch_id).order_by(batch_files.c.name)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def batches_with(engine: sa.Engine, names: Iterable[str]) -> set[str]:
    """The ids of the batches that a file of one of these names belongs to."""
    found: set[str] = set()
    rest = iter(names)
    with engine.connect() as connection:
        while part := list(islice(rest, _NAMES)):
            query = sa.select(batch_files.c.batch_id).where(batch_files.c.name.in_(part)).distinct()
            found.update(connection.execute(query).scalars())
    return found


def still_refused(engine: sa.Engine, lies_there: Callable[[str], bool]) -> list[SetAside]:
    """Refused batches that still want somebody. `lies_there` tells whether a file still lies in refused/.

    One is over when nobody waits for it (dropped), when all its files were landed again under their names, or when none
    of them lies in refused/ any more.
    """
    b, f, a = batches.c, batch_files.c, quarantine_actions.c
    refused = [one for one in set_aside(engine) if one.state == "refused"]
    names = sa.select(f.name, sa.func.max(b.batch_seq)).select_from(batch_files.join(batches, b.batch_id == f.batch_id))
    with engine.connect() as connection:
        landed = {r[0]: r[1] for r in connection.execute(names.where(b.state == "committed").group_by(f.name))}
        dropped: set[str] = set(connection.execute(sa.select(a.batch_id).where(a.line == WHOLE_FILE)).scalars())
    return [
        one
        for one in refused
        if one.batch_id not in dropped and _is_missed(files_of(engine, one.batch_id), landed, one.batch_seq, lies_there)
    ]


def _is_missed(files: list[str], landed: dict[str, int], batch_seq: int, lies_there: Callable[[str], bool]) -> bool:
    again = all(landed.get(name, 0) > batch_seq for name in files)
    return not again and any(map(lies_there, files))
