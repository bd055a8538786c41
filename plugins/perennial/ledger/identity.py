"""Identity: what people decided about client records, and the log of what became of it. Both append-only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.identity import MEMBERS, Decision, IdentityChange
from perennial.core import clock
from perennial.core.errors import PermanentError, Problem
from perennial.ledger.contact_history import read_arrow
from perennial.ledger.tables import identity_decisions, identity_log, runs

_ROWS = 5_000


def decide(
    engine: sa.Engine,
    decision: Literal["merge", "apart"],
    refs: tuple[str, str],
    *,
    reason: str,
    decided_by: str,
) -> int:
    """Write down what a person decided of two client records; gives the decision's id.

    The first business date that knows of it is that of the newest run: earlier days stay as they were (L2).
    """
    with engine.begin() as connection:
        return _append(connection, decision, refs, reason, decided_by)


def undo(engine: sa.Engine, decision_id: int, *, reason: str, decided_by: str) -> int:
    """Take back a decision; gives the id of the undoing. What was decided of the pair before it holds again.

    Raises PermanentError for a decision that is not there, or that does not hold any more.
    """
    with engine.begin() as connection:
        rows = connection.execute(sa.select(identity_decisions).order_by(identity_decisions.c.decision_id)).all()
        known = {row.decision_id: row for row in rows}
        holding = {stack[-1].decision_id for stack in _by_pair(rows).values() if stack}
        if decision_id not in known:
            raise PermanentError(Problem("identity", f"there is no decision {decision_id}", _SEE_LOG))
        if decision_id not in holding:
            problem = f"decision {decision_id} does not hold: it was undone, or a later one took its place"
            raise PermanentError(Problem("identity", problem, _SEE_LOG))
        row = known[decision_id]
        return _append(connection, "undo", (row.left_ref, row.right_ref), reason, decided_by)


_SEE_LOG = "see `perennial identity log`"


def _append(connection: sa.Connection, decision: str, refs: tuple[str, str], reason: str, decided_by: str) -> int:
    left, right = sorted(refs)
    newest = connection.execute(sa.select(sa.func.max(runs.c.as_of))).scalar()
    done = connection.execute(
        sa.insert(identity_decisions).values(
            decision=decision,
            left_ref=left,
            right_ref=right,
            reason=reason,
            decided_by=decided_by,
            known_on=newest or clock.now().date(),
            decided_at=clock.now().replace(tzinfo=None),
        )
    )
    key: Any = done.inserted_primary_key
    return int(key[0])


def decisions(engine: sa.Engine, *, as_of: date | None = None, until: int | None = None) -> list[Decision]:
    """The decisions that hold, by id: known on `as_of`, and of ids up to `until` (None: all; 0: none)."""
    d = identity_decisions.c
    query = sa.select(identity_decisions).order_by(d.decision_id)
    query = query if as_of is None else query.where(d.known_on <= as_of)
    query = query if until is None else query.where(d.decision_id <= until)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    held = [stack[-1] for stack in _by_pair(rows).values() if stack]
    return [
        Decision(row.decision_id, row.decision, row.left_ref, row.right_ref, row.reason, row.decided_by)
        for row in sorted(held, key=lambda row: row.decision_id)
    ]


def _by_pair(rows: Iterable[Any]) -> dict[tuple[str, str], list[Any]]:
    """By pair the decisions that were not undone, the one that holds last."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        stack = found.setdefault((row.left_ref, row.right_ref), [])
        if row.decision != "undo":
            stack.append(row)
        elif stack:
            stack.pop()
    return found


def all_decisions(engine: sa.Engine) -> list[dict[str, Any]]:
    """Every decision and undoing ever made, by id, with `holds`."""
    query = sa.select(identity_decisions).order_by(identity_decisions.c.decision_id)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    holding = {stack[-1].decision_id for stack in _by_pair(rows).values() if stack}
    return [{**row._mapping, "holds": row.decision_id in holding} for row in rows]


def logged_map(engine: sa.Engine) -> pa.Table:
    """The client of each record that the log leaves joined to another, `MEMBERS`: what the last logged run found."""
    log = identity_log.c
    last = sa.select(sa.func.max(log.log_seq)).group_by(log.client_ref)
    query = sa.select(log.client_ref, log.to_client_id).where(log.log_seq.in_(last), log.client_ref != log.to_client_id)
    return read_arrow(engine, query, MEMBERS)


def append_log(engine: sa.Engine, changes: Iterable[IdentityChange], *, as_of: date) -> int:
    """Append what changed, in one transaction; gives how many rows."""
    rows = ({**vars(change), "as_of": as_of, "recorded_at": clock.now().replace(tzinfo=None)} for change in changes)
    written = 0
    with engine.begin() as connection:
        for chunk in _chunks(rows):
            connection.execute(sa.insert(identity_log), chunk)
            written += len(chunk)
    return written


def log_of(engine: sa.Engine, refs: Sequence[str] | None = None, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest rows of the log, newest first: of these records, or of all."""
    query = sa.select(identity_log).order_by(identity_log.c.log_seq.desc()).limit(limit)
    if refs is not None:
        query = query.where(identity_log.c.client_ref.in_(refs))
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(rows, _ROWS)):
        yield chunk
